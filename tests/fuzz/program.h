/* A random program as a list of items, and what it becomes in memory: text at its app pcs, and the trace of one run.
 *
 * Items do not name addresses: laying them out again after one was taken away gives a program again, which is what
 * shrinking needs. Conditions are laid out by running: whichever way the recorded run goes is where the rest of the
 * items lies; the other way leads to a pad. */
#ifndef REHEAT_FUZZ_PROGRAM_H
#define REHEAT_FUZZ_PROGRAM_H

#include "tests/fuzz/world.h"
#include "tracer/record.h"

enum item_op {
    I_PLAIN,    /* bytes; rip_at: offset of a disp32 to be aimed at consts + arg */
    I_JCC,      /* arg: cc; alt: short form; reg: the exit begins with test eax, eax, if it does not lead to a pad at once */
    I_FORK,     /* arg: cc; the next `reg` plain items are one side, `alt_reg` more the other one, then they meet;
                 * alt: both sides end in a branch to one pad, by condition rip_at or its opposite */
    I_JCC_SAME, /* both ways lead to the next instruction */
    I_LOOP_OP,  /* arg: as insn.loop_op */
    I_JMP,
    I_CALL,
    I_RET,     /* arg: bytes popped */
    I_JMP_REG, /* reg; alt: sometimes to a pad, by cmovcc alt_reg; bytes: kind, register, constant of what sets flags */
    I_CALL_REG,
    I_JMP_MEM, /* through consts + arg, reg is clobbered */
    I_CALL_MEM,
    I_JMP_FIXED, /* through read-only data, as a PLT does */
    I_CALL_FIXED,
    I_PUSH_RET,     /* push an address, ret */
    I_HIJACK,       /* changes the return address at [rsp], ret */
    I_CUT,          /* a block ends here without a branch, as at the size limit */
    I_BACK,         /* arg: cc; the loop closes */
    I_BACK_LOOP,    /* loop to the head; rcx counts */
    I_END_INDIRECT, /* reg: where to; the trace ends in a lookup */
    I_END_BEFORE    /* the last branch stays native */
};

struct item {
    uint8_t op, len, rip_at, reg, alt, alt_reg;
    int16_t arg;
    uint8_t bytes[16];
};

#define MAX_ITEMS 160
struct program {
    int count;
    struct item items[MAX_ITEMS];
    struct state start; /* of the recorded run */
    struct memory memory;
};

#define MAX_TRACE_INSNS 512
struct built {
    struct trace trace;
    struct insn insns[MAX_TRACE_INSNS];
    int insn_count;
    int faults; /* of the recorded run */
};

/* Lays the program out and records it. False when the recorded run faults, hangs or leaves where it should not. */
bool program_build(const struct program *p, struct built *out);
/* The pcs that stand for the program: not pads. */
bool program_holds(uint64_t pc);

#endif
