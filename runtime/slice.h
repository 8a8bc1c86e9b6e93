/* The slices of control=sampled: short moments in which a thread is interpreted.
 *
 *   native --CPU-time signal--> handler prepares a slice --sigreturn--> dispatcher until the budget is used,
 *   a system call, a fragment's head or code that is not traced comes --> native, next signal armed
 *
 *   SLC-1  when slices begin, and what they may cost, is the policy's (policy.h, POL-1).
 *   SLC-2  one slice lasts at most SLICE_RUNS block runs, and as many more as a trace in progress needs. */
#ifndef REHEAT_SLICE_H
#define REHEAT_SLICE_H

#include "runtime/options.h"

#define SLICE_SIGNAL 23 /* SIGURG: ignored by default, so one that comes late harms nothing; virtualised in interpose.c */

struct thread;
struct block;

/* control=sampled is on: SLICE_SIGNAL is ours. */
bool slice_active(void);

/* Arms the first CPU-time signal of the calling thread: three system calls, no memory. */
/* `prepare` runs once, before anything else of the runtime does. */
rc_t slice_start(void (*prepare)(void));
/* No more slices, and no more system calls of ours: everything is published now. Native threads only. */
void slice_stop(void);
/* The same before the process ends, and all fragments are withdrawn, for nobody will see what they rely on end; the default action is set for SLICE_SIGNAL.
 * False, and nothing is done, in a child that shares the memory of the process whose slices they are. */
bool slice_give_up(rc_t why);
/* The next slice does not come at once: something is about to happen that it must not come before. */
void slice_postpone(void);
/* A thread of libc's begins: the calling one. */
void slice_thread_starts(void);
/* Around a fork, in the parent; */
void slice_fork_begins(void);
void slice_fork_ends(void);
/* in the child: it keeps the cache, but not the timer. */
void slice_forked(void);
void slice_begins(struct thread *t);
bool slice_stops_at(struct thread *t, const struct block *b);
void slice_ends(struct thread *t);

#endif
