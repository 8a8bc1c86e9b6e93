#include "optimizer/passes.h"

#define LONGEST_BODY 17

/* What closes the loop, in a body that another one follows: the condition to go on becomes an exit. */
static void open_end(struct node *n, const struct node *away)
{
    if (n->op == N_BACK) {
        n->removed = true;
        n->op = N_BRANCH;
        return;
    }
    n->op = N_EXIT_IF;
    n->exit_known = false; /* liveness has seen a back edge */
    n->cc ^= 1;
    n->target = away->target;
}

rc_t pass_unroll(struct ir *ir)
{
    int body = ir->count, times = ir->unroll;
    if (times < 2 || ir->end != TRACE_LOOP || body > LONGEST_BODY || body > ir->cap / times)
        return RC_OK;
    struct node *last = &ir->nodes[body - 1];
    bool tested = last->op == N_EXIT; /* N_BACK_IF in front of it closes the loop */
    if (tested && (body < 2 || last[-1].op != N_BACK_IF || last[-1].removed))
        return RC_OK;
    if (!ir_change(ir, PASS_unroll, tested ? last - 1 : last, "unroll: repeated"))
        return RC_OK;
    for (int k = 1; k < times; k++)
        for (int i = 0; i < body; i++)
            TRY(ir_append(ir, ir->nodes[i]));
    for (int k = 0; k < times - 1; k++) {
        struct node *end = &ir->nodes[(k + 1) * body - 1];
        open_end(tested ? end - 1 : end, end);
        if (tested) {
            end->removed = true;
            end->op = N_BRANCH;
        }
    }
    return RC_OK;
}
