#include "runtime/workclock.h"

#include "fragcache/hook.h"
#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/several.h"
#include "tracer/asm.h"
#include "tracer/block.h"

#define STUB_BYTES 64u
#define RED_ZONE 136 /* below it: 128 bytes and a spilled register */
#define IDEAL_SHARE 4096u /* one block run in so many is a tick */
#define MANY 3 /* clocks: with more, the fastest can be spared */
#define MANY_RATE 3000000u /* ticks a second of all clocks together, as long as there are so many; */
#define MOST_RATE 12000000u /* of those that are left, */
#define LAST_RATE 250000000u /* or of the last one, of WORKCLOCK_FAST */
#define FAST_SHARE 16u /* one block run in so many would be too fast */
#define LEAST_RUNS 4u /* of a block; fewer say nothing about its rate */
#define APART 32u /* bytes between two clocks */
#define HOOK_REACH 8u /* a pun's jump ends in bytes that belong to what follows */
#define RANKED 64
#define BLOCK_CLOCKS 6 /* at most, as long as there are others, */
#define EXIT_CLOCKS 9 /* and with those at exits */
#define SIDES 24
#define TRIES (3 * WORKCLOCK_MOST)
#define TABLE 48 /* clocks that are remembered, live or not */

struct clock {
    struct hook hook;
    struct site site;
    struct cache_pc stub;
    uint64_t cleared_ns;
    bool used, live;
};

struct rank {
    const struct block *b;
    uint32_t off; /* how far from the ideal rate, in eighths of an octave */
};

/* A side of a branch that was never seen taken. */
struct side {
    struct app_pc at;
    uint64_t weight;
};

static struct {
    enum workclock_source source;
    bool cheap; /* all that were chosen last: see clock_set */
    struct clock clock[TABLE];
    int chosen[WORKCLOCK_MOST + 1]; /* indices; the last is WORKCLOCK_HEAD's, which is not in the table */
    bool paused[WORKCLOCK_MOST];
    int live;
    uint64_t runs;
    struct rank ranked[RANKED];
    int ranked_count;
    struct side side[SIDES]; /* the heaviest first */
    int side_count;
} wc;

/* Each thread counts its own work. Not among the slots, which handlers leave as they were (SIG-3). */
static __thread uint64_t count[TABLE + 1] __attribute__((tls_model("initial-exec")));

/* Its distance from %fs:0, the same in every thread. */
static int32_t counter_at(int i)
{
    uint64_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    return (int32_t)((int64_t)(uintptr_t)&count[i] - (int64_t)fs);
}

/* Offsets in a stub: rsp is lowered, rcx saved, rcx reloaded, rsp restored. */
enum { LOWERED = 8, SAVED = 16, RELOADED = 46, RESTORED = 54 };

static rc_t stub_write(int i, struct cache_pc at, struct cache_pc to)
{
    uint8_t buf[STUB_BYTES];
    int32_t counter = counter_at(i);
    struct asm_buf a = asm_on(buf, sizeof buf, at);
    asm_lea(&a, R_RSP, R_RSP, -RED_ZONE);
    asm_store(&a, R_RSP, 0, R_RCX);
    asm_load_slot(&a, R_RCX, counter);
    asm_lea(&a, R_RCX, R_RCX, 1);
    asm_store_slot(&a, counter, R_RCX);
    asm_load(&a, R_RCX, R_RSP, 0);
    asm_lea(&a, R_RSP, R_RSP, RED_ZONE);
    bool as_said = a.len == RESTORED;
    asm_jmp(&a, to.v);
    if (a.overflow)
        return RC_FAR_BRANCH;
    if (!as_said)
        return RC_ASSERT;
    TRY(code_stage(at, buf, a.len));
    return code_commit();
}

static rc_t stub_reserve(struct app_pc near, struct cache_pc *stub)
{
    const struct recipe recipes[] = {
        {near.v, 0, R_NONE, R_NONE, R_NONE, PC_KNOWN, 0, 0},
        {near.v, LOWERED, R_NONE, R_NONE, R_NONE, PC_KNOWN, 0, RED_ZONE},
        {near.v, SAVED, R_NONE, R_NONE, R_RCX, PC_KNOWN, 0, RED_ZONE},
        {near.v, RELOADED, R_NONE, R_NONE, R_NONE, PC_KNOWN, 0, RED_ZONE},
        {near.v, RESTORED, R_NONE, R_NONE, R_NONE, PC_KNOWN, 0, 0},
    };
    TRY(fc_add_code(near, STUB_BYTES, stub));
    return fc_add_recipes(*stub, STUB_BYTES, recipes, (int)ARRAY_LEN(recipes));
}

rc_t workclock_stub(struct app_pc near, struct cache_pc to, struct cache_pc *stub)
{
    TRY(stub_reserve(near, stub));
    return stub_write(TABLE, *stub, to);
}

static bool shares_text(const struct fragment *f, uint64_t start, uint64_t end)
{
    for (int i = 0; i < f->text_count; i++)
        if (start < f->text[i].end && end > f->text[i].start)
            return true;
    return false;
}

/* WCK-1 */
static bool in_fragment(uint64_t start, uint64_t end, struct fragment *const *own, int n)
{
    for (int i = 0; i < n; i++)
        if (shares_text(own[i], start, end))
            return true;
    for (const struct fragment *f = fc_newest(); f; f = f->next)
        if (!f->set && shares_text(f, start, end))
            return true;
    return false;
}

/* A hook here and one where a fragment is entered would depend on each other's bytes; the fragment's could not be set. */
static bool near_entry(uint64_t at, struct fragment *const *own, int n)
{
    for (int i = 0; i < n; i++)
        if (at - own[i]->tag.v + HOOK_REACH - 1 < 2 * HOOK_REACH - 1)
            return true;
    return false;
}

/* 8 * |log2(a / b)|, roughly */
static uint32_t octaves(uint64_t a, uint64_t b)
{
    uint32_t n = 0;
    if (a < b) {
        uint64_t t = a;
        a = b;
        b = t;
    }
    while (a >= 2 * b)
        b *= 2, n += 8;
    return n + (uint32_t)((a - b) * 8 / b);
}

static void runs_add(struct block *b) { wc.runs += b->runs; }

static void rank(struct block *b)
{
    if (b->map_kind != MAP_TEXT || b->runs < LEAST_RUNS || b->insns < 2)
        return;
    if (wc.source == WORKCLOCK_SLOW && (uint64_t)b->runs * FAST_SHARE > wc.runs)
        return;
    struct rank r = {b, octaves((uint64_t)b->runs * IDEAL_SHARE, wc.runs)};
    int i = wc.ranked_count < RANKED ? wc.ranked_count++ : RANKED - 1;
    if (i == RANKED - 1 && wc.ranked[i].b && wc.ranked[i].off <= r.off && wc.ranked_count == RANKED)
        return;
    for (; i && wc.ranked[i - 1].off > r.off; i--)
        wc.ranked[i] = wc.ranked[i - 1];
    wc.ranked[i] = r;
}

static void side_add(uint64_t at, uint64_t weight)
{
    const struct block *known = block_find(app_pc(at));
    if (known && known->runs >= LEAST_RUNS)
        return;
    int i = wc.side_count < SIDES ? wc.side_count++ : SIDES - 1;
    if (i == SIDES - 1 && wc.side[i].weight >= weight)
        return;
    for (; i && wc.side[i - 1].weight < weight; i--)
        wc.side[i] = wc.side[i - 1];
    wc.side[i] = (struct side){app_pc(at), weight};
}

/* What follows a branch back is the end of a loop: sooner or later it comes. Of the rest nobody knows. */
static void sides_add(struct block *b)
{
    if (b->map_kind != MAP_TEXT || b->kind != IK_JCC)
        return;
    side_add(b->next.v, b->target <= b->pc.v ? b->runs + (1ULL << 32) : b->runs);
    side_add(b->target, b->runs);
}

static bool apart(uint64_t at, int n)
{
    for (int i = 0; i < n; i++)
        if (at - wc.clock[wc.chosen[i]].site.at.v + APART < 2 * APART)
            return false;
    return true;
}

/* The clock of this place, or room for one; NULL when all have been in use a moment ago. */
static struct clock *clock_get(struct app_pc at, uint64_t now)
{
    struct clock *room = NULL;
    for (int i = 0; i < TABLE; i++) {
        struct clock *c = &wc.clock[i];
        if (c->used && app_pc_eq(c->site.at, at))
            return c;
        if (!room && (!c->used || (!c->live && (several_now() || now - c->cleared_ns > LIMBO_NS))))
            room = c;
    }
    if (room && room->used && several_now())
        hook_abandon(&room->hook);
    else if (room && room->used)
        hook_release(&room->hook);
    if (room)
        *room = (struct clock){0};
    return room;
}

/* `cheap`: not where each pass would come back into the hook's own jump, which costs more than the tick. */
static rc_t clock_set(struct clock *c, struct app_pc at, bool cheap, struct fragment *const *own, int n)
{
    struct site_ask ask = {.tactics = TACTIC_BIT(TACTIC_LONG) | TACTIC_BIT(TACTIC_PUN)};
    if (!c->used) {
        TRY(site_check(at, &ask, &c->site));
        if (cheap && !site_leaves_jump(&c->site))
            return RC_HOOK_SHORT;
        TRY(stub_reserve(at, &c->stub));
        TRY(hook_prepare(&c->hook, &c->site, c->stub));
        c->used = true;
        TRY(stub_write((int)(c - wc.clock), c->stub, c->hook.native));
    }
    if (in_fragment(at.v, at.v + c->site.len, own, n))
        return RC_BUSY;
    TRY(hook_set(&c->hook, &c->site, c->stub, false));
    c->live = true;
    return RC_OK;
}

static void clock_clear(struct clock *c)
{
    if (c->live && hook_clear(&c->hook) == RC_OK) {
        c->live = false;
        c->cleared_ns = sys_clock_ns(THREAD_CPU);
    }
}

/* One more of the n chosen, at `at` if that may be. Returns how many there are then. */
static int clock_try(int n, struct app_pc at, bool cheap, uint64_t now, struct fragment *const *own, int members)
{
    struct clock *c = clock_get(at, now);
    if (c && clock_set(c, at, cheap, own, members) == RC_OK)
        wc.chosen[n++] = (int)(c - wc.clock);
    else if (c)
        clock_clear(c);
    return n;
}

/* For a search: which clocks it is for, and what they must keep away from. */
struct search {
    bool cheap;
    uint64_t now;
    struct fragment *const *own;
    int members, n; /* n: chosen so far */
};

static bool free_place(const struct search *s, struct app_pc at)
{
    return apart(at.v, s->n) && !in_fragment(at.v, at.v + 1, s->own, s->members) && !near_entry(at.v, s->own, s->members);
}

/* Until `most` are chosen; each of these. */
static void clocks_at_blocks(struct search *s, int most)
{
    for (int i = 0, tries = 0; i < wc.ranked_count && s->n < most && tries < TRIES; i++) {
        struct app_pc at = wc.ranked[i].b->pc;
        if (!free_place(s, at))
            continue;
        tries++;
        s->n = clock_try(s->n, at, s->cheap, s->now, s->own, s->members);
    }
}

static void clocks_at_exits(struct search *s, int most)
{
    for (int i = 0, tries = 0; i < s->members; i++)
        for (int k = 0; k < s->own[i]->exit_count && s->n < most && tries < TRIES; k++) {
            struct app_pc at = fc_exit(s->own[i]->first_exit + (uint32_t)k)->target;
            if (maps_kind(at) != MAP_TEXT || !free_place(s, at))
                continue;
            tries++;
            s->n = clock_try(s->n, at, s->cheap, s->now, s->own, s->members);
        }
}

static void clocks_at_sides(struct search *s, int most)
{
    for (int i = 0; i < wc.side_count && s->n < most; i++)
        if (maps_kind(wc.side[i].at) == MAP_TEXT && free_place(s, wc.side[i].at))
            s->n = clock_try(s->n, wc.side[i].at, s->cheap, s->now, s->own, s->members);
}

static int search(struct search *s)
{
    bool slow = wc.source == WORKCLOCK_SLOW;
    if (slow) {
        clocks_at_blocks(s, BLOCK_CLOCKS);
        clocks_at_exits(s, EXIT_CLOCKS);
        clocks_at_sides(s, WORKCLOCK_MOST);
    }
    clocks_at_blocks(s, WORKCLOCK_MOST);
    return s->n;
}

int workclock_choose(enum workclock_source source, struct fragment *const *own, int members)
{
    uint64_t mask = sys_signals_set(~0ULL);
    workclock_stop();
    uint64_t now = sys_clock_ns(THREAD_CPU);
    wc.source = source;
    wc.runs = 0;
    wc.ranked_count = wc.side_count = 0;
    block_each(runs_add);
    block_each(rank);
    block_each(sides_add);
    wc.cheap = true;
    for (int round = 0; round < 2 && !wc.live; round++) {
        wc.cheap = round == 0;
        wc.live = search(&(struct search){wc.cheap, now, own, members, 0});
    }
    (void)sys_signals_set(mask);
    return wc.live;
}

uint64_t workclock_tick_ns(void) { return !wc.cheap ? 20 : wc.source == WORKCLOCK_FAST ? 5 : 12; }

int workclock_live(void)
{
    int n = 0;
    for (int i = 0; i < wc.live; i++)
        n += wc.clock[wc.chosen[i]].live;
    return n;
}

static bool too_fast(uint64_t ticks, uint64_t ns, int live)
{
    uint32_t most = live > MANY ? MANY_RATE : live > 1 || wc.source != WORKCLOCK_FAST ? MOST_RATE : LAST_RATE;
    return ticks * 1000 / (ns / 1000000 + 1) > most;
}

bool workclock_thin(const uint64_t *ticks, uint64_t ns)
{
    uint64_t sum = 0;
    bool thinned = false;
    for (int i = 0; i < wc.live; i++)
        sum += ticks[i];
    for (int live = workclock_live(); live && too_fast(sum, ns, live); live--, thinned = true) {
        int most = 0;
        for (int i = 1; i < wc.live; i++)
            if (wc.clock[wc.chosen[i]].live && (!wc.clock[wc.chosen[most]].live || ticks[i] > ticks[most]))
                most = i;
        clock_clear(&wc.clock[wc.chosen[most]]);
        sum -= ticks[most];
    }
    return thinned;
}

void workclock_pause(void)
{
    uint64_t mask = sys_signals_set(~0ULL); /* a handler must not fork while the descriptor is open */
    poke_batch_begin();
    for (int i = 0; i < wc.live; i++) {
        struct clock *c = &wc.clock[wc.chosen[i]];
        wc.paused[i] = c->live;
        clock_clear(c);
    }
    poke_batch_end();
    (void)sys_signals_set(mask);
}

void workclock_resume(void)
{
    poke_batch_begin();
    for (int i = 0; i < wc.live; i++) {
        struct clock *c = &wc.clock[wc.chosen[i]];
        if (wc.paused[i] && !c->live && hook_set(&c->hook, &c->site, c->stub, false) == RC_OK)
            c->live = true;
    }
    poke_batch_end();
}

void workclock_stop(void)
{
    for (int i = 0; i < TABLE; i++)
        clock_clear(&wc.clock[i]);
    wc.live = 0;
}

uint64_t workclock_read(int i)
{
    int at = i == WORKCLOCK_HEAD ? TABLE : wc.chosen[i];
    return __atomic_load_n(&count[at], __ATOMIC_RELAXED);
}

void workclock_forget(void)
{
    mem_zero(wc.clock, sizeof wc.clock);
    wc.live = 0;
}
