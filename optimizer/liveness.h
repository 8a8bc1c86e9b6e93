/* Liveness: which general registers and status flags are written before they are read, on every way on.
 *
 * Two questions are answered together. What matters to the nodes as they are now; and, wherever the program's state
 * can be seen (before a node that is not removed, and at exits), what matters to the original program going on from
 * there. A register or flag is dead only when it is dead to both.
 *
 * At an exit everything is live, unless ir->peek shows the text there: what it overwrites on every way before reading it
 * is dead, or loses where a call through a pointer or a PLT leads (ir->indirect_gpr_dead). Calls decode_one: only behind
 * the gate when ir->peek is set. */
#ifndef REHEAT_LIVENESS_H
#define REHEAT_LIVENESS_H

#include "optimizer/ir.h"

#define LIVE_FLAGS (FL_STATUS | FL_DF)

/* Sets gpr_dead and flags_dead of every node of a laid-out trace. */
void liveness_compute(struct ir *ir);

/* Before n, with what liveness_compute found. */
struct live_set liveness_before(const struct ir *ir, const struct node *n);

/* liveness_exit.c: in the program's text at pc. */
struct live_set liveness_at_exit(const struct ir *ir, uint64_t pc);

/* A call through a pointer, or a PLT's jump: between functions. A jump through a table stays within one. */
bool liveness_abi_border(const struct insn *in);

/* What it reads; xor r, r and sub r, r only write. */
uint16_t liveness_gpr_read(const struct insn *in);

/* The status flags that condition cc reads. */
uint16_t liveness_cc_reads(unsigned cc);

#endif
