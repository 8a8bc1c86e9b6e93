#include "runtime/dispatch.h"

#include "fragcache/cache.h"
#include "runtime/base/mem.h"
#include "runtime/housekeep.h"
#include "runtime/stats.h"
#include "runtime/syscalls.h"
#include "runtime/traces.h"
#include "tracer/record.h"
#include "tracer/stubs.h"

#define STACK_BYTES (256u << 10)
#define HOUSEKEEP_EVERY 512u /* dispatches */

static __thread struct tls_slots slots __attribute__((tls_model("initial-exec")));

static struct {
    struct cpu_ctx ctx;
    struct recorder rec;
    stubs_enter_fn *enter;
    uint64_t hot;
    int max_insns;
    struct block *previous; /* the block that ran last, when its successor may be remembered */
    bool candidate; /* the next block may be a head */
    bool want_flush_blocks;
} d;

REH_HIDDEN void takeover(struct cpu_ctx *ctx, void *stack_top, void (*run)(uint64_t pc));

bool dispatch_in_control(void) { return slots.ctx != NULL; }

/* Runs a copy or a fragment until it leaves. */
static void run_code(struct cache_pc code)
{
    slots.target = code.v;
    d.enter(&d.ctx);
}

_Noreturn static void go_native(struct app_pc pc)
{
    slots.ctx = NULL;
    run_code(cache_pc(pc.v)); /* the program's own code, for good */
    __builtin_unreachable();
}

_Noreturn static void bail_out(struct app_pc pc, rc_t reason)
{
    rec_abort(&d.rec);
    housekeep_bailed(reason);
    go_native(pc);
}

static void block_forget_fragment(struct block *b)
{
    b->fragment = NULL;
    b->heat = 0;
}

void dispatch_flush_fragments(void)
{
    housekeep_drain(); /* samples are by address, and addresses are about to change meaning */
    fc_flush();
    block_each(block_forget_fragment);
}

void dispatch_flush_all(void)
{
    housekeep_drain();
    rec_abort(&d.rec);
    if (fc_stats_get().live)
        fc_flush();
    block_flush();
    maps_forget();
    d.previous = NULL;
}

static rc_t next_block(struct app_pc pc, bool taken, struct block **out)
{
    struct block *p = d.previous;
    if (p) {
        struct block *s = p->succ[taken];
        if (s && app_pc_eq(s->pc, pc)) {
            *out = s;
            return RC_OK;
        }
    }
    if (block_full())
        dispatch_flush_all();
    rc_t rc = block_get(pc, out);
    if (rc == RC_OK && d.previous && !(*out)->source)
        d.previous->succ[taken] = *out;
    return rc;
}

/* After a trace is complete: makes a fragment of it and hangs it on its head's block. */
static rc_t trace_complete(void)
{
    struct app_pc head = d.rec.trace.head;
    struct fragment *f = NULL;
    rc_t rc = traces_install(&d.rec.trace, &f);
    if (rc == RC_CACHE_FULL) {
        dispatch_flush_fragments();
        rc = traces_install(&d.rec.trace, &f);
    }
    struct block *b = block_find(head);
    if (rc == RC_OK && b)
        b->fragment = f;
    if (rc == RC_CODE_WRITE || rc == RC_NO_MEMORY || rc == RC_LOW_MEMORY_MAP)
        return rc;
    if (rc != RC_OK) {
        stats_declined(rc);
        if (b)
            b->declined = (uint8_t)rc;
    }
    return RC_OK;
}

/* Counts b as a head candidate; starts a trace when it is hot. */
static void count_head(struct block *b)
{
    if (b->declined || ++b->heat < d.hot)
        return;
    rc_t rc = rec_may_contain(b);
    if (rc == RC_OK) {
        rec_start(&d.rec, b->pc, d.max_insns);
        housekeep_hot();
    } else {
        stats_declined(rc);
        b->declined = (uint8_t)rc;
    }
}

/* Runs fragments until one leaves to where there is none. Returns where. */
static struct app_pc run_fragment(struct fragment *f)
{
    f->entries++;
    stats.fragment_runs++;
    run_code(f->entry);
    d.previous = NULL;
    d.candidate = true;
    if (slots.exit_id == EXIT_LOOKUP) {
        struct app_pc pc = app_pc(slots.target);
        struct fragment *there = fc_find(pc);
        stats.lookup_misses++;
        if (there)
            fc_lookup_prefer(there); /* another tag with the same low bits had taken its place */
        return pc;
    }
    return fc_exit(slots.exit_id)->target;
}

static struct app_pc run_syscall(struct block *b)
{
    struct cpu_ctx before = d.ctx;
    enum syscall_action action = syscall_before(&d.ctx);
    if (action == SYSCALL_NATIVE)
        bail_out(b->pc, RC_TLS_CHANGED);
    if (action == SYSCALL_EXIT)
        housekeep_exit();
    run_code(action == SYSCALL_CLONE ? b->code_clone : b->code);
    struct app_pc next = b->next;
    switch (syscall_after(&before, (int64_t)d.ctx.gpr[R_RAX])) {
    case EFFECT_NONE: break;
    case EFFECT_FORKED: housekeep_forked(); break;
    case EFFECT_CODE_GONE: dispatch_flush_all(); break;
    }
    d.candidate = true;
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

static struct outcome run_block(struct block *b)
{
    if (b->code.v)
        run_code(b->code);
    struct outcome o = interp_next(b, &d.ctx, &slots);
    bool call = b->kind == IK_CALL || b->kind == IK_CALL_IND;
    if (call || b->kind == IK_RET || b->kind == IK_JMP_IND)
        note_target(b, o.next.v);
    d.candidate = (o.taken && (o.next.v <= b->pc.v || call)) || b->map_kind != MAP_TEXT;
    return o;
}

static void record(struct block *b, struct outcome o, struct app_pc pc)
{
    if (rec_step(&d.rec, b, o) == REC_MORE)
        return;
    rc_t rc = trace_complete();
    d.candidate = true;
    if (rc != RC_OK)
        bail_out(pc, rc);
}

/* One step: from pc to where control goes next. */
static struct app_pc step(struct app_pc pc, bool *taken)
{
    struct block *b;
    rc_t rc = next_block(pc, *taken, &b);
    if (rc != RC_OK)
        bail_out(pc, rc);
    if (b->kind == IK_STRANGE)
        bail_out(pc, RC_STRANGE_CODE);
    if (d.rec.active && rec_stops_before(&d.rec, b)) {
        rec_finish_direct(&d.rec, pc);
        rc = trace_complete();
        if (rc != RC_OK)
            bail_out(pc, rc);
        b = block_find(pc); /* a flush may have come between */
        if (!b)
            return pc;
        d.candidate = true;
    }
    if (!d.rec.active) {
        if (d.candidate && !b->fragment)
            count_head(b);
        if (b->fragment && !d.rec.active)
            return run_fragment(b->fragment);
    }
    stats.block_runs++;
    d.previous = NULL;
    if (b->kind == IK_SYSCALL) {
        *taken = false;
        return run_syscall(b);
    }
    struct outcome o = run_block(b);
    *taken = o.taken;
    d.previous = b->source ? NULL : b;
    if (d.rec.active)
        record(b, o, o.next);
    return o.next;
}

static void run(uint64_t start)
{
    struct app_pc pc = app_pc(start);
    bool taken = false;
    for (uint32_t n = 0;; n++) {
        pc = step(pc, &taken);
        if (n % HOUSEKEEP_EVERY == 0) {
            rc_t rc = housekeep();
            if (rc != RC_OK)
                bail_out(pc, rc);
        }
    }
}

static void find_slots(void)
{
    uint64_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    slots_fs_offset = (int32_t)((int64_t)(uintptr_t)&slots - (int64_t)fs);
}

rc_t dispatch_take_control(const struct options *o)
{
    find_slots();
    d.hot = o->hot;
    d.max_insns = (int)o->max_insns;
    code_set_sizes(32u << 20, o->cache_bytes);
    struct code_region *r;
    TRY(stubs_region(app_pc((uint64_t)(uintptr_t)&takeover), &r));
    TRY(code_commit());
    d.enter = (stubs_enter_fn *)r->enter.v;
    uint8_t *stack = mem_map(STACK_BYTES);
    if (!stack)
        return RC_NO_MEMORY;
    slots.ctx = &d.ctx;
    takeover(&d.ctx, stack + STACK_BYTES, run);
    return RC_OK;
}
