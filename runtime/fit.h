/* How fast a thread was in each of many windows, from several work clocks.
 *
 * Clock j ticked at rate[w][j] per nanosecond in window w. The work of a window is taken to be a sum of the ticks
 * with constant weights that are not negative, chosen so that speed (work per time) varies as little as possible about its
 * mean in each arm, and about 1 over all: least squares by coordinate descent (Franc, Hlavac, Navara, CAIP 2005), with Huber's weights against windows that
 * a neighbour disturbed.
 *
 * Uses SSE: only from signal handlers, whose vector state the kernel saves, and in hosted tests. Lock held. */
#ifndef REHEAT_FIT_H
#define REHEAT_FIT_H

#include "runtime/base/types.h"

#define FIT_CLOCKS 13 /* WORKCLOCK_MOST and one */
#define FIT_WINDOWS 1024
#define FIT_ARMS 4
#define FIT_ONE (1u << 24) /* speed 1 */

/* What the clocks ticked in window w of an arm, which lasted ns. */
void fit_window(int w, int arm, const uint64_t ticks[FIT_CLOCKS], uint64_t ns);
/* Fits windows 0 to n-1. Returns the number of clocks that got a weight. */
int fit_windows(int n);
/* The mean distance of the windows' speed from their arm's in the last fit, in 1/FIT_ONE. */
uint64_t fit_spread(void);
/* The speed of window w by the last fit, in 1/FIT_ONE. */
uint64_t fit_speed(int w);

#endif
