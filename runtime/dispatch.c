#include "runtime/dispatch.h"

#include "fragcache/cache.h"
#include "runtime/adopt.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/control.h"
#include "runtime/facts.h"
#include "runtime/housekeep.h"
#include "runtime/native.h"
#include "runtime/policy.h"
#include "runtime/several.h"
#include "runtime/signals.h"
#include "runtime/slice.h"
#include "runtime/stats.h"
#include "runtime/thread.h"
#include "runtime/traces.h"
#include "runtime/verify.h"
#include "tracer/targets.h"

#define BLOCK_AREA_BYTES (32u << 20)
#define THRASH_RUNS 200000u /* block runs between two flushes of a cache that is far too small */
#define HOT_MOST 100000u
#define MOST_RETRIES 3
#define MOST_EARLY 40 /* in one slice in two a path is long enough to be judged */
#define HOUSEKEEP_EVERY 512u /* dispatches */

static struct {
    uint64_t hot, hot_least; /* the threshold now and as set */
    uint64_t runs_at_flush;
    int max_insns;
    bool flat; /* trial=0: code counts that is run a few times only, and wherever control arrives a path may begin */
    bool sampled; /* control=sampled: system calls, strange code and fragments end a slice */
} d;

bool dispatch_in_control(void) { return control_slots()->ctx != NULL; }

static void hook_take_out(struct hook *h, void *arg)
{
    (void)arg;
    (void)hook_clear(h);
}

/* Other threads may be inside fragments and on their way through hooks: all memory stays, but nothing leads there any more,
 * and no hook is left that would be taken out of other text later. */
static void text_abandon(uint64_t start, uint64_t end)
{
    enum code_way way = code_way_get();
    poke_set_alone(false);
    code_set_way(CODE_WAY_PAGE); /* needs no int3 */
    hook_each(hook_take_out, NULL);
    code_set_way(way);
    if (fc_stats_get().live)
        (void)fc_retire_range(start, end);
    block_forget_range(start, end);
    maps_forget();
    native_forget();
    if (!adopt_hooks())
        policy_forget(); /* its records hold no standing hook */
}

void dispatch_others_came(void)
{
    if (fc_stats_get().live || adopt_hooks())
        text_abandon(0, UINT64_MAX);
}

static void hook_leave(struct hook *h, void *arg)
{
    (void)arg;
    if (hook_clear(h) == RC_OK)
        hook_abandon(h);
}

/* Nothing leads to what was made; its memory stays (SEV-2). Lock held. */
static void withdraw_among_others(uint64_t start, uint64_t end)
{
    poke_batch_begin();
    hook_each(hook_leave, NULL);
    poke_batch_end();
    hook_forget_range(start, end); /* what could not be written */
    if (fc_stats_get().live)
        (void)fc_retire_range(0, UINT64_MAX);
    block_flush();
    maps_forget();
    native_forget();
    site_forget();
    if (!adopt_hooks())
        policy_forget();
}

static bool text_changes_among_others(uint64_t start, uint64_t end)
{
    if (several_rests() && !maps_touches_code(start, end))
        return true;
    if (!several_lock())
        return false;
    if (d.sampled && control_ready() && maps_touches_code(start, end))
        withdraw_among_others(start, end);
    thread_unlock_native();
    return true;
}

static bool text_changes(uint64_t start, uint64_t end)
{
    if (several_now() && !dispatch_in_control())
        return text_changes_among_others(start, end);
    if (!d.sampled || !control_ready() || dispatch_in_control() || !maps_touches_code(start, end))
        return true;
    if (!adopt_withdraw()) {
        text_abandon(start, end);
        return false;
    }
    if (fc_stats_get().live)
        fc_flush();
    block_flush();
    maps_forget();
    native_forget();
    return true;
}

void dispatch_no_longer_alone(void)
{
    facts_expire();
    if (!several_now() && d.sampled && control_ready() && !dispatch_in_control() && fc_stats_get().live)
        (void)dispatch_text_changes(0, UINT64_MAX);
}

bool dispatch_text_changes(uint64_t start, uint64_t end)
{
    facts_expire();
    uint64_t mask = sys_signals_set(~0ULL); /* a slice must not begin while its tables are being emptied */
    bool done = text_changes(start, end);
    (void)sys_signals_set(mask);
    return done;
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
rc_t dispatch_code_changed(struct thread *self, struct code_change c)
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
        if (!d.sampled && !thread_alone(t))
            return RC_NO_MEMORY;
        flush_all(t); /* under control=sampled copies of blocks are run with the lock held */
        p = NULL;
    }
    rc_t rc = block_get(pc, out);
    if (rc == RC_OK && !(*out)->checked) {
        if ((*out)->map_kind == MAP_TEXT && site_has_rseq(pc))
            return RC_RSEQ;
        (*out)->checked = true;
        if (d.sampled)
            native_note((*out)->pc.v, (*out)->next.v, RC_COLD);
    }
    if (rc == RC_OK && p && !(*out)->source)
        p->succ[taken] = *out;
    return rc;
}

static bool reason_is_fatal(rc_t rc)
{
    return rc == RC_CODE_WRITE || rc == RC_NO_MEMORY || rc == RC_LOW_MEMORY_MAP || rc == RC_NO_DECODER;
}

/* A loop's head, but this time the path left the loop: it may close the next time. */
static bool look_again(struct app_pc head)
{
    struct block *b = block_find(head);
    if (!b || b->retries == MOST_RETRIES)
        return false;
    b->retries++;
    b->heat -= LOOP_HEAD;
    return true;
}

/* A restless branch, of which more will be known later in this slice. */
static bool look_later(struct app_pc head)
{
    struct block *b = block_find(head);
    if (!b || b->early == MOST_EARLY)
        return false;
    b->early++;
    b->heat = 0;
    return true;
}

/* After a trace is complete: makes a fragment of it and hangs it on its head's block. */
static rc_t trace_complete(struct thread *t)
{
    struct app_pc head = t->rec.trace.head;
    if (t->rec.restless && look_later(head))
        return RC_OK;
    if (t->expects_loop && t->rec.trace.end != TRACE_LOOP && look_again(head))
        return RC_OK;
    struct fragment *f = fc_find(head);
    if (f && !f->set) /* another thread was faster */
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
    if (rc == RC_OK && b && !f->set)
        b->fragment = f;
    else if (b)
        b->declined = (uint8_t)(rc == RC_OK ? RC_BUSY : rc);
    if (rc != RC_OK)
        stats_declined(rc);
    return RC_OK;
}

/* Counts b as a head candidate; starts a trace when it is hot. */
static void count_head(struct thread *t, struct block *b)
{
    if (b->declined || (b->heat += d.flat ? LOOP_HEAD : t->candidate) < d.hot * LOOP_HEAD || (d.sampled && policy_full()))
        return;
    rc_t rc = rec_may_contain(b);
    if (rc == RC_OK) {
        t->expects_loop = t->candidate == LOOP_HEAD && d.sampled;
        rec_start(&t->rec, b->pc, d.max_insns);
        t->rec.native = d.sampled;
        housekeep_sample(t);
    } else {
        stats_declined(rc);
        b->declined = (uint8_t)rc;
        native_note(b->pc.v, b->next.v, rc);
    }
}

/* Runs fragments until one leaves to where there is none. Returns where. */
static struct app_pc run_fragment(struct thread *t, struct fragment *f)
{
    f->entries++;
    stats.fragment_runs++;
    control_run(t, f->entry, THREAD_RUNNING, NULL);
    t->previous = NULL;
    t->candidate = LOOP_HEAD;
    const struct tls_slots *slots = control_slots();
    if (slots->exit_id == EXIT_LOOKUP) {
        struct fragment *there = fc_find(app_pc(slots->target));
        stats.lookup_misses++;
        if (there)
            fc_lookup_prefer(there); /* another tag with the same low bits had taken its place */
        return app_pc(slots->target);
    }
    struct frag_exit *e = fc_exit(slots->exit_id);
    if (!e->linked) {
        fc_set_patching(thread_others_stopped(t));
        rc_t rc = fc_link_exit(e);
        if (rc != RC_OK)
            control_bail_out(t, e->target, rc);
    }
    return e->target;
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
    b->runs++;
    if (b->code.v)
        control_run(t, b->code, THREAD_RUNNING, b);
    struct outcome o = interp_next(b, &t->ctx, control_slots());
    bool call = b->kind == IK_CALL || b->kind == IK_CALL_IND;
    if (call || b->kind == IK_RET || b->kind == IK_JMP_IND)
        note_target(b, o.next.v);
    if (b->kind == IK_RET || b->kind == IK_JMP_IND || b->kind == IK_CALL_IND)
        targets_note(b->next, o.next);
    if (b->kind == IK_JMP_IND || b->kind == IK_CALL_IND)
        path_note(&t->rec.path, b->pc, o.next);
    bool indirect = b->kind == IK_RET || b->kind == IK_JMP_IND;
    bool back = o.taken && o.next.v <= b->pc.v && b->kind != IK_RET && !call;
    t->candidate = back || b->map_kind != MAP_TEXT ? LOOP_HEAD : call || (d.flat && indirect) ? CALLED_HEAD : NO_HEAD;
    return o;
}

static void record(struct thread *t, struct block *b, struct outcome o)
{
    if (rec_step(&t->rec, b, o) == REC_MORE)
        return;
    rc_t rc = trace_complete(t);
    t->candidate = LOOP_HEAD;
    if (rc != RC_OK)
        control_bail_out(t, o.next, rc);
}

/* An entry of a fragment that starts in b: this is the one to be verified. The thread is at *pc then. */
static bool verify(struct thread *t, struct block *b, struct app_pc *pc)
{
    struct fragment *f = verify_due(b->pc.v, d.sampled ? b->next.v : b->pc.v + 1);
    if (!f)
        return false;
    bool moved = !app_pc_eq(f->tag, *pc);
    if (moved && !verify_reach(t, pc, f->tag))
        return !app_pc_eq(*pc, b->pc);
    moved |= verify_entry(t, f, pc);
    block_drop_dead_fragment(b);
    if (moved) {
        t->previous = NULL;
        t->candidate = NO_HEAD;
    }
    return moved;
}

/* One step: from pc to where control goes next. */
static struct app_pc step(struct thread *t, struct app_pc pc, bool *taken)
{
    struct block *b;
    if (control_abandoned() != RC_OK)
        control_bail_out(t, pc, control_abandoned());
    if (d.sampled && several_is_over()) /* somebody waits for the lock no more */
        control_end_slice(t, pc.v);
    rc_t rc = next_block(t, pc, *taken, &b);
    if (rc != RC_OK)
        control_bail_out(t, pc, rc);
    if (b->kind == IK_STRANGE && !d.sampled)
        control_bail_out(t, pc, RC_STRANGE_CODE);
    if (t->rec.active && rec_stops_before(&t->rec, b)) {
        rec_finish_direct(&t->rec, pc);
        rc = trace_complete(t);
        if (rc != RC_OK)
            control_bail_out(t, pc, rc);
        t->candidate = LOOP_HEAD;
    }
    if (!t->rec.active) {
        if (d.sampled && !t->candidate && fc_has_exits_to(pc))
            t->candidate = LOOP_HEAD; /* an exit that turns out hot is reached by a link */
        if (t->candidate && !b->fragment)
            count_head(t, b);
        if (d.sampled && slice_stops_at(t, b))
            control_end_slice(t, pc.v);
        if (verify_on() && !t->rec.active && b->kind != IK_SYSCALL && b->kind != IK_STRANGE && verify(t, b, &pc)) {
            *taken = false;
            return pc;
        }
        if (b->fragment && !t->rec.active && !d.sampled)
            return run_fragment(t, b->fragment);
    }
    stats.block_runs++;
    t->previous = NULL;
    if (b->kind == IK_SYSCALL) {
        *taken = false;
        return control_syscall(t, b);
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
    t->state = THREAD_RUNTIME; /* the signal's handler has taken the lock */
    t->previous = NULL;
    t->candidate = NO_HEAD;
    path_clear(&t->rec.path);
    slice_begins(t);
    for (;;)
        pc = step(t, pc, &taken);
}

static void run(uint64_t start)
{
    struct thread *t = (struct thread *)control_slots()->ctx; /* the context is its first member */
    struct app_pc pc = app_pc(start);
    bool taken = false;
    t->tid = (int32_t)sys_gettid();
    for (;;) {
        pc = step(t, pc, &taken);
        if (++t->dispatches % HOUSEKEEP_EVERY == 0) {
            rc_t rc = housekeep(t);
            if (rc != RC_OK)
                control_bail_out(t, pc, rc);
        }
    }
}

/* First function of a thread that was made under control. */
static void run_new_thread(struct cpu_ctx *ctx)
{
    struct thread *t = (struct thread *)ctx;
    if (!thread_lock(t))
        control_go_native(t, app_pc(t->start_pc));
    run(t->start_pc);
}

void dispatch_init(const struct options *o)
{
    control_init();
    d.sampled = o->control == CONTROL_SAMPLED;
    d.flat = d.sampled && !o->trial;
    uint64_t share = d.flat ? 25 : d.sampled ? 5 : 1; /* the sample has already voted */
    d.hot = d.hot_least = (o->hot + share - 1) / share;
    d.max_insns = (int)o->max_insns;
    code_set_sizes(BLOCK_AREA_BYTES, o->cache_bytes);
}

rc_t dispatch_slice_begin(const struct cpu_state *state, uint64_t *entry, uint64_t *sp, uint64_t *arg)
{
    if (control_abandoned() != RC_OK)
        return control_abandoned();
    if (!control_ready())
        TRY(control_prepare(run_slice, true));
    struct thread *t = thread_of(sys_gettid());
    if (!t)
        return RC_NO_MEMORY;
    mem_copy(t->ctx.gpr, state->gpr, sizeof t->ctx.gpr);
    t->ctx.rflags = state->rflags;
    t->start_pc = state->pc;
    t->state = THREAD_WAITING;
    control_slots()->ctx = &t->ctx;
    signals_hold();
    *entry = (uint64_t)(uintptr_t)&run_slice;
    *sp = t->stack_top - 8; /* as after a call */
    *arg = (uint64_t)(uintptr_t)&t->ctx;
    return RC_OK;
}

rc_t dispatch_take_control(const struct options *o)
{
    (void)o;
    TRY(control_prepare(run_new_thread, false));
    struct thread *t = thread_new();
    if (!t)
        return RC_NO_MEMORY;
    t->state = THREAD_RUNTIME;
    control_slots()->ctx = &t->ctx;
    signals_wrap_all();
    takeover(&t->ctx, (void *)t->stack_top, run);
    return RC_OK;
}
