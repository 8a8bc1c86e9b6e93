#include "optimizer/encode.h"
#include "optimizer/liveness.h"
#include "optimizer/passes.h"

/* A shift by cl keeps the flags when cl is 0, so it depends on them: two or three micro-operations where the form of
 * BMI2 is one (Fog, Instruction tables: Intel since Sandy Bridge). */
rc_t pass_select(struct ir *ir)
{
    if (!(ir->cpu & CPU_BMI2))
        return RC_OK;
    liveness_compute(ir);
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->op == N_INSN && !n->removed && !(n->in->flags_written & ~n->flags_dead))
            (void)encode_shift(ir, PASS_select, n, "select: shift of BMI2, flags dead");
    }
    return RC_OK;
}
