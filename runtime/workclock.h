/* Work clocks: counters on hooks in the program's own text, ticking while a trial runs.
 *
 *     site:  jmp stub     stub: fs:count[i]++; jmp native     native: the displaced instruction; jmp behind it
 *
 * A place of the program that runs some 10,000 to 1,000,000 times a second, and of whose text no fragment that may be
 * entered has a copy, is passed as often for the same work, whatever arm a trial runs. So the ticks of several such
 * places tell how much work was done (fit.h).
 *
 *   WCK-1  no live clock stands in text that a fragment was made from which is kept or on trial.
 *   WCK-2  a stub uses no slots: a signal may come between any two of its instructions. It spills below the red zone.
 *
 * Each thread counts for itself. Lock held. workclock_choose outside signal handlers. */
#ifndef REHEAT_WORKCLOCK_H
#define REHEAT_WORKCLOCK_H

#include "fragcache/cache.h"

#define WORKCLOCK_MOST 12
#define WORKCLOCK_HEAD WORKCLOCK_MOST /* counts the iterations of a loop that has no clock outside it */

/* Where clocks may stand. */
enum workclock_source {
    /* At blocks that are interpreted now and then; where the fragments on trial may be left to, and at the sides of branches that
     * were never seen taken: what comes after a loop is seldom interpreted. */
    WORKCLOCK_SLOW,
    WORKCLOCK_FAST, /* at any block; the last one may tick faster, which costs much */
    WORKCLOCK_NONE
};
/* Chooses clocks, and sets their hooks. Returns how many. `own`: the fragments on trial.*/
int workclock_choose(enum workclock_source source, struct fragment *const *own, int n);
/* Takes out the fastest clocks until the others no longer tick so often that it would be felt; `ticks` of each in a window of
 * ns. True: some are out. In signal handlers too. */
bool workclock_thin(const uint64_t *ticks, uint64_t ns);
int workclock_live(void);
/* What a tick costs, at most (measured: 3 to 12; 20 where passes come back into the hook's own jump; 1 to 3 in short loops, where
 * it overlaps with the rest). */
uint64_t workclock_tick_ns(void);
/* Out for a while, and in again; in signal handlers too. */
void workclock_pause(void);
void workclock_resume(void);
/* Takes their hooks out. */
void workclock_stop(void);
uint64_t workclock_read(int i);
/* A stub that ticks WORKCLOCK_HEAD and goes on to `to`, for code near `near`. RC_CACHE_FULL. */
rc_t workclock_stub(struct app_pc near, struct cache_pc to, struct cache_pc *stub);
/* Hooks and code memory are gone. */
void workclock_forget(void);

#endif
