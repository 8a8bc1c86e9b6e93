/* The meaning that the decoder gives to an instruction (insn.act, dst, src, immediate), computed in C. */
#ifndef REHEAT_FUZZ_FACTS_ACT_H
#define REHEAT_FUZZ_FACTS_ACT_H

#include "tests/fuzz/facts_state.h"

/* What a run shows to be wrong in `in`, or NULL. `address`: of the explicit memory operand. */
const char *fact_act_wrong(const struct insn *in, const struct state *before, const struct memory *memory,
                           uint64_t address, const struct fact_run *after);

#endif
