/* Instruction forms: what an encoding looks like and what it writes, for the generator. */
#ifndef REHEAT_FUZZ_FORMS_H
#define REHEAT_FUZZ_FORMS_H

#include <stdint.h>

/* What a form's operands are. Without F_R and F_M the r/m operand may be either. */
#define F_B     0x1u        /* 8-bit operands */
#define F_V     0x2u        /* 16, 32 or 64 bits */
#define F_Y     0x4u        /* 32 or 64 bits */
#define F_R     0x8u        /* r/m is a register */
#define F_M     0x10u       /* r/m is memory */
#define F_WRM   0x20u       /* writes r/m */
#define F_WREG  0x40u       /* writes the reg operand */
#define F_XREG  0x80u       /* the reg operand is a vector register */
#define F_XRM   0x100u      /* an r/m register is a vector register */
#define F_VEX   0x200u      /* VEX-encoded */
#define F_NDS   0x400u      /* vvvv is a vector source */
#define F_NDG   0x800u      /* vvvv is a general source */
#define F_NDD   0x1000u     /* vvvv is a general destination */
#define F_L     0x2000u     /* 128 or 256 bits */
#define F_LOCKS 0x4000u     /* lock prefix allowed when r/m is memory */
#define F_OPREG 0x8000u     /* opcode + register, no modrm */
#define F_BARE  0x10000u    /* no operands to choose */
#define F_CC    0x20000u    /* opcode + condition */
#define F_IMMZ  0x40000u    /* 16- or 32-bit immediate by operand size */
#define F_IAX   0x80000u    /* writes rax as well */
#define F_IDX   0x100000u   /* writes rdx as well */
#define F_RMB   0x200000u   /* r/m is a byte while reg is not (movzx) */
#define F_ALIGN 0x400000u   /* a memory operand must be 16-aligned */
#define F_Q     0x800000u   /* 64 bits, always with REX.W */
#define F_ICX   0x1000000u  /* reads cl; nothing to write */
#define F_AVX2  0x2000000u  /* needs AVX2 */
#define F_BMI   0x4000000u  /* needs BMI1, BMI2, LZCNT */
#define F_SMALL 0x8000000u  /* immediate below 64 */
#define F_NO16  0x10000000u /* not with 16 bits: undefined results */

struct form {
    const char *name;
    uint8_t prefix; /* 0, 66, f3, f2 */
    uint8_t map;    /* 0 one byte, 1 0f, 2 0f38, 3 0f3a */
    uint8_t op;
    int8_t digit; /* modrm.reg, or -1 */
    uint8_t imm;  /* bytes */
    uint8_t weight;
    uint32_t f;
};

extern const struct form forms[];
extern const int form_count;

#endif
