#include <string.h>

#include "tests/fuzz/gen_parts.h"

bool gen_add_item(struct gen *g, struct item it)
{
    if (g->p->count >= MAX_ITEMS - 8)
        return false;
    g->p->items[g->p->count++] = it;
    return true;
}

void gen_add_bytes(struct gen *g, const char *bytes, unsigned len)
{
    struct item it = {.op = I_PLAIN, .len = (uint8_t)len};
    memcpy(it.bytes, bytes, len);
    (void)gen_add_item(g, it);
}
const struct form *gen_form_named(const char *name)
{
    for (int i = 0; i < form_count; i++)
        if (strcmp(forms[i].name, name) == 0)
            return &forms[i];
    return NULL;
}

void gen_wrote(struct gen *g, unsigned reg)
{
    g->pointers &= (uint16_t) ~(1u << reg);
    g->stack_pointers &= (uint16_t) ~(1u << reg);
    g->foreign &= (uint16_t) ~(1u << reg);
}

bool gen_may_write(const struct gen *g, unsigned reg)
{
    return !((g->busy | g->pointers | g->kept) & 1u << reg);
}

/* A register to write to: rarely a pointer, never one that is in use. */
unsigned gen_pick_dest(struct gen *g)
{
    uint32_t free = 0xffffu & ~(uint32_t)(g->busy | g->pointers | g->kept);
    uint32_t lost = g->pointers & ~(uint32_t)(g->busy | g->kept);
    bool rarely = ROUGHLY(g, 4) && __builtin_popcount(g->pointers) > 2;
    if (lost && (rarely || !free)) /* by spills and copies, all may have become pointers */
        return rng_bit(g->r, lost);
    return rng_bit(g->r, ROUGHLY(g, 60) && (free & 0x1ff) ? free & 0x1ff : free);
}

unsigned gen_pick_source(struct gen *g)
{
    if (ROUGHLY(g, 3))
        return R_RSP;
    unsigned r = rng_below(g->r, 16);
    return r == R_RSP || g->idle & 1u << r ? R_RAX : r;
}

int gen_pick_disp(struct gen *g)
{
    static const int16_t few[] = {0, 0, 0, 8, 8, 16, 4, 1, 2, -8, 24, 12, 7, -1};
    return ROUGHLY(g, 85) ? few[rng_below(g->r, ARRAY_LEN(few))] : (int)rng_below(g->r, 192) - 64;
}

/* An access of up to 32 bytes at [rsp + d] leaves return addresses and saved registers alone. */
bool gen_stack_free(const struct gen *g, int at, int slack)
{
    for (int i = 0; i < g->guarded_count; i++)
        if (at - slack < g->guarded[i] + 8 && at + 32 > g->guarded[i])
            return false;
    return true;
}

bool gen_pick_stack(struct gen *g, struct operands *o)
{
    unsigned base = R_RSP;
    int at = g->sp, slack = g->slack;
    const struct function *f = g->depth ? &g->fn[g->depth - 1] : NULL;
    if (f && f->frame && ROUGHLY(g, 50)) {
        base = R_RBP;
        at = f->frame_sp;
        slack = 0;
    } else if (g->stack_pointers && ROUGHLY(g, 40)) {
        base = rng_bit(g->r, g->stack_pointers);
        at = g->stack_at[base];
        slack = 0;
    }
    for (int i = 0; i < 6; i++) {
        int d = base == R_RBP ? -(int)rng_below(g->r, 12) * 8 : ((int)rng_below(g->r, 14) - 4) * 8;
        d += ROUGHLY(g, 20) ? (int)rng_below(g->r, 8) : 0;
        if (!gen_stack_free(g, at + d, slack) ||
            ((g->foreign & 1u << base) && g->framed && at + d < g->frame_top + 8))
            continue;
        *o = (struct operands){.is_mem = true, .rm = base, .index = R_NONE, .disp = d};
        return true;
    }
    return false;
}

/* Bounds a register so that it may be an index. */
static unsigned make_index(struct gen *g)
{
    unsigned r = gen_pick_dest(g);
    struct item it;
    struct operands o = {.size = 4, .reg = r, .rm = r, .index = R_NONE, .imm = 31};
    bool zx = ROUGHLY(g, 50);
    if (!encode_form(gen_form_named(zx ? "movzx Gv,Eb" : "and Ev,Ib"), &o, &it) || !gen_add_item(g, it))
        return R_NONE;
    gen_wrote(g, r);
    return r;
}

static bool base_valid(const struct gen *g, const struct operands *o)
{
    if (o->rip)
        return o->disp < 4096;
    if (o->rm == R_RSP)
        return g->sp == g->last_sp;
    if (o->index != R_NONE)
        return false;
    return (g->pointers & 1u << o->rm) != 0;
}

void gen_pick_mem(struct gen *g, bool aligned, struct operands *to)
{
    struct operands o = {.is_mem = true, .index = R_NONE};
    bool stack = false;
    if (aligned || ROUGHLY(g, 8) || !g->pointers) {
        o.rip = true;
        o.disp = aligned ? 16 * (int)rng_below(g->r, 4) : (int)rng_below(g->r, 64);
    } else if (g->has_last && base_valid(g, &g->last) && ROUGHLY(g, 45)) {
        static const int shifts[] = {0, 0, 0, 0, 0, 1, 2, 4, -4, 8};
        o = g->last;
        int shift = shifts[rng_below(g->r, ARRAY_LEN(shifts))];
        if (o.rip ? o.disp + shift >= 0
                  : o.rm != R_RSP || gen_stack_free(g, g->sp + o.disp + shift, g->slack))
            o.disp += shift;
    } else if (ROUGHLY(g, 35) && gen_pick_stack(g, &o)) {
        stack = true;
    } else {
        o.rm = rng_bit(g->r, g->pointers);
        o.disp = gen_pick_disp(g);
        if (ROUGHLY(g, 18)) {
            o.index = make_index(g);
            o.scale = rng_below(g->r, 4);
            if (!(g->pointers & 1u << o.rm))
                o = (struct operands){.is_mem = true, .rip = true, .index = R_NONE};
        }
    }
    if (!stack || o.rm == R_RSP) {
        g->last = o;
        g->last_sp = g->sp;
        g->has_last = true;
    }
    to->is_mem = true;
    to->rip = o.rip;
    to->rm = o.rm;
    to->index = o.index;
    to->scale = o.scale;
    to->disp = o.disp;
}

uint64_t gen_pick_imm(struct gen *g)
{
    static const int64_t some[] = {0, 1, -1, 2, 8, 127, 128, -128, 255, 0x7fffffff, 0x80000000, 0x1000};
    return ROUGHLY(g, 60) ? (uint64_t)some[rng_below(g->r, ARRAY_LEN(some))] : rng_next(g->r);
}

static bool form_fits(const struct gen *g, const struct form *f)
{
    if ((f->f & F_IAX) && !gen_may_write(g, R_RAX))
        return false;
    if ((f->f & F_IDX) && !gen_may_write(g, R_RDX))
        return false;
    return world_has_avx2() || !(f->f & (F_AVX2 | F_BMI));
}

static unsigned pick_size(struct gen *g, const struct form *f)
{
    if (f->f & F_B)
        return 1;
    if (f->f & F_Q)
        return 8;
    unsigned roll = rng_below(g->r, 100);
    if ((f->f & F_V) && !(f->f & F_NO16) && roll < 15)
        return 2;
    return roll < 60 ? 4 : 8;
}

/* ah, ch, dh or bh as one of the operands. */
static void pick_high(struct gen *g, const struct form *f, struct operands *o)
{
    unsigned parent = rng_below(g->r, 4);
    bool reg = f->digit < 0 && !(f->f & (F_OPREG | F_RMB)) && ROUGHLY(g, 50);
    bool writes = reg ? (f->f & F_WREG) != 0 : (f->f & F_WRM) != 0;
    if ((writes && !gen_may_write(g, parent)) || (!reg && o->is_mem))
        return;
    struct operands h = *o;
    h.high = true;
    if (reg)
        h.reg = 4 + parent;
    else
        h.rm = 4 + parent;
    bool other_byte = (f->f & F_B) && f->digit < 0;
    unsigned other = reg ? h.rm : h.reg;
    if ((other_byte || reg) && !(reg && h.is_mem) && other > 3) {
        unsigned low =
            rng_below(g->r, 4); /* not rsp's or rbp's low byte any more: another's high one would be meant */
        bool other_written = reg ? (f->f & F_WRM) != 0 : (f->f & F_WREG) != 0;
        if (other_written && !gen_may_write(g, low))
            return;
        if (reg)
            h.rm = low;
        else
            h.reg = low;
    }
    *o = h;
}

static unsigned written_register(const struct form *f, const struct operands *o, unsigned r)
{
    return (f->f & (F_B | F_RMB)) && o->high && r > 3 && r < 8 ? r - 4 : r;
}

bool gen_add_form(struct gen *g, const struct form *f)
{
    if (!form_fits(g, f))
        return false;
    struct operands o = {
        .size = pick_size(g, f), .index = R_NONE, .imm = gen_pick_imm(g), .cc = rng_below(g->r, 16)};
    if (f->f & F_SMALL)
        o.imm &= ROUGHLY(g, 80) ? 31 : 255;
    o.wide = (f->f & F_L) && ((f->f & F_Q) || ROUGHLY(g, 50));
    if (f->f & F_M || (!(f->f & (F_R | F_BARE | F_OPREG)) && ROUGHLY(g, 42))) {
        gen_pick_mem(g, (f->f & F_ALIGN) != 0, &o);
        o.lock = (f->f & F_LOCKS) && ROUGHLY(g, 5);
    } else {
        o.rm = f->f & F_XRM   ? rng_below(g->r, ROUGHLY(g, 80) ? 5 : 16)
               : f->f & F_WRM ? gen_pick_dest(g)
                              : gen_pick_source(g);
    }
    o.reg = f->f & F_XREG   ? rng_below(g->r, ROUGHLY(g, 80) ? 5 : 16)
            : f->f & F_WREG ? gen_pick_dest(g)
                            : gen_pick_source(g);
    o.vvvv = f->f & F_NDS ? rng_below(g->r, 6) : f->f & F_NDD ? gen_pick_dest(g) : gen_pick_source(g);
    if ((f->f & (F_B | F_RMB)) && !(f->f & F_BARE) && ROUGHLY(g, 25))
        pick_high(g, f, &o);
    struct item it;
    if (!form_fits(g, f) || !encode_form(f, &o, &it) || !gen_add_item(g, it))
        return false;
    if ((f->f & F_WRM) && !o.is_mem && !(f->f & F_XRM))
        gen_wrote(g, written_register(f, &o, o.rm));
    if (f->f & F_WREG)
        gen_wrote(g, f->f & F_B ? written_register(f, &o, o.reg) : o.reg);
    if (f->f & F_NDD)
        gen_wrote(g, o.vvvv);
    if (f->f & F_IAX)
        gen_wrote(g, R_RAX);
    if (f->f & F_IDX)
        gen_wrote(g, R_RDX);
    return true;
}

void gen_add_any(struct gen *g)
{
    static uint32_t total;
    if (!total)
        for (int i = 0; i < form_count; i++)
            total += forms[i].weight;
    uint32_t roll = rng_below(g->r, total);
    int i = 0;
    while (roll >= forms[i].weight)
        roll -= forms[i++].weight;
    (void)gen_add_form(g, &forms[i]);
}

bool gen_add_named(struct gen *g, const char *name, struct operands o)
{
    struct item it;
    return encode_form(gen_form_named(name), &o, &it) && gen_add_item(g, it);
}

static void choose_roles(struct gen *g, struct gen_roles *roles)
{
    g->busy = 1u << R_RSP;
    *roles = (struct gen_roles){.counter = R_NONE};
    unsigned count = 2 + rng_below(g->r, 4);
    for (unsigned i = 0; i < count; i++)
        roles->pointers |= (uint16_t)(1u << rng_bit(g->r, 0xffffu & ~(1u << R_RSP)));
    if (ROUGHLY(g, 60)) {
        uint32_t free = 0xffffu & ~(uint32_t)(roles->pointers | g->busy);
        roles->counter = (uint8_t)(ROUGHLY(g, 30) && free & 2 ? R_RCX : rng_bit(g->r, free));
        g->busy |= (uint16_t)(1u << roles->counter);
    }
    uint32_t free = 0xffffu & ~(uint32_t)(roles->pointers | g->busy);
    free &= ~1u;                  /* roles.fixed: 0 means none */
    if (ROUGHLY(g, 30) && free) { /* a pointer to the stack that the path does not see made */
        unsigned r = ROUGHLY(g, 50) && free & 1u << R_RBP ? R_RBP : rng_bit(g->r, free);
        roles->fixed = (uint8_t)r;
        g->stack_pointers = g->foreign = (uint16_t)(1u << r);
        g->stack_at[r] = GEN_STACK_POINTER;
    }
    g->pointers = roles->pointers;
    if (roles->counter != R_NONE)
        g->kept = (uint16_t)(g->pointers | g->stack_pointers);
}

void gen_program(struct rng *r, struct program *p, struct gen_roles *roles)
{
    struct gen g = {.r = r, .p = p};
    p->count = 0;
    choose_roles(&g, roles);
    gen_choose_slots(&g, roles);
    gen_state(r, roles, &p->start, &p->memory);
    if (roles->counter != R_NONE)
        p->start.gpr[roles->counter]++; /* at least 2: the recorded run goes back to the head */
    int wanted = 4 + (int)rng_below(r, rng_percent(r, 10) ? 100 : 36);
    while (p->count < wanted)
        gen_add_step(&g);
    gen_add_end(&g, roles);
}
