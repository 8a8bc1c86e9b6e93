/* What a trial costs the program while it lasts: time spent in arms that are slower than native, clocks, switching.
 *
 * How much slower an arm is is not known before the verdict, but a rough figure is there after two blocks: the median, over the
 * work clocks, of how much faster each ticked natively. Until then EXPOSURE_PRIOR is assumed. It may be negative: what is
 * gained in a faster arm pays for the others, so that noise does not add up to a loss. The trial is followed by so much native
 * time that it costs no more than one part in EXPOSURE_SHARE of both; as the figures become better, so does what is still due.
 * trial.c asks for that once all trials together have cost more than a few milliseconds.
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
/* Clocks and switching cost so much. */
void exposure_overhead(uint64_t ns);
/* By how much an arm seems slower, in ln units; negative when it seems faster. */
int32_t exposure_loss(int arm);
/* What all windows are thought to have lost in slower arms, in ns: less what was gained in faster ones, at least 0. */
uint64_t exposure_lost(void);
/* The same with clocks and switching. */
uint64_t exposure_cost(void);
/* Native time, in ns, that is still to pay for all that. */
uint64_t exposure_due(void);
/* So much was paid. */
void exposure_rested(uint64_t ns);

#endif
