#include "tests/fuzz/facts_act.h"

#include <string.h>

static uint64_t mask_of(unsigned bytes)
{
    return bytes >= 8 ? ~0ULL : (1ULL << 8 * bytes) - 1;
}

static uint64_t load(const struct memory *m, uint64_t at, unsigned bytes)
{
    uint64_t v = 0;
    uint64_t i = at >= WORLD_CONSTS ? at - WORLD_CONSTS + 8192 : at - WORLD_DATA;
    if (bytes <= 8 && i <= offsetof(struct memory, extra) - 8)
        memcpy(&v, (const uint8_t *)m + i, bytes);
    return v;
}

static uint64_t value_of(const struct insn *in, const struct operand *o, const struct state *s,
                         const struct memory *m, uint64_t address)
{
    switch ((enum operand_kind)o->kind) {
    case OPERAND_GPR:
        return s->gpr[o->reg & 15] >> (o->high ? 8 : 0) & mask_of(o->bytes);
    case OPERAND_MEM:
        return load(m, address, o->bytes);
    case OPERAND_IMM:
        return (uint64_t)in->immediate;
    case OPERAND_NONE:
        break;
    }
    return 0;
}

static uint64_t sign_extend(uint64_t v, unsigned bytes)
{
    unsigned shift = 64 - 8 * (bytes > 8 ? 8 : bytes);
    return (uint64_t)((int64_t)(v << shift) >> shift);
}

/* False for acts without a result. */
static bool result_of(const struct insn *in, uint64_t dst, uint64_t src, uint64_t address, uint64_t *result)
{
    switch ((enum insn_act)in->act) {
    case ACT_MOV:
    case ACT_MOVZX:
    case ACT_XCHG:
        *result = src;
        return true;
    case ACT_MOVSX:
        *result = sign_extend(src, in->src.bytes);
        return true;
    case ACT_LEA:
        *result = in->mem_narrow ? (uint32_t)address : address;
        return true;
    case ACT_ADD:
        *result = dst + src;
        return true;
    case ACT_SUB:
        *result = dst - src;
        return true;
    case ACT_AND:
        *result = dst & src;
        return true;
    case ACT_OR:
        *result = dst | src;
        return true;
    case ACT_XOR:
        *result = dst ^ src;
        return true;
    case ACT_INC:
        *result = dst + 1;
        return true;
    case ACT_DEC:
        *result = dst - 1;
        return true;
    default:
        return false;
    }
}

/* Whether a destination holds v, and a register's other bits what they should: kept, or zero after 32 bits. */
static bool holds(const struct operand *o, uint64_t v, const struct state *before,
                  const struct fact_run *after, uint64_t address)
{
    uint64_t mask = mask_of(o->bytes);
    if (o->kind == OPERAND_MEM)
        return load(&after->memory, address, o->bytes) == (v & mask);
    unsigned shift = o->high ? 8 : 0;
    uint64_t rest = o->bytes == 4 ? 0 : before->gpr[o->reg & 15] & ~(mask << shift);
    return after->state.gpr[o->reg & 15] == (rest | (v & mask) << shift);
}

static bool same_place(const struct operand *a, const struct operand *b)
{
    return a->kind == OPERAND_GPR && b->kind == OPERAND_GPR && a->reg == b->reg;
}

const char *fact_act_wrong(const struct insn *in, const struct state *before, const struct memory *memory,
                           uint64_t address, const struct fact_run *after)
{
    uint64_t dst = value_of(in, &in->dst, before, memory, address);
    uint64_t src = value_of(in, &in->src, before, memory, address), result;
    if (in->act == ACT_NOP)
        return memcmp(before->gpr, after->state.gpr, sizeof before->gpr) != 0 ? ": a nop changes registers"
                                                                              : NULL;
    if (in->act == ACT_PUSH) {
        unsigned bytes = in->sp_delta == -2 ? 2 : 8;
        return load(&after->memory, after->state.gpr[R_RSP], bytes) == (src & mask_of(bytes))
                   ? NULL
                   : ": what push stores";
    }
    if (in->act == ACT_POP) {
        bool reg = in->dst.kind == OPERAND_GPR && in->dst.reg != R_RSP;
        uint64_t v = load(memory, before->gpr[R_RSP], in->dst.bytes);
        return !reg || holds(&in->dst, v, before, after, address) ? NULL : ": what pop loads";
    }
    bool halves =
        in->act == ACT_XCHG && same_place(&in->dst, &in->src); /* xchg al, ah: both change one register */
    if (halves || !result_of(in, dst, src, address, &result))
        return NULL;
    if (!holds(&in->dst, result, before, after, address))
        return ": the result is another";
    if (in->act == ACT_XCHG && !holds(&in->src, dst, before, after, address))
        return ": xchg, the other way";
    return NULL;
}
