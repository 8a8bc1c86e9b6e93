/* The parts of pass_convert: what one side of a branch computes, in terms of the registers at the branch; and what brings
 * about both sides at once. */
#ifndef REHEAT_CONVERT_H
#define REHEAT_CONVERT_H

#include "optimizer/values.h"

/* Register and memory contents as sums over the registers at the branch. Equal sums are equal bytes. */
struct side {
    struct asm_sum reg[16];
    uint16_t reads; /* registers that its instructions read */
    uint16_t flags_written;
    bool stores; /* once: the low `bytes` of `value` to [at] */
    uint8_t bytes;
    struct asm_sum at, value;
};

void side_start(struct side *d);
/* False when `in` is something else than a move or sum of general registers, or a store of one. `at_branch`: what is known
 * there; a load is followed when a register holds the value there, and nothing is stored before it. */
bool side_step(struct side *d, struct values *at_branch, const struct insn *in);

static inline bool sum_is_register(struct asm_sum s)
{
    return s.base < R_NONE && s.index == R_NONE && !s.disp && !s.narrow;
}
bool sum_equal(struct asm_sum a, struct asm_sum b);

/* Fills in the steps: `go` is the recorded side, `leave` the other one, taken when cc holds. Registers: those `live` where the
 * sides meet, and those `free` to be written while the program is at the branch. False when there are too few. */
bool convert_steps(struct hammock *sel, const struct side *go, const struct side *leave, unsigned cc, uint16_t live,
                   uint16_t free);

#endif
