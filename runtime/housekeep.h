/* What happens now and then on a controlled thread, between two blocks, with the lock held: samples are drained and counted,
 * the stat page is published, and the policy decides whether traces pay.
 *
 *   KEEP-1  bail-out: after BAIL_WINDOWS windows in a row in which the runtime's own share of the samples was
 *         large and the fragments' share small, the program goes native for good.
 *   KEEP-2  phase change: when traces form much faster than they have on average and the cache is well filled,
 *         the cache is flushed (Dynamo, section 6). */
#ifndef REHEAT_HOUSEKEEP_H
#define REHEAT_HOUSEKEEP_H

#include "runtime/base/rc.h"
#include "runtime/options.h"

void housekeep_init(const struct options *o);
struct thread;

/* Called every few hundred dispatches of a thread. A bail reason when the program should go native. */
rc_t housekeep(struct thread *t);
/* The calling thread is about to record a trace: sample it from now on. */
void housekeep_sample(struct thread *t);
/* The calling thread ends or goes native: its samples are counted for the last time. */
void housekeep_thread_gone(struct thread *t);
/* control=sampled, at a slice's end: samples of the calling thread come as fast as they are needed; */
void housekeep_rate(struct thread *t, bool fast);
/* and the stat page is published when that was long ago, or the phase has changed. */
void housekeep_phase(void);
/* Counts the samples taken so far; before code addresses change meaning. */
void housekeep_drain(void);
void housekeep_bailed(rc_t reason);
void housekeep_forked(void);
/* The process is about to end. */
void housekeep_exit(void);

#endif
