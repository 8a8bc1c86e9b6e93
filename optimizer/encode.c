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
    {0, 0xf6, 0xf7, 4, true}, /* mul */
    {0, 0xf6, 0xf7, 5, true}, /* imul */
    {0, 0xf6, 0xf7, 6, true}, /* div */
    {0, 0xf6, 0xf7, 7, true}, /* idiv */
    {0, 0xff, 0xff, 6, false}, /* push r/m */
    {1, 0x40, 0x4f, ANY, false}, /* cmovcc r, r/m */
    {1, 0xaf, 0xaf, ANY, false}, /* imul r, r/m */
    {1, 0xb6, 0xb6, ANY, true}, /* movzx r, r/m8 */
    {1, 0xb7, 0xb7, ANY, false}, /* movzx r, r/m16 */
    {1, 0xbe, 0xbe, ANY, true}, /* movsx r, r/m8 */
    {1, 0xbf, 0xbf, ANY, false}, /* movsx r, r/m16 */
};

/* The same of those that change their r/m operand by what they read, and read no flags. */
static const struct form changing[] = {
    {0, 0x00, 0x01, ANY, true}, /* add r/m, r */
    {0, 0x08, 0x09, ANY, true}, /* or */
    {0, 0x20, 0x21, ANY, true}, /* and */
    {0, 0x28, 0x29, ANY, true}, /* sub */
    {0, 0x30, 0x31, ANY, true}, /* xor */
    {0, 0x80, 0x81, 0, true}, /* add r/m, imm */
    {0, 0x80, 0x81, 1, true}, /* or */
    {0, 0x80, 0x81, 4, true}, /* and */
    {0, 0x80, 0x81, 5, true}, /* sub */
    {0, 0x80, 0x81, 6, true}, /* xor */
    {0, 0x83, 0x83, 0, false}, /* add r/m, imm8 */
    {0, 0x83, 0x83, 1, false}, /* or */
    {0, 0x83, 0x83, 4, false}, /* and */
    {0, 0x83, 0x83, 5, false}, /* sub */
    {0, 0x83, 0x83, 6, false}, /* xor */
    {0, 0xc0, 0xc1, 4, true}, /* shl r/m, imm8 */
    {0, 0xc0, 0xc1, 5, true}, /* shr */
    {0, 0xc0, 0xc1, 7, true}, /* sar */
    {0, 0xd0, 0xd1, 4, true}, /* shl r/m, 1 */
    {0, 0xd0, 0xd1, 5, true}, /* shr */
    {0, 0xd0, 0xd1, 7, true}, /* sar */
    {0, 0xf6, 0xf7, 2, true}, /* not */
    {0, 0xf6, 0xf7, 3, true}, /* neg */
    {0, 0xfe, 0xff, 0, true}, /* inc */
    {0, 0xfe, 0xff, 1, true}, /* dec */
};

/* Where the parts of an instruction with a modrm lie. */
struct parts {
    unsigned opcode; /* offset of the opcode's first byte, behind any REX */
    uint8_t rex; /* 0: none */
    unsigned tail; /* offset of the immediate */
    bool byte_form;
};

static bool is_kept_prefix(uint8_t b) { return b == 0x66 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x26; }

static bool parts_find(const struct insn *in, const struct form *of, size_t count, struct parts *p)
{
    unsigned i = 0;
    while (i < in->len && is_kept_prefix(in->bytes[i]))
        i++;
    p->rex = (in->bytes[i] & 0xf0) == 0x40 ? in->bytes[i++] : 0;
    p->opcode = i;
    uint8_t map = in->bytes[i] == 0x0f;
    if (in->modrm_at != i + map + 1u)
        return false;
    uint8_t opcode = in->bytes[i + map], modrm = in->bytes[in->modrm_at];
    if (modrm >> 6 == 3)
        return false;
    unsigned disp = modrm >> 6 == 1 ? 1 : modrm >> 6 == 2 ? 4 : 0;
    bool sib = (modrm & 7) == 4;
    if (modrm >> 6 == 0 && ((modrm & 7) == 5 || (sib && (in->bytes[in->modrm_at + 1] & 7) == 5)))
        disp = 4;
    p->tail = in->modrm_at + 1u + sib + disp;
    for (size_t k = 0; k < count; k++) {
        const struct form *f = &of[k];
        if (f->map == map && opcode >= f->opcode && opcode <= f->last &&
            (f->digit == ANY || f->digit == (modrm >> 3 & 7))) {
            p->byte_form = f->bytes && !(opcode & 1);
            return true;
        }
    }
    return false;
}

struct insn *encode_make(struct ir *ir, struct app_pc pc, const uint8_t *bytes, size_t len)
{
    if (ir->made_count >= ir->made_cap || !ir->made)
        return NULL;
    struct insn *made = &ir->made[ir->made_count];
    decode_made(bytes, len, pc, made);
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

/* in with the register in the place of its memory operand, whose form is one of `of`. Not checked yet. */
static const struct insn *with_register(struct ir *ir, const struct insn *in, unsigned reg, const struct form *of,
                                        size_t count)
{
    struct parts p;
    if (!in->mem_read || in->seg != SEG_FLAT || in->mem_narrow || in->fence || !parts_find(in, of, count, &p))
        return NULL;
    bool wants_rex = reg > 7 || (p.byte_form && reg >= R_RSP && reg <= R_RDI);
    if (wants_rex && !p.rex && (in->dst.high || in->src.high))
        return NULL; /* ah and its like cannot be named beside a REX prefix */
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
    const struct insn *made = a.overflow ? NULL : encode_make(ir, in->pc, bytes, a.len);
    bool as_meant = made && made->act == in->act && made->gpr_data == (in->gpr_data | 1u << reg) &&
                    made->flags_read == in->flags_read && made->flags_written == in->flags_written &&
                    made->flags_killed == in->flags_killed && made->immediate == in->immediate &&
                    made->mem_base == R_NONE && made->mem_index == R_NONE;
    return as_meant ? made : NULL;
}

static const struct insn *load_made(struct ir *ir, const struct insn *in, unsigned reg)
{
    const struct insn *made = in->mem_write ? NULL : with_register(ir, in, reg, forms, ARRAY_LEN(forms));
    bool as_meant = made && made->gpr_written == in->gpr_written && made->gpr_full == in->gpr_full &&
                    made->stores == in->stores && operand_is_register(&made->dst, &in->dst, reg) &&
                    operand_is_register(&made->src, &in->src, reg);
    return as_meant ? made : NULL;
}

bool encode_operand(struct ir *ir, enum pass_id pass, struct node *n, unsigned reg, const char *why)
{
    return load_made(ir, n->in, reg) && commit(ir, pass, n, why);
}

static const struct insn *keep(struct ir *ir, const struct insn *made)
{
    ir->made_count += made != NULL;
    return made;
}

const struct insn *encode_load(struct ir *ir, const struct insn *in, unsigned reg)
{
    if (reg >= REG_VECTOR(VECTOR_FIRST))
        return encode_vector_load(ir, in, reg - 16);
    return keep(ir, load_made(ir, in, reg));
}

const struct insn *encode_store_update(struct ir *ir, const struct insn *in, unsigned reg)
{
    uint8_t bytes[INSN_MAX_BYTES];
    struct asm_buf a = asm_on(bytes, sizeof bytes, cache_pc(0));
    unsigned from = in->src.reg, width = in->dst.bytes;
    if (reg >= REG_VECTOR(VECTOR_FIRST))
        return encode_vector_update(ir, in, reg - 16);
    if (in->act != ACT_MOV || in->dst.kind != OPERAND_MEM || in->src.high || in->fence || in->mem_implied)
        return NULL;
    if (in->src.kind == OPERAND_IMM) {
        uint64_t v = (uint64_t)in->immediate;
        asm_mov_imm64(&a, reg, width == 8 ? v : (uint32_t)v);
    } else if (in->src.kind == OPERAND_GPR) {
        /* REX 89 /r: mov r64, r64, or r32, r32 for what is narrower */
        uint8_t mov[3] = {(uint8_t)(0x40u | (width == 8 ? 8u : 0) | (from >> 3) << 2 | reg >> 3), 0x89,
                          (uint8_t)(0xc0u | (from & 7) << 3 | (reg & 7))};
        unsigned skip = mov[0] == 0x40;
        asm_bytes(&a, mov + skip, sizeof mov - skip);
    } else {
        return NULL;
    }
    const struct insn *made = encode_make(ir, in->pc, bytes, a.len);
    bool as_meant = made && made->act == ACT_MOV && made->gpr_written == 1u << reg && made->gpr_full == 1u << reg &&
                    made->dst.reg == reg && made->src.kind == in->src.kind && !made->flags_written;
    if (as_meant && in->src.kind == OPERAND_GPR)
        as_meant = made->src.reg == from && made->gpr_read == 1u << from;
    return as_meant ? keep(ir, made) : NULL;
}

const struct insn *encode_change_update(struct ir *ir, const struct insn *in, unsigned reg)
{
    if (reg >= R_NONE)
        return NULL;
    const struct insn *made =
        in->mem_write && !in->flags_read ? with_register(ir, in, reg, changing, ARRAY_LEN(changing)) : NULL;
    bool as_meant = made && !in->gpr_written && made->gpr_written == 1u << reg && !made->mem_read && !made->mem_write &&
                    !made->stores;
    return as_meant ? keep(ir, made) : NULL;
}

const struct insn *encode_store(struct ir *ir, const struct insn *in, unsigned reg)
{
    struct parts p;
    uint8_t bytes[INSN_MAX_BYTES + 1];
    struct asm_buf a = asm_on(bytes, sizeof bytes, cache_pc(0));
    if (!in->mem_write || in->seg != SEG_FLAT || in->mem_narrow || !parts_find(in, changing, ARRAY_LEN(changing), &p))
        return NULL;
    if (in->mem_bytes == 2)
        asm_bytes(&a, "\x66", 1);
    /* REX 88 /r, 89 /r: mov r/m, r */
    uint8_t rex = (uint8_t)(0x40u | (in->mem_bytes == 8 ? 8u : 0) | (reg >> 3) << 2 | (p.rex & 3));
    uint8_t op[2] = {in->mem_bytes == 1 ? 0x88 : 0x89, (uint8_t)((in->bytes[in->modrm_at] & 0xc7) | (reg & 7) << 3)};
    if (rex != 0x40 || (in->mem_bytes == 1 && reg >= R_RSP))
        asm_bytes(&a, &rex, 1);
    asm_bytes(&a, op, sizeof op);
    asm_bytes(&a, in->bytes + in->modrm_at + 1, p.tail - in->modrm_at - 1u);
    if (in->rip_relative && !a.overflow) {
        int32_t disp = (int32_t)(in->target - (in->pc.v + a.len));
        a.len -= 4;
        asm_bytes(&a, &disp, 4);
    }
    const struct insn *made = a.overflow ? NULL : encode_make(ir, in->pc, bytes, a.len);
    bool as_meant = made && made->act == ACT_MOV && made->dst.kind == OPERAND_MEM && made->src.kind == OPERAND_GPR &&
                    made->src.reg == reg && !made->src.high && made->mem_bytes == in->mem_bytes &&
                    made->mem_base == in->mem_base && made->mem_index == in->mem_index && !made->gpr_written &&
                    made->rip_relative == in->rip_relative && !made->mem_read && !made->flags_written;
    if (as_meant)
        as_meant = in->rip_relative ? made->target == in->target
                                    : made->mem_disp == in->mem_disp && made->mem_scale == in->mem_scale;
    return as_meant ? keep(ir, made) : NULL;
}

const struct insn *encode_copy(struct ir *ir, const struct insn *in, unsigned to, unsigned from)
{
    uint8_t bytes[INSN_MAX_BYTES];
    struct asm_buf a = asm_on(bytes, sizeof bytes, cache_pc(0));
    asm_mov_reg(&a, to, from);
    const struct insn *made = encode_make(ir, in->pc, bytes, a.len);
    bool as_meant = made && made->act == ACT_MOV && made->gpr_read == 1u << from && made->gpr_written == 1u << to &&
                    made->gpr_full == 1u << to && in->gpr_written == 1u << to && in->gpr_full == 1u << to;
    return as_meant ? keep(ir, made) : NULL;
}

bool encode_constant(struct ir *ir, enum pass_id pass, struct node *n, unsigned reg, uint64_t value, const char *why)
{
    uint8_t bytes[INSN_MAX_BYTES];
    struct asm_buf a = asm_on(bytes, sizeof bytes, cache_pc(0));
    asm_mov_imm64(&a, reg, value);
    const struct insn *made = encode_make(ir, n->in->pc, bytes, a.len);
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
    const struct insn *made = encode_make(ir, n->in->pc, bytes + skip, sizeof bytes - skip);
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
    const struct insn *made = encode_make(ir, n->in->pc, bytes, sizeof bytes);
    if (!made || made->gpr_written != 1u << reg || made->gpr_read != (1u << reg | 1u << R_RCX) || made->flags_written)
        return false;
    return commit(ir, pass, n, why);
}
