/* Loops that use the same few bytes of memory again and again, and leave registers idle: what pass_promote is for. */
#include "tests/fuzz/gen_parts.h"

void gen_choose_slots(struct gen *g, const struct gen_roles *roles)
{
    if (roles->counter == R_NONE || !ROUGHLY(g, 35))
        return;
    static const uint8_t often[] = {R_RBX, R_RSI, R_RDI, R_R8, 9, 10, 11, 12, 13, 14, R_R15};
    uint16_t taken = (uint16_t)(roles->pointers | 1u << roles->counter | (roles->fixed ? 1u << roles->fixed : 0));
    for (unsigned i = 0; i < ARRAY_LEN(often); i++)
        if (!(taken & 1u << often[i]) && ROUGHLY(g, 70) && __builtin_popcount(g->busy | taken | g->idle) < 12)
            g->idle |= (uint16_t)(1u << often[i]);
    g->slot_count = 2 + (int)rng_below(g->r, 4);
    g->steady_slot = ROUGHLY(g, 60);
    g->numbers = ROUGHLY(g, 45) ? (uint32_t)(rng_next(g->r) | rng_next(g->r)) : 0;
    for (int i = 0; i < g->slot_count; i++) {
        struct slot *s = &g->slots[i];
        unsigned roll = rng_below(g->r, 100);
        s->size = ROUGHLY(g, 60) ? 4 : ROUGHLY(g, 60) ? 8 : 1 + rng_below(g->r, 2);
        s->disp = 8 * (int)rng_below(g->r, 5) + (ROUGHLY(g, 15) ? (int)rng_below(g->r, 8) : 0);
        s->base = R_RSP;
        if (roll < 45) {
            s->base = (uint8_t)rng_bit(g->r, roles->pointers);
            g->busy |= (uint16_t)(1u << s->base); /* the same place in each iteration */
        } else if (roll < 55) {
            s->base = R_RIP;
            s->disp = (int)rng_below(g->r, 64);
        } else {
            s->disp -= 40;
        }
    }
    g->busy |= g->idle;
}

/* A way to use a slot that holds a number. */
static const struct form *scalar_form(struct gen *g, unsigned size)
{
    static const char *const wide[] = {"movsd V,W", "movsd V,W", "movsd W,V", "movsd W,V", "movq V,W", "movq W,V",
                                       "addsd",     "mulsd",     "subsd",     "divsd",     "sqrtsd",   "minsd",
                                       "ucomisd",   "cvttsd2si", "mov Gv,Ev"};
    static const char *const narrow[] = {"movss V,W", "movss V,W", "movss W,V", "movss W,V",
                                         "addss",     "cvtss2sd",  "comiss",    "mov Gv,Ev"};
    static const char *const strange[] = {"mov Ev,Gv", "vaddsd", "movups W,V", "movups V,W", "movss W,V", "movsd W,V"};
    if (ROUGHLY(g, 3))
        return gen_form_named(strange[rng_below(g->r, ARRAY_LEN(strange))]);
    return gen_form_named(size == 8 ? wide[rng_below(g->r, ARRAY_LEN(wide))] : narrow[rng_below(g->r, ARRAY_LEN(narrow))]);
}

/* A store at a constant and a short index, somewhere in the data. */
static void add_reach(struct gen *g)
{
    struct operands o = {.size = 4, .index = R_NONE};
    o.rm = gen_pick_dest(g);
    unsigned base = o.rm, index = gen_pick_dest(g);
    o.imm = WORLD_DATA + (rng_next(g->r) & 0xdff);
    if (base == R_RSP || index == R_RSP || base == index || !gen_add_named(g, "mov Zd,Id", o))
        return;
    gen_wrote(g, base);
    o = (struct operands){.size = 4, .reg = index, .rm = gen_pick_source(g), .index = R_NONE};
    if (o.rm >= R_RSP && o.rm <= R_RDI)
        o.rm = R_RAX;
    if (!gen_add_named(g, "movzx Gv,Eb", o))
        return;
    gen_wrote(g, index);
    o = (struct operands){.size = ROUGHLY(g, 50) ? 4 : 8, .is_mem = true, .rm = base, .index = index, .scale = 0};
    o.reg = gen_pick_source(g);
    (void)gen_add_named(g, "mov Ev,Gv", o);
}

/* What was loaded into `from` is extended or copied, and most often not looked at again. */
static void add_taker(struct gen *g, unsigned from)
{
    static const char *const ways[] = {"movsxd Gq,Ed", "mov Gv,Ev", "movzx Gv,Eb", "movsx Gv,Ew"};
    unsigned to = ROUGHLY(g, 30) ? from : gen_pick_dest(g), which = rng_below(g->r, ARRAY_LEN(ways));
    struct operands o = {.size = which && ROUGHLY(g, 50) ? 4 : 8, .reg = to, .rm = from, .index = R_NONE};
    if (to == R_RSP || !gen_add_named(g, ways[which], o))
        return;
    gen_wrote(g, to);
    o = (struct operands){.size = 4, .rm = from, .index = R_NONE, .imm = gen_pick_imm(g)};
    if (from != to && gen_may_write(g, from) && ROUGHLY(g, 80) && gen_add_named(g, "mov Zd,Id", o))
        gen_wrote(g, from);
}

bool gen_pick_slot(struct gen *g, struct operands *to)
{
    unsigned which = rng_below(g->r, (uint32_t)g->slot_count);
    const struct slot *s = &g->slots[which];
    struct operands o = {.size = s->size, .is_mem = true, .rm = s->base, .index = R_NONE, .disp = s->disp};
    o.rip = s->base == R_RIP;
    if (s->base == R_RSP)
        o.disp -= g->sp;
    if (g->numbers & 1u << which ||
        (s->base == R_RSP && (g->slack || o.disp != (int8_t)o.disp || !gen_stack_free(g, s->disp, 0))))
        return false;
    *to = o;
    return true;
}

/* The index is used; then, most often, neither register is looked at again, nor are the flags. */
static void end_chain(struct gen *g, unsigned from, unsigned other)
{
    struct operands o = {.size = 8, .reg = from, .rm = gen_pick_dest(g), .index = R_NONE};
    if (o.rm == R_RSP || o.rm == from || !gen_add_named(g, "add Ev,Gv", o))
        return;
    gen_wrote(g, o.rm);
    o = (struct operands){.size = 4, .rm = from, .index = R_NONE, .imm = gen_pick_imm(g)};
    if (ROUGHLY(g, 80) && gen_may_write(g, from) && gen_add_named(g, "mov Zd,Id", o))
        gen_wrote(g, from);
    o.rm = other;
    if (from != other && ROUGHLY(g, 80) && gen_may_write(g, other) && gen_add_named(g, "mov Zd,Id", o))
        gen_wrote(g, other);
}

/* An index computed from what was loaded into `from`: pass_invariant. */
static void add_chain(struct gen *g, unsigned from)
{
    static const char *const ways[] = {"shl Ev,Ib", "shl Ev,Ib", "sub Gv,Ev", "add Gv,Ev", "add Ev,Ib", "movsxd Gq,Ed", "movsxd Gq,Ed", "mov Gv,Ev", "mov Gv,Ev",
                                       "imul Gv,Ev,Iz", "imul Gv,Ev,Ib", "lea Gv,M", "lea Gv,M", "inc Ev", "dec Ev", "sub Ev,Ib"};
    static const uint8_t shifts[] = {1, 2, 3, 3, 4, 7, 30, 31, 63};
    unsigned other = ROUGHLY(g, 30) ? from : gen_pick_dest(g), wide = ROUGHLY(g, 70) ? 8 : 4;
    for (unsigned i = 0, count = 2 + rng_below(g->r, 5); i < count; i++) {
        const char *way = ways[rng_below(g->r, ARRAY_LEN(ways))];
        const struct form *f = gen_form_named(way);
        unsigned to = ROUGHLY(g, 50) ? from : other;
        struct operands o = {.size = ROUGHLY(g, 85) ? wide : 12 - wide, .index = R_NONE, .imm = gen_pick_imm(g)};
        struct item it;
        o.reg = o.rm = to;
        if (f->f & F_WREG)
            o.rm = ROUGHLY(g, 50) ? from : other;
        if (f == gen_form_named("shl Ev,Ib"))
            o.imm = shifts[rng_below(g->r, ARRAY_LEN(shifts))];
        if (f == gen_form_named("movsxd Gq,Ed"))
            o.size = 8;
        if (f == gen_form_named("lea Gv,M")) {
            o.is_mem = true;
            o.index = (uint8_t)other;
            o.rm = ROUGHLY(g, 50) ? from : other;
            o.scale = (uint8_t)rng_below(g->r, 4);
            o.disp = (int)rng_below(g->r, 64);
        }
        if (to == R_RSP || from == R_RSP || other == R_RSP || !encode_form(f, &o, &it) || !gen_add_item(g, it))
            return;
        gen_wrote(g, to);
        from = ROUGHLY(g, 70) ? to : from;
    }
    end_chain(g, from, other);
}

void gen_add_slot(struct gen *g)
{
    if (ROUGHLY(g, 2)) {
        add_reach(g);
        return;
    }
    static const char *const ways[] = {"mov Gv,Ev", "mov Gv,Ev",  "mov Gv,Ev", "mov Ev,Gv",    "mov Ev,Gv", "add Ev,Gv",
                                       "add Gv,Ev", "inc Ev",     "dec Ev",    "sub Ev,Ib",    "cmp Ev,Ib", "mov Ev,Iz",
                                       "xor Ev,Gv", "movzx Gv,Eb", "mov Eb,Gb", "movsxd Gq,Ed", "shl Ev,Ib", "neg Ev",
                                       "imul Gv,Ev", "cmp Gv,Ev", "adc Ev,Gv", "inc Eb",       "add Ev,Ib", "test Ev,Gv",
                                       "movsx Gv,Ew", "not Ev",   "and Ev,Gv", "movdqu W,V"};
    unsigned which = rng_below(g->r, (uint32_t)g->slot_count);
    const struct slot *s = &g->slots[which];
    bool number = g->numbers & 1u << which;
    bool steady = which == 0 && g->steady_slot, chain = steady && !number && s->size >= 4 && ROUGHLY(g, 50);
    const struct form *f = steady ? gen_form_named(s->size < 4 ? "movzx Gv,Eb" : "mov Gv,Ev") : number ? scalar_form(g, s->size) : gen_form_named(ways[rng_below(g->r, ARRAY_LEN(ways))]);
    struct operands o = {.size = ROUGHLY(g, 90) ? s->size : 4, .is_mem = true, .rm = s->base, .index = R_NONE};
    struct item it;
    o.disp = s->disp;
    uint32_t others = g->pointers & ~(uint32_t)g->busy;
    if (s->base < R_NONE && s->base != R_RSP && others && ROUGHLY(g, 25)) /* pointers lie near each other */
        o.rm = rng_bit(g->r, others);
    else if (s->base == R_RSP) {
        o.disp -= g->sp;
        if (g->slack || o.disp != (int8_t)o.disp || !gen_stack_free(g, s->disp, 0))
            return;
    }
    o.rip = s->base == R_RIP;
    if (f->f & F_B || o.size == 1)
        o.size = f->f & F_B ? 1 : 4;
    if (f->f & F_Q)
        o.size = 8;
    o.imm = gen_pick_imm(g);
    if (f->f & F_SMALL)
        o.imm &= 31;
    o.reg = f->f & F_XREG ? rng_below(g->r, 4) : f->f & F_WREG ? gen_pick_dest(g) : gen_pick_source(g);
    if (!encode_form(f, &o, &it) || !gen_add_item(g, it) || !(f->f & F_WREG))
        return;
    gen_wrote(g, o.reg);
    if ((f == gen_form_named("mov Gv,Ev") || f == gen_form_named("movsxd Gq,Ed")) && (chain || ROUGHLY(g, 30)))
        add_chain(g, o.reg);
    else if (f == gen_form_named("mov Gv,Ev") && ROUGHLY(g, 40))
        add_taker(g, o.reg);
}
