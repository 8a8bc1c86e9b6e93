/* The decoder: x86-64 bytes in, the facts the rest of reheat needs out. Zydis is seen nowhere else.
 *
 * In the runtime Zydis is not linked but loaded at the first decode by zyload.c, and may run only behind
 * decode_gate, which keeps the program's SSE and x87 state (Zydis is compiled for plain x86-64, so it can
 * touch no more than those). The hosted build links it. One thread at a time; not async-signal-safe.
 *
 * Facts follow the Intel SDM volume 2 and the AMD APM volume 3.
 */
#ifndef REHEAT_DECODE_H
#define REHEAT_DECODE_H

#include "runtime/base/rc.h"
#include "runtime/base/types.h"

#define INSN_MAX_BYTES 15

enum insn_kind {
    IK_PLAIN, /* falls through, whatever it does */
    IK_JMP, /* direct; target */
    IK_JCC, /* cc, target */
    IK_LOOP, /* loop, loope, loopne, jrcxz, jecxz; rel8 only; target */
    IK_CALL, /* direct; target */
    IK_RET, /* imm: bytes popped after the return address */
    IK_JMP_IND, /* through a register or memory */
    IK_CALL_IND,
    IK_SYSCALL,
    IK_XBEGIN, /* target: where an abort goes */
    IK_STRANGE /* may only run natively: privileged, far, trapping, undecodable */
};

enum reg { R_RAX, R_RCX, R_RDX, R_RBX, R_RSP, R_RBP, R_RSI, R_RDI, R_R8, R_R15 = 15, R_NONE = 16, R_RIP = 17 };

#define FL_CF 0x001u
#define FL_PF 0x004u
#define FL_AF 0x010u
#define FL_ZF 0x040u
#define FL_SF 0x080u
#define FL_DF 0x400u
#define FL_OF 0x800u
#define FL_STATUS (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

/* How the stack pointer changes. */
enum sp_effect {
    SP_SAME,
    SP_ADD, /* rsp += sp_delta */
    SP_FROM_RBP, /* rsp = rbp + sp_delta (leave: rbp + 8; mov rsp, rbp; lea rsp, [rbp+d]) */
    SP_OTHER /* rsp is unknown afterwards */
};

/* What an instruction computes, for those whose meaning the optimizer follows. */
enum insn_act {
    ACT_OTHER, /* anything else: known only by what it touches */
    ACT_NOP, /* endbr64 too: no effect at all */
    ACT_MOV,
    ACT_MOVZX,
    ACT_MOVSX, /* movsxd, cwde, cdqe too */
    ACT_LEA,
    ACT_ADD,
    ACT_SUB,
    ACT_AND,
    ACT_OR,
    ACT_XOR,
    ACT_CMP,
    ACT_TEST,
    ACT_INC,
    ACT_DEC,
    ACT_PUSH,
    ACT_POP,
    ACT_XCHG
};

enum operand_kind { OPERAND_NONE, OPERAND_GPR, OPERAND_MEM, OPERAND_IMM };

struct operand {
    uint8_t kind; /* enum operand_kind */
    uint8_t reg; /* OPERAND_GPR: enum reg */
    uint8_t bytes; /* width */
    bool high; /* ah, ch, dh, bh */
};

enum insn_segment { SEG_FLAT, SEG_FS, SEG_GS };

struct insn {
    struct app_pc pc;
    uint64_t target; /* direct branches; address of a rip-relative operand */
    uint8_t bytes[INSN_MAX_BYTES];
    uint8_t len; /* bytes */
    uint8_t kind; /* enum insn_kind */
    uint8_t cc; /* IK_JCC: condition code as in the opcode, 0-15 */
    uint8_t loop_op; /* IK_LOOP: 0 loopne, 1 loope, 2 loop, 3 jrcxz, 4 jecxz */
    bool rip_relative; /* has a memory operand [rip + disp32] */
    uint8_t modrm_at, disp_at; /* offsets of modrm and its displacement in bytes[]; 0: none */
    uint16_t gpr_read, gpr_written; /* masks over enum reg, any width; implied operands too */
    uint16_t flags_read, flags_written; /* FL_*; flags left undefined count as written */
    uint16_t imm; /* IK_RET */

    uint16_t xmm; /* mask of vector registers 0 to 15 that it reads or writes, at any width; all where that is not told */
    uint16_t gpr_data; /* of gpr_read: read as a value, not only as part of an address */
    uint16_t gpr_full; /* of gpr_written: all 64 bits replaced, whatever happens */
    uint16_t gpr_zx; /* of gpr_full: the upper 32 bits become zero */
    uint16_t flags_killed; /* of flags_written: set to something defined, whatever happens */
    uint8_t act; /* enum insn_act */
    struct operand dst, src; /* unless ACT_OTHER or ACT_NOP; CMP and TEST only read dst, PUSH has src, POP dst */
    int64_t immediate; /* an operand of kind OPERAND_IMM, sign-extended */
    uint8_t seg; /* enum insn_segment of the explicit memory operand */
    bool mem_narrow; /* address-size prefix: the address is cut to 32 bits */
    bool mem_implied; /* touches memory besides the explicit operand, or in a way mem_bytes does not tell */
    bool fence; /* locked, or orders or waits for memory in another way */

    uint8_t mem_base, mem_index, mem_scale; /* enum reg; R_NONE without operand or part */
    bool mem_read, mem_write; /* of the explicit operand; a push or call is not counted here */
    bool stores; /* writes memory in any way, implied operands too */
    uint16_t mem_bytes; /* width of the access; 0 when it is not fixed */
    int32_t mem_disp;

    uint8_t sp; /* enum sp_effect */
    int32_t sp_delta; /* bytes */
    bool pushes; /* stores mem_bytes-like data at the new stack pointer: push, pushfq */
    bool bp_from_sp; /* rbp = rsp + bp_delta (mov rbp, rsp; lea rbp, [rsp+d]) */
    int32_t bp_delta;
    bool writes_bp; /* any other write to rbp */
};

/* Loads Zydis if need be and calls fn(arg) behind the gate. The other functions here may only be called
 * from within. RC_NO_DECODER. */
rc_t decode_gate(void (*fn)(void *arg), void *arg);

/* Program text that was patched is decoded as it was: `fn` puts the original bytes of [pc, pc+len) into `bytes`,
 * a copy of what lies there now. NULL: nothing is patched. */
void decode_set_overlay(void (*fn)(struct app_pc pc, uint8_t *bytes, size_t len));

/* Decodes the instruction whose bytes start at `code` (its app pc is `pc`), reading at most `avail` bytes.
 * Never fails: what cannot be decoded is IK_STRANGE of length 1. */
void decode_one(const uint8_t *code, size_t avail, struct app_pc pc, struct insn *out);

/* The same without the overlay: for instructions that are not what lies at pc. */
void decode_made(const uint8_t *code, size_t len, struct app_pc pc, struct insn *out);

/* Decodes from `pc` in our own address space until after the first instruction that is not IK_PLAIN, `max`
 * instructions, or `end` (an address). Returns how many were decoded. Without `full`, only what copying needs is
 * filled in, at half the cost: bytes, len, kind, cc, loop_op, imm, target, offsets, and for instructions with a
 * rip-relative operand the registers. */
int decode_run(struct app_pc pc, uint64_t end, struct insn *out, int max, bool full);

static inline bool insn_ends_block(const struct insn *in) { return in->kind != IK_PLAIN; }

#endif
