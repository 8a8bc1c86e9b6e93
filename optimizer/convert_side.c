#include "optimizer/convert.h"
#include "runtime/base/mem.h"

static struct asm_sum sum_of(unsigned reg) { return (struct asm_sum){(uint8_t)reg, R_NONE, 1, false, 0}; }

bool sum_equal(struct asm_sum a, struct asm_sum b)
{
    return a.base == b.base && a.index == b.index && a.scale == b.scale && a.narrow == b.narrow && a.disp == b.disp;
}

void side_start(struct side *d)
{
    *d = (struct side){.reads = 0};
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

/* Where the memory operand lies, with what is known at the branch. */
static bool place_at_branch(const struct side *d, struct values *v, const struct insn *in, struct place *p)
{
    struct asm_sum at;
    struct insn as = *in;
    if (in->rip_relative)
        return values_place(v, in, p);
    if (!address(d, in, 8, &at))
        return false;
    as.mem_base = at.base;
    as.mem_index = at.index;
    as.mem_scale = at.scale;
    as.mem_disp = at.disp;
    return values_place(v, &as, p);
}

/* A load that cannot fault, for the path has done it already; and of which a register has the value. */
static bool loaded(const struct side *d, struct values *v, const struct insn *in, struct asm_sum *out)
{
    struct place p;
    struct value is;
    if (d->stores || in->mem_implied || in->fence || in->mem_bytes != in->src.bytes ||
        !place_at_branch(d, v, in, &p) || !values_find(v, &p, &is))
        return false;
    if (value_is_const(is) || in->src.bytes < 4)
        return false;
    unsigned reg = values_register_of(v, is, p.bytes);
    *out = sum_of(reg);
    out->narrow = p.bytes == 4;
    return reg < R_NONE;
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
    if (in->act == ACT_OTHER || in->dst.kind != OPERAND_GPR || in->dst.bytes < 4 || in->dst.high ||
        in->gpr_written != 1u << in->dst.reg || !computes(d, at_branch, in, &s))
        return false;
    if (s.narrow && s.base < R_NONE && s.index == R_NONE && !s.disp && at_branch->reg[s.base].bits <= 32)
        s.narrow = false;
    d->reg[in->dst.reg] = s;
    return true;
}
