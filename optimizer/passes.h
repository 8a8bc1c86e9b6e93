/* The pass pipeline.
 *
 *   ir_build -> calls -> layout -> convert -> unroll -> constants -> chain -> branches -> order -> loads -> flags -> select -> idle -> promote
 *     -> invariant -> liveness -> lowering
 *
 * Each pass is one file and one function from IR to IR; optimize() runs them in the order of passes.def with the
 * verifier after each. The passes from constants on walk the path forward with what is known about values (values.h);
 * flags and idle also use what is known to be dead (liveness.h). */
#ifndef REHEAT_PASSES_H
#define REHEAT_PASSES_H

#include "optimizer/ir.h"

/* Passes that may well make a trace slower: without them one variant of it is made, with them another (runtime/traces.c). */
#define PASSES_UNSURE (PASS_BIT(PASS_convert) | PASS_BIT(PASS_promote))

/* Turns matched calls and returns into a push and an adjustment of rsp where the return slot is provably
 * unchanged: return slots are taken to be written only through rsp- or rbp-based addresses. */
rc_t pass_calls(struct ir *ir);

/* Straightens the path: no taken jumps on it, conditions inverted so that staying falls through, what is
 * left of calls and returns guarded, and the end of the trace made explicit. */
rc_t pass_layout(struct ir *ir);

/* A branch whose sides are short and meet again becomes conditional moves: what cannot be predicted costs nothing then. It
 * does not pay where the branch is steady; whether it is, a trace does not tell. */
rc_t pass_convert(struct ir *ir);

/* Repeats the body of a short loop ir->unroll times; what closed it in between becomes an exit. */
rc_t pass_unroll(struct ir *ir);

/* A register loaded with what is known to be a constant becomes a mov of it; an indirect branch whose target is known
 * loses its guard. */
rc_t pass_constants(struct ir *ir);

/* Gives indirect branches chains of what else they go to often (ir->targets_of). */
rc_t pass_chain(struct ir *ir);

/* Removes exits that cannot be taken because of a constant or of a condition met earlier on the path. */
rc_t pass_branches(struct ir *ir);

/* A branch on whether (x > y) - (x < y) is above, at or below 0 becomes one on the comparison of x and y. */
rc_t pass_order(struct ir *ir);

/* A load of what is known to be in a register becomes a use of that register, or goes. */
rc_t pass_loads(struct ir *ir);

/* Removes comparisons whose flags are dead or there already; mov r, 0 becomes xor where flags are dead. */
rc_t pass_flags(struct ir *ir);

/* Forms of instructions that this CPU executes faster (ir->cpu). */
rc_t pass_select(struct ir *ir);

/* Removes nops and instructions that write what is there already; so pushes of return addresses only move rsp where an
 * iteration before has left them. */
rc_t pass_idle(struct ir *ir);

/* Keeps slots of a loop's memory in registers that the program does not use there, while `alone`. The first iteration
 * stays as it is, so that what the slots' addresses lead to has been touched before; then the registers are borrowed and
 * loaded. Stores stay: memory is exact at any time. */
rc_t pass_promote(struct ir *ir);

/* What the loop of pass_promote computes from registers that it does not write comes from a register that the program does
 * not use there. Without such a loop it does nothing. */
rc_t pass_invariant(struct ir *ir);

/* The whole pipeline, behind the decoder's gate. RC_VERIFY, RC_TOO_LONG, RC_UNSUPPORTED, RC_NO_DECODER. */
rc_t optimize(struct ir *ir);
/* The same from within decode_gate. */
rc_t optimize_gated(struct ir *ir);

#endif
