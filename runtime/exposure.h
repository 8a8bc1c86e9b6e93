/* What a trial costs the program while it lasts: time spent in arms that are slower than native.
 *
 * How much slower is not known before the verdict, but a rough figure is there after a block or two: the median, over the
 * work clocks, of how much faster each ticked natively. Until then EXPOSURE_PRIOR is assumed. A block is followed by so much
 * native time that it costs no more than one part in EXPOSURE_SHARE of both. trial.c asks for that once all trials together have
 * cost more than a few milliseconds.
 *
 * Integers only; lock held. */
#ifndef REHEAT_EXPOSURE_H
#define REHEAT_EXPOSURE_H

#include "runtime/base/types.h"
#include "runtime/fit.h"
#include "runtime/verdict.h"

#define EXPOSURE_SHARE 300u
#define EXPOSURE_PRIOR (VERDICT_ONE / 20)

/* A trial begins, or begins again with other clocks. */
void exposure_begin(void);
/* A window of an arm lasted ns. */
void exposure_window(int arm, const uint64_t ticks[FIT_CLOCKS], uint64_t ns);
/* By how much an arm seems slower, in ln units; 0 when it seems faster. */
int32_t exposure_loss(int arm);
/* Native time, in ns, that pays for the windows since the last call, or since the beginning. */
uint64_t exposure_pay(void);
/* What all windows are thought to have cost, in ns. */
uint64_t exposure_cost(void);

#endif
