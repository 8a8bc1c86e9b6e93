#include "optimizer/passes.h"

#define LONGEST_BODY 17

void ir_open_end(struct node *end)
{
    if (end->op == N_BACK) {
        end->removed = true;
        end->op = N_BRANCH;
        return;
    }
    struct node *back = end - 1;
    back->op = N_EXIT_IF;
    back->cc ^= 1;
    back->target = end->target;
    back->exit_known = false;
    end->removed = true;
    end->op = N_BRANCH;
}

bool ir_closes(const struct ir *ir)
{
    const struct node *last = &ir->nodes[ir->count - 1];
    bool tested = last->op == N_EXIT && ir->count >= 2 && last[-1].op == N_BACK_IF && !last[-1].removed;
    return ir->end == TRACE_LOOP && !last->removed && (last->op == N_BACK || tested);
}

rc_t pass_unroll(struct ir *ir)
{
    int body = ir->count, times = ir->unroll;
    if (times < 2 || body > LONGEST_BODY || body > ir->cap / times || !ir_closes(ir))
        return RC_OK;
    struct node *last = &ir->nodes[body - 1];
    if (!ir_change(ir, PASS_unroll, last->op == N_EXIT ? last - 1 : last, "unroll: repeated"))
        return RC_OK;
    for (int k = 1; k < times; k++)
        for (int i = 0; i < body; i++)
            TRY(ir_append(ir, ir->nodes[i]));
    for (int k = 1; k < times; k++)
        ir_open_end(&ir->nodes[k * body - 1]);
    return RC_OK;
}
