/* The assembler: the only place with opcode bytes. Appends to a buffer whose first byte will lie at
 * `origin`; a full buffer sets `overflow` and drops what follows, so callers check once, at the end.
 *
 *   ASM-1  nothing here changes flags unless its comment says so. */
#ifndef REHEAT_ASM_H
#define REHEAT_ASM_H

#include "runtime/base/types.h"
#include "tracer/decode.h"

struct asm_buf {
    uint8_t *bytes;
    size_t len, cap;
    uint64_t origin; /* address of bytes[0] once written */
    bool overflow; /* out of space, or a branch that does not reach */
};

static inline struct asm_buf asm_on(void *bytes, size_t cap, struct cache_pc origin)
{
    return (struct asm_buf){bytes, 0, cap, origin.v, false};
}
static inline struct cache_pc asm_here(const struct asm_buf *a) { return cache_pc(a->origin + a->len); }

void asm_bytes(struct asm_buf *a, const void *bytes, size_t len);
void asm_u64(struct asm_buf *a, uint64_t v);
void asm_align(struct asm_buf *a, unsigned to); /* with nops, to a multiple of a power of two */

void asm_jmp(struct asm_buf *a, uint64_t to); /* jmp rel32, 5 bytes */
void asm_jmp_padded(struct asm_buf *a, unsigned pad, uint64_t to); /* pad null prefixes, jmp rel32 */
void asm_int3(struct asm_buf *a); /* 1 byte */
void asm_jcc(struct asm_buf *a, unsigned cc, uint64_t to); /* jcc rel32, 6 bytes */
void asm_jmp_mem(struct asm_buf *a, uint64_t pointer_at); /* jmp [rip+d], 6 bytes */
void asm_jmp_reg(struct asm_buf *a, unsigned reg); /* jmp reg; reg is one of the low eight */
void asm_jmp_slot(struct asm_buf *a, int32_t slot); /* jmp fs:[slot] */
void asm_load_table_rcx(struct asm_buf *a, uint32_t table); /* mov rcx, [table + rcx*8] */
void asm_loop_op(struct asm_buf *a, unsigned loop_op, int8_t rel8); /* loopne loope loop jrcxz jecxz */
#define ASM_LOOP_OP_BYTES(op) ((op) == 4 ? 3u : 2u)

void asm_store_slot(struct asm_buf *a, int32_t slot, unsigned reg); /* mov fs:[slot], reg */
void asm_load_slot(struct asm_buf *a, unsigned reg, int32_t slot); /* mov reg, fs:[slot] */
/* The low 16 bytes of xmm n, from 8: legacy forms, which leave the upper ones alone. */
void asm_store_slot_vector(struct asm_buf *a, int32_t slot, unsigned n); /* movups fs:[slot], xmm */
void asm_load_slot_vector(struct asm_buf *a, unsigned n, int32_t slot); /* movups xmm, fs:[slot] */
#define ASM_SLOT_VECTOR_BYTES 10u
void asm_load_scalar(struct asm_buf *a, unsigned n, unsigned base, int32_t disp, unsigned bytes); /* movss, movsd xmm, [base+disp] */
void asm_store_slot_imm32(struct asm_buf *a, int32_t slot, uint32_t v); /* mov dword fs:[slot], v; 12 bytes */

void asm_mov_imm64(struct asm_buf *a, unsigned reg, uint64_t v); /* shortest form that sets all 64 bits */
void asm_mov_reg(struct asm_buf *a, unsigned to, unsigned from);
void asm_load(struct asm_buf *a, unsigned to, unsigned base, int32_t disp); /* mov to, [base+disp] */
void asm_store(struct asm_buf *a, unsigned base, int32_t disp, unsigned from); /* mov [base+disp], from */
void asm_lea(struct asm_buf *a, unsigned to, unsigned base, int32_t disp); /* lea to, [base+disp] */
void asm_lea_sum(struct asm_buf *a, unsigned to, unsigned base, unsigned index); /* lea to, [base+index] */
/* base + index * scale + disp; R_NONE: no such part. Narrow: its low 32 bits, zero-extended. Index is never rsp. */
struct asm_sum {
    uint8_t base, index, scale;
    bool narrow;
    int32_t disp;
};
static inline uint16_t asm_sum_reads(struct asm_sum s) /* mask */
{
    unsigned base = s.base < R_NONE ? 1u << s.base : 0, index = s.index < R_NONE ? 1u << s.index : 0;
    return (uint16_t)(base | index);
}
void asm_set_sum(struct asm_buf *a, unsigned to, struct asm_sum s); /* to = s, as mov or lea */
void asm_cmov(struct asm_buf *a, unsigned cc, unsigned to, unsigned from); /* if cc: to = from; 64 bits */
void asm_store_sum(struct asm_buf *a, struct asm_sum at, unsigned from, unsigned bytes); /* 1, 2, 4 or 8; at is not narrow */
void asm_load_sum(struct asm_buf *a, unsigned to, struct asm_sum at, unsigned bytes); /* the same, zero-extended */
/* The low `from_bytes` (1, 2, 4) of from, extended to `bytes` (4, 8) */
void asm_extend(struct asm_buf *a, unsigned to, unsigned from, unsigned from_bytes, bool sign, unsigned bytes);
enum asm_shift { ASM_SHL = 1, ASM_SAR, ASM_SHR };
/* to = from shifted, of 4 or 8 bytes; flags untouched. to is not from. BMI2 */
void asm_shift(struct asm_buf *a, enum asm_shift how, unsigned to, unsigned from, unsigned count, unsigned bytes);
/* lea to, [base + index * scale + disp]; base, index: R_NONE where there is none; index is never rsp */
void asm_lea_operand(struct asm_buf *a, unsigned to, unsigned base, unsigned index, unsigned scale, int32_t disp);
/* Loads 1, 2, 4 or 8 bytes from [base + disp], zero-extended. */
void asm_load_wide(struct asm_buf *a, unsigned to, unsigned base, int32_t disp, unsigned bytes);
void asm_sub_reg(struct asm_buf *a, unsigned from, unsigned by); /* sub from, by; changes flags */
void asm_sub_const(struct asm_buf *a, unsigned from, uint64_t constant_at); /* sub from, [rip+d]; changes flags */
void asm_imul(struct asm_buf *a, unsigned to, int32_t by); /* imul to, to, by; changes flags */
void asm_movsxd(struct asm_buf *a, unsigned to, unsigned from); /* movsxd to, from32 */
void asm_cmp_imm32(struct asm_buf *a, unsigned reg, int32_t v); /* cmp reg, v; changes flags */
void asm_movzx16(struct asm_buf *a, unsigned to, unsigned from); /* movzx to32, from16 */
void asm_push_mem(struct asm_buf *a, uint64_t constant_at); /* push qword [rip+d], 6 bytes */
void asm_push_imm32(struct asm_buf *a, int32_t v); /* push v, sign-extended; 5 bytes */
void asm_cmp_const(struct asm_buf *a, unsigned reg, uint64_t constant_at); /* cmp reg, [rip+d], 7 bytes; changes flags */

void asm_pushfq(struct asm_buf *a);
void asm_pop_mem(struct asm_buf *a, unsigned base, int32_t disp); /* pop qword [base+disp] */
void asm_cld(struct asm_buf *a);
void asm_popfq(struct asm_buf *a);
void asm_push_base(struct asm_buf *a, unsigned base, int32_t disp); /* push qword [base+disp] */
void asm_ret(struct asm_buf *a);
void asm_push(struct asm_buf *a, unsigned reg);
void asm_pop(struct asm_buf *a, unsigned reg);
/* Sets the six status flags from the rflags image in eax; clobbers rax, rcx. */
void asm_flags_from_eax(struct asm_buf *a);
/* test eax, mask; changes flags. */
void asm_test_eax(struct asm_buf *a, uint32_t mask);

/* mov to, <the memory or register operand of an indirect jmp or call>. The operand must not be rip-relative
 * and, where it uses rsp, rsp must have its native value. False when it cannot be expressed. */
bool asm_load_branch_operand(struct asm_buf *a, unsigned to, const struct insn *branch);
/* cmp reg, <the operand>; changes flags. A ret's operand is [rsp]. False when it cannot be expressed in one
 * instruction. */
bool asm_cmp_branch_operand(struct asm_buf *a, unsigned reg, const struct insn *branch);
/* cmp qword <the operand>, v sign-extended; changes flags. False as above. */
bool asm_cmp_branch_operand_imm(struct asm_buf *a, const struct insn *branch, int32_t v);
/* The register that is the operand of an indirect jmp or call; R_NONE: it is in memory, or branch is a ret. */
unsigned asm_branch_register(const struct insn *branch);

/* Copies an instruction that lies at in->pc to here. A rip-relative operand is redirected; one out of reach
 * goes through a scratch register spilled in fs:[spill]. RC_NO_SCRATCH when there is none. Writes the number
 * of instructions emitted to *count. */
rc_t asm_copy_insn(struct asm_buf *a, const struct insn *in, int32_t spill, unsigned *count);
/* The scratch register of a copy that goes through one. Such a copy begins with asm_store_slot, ends with
 * asm_load_slot, and only its third instruction, the one that was copied, has an effect. */
unsigned asm_copy_scratch(const struct insn *in);
#define ASM_SLOT_BYTES 9u /* asm_store_slot, asm_load_slot */

#endif
