/* Copies of the program's own instructions. */
#include "runtime/base/mem.h"
#include "tracer/asm.h"

/* Where the prefixes end: the REX, VEX or EVEX prefix or the opcode starts there. */
static unsigned legacy_prefixes(const struct insn *in)
{
    unsigned i = 0;
    for (; i < in->len; i++) {
        switch (in->bytes[i]) {
        case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
        case 0x2e: case 0x36: case 0x3e: case 0x26: case 0x64: case 0x65: continue;
        default: return i;
        }
    }
    return i;
}

/* True when the extension bit of modrm.rm is 0, so that rm names one of the low eight registers. */
static bool rm_bit_clear(const struct insn *in)
{
    unsigned i = legacy_prefixes(in);
    uint8_t b = in->bytes[i];
    if ((b & 0xf0) == 0x40)
        return !(b & 1); /* REX.B */
    if (b == 0xc4 || b == 0x62)
        return (in->bytes[i + 1] & 0x20) != 0; /* inverted B */
    return b != 0x8f || i + 1 == in->modrm_at; /* XOP: not handled; 8f /0 is pop */
}

static unsigned scratch_find(const struct insn *in)
{
    static const uint8_t candidates[] = {R_RAX, R_RCX, R_RDX, R_RBX, R_RSI, R_RDI};
    for (size_t i = 0; i < sizeof candidates; i++)
        if (!((in->gpr_read | in->gpr_written) & 1u << candidates[i]))
            return candidates[i];
    return R_NONE;
}

/* mov fs:[spill], s ; mov s, address ; <in with [s]> ; mov s, fs:[spill] */
static rc_t copy_far(struct asm_buf *a, const struct insn *in, int32_t spill, unsigned *count)
{
    unsigned s = scratch_find(in);
    if (s == R_NONE || !rm_bit_clear(in))
        return RC_NO_SCRATCH;
    uint8_t modrm = (uint8_t)((in->bytes[in->modrm_at] & 0x38) | s);
    asm_store_slot(a, spill, s);
    asm_mov_imm64(a, s, in->target);
    asm_bytes(a, in->bytes, in->modrm_at);
    asm_bytes(a, &modrm, 1);
    asm_bytes(a, in->bytes + in->disp_at + 4, in->len - in->disp_at - 4u);
    asm_load_slot(a, s, spill);
    *count = 4;
    return RC_OK;
}

/* lea r64, [rip+d] is only a constant. */
static bool is_lea64(const struct insn *in)
{
    return in->modrm_at == 2 && (in->bytes[0] & 0xf8) == 0x48 && in->bytes[1] == 0x8d;
}

rc_t asm_copy_insn(struct asm_buf *a, const struct insn *in, int32_t spill, unsigned *count)
{
    *count = 1;
    if (!in->rip_relative) {
        asm_bytes(a, in->bytes, in->len);
        return RC_OK;
    }
    int64_t disp = (int64_t)(in->target - (a->origin + a->len + in->len));
    if (disp == (int32_t)disp) {
        int32_t d = (int32_t)disp;
        asm_bytes(a, in->bytes, in->disp_at);
        asm_bytes(a, &d, 4);
        asm_bytes(a, in->bytes + in->disp_at + 4, in->len - in->disp_at - 4u);
        return RC_OK;
    }
    if (is_lea64(in)) {
        asm_mov_imm64(a, (in->bytes[2] >> 3 & 7u) | (in->bytes[0] & 4u) << 1, in->target);
        return RC_OK;
    }
    return copy_far(a, in, spill, count);
}

unsigned asm_copy_scratch(const struct insn *in) { return scratch_find(in); }

/* Where the opcode ff of an indirect jmp or call lies, and its REX.X and B. NO_OPCODE: it is something else. */
#define NO_OPCODE 0xffu
static unsigned branch_opcode(const struct insn *in, uint8_t *rex)
{
    unsigned at = legacy_prefixes(in);
    *rex = 0x48;
    if ((in->bytes[at] & 0xf0) == 0x40)
        *rex |= in->bytes[at++] & 3;
    return in->bytes[at] == 0xff && in->modrm_at == at + 1u ? at : NO_OPCODE;
}

/* The prefixes that change the operand's address: a segment base, and 32-bit addresses. notrack and bnd do not. */
static unsigned address_prefixes(const struct insn *in, uint8_t *out)
{
    unsigned n = 0, end = legacy_prefixes(in);
    for (unsigned i = 0; i < end; i++)
        if (in->bytes[i] == 0x64 || in->bytes[i] == 0x65 || in->bytes[i] == 0x67)
            out[n++] = in->bytes[i];
    return n;
}

static bool reaches_operand(const struct asm_buf *a, const struct insn *in)
{
    int64_t disp = (int64_t)(in->target - (a->origin + a->len + in->len));
    return disp == (int32_t)disp;
}

/* REX.W opcode /reg with the operand of an indirect jmp or call, and an immediate of imm_len bytes. */
static bool with_branch_operand(struct asm_buf *a, uint8_t opcode, unsigned reg, const struct insn *in, int32_t imm,
                                unsigned imm_len)
{
    struct insn out = *in; /* as an instruction of its own, to be redirected like any other */
    uint8_t rex;
    unsigned at = branch_opcode(in, &rex), tail = in->len - in->modrm_at - 1u, count;
    unsigned n = address_prefixes(in, out.bytes);
    if (at == NO_OPCODE || (n && in->rip_relative) || n + 3 + tail + imm_len > INSN_MAX_BYTES)
        return false;
    out.bytes[n++] = (uint8_t)(rex | (reg >> 3) << 2);
    out.bytes[n++] = opcode;
    out.modrm_at = (uint8_t)n;
    out.disp_at = (uint8_t)(n + 1);
    out.bytes[n++] = (uint8_t)((in->bytes[in->modrm_at] & 0xc7) | (reg & 7) << 3);
    mem_copy(out.bytes + n, in->bytes + in->modrm_at + 1, tail);
    mem_copy(out.bytes + n + tail, &imm, imm_len);
    out.len = (uint8_t)(n + tail + imm_len);
    if (in->rip_relative && !reaches_operand(a, &out))
        return false;
    return asm_copy_insn(a, &out, 0, &count) == RC_OK;
}

bool asm_load_branch_operand(struct asm_buf *a, unsigned to, const struct insn *in)
{
    uint8_t rex, prefixes[INSN_MAX_BYTES];
    if (with_branch_operand(a, 0x8b, to, in, 0, 0)) /* REX.W 8b /r: mov r64, r/m64 */
        return true;
    if (!in->rip_relative || branch_opcode(in, &rex) == NO_OPCODE || address_prefixes(in, prefixes))
        return false;
    asm_mov_imm64(a, to, in->target);
    asm_load(a, to, to, 0);
    return true;
}

/* What a ret reads, as if it were jmp [rsp]. */
static const struct insn jmp_top = {.bytes = {0xff, 0x24, 0x24}, .len = 3, .modrm_at = 1};

bool asm_cmp_branch_operand(struct asm_buf *a, unsigned reg, const struct insn *in)
{
    if (in->kind == IK_RET)
        in = &jmp_top;
    return with_branch_operand(a, 0x3b, reg, in, 0, 0); /* REX.W 3b /r: cmp r64, r/m64 */
}

bool asm_cmp_branch_operand_imm(struct asm_buf *a, const struct insn *in, int32_t v)
{
    if (in->kind == IK_RET)
        in = &jmp_top;
    return with_branch_operand(a, 0x81, 7, in, v, 4); /* REX.W 81 /7 id: cmp r/m64, simm32 */
}

unsigned asm_branch_register(const struct insn *in)
{
    uint8_t rex;
    if (in->kind == IK_RET || branch_opcode(in, &rex) == NO_OPCODE || in->bytes[in->modrm_at] < 0xc0)
        return R_NONE;
    return (in->bytes[in->modrm_at] & 7u) | (rex & 1u) << 3;
}
