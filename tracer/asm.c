#include "tracer/asm.h"

#include "runtime/base/mem.h"

void asm_bytes(struct asm_buf *a, const void *bytes, size_t len)
{
    if (a->overflow || a->len + len > a->cap) {
        a->overflow = true;
        return;
    }
    const uint8_t *p = bytes;
    for (size_t i = 0; i < len; i++)
        a->bytes[a->len + i] = p[i];
    a->len += len;
}

static void byte(struct asm_buf *a, unsigned v)
{
    uint8_t b = (uint8_t)v;
    asm_bytes(a, &b, 1);
}
static void u32(struct asm_buf *a, uint32_t v) { asm_bytes(a, &v, 4); }
void asm_u64(struct asm_buf *a, uint64_t v) { asm_bytes(a, &v, 8); }

/* The four bytes that end an instruction and say how far `to` is from its end. */
static void rel32(struct asm_buf *a, uint64_t to)
{
    int64_t d = (int64_t)(to - (a->origin + a->len + 4));
    if (d != (int32_t)d)
        a->overflow = true;
    u32(a, (uint32_t)d);
}

static unsigned rex(unsigned w, unsigned reg, unsigned index, unsigned base)
{
    return 0x40u | w << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;
}

/* modrm (and sib) for [base + disp32]. */
static void modrm_base(struct asm_buf *a, unsigned reg, unsigned base, int32_t disp)
{
    byte(a, 0x80u | (reg & 7) << 3 | (base & 7));
    if ((base & 7) == 4)
        byte(a, 0x24);
    u32(a, (uint32_t)disp);
}

/* modrm and sib for an absolute disp32, used with a %fs prefix. */
static void modrm_absolute(struct asm_buf *a, unsigned reg, uint32_t disp)
{
    byte(a, 0x04u | (reg & 7) << 3);
    byte(a, 0x25);
    u32(a, disp);
}

void asm_align(struct asm_buf *a, unsigned to)
{
    static const uint8_t nops[9][9] = {
        {0x90},
        {0x66, 0x90},
        {0x0f, 0x1f, 0x00},
        {0x0f, 0x1f, 0x40, 0x00},
        {0x0f, 0x1f, 0x44, 0x00, 0x00},
        {0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
        {0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
        {0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
        {0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
    };
    while (!a->overflow) {
        size_t gap = (0 - (a->origin + a->len)) & (to - 1);
        if (!gap)
            return;
        if (gap > 9)
            gap = 9;
        asm_bytes(a, nops[gap - 1], gap);
    }
}

void asm_jmp(struct asm_buf *a, uint64_t to)
{
    byte(a, 0xe9); /* e9 cd: jmp rel32 */
    rel32(a, to);
}

void asm_jmp_padded(struct asm_buf *a, unsigned pad, uint64_t to)
{
    while (pad--)
        byte(a, 0x26); /* es: ignored in 64-bit mode */
    asm_jmp(a, to);
}

void asm_int3(struct asm_buf *a) { byte(a, 0xcc); } /* cc: int3 */

void asm_jcc(struct asm_buf *a, unsigned cc, uint64_t to)
{
    byte(a, 0x0f); /* 0f 80+cc cd: jcc rel32 */
    byte(a, 0x80u | cc);
    rel32(a, to);
}

void asm_jmp_mem(struct asm_buf *a, uint64_t pointer_at)
{
    byte(a, 0xff); /* ff /4 [rip+d]: jmp m64 */
    byte(a, 0x25);
    rel32(a, pointer_at);
}

void asm_jmp_reg(struct asm_buf *a, unsigned reg)
{
    byte(a, 0xff); /* ff /4: jmp r64 */
    byte(a, 0xe0u | (reg & 7));
}

void asm_jmp_slot(struct asm_buf *a, int32_t slot)
{
    byte(a, 0x64); /* 64 ff /4 [d]: jmp fs:[d] */
    byte(a, 0xff);
    modrm_absolute(a, 4, (uint32_t)slot);
}

void asm_load_table_rcx(struct asm_buf *a, uint32_t table)
{
    byte(a, 0x48); /* REX.W 8b 0c cd d: mov rcx, [d + rcx*8] */
    byte(a, 0x8b);
    byte(a, 0x0c);
    byte(a, 0xcd);
    u32(a, table);
}

void asm_loop_op(struct asm_buf *a, unsigned loop_op, int8_t rel8)
{
    if (loop_op == 4)
        byte(a, 0x67); /* jecxz */
    byte(a, 0xe0u + (loop_op > 3 ? 3 : loop_op)); /* e0 loopne, e1 loope, e2 loop, e3 jrcxz */
    byte(a, (uint8_t)rel8);
}

void asm_store_slot(struct asm_buf *a, int32_t slot, unsigned reg)
{
    byte(a, 0x64); /* 64 REX.W 89 /r: mov fs:[d], r64 */
    byte(a, rex(1, reg, 0, 0));
    byte(a, 0x89);
    modrm_absolute(a, reg, (uint32_t)slot);
}

void asm_load_slot(struct asm_buf *a, unsigned reg, int32_t slot)
{
    byte(a, 0x64); /* 64 REX.W 8b /r: mov r64, fs:[d] */
    byte(a, rex(1, reg, 0, 0));
    byte(a, 0x8b);
    modrm_absolute(a, reg, (uint32_t)slot);
}

static void slot_vector(struct asm_buf *a, unsigned opcode, unsigned n, int32_t slot)
{
    byte(a, 0x64); /* 64 REX.R 0f 10|11 /r: movups xmm, fs:[d]; movups fs:[d], xmm */
    byte(a, rex(0, n, 0, 0));
    byte(a, 0x0f);
    byte(a, opcode);
    modrm_absolute(a, n, (uint32_t)slot);
}

void asm_store_slot_vector(struct asm_buf *a, int32_t slot, unsigned n) { slot_vector(a, 0x11, n, slot); }
void asm_load_slot_vector(struct asm_buf *a, unsigned n, int32_t slot) { slot_vector(a, 0x10, n, slot); }

void asm_load_scalar(struct asm_buf *a, unsigned n, unsigned base, int32_t disp, unsigned bytes)
{
    byte(a, bytes == 4 ? 0xf3u : 0xf2u); /* f3|f2 REX 0f 10 /r: movss, movsd xmm, m; all above is zero */
    byte(a, rex(0, n, 0, base));
    byte(a, 0x0f);
    byte(a, 0x10);
    modrm_base(a, n, base, disp);
}

void asm_store_slot_imm32(struct asm_buf *a, int32_t slot, uint32_t v)
{
    byte(a, 0x64); /* 64 c7 /0 id: mov dword fs:[d], imm32 */
    byte(a, 0xc7);
    modrm_absolute(a, 0, (uint32_t)slot);
    u32(a, v);
}

void asm_mov_imm64(struct asm_buf *a, unsigned reg, uint64_t v)
{
    if (v == (uint32_t)v) {
        if (reg > 7)
            byte(a, rex(0, 0, 0, reg)); /* b8+r id: mov r32, imm32 */
        byte(a, 0xb8u | (reg & 7));
        u32(a, (uint32_t)v);
    } else if ((int64_t)v == (int32_t)v) {
        byte(a, rex(1, 0, 0, reg)); /* REX.W c7 /0 id: mov r64, simm32 */
        byte(a, 0xc7);
        byte(a, 0xc0u | (reg & 7));
        u32(a, (uint32_t)v);
    } else {
        byte(a, rex(1, 0, 0, reg)); /* REX.W b8+r io: mov r64, imm64 */
        byte(a, 0xb8u | (reg & 7));
        asm_u64(a, v);
    }
}

/* REX.W op /r with a register operand. */
static void op_rr(struct asm_buf *a, unsigned op, unsigned reg, unsigned rm)
{
    byte(a, rex(1, reg, 0, rm));
    byte(a, op);
    byte(a, 0xc0u | (reg & 7) << 3 | (rm & 7));
}

/* REX.W op /r with [base + disp32]. */
static void op_rm(struct asm_buf *a, unsigned op, unsigned reg, unsigned base, int32_t disp)
{
    byte(a, rex(1, reg, 0, base));
    byte(a, op);
    modrm_base(a, reg, base, disp);
}

void asm_mov_reg(struct asm_buf *a, unsigned to, unsigned from) { op_rr(a, 0x89, from, to); }
void asm_load(struct asm_buf *a, unsigned to, unsigned base, int32_t disp) { op_rm(a, 0x8b, to, base, disp); }
void asm_store(struct asm_buf *a, unsigned base, int32_t disp, unsigned from) { op_rm(a, 0x89, from, base, disp); }

void asm_lea(struct asm_buf *a, unsigned to, unsigned base, int32_t disp)
{
    byte(a, rex(1, to, 0, base)); /* REX.W 8d /r: lea */
    byte(a, 0x8d);
    if (disp == (int8_t)disp) {
        byte(a, 0x40u | (to & 7) << 3 | (base & 7));
        if ((base & 7) == 4)
            byte(a, 0x24);
        byte(a, (uint8_t)disp);
    } else {
        modrm_base(a, to, base, disp);
    }
}

void asm_lea_sum(struct asm_buf *a, unsigned to, unsigned base, unsigned index)
{
    byte(a, rex(1, to, index, base)); /* REX.W 8d /r sib: lea to, [base+index]; index is never rsp */
    byte(a, 0x8d);
    byte(a, 0x44u | (to & 7) << 3);
    byte(a, (index & 7) << 3 | (base & 7));
    byte(a, 0);
}

/* modrm, sib and displacement of a sum. */
static void modrm_sum(struct asm_buf *a, unsigned reg, struct asm_sum s)
{
    unsigned scale = s.scale == 8 ? 3u : s.scale >> 1, index = s.index == R_NONE ? 4 : s.index & 7u;
    bool none = s.base == R_NONE, small = !none && s.disp == (int8_t)s.disp;
    bool sib = none || s.index != R_NONE || (s.base & 7) == 4;
    byte(a, (none ? 0 : small ? 0x40u : 0x80u) | (reg & 7) << 3 | (sib ? 4 : s.base & 7u));
    if (sib)
        byte(a, (s.index == R_NONE ? 0 : scale) << 6 | index << 3 | (none ? 5 : s.base & 7u));
    if (small)
        byte(a, (uint8_t)s.disp);
    else
        u32(a, (uint32_t)s.disp);
}

static unsigned rex_sum(unsigned w, unsigned reg, struct asm_sum s)
{
    return rex(w, reg, s.index == R_NONE ? 0 : s.index, s.base == R_NONE ? 0 : s.base);
}

void asm_set_sum(struct asm_buf *a, unsigned to, struct asm_sum s)
{
    if (s.index == R_NONE && s.base == R_NONE) {
        asm_mov_imm64(a, to, s.narrow ? (uint32_t)s.disp : (uint64_t)s.disp);
    } else if (s.index == R_NONE && !s.disp) {
        byte(a, rex(!s.narrow, s.base, 0, to)); /* REX 89 /r: mov */
        byte(a, 0x89);
        byte(a, 0xc0u | (s.base & 7u) << 3 | (to & 7));
    } else {
        byte(a, rex_sum(!s.narrow, to, s)); /* REX 8d /r: lea */
        byte(a, 0x8d);
        modrm_sum(a, to, s);
    }
}

void asm_cmov(struct asm_buf *a, unsigned cc, unsigned to, unsigned from)
{
    byte(a, rex(1, to, 0, from)); /* REX.W 0f 40+cc /r: cmovcc r64, r64 */
    byte(a, 0x0f);
    byte(a, 0x40u | cc);
    byte(a, 0xc0u | (to & 7) << 3 | (from & 7));
}

void asm_store_sum(struct asm_buf *a, struct asm_sum at, unsigned from, unsigned bytes)
{
    if (bytes == 2)
        byte(a, 0x66);
    byte(a, rex_sum(bytes == 8, from, at)); /* REX 88, 89 /r: mov; with REX, 4 to 7 are spl to dil */
    byte(a, bytes == 1 ? 0x88 : 0x89);
    modrm_sum(a, from, at);
}

void asm_load_sum(struct asm_buf *a, unsigned to, struct asm_sum at, unsigned bytes)
{
    byte(a, rex_sum(bytes == 8, to, at)); /* REX [0f b6 | 0f b7 | 8b] /r: movzx, mov */
    if (bytes < 4)
        byte(a, 0x0f);
    byte(a, bytes == 1 ? 0xb6u : bytes == 2 ? 0xb7u : 0x8bu);
    modrm_sum(a, to, at);
}

void asm_extend(struct asm_buf *a, unsigned to, unsigned from, unsigned from_bytes, bool sign, unsigned bytes)
{
    byte(a, rex(bytes == 8, to, 0, from)); /* REX [0f b6 | 0f b7 | 0f be | 0f bf | 63 | 8b] /r: movzx, movsx, movsxd, mov */
    if (from_bytes < 4)
        byte(a, 0x0f);
    byte(a, from_bytes == 4 ? (sign ? 0x63u : 0x8bu) : (sign ? 0xbeu : 0xb6u) + (from_bytes == 2));
    byte(a, 0xc0u | (to & 7) << 3 | (from & 7));
}

void asm_shift(struct asm_buf *a, enum asm_shift how, unsigned to, unsigned from, unsigned count, unsigned bytes)
{
    asm_mov_imm64(a, to, count);
    byte(a, 0xc4); /* VEX.LZ.[66|f3|f2].0f38.W f7 /r: shlx, sarx, shrx to, from, to (SDM volume 2) */
    byte(a, (to < 8 ? 0x80u : 0) | 0x40u | (from < 8 ? 0x20u : 0) | 2);
    byte(a, (bytes == 8 ? 0x80u : 0) | (~to & 15) << 3 | (unsigned)how);
    byte(a, 0xf7);
    byte(a, 0xc0u | (to & 7) << 3 | (from & 7));
}

void asm_lea_operand(struct asm_buf *a, unsigned to, unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    unsigned shift = scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
    unsigned x = index < R_NONE ? index : R_RSP, b = base < R_NONE ? base : R_RBP;
    byte(a, rex(1, to, x, base < R_NONE ? base : 0)); /* REX.W 8d /r sib disp32: lea */
    byte(a, 0x8d);
    byte(a, (base < R_NONE ? 0x84u : 0x04u) | (to & 7) << 3);
    byte(a, shift << 6 | (x & 7) << 3 | (b & 7));
    u32(a, (uint32_t)disp);
}

void asm_load_wide(struct asm_buf *a, unsigned to, unsigned base, int32_t disp, unsigned bytes)
{
    byte(a, rex(bytes == 8, to, 0, base)); /* REX [0f b6 | 0f b7 | 8b] /r: movzx, mov */
    if (bytes < 4)
        byte(a, 0x0f);
    byte(a, bytes == 1 ? 0xb6u : bytes == 2 ? 0xb7u : 0x8bu);
    modrm_base(a, to, base, disp);
}

void asm_sub_reg(struct asm_buf *a, unsigned from, unsigned by) { op_rr(a, 0x29, by, from); }

void asm_sub_const(struct asm_buf *a, unsigned from, uint64_t constant_at)
{
    byte(a, rex(1, from, 0, 0)); /* REX.W 2b /r [rip+d]: sub r64, m64 */
    byte(a, 0x2b);
    byte(a, 0x05u | (from & 7) << 3);
    rel32(a, constant_at);
}

void asm_cmp_imm32(struct asm_buf *a, unsigned reg, int32_t v)
{
    byte(a, rex(1, 0, 0, reg)); /* REX.W 81 /7 id: cmp r64, simm32 */
    byte(a, 0x81);
    byte(a, 0xf8u | (reg & 7));
    u32(a, (uint32_t)v);
}

void asm_imul(struct asm_buf *a, unsigned to, int32_t by)
{
    op_rr(a, 0x69, to, to); /* REX.W 69 /r id: imul r64, r64, simm32 */
    u32(a, (uint32_t)by);
}

void asm_movsxd(struct asm_buf *a, unsigned to, unsigned from) { op_rr(a, 0x63, to, from); } /* REX.W 63 /r */

void asm_movzx16(struct asm_buf *a, unsigned to, unsigned from)
{
    if (to > 7 || from > 7)
        byte(a, rex(0, to, 0, from));
    byte(a, 0x0f); /* 0f b7 /r: movzx r32, r16 */
    byte(a, 0xb7);
    byte(a, 0xc0u | (to & 7) << 3 | (from & 7));
}

void asm_push_mem(struct asm_buf *a, uint64_t constant_at)
{
    byte(a, 0xff); /* ff /6 [rip+d]: push m64 */
    byte(a, 0x35);
    rel32(a, constant_at);
}

void asm_push_imm32(struct asm_buf *a, int32_t v)
{
    byte(a, 0x68); /* 68 id: push simm32 */
    u32(a, (uint32_t)v);
}

void asm_cmp_const(struct asm_buf *a, unsigned reg, uint64_t constant_at)
{
    byte(a, rex(1, reg, 0, 0)); /* REX.W 3b /r [rip+d]: cmp r64, m64 */
    byte(a, 0x3b);
    byte(a, 0x05u | (reg & 7) << 3);
    rel32(a, constant_at);
}

void asm_pushfq(struct asm_buf *a) { byte(a, 0x9c); } /* 9c: pushfq */
void asm_popfq(struct asm_buf *a) { byte(a, 0x9d); } /* 9d: popfq */
void asm_cld(struct asm_buf *a) { byte(a, 0xfc); } /* fc: cld */
void asm_ret(struct asm_buf *a) { byte(a, 0xc3); } /* c3: ret */

static void op_stack(struct asm_buf *a, unsigned op, unsigned reg)
{
    if (reg > 7)
        byte(a, 0x41);
    byte(a, op | (reg & 7));
}
void asm_push(struct asm_buf *a, unsigned reg) { op_stack(a, 0x50, reg); } /* 50+r: push r64 */
void asm_pop(struct asm_buf *a, unsigned reg) { op_stack(a, 0x58, reg); } /* 58+r: pop r64 */

void asm_pop_mem(struct asm_buf *a, unsigned base, int32_t disp)
{
    if (base > 7)
        byte(a, 0x41);
    byte(a, 0x8f); /* 8f /0: pop m64 */
    modrm_base(a, 0, base, disp);
}

void asm_push_base(struct asm_buf *a, unsigned base, int32_t disp)
{
    if (base > 7)
        byte(a, 0x41);
    byte(a, 0xff); /* ff /6: push m64 */
    modrm_base(a, 6, base, disp);
}

void asm_test_eax(struct asm_buf *a, uint32_t mask)
{
    byte(a, 0xa9); /* a9 id: test eax, imm32 */
    u32(a, mask);
}

void asm_flags_from_eax(struct asm_buf *a)
{
    static const uint8_t sequence[] = {
        0x89, 0xc1, /* mov ecx, eax */
        0x88, 0xc4, /* mov ah, al */
        0xc1, 0xe9, 0x0b, /* shr ecx, 11 */
        0x80, 0xe1, 0x01, /* and cl, 1          the overflow flag */
        0x88, 0xc8, /* mov al, cl */
        0x04, 0x7f, /* add al, 0x7f       overflows exactly when it was set */
        0x9e, /* sahf               leaves OF alone */
    };
    asm_bytes(a, sequence, sizeof sequence);
}
