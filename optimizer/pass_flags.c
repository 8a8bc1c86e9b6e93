#include "optimizer/encode.h"
#include "optimizer/liveness.h"
#include "optimizer/passes.h"
#include "optimizer/values.h"

static bool is_comparison(const struct insn *in)
{
    return (in->act == ACT_CMP || in->act == ACT_TEST) && !in->mem_read; /* a load may fault */
}

static bool is_zero(const struct insn *in)
{
    return in->act == ACT_MOV && in->dst.kind == OPERAND_GPR && in->dst.bytes >= 4 && in->src.kind == OPERAND_IMM &&
           in->immediate == 0;
}

rc_t pass_flags(struct ir *ir)
{
    struct values s;
    liveness_compute(ir);
    values_start(&s, ir);
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->op == N_INSN && !n->removed && is_comparison(n->in)) {
            uint16_t live = n->in->flags_written & (uint16_t)~n->flags_dead;
            if (!live)
                n->removed = ir_change(ir, PASS_flags, n, "flags: nothing reads them");
            else if (values_compared(&s, n->in, live))
                n->removed = ir_change(ir, PASS_flags, n, "flags: there already");
        } else if (n->op == N_INSN && !n->removed && is_zero(n->in) && !(FL_STATUS & ~n->flags_dead)) {
            (void)encode_zero(ir, PASS_flags, n, n->in->dst.reg, "flags: shorter, flags dead");
        }
        values_step(&s, n);
    }
    return RC_OK;
}
