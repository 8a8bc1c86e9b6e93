#include "runtime/control.h"

#include "fragcache/cache.h"
#include "runtime/housekeep.h"
#include "runtime/signals.h"
#include "runtime/slice.h"
#include "runtime/stats.h"
#include "tracer/stubs.h"

static __thread struct tls_slots slots __attribute__((tls_model("initial-exec")));

static struct {
    stubs_enter_fn *enter;
    rc_t abandoned; /* DSP-3: why; RC_OK: still in control */
    bool holds; /* the lock while program code runs: SEV-3 */
    bool silent; /* no system call of ours any more */
} c;

struct tls_slots *control_slots(void) { return &slots; }
bool control_ready(void) { return c.enter != NULL; }
rc_t control_abandoned(void) { return c.abandoned; }

_Noreturn void control_go_native(struct thread *t, struct app_pc pc)
{
    slots.ctx = NULL;
    slots.target = pc.v;
    signals_leave(&t->ctx);
    c.enter(&t->ctx); /* the program's own code, for good */
    __builtin_unreachable();
}

/* This thread alone gives up control. Lock held. */
_Noreturn void control_leave(struct thread *t, struct app_pc pc)
{
    if (!c.silent)
        housekeep_thread_gone(t);
    thread_gone(t);
    thread_unlock(t, THREAD_GONE);
    control_go_native(t, pc);
}

/* A slice is over: the thread goes on natively until its next sample. Lock held. */
_Noreturn void control_end_slice(struct thread *t, uint64_t to)
{
    t->rec.active = false;
    slice_ends(t);
    thread_unlock(t, THREAD_NATIVE);
    control_go_native(t, app_pc(to));
}

/* All threads give up control. Lock held. */
_Noreturn void control_bail_out(struct thread *t, struct app_pc pc, rc_t reason)
{
    c.abandoned = c.abandoned == RC_OK ? reason : c.abandoned;
    if (!stats.bailout_reason && !c.silent)
        housekeep_bailed(c.abandoned);
    control_leave(t, pc);
}

_Noreturn void control_leave_sandboxed(struct thread *t, struct app_pc pc)
{
    if (c.abandoned == RC_OK) {
        c.abandoned = RC_SANDBOX;
        housekeep_bailed(RC_SANDBOX);
    }
    housekeep_exit();
    c.silent = true;
    control_leave(t, pc);
}

static struct app_pc after_block(struct thread *t, const struct block *b)
{
    return interp_next(b, &t->ctx, &slots).next;
}

static struct app_pc after_fragment(void)
{
    return slots.exit_id == EXIT_LOOKUP ? app_pc(slots.target) : fc_exit(slots.exit_id)->target;
}

void control_run(struct thread *t, struct cache_pc code, enum thread_state state, const struct block *b)
{
    slots.target = code.v;
    if (c.holds) {
        c.enter(&t->ctx);
        return;
    }
    thread_unlock(t, state);
    c.enter(&t->ctx);
    if (thread_lock(t))
        return;
    rc_t in_control = RC_OK; /* THR-3: shared state is not ours to touch */
    (void)__atomic_compare_exchange_n(&c.abandoned, &in_control, RC_LOCK, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    control_go_native(t, b ? after_block(t, b) : after_fragment());
}

void control_run_locked(struct thread *t, struct cache_pc code)
{
    slots.target = code.v;
    c.enter(&t->ctx);
}

void control_init(void)
{
    uint64_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    slots_fs_offset = (int32_t)((int64_t)(uintptr_t)&slots - (int64_t)fs);
}

rc_t control_prepare(void (*thread_main)(struct cpu_ctx *), bool native_exits)
{
    struct code_region *r;
    stubs_set_thread_main(thread_main);
    stubs_set_native_exits(native_exits);
    c.holds = native_exits;
    TRY(stubs_region(app_pc((uint64_t)(uintptr_t)&takeover), &r));
    TRY(code_commit());
    c.enter = (stubs_enter_fn *)r->enter.v;
    return RC_OK;
}
