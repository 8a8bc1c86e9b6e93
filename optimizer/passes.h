/* The pass pipeline.
 *
 *   ir_build -> calls: which returns are known -> layout: straighten, invert, drop jumps -> lowering
 *
 * Each pass is one file and one function from IR to IR; optimize() runs them in order with the verifier
 * after each. */
#ifndef REHEAT_PASSES_H
#define REHEAT_PASSES_H

#include "optimizer/ir.h"

/* Turns matched calls and returns into a push and an adjustment of rsp where the return slot is provably
 * unchanged: return slots are taken to be written only through rsp- or rbp-based addresses. */
rc_t pass_calls(struct ir *ir);

/* Straightens the path: no taken jumps on it, conditions inverted so that staying falls through, what is
 * left of calls and returns guarded, and the end of the trace made explicit. */
rc_t pass_layout(struct ir *ir);

/* The whole pipeline. RC_VERIFY, RC_TOO_LONG, RC_UNSUPPORTED. */
rc_t optimize(struct ir *ir);

#endif
