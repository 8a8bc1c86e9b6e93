#include "optimizer/liveness.h"
#include "optimizer/passes.h"
#include "optimizer/values.h"

/* Writes one register, with what it holds; and no flags that anything reads. */
static bool changes_nothing(struct values *s, const struct node *n)
{
    struct value v;
    return !(n->in->flags_written & ~n->flags_dead) && values_result(s, n->in, &v) &&
           value_equal(v, s->reg[n->in->dst.reg]);
}

rc_t pass_idle(struct ir *ir)
{
    struct values s;
    liveness_compute(ir);
    values_start(&s, ir);
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->op == N_INSN && !n->removed && node_may_go(ir, n)) {
            if (n->in->act == ACT_NOP)
                n->removed = ir_change(ir, PASS_idle, n, "idle: no operation");
            else if (changes_nothing(&s, n))
                n->removed = ir_change(ir, PASS_idle, n, "idle: writes what is there");
        }
        values_step(&s, n);
    }
    return RC_OK;
}
