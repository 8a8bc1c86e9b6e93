#include "runtime/base/mem.h"
#include "runtime/control.h"
#include "runtime/dispatch.h"
#include "runtime/housekeep.h"
#include "runtime/syscalls.h"
#include "tracer/block.h"

/* Only glibc lays out a thread's memory so that our slots are in it; and its clone() also takes others' layouts. */
static bool makes_glibc_thread(const struct thread *t, const struct block *b)
{
    const struct map_range *r = maps_find(b->pc);
    const char *name = r ? str_base(r->path) : "";
    bool glibc = str_equal(name, "libc.so.6") || str_equal(name, "libpthread.so.0");
    return glibc && syscall_thread_pointer_is_glibc(&t->ctx);
}

/* A new thread starts under control; without a record for it, natively. */
static void run_thread_clone(struct thread *t, struct block *b)
{
    struct cache_pc code = b->code_clone;
    thread_expect_others();
    struct thread *child = makes_glibc_thread(t, b) ? thread_new() : NULL;
    if (child) {
        child->start_pc = b->next.v;
        child->ctx.gpr[R_RCX] = b->next.v;
        if (block_thread_code(b, &child->ctx, &code) != RC_OK) {
            thread_gone(child);
            child = NULL;
            code = b->code_clone;
        }
        thread_sync_code();
    }
    control_run(t, code, THREAD_SYSCALL, b);
    if (child && (int64_t)t->ctx.gpr[R_RAX] < 0)
        thread_gone(child);
}

/* Holds the lock meanwhile: the child must find everything at rest. */
static void run_fork(struct thread *t, struct block *b)
{
    control_run_locked(t, b->code);
    if (t->ctx.gpr[R_RAX] != 0)
        return;
    thread_forked(t);
    thread_lock_reset();
    housekeep_forked();
}

struct app_pc control_syscall(struct thread *t, struct block *b)
{
    struct cpu_ctx before = t->ctx;
    struct app_pc next = b->next;
    t->candidate = LOOP_HEAD;
    switch (syscall_before(&t->ctx)) {
    case SYSCALL_NATIVE: control_bail_out(t, b->pc, RC_TLS_CHANGED);
    case SYSCALL_SANDBOX: control_leave_sandboxed(t, b->pc);
    case SYSCALL_THREAD: run_thread_clone(t, b); return next;
    case SYSCALL_FORK: run_fork(t, b); return next;
    case SYSCALL_CLONE: control_run(t, b->code_clone, THREAD_SYSCALL, b); return next;
    case SYSCALL_EXIT_THREAD:
        if (thread_alone(t))
            housekeep_exit();
        control_leave(t, b->pc);
    case SYSCALL_EXIT: housekeep_exit(); break;
    case SYSCALL_RUN: break;
    }
    control_run(t, b->code, THREAD_SYSCALL, b);
    struct code_change c = syscall_after(&before, (int64_t)t->ctx.gpr[R_RAX]);
    if (c.start != c.end) {
        rc_t rc = dispatch_code_changed(t, c);
        if (rc != RC_OK)
            control_bail_out(t, next, rc);
    }
    return next;
}
