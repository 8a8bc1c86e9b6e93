#include "optimizer/encode.h"
#include "optimizer/passes.h"
#include "optimizer/values.h"

/* mov, movzx, movsx of what the register holds anyhow. */
static bool drop_load(struct ir *ir, struct values *s, struct node *n)
{
    struct value v, from;
    if (!node_may_go(ir, n) || !values_loaded(s, n->in, &v, &from) || !value_equal(s->reg[n->in->dst.reg], v) ||
        !ir_change(ir, PASS_loads, n, "loads: in place already"))
        return false;
    n->removed = true;
    return true;
}

static void use_register(struct ir *ir, struct values *s, struct node *n)
{
    struct place p;
    struct value v;
    if (!n->in->mem_read || n->in->mem_write || !values_place(s, n->in, &p) || !values_find(s, &p, &v))
        return;
    unsigned reg = values_register_of(s, v, p.bytes);
    if (reg != R_NONE)
        (void)encode_operand(ir, PASS_loads, n, reg, "loads: a register holds it");
}

rc_t pass_loads(struct ir *ir)
{
    struct values s;
    values_start(&s, ir);
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->op == N_INSN && !n->removed && !drop_load(ir, &s, n))
            use_register(ir, &s, n);
        values_step(&s, n);
    }
    return RC_OK;
}
