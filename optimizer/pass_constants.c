#include "optimizer/encode.h"
#include "optimizer/passes.h"
#include "optimizer/values.h"

static void fold_load(struct ir *ir, struct values *s, struct node *n)
{
    struct value v, from;
    if (!node_may_go(ir, n) || !values_loaded(s, n->in, &v, &from) || !value_is_const(v))
        return;
    if (value_equal(s->reg[n->in->dst.reg], v))
        return; /* in place already: pass_loads removes it */
    (void)encode_constant(ir, PASS_constants, n, n->in->dst.reg, (uint64_t)v.off, "constants: value known");
}

/* An indirect branch that can only go where it is expected to. */
static void fold_branch(struct ir *ir, struct values *s, struct node *n)
{
    const struct insn *in = &ir->insns[n->insn];
    uint64_t target;
    bool end = n->op == N_LOOKUP;
    if (!values_target(s, in, &target) || (!end && target != n->target) || !target)
        return;
    if (end && in->kind != IK_JMP_IND)
        return;
    if (!ir_change(ir, PASS_constants, n, end ? "constants: one target" : "constants: guard not needed"))
        return;
    n->exit_known = false;
    switch ((enum insn_kind)in->kind) {
    case IK_JMP_IND:
        n->removed = !end;
        n->op = end ? N_EXIT : n->op;
        n->target = target;
        break;
    case IK_CALL_IND:
        n->op = N_PUSH_CONST;
        n->value = in->pc.v + in->len;
        break;
    case IK_RET:
        n->op = N_ADD_SP;
        n->value = 8u + in->imm;
        break;
    default: break;
    }
}

rc_t pass_constants(struct ir *ir)
{
    struct values s;
    values_start(&s, ir);
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->removed)
            continue;
        if (n->op == N_INSN)
            fold_load(ir, &s, n);
        else if (n->op == N_GUARD || n->op == N_LOOKUP)
            fold_branch(ir, &s, n);
        values_step(&s, n);
    }
    return RC_OK;
}
