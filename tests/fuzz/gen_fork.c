/* Branches whose sides are short and meet again: maxima, counts, one step of a search or a merge. Mostly what if-conversion
 * takes, sometimes what it must not. */
#include "tests/fuzz/gen_parts.h"

struct fork {
    unsigned to[3], from[3]; /* registers that the sides write and read */
    struct operands store; /* what both sides store to, or sometimes not */
    bool stores, loads, slot; /* slot: that is one of the loop's */
};

static unsigned pick(struct gen *g, const unsigned *few) { return few[rng_below(g->r, 3)]; }

static void add_named(struct gen *g, const char *name, struct operands o, unsigned written)
{
    if (gen_add_named(g, name, o))
        gen_wrote(g, written);
}

static void add_move(struct gen *g, const struct fork *f)
{
    unsigned to = pick(g, f->to), from = ROUGHLY(g, 60) ? pick(g, f->from) : pick(g, f->to);
    struct operands o = {.size = ROUGHLY(g, 60) ? 8 : 4, .reg = from, .rm = to, .index = R_NONE, .imm = 1};
    switch (rng_below(g->r, 14)) {
    case 12: {
        static const char *const ways[] = {"shr Ev,Ib", "sar Ev,Ib", "shl Ev,Ib"};
        o.imm = ROUGHLY(g, 60) ? 1 : rng_below(g->r, 64);
        add_named(g, ways[rng_below(g->r, ARRAY_LEN(ways))], o, to);
        break;
    }
    case 13: {
        static const char *const ways[] = {"movzx Gv,Eb", "movzx Gv,Ew", "movsx Gv,Eb", "movsx Gv,Ew", "movsxd Gq,Ed"};
        unsigned which = rng_below(g->r, ARRAY_LEN(ways));
        o = (struct operands){.size = which == 4 ? 8 : o.size, .reg = to, .rm = from, .index = R_NONE};
        add_named(g, ways[which], o, to);
        break;
    }
    case 0:
    case 1:
    case 2: add_named(g, "mov Ev,Gv", o, to); break;
    case 3:
        o.imm = gen_pick_imm(g);
        add_named(g, ROUGHLY(g, 50) ? "mov Zd,Id" : "mov Ev,Iz", o, to);
        break;
    case 4:
        o.reg = to;
        add_named(g, "xor Ev,Gv", o, to);
        break;
    case 5:
        add_named(g, ROUGHLY(g, 50) ? "inc Ev" : "dec Ev", o, to);
        break;
    case 6:
    case 7:
        o.imm = ROUGHLY(g, 70) ? 4 : gen_pick_imm(g);
        add_named(g, ROUGHLY(g, 70) ? "add Ev,Ib" : "sub Ev,Ib", o, to);
        break;
    case 8: add_named(g, "add Ev,Gv", o, to); break;
    default:
        o = (struct operands){.size = o.size, .reg = to, .rm = from, .index = R_NONE, .is_mem = true};
        o.disp = gen_pick_disp(g);
        if (ROUGHLY(g, 40)) {
            o.index = pick(g, ROUGHLY(g, 50) ? f->from : f->to);
            o.index = o.index == R_RSP ? R_NONE : o.index;
            o.scale = rng_below(g->r, 4);
        }
        add_named(g, "lea Gv,M", o, to);
        break;
    }
}

static void add_load(struct gen *g, const struct fork *f)
{
    static const char *const ways[] = {"mov Gv,Ev", "mov Gv,Ev", "mov Gv,Ev", "movzx Gv,Eb", "movsx Gv,Ew", "movsxd Gq,Ed"};
    struct operands o = f->store;
    unsigned which = rng_below(g->r, ARRAY_LEN(ways));
    o.size = which == 5 || ROUGHLY(g, f->slot ? 10 : 50) ? 8 : f->slot && o.size == 8 && !which ? 8 : 4;
    o.reg = pick(g, f->to);
    add_named(g, ways[which], o, o.reg);
}

static void add_side(struct gen *g, const struct fork *f)
{
    if (f->slot && ROUGHLY(g, 60))
        add_load(g, f);
    int before = 0, after = ROUGHLY(g, 25) ? 0 : (int)rng_below(g->r, 3);
    if (f->stores && ROUGHLY(g, 97)) {
        struct operands o = f->store;
        before = ROUGHLY(g, 60) ? 0 : 1;
        while (before--)
            add_move(g, f);
        o.reg = pick(g, ROUGHLY(g, 70) ? f->from : f->to);
        o.imm = gen_pick_imm(g);
        o.disp += ROUGHLY(g, 3);
        (void)gen_add_named(g, o.size == 1 ? ROUGHLY(g, 80) ? "mov Eb,Gb" : "mov Eb,Ib" : "mov Ev,Gv", o);
    }
    if (f->loads && ROUGHLY(g, f->slot ? 10 : 50))
        add_load(g, f);
    while (after--)
        add_move(g, f);
    if (ROUGHLY(g, 4))
        gen_add_any(g);
}

/* Set the flags; the last of a side in front of a branch of its own, too. */
static void add_test(struct gen *g, const struct fork *f)
{
    static const char *const tests[] = {"cmp Ev,Gv", "cmp Ev,Ib", "test Ev,Gv"};
    struct operands o = {.size = ROUGHLY(g, 50) ? 4 : 8, .rm = pick(g, f->from), .reg = pick(g, f->to), .index = R_NONE};
    o.imm = rng_below(g->r, 256);
    (void)gen_add_named(g, tests[rng_below(g->r, 3)], o);
}

void gen_add_fork(struct gen *g)
{
    struct fork f = {.stores = ROUGHLY(g, 30), .loads = ROUGHLY(g, 15)};
    for (int i = 0; i < 3; i++) {
        f.to[i] = gen_pick_dest(g);
        f.from[i] = ROUGHLY(g, 25) ? f.to[i] : gen_pick_source(g);
    }
    gen_pick_mem(g, false, &f.store);
    f.store.size = 1u << rng_below(g->r, 4);
    if (g->slot_count && ROUGHLY(g, 60) && gen_pick_slot(g, &f.store))
        f.slot = f.stores = f.loads = true;
    for (int i = 0; i < 3; i++) /* by make_index it may be what was chosen */
        if (f.store.index == f.to[i] || (!f.store.rip && f.store.rm == f.to[i]))
            f.stores = f.loads = f.slot = false;
    if (f.loads) {
        struct operands o = f.store;
        o.size = f.slot ? o.size < 4 ? 4 : o.size : ROUGHLY(g, 50) ? 4 : 8;
        o.reg = gen_pick_dest(g);
        add_named(g, "mov Gv,Ev", o, o.reg);
        o = (struct operands){.size = 4, .rm = o.reg, .index = R_NONE, .imm = 1};
        if (f.slot && ROUGHLY(g, 70)) /* no register holds what a side loads again */
            add_named(g, "add Ev,Ib", o, o.rm);
    }
    if (ROUGHLY(g, 85))
        add_test(g, &f);
    int at = g->p->count;
    if (!gen_add_item(g, (struct item){.op = I_FORK, .arg = (int16_t)rng_below(g->r, 16), .alt = ROUGHLY(g, 35)}))
        return;
    struct item *fork = &g->p->items[at];
    fork->rip_at = (uint8_t)rng_below(g->r, 16);
    add_side(g, &f);
    if (fork->alt)
        add_test(g, &f);
    int side = g->p->count, test = side - 1;
    fork->reg = (uint8_t)(side - at - 1);
    add_side(g, &f);
    if (fork->alt && test > at)
        (void)gen_add_item(g, g->p->items[test]);
    fork->alt_reg = (uint8_t)(g->p->count - side);
    if (ROUGHLY(g, 80))
        add_test(g, &f);
    for (int i = 0; i < 2; i++)
        if (ROUGHLY(g, 60)) { /* overwritten unread: free for the conversion */
            struct operands o = {.size = 4, .rm = gen_pick_dest(g), .index = R_NONE, .imm = gen_pick_imm(g)};
            add_named(g, "mov Zd,Id", o, o.rm);
        }
}
