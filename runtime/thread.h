/* Threads under control, and the runtime's one lock.
 *
 *   native --thread_new (by its parent, before clone)--> WAITING --lock--> RUNTIME <--> RUNNING | SYSCALL
 *   RUNTIME --goes native, or exit(2)--> GONE, its record reused once the kernel no longer knows the thread
 *
 *   RUNNING  program code runs from copies and fragments
 *   SYSCALL  as RUNNING, but in a copy that holds only a system call
 *   WAITING  about to take the lock
 *   RUNTIME  holds the lock
 *   NATIVE   between two slices of control=sampled; may be inside fragments, never inside copies of blocks
 *
 *   THR-1  shared state of the runtime is read and written only in state RUNTIME.
 *   THR-2  code that another thread may be executing is patched only while no other thread is RUNNING.
 *   THR-3  the lock is never waited for longer than LOCK_PATIENCE: a holder may have been taken away for good
 *          by a signal handler that jumped, so the waiter gives up control and goes on natively.
 *   THR-4  with one thread the lock is not touched. */
#ifndef REHEAT_THREAD_H
#define REHEAT_THREAD_H

#include "runtime/base/context.h"
#include "runtime/sampler.h"
#include "tracer/record.h"

/* The program's handlers run on this stack when a signal hits the runtime, so it is as large as a main stack. Only
 * what is used becomes memory; the lowest page is a guard. */
#define THREAD_STACK_BYTES (8u << 20)

/* Why a block may be a head, and what that adds to its heat. */
enum candidacy { NO_HEAD = 0, CALLED_HEAD = 1, LOOP_HEAD = 16 };

enum thread_state { THREAD_GONE, THREAD_WAITING, THREAD_RUNTIME, THREAD_RUNNING, THREAD_SYSCALL, THREAD_NATIVE };

struct thread {
    struct cpu_ctx ctx; /* first: slots.ctx points here */
    uint32_t state; /* enum thread_state; written by its owner, read by the lock's holder */
    int32_t tid; /* 0 until the thread has run */
    uint64_t start_pc; /* app pc of a new thread */
    uint64_t stack_top;
    struct thread *next; /* all records ever made */
    struct block *previous; /* the block that ran last, when its successor may be remembered */
    uint8_t candidate; /* enum candidacy of the next block */
    struct sampler sampler;
    bool sampler_tried;
    uint64_t sampler_asked, sampler_rate; /* samples per second: the last wish, and those that come */
    uint32_t dispatches, housekeeps;
    uint64_t slice_start, slice_runs; /* time stamp counter; block runs left */
    bool expects_loop; /* of the trace that is being recorded */
    struct recorder rec;
};

/* A record with its stack, state WAITING; NULL without memory. Lock held. */
struct thread *thread_new(void);
/* control=sampled: the record of thread `tid`, made at the first call; NULL without memory. Lock held. */
struct thread *thread_of(long tid);
struct thread *thread_first(void);
/* The record whose thread the caller is; NULL: none. Lock held. */
struct thread *thread_current(void);
/* The record will not be used by its thread again, but its thread may still run a few instructions. */
void thread_gone(struct thread *t);
/* No other controlled thread exists. Lock held. */
bool thread_alone(const struct thread *self);
/* No other thread may be executing copies or fragments that could be patched. Lock held. */
bool thread_others_stopped(const struct thread *self);
/* In a forked child: only the caller's record remains. */
void thread_forked(struct thread *self);
/* In a forked child that has no other thread yet: the lock is free, and does not count until there is one. */
void thread_lock_reset(void);
/* From now on there may be several threads: the lock counts. The caller holds it afterwards. */
void thread_expect_others(void);

/* The same for a thread that runs natively; the lock is free afterwards. */
void thread_others_come(void);

/* One try, no wait: for signal handlers. */
bool thread_lock_try(void);
void thread_lock_drop(void);
/* False: not had within LOCK_PATIENCE; nothing of the runtime may be touched. */
bool thread_lock(struct thread *self);
void thread_unlock(struct thread *self, enum thread_state next);
/* For threads that run natively, signals blocked or in a fork; a thread that has it may take it again. False: not had within
 * NATIVE_PATIENCE, or not at once if not `patient`. */
bool thread_lock_native(bool patient);
void thread_unlock_native(void);
bool thread_lock_is_free(void);
/* Makes other threads see patched code (membarrier(2), SYNC_CORE). */
void thread_sync_code(void);

#endif
