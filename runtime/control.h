/* The border between the runtime and program code: running copies and fragments, and giving threads back.
 *
 *   control_run        until the copy or fragment leaves
 *   control_syscall    a block that is a system call
 *   control_bail_out   all threads go native   control_leave   this one does   control_end_slice   until its next sample
 *
 * Lock held on entry and, where they return, on return. */
#ifndef REHEAT_CONTROL_H
#define REHEAT_CONTROL_H

#include "runtime/thread.h"

struct block;

/* The calling thread's slots. */
struct tls_slots *control_slots(void);
/* Finds out where they are; before any code is generated. */
void control_init(void);
/* Makes the first region's stubs. New threads start in thread_main; see tracer/stubs.h for native_exits. */
rc_t control_prepare(void (*thread_main)(struct cpu_ctx *), bool native_exits);
bool control_ready(void);
/* Why all threads are to go native; RC_OK: they are not. */
rc_t control_abandoned(void);

/* Runs `code` in state `state`. `b` is the block it is a copy of, NULL for a fragment: it says where the program is if
 * the lock cannot be had again (THR-3). */
void control_run(struct thread *t, struct cache_pc code, enum thread_state state, const struct block *b);
/* The same without giving up the lock. */
void control_run_locked(struct thread *t, struct cache_pc code);
/* Runs b, a system call, with all it means for threads, children and code. Returns where the program goes on. */
struct app_pc control_syscall(struct thread *t, struct block *b);

/* The program's own code from `pc` on; for a thread without the lock. */
_Noreturn void control_go_native(struct thread *t, struct app_pc pc);
_Noreturn void control_leave(struct thread *t, struct app_pc pc);
_Noreturn void control_end_slice(struct thread *t, uint64_t pc);
_Noreturn void control_bail_out(struct thread *t, struct app_pc pc, rc_t reason);
/* The last moment at which system calls are ours to make: publishes everything, then makes none any more. */
_Noreturn void control_leave_sandboxed(struct thread *t, struct app_pc pc);

/* takeover.S */
REH_HIDDEN void takeover(struct cpu_ctx *ctx, void *stack_top, void (*run)(uint64_t pc));

#endif
