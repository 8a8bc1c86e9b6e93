#include "optimizer/passes.h"
#include "optimizer/values.h"

rc_t pass_branches(struct ir *ir)
{
    struct values s;
    values_start(&s, ir);
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->op == N_EXIT_IF && !n->removed && values_condition(&s, n->cc) == 0 &&
            ir_change(ir, PASS_branches, n, "branches: never taken here"))
            n->removed = true;
        values_step(&s, n);
    }
    return RC_OK;
}
