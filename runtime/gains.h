/* What each pass has gained: the gains of trials that kept something, shared out among the passes.
 *
 * The variants of a candidate differ in the passes that changed them. Where the trial has measured a variant that lacks some
 * of the passes of the kept one, the difference between the two is the gain of these passes: *measured*. What the last such
 * variant gains is *shared* in equal parts by the passes that changed it, for nothing tells them apart; and is that of the
 * layout alone, which every fragment has, if none did. Trials of several candidates are shared out among these by samples first.
 *
 * Pure: no process state. */
#ifndef REHEAT_GAINS_H
#define REHEAT_GAINS_H

#include "optimizer/ir.h"

#define GAINS_ARMS 4 /* CANDIDATE_ARMS */
#define GAIN_UNKNOWN INT32_MIN

struct gains {
    uint64_t fragments[PASS_COUNT + 1]; /* kept ones that the pass changed; the last: that none did */
    int64_t measured[PASS_COUNT], shared[PASS_COUNT + 1]; /* in 1/65536, as struct estimate */
};

/* A candidate that is kept on `arm`. By arm: the passes that changed its variant, and what the trial found the whole set to
 * gain there, or GAIN_UNKNOWN. It has `part` of `all` of the set's samples. */
void gains_add(struct gains *g, const uint32_t passes[GAINS_ARMS], const int32_t gain[GAINS_ARMS], int arm, uint64_t part,
               uint64_t all);
/* One that was kept without a trial. */
void gains_add_untried(struct gains *g, uint32_t passes);

#endif
