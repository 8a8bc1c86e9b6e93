#include "optimizer/convert.h"
#include "runtime/base/mem.h"

static struct asm_sum sum_of(unsigned reg) { return (struct asm_sum){(uint8_t)reg, R_NONE, 1, false, 0}; }

bool sum_equal(struct asm_sum a, struct asm_sum b)
{
    return a.base == b.base && a.index == b.index && a.scale == b.scale && a.narrow == b.narrow && a.disp == b.disp;
}

void side_start(struct side *d, struct prelude *p)
{
    *d = (struct side){.prelude = p};
    for (unsigned r = 0; r < 16; r++)
        d->reg[r] = sum_of(r);
}

/* Up to two registers with factors, and a constant. */
struct terms {
    unsigned reg[2], factor[2], count;
    int64_t disp;
};

static bool terms_add(struct terms *t, unsigned reg, unsigned factor)
{
    for (unsigned i = 0; i < t->count; i++)
        if (t->reg[i] == reg && t->factor[i] == factor && (factor == 1 || factor == 2 || factor == 4)) {
            t->factor[i] *= 2;
            return true;
        }
    if (t->count == 2 || factor > 8)
        return false;
    t->reg[t->count] = reg;
    t->factor[t->count++] = factor;
    return true;
}

static bool terms_add_sum(struct terms *t, struct asm_sum s, unsigned factor)
{
    t->disp += (int64_t)s.disp * factor;
    return (s.base == R_NONE || terms_add(t, s.base, factor)) &&
           (s.index == R_NONE || terms_add(t, s.index, s.scale * factor));
}

static bool is_constant(struct asm_sum s) { return s.base == R_NONE && s.index == R_NONE; }

/* A sum that is cut to 32 bits may only be part of one that is cut, too. */
static bool may_widen(struct asm_sum *s, bool narrow)
{
    if (s->narrow && is_constant(*s) && s->disp >= 0)
        s->narrow = false;
    return narrow || !s->narrow;
}

/* One form for each sum. */
static bool terms_sum(struct terms *t, bool narrow, struct asm_sum *out)
{
    struct asm_sum s = {R_NONE, R_NONE, 1, narrow, (int32_t)t->disp};
    if (!narrow && s.disp != t->disp)
        return false;
    unsigned base = 2;
    for (unsigned i = 0; i < t->count; i++)
        if (t->factor[i] == 1 &&
            (base == 2 || t->reg[i] == R_RSP || (t->reg[base] != R_RSP && t->reg[i] < t->reg[base])))
            base = i;
    for (unsigned i = 0; i < t->count; i++) {
        if (i == base) {
            s.base = (uint8_t)t->reg[i];
            continue;
        }
        if (s.index != R_NONE)
            return false;
        s.index = (uint8_t)t->reg[i];
        s.scale = (uint8_t)t->factor[i];
    }
    *out = s;
    return s.index != R_RSP && may_widen(out, true);
}

/* a + b * factor, of so many bytes. */
static bool add(struct asm_sum a, struct asm_sum b, unsigned factor, unsigned bytes, struct asm_sum *out)
{
    struct terms t = {.count = 0};
    bool narrow = bytes == 4;
    return may_widen(&a, narrow) && may_widen(&b, narrow) && terms_add_sum(&t, a, 1) && terms_add_sum(&t, b, factor) &&
           terms_sum(&t, narrow, out);
}

static struct asm_sum constant(int64_t v) { return (struct asm_sum){R_NONE, R_NONE, 1, false, (int32_t)v}; }

static bool address(const struct side *d, const struct insn *in, unsigned bytes, struct asm_sum *out)
{
    struct asm_sum s = constant(in->mem_disp);
    if (in->seg != SEG_FLAT || in->mem_narrow || in->rip_relative)
        return false;
    if (in->mem_base < R_NONE && !add(s, d->reg[in->mem_base], 1, bytes, &s))
        return false;
    if (in->mem_index < R_NONE && !add(s, d->reg[in->mem_index], in->mem_scale, bytes, &s))
        return false;
    *out = s;
    return true;
}

/* --- the prelude */

unsigned prelude_take(uint16_t *free, uint16_t borrowed)
{
    unsigned first = *free & ~(unsigned)borrowed, from = first ? first : *free;
    if (!from)
        return R_NONE;
    unsigned r = (unsigned)__builtin_ctz(from);
    *free &= (uint16_t)~(1u << r);
    return r;
}

/* The register of a step that is there already, or is added. */
static bool prelude_step(struct prelude *p, struct hammock_step t, struct asm_sum *out)
{
    struct hammock *s = p->sel;
    for (int i = 0; i < s->count; i++) {
        const struct hammock_step *u = &s->step[i];
        if (u->kind == t.kind && u->cc == t.cc && u->bytes == t.bytes && sum_equal(u->sum, t.sum)) {
            *out = sum_of(u->reg);
            return true;
        }
    }
    unsigned r = s->count < HAMMOCK_STEPS ? prelude_take(&p->free, p->borrowed) : R_NONE;
    if (r == R_NONE)
        return false;
    t.reg = (uint8_t)r;
    s->step[s->count++] = t;
    *out = sum_of(r);
    return true;
}

/* The sum's low `bytes` in a register, others above them. */
static bool prelude_register(struct prelude *p, struct asm_sum *a, unsigned bytes)
{
    if (bytes <= 4)
        a->narrow = false;
    return sum_is_register(*a) || prelude_step(p, (struct hammock_step){.kind = HAMMOCK_SET, .bytes = 8, .sum = *a}, a);
}

static bool prelude_load(struct prelude *p, struct asm_sum at, unsigned bytes, struct asm_sum *out)
{
    return !at.narrow && prelude_step(p, (struct hammock_step){.kind = HAMMOCK_LOAD, .bytes = (uint8_t)bytes, .sum = at}, out);
}

static bool prelude_extend(struct prelude *p, struct asm_sum a, unsigned from, bool sign, unsigned bytes, struct asm_sum *out)
{
    struct hammock_step t = {.kind = HAMMOCK_EXTEND, .cc = sign, .bytes = (uint8_t)from};
    if (!prelude_register(p, &a, from))
        return false;
    t.sum = a;
    t.sum.narrow = bytes == 4;
    return prelude_step(p, t, out);
}

static bool prelude_shift(struct prelude *p, struct asm_sum a, enum asm_shift how, unsigned by, unsigned bytes,
                          struct asm_sum *out)
{
    struct hammock_step t = {.kind = HAMMOCK_SHIFT, .cc = (uint8_t)how, .bytes = (uint8_t)bytes};
    if (!(p->ir->cpu & CPU_BMI2) || !prelude_register(p, &a, bytes))
        return false;
    t.sum = a;
    t.sum.disp = (int32_t)by;
    return prelude_step(p, t, out);
}

static bool prelude_writes(const struct prelude *p, unsigned reg)
{
    bool writes = false;
    for (int i = 0; i < p->sel->count; i++)
        writes |= p->sel->step[i].reg == reg;
    return writes;
}

/* --- instructions */

/* Where the memory operand lies, with what is known at the branch. */
static bool place_at_branch(const struct side *d, struct values *v, const struct insn *in, struct place *p)
{
    struct asm_sum at;
    struct insn as = *in;
    if (in->rip_relative)
        return values_place(v, in, p);
    if (!address(d, in, 8, &at) || prelude_writes(d->prelude, at.base) || prelude_writes(d->prelude, at.index))
        return false;
    as.mem_base = at.base;
    as.mem_index = at.index;
    as.mem_scale = at.scale;
    as.mem_disp = at.disp;
    return values_place(v, &as, p);
}

/* A load that cannot fault, for the path has done it already: a register has the value, or it is loaded again. */
static bool loaded(const struct side *d, struct values *v, const struct insn *in, struct asm_sum *out)
{
    struct place p;
    struct value is;
    struct asm_sum at;
    if (d->stores || in->mem_implied || in->fence || in->mem_bytes != in->src.bytes || in->mem_bytes > 8 ||
        !place_at_branch(d, v, in, &p) || !values_find(v, &p, &is))
        return false;
    unsigned reg = value_is_const(is) || in->src.bytes < 4 ? R_NONE : values_register_of(v, is, p.bytes);
    if (reg == R_NONE || prelude_writes(d->prelude, reg))
        return address(d, in, 8, &at) && prelude_load(d->prelude, at, in->mem_bytes, out);
    d->prelude->free &= (uint16_t)~(1u << reg); /* the program may not look at it any more */
    *out = sum_of(reg);
    out->narrow = p.bytes == 4;
    return true;
}

/* The operand's value, of the operand's width. */
static bool operand(const struct side *d, struct values *v, const struct insn *in, const struct operand *o,
                    struct asm_sum *out)
{
    switch ((enum operand_kind)o->kind) {
    case OPERAND_GPR: *out = d->reg[o->reg]; return !o->high;
    case OPERAND_IMM:
        *out = constant(in->immediate);
        return out->disp == in->immediate;
    case OPERAND_MEM: return loaded(d, v, in, out);
    case OPERAND_NONE: break;
    }
    return false;
}

static bool clears(const struct insn *in)
{
    return (in->act == ACT_XOR || in->act == ACT_SUB) && in->src.kind == OPERAND_GPR && in->src.reg == in->dst.reg &&
           !in->src.high;
}

/* shl, shr, sar of a register by a constant: [REX] c1 /4, /5, /7 ib; d1 (SDM volume 2). */
static bool shifted(const struct side *d, const struct insn *in, struct asm_sum *out)
{
    static const uint8_t how_of[8] = {[4] = ASM_SHL, [5] = ASM_SHR, [7] = ASM_SAR};
    uint8_t rex = (in->bytes[0] & 0xf0) == 0x40 ? in->bytes[0] : 0;
    unsigned at = rex != 0, bytes = rex & 8 ? 8 : 4;
    bool once = in->bytes[at] == 0xd1;
    if ((!once && in->bytes[at] != 0xc1) || in->len != at + (once ? 2 : 3) || in->bytes[at + 1] >> 6 != 3)
        return false;
    unsigned how = how_of[in->bytes[at + 1] >> 3 & 7], reg = (in->bytes[at + 1] & 7u) | (rex & 1u) << 3;
    unsigned by = once ? 1 : in->bytes[at + 2] & (bytes * 8 - 1);
    struct asm_sum a = d->reg[reg];
    if (!how || !by || in->gpr_written != 1u << reg)
        return false;
    if (how == ASM_SHL && by <= 3 && add(constant(0), a, 1u << by, bytes, out))
        return true;
    return prelude_shift(d->prelude, a, how, by, bytes, out);
}

static bool extended(const struct side *d, struct values *v, const struct insn *in, struct asm_sum *out)
{
    struct asm_sum a;
    return operand(d, v, in, &in->src, &a) && in->src.bytes < in->dst.bytes &&
           prelude_extend(d->prelude, a, in->src.bytes, in->act == ACT_MOVSX, in->dst.bytes, out);
}

static bool computes(const struct side *d, struct values *v, const struct insn *in, struct asm_sum *out)
{
    unsigned bytes = in->dst.bytes;
    struct asm_sum a = d->reg[in->dst.reg], b;
    if (clears(in)) {
        *out = constant(0);
        return true;
    }
    switch ((enum insn_act)in->act) {
    case ACT_LEA: return address(d, in, bytes, out);
    case ACT_MOVZX:
    case ACT_MOVSX: return extended(d, v, in, out);
    case ACT_INC: return add(a, constant(1), 1, bytes, out);
    case ACT_DEC: return add(a, constant(-1), 1, bytes, out);
    case ACT_MOV:
        if (!operand(d, v, in, &in->src, &b))
            return false;
        *out = b;
        return bytes == 8 || add(constant(0), b, 1, bytes, out);
    case ACT_ADD: return operand(d, v, in, &in->src, &b) && add(a, b, 1, bytes, out);
    case ACT_SUB:
        return in->src.kind == OPERAND_IMM && in->immediate > INT32_MIN && in->immediate <= INT32_MAX &&
               add(a, constant(-in->immediate), 1, bytes, out);
    default: return false;
    }
}

static bool side_store(struct side *d, struct values *v, const struct insn *in)
{
    if (d->stores || in->act != ACT_MOV || !address(d, in, 8, &d->at) || d->at.narrow)
        return false;
    if (!operand(d, v, in, &in->src, &d->value) || (in->src.kind == OPERAND_GPR && in->src.bytes != in->dst.bytes))
        return false;
    d->bytes = in->dst.bytes;
    if (d->bytes == 1 || d->bytes == 2 || d->bytes == 4)
        d->value.narrow = false; /* what is stored is below that */
    d->stores = true;
    return d->bytes == in->mem_bytes && (d->bytes < 8 || !d->value.narrow);
}

/* The upper half of what register r holds is zero: at the branch, or in the prelude. */
static bool below_4_bytes(const struct side *d, const struct values *at_branch, unsigned r)
{
    const struct hammock *s = d->prelude->sel;
    for (int i = 0; i < s->count; i++)
        if (s->step[i].reg == r)
            return s->step[i].kind == HAMMOCK_SET || s->step[i].kind == HAMMOCK_EXTEND ? s->step[i].sum.narrow
                                                                                       : s->step[i].bytes <= 4;
    return at_branch->reg[r].bits <= 32;
}

bool side_step(struct side *d, struct values *at_branch, const struct insn *in)
{
    if (in->kind != IK_PLAIN || in->fence || in->mem_implied || in->sp != SP_SAME)
        return false;
    if (in->act == ACT_NOP)
        return true;
    d->reads |= in->gpr_read;
    d->flags_written |= in->flags_written;
    if (in->dst.kind == OPERAND_MEM && in->mem_write)
        return !in->mem_read && side_store(d, at_branch, in);
    if (in->stores || in->flags_read)
        return false;
    if (in->act == ACT_CMP || in->act == ACT_TEST)
        return !in->mem_read;
    struct asm_sum s;
    if (in->act == ACT_OTHER && !in->mem_read && shifted(d, in, &s)) {
        d->reg[__builtin_ctz(in->gpr_written)] = s;
        return true;
    }
    if (in->act == ACT_OTHER || in->dst.kind != OPERAND_GPR || in->dst.bytes < 4 || in->dst.high ||
        in->gpr_written != 1u << in->dst.reg || !computes(d, at_branch, in, &s))
        return false;
    if (s.narrow && s.base < R_NONE && s.index == R_NONE && !s.disp && below_4_bytes(d, at_branch, s.base))
        s.narrow = false;
    d->reg[in->dst.reg] = s;
    return true;
}
