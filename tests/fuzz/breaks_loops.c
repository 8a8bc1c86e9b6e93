/* Mistakes in what is loaded, computed or checked in front of a loop. */
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

/* The range of a check is its first byte. */
bool break_check(struct ir *ir, int at)
{
    struct node *n = &ir->nodes[at];
    if (n->op != N_CHECK || n->removed)
        return false;
    for (int i = 0; i < ir->check_count; i++)
        ir->checks[i].high = ir->checks[i].low + 1;
    return true;
}

/* A slot is loaded from the wrong place. */
bool break_slot(struct ir *ir, int at)
{
    if (ir->nodes[at].op != N_LOOP || !ir->slot_count)
        return false;
    ir->slots[0].at++;
    return true;
}
