/* Random programs: plausible paths with calls, frames, spills and much aliasing. */
#ifndef REHEAT_FUZZ_GEN_H
#define REHEAT_FUZZ_GEN_H

#include "tests/fuzz/program.h"
#include "tests/fuzz/rng.h"

struct gen_roles {
    uint16_t pointers; /* registers that must point into the arena at the start */
    uint8_t counter;   /* R_NONE, or a loop counter: small and not 0 at the start */
    uint8_t fixed;     /* 0, or a register that points GEN_STACK_POINTER above rsp at the start */
};
#define GEN_STACK_POINTER 40

/* Makes a program and the state of its recorded run. */
void gen_program(struct rng *r, struct program *p, struct gen_roles *roles);
/* Another state for the same program: all new. */
void gen_state(struct rng *r, const struct gen_roles *roles, struct state *s, struct memory *m);
/* The recorded state, changed here and there, so that runs follow the path for a while. */
void gen_nearby_state(struct rng *r, const struct gen_roles *roles, const struct program *p, struct state *s,
                      struct memory *m);

#endif
