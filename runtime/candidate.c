#include "runtime/candidate.h"

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/plant.h"
#include "runtime/several.h"
#include "runtime/workclock.h"

#define ARENA_LIMIT (16u << 20)

static struct arena arena = {.limit = ARENA_LIMIT};
static struct candidate *unused; /* the one dropped first is first; its hook may still be HOOK_CLEARED */
static struct candidate **unused_end = &unused;

static rc_t hook_aim(struct candidate *c, struct cache_pc to)
{
    return c->hook.state == HOOK_LIVE ? hook_retarget(&c->hook, to) : hook_set(&c->hook, &c->site, to, false);
}

/* The hook was never set, and is not when this is done, but it has its native copy. */
static rc_t native_copy_get(struct candidate *c)
{
    if (c->hook.state == HOOK_FREE)
        return hook_prepare(&c->hook, &c->site, c->variant[1]->entry);
    return c->hook.state == HOOK_CLEARED ? RC_OK : hook_clear(&c->hook);
}

static void slow_down(struct candidate *c, uint32_t units)
{
    uint64_t mask = sys_signals_set(~0ULL);
    if (native_copy_get(c) != RC_OK || plant_stub(c->variant[1]->tag, c->hook.native, units, &c->slowed) != RC_OK)
        c->slowed = cache_pc(0);
    (void)sys_signals_set(mask);
}

struct candidate *candidate_new(struct fragment *const *variants, int n, const struct site *site)
{
    struct candidate *c = unused;
    if (c && (several_now() || sys_clock_ns(THREAD_CPU) - c->dropped_ns > LIMBO_NS)) {
        unused = c->next;
        if (!unused)
            unused_end = &unused;
        if (several_now())
            hook_abandon(&c->hook);
        else
            hook_release(&c->hook);
    } else {
        c = arena_alloc(&arena, sizeof *c);
    }
    if (!c)
        return NULL;
    *c = (struct candidate){.arms = (uint8_t)(n + 1), .site = *site};
    for (int i = 0; i < n; i++)
        c->variant[i + 1] = variants[i];
    uint32_t units = plant_units(PLANT_FAST, variants[0]->id);
    if (units && site->len)
        slow_down(c, units);
    return c;
}

static struct cache_pc arm_entry(const struct candidate *c, int arm)
{
    return c->counted ? c->stub[arm != 0] : arm ? c->variant[arm]->entry : c->slowed;
}

rc_t candidate_switch(struct candidate *c, int arm)
{
    rc_t rc = RC_OK;
    uint64_t mask = sys_signals_set(~0ULL); /* a handler must not fork between the open and the write of a patch */
    if (!c->site.len) {
        for (int i = 1; i < c->arms && rc == RC_OK; i++)
            if ((i == arm) != (c->variant[i]->set == 0))
                rc = fc_move(&c->variant[i], 1, i == arm ? 0 : c->variant[i]->id, false);
    } else if (arm || c->counted || c->slowed.v) {
        rc = hook_aim(c, arm_entry(c, arm));
    } else if (c->hook.state == HOOK_LIVE) {
        rc = hook_clear(&c->hook);
    }
    (void)sys_signals_set(mask);
    if (rc == RC_OK)
        c->arm = (uint8_t)arm;
    return rc;
}

rc_t candidate_count(struct candidate *c, bool counted)
{
    struct fragment *f = c->variant[1];
    if (counted && !c->stub[0].v) {
        TRY(native_copy_get(c));
        TRY(workclock_stub(f->tag, c->slowed.v ? c->slowed : c->hook.native, &c->stub[0]));
        TRY(workclock_stub(f->tag, f->entry, &c->stub[1]));
    }
    c->counted = counted;
    return fc_move(&f, 1, f->set, counted);
}

void candidate_keep_variant(struct candidate *c, int arm)
{
    for (int i = 1; i < c->arms; i++)
        if (i != arm)
            (void)fc_retire(c->variant[i]);
    c->variant[1] = c->variant[arm];
    c->arms = 2;
    c->arm = c->arm != 0;
}

void candidate_drop(struct candidate *c)
{
    c->counted = false;
    c->slowed = cache_pc(0);
    (void)candidate_switch(c, 0);
    for (int i = 1; i < c->arms; i++)
        (void)fc_retire(c->variant[i]);
    if (c->hook.state != HOOK_FREE && c->hook.state != HOOK_CLEARED)
        return; /* a hook that could not be taken out keeps its record */
    c->dropped_ns = sys_clock_ns(THREAD_CPU);
    c->next = NULL;
    *unused_end = c;
    unused_end = &c->next;
}

static bool fragment_covers(const struct fragment *f, uint64_t pc)
{
    if (pc >= f->start.v && pc < f->start.v + f->len)
        return true;
    for (int i = 0; i < f->text_count; i++)
        if (pc >= f->text[i].start && pc < f->text[i].end)
            return true;
    return false;
}

bool candidate_covers(const struct candidate *c, uint64_t pc)
{
    for (int i = 1; i < c->arms; i++)
        if (fragment_covers(c->variant[i], pc))
            return true;
    return pc >= c->hook.native.v && pc < c->hook.native.v + c->hook.native_len;
}

void candidate_forget_all(void)
{
    arena_reset(&arena);
    unused = NULL;
    unused_end = &unused;
}
