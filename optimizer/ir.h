/* The trace IR: one node per instruction of a recorded path, in the order it runs.
 *
 *   recorded trace --ir_build--> nodes --passes, each followed by ir_verify--> nodes --> fragcache lowers them
 *
 * A pass changes a node's op, removes it, or gives it another instruction to lower to; it notes in `why` what it did,
 * for the dump. The original instruction stays in ir->insns, so the dump is a diff.
 *
 * What may change, and where it may be seen. Before each node that is not removed, and at each exit, every general and
 * vector register and all of memory are as the original instructions would have left them: so a fault, a signal or a
 * system call there sees the program's own state, and the program can go on there in its own code. Only status flags
 * may differ, and only those that the original program, going on from there, overwrites before it reads them; and after a
 * hammock the registers that it used in between, of which the same is true. Stores
 * are neither moved nor removed, but for pushes of what stands there. A load is removed only where nobody else can have written
 * in between: a slot of the stack, with `others` only of what the trace itself has put there, or any ordinary memory while `alone`
 * holds.
 *
 *   IR-1  the last node that is not removed ends the trace: N_BACK, N_BACK_IF + N_EXIT, N_EXIT, N_LOOKUP.
 *   IR-2  N_BRANCH does not survive the layout pass.
 *   IR-3  a direct exit has a target; a guard has an expected target.
 *   IR-4  a made instruction decodes to what the node says, writes the registers that the original writes, no memory
 *         that it does not, and no flags beyond the original's that are not dead.
 *   IR-5  a removed plain instruction stores nothing, orders nothing, and leaves rsp alone; a removed guard is a jump.
 *   IR-6  a hammock stands for a conditional branch and removed plain instructions and jumps up to a node that is its
 *         trace's; it writes registers that either side writes or that are free, and stores just as both sides do. Where
 *         it writes registers that are neither, they are `wanted`: borrowed in the end, and none of its sides' own.
 *   IR-7  between N_BORROW and the end of the trace the borrowed registers are the fragment's: no instruction of the
 *         program there reads or writes them, rsp is not one, and nothing outside mentions them. From N_LOOP on, each
 *         slot's register holds what its memory does: a store to a slot follows a PART_UPDATE of its register, or is a
 *         PART_STORE of it; what may store there otherwise follows an N_CHECK. A fused node follows removed ones.
 *         An invariant's register and the one it comes from are not written from N_LOOP on.
 *   IR-8  a chain belongs to a guard; its targets are neither 0, nor the guard's, nor twice the same.
 *
 * Pure: no process state, no system calls. Memory is the caller's. */
#ifndef REHEAT_IR_H
#define REHEAT_IR_H

#include "runtime/base/context.h"
#include "runtime/base/rc.h"
#include "tracer/asm.h"
#include "tracer/decode.h"
#include "tracer/record.h"
#include "tracer/targets.h"

enum pass_id {
#define PASS(name, text) PASS_##name,
#include "optimizer/passes.def"
#undef PASS
    PASS_COUNT
};
#define PASS_BIT(id) (1u << (id))
#define PASSES_ALL (PASS_BIT(PASS_COUNT) - 1)
#define PASSES_NONE (1u << 31) /* says so, where 0 stands for all */

/* What the CPU has beyond x86-64; for ir.cpu. */
#define CPU_BMI2 1u

enum node_op {
    N_INSN, /* the instruction as it is, or a made one */
    N_BRANCH, /* a control transfer as recorded; before layout only */
    N_EXIT_IF, /* leave to target when cc holds */
    N_EXIT_LOOP, /* loop/jrcxz: leave to target when it is taken (exit_taken) or not */
    N_PUSH_CONST, /* push value: the return address of an inlined call */
    N_ADD_SP, /* rsp += value, flags untouched: a return whose slot is known */
    N_GUARD, /* indirect branch expected to go to target; anything else is looked up */
    N_LOOKUP, /* indirect branch that is always looked up; ends the trace */
    N_HAMMOCK, /* both sides of a branch at once, up to where they meet: ir->hammocks[hammock] */
    N_BACK, /* jump to the trace's head, or to N_LOOP where there is one; ends the trace */
    N_BACK_IF, /* the same when cc holds */
    N_EXIT, /* leave to target; ends the trace */
    N_BORROW, /* save the borrowed registers; each way out restores them. The first node where hammocks want some */
    N_CHECK, /* leave to target when a store is about to reach a slot: ir->checks[value] */
    N_LOOP /* load the slots into their registers; what follows is the loop */
};

/* What N_INSN is of its original: pass_promote splits some. */
enum node_part {
    PART_WHOLE,
    PART_UPDATE, /* changes a slot's register as the original changes its memory; what follows does that, or is one of
                    several such parts */
    PART_STORE /* stores a slot's register, in place of a change of its memory */
};

/* A place whose address is the same in each iteration, kept in a borrowed register as well. */
struct ir_slot {
    uint8_t reg, base, bytes; /* reg: REG_VECTOR too, all above the bytes zero; base: as at the head, R_NONE: none */
    int64_t at; /* offset, or the address */
};

/* Whether the `bytes` at [base + index * scale + off] meet [near + low, near + high); R_NONE: no such register. */
struct ir_check {
    uint8_t base, index, scale, near, scratch;
    uint64_t bytes; /* below 1 << 36 */
    int64_t off, low, high;
};
/* What a borrowed register holds from N_LOOP on, if `from`, a slot's register or one of the program's that the loop does not
 * write: extend(from * by + plus) * then_by + then_plus. All four fit in 32 bits. */
enum ir_extend { EXTEND_NOT, EXTEND_ZERO, EXTEND_SIGN }; /* of its low 4 bytes; not: by is 1, plus 0 */
struct ir_invariant {
    uint8_t reg, from, extend;
    int64_t by, plus, then_by, then_plus;
};
#define IR_INVARIANTS 4
#define IR_SLOTS 14
#define IR_CHECKS 32

/* Registers and status flags whose value still matters. */
struct live_set {
    uint16_t gpr, flags; /* masks over enum reg; FL_* */
};

/* What an N_HAMMOCK does. Its nodes are its own, which stands for a branch, and those behind it up to where the other side
 * joins them; these are removed. Neither side does more than write general registers and store once, the same bytes.
 *
 *   before `commit`: the program is still at the branch: only `scratch`, dead on both sides, and borrowed registers are
 *                    written; besides them, what going through the branch's side again would not see. Loads are of what the
 *                    path has accessed before. The store comes last, and does no harm twice.
 *   from `commit` on: registers are moved and added, which recovery can do as well: the program is where the sides meet. */
enum hammock_kind {
    HAMMOCK_SET, /* reg = sum */
    HAMMOCK_CMOV, /* if cc: reg = sum.base */
    HAMMOCK_STORE, /* `bytes` of reg to [sum]; the others not after `commit`: */
    HAMMOCK_LOAD, /* reg = `bytes` at [sum], zero-extended */
    HAMMOCK_SHIFT, /* reg = sum.base, of `bytes`, shifted by sum.disp; cc: enum asm_shift. BMI2 */
    HAMMOCK_EXTEND /* reg = the low `bytes` of sum.base, by their sign when cc; sum.narrow: to 4 bytes */
};
static inline bool hammock_writes(unsigned kind) { return kind != HAMMOCK_CMOV && kind != HAMMOCK_STORE; } /* all of reg */
struct hammock_step {
    uint8_t kind, cc, reg, bytes;
    struct asm_sum sum;
};
#define HAMMOCK_STEPS 16
#define IR_HAMMOCKS 16
struct hammock {
    int nodes, shared; /* shared: nodes behind them that stand for the other side's own copies, too */
    uint16_t other_at, other_count; /* the instructions of the side that was not recorded, in ir->made */
    uint16_t scratch, spare; /* masks; spare: dead where the sides meet */
    uint8_t count, commit;
    struct hammock_step step[HAMMOCK_STEPS];
};

/* Where an indirect branch may go besides, the most frequent first: compared with before it is looked up. */
#define CHAIN_TARGETS 3
#define IR_CHAINS 32
struct ir_chain {
    int count;
    uint64_t target[CHAIN_TARGETS];
};

struct node {
    uint8_t op; /* enum node_op */
    uint8_t part; /* enum node_part */
    uint8_t cc;
    uint8_t hammock; /* N_HAMMOCK: index */
    uint8_t fused; /* so many removed nodes in front of it are parts of it: until it is done, the program is at the first */
    uint8_t chain; /* N_GUARD: index + 1; 0: none */
    bool removed, exit_taken, taken; /* taken: as recorded */
    bool appended; /* stands for no instruction: what layout and promote add */
    bool stands; /* N_PUSH_CONST, calls' N_GUARD: the return address is in its place already, only rsp changes */
    bool exit_known; /* liveness: at_exit is filled in */
    int32_t insn; /* index of the original instruction */
    uint64_t target; /* app pc; exits and guards */
    uint64_t value; /* N_PUSH_CONST: address; N_ADD_SP: bytes; N_CHECK: index of the check */
    uint64_t went; /* app pc where the recorded run continued */
    const char *why; /* the pass that changed it and what it did; NULL: as it was */
    const struct insn *in; /* what N_INSN lowers to: the original, or one that a pass made */
    /* After this node, on every way on, exits included, written before it is read. Set by the liveness analysis. Code
     * that borrows a dead register must expect that a fault or a signal shows it. */
    uint16_t gpr_dead, flags_dead;
    uint16_t flags_dead_before; /* the same before it */
    struct live_set at_exit, original; /* liveness: where it leaves to; before it, in the original program */
};

struct ir {
    struct app_pc tag, exit;
    enum trace_end end;
    bool others; /* it has several: what lies on the stack since before the trace is not private either */
    bool alone; /* the process has one thread and shares no writable memory: what it loads twice is the same */
    const struct insn *insns; /* originals */
    int insn_count;
    struct node *nodes;
    int count, cap;

    /* Settings, the caller's, before optimize(). */
    uint32_t passes; /* PASS_BIT of those to run; 0: all; PASSES_NONE: none */
    int bisect; /* only the first so many changes are made; 0: all; below 0: none */
    int unroll; /* bodies in an unrolled loop; 0 and 1: as recorded */
    uint32_t cpu; /* CPU_* */
    struct insn *made; /* room for instructions that passes make; NULL: none are made */
    int made_cap;
    /* Copies up to cap bytes of program text at pc, as the program knows it; returns how many. NULL: all is live at exits. */
    size_t (*peek)(struct app_pc pc, uint8_t *out, size_t cap);
    /* True when the bytes at `at` are readable, and will never change as long as the fragment may run. NULL: never. */
    bool (*constant_at)(uint64_t at, unsigned bytes, uint64_t *value);
    /* Where the indirect branch that ends at `after` has been seen to go; NULL: not known. NULL: nothing is. */
    const struct branch_targets *(*targets_of)(struct app_pc after);
    bool native; /* what it leaves to is the program's own code, with the CPU's own predictions of returns */
    /* What the caller takes to be dead wherever a call through a pointer or a PLT's jump may lead, by its ABI. 0: nothing. */
    uint16_t indirect_gpr_dead, indirect_flags_dead;

    /* Results. */
    int made_count, slot_count, check_count, invariant_count;
    uint32_t borrowed; /* mask over enum reg, from N_BORROW on; bits 24 to 31: xmm8 to xmm15 (REG_VECTOR) */
    uint16_t wanted; /* of hammocks; in the end in `borrowed` */
    struct ir_slot slots[IR_SLOTS];
    struct ir_check checks[IR_CHECKS];
    struct ir_invariant invariants[IR_INVARIANTS];
    struct hammock hammocks[IR_HAMMOCKS];
    int hammock_count;
    struct ir_chain chains[IR_CHAINS];
    int chain_count;
    uint32_t changes[PASS_COUNT];
};

/* Fills ir->nodes from a recorded trace and its decoded instructions. RC_TOO_LONG when cap is too small. */
rc_t ir_build(struct ir *ir, const struct trace *t, const struct insn *insns, int n);

/* Checks IR-1 to IR-8; `laid_out` after the layout pass. RC_VERIFY. */
rc_t ir_verify(const struct ir *ir, bool laid_out);

/* Appends a node (ends of traces). RC_TOO_LONG. */
rc_t ir_append(struct ir *ir, struct node n);

/* Whether the pass may run, and the number of changes so far. */
bool ir_runs(const struct ir *ir, enum pass_id pass);
uint32_t ir_changes(const struct ir *ir);

/* To be asked before each change: counts it and notes why. False when bisecting forbids it. */
bool ir_change(struct ir *ir, enum pass_id pass, struct node *n, const char *why);

/* The trace is a loop, closed by N_BACK, or by N_BACK_IF and N_EXIT. */
bool ir_closes(const struct ir *ir);
/* What closes it, in a body that another one follows, becomes an exit, or goes. `end`: the body's last node. */
void ir_open_end(struct node *end);

/* IR-5: n, an N_INSN, may be removed when it has no effect. */
bool node_may_go(const struct ir *ir, const struct node *n);

static inline bool node_ends_trace(const struct node *n)
{
    return n->op == N_BACK || n->op == N_EXIT || n->op == N_LOOKUP;
}

/* The instruction that n stands for is still the program's own. */
static inline bool node_is_original(const struct ir *ir, const struct node *n)
{
    return !n->in || n->in == &ir->insns[n->insn];
}

#endif
