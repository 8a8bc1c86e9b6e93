/* Wrong passes: each changes optimized IR as a pass with a certain mistake would. For the fuzzer's own test. */
#ifndef REHEAT_FUZZ_BREAKS_H
#define REHEAT_FUZZ_BREAKS_H

#include "fragcache/lower.h"

/* Applies the mistake of that name somewhere in ir, `roll` says where. False when the trace gives no occasion. */
bool break_apply(struct ir *ir, const char *name, uint32_t roll);
/* The same for mistakes of the lowering. */
void break_lowered(struct lowered *out, const char *name, uint32_t roll);
/* breaks_loops.c: another number; a sign for zeros, or the other way round; too short a range; another place. At node `at`; false where it gives no occasion. */
bool break_invariant(struct ir *ir, int at);
bool break_extension(struct ir *ir, int at);
bool break_check(struct ir *ir, int at);
bool break_slot(struct ir *ir, int at);
/* breaks_shared.c: loads go as if there were no other threads. */
bool break_others(struct ir *ir, int at);
/* The names, in order; NULL after the last. */
const char *break_name(int i);

#endif
