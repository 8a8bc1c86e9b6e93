#include "optimizer/borrow.h"
#include "optimizer/liveness.h"
#include "optimizer/passes.h"

rc_t optimize_gated(struct ir *ir)
{
    static rc_t (*const after_layout[PASS_COUNT])(struct ir *) = {
        [PASS_convert] = pass_convert,   [PASS_unroll] = pass_unroll, [PASS_constants] = pass_constants,
        [PASS_chain] = pass_chain,           [PASS_order] = pass_order,
        [PASS_branches] = pass_branches, [PASS_loads] = pass_loads,   [PASS_flags] = pass_flags,
        [PASS_select] = pass_select,     [PASS_idle] = pass_idle,
        [PASS_promote] = pass_promote,   [PASS_invariant] = pass_invariant,
    };
    TRY(ir_verify(ir, false));
    if (ir_runs(ir, PASS_calls))
        TRY(pass_calls(ir));
    TRY(ir_verify(ir, false));
    TRY(pass_layout(ir));
    TRY(ir_verify(ir, true));
    for (int i = 0; i < PASS_COUNT; i++) {
        if (!after_layout[i] || !ir_runs(ir, i))
            continue;
        TRY(after_layout[i](ir));
        TRY(ir_verify(ir, true));
    }
    TRY(borrow_wanted(ir));
    liveness_compute(ir);
    return ir_verify(ir, true);
}

struct gated {
    struct ir *ir;
    rc_t rc;
};

static void run_gated(void *arg)
{
    struct gated *g = arg;
    g->rc = optimize_gated(g->ir);
}

rc_t optimize(struct ir *ir)
{
    struct gated g = {ir, RC_OK};
    TRY(decode_gate(run_gated, &g));
    return g.rc;
}
