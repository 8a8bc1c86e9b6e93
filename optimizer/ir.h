/* The trace IR: one node per instruction of a recorded path, in the order it runs.
 *
 *   recorded trace --ir_build--> nodes --passes, each followed by ir_verify--> nodes --> fragcache lowers them
 *
 * A pass changes a node's op, or removes it; it notes in `why` what it did, for the dump. The original
 * instruction stays in `in`, so the dump is a diff.
 *
 * What may change at an observation point: at an exit, a fault, a signal or a system call every register, the
 * status flags and memory are as the original instructions would have left them. Stores stay in order.
 *
 *   IR-1  the last node that is not removed ends the trace: N_BACK, N_BACK_IF + N_EXIT, N_EXIT, N_LOOKUP.
 *   IR-2  N_BRANCH does not survive the layout pass.
 *   IR-3  a direct exit has a target; a guard has an expected target.
 *
 * Pure: no process state, no system calls. Memory is the caller's. */
#ifndef REHEAT_IR_H
#define REHEAT_IR_H

#include "runtime/base/rc.h"
#include "tracer/decode.h"
#include "tracer/record.h"

enum node_op {
    N_INSN, /* the instruction as it is */
    N_BRANCH, /* a control transfer as recorded; before layout only */
    N_EXIT_IF, /* leave to target when cc holds */
    N_EXIT_LOOP, /* loop/jrcxz: leave to target when it is taken (exit_taken) or not */
    N_PUSH_CONST, /* push value: the return address of an inlined call */
    N_ADD_SP, /* rsp += value, flags untouched: a return whose slot is known */
    N_GUARD, /* indirect branch expected to go to target; anything else is looked up */
    N_LOOKUP, /* indirect branch that is always looked up; ends the trace */
    N_BACK, /* jump to the trace's head; ends the trace */
    N_BACK_IF, /* jump to the head when cc holds */
    N_EXIT /* leave to target; ends the trace */
};

struct node {
    uint8_t op; /* enum node_op */
    uint8_t cc;
    bool removed, exit_taken, taken; /* taken: as recorded */
    int32_t insn; /* index of the original instruction */
    uint64_t target; /* app pc; exits and guards */
    uint64_t value; /* N_PUSH_CONST: address; N_ADD_SP: bytes */
    uint64_t went; /* app pc where the recorded run continued */
    const char *why; /* the pass that changed it and what it did; NULL: as it was */
    const struct insn *in; /* what N_INSN lowers to: the original, or one that a pass made */
    /* After this node, on every way on, exits included, written before it is read. Set by the liveness analysis. */
    uint16_t gpr_dead, flags_dead;
};

struct ir {
    struct app_pc tag, exit;
    enum trace_end end;
    bool alone; /* the process has one thread and shares no writable memory: what it loads twice is the same */
    const struct insn *insns; /* originals */
    int insn_count;
    struct node *nodes;
    int count, cap;
};

/* Fills ir->nodes from a recorded trace and its decoded instructions. RC_TOO_LONG when cap is too small. */
rc_t ir_build(struct ir *ir, const struct trace *t, const struct insn *insns, int n);

/* Checks IR-1 to IR-3; `laid_out` after the layout pass. RC_VERIFY. */
rc_t ir_verify(const struct ir *ir, bool laid_out);

/* Appends a node (ends of traces). RC_TOO_LONG. */
rc_t ir_append(struct ir *ir, struct node n);

static inline bool node_ends_trace(const struct node *n)
{
    return n->op == N_BACK || n->op == N_EXIT || n->op == N_LOOKUP;
}

#endif
