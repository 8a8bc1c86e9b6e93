/* What a register holds, as one step or two from a register that a loop does not write. */
#ifndef REHEAT_INVARIANT_H
#define REHEAT_INVARIANT_H

#include "optimizer/ir.h"

struct invariant_walk {
    const struct ir *ir;
    uint16_t fixed; /* registers, slots' too, that nothing behind N_LOOP writes */
    struct ir_invariant now[16]; /* from: R_NONE where nothing is known */
};

/* At N_LOOP. False: the loop has nodes that are not followed. */
bool invariant_start(struct invariant_walk *w, const struct ir *ir, int loop);
/* Runs a node behind it. */
void invariant_step(struct invariant_walk *w, const struct node *n);

#endif
