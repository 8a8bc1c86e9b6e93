/* Instructions that passes put in the place of the program's own.
 *
 * Each is a change of bytes, decoded again and compared with what it is meant to be; whatever does not come out as
 * meant is declined, and the original stays. A made instruction lies in ir->made and keeps the pc of the one it
 * replaces.
 *
 * Only behind the decoder's gate. All return false when there is no room, no such form, or bisecting forbids it. */
#ifndef REHEAT_ENCODE_H
#define REHEAT_ENCODE_H

#include "optimizer/ir.h"

/* The memory operand, only read, becomes general register `reg`, of which the operand's width is used. */
bool encode_operand(struct ir *ir, enum pass_id pass, struct node *n, unsigned reg, const char *why);

/* mov reg, value for all 64 bits; n's instruction writes reg in full and nothing else. */
bool encode_constant(struct ir *ir, enum pass_id pass, struct node *n, unsigned reg, uint64_t value, const char *why);

/* xor reg32, reg32 for a mov of zero to reg; n->flags_dead must hold all status flags. */
bool encode_zero(struct ir *ir, enum pass_id pass, struct node *n, unsigned reg, const char *why);

/* shlx, shrx or sarx for a shift of a register by cl; n->flags_dead must hold all flags it writes. The CPU has BMI2. */
bool encode_shift(struct ir *ir, enum pass_id pass, struct node *n, const char *why);

/* The same without a change being counted, for a pass that counts several as one: the caller takes them back by
 * ir->made_count. NULL: no room or no such form.
 *
 * Only the register operand of `in` differs: `in` with `reg` where its memory operand is read; mov reg, source for a mov
 * to memory, of which the operand's width matters; and for `op memory, x`: op reg, x.
 *
 * The first two with a vector register too (REG_VECTOR), that of a slot: its bytes beyond the operand's are zero, and stay
 * so. Legacy forms of movss, movsd, movq and scalar arithmetic only (SDM volume 2; encode_vector.c). */
const struct insn *encode_load(struct ir *ir, const struct insn *in, unsigned reg);
const struct insn *encode_store_update(struct ir *ir, const struct insn *in, unsigned reg);
const struct insn *encode_change_update(struct ir *ir, const struct insn *in, unsigned reg);
/* mov memory, reg to the operand of `op memory, x`. */
const struct insn *encode_store(struct ir *ir, const struct insn *in, unsigned reg);

/* mov to, from of 64 bits, in the place of what writes `to` in full and reads no memory. */
const struct insn *encode_copy(struct ir *ir, const struct insn *in, unsigned to, unsigned from);

/* in is one of those, a load or a store. */
bool encode_is_scalar(const struct insn *in);
const struct insn *encode_vector_load(struct ir *ir, const struct insn *in, unsigned n);
const struct insn *encode_vector_update(struct ir *ir, const struct insn *in, unsigned n);
/* Decodes what is to be kept if it is as meant; NULL: no room. */
struct insn *encode_make(struct ir *ir, struct app_pc pc, const uint8_t *bytes, size_t len);

#endif
