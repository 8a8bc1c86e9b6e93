/* What other threads could tell apart (ir.others): which memory is loaded and stored, and in which order. */
#ifndef REHEAT_FUZZ_SHARED_H
#define REHEAT_FUZZ_SHARED_H

#include "tests/fuzz/compare.h"

/* Steps through the program and through the fragment from s. V_DIFFERENT unless both access the same memory, byte for byte, in
 * the same order, but for what lies below the stack pointer of s, which is the trace's own, and read-only data; a fragment with
 * hammocks may load more, and an indirect branch its target more than once,
 * and returns that are known need not read where they go. V_SKIPPED when a run does not end at a pad soon. */
enum verdict shared_compare(const struct subject *sub, const struct state *s, const struct memory *m);

#endif
