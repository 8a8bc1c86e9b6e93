/* Rotation: a loop may be entered at any of its instructions, so its trace may start at any of them. Another path may begin
 * a few instructions later.
 *
 * A hook needs an instruction it can replace; the head NET found often is none. */
#ifndef REHEAT_ROTATE_H
#define REHEAT_ROTATE_H

#include "tracer/record.h"

/* True when the trace, a loop of n instructions, may start at instruction k: outside of any call that the trace
 * makes, so that its returns still match. */
bool trace_can_rotate(const struct trace *t, const struct insn *insns, int n, int k);

/* Makes instruction k the first: reorders `insns` and rewrites `t`. Only where trace_can_rotate says so.
 * RC_TOO_LONG when the trace has no room for one more step. */
rc_t trace_rotate(struct trace *t, struct insn *insns, int n, int k);

/* True when a trace that is no loop may begin at instruction k instead: it has made no call by then. What comes before is left
 * to the program's own code. */
bool trace_can_trim(const struct trace *t, const struct insn *insns, int k);
/* Drops the first k of n instructions. */
void trace_trim(struct trace *t, struct insn *insns, int n, int k);

#endif
