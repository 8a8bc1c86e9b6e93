/* The statistics of trials: pure, integers only.
 *
 * A block of windows runs each arm once, in random order. Its value for an arm is x = ln(speed of the arm / speed of
 * native), in units of 1/65536; speed is work by the work clocks for CPU time (fit.h). Workloads drift and neighbours steal, so
 * the estimate is the 20 % trimmed mean, with the error that belongs to it (Yuen, Biometrika 61, 1974).
 *
 * A trial is looked at when it has 8, 12, 16, 24, ... 256 blocks; and when it has 4, for arms that are much slower. Each look uses
 * the quantile of Student's t that is passed by chance once in 1000: over all 11 looks together at most 1.1 % of the fragments
 * that gain nothing are kept. */
#ifndef REHEAT_VERDICT_H
#define REHEAT_VERDICT_H

#include "runtime/base/types.h"

#define VERDICT_ONE 65536 /* ln units */
#define VERDICT_MOST_BLOCKS 256

struct estimate {
    int32_t mean, error; /* ln units */
    int n; /* blocks */
};

enum verdict {
    VERDICT_NONE, /* go on */
    VERDICT_FASTER,
    VERDICT_SLOWER,
    VERDICT_NEUTRAL /* not shown to be faster, and no longer likely to be by VERDICT_WORTH */
};

/* ln(num / den); both are scaled to fit. */
int32_t verdict_ln(uint64_t num, uint64_t den);
/* n at most VERDICT_MOST_BLOCKS; x is left as it was. `fitted` parameters were chosen on the same 2n windows. */
struct estimate verdict_estimate(const int32_t *x, int n, int fitted);
/* True when a trial of n blocks is to be looked at. */
bool verdict_due(int n);
enum verdict verdict_of(struct estimate e);

#endif
