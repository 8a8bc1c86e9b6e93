/* One instruction alone: a state in which its memory operands lie in the arena, and one run of it. */
#ifndef REHEAT_FUZZ_FACTS_STATE_H
#define REHEAT_FUZZ_FACTS_STATE_H

#include "tests/fuzz/rng.h"
#include "tests/fuzz/world.h"
#include "tracer/decode.h"

#define FACT_CODE (WORLD_TEXT + 256)
#define FACT_OPERAND                                                                                         \
    (WORLD_DATA + 2048) /* where explicit operands lie, unless they are on the stack or constants */

struct sample {
    uint8_t bytes[INSN_MAX_BYTES];
    uint8_t len;
};

struct fact_run {
    struct state state;
    struct memory memory;
    struct left left;
};

/* Decodes the sample at FACT_CODE, with a rip-relative or absolute operand aimed at the arena, and writes it there.
 * False when it cannot be run alone. */
bool fact_place(const struct sample *s, struct insn *in);
/* A state in which it should not fault; `address` is where its explicit operand lies then. */
void fact_state(struct rng *r, const struct insn *in, struct state *s, struct memory *m, uint64_t *address);
void fact_run(const struct state *s, const struct memory *m, struct fact_run *out);

#endif
