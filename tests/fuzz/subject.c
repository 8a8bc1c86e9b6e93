#include "tests/fuzz/subject.h"

#include <string.h>

#include "optimizer/passes.h"
#include "tests/fuzz/breaks.h"

#define MAX_NODES 4096

static struct node nodes[MAX_NODES];
static uint8_t bytes[LOWER_MAX_BYTES];
static struct lowered_exit exits[LOWER_MAX_EXITS];
static struct lowered_node map[MAX_NODES];
static struct recipe recipes[LOWER_MAX_RECIPES];

static struct insn made[MAX_NODES];

struct knobs knobs_choose(struct rng *r)
{
    struct knobs k = {.alone = rng_percent(r, 50), .roll = (uint32_t)rng_next(r)};
    k.place = rng_percent(r, 25) ? PLACE_FAR : PLACE_NEAR;
    unsigned roll = rng_below(r, 100);
    k.passes = roll < 50 ? 0 : roll < 55 ? PASSES_NONE : (uint32_t)rng_next(r) & PASSES_ALL;
    k.bisect = rng_percent(r, 5) ? 1 + (int)rng_below(r, 8) : 0;
    k.unroll = rng_percent(r, 50) ? (int)rng_below(r, 8) : 0;
    k.made = rng_percent(r, 95);
    k.peek = rng_percent(r, 60);
    k.constants = rng_percent(r, 60);
    k.abi = rng_percent(r, 15);
    return k;
}

/* Text and pads are readable, the rest is not there. */
static size_t peek(struct app_pc pc, uint8_t *out, size_t cap)
{
    uint64_t end = pc.v - WORLD_TEXT < WORLD_TEXT_BYTES ? WORLD_TEXT + WORLD_TEXT_BYTES : WORLD_PADS + 8192;
    if (pc.v - WORLD_TEXT >= WORLD_TEXT_BYTES && pc.v - WORLD_PADS >= 8192)
        return 0;
    size_t n = end - pc.v < cap ? end - pc.v : cap;
    memcpy(out, (const void *)(uintptr_t)pc.v, n);
    return n;
}

static bool constant_at(uint64_t at, unsigned n, uint64_t *value)
{
    if (at - WORLD_FIXED > 4096u - 8)
        return false;
    *value = 0;
    memcpy(value, (const void *)(uintptr_t)at, n > 8 ? 8 : n);
    return n <= 8;
}

static void set_knobs(const struct knobs *k, struct ir *ir)
{
    ir->alone = k->alone;
    ir->passes = k->passes;
    ir->bisect = k->bisect;
    ir->unroll = k->unroll;
    ir->made = k->made ? made : NULL;
    ir->made_cap = k->made ? MAX_NODES : 0;
    ir->peek = k->peek ? peek : NULL;
    ir->constant_at = k->constants ? constant_at : NULL;
    ir->indirect_gpr_dead = k->abi ? ABI_GPR_DEAD : 0;
    ir->indirect_flags_dead = k->abi ? FL_STATUS : 0;
}

rc_t subject_make(const struct built *b, const struct knobs *k, struct subject *s)
{
    const struct code_region *r = &world_region[k->place];
    s->ir = (struct ir){.nodes = nodes, .cap = MAX_NODES};
    set_knobs(k, &s->ir);
    s->abi = k->abi;
    s->out = (struct lowered){.bytes = bytes, .exits = exits, .map = map, .recipes = recipes};
    s->at = cache_pc(r->fragments.start);
    TRY(ir_build(&s->ir, &b->trace, b->insns, b->insn_count));
    TRY(optimize(&s->ir));
    if (k->broken && !break_apply(&s->ir, k->broken, k->roll))
        return RC_END_OF_TRACE;
    TRY(lower(&s->ir, s->at, r, EXIT_FIRST, world_lookup, &s->out));
    if (k->broken)
        break_recipes(&s->out, k->broken, k->roll);
    memcpy(world_writable(s->at.v), bytes, s->out.len);
    return RC_OK;
}

void subject_link(const struct subject *s, bool linked)
{
    for (int i = 0; i < s->out.exit_count; i++) {
        const struct lowered_exit *e = &s->out.exits[i];
        if (e->target != s->ir.tag.v)
            continue;
        int32_t d = (int32_t)((linked ? s->out.entry : e->stub) - (e->branch + 4));
        memcpy(world_writable(s->at.v) + e->branch, &d, 4);
    }
}

struct left subject_run(const struct subject *sub, struct state *s, enum entry_way way)
{
    uint64_t entry = sub->at.v + sub->out.entry;
    if (way == ENTER_LOOKUP) {
        world_slots->spill0 = s->gpr[R_RCX];
        world_slots->spill1 = s->gpr[R_RDX];
        s->gpr[R_RDX] = sub->ir.tag.v;
        entry = sub->at.v + sub->out.lookup_entry;
    }
    struct left l = world_run(s, entry);
    if (l.kind == LEFT_EXIT)
        l.target = l.id < (uint32_t)sub->out.exit_count ? sub->out.exits[l.id].target : 0;
    return l;
}

struct starts {
    const struct subject *sub;
    uint32_t at[MAX_NODES * 4]; /* offsets of the fragment's instructions */
    int count;
};

static void find_starts(void *arg)
{
    struct starts *f = arg;
    const struct lowered *out = &f->sub->out;
    uint32_t end = out->exit_count ? out->exits[0].stub : out->body_end;
    f->count = 0;
    for (uint32_t at = out->entry; at < end && f->count < MAX_NODES * 4;) {
        struct insn in;
        f->at[f->count++] = at;
        decode_made(out->bytes + at, end - at, app_pc(f->sub->at.v + at), &in);
        at += in.len;
    }
}

struct left subject_run_until(const struct subject *sub, struct state *s, unsigned roll)
{
    static struct starts f;
    uint64_t entry = sub->at.v + sub->out.entry;
    f.sub = sub;
    if (decode_gate(find_starts, &f) != RC_OK || !f.count)
        return subject_run(sub, s, ENTER_DIRECT);
    struct left l = world_run_until(s, entry, sub->at.v + f.at[roll % (unsigned)f.count]);
    if (l.kind == LEFT_EXIT)
        l.target = l.id < (uint32_t)sub->out.exit_count ? sub->out.exits[l.id].target : 0;
    return l;
}

/* As fragcache/recover.c does it for the fragments of the cache. */
bool subject_recover(const struct subject *sub, struct state *s, uint64_t cache, uint64_t *pc)
{
    const struct recipe *r = NULL;
    uint64_t at = cache - sub->at.v;
    for (int i = 0; at < sub->out.len && i < sub->out.recipe_count && sub->out.recipes[i].at <= at; i++)
        r = &sub->out.recipes[i];
    if (!r)
        return false;
    *pc = r->from == PC_RDX ? s->gpr[R_RDX] : r->from == PC_SLOT ? world_slots->target : r->pc;
    if (r->first != R_NONE)
        s->gpr[r->first] = world_slots->spill0;
    if (r->second != R_NONE)
        s->gpr[r->second] = world_slots->spill1;
    if (r->stacked != R_NONE && s->gpr[R_RSP] - WORLD_DATA <= 8192 - 8)
        memcpy(&s->gpr[r->stacked], (const void *)(uintptr_t)s->gpr[R_RSP], 8);
    s->gpr[R_RSP] += r->rsp_add;
    return true;
}

unsigned subject_dead(const struct subject *sub, uint64_t pc)
{
    unsigned dead = 0, before = 0;
    for (int i = 0; i < sub->ir.count; i++) {
        if (sub->ir.insns[sub->ir.nodes[i].insn].pc.v == pc)
            dead |= before | sub->ir.nodes[i].gpr_dead;
        before = sub->ir.nodes[i].removed ? before : sub->ir.nodes[i].gpr_dead;
    }
    return dead;
}
