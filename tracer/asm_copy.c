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

bool asm_load_branch_operand(struct asm_buf *a, unsigned to, const struct insn *in)
{
    unsigned at = legacy_prefixes(in);
    uint8_t rex = 0x48;
    if ((in->bytes[at] & 0xf0) == 0x40)
        rex |= in->bytes[at++] & 3; /* X and B of the operand */
    if (in->bytes[at] != 0xff || in->modrm_at != at + 1u)
        return false;
    for (unsigned i = 0; i < at; i++)
        if (in->bytes[i] == 0x64 || in->bytes[i] == 0x65) { /* a segment base counts; notrack and bnd do not */
            if (in->rip_relative)
                return false;
            asm_bytes(a, &in->bytes[i], 1);
        }
    uint8_t head[3] = {(uint8_t)(rex | (to >> 3) << 2), 0x8b, /* REX.W 8b /r: mov r64, r/m64 */
                       (uint8_t)((in->bytes[in->modrm_at] & 0xc7) | (to & 7) << 3)};
    if (in->rip_relative) {
        struct insn load = *in; /* as an instruction of its own, to be redirected like any other */
        mem_copy(load.bytes, head, 3);
        mem_copy(load.bytes + 3, in->bytes + in->disp_at, 4);
        load.len = 7;
        load.modrm_at = 2;
        load.disp_at = 3;
        int64_t disp = (int64_t)(in->target - (a->origin + a->len + load.len));
        unsigned count;
        if (disp == (int32_t)disp)
            return asm_copy_insn(a, &load, 0, &count) == RC_OK;
        asm_mov_imm64(a, to, in->target);
        asm_load(a, to, to, 0);
        return true;
    }
    asm_bytes(a, head, 3);
    asm_bytes(a, in->bytes + in->modrm_at + 1, in->len - in->modrm_at - 1u);
    return true;
}
