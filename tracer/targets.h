/* Where indirect branches go, and how often: the most frequent targets of each, counted while its blocks are interpreted.
 *
 * Counters as in Metwally, Agrawal, El Abbadi, Efficient computation of frequent elements (ICDT 2005): a target that is not
 * among those kept takes the place of the rarest and inherits its count, so that what is frequent stays. A count is never
 * too low, and too high by no more than the rarest one.
 *
 * Guesses only: nothing may rely on them, and those of text that is gone do no harm. With the runtime's lock held. */
#ifndef REHEAT_TARGETS_H
#define REHEAT_TARGETS_H

#include "runtime/base/types.h"

#define TARGETS_KEPT 4

struct branch_targets {
    uint64_t after; /* the address after the branch; 0: unused */
    uint32_t runs;
    uint32_t count[TARGETS_KEPT]; /* falling */
    uint64_t target[TARGETS_KEPT]; /* 0: none */
};

/* The indirect branch that ends at `after` went to `target`. */
void targets_note(struct app_pc after, struct app_pc target);
/* What is known of it; NULL: nothing. */
const struct branch_targets *targets_find(struct app_pc after);
void targets_forget(void);

#endif
