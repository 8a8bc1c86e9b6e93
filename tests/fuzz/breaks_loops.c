/* Mistakes in what is computed in front of a loop. */
#include "tests/fuzz/breaks.h"

bool break_invariant(struct ir *ir, int at)
{
    if (ir->nodes[at].op != N_LOOP || !ir->invariant_count)
        return false;
    ir->invariants[0].then_plus++;
    return true;
}

bool break_extension(struct ir *ir, int at)
{
    if (ir->nodes[at].op != N_LOOP || !ir->invariant_count || ir->invariants[0].extend == EXTEND_NOT)
        return false;
    ir->invariants[0].extend ^= EXTEND_ZERO ^ EXTEND_SIGN;
    return true;
}
