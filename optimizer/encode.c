#include "optimizer/encode.h"

#include "tracer/asm.h"

/* Opcodes whose r/m operand may be a general register as well as memory, is only read, and means the same either way.
 * `digit`: the value modrm.reg must have; ANY when it names the other operand. */
#define ANY 8
static const struct form {
    uint8_t map, opcode, last, digit; /* map 0: one byte; 1: 0f xx. Opcodes from `opcode` to `last` */
    bool bytes; /* the even opcode works on bytes */
} forms[] = {
    {0, 0x02, 0x03, ANY, true}, /* add r, r/m */
    {0, 0x0a, 0x0b, ANY, true}, /* or */
    {0, 0x12, 0x13, ANY, true}, /* adc */
    {0, 0x1a, 0x1b, ANY, true}, /* sbb */
    {0, 0x22, 0x23, ANY, true}, /* and */
    {0, 0x2a, 0x2b, ANY, true}, /* sub */
    {0, 0x32, 0x33, ANY, true}, /* xor */
    {0, 0x38, 0x39, ANY, true}, /* cmp r/m, r */
    {0, 0x3a, 0x3b, ANY, true}, /* cmp r, r/m */
    {0, 0x63, 0x63, ANY, false}, /* movsxd r64, r/m32 */
    {0, 0x69, 0x69, ANY, false}, /* imul r, r/m, imm */
    {0, 0x6b, 0x6b, ANY, false}, /* imul r, r/m, imm8 */
    {0, 0x80, 0x81, 7, true}, /* cmp r/m, imm */
    {0, 0x83, 0x83, 7, false}, /* cmp r/m, imm8 */
    {0, 0x84, 0x85, ANY, true}, /* test r/m, r */
    {0, 0x8a, 0x8b, ANY, true}, /* mov r, r/m */
    {0, 0xf6, 0xf7, 0, true}, /* test r/m, imm */
    {0, 0xff, 0xff, 6, false}, /* push r/m */
    {1, 0x40, 0x4f, ANY, false}, /* cmovcc r, r/m */
    {1, 0xaf, 0xaf, ANY, false}, /* imul r, r/m */
    {1, 0xb6, 0xb6, ANY, true}, /* movzx r, r/m8 */
    {1, 0xb7, 0xb7, ANY, false}, /* movzx r, r/m16 */
    {1, 0xbe, 0xbe, ANY, true}, /* movsx r, r/m8 */
    {1, 0xbf, 0xbf, ANY, false}, /* movsx r, r/m16 */
};

/* Where the parts of an instruction with a modrm lie. */
struct parts {
    unsigned opcode; /* offset of the opcode's first byte, behind any REX */
    uint8_t rex; /* 0: none */
    unsigned tail; /* offset of the immediate */
    bool byte_form;
};

static bool is_kept_prefix(uint8_t b) { return b == 0x66 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x26; }

static const struct form *form_find(const struct insn *in, struct parts *p)
{
    unsigned i = 0;
    while (i < in->len && is_kept_prefix(in->bytes[i]))
        i++;
    p->rex = (in->bytes[i] & 0xf0) == 0x40 ? in->bytes[i++] : 0;
    p->opcode = i;
    uint8_t map = in->bytes[i] == 0x0f;
    if (in->modrm_at != i + map + 1u)
        return NULL;
    uint8_t opcode = in->bytes[i + map], modrm = in->bytes[in->modrm_at];
    if (modrm >> 6 == 3)
        return NULL;
    unsigned disp = modrm >> 6 == 1 ? 1 : modrm >> 6 == 2 ? 4 : 0;
    bool sib = (modrm & 7) == 4;
    if (modrm >> 6 == 0 && ((modrm & 7) == 5 || (sib && (in->bytes[in->modrm_at + 1] & 7) == 5)))
        disp = 4;
    p->tail = in->modrm_at + 1u + sib + disp;
    for (size_t k = 0; k < ARRAY_LEN(forms); k++) {
        const struct form *f = &forms[k];
        if (f->map == map && opcode >= f->opcode && opcode <= f->last &&
            (f->digit == ANY || f->digit == (modrm >> 3 & 7))) {
            p->byte_form = f->bytes && !(opcode & 1);
            return f;
        }
    }
    return NULL;
}

static struct insn *make(struct ir *ir, const struct node *n, const uint8_t *bytes, size_t len)
{
    if (ir->made_count >= ir->made_cap || !ir->made)
        return NULL;
    struct insn *made = &ir->made[ir->made_count];
    decode_made(bytes, len, ir->insns[n->insn].pc, made);
    return made->kind == IK_PLAIN && made->len == len ? made : NULL;
}

static bool commit(struct ir *ir, enum pass_id pass, struct node *n, const char *why)
{
    if (!ir_change(ir, pass, n, why))
        return false;
    n->in = &ir->made[ir->made_count++];
    return true;
}

static bool operand_is_register(const struct operand *now, const struct operand *was, unsigned reg)
{
    if (was->kind != OPERAND_MEM)
        return now->kind == was->kind && now->reg == was->reg && now->bytes == was->bytes && now->high == was->high;
    return now->kind == OPERAND_GPR && now->reg == reg && now->bytes == was->bytes && !now->high;
}

bool encode_operand(struct ir *ir, enum pass_id pass, struct node *n, unsigned reg, const char *why)
{
    const struct insn *in = n->in;
    struct parts p;
    if (!in->mem_read || in->mem_write || in->seg != SEG_FLAT || in->mem_narrow || !form_find(in, &p))
        return false;
    bool wants_rex = reg > 7 || (p.byte_form && reg >= R_RSP && reg <= R_RDI);
    if (wants_rex && !p.rex && (in->dst.high || in->src.high))
        return false; /* ah and its like cannot be named beside a REX prefix */
    uint8_t bytes[INSN_MAX_BYTES + 1];
    struct asm_buf a = asm_on(bytes, sizeof bytes, cache_pc(0));
    for (unsigned i = 0; i < p.opcode - (p.rex != 0); i++)
        if (in->bytes[i] == 0x66)
            asm_bytes(&a, &in->bytes[i], 1);
    uint8_t rex = (uint8_t)((p.rex & ~3u) | (wants_rex ? 0x40u : 0) | reg >> 3);
    if (p.rex || wants_rex)
        asm_bytes(&a, &rex, 1);
    uint8_t modrm = (uint8_t)(0xc0u | (in->bytes[in->modrm_at] & 0x38) | (reg & 7));
    asm_bytes(&a, in->bytes + p.opcode, in->modrm_at - p.opcode);
    asm_bytes(&a, &modrm, 1);
    asm_bytes(&a, in->bytes + p.tail, in->len - p.tail);
    const struct insn *made = a.overflow ? NULL : make(ir, n, bytes, a.len);
    if (!made)
        return false;
    bool as_meant = made->act == in->act && made->gpr_written == in->gpr_written && made->gpr_full == in->gpr_full &&
                    made->gpr_data == (in->gpr_data | 1u << reg) && made->flags_read == in->flags_read &&
                    made->flags_written == in->flags_written && made->immediate == in->immediate &&
                    made->mem_base == R_NONE && made->mem_index == R_NONE && made->stores == in->stores &&
                    operand_is_register(&made->dst, &in->dst, reg) && operand_is_register(&made->src, &in->src, reg);
    return as_meant && commit(ir, pass, n, why);
}

bool encode_constant(struct ir *ir, enum pass_id pass, struct node *n, unsigned reg, uint64_t value, const char *why)
{
    uint8_t bytes[INSN_MAX_BYTES];
    struct asm_buf a = asm_on(bytes, sizeof bytes, cache_pc(0));
    asm_mov_imm64(&a, reg, value);
    const struct insn *made = make(ir, n, bytes, a.len);
    if (!made || made->act != ACT_MOV || made->dst.reg != reg || made->src.kind != OPERAND_IMM || made->gpr_read)
        return false;
    uint64_t sets = made->dst.bytes == 4 ? (uint32_t)made->immediate : (uint64_t)made->immediate;
    if (sets != value || made->gpr_written != n->in->gpr_written || made->flags_written)
        return false;
    return commit(ir, pass, n, why);
}

bool encode_zero(struct ir *ir, enum pass_id pass, struct node *n, unsigned reg, const char *why)
{
    /* [REX.RB] 31 /r: xor r32, r32 */
    uint8_t bytes[3] = {0x45, 0x31, (uint8_t)(0xc0u | (reg & 7) << 3 | (reg & 7))};
    unsigned skip = reg < 8;
    const struct insn *made = make(ir, n, bytes + skip, sizeof bytes - skip);
    if (!made || made->act != ACT_XOR || made->dst.reg != reg || made->src.reg != reg || made->dst.bytes != 4)
        return false;
    if (made->flags_written & ~n->flags_dead)
        return false;
    return commit(ir, pass, n, why);
}

bool encode_shift(struct ir *ir, enum pass_id pass, struct node *n, const char *why)
{
    /* [REX] d3 /4, /5, /7 of a register; VEX.LZ.66|F2|F3.0F38.W f7 /r (SDM volume 2, SARX/SHLX/SHRX) */
    static const uint8_t prefix_of[8] = {[4] = 1, [5] = 3, [7] = 2};
    const struct insn *in = n->in;
    uint8_t rex = (in->bytes[0] & 0xf0) == 0x40 ? in->bytes[0] : 0;
    unsigned at = rex != 0;
    if (in->len != at + 2 || in->bytes[at] != 0xd3 || in->bytes[at + 1] >> 6 != 3)
        return false;
    uint8_t pp = prefix_of[in->bytes[at + 1] >> 3 & 7];
    unsigned reg = (in->bytes[at + 1] & 7u) | (rex & 1u) << 3;
    if (!pp)
        return false;
    uint8_t inverted = (uint8_t)(reg < 8 ? 0xa0 : 0), wide = rex & 8 ? 0x80 : 0; /* R and B */
    const uint8_t bytes[] = {0xc4, (uint8_t)(0x40 | inverted | 2), (uint8_t)(wide | (~R_RCX & 15) << 3 | pp), 0xf7,
                             (uint8_t)(0xc0 | (reg & 7) << 3 | (reg & 7))};
    const struct insn *made = make(ir, n, bytes, sizeof bytes);
    if (!made || made->gpr_written != 1u << reg || made->gpr_read != (1u << reg | 1u << R_RCX) || made->flags_written)
        return false;
    return commit(ir, pass, n, why);
}
