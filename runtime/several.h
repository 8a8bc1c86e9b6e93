/* A process with several threads, under control=sampled and threads=1.
 *
 *   ALONE --several_begin, before libc makes the second thread--> SEVERAL --a thread that libc does not make--> STRANGERS
 *
 * ALONE: everything is as if there were no such setting. SEVERAL is never left for ALONE, even when the other threads have ended.
 * In STRANGERS, and in ALONE with threads=0, nothing is made while there are others: whose slots (context.h) they use is not known.
 *
 *   SEV-1  code that another thread may be executing changes by replacing its page only (poke.h, no int3); branches inside of
 *          fragments are never changed, and lead to no other fragment.
 *   SEV-2  memory of code is not used twice: retired fragments, gates, native copies and stubs stay. Full is full.
 *   SEV-3  a slice holds the lock from its signal to its end, all signals blocked; what else reads or writes shared
 *          state holds it too: ticks, withdrawing, forks, the end of the process.
 *   SEV-4  between the withdrawal of text and the end of the call that changes it nothing is made.
 *
 * SEV-3 and a program that spins until another thread goes on: a slice ends by its budget. */
#ifndef REHEAT_SEVERAL_H
#define REHEAT_SEVERAL_H

#include "runtime/base/types.h"

/* threads=. Before the first thread is made. */
void several_init(bool wanted);
bool several_now(void);
/* libc is about to make a thread. The process is alone and its thread native, or this is not the first one. False: stays
 * ALONE. */
bool several_begin(void);
/* A thread is about to be made by other means, or is there; or one may be cancelled at any instruction. */
void several_strangers(void);

/* Text is about to change, and has changed; pairs, by thread. In SEVERAL nothing is made between the two (SEV-4). */
void several_text_begins(void);
void several_text_ends(void);
/* No slice and no tick now; never again. Asked with the lock held. */
bool several_waits(void);
bool several_is_over(void);
/* Nobody has the lock who could make something while the caller is between several_text_begins and _ends. */
bool several_rests(void);
/* The lock, for a native thread with signals blocked or in a fork, and until thread_unlock_native. False: it cannot be had, and what
 * is there stays; nothing is made or changed any more, several_is_over(). */
bool several_lock(void);

/* Around fork(2). */
void several_fork_begins(void);
void several_fork_ends(bool child);

#endif
