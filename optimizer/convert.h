/* The parts of pass_convert: what one side of a branch computes, in terms of the registers at the branch; and what brings
 * about both sides at once. */
#ifndef REHEAT_CONVERT_H
#define REHEAT_CONVERT_H

#include "optimizer/values.h"

/* What is no sum is computed into free registers before anything else: what both sides load, shift and extend. */
struct prelude {
    struct hammock *sel;
    const struct ir *ir;
    uint16_t free, borrowed; /* registers; borrowed: those that are no concern of the program, taken last */
};

/* Register and memory contents as sums over the registers at the branch and those of the prelude. Equal sums are equal
 * bytes. */
struct side {
    struct prelude *prelude;
    struct asm_sum reg[16];
    uint16_t reads; /* registers that its instructions read */
    uint16_t flags_written;
    bool stores; /* once: the low `bytes` of `value` to [at] */
    uint8_t bytes;
    struct asm_sum at, value;
};

void side_start(struct side *d, struct prelude *p);
/* False when `in` is something else than a move, sum, extension or shift of general registers, or a store of one.
 * `at_branch`: what is known there; a load is followed when the path has been at its place, and nothing is stored before it. */
bool side_step(struct side *d, struct values *at_branch, const struct insn *in);

static inline bool sum_is_register(struct asm_sum s)
{
    return s.base < R_NONE && s.index == R_NONE && !s.disp && !s.narrow;
}
bool sum_equal(struct asm_sum a, struct asm_sum b);

/* One of `free`, of which it is no more then; R_NONE. */
unsigned prelude_take(uint16_t *free, uint16_t borrowed);

/* Adds the steps behind the prelude's: `go` is the recorded side, `leave` the other one, taken when cc holds. `live`: where the
 * sides meet. False when there are too few registers. */
bool convert_steps(struct hammock *sel, struct side *go, struct side *leave, unsigned cc, uint16_t live);

#endif
