#include "tests/fuzz/subject.h"

#include <string.h>

#include "fragcache/recover.h"
#include "optimizer/passes.h"
#include "tests/fuzz/breaks.h"
#include "tests/fuzz/breaks_recipe.h"

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
    k.chain = rng_percent(r, 60);
    k.native = rng_percent(r, 30);
    k.abi = rng_percent(r, 15);
    k.cpu = rng_percent(r, 80) ? world_cpu : 0;
    k.others = !k.alone && k.roll >> 31;
    return k;
}

/* Text and pads are readable, the rest is not there; of a pad, only what comes before the jump out of this world. */
static size_t peek(struct app_pc pc, uint8_t *out, size_t cap)
{
    uint64_t end = WORLD_TEXT + WORLD_TEXT_BYTES, in_pads = pc.v - WORLD_PADS;
    if (in_pads < WORLD_PAD_COUNT * WORLD_PAD_STRIDE)
        end = pc.v - in_pads % WORLD_PAD_STRIDE + WORLD_PAD_JUMP;
    else if (pc.v - WORLD_TEXT >= WORLD_TEXT_BYTES)
        return 0;
    size_t have = pc.v < end ? end - pc.v : 0, n = have < cap ? have : cap;
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

/* Where the program may go by indirect branches: what it loads the addresses of. */
static uint64_t aims[16];
static unsigned aim_count;

static void aims_find(const struct built *b)
{
    aim_count = 0;
    for (int i = 0; i < b->insn_count && aim_count < ARRAY_LEN(aims); i++) {
        const struct insn *in = &b->insns[i];
        bool known = !in->rip_relative || in->mem_read || in->mem_write || in->target - WORLD_TEXT >= WORLD_CONSTS - WORLD_TEXT;
        for (unsigned k = 0; k < aim_count; k++)
            known |= aims[k] == in->target;
        if (!known)
            aims[aim_count++] = in->target;
    }
}

/* Any of them, from another one on for each branch. */
static const struct branch_targets *targets_of(struct app_pc after)
{
    static struct branch_targets t;
    t = (struct branch_targets){.after = after.v, .runs = 100};
    for (unsigned i = 0; i < TARGETS_KEPT && i < aim_count; i++) {
        t.target[i] = aims[(after.v / 3 + i) % aim_count];
        t.count[i] = 40 - 5 * i;
    }
    return &t;
}

static void set_knobs(const struct knobs *k, struct ir *ir)
{
    ir->alone = k->alone;
    ir->others = k->others;
    ir->passes = k->passes;
    ir->bisect = k->bisect;
    ir->unroll = k->unroll;
    ir->cpu = k->cpu;
    ir->made = k->made ? made : NULL;
    ir->made_cap = k->made ? MAX_NODES : 0;
    ir->peek = k->peek ? peek : NULL;
    ir->constant_at = k->constants ? constant_at : NULL;
    ir->targets_of = k->chain ? targets_of : NULL;
    ir->native = k->native;
    ir->indirect_gpr_dead = k->abi ? ABI_GPR_DEAD : 0;
    ir->indirect_flags_dead = k->abi ? FL_STATUS : 0;
}

rc_t subject_make(const struct built *b, const struct knobs *k, struct subject *s)
{
    struct code_region region = world_region[k->place], *r = &region;
    region.native_exits = k->native_exits;
    s->ir = (struct ir){.nodes = nodes, .cap = MAX_NODES};
    set_knobs(k, &s->ir);
    aims_find(b);
    s->abi = k->abi;
    s->out = (struct lowered){.bytes = bytes, .exits = exits, .map = map, .recipes = recipes};
    s->at = cache_pc(r->fragments.start);
    s->region = region;
    TRY(ir_build(&s->ir, &b->trace, b->insns, b->insn_count));
    TRY(optimize(&s->ir));
    if (k->broken && !break_apply(&s->ir, k->broken, k->roll))
        return RC_END_OF_TRACE;
    TRY(lower(&s->ir, s->at, r, EXIT_FIRST, world_lookup, &s->out));
    if (k->broken)
        break_lowered(&s->out, k->broken, k->roll);
    if (k->broken_recipe && !break_recipe(&s->out, k->broken_recipe, k->roll))
        return RC_END_OF_TRACE;
    recover_forget();
    TRY(recover_add(s->at, s->out.len, recipes, s->out.recipe_count));
    memcpy(world_writable(s->at.v), bytes, s->out.len);
    return RC_OK;
}

void subject_link(const struct subject *s, bool linked)
{
    for (int i = 0; i < s->out.exit_count; i++) {
        const struct lowered_exit *e = &s->out.exits[i];
        if (e->target != s->ir.tag.v)
            continue;
        uint32_t to = e->back ? s->out.loop : s->out.entry;
        bool direct = linked && (e->back || !e->saved);
        int32_t d = (int32_t)((direct ? to : e->restore) - (e->branch + 4));
        memcpy(world_writable(s->at.v) + e->branch, &d, 4);
        struct cache_pc stub = cache_pc(s->at.v + e->stub);
        uint8_t *now = s->out.bytes + e->stub;
        if (linked)
            lower_stub_far(now, stub, cache_pc(s->at.v + s->out.entry));
        else
            lower_stub(now, stub, &s->region, EXIT_FIRST + (uint32_t)i, app_pc(e->target));
        memcpy(world_writable(stub.v), now, STUB_BYTES_EACH);
    }
}

void subject_enter(const struct subject *sub, enum entry_way way, struct state *out, const struct state *s,
                   uint64_t *pc)
{
    *out = *s;
    *pc = sub->at.v + (way == ENTER_LOOKUP ? sub->out.lookup_entry : sub->out.entry);
    if (way == ENTER_DIRECT)
        return;
    world_slots->spill0 = s->gpr[R_RCX];
    world_slots->spill1 = s->gpr[R_RDX];
    out->gpr[R_RDX] = sub->ir.tag.v;
}

static struct left with_target(const struct subject *sub, struct left l)
{
    if (l.kind == LEFT_EXIT)
        l.target = l.id < (uint32_t)sub->out.exit_count ? sub->out.exits[l.id].target : 0;
    return l;
}

struct left subject_run(const struct subject *sub, struct state *s, enum entry_way way)
{
    struct state from = *s;
    uint64_t entry;
    subject_enter(sub, way, s, &from, &entry);
    return with_target(sub, world_run(s, entry));
}

static int insn_count;

static bool add_insn(const struct subject *sub, struct subject_insn *out, uint32_t at, uint32_t end)
{
    struct insn in;
    decode_made(sub->out.bytes + at, end - at, app_pc(sub->at.v + at), &in);
    bool in_memory = in.mem_read || in.mem_write || in.stores || in.mem_implied || in.sp != SP_SAME ||
                     in.kind != IK_PLAIN;
    out[insn_count++] = (struct subject_insn){at, in.len, in_memory};
    return in.kind != IK_JMP && in.kind != IK_JMP_IND;
}

struct finding {
    const struct subject *sub;
    struct subject_insn *out;
};

static void find_insns(void *arg)
{
    const struct finding *f = arg;
    const struct lowered *out = &f->sub->out;
    uint32_t end = out->exit_count ? out->exits[0].restore : out->body_end;
    insn_count = 0;
    for (uint32_t at = out->lookup_entry; at < end && insn_count < SUBJECT_MAX_INSNS; at += f->out[insn_count - 1].len)
        add_insn(f->sub, f->out, at, end);
    for (int i = 0; i < out->exit_count; i++) /* up to their jumps: data may follow */
        for (uint32_t at = out->exits[i].restore; insn_count < SUBJECT_MAX_INSNS; at += f->out[insn_count - 1].len)
            if (!add_insn(f->sub, f->out, at, out->len))
                break;
}

int subject_insns(const struct subject *sub, struct subject_insn *out)
{
    struct finding f = {sub, out};
    return decode_gate(find_insns, &f) == RC_OK ? insn_count : 0;
}

struct left subject_run_until(const struct subject *sub, struct state *s, unsigned roll)
{
    static struct subject_insn insns[SUBJECT_MAX_INSNS];
    uint64_t entry = sub->at.v + sub->out.entry;
    int n = subject_insns(sub, insns), first = 0, last = n;
    while (first < n && insns[first].at < sub->out.entry)
        first++;
    while (sub->out.exit_count && last > first && insns[last - 1].at >= sub->out.exits[0].restore)
        last--;
    if (first == last)
        return subject_run(sub, s, ENTER_DIRECT);
    unsigned k = roll % (unsigned)(last - first);
    return with_target(sub, world_run_until(s, entry, sub->at.v + insns[first + (int)k].at));
}

bool subject_recover(struct state *s, uint64_t cache, uint64_t *pc)
{
    struct cpu_state c = {.rflags = s->rflags, .pc = cache};
    memcpy(c.gpr, s->gpr, sizeof c.gpr);
    if (!fc_recover(&c, world_slots))
        return false;
    memcpy(s->gpr, c.gpr, sizeof c.gpr);
    s->rflags = c.rflags;
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        if (c.vectors & 1u << REG_VECTOR(VECTOR_FIRST + i))
            memcpy(s->xs + 160 + (size_t)16 * (VECTOR_FIRST + i), &c.vector[i], 16);
    *pc = c.pc;
    return true;
}

/* Before its store a hammock overwrites registers that the side that will run does not look at any more. 0: pc is on neither. */
static unsigned dead_in_hammock(const struct ir *ir, const struct node *n, uint64_t pc)
{
    const struct hammock *s = &ir->hammocks[n->hammock];
    unsigned mask = s->scratch;
    bool within = false;
    for (int i = 0; i < s->nodes; i++)
        within |= ir->insns[n[i].insn].pc.v == pc;
    for (int i = 0; i < s->other_count; i++)
        within |= ir->made[s->other_at + i].pc.v == pc;
    for (int i = 0; i < s->commit; i++)
        mask |= s->step[i].kind == HAMMOCK_STORE ? 0u : 1u << s->step[i].reg;
    return within ? mask & ~ir->borrowed : 0;
}

unsigned subject_dead(const struct subject *sub, uint64_t pc)
{
    unsigned dead = 0, before = 0;
    for (int i = 0; i < sub->ir.count; i++) {
        const struct node *n = &sub->ir.nodes[i];
        if (sub->ir.insns[n->insn].pc.v == pc)
            dead |= before | n->gpr_dead | (n->appended ? 0u : 0xffffu & ~(unsigned)n->original.gpr);
        if (n->op == N_HAMMOCK)
            dead |= dead_in_hammock(&sub->ir, n, pc);
        before = sub->ir.nodes[i].removed ? before : sub->ir.nodes[i].gpr_dead;
    }
    return dead;
}

unsigned subject_dead_at_exit(const struct subject *sub, uint64_t target)
{
    unsigned dead = 0;
    for (int i = 0; i < sub->ir.count; i++) {
        const struct node *n = &sub->ir.nodes[i];
        if (!n->removed && n->exit_known && n->target == target)
            dead |= 0xffffu & ~(unsigned)n->at_exit.gpr;
    }
    return dead;
}

bool subject_chains_to(const struct subject *sub, uint64_t target)
{
    for (int i = 0; i < sub->ir.chain_count; i++)
        for (int k = 0; k < sub->ir.chains[i].count; k++)
            if (sub->ir.chains[i].target[k] == target)
                return true;
    return false;
}

bool subject_takes_returns(const struct subject *sub)
{
    for (int i = 0; i < sub->ir.count; i++)
        if (sub->ir.nodes[i].op == N_ADD_SP && sub->ir.insns[sub->ir.nodes[i].insn].kind == IK_RET)
            return true;
    return false;
}

bool subject_shared(const struct subject *sub, uint64_t pc)
{
    for (int i = 0; i < sub->ir.count; i++) {
        const struct node *n = &sub->ir.nodes[i];
        const struct hammock *s = n->op == N_HAMMOCK ? &sub->ir.hammocks[n->hammock] : NULL;
        for (int k = s ? s->nodes : 0; s && k < s->nodes + s->shared; k++)
            if (sub->ir.insns[n[k].insn].pc.v == pc)
                return true;
    }
    return false;
}
