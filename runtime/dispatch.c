#include "runtime/dispatch.h"

#include "fragcache/cache.h"
#include "runtime/adopt.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/housekeep.h"
#include "runtime/slice.h"
#include "runtime/stats.h"
#include "runtime/syscalls.h"
#include "runtime/thread.h"
#include "runtime/traces.h"
#include "runtime/trial.h"
#include "tracer/stubs.h"

#define BLOCK_AREA_BYTES (32u << 20)
#define THRASH_RUNS 200000u /* block runs between two flushes of a cache that is far too small */
#define HOT_MOST 100000u
#define HOUSEKEEP_EVERY 512u /* dispatches */

static __thread struct tls_slots slots __attribute__((tls_model("initial-exec")));

static struct {
    stubs_enter_fn *enter;
    uint64_t hot, hot_least; /* the threshold now and as set */
    uint64_t runs_at_flush;
    int max_insns;
    rc_t abandoned; /* DSP-3: why; RC_OK: still in control */
    bool silent; /* no system call of ours any more */
    bool sampled; /* control=sampled: system calls, strange code and fragments end a slice */
} d;

REH_HIDDEN void takeover(struct cpu_ctx *ctx, void *stack_top, void (*run)(uint64_t pc));

bool dispatch_in_control(void) { return slots.ctx != NULL; }

bool dispatch_text_changes(uint64_t start, uint64_t end)
{
    if (!d.sampled || !d.enter || dispatch_in_control() || !maps_touches_code(start, end))
        return true;
    if (!adopt_withdraw())
        return false;
    if (fc_stats_get().live)
        fc_flush();
    block_flush();
    maps_forget();
    return true;
}

_Noreturn static void go_native(struct thread *t, struct app_pc pc)
{
    slots.ctx = NULL;
    slots.target = pc.v;
    d.enter(&t->ctx); /* the program's own code, for good */
    __builtin_unreachable();
}

/* This thread alone gives up control. Lock held. */
_Noreturn static void leave_control(struct thread *t, struct app_pc pc)
{
    if (!d.silent)
        housekeep_thread_gone(t);
    thread_gone(t);
    thread_unlock(t, THREAD_GONE);
    go_native(t, pc);
}

/* A slice is over: the thread goes on natively until its next sample. Lock held. */
_Noreturn static void end_slice(struct thread *t, uint64_t to)
{
    t->rec.active = false;
    slice_ends(t);
    thread_unlock(t, THREAD_NATIVE);
    go_native(t, app_pc(to));
}

/* All threads give up control. Lock held. */
_Noreturn static void bail_out(struct thread *t, struct app_pc pc, rc_t reason)
{
    if (d.abandoned == RC_OK) {
        d.abandoned = reason;
        housekeep_bailed(reason);
    }
    leave_control(t, pc);
}

/* The last moment at which system calls are ours to make: publish everything, then none any more. */
_Noreturn static void leave_sandboxed(struct thread *t, struct app_pc pc)
{
    if (d.abandoned == RC_OK) {
        d.abandoned = RC_SANDBOX;
        housekeep_bailed(RC_SANDBOX);
    }
    housekeep_exit();
    d.silent = true;
    leave_control(t, pc);
}

/* Runs a copy or a fragment until it leaves. `next` says where the program is if the lock cannot be had. */
static void run_code(struct thread *t, struct cache_pc code, enum thread_state state,
                     struct app_pc (*next)(struct thread *, const struct block *), const struct block *b)
{
    slots.target = code.v;
    thread_unlock(t, state);
    d.enter(&t->ctx);
    if (!thread_lock(t)) { /* THR-3: shared state is not ours to touch */
        rc_t in_control = RC_OK;
        (void)__atomic_compare_exchange_n(&d.abandoned, &in_control, RC_LOCK, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
        go_native(t, next(t, b));
    }
}

static struct app_pc after_block(struct thread *t, const struct block *b)
{
    return interp_next(b, &t->ctx, &slots).next;
}

static struct app_pc after_fragment(struct thread *t, const struct block *b)
{
    (void)t;
    (void)b;
    return slots.exit_id == EXIT_LOOKUP ? app_pc(slots.target) : fc_exit(slots.exit_id)->target;
}

static void block_forget_fragment(struct app_pc head)
{
    struct block *b = block_find(head);
    if (b) {
        b->fragment = NULL;
        b->heat = 0;
    }
}

void dispatch_flush_fragments(struct thread *t)
{
    if (!thread_alone(t) || (d.sampled && !adopt_withdraw()))
        return;
    housekeep_drain(); /* samples are by address, and addresses are about to change meaning */
    for (const struct fragment *f = fc_newest(); f; f = f->next)
        block_forget_fragment(f->tag);
    fc_flush();
}

/* A cache too small for what is hot is refilled for nothing: ask for more heat until flushes are rare. */
static void flush_full(struct thread *t)
{
    bool thrashing = stats.block_runs - d.runs_at_flush < THRASH_RUNS;
    if (thrashing && d.hot < HOT_MOST)
        d.hot *= 2;
    else if (!thrashing && d.hot / 2 >= d.hot_least)
        d.hot /= 2;
    d.runs_at_flush = stats.block_runs;
    dispatch_flush_fragments(t);
}

static void flush_all(struct thread *t)
{
    dispatch_flush_fragments(t);
    block_flush();
    t->rec.active = false;
    t->previous = NULL;
}

static void block_drop_dead_fragment(struct block *b)
{
    if (b->fragment && !b->fragment->live)
        b->fragment = NULL;
}

/* Code was unmapped, replaced or protected: nothing made of it may be found again. */
static rc_t code_changed(struct thread *self, struct code_change c)
{
    for (struct thread *t = thread_first(); t; t = t->next) {
        t->rec.active = false;
        t->previous = NULL;
    }
    block_forget_range(c.start, c.end);
    maps_forget();
    if (fc_stats_get().live)
        TRY(fc_retire_range(c.start, c.end));
    block_each(block_drop_dead_fragment);
    thread_sync_code();
    (void)self;
    return RC_OK;
}

static rc_t next_block(struct thread *t, struct app_pc pc, bool taken, struct block **out)
{
    struct block *p = t->previous;
    if (p) {
        struct block *s = p->succ[taken];
        if (s && app_pc_eq(s->pc, pc)) {
            *out = s;
            return RC_OK;
        }
    }
    if (block_full()) {
        if (!thread_alone(t))
            return RC_NO_MEMORY;
        flush_all(t);
        p = NULL;
    }
    rc_t rc = block_get(pc, out);
    if (rc == RC_OK && !(*out)->checked) {
        if ((*out)->map_kind == MAP_TEXT && site_has_rseq(pc))
            return RC_RSEQ;
        (*out)->checked = true;
    }
    if (rc == RC_OK && p && !(*out)->source)
        p->succ[taken] = *out;
    return rc;
}

static bool reason_is_fatal(rc_t rc)
{
    return rc == RC_CODE_WRITE || rc == RC_NO_MEMORY || rc == RC_LOW_MEMORY_MAP || rc == RC_NO_DECODER;
}

/* After a trace is complete: makes a fragment of it and hangs it on its head's block. */
static rc_t trace_complete(struct thread *t)
{
    struct app_pc head = t->rec.trace.head;
    struct fragment *f = fc_find(head);
    if (f) /* another thread was faster */
        return RC_OK;
    fc_set_patching(thread_others_stopped(t));
    rc_t rc = traces_install(&t->rec.trace, &f);
    if (rc == RC_CACHE_FULL && thread_alone(t)) {
        flush_full(t);
        rc = traces_install(&t->rec.trace, &f);
    }
    thread_sync_code();
    if (reason_is_fatal(rc))
        return rc;
    struct block *b = block_find(head);
    if (rc == RC_OK && b)
        b->fragment = f;
    if (rc != RC_OK) {
        stats_declined(rc);
        if (b && rc == RC_BUSY)
            b->heat = 0;
        else if (b)
            b->declined = (uint8_t)rc;
    }
    return RC_OK;
}

/* Counts b as a head candidate; starts a trace when it is hot. */
static void count_head(struct thread *t, struct block *b)
{
    if (b->declined || ++b->heat < d.hot || (d.sampled && trial_full()))
        return;
    rc_t rc = rec_may_contain(b);
    if (rc == RC_OK) {
        rec_start(&t->rec, b->pc, d.max_insns);
        t->rec.native = d.sampled;
        housekeep_sample(t);
    } else {
        stats_declined(rc);
        b->declined = (uint8_t)rc;
    }
}

/* Runs fragments until one leaves to where there is none. Returns where. */
static struct app_pc run_fragment(struct thread *t, struct fragment *f)
{
    f->entries++;
    stats.fragment_runs++;
    run_code(t, f->entry, THREAD_RUNNING, after_fragment, NULL);
    t->previous = NULL;
    t->candidate = true;
    if (slots.exit_id == EXIT_LOOKUP) {
        struct fragment *there = fc_find(app_pc(slots.target));
        stats.lookup_misses++;
        if (there)
            fc_lookup_prefer(there); /* another tag with the same low bits had taken its place */
        return app_pc(slots.target);
    }
    struct frag_exit *e = fc_exit(slots.exit_id);
    if (!e->linked) {
        fc_set_patching(thread_others_stopped(t));
        rc_t rc = fc_link_exit(e);
        if (rc != RC_OK)
            bail_out(t, e->target, rc);
    }
    return e->target;
}

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
    run_code(t, code, THREAD_SYSCALL, after_block, b);
    if (child && (int64_t)t->ctx.gpr[R_RAX] < 0)
        thread_gone(child);
}

/* Holds the lock meanwhile: the child must find everything at rest. */
static void run_fork(struct thread *t, struct block *b)
{
    slots.target = b->code.v;
    d.enter(&t->ctx);
    if (t->ctx.gpr[R_RAX] != 0)
        return;
    thread_forked(t);
    housekeep_forked();
}

static struct app_pc run_syscall(struct thread *t, struct block *b)
{
    struct cpu_ctx before = t->ctx;
    struct app_pc next = b->next;
    t->candidate = true;
    switch (syscall_before(&t->ctx)) {
    case SYSCALL_NATIVE: bail_out(t, b->pc, RC_TLS_CHANGED);
    case SYSCALL_SANDBOX: leave_sandboxed(t, b->pc);
    case SYSCALL_THREAD: run_thread_clone(t, b); return next;
    case SYSCALL_FORK: run_fork(t, b); return next;
    case SYSCALL_CLONE: run_code(t, b->code_clone, THREAD_SYSCALL, after_block, b); return next;
    case SYSCALL_EXIT_THREAD:
        if (thread_alone(t))
            housekeep_exit();
        leave_control(t, b->pc);
    case SYSCALL_EXIT: housekeep_exit(); break;
    case SYSCALL_RUN: break;
    }
    run_code(t, b->code, THREAD_SYSCALL, after_block, b);
    struct code_change c = syscall_after(&before, (int64_t)t->ctx.gpr[R_RAX]);
    if (c.start != c.end) {
        rc_t rc = code_changed(t, c);
        if (rc != RC_OK)
            bail_out(t, next, rc);
    }
    return next;
}

static void note_target(struct block *b, uint64_t target)
{
    b->target_runs++;
    if (b->last_target != target) {
        b->last_target = target;
        b->target_changes++;
    }
}

static struct outcome run_block(struct thread *t, struct block *b)
{
    if (b->code.v)
        run_code(t, b->code, THREAD_RUNNING, after_block, b);
    struct outcome o = interp_next(b, &t->ctx, &slots);
    bool call = b->kind == IK_CALL || b->kind == IK_CALL_IND;
    if (call || b->kind == IK_RET || b->kind == IK_JMP_IND)
        note_target(b, o.next.v);
    t->candidate = (o.taken && (o.next.v <= b->pc.v || call)) || b->map_kind != MAP_TEXT;
    return o;
}

static void record(struct thread *t, struct block *b, struct outcome o)
{
    if (rec_step(&t->rec, b, o) == REC_MORE)
        return;
    rc_t rc = trace_complete(t);
    t->candidate = true;
    if (rc != RC_OK)
        bail_out(t, o.next, rc);
}

/* One step: from pc to where control goes next. */
static struct app_pc step(struct thread *t, struct app_pc pc, bool *taken)
{
    struct block *b;
    if (d.abandoned != RC_OK) {
        if (!stats.bailout_reason && !d.silent)
            housekeep_bailed(d.abandoned);
        leave_control(t, pc);
    }
    rc_t rc = next_block(t, pc, *taken, &b);
    if (rc != RC_OK)
        bail_out(t, pc, rc);
    if (b->kind == IK_STRANGE && !d.sampled)
        bail_out(t, pc, RC_STRANGE_CODE);
    if (t->rec.active && rec_stops_before(&t->rec, b)) {
        rec_finish_direct(&t->rec, pc);
        rc = trace_complete(t);
        if (rc != RC_OK)
            bail_out(t, pc, rc);
        t->candidate = true;
    }
    if (!t->rec.active) {
        if (t->candidate && !b->fragment)
            count_head(t, b);
        if (d.sampled && slice_stops_at(t, b))
            end_slice(t, pc.v);
        if (b->fragment && !t->rec.active)
            return run_fragment(t, b->fragment);
    }
    stats.block_runs++;
    t->previous = NULL;
    if (b->kind == IK_SYSCALL) {
        *taken = false;
        return run_syscall(t, b);
    }
    struct outcome o = run_block(t, b);
    *taken = o.taken;
    t->previous = b->source ? NULL : b;
    if (t->rec.active)
        record(t, b, o);
    return o.next;
}

/* control=sampled: from a sample's pc until the slice's budget is used up. */
static void run_slice(struct cpu_ctx *ctx)
{
    struct thread *t = (struct thread *)ctx;
    struct app_pc pc = app_pc(t->start_pc);
    bool taken = false;
    if (!thread_lock(t))
        go_native(t, pc);
    t->previous = NULL;
    t->candidate = false;
    slice_begins(t);
    for (;;)
        pc = step(t, pc, &taken);
}

static void run(uint64_t start)
{
    struct thread *t = (struct thread *)slots.ctx; /* the context is its first member */
    struct app_pc pc = app_pc(start);
    bool taken = false;
    t->tid = (int32_t)sys_gettid();
    for (;;) {
        pc = step(t, pc, &taken);
        if (++t->dispatches % HOUSEKEEP_EVERY == 0) {
            rc_t rc = housekeep(t);
            if (rc != RC_OK)
                bail_out(t, pc, rc);
        }
    }
}

/* First function of a thread that was made under control. */
static void run_new_thread(struct cpu_ctx *ctx)
{
    struct thread *t = (struct thread *)ctx;
    if (!thread_lock(t))
        go_native(t, app_pc(t->start_pc));
    run(t->start_pc);
}

static void find_slots(void)
{
    uint64_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    slots_fs_offset = (int32_t)((int64_t)(uintptr_t)&slots - (int64_t)fs);
}

static rc_t prepare(void (*thread_main)(struct cpu_ctx *), bool native_exits)
{
    struct code_region *r;
    stubs_set_thread_main(thread_main);
    stubs_set_native_exits(native_exits);
    TRY(stubs_region(app_pc((uint64_t)(uintptr_t)&takeover), &r));
    TRY(code_commit());
    d.enter = (stubs_enter_fn *)r->enter.v;
    return RC_OK;
}

void dispatch_init(const struct options *o)
{
    find_slots();
    d.sampled = o->control == CONTROL_SAMPLED;
    d.hot = d.hot_least = d.sampled ? (o->hot + 4) / 5 : o->hot; /* the sample has already voted */
    d.max_insns = (int)o->max_insns;
    code_set_sizes(BLOCK_AREA_BYTES, o->cache_bytes);
}

rc_t dispatch_slice_begin(uint64_t pc, const struct cpu_ctx *state, uint64_t *entry, uint64_t *sp, uint64_t *arg)
{
    if (d.abandoned != RC_OK)
        return d.abandoned;
    if (!d.enter)
        TRY(prepare(run_slice, true));
    struct thread *t = thread_of(sys_gettid());
    if (!t)
        return RC_NO_MEMORY;
    mem_copy(t->ctx.gpr, state->gpr, sizeof t->ctx.gpr);
    t->ctx.rflags = state->rflags;
    t->start_pc = pc;
    t->state = THREAD_WAITING;
    slots.ctx = &t->ctx;
    *entry = (uint64_t)(uintptr_t)&run_slice;
    *sp = t->stack_top - 8; /* as after a call */
    *arg = (uint64_t)(uintptr_t)&t->ctx;
    return RC_OK;
}

rc_t dispatch_take_control(const struct options *o)
{
    (void)o;
    TRY(prepare(run_new_thread, false));
    struct thread *t = thread_new();
    if (!t)
        return RC_NO_MEMORY;
    t->state = THREAD_RUNTIME;
    slots.ctx = &t->ctx;
    takeover(&t->ctx, (void *)t->stack_top, run);
    return RC_OK;
}
