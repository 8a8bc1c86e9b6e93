#include "fragcache/hook.h"

#include "fragcache/pun.h"
#include "runtime/base/codemem.h"
#include "runtime/base/mem.h"
#include "tracer/asm.h"

#define PAGE 4096u
#define BUCKETS 1024u
#define FIRST_TRACES 4096u /* a power of two */
#define MAX_TRACES (1u << 20)
#define MAX_RECORDS 16384u /* hooks that are not free */
#define GATE_BYTES 6u

/* A site that ever was hooked. `native` 0: nothing stands there. Never forgotten, as a trap may be late. */
struct trace {
    uint64_t at, native;
};

/* Open addressing. A table that is half full is replaced by a larger one and stays for those who are reading it. */
struct trace_table {
    uint32_t size, used;
    struct trace trace[];
};

/* What is in near memory for a hook: the owner that near_owner gives is the index and 1. */
struct record {
    uint64_t at, native;
    struct native_map map;
    uint8_t native_len;
    bool taken;
};

static struct trace_table *traces;
static struct record *records;
static uint32_t record_next;
static struct hook *buckets[BUCKETS]; /* standing hooks by page of `at` */
static struct hook *standing;
static struct hook_counts counts;

struct hook_counts hook_counts_get(void) { return counts; }

void hook_count_refusal(rc_t rc)
{
    if ((size_t)rc < ARRAY_LEN(counts.refused))
        counts.refused[rc]++;
}

static rc_t refuse(rc_t rc)
{
    hook_count_refusal(rc);
    return rc;
}

/* --- what signal handlers ask */

static uint32_t hash(uint64_t v, uint32_t size) { return (uint32_t)((v * 0x9e3779b97f4a7c15ULL) >> 40) & (size - 1); }

static struct trace *trace_slot(struct trace_table *t, uint64_t at)
{
    for (uint32_t i = hash(at, t->size);; i = (i + 1) & (t->size - 1)) {
        uint64_t v = __atomic_load_n(&t->trace[i].at, __ATOMIC_ACQUIRE);
        if (v == at || !v)
            return &t->trace[i];
    }
}

static bool traces_grow(void)
{
    uint32_t size = traces ? traces->size * 2 : FIRST_TRACES;
    struct trace_table *t = size > MAX_TRACES ? NULL : mem_map(sizeof *t + size * sizeof t->trace[0]);
    if (!t)
        return false;
    t->size = size;
    for (uint32_t i = 0; traces && i < traces->size; i++)
        if (traces->trace[i].at)
            *trace_slot(t, traces->trace[i].at) = traces->trace[i];
    t->used = traces ? traces->used : 0;
    __atomic_store_n(&traces, t, __ATOMIC_RELEASE);
    return true;
}

static bool trace_set(uint64_t at, uint64_t native)
{
    struct trace *t = traces ? trace_slot(traces, at) : NULL;
    if (!t || !t->at) {
        if ((!traces || traces->used >= traces->size / 2) && !traces_grow())
            return false;
        t = trace_slot(traces, at);
        traces->used++;
    }
    __atomic_store_n(&t->native, native, __ATOMIC_RELEASE);
    __atomic_store_n(&t->at, at, __ATOMIC_RELEASE);
    return true;
}

/* The native copy that traps at `at` go on in; 0: none. False: never hooked. */
static bool trace_get(uint64_t at, uint64_t *native)
{
    struct trace_table *table = __atomic_load_n(&traces, __ATOMIC_ACQUIRE);
    const struct trace *t = table ? trace_slot(table, at) : NULL;
    if (!t || !t->at)
        return false;
    *native = __atomic_load_n(&t->native, __ATOMIC_ACQUIRE);
    return true;
}

bool hook_trap(uint64_t pc_after_int3, uint64_t *new_pc)
{
    uint64_t at = pc_after_int3 - 1, native;
    if (!trace_get(at, &native) || (!native && poke_is_int3(at)))
        return false; /* in the second case other text is there now, with an int3 of its own */
    __atomic_fetch_add(&counts.traps, 1, __ATOMIC_RELAXED);
    *new_pc = native ? native : at; /* at: the hook is gone, so is its int3; the instruction is there again */
    return true;
}

bool hook_native_pc(uint64_t pc, struct app_pc *out)
{
    uint16_t owner = near_owner(pc);
    if (!owner)
        return false;
    const struct record *r = &records[owner - 1];
    *out = app_pc(r->at); /* in the gate nothing has been done */
    if (pc - r->native < r->native_len)
        for (unsigned i = 0; i < r->map.count; i++)
            if (pc - r->native >= r->map.at[i])
                *out = app_pc(r->map.pc[i]);
    return true;
}

static rc_t record_make(uint64_t at, uint16_t *owner)
{
    if (!records)
        records = mem_map(sizeof *records * MAX_RECORDS);
    if (!records)
        return RC_NO_MEMORY;
    for (uint32_t i = 0; i < MAX_RECORDS; i++, record_next = (record_next + 1) % MAX_RECORDS)
        if (!records[record_next].taken) {
            records[record_next] = (struct record){.at = at, .taken = true};
            *owner = (uint16_t)(record_next + 1);
            return RC_OK;
        }
    return RC_HOOK_FULL;
}

/* --- which hooks stand where */

static struct hook **bucket_of(uint64_t at) { return &buckets[hash(at / PAGE, BUCKETS)]; }

static void link_hook(struct hook *h)
{
    struct hook **b = bucket_of(h->at.v);
    h->chain = *b;
    *b = h;
    h->next = standing;
    standing = h;
    counts.live[h->tactic]++;
}

static void unlink_hook(struct hook *h)
{
    for (struct hook **p = bucket_of(h->at.v); *p; p = &(*p)->chain)
        if (*p == h) {
            *p = h->chain;
            break;
        }
    for (struct hook **p = &standing; *p; p = &(*p)->next)
        if (*p == h) {
            *p = h->next;
            break;
        }
    counts.live[h->tactic]--;
}

static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len) { return a < b + b_len && b < a + a_len; }

/* The first standing hook, after `h`, on the pages of [start, end), with those that begin a little before. */
static struct hook *around(uint64_t start, uint64_t end, struct hook *h, uint64_t *page)
{
    if (h)
        h = h->chain;
    else
        *page = (start - SITE_MAX_BYTES) / PAGE, h = buckets[hash(*page, BUCKETS)];
    for (;;) {
        for (; h; h = h->chain)
            if (h->at.v / PAGE == *page)
                return h;
        if (++*page > (end - 1) / PAGE)
            return NULL;
        h = buckets[hash(*page, BUCKETS)];
    }
}

bool hook_overlay(uint64_t start, uint8_t *bytes, size_t len)
{
    bool any = false;
    uint64_t page;
    if (!standing)
        return false;
    for (struct hook *h = around(start, start + len, NULL, &page); h; h = around(start, start + len, h, &page))
        for (unsigned i = 0; i < h->written; i++)
            if (h->at.v + i - start < len) {
                bytes[h->at.v + i - start] = h->original[i];
                any = true;
            }
    return any;
}

bool hook_conflicts(uint64_t at, unsigned written, unsigned depends)
{
    uint64_t page;
    for (struct hook *h = around(at, at + depends, NULL, &page); h; h = around(at, at + depends, h, &page))
        if (overlap(at, written, h->at.v, h->depends) || overlap(at, depends, h->at.v, h->written))
            return true;
    return false;
}

bool hook_branch_into(uint64_t lo, uint64_t hi)
{
    for (const struct hook *h = standing; h; h = h->next)
        for (unsigned i = 0; i < h->branch_count; i++)
            if (h->branch[i] - lo < hi - lo)
                return true;
    return false;
}

void hook_each(void (*fn)(struct hook *h, void *arg), void *arg)
{
    for (struct hook *h = standing, *next; h; h = next) {
        next = h->next;
        fn(h, arg);
    }
}

/* --- what a hook leads through */

static rc_t reserve_native(struct hook *h, const struct site *s)
{
    struct record *r = &records[h->owner - 1];
    uint8_t bytes[NATIVE_MAX + NEAR_GRANULE];
    uint64_t at;
    struct asm_buf a = asm_on(bytes, NATIVE_MAX, cache_pc(s->at.v)); /* for its size */
    TRY(native_copy(&a, s, &r->map));
    size_t size = a.len + NEAR_GRANULE; /* a copied lea may become longer where it ends up */
    TRY(near_reserve(NEAR_CODE, near_around(s->at.v), size, h->owner, &at));
    h->native = cache_pc(at);
    h->native_len = (uint8_t)size;
    r->native = at;
    r->native_len = (uint8_t)size;
    a = asm_on(bytes, size, h->native);
    TRY(native_copy(&a, s, &r->map));
    return poke_plain(at, bytes, a.len) ? RC_OK : RC_CODE_WRITE;
}

/* gate: jmp to, where that can be changed later without an int3, or jmp [cell] */
static rc_t write_gate(struct hook *h, struct cache_pc to)
{
    uint8_t bytes[GATE_BYTES];
    uint64_t cell;
    struct asm_buf a = asm_on(bytes, sizeof bytes, h->gate);
    if (poke_at_once(h->gate.v, SITE_JUMP_BYTES) && !h->switched && code_reaches(h->gate.v + SITE_JUMP_BYTES, to.v)) {
        asm_jmp(&a, to.v);
        h->gate_to = to;
        return poke_plain(h->gate.v, bytes, a.len) ? RC_OK : RC_CODE_WRITE;
    }
    TRY(near_reserve(NEAR_DATA, near_around(h->gate.v), 8, h->owner, &cell));
    h->cell = (uint64_t *)cell;
    __atomic_store_n(h->cell, to.v, __ATOMIC_RELEASE);
    asm_jmp_mem(&a, cell);
    if (a.overflow)
        return RC_FAR_BRANCH;
    return poke_plain(h->gate.v, bytes, a.len) ? RC_OK : RC_CODE_WRITE;
}

static rc_t reserve_gate(struct hook *h, struct cache_pc to)
{
    uint64_t at;
    TRY(near_reserve(NEAR_CODE, near_around(h->at.v), GATE_BYTES, h->owner, &at));
    h->gate = cache_pc(at);
    return write_gate(h, to);
}

static rc_t reserve_pun(struct hook *h, struct cache_pc to)
{
    struct near_window w;
    uint64_t at;
    for (uint8_t pad = 0; pad < h->len; pad++) {
        h->pad = pad;
        h->depends = (uint8_t)(pad + SITE_JUMP_BYTES);
        if (pun_window(h->at, h->original, h->len, pad, &w) && !hook_conflicts(h->at.v, h->written, h->depends) &&
            mem_compare((const void *)h->at.v, h->original, h->depends) == 0 &&
            near_reserve(NEAR_CODE, w, GATE_BYTES, h->owner, &at) == RC_OK) {
            h->gate = cache_pc(at);
            TRY(write_gate(h, to));
            return pun_encode(h->at, h->original, h->len, pad, at, h->jump) ? RC_OK : RC_ASSERT;
        }
    }
    return RC_HOOK_PLACE;
}

static rc_t turn_gate(struct hook *h, struct cache_pc to)
{
    return poke_at_once(h->gate.v, SITE_JUMP_BYTES) ? write_gate(h, to) : RC_HOOK_THREADS;
}

/* The jump to `to`, straight or through the gate, which is made if need be. */
static rc_t make_jump(struct hook *h, struct cache_pc to)
{
    if (h->tactic == TACTIC_PUN) {
        if (!h->gate.v)
            return reserve_pun(h, to);
        return h->cell || h->gate_to.v == to.v ? RC_OK : turn_gate(h, to);
    }
    struct asm_buf a = asm_on(h->jump, sizeof h->jump, cache_pc(h->at.v));
    bool straight = !h->switched && code_reaches(h->at.v + SITE_JUMP_BYTES, to.v);
    if (!straight && !h->gate.v)
        TRY(reserve_gate(h, to));
    else if (!straight && !h->cell && h->gate_to.v != to.v)
        TRY(turn_gate(h, to));
    asm_jmp(&a, straight ? to.v : h->gate.v);
    return a.overflow ? RC_FAR_BRANCH : RC_OK;
}

static void drop_near(struct hook *h)
{
    if (h->native.v)
        near_free(h->native.v, h->native_len);
    if (h->gate.v)
        near_free(h->gate.v, GATE_BYTES);
    if (h->cell)
        near_free((uint64_t)(uintptr_t)h->cell, 8);
    h->native = h->gate = cache_pc(0);
    h->cell = NULL;
    records[h->owner - 1].taken = false;
}

/* --- the life of a hook */

/* Everything but the text. */
static rc_t prepare(struct hook *h, const struct site *s, struct cache_pc to, bool switched)
{
    uint64_t standing_native = 0;
    uint16_t owner;
    if (trace_get(s->at.v, &standing_native) && standing_native)
        return RC_HOOK_OVERLAP; /* a cleared hook of this site has not been released */
    TRY(record_make(s->at.v, &owner));
    *h = (struct hook){.at = s->at, .to = to, .tactic = s->tactic, .len = s->len, .written = s->written,
                       .depends = SITE_JUMP_BYTES, .switched = switched, .owner = owner};
    mem_copy(h->original, s->bytes, sizeof h->original);
    for (int i = 0; i < s->insn_count; i++)
        if (s->insn[i].kind != IK_PLAIN)
            h->branch[h->branch_count++] = s->insn[i].target;
    rc_t rc = reserve_native(h, s);
    if (rc == RC_OK)
        rc = make_jump(h, to);
    if (rc == RC_OK && !trace_set(s->at.v, h->native.v))
        rc = RC_HOOK_FULL;
    if (rc != RC_OK) {
        drop_near(h);
        *h = (struct hook){0};
    }
    return rc;
}

static rc_t aim(struct hook *h, struct cache_pc to)
{
    TRY(make_jump(h, to));
    h->to = to;
    if (h->cell)
        __atomic_store_n(h->cell, to.v, __ATOMIC_RELEASE);
    return RC_OK;
}

static rc_t change(struct hook *h, const uint8_t *bytes)
{
    bool stuck;
    rc_t rc = poke_change(h->at.v, bytes, h->written, &stuck);
    if (stuck && h->state != HOOK_STUCK) {
        h->state = HOOK_STUCK;
        counts.stuck++;
    }
    return rc;
}

rc_t hook_prepare(struct hook *h, const struct site *s, struct cache_pc to)
{
    if (h->state != HOOK_FREE)
        return RC_ASSERT;
    rc_t rc = prepare(h, s, to, false);
    if (rc != RC_OK)
        return refuse(rc);
    h->state = HOOK_CLEARED;
    return RC_OK;
}

rc_t hook_set(struct hook *h, const struct site *s, struct cache_pc to, bool switched)
{
    bool again = h->state == HOOK_CLEARED;
    if ((h->state != HOOK_FREE && !again) || (again && (!app_pc_eq(h->at, s->at) || h->tactic != s->tactic)))
        return RC_ASSERT;
    if (hook_conflicts(s->at.v, s->written, again ? h->depends : SITE_JUMP_BYTES))
        return refuse(RC_HOOK_OVERLAP); /* HK-4 */
    if (mem_compare((const void *)s->at.v, s->bytes, s->len > SITE_JUMP_BYTES ? s->len : SITE_JUMP_BYTES) != 0)
        return refuse(RC_HOOK_CHANGED);
    h->switched = switched;
    rc_t rc = again ? aim(h, to) : prepare(h, s, to, switched);
    if (rc != RC_OK)
        return refuse(rc);
    h->state = HOOK_LIVE;
    link_hook(h);
    rc = change(h, h->jump);
    if (rc == RC_OK) {
        counts.set[h->tactic]++;
        return RC_OK;
    }
    if (h->state == HOOK_LIVE) { /* the text is as it was */
        unlink_hook(h);
        h->state = HOOK_CLEARED;
        if (!again)
            hook_release(h);
    }
    return refuse(rc);
}

rc_t hook_retarget(struct hook *h, struct cache_pc to)
{
    if (h->state != HOOK_LIVE)
        return RC_ASSERT;
    counts.retargeted++;
    if (h->cell) {
        h->to = to;
        __atomic_store_n(h->cell, to.v, __ATOMIC_RELEASE);
        return RC_OK;
    }
    struct cache_pc before = h->to;
    TRY(aim(h, to));
    rc_t rc = change(h, h->jump);
    if (rc != RC_OK && h->state == HOOK_LIVE)
        TRY(aim(h, before));
    return rc;
}

static void stand_down(struct hook *h)
{
    unlink_hook(h);
    h->state = HOOK_CLEARED;
    h->to = h->native;
    if (h->cell) /* for those who are on their way */
        __atomic_store_n(h->cell, h->native.v, __ATOMIC_RELEASE);
    counts.cleared++;
}

rc_t hook_clear(struct hook *h)
{
    if (h->state != HOOK_LIVE && h->state != HOOK_STUCK)
        return RC_ASSERT;
    uint8_t was = h->state;
    TRY(change(h, h->original));
    if (mem_compare((const void *)h->at.v, h->original, h->written) != 0)
        return RC_ASSERT; /* HK-2 */
    counts.stuck -= was == HOOK_STUCK;
    stand_down(h);
    return RC_OK;
}

struct range {
    uint64_t start, end;
};

static void forget_hook(struct hook *h, void *arg)
{
    const struct range *r = arg;
    if (!overlap(h->at.v, h->depends, r->start, r->end - r->start))
        return;
    counts.stuck -= h->state == HOOK_STUCK;
    stand_down(h);
    (void)trace_set(h->at.v, 0);
}

void hook_forget_range(uint64_t start, uint64_t end)
{
    struct range r = {start, end};
    hook_each(forget_hook, &r);
    poke_forget_range(start, end);
}

void hook_release(struct hook *h)
{
    if (h->state != HOOK_CLEARED)
        return;
    uint64_t native;
    if (trace_get(h->at.v, &native) && native == h->native.v)
        (void)trace_set(h->at.v, 0); /* it is there, so it cannot fail */
    drop_near(h);
    *h = (struct hook){0};
}

void hook_abandon(struct hook *h)
{
    if (h->state != HOOK_CLEARED)
        return;
    uint64_t native;
    if (trace_get(h->at.v, &native) && native == h->native.v)
        (void)trace_set(h->at.v, 0);
    *h = (struct hook){0};
}

rc_t hook_place(struct hook *h, struct app_pc at, const struct site_ask *ask, struct cache_pc to, bool switched)
{
    rc_t rc = RC_HOOK_SHORT;
    struct site s;
    for (unsigned t = 0; t < TACTIC_COUNT; t++) {
        struct site_ask one = {ask->tactics & TACTIC_BIT(t), ask->others_outside};
        if (!one.tactics || (h->state == HOOK_CLEARED && t != h->tactic))
            continue;
        rc_t r = site_check(at, &one, &s);
        if (r == RC_OK)
            r = hook_set(h, &s, to, switched);
        if (r != RC_HOOK_SHORT)
            rc = r;
        if (r == RC_OK || h->state != HOOK_FREE)
            return r;
    }
    return rc;
}
