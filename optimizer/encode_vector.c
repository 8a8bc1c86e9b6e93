#include "optimizer/encode.h"

/* F2 or F3 0F opcode: scalar arithmetic and conversions whose r/m operand is only read; 0F and 66 0F 2E, 2F: comparisons. */
static bool is_arithmetic(uint8_t prefix, uint8_t opcode)
{
    if (opcode == 0x2e || opcode == 0x2f) /* ucomiss, comiss */
        return prefix == 0 || prefix == 0x66;
    if (prefix != 0xf2 && prefix != 0xf3)
        return false;
    switch (opcode) {
    case 0x2c: /* cvttss2si */
    case 0x2d: /* cvtss2si */
    case 0x51: /* sqrtss */
    case 0x58: /* addss */
    case 0x59: /* mulss */
    case 0x5a: /* cvtss2sd */
    case 0x5c: /* subss */
    case 0x5d: /* minss */
    case 0x5e: /* divss */
    case 0x5f: /* maxss */ return true;
    default: return false;
    }
}

struct scalar {
    uint8_t prefix, rex, opcode;
    bool loads, stores;
};

/* [prefix] [REX] 0F opcode /r with a memory operand. */
static bool scalar_find(const struct insn *in, struct scalar *s)
{
    unsigned i = 0;
    *s = (struct scalar){0};
    if (in->bytes[0] == 0xf2 || in->bytes[0] == 0xf3 || in->bytes[0] == 0x66)
        s->prefix = in->bytes[i++];
    if ((in->bytes[i] & 0xf0) == 0x40)
        s->rex = in->bytes[i++];
    if (in->bytes[i] != 0x0f || in->modrm_at != i + 2 || in->bytes[i + 2] >> 6 == 3 || in->seg != SEG_FLAT ||
        in->mem_narrow || in->mem_implied || (in->mem_bytes != 4 && in->mem_bytes != 8))
        return false;
    s->opcode = in->bytes[i + 1];
    bool scalar = s->prefix == 0xf2 || s->prefix == 0xf3;
    s->loads = (scalar && s->opcode == 0x10) || (s->prefix == 0xf3 && s->opcode == 0x7e);
    s->stores = (scalar && s->opcode == 0x11) || (s->prefix == 0x66 && s->opcode == 0xd6);
    return s->loads || s->stores || is_arithmetic(s->prefix, s->opcode);
}

bool encode_is_scalar(const struct insn *in)
{
    struct scalar s;
    return scalar_find(in, &s);
}

static struct insn *emit(struct ir *ir, const struct insn *in, uint8_t prefix, uint8_t rex, uint8_t opcode, unsigned n)
{
    uint8_t bytes[INSN_MAX_BYTES], modrm = in->bytes[in->modrm_at];
    struct asm_buf a = asm_on(bytes, sizeof bytes, cache_pc(0));
    if (prefix)
        asm_bytes(&a, &prefix, 1);
    const uint8_t rest[] = {(uint8_t)((rex & 0x4c) | 0x40 | n >> 3), 0x0f, opcode,
                            (uint8_t)(0xc0 | (modrm & 0x38) | (n & 7))};
    asm_bytes(&a, rest, sizeof rest);
    return encode_make(ir, in->pc, bytes, a.len);
}

static const struct insn *keep_vector(struct ir *ir, const struct insn *made, const struct insn *in, unsigned n)
{
    bool as_meant = made && made->xmm == (in->xmm | 1u << n) && !made->mem_read && !made->stores && !made->fence &&
                    made->gpr_written == in->gpr_written && made->gpr_full == in->gpr_full && made->gpr_zx == in->gpr_zx &&
                    made->flags_written == in->flags_written && made->flags_killed == in->flags_killed &&
                    made->flags_read == in->flags_read && !made->gpr_read && !(in->xmm >> n & 1);
    return as_meant ? &ir->made[ir->made_count++] : NULL;
}

const struct insn *encode_vector_load(struct ir *ir, const struct insn *in, unsigned n)
{
    struct scalar s;
    if (!scalar_find(in, &s) || s.stores)
        return NULL;
    /* 0F 28 /r: movaps, for a load that clears the rest */
    struct insn *made = s.loads ? emit(ir, in, 0, s.rex, 0x28, n) : emit(ir, in, s.prefix, s.rex, s.opcode, n);
    return keep_vector(ir, made, in, n);
}

const struct insn *encode_vector_update(struct ir *ir, const struct insn *in, unsigned n)
{
    struct scalar s;
    if (!scalar_find(in, &s) || !s.stores)
        return NULL;
    /* F2|F3 REX 0F 11 /r: movsd, movss of the low part only */
    return keep_vector(ir, emit(ir, in, in->mem_bytes == 4 ? 0xf3 : 0xf2, s.rex, 0x11, n), in, n);
}
