/* The dispatcher under control=full: HP Dynamo's loop.
 *
 *            +----------------------------------------------------------+
 *            v                                                          |
 *   block at pc --fragment? --yes--> run it --exit: link, count a head--+
 *            |no                                                        |
 *            v                                                          |
 *   run the block's copy, compute where it goes, count a head if the    |
 *   branch went backward, record while a trace is being made -----------+
 *
 * until bail-out, when the thread jumps to its own code and never comes back.
 *
 * Each controlled thread runs this loop in its own record, holding the runtime's lock (runtime/thread.h)
 * whenever it is not in program code.
 *
 *   DSP-1  every program instruction runs from a copy, with the program's own registers and stack.
 *   DSP-2  the program's stack and red zone are never touched by the runtime.
 *   DSP-3  once one thread has given up for all, every other goes native at its next block. */
#ifndef REHEAT_DISPATCH_H
#define REHEAT_DISPATCH_H

#include "fragcache/recover.h"
#include "runtime/base/context.h"
#include "runtime/options.h"
#include "runtime/syscalls.h"

/* Settings; once, before anything else here. */
void dispatch_init(const struct options *o);

/* control=sampled: prepares a slice of the calling thread, whose own state a signal found to be `state`. The caller, a signal handler, arranges that the thread goes on at *entry with *sp as its
 * stack pointer, *arg in rdi and its vector state as it was. Lock held, and it stays held until the slice ends. A reason when there can be no slice. */
rc_t dispatch_slice_begin(const struct cpu_state *state, uint64_t *entry, uint64_t *sp, uint64_t *arg);

/* Takes the calling thread under control: returns to the caller as usual, but interpreted from there on.
 * Any failure leaves the thread native. */
rc_t dispatch_take_control(const struct options *o);
/* True in a thread whose code runs from copies. */
bool dispatch_in_control(void);
/* control=sampled: the program is about to unmap, replace or protect [start, end). Everything made of its text is
 * withdrawn first if some of it lies there. False when that cannot be done. Native threads only. */
bool dispatch_text_changes(uint64_t start, uint64_t end);

/* control=sampled: a second thread is about to start, or memory to be shared. Fragments that were made for a process by
 * itself are withdrawn. Native threads only. */
void dispatch_no_longer_alone(void);

/* The same, when a thread is there already that no wrapper has seen. In a signal handler, lock held. */
void dispatch_others_came(void);

struct thread;
/* Retires all fragments and uses their memory again, if no other thread can be inside. Called by the
 * controlled thread `t` between two blocks. */
void dispatch_flush_fragments(struct thread *t);

/* Code of the range was unmapped, replaced or protected: nothing made of it is found again. */
rc_t dispatch_code_changed(struct thread *self, struct code_change c);

#endif
