/* CPU-time signals of the threads of a process: each has a timer on its own user time, so that only a thread that runs in user
 * mode is ever interrupted, and by its own time.
 *
 * A timer outlives its thread, and is deleted when room is needed: at most TIMERS_MOST threads have one. Any thread; no
 * lock. */
#ifndef REHEAT_TIMERS_H
#define REHEAT_TIMERS_H

#include "runtime/base/types.h"

#define TIMERS_MOST 32

/* Makes the calling thread's timer, which sends it `sig`. False: it has none. */
bool timers_make(int sig);
/* The calling thread's next signal, in nanoseconds of its user time. False: refused, or it has none. */
bool timers_arm(uint64_t ns);
/* The calling thread has one. */
bool timers_mine(void);
/* The calling thread's. */
void timers_delete(void);
/* In the child of a fork: timers are not inherited. */
void timers_forked(void);

#endif
