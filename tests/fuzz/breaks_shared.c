/* Mistakes that only other threads would see. */
#include "optimizer/liveness.h"
#include "optimizer/passes.h"
#include "tests/fuzz/breaks.h"

static void loads_alone(void *arg)
{
    struct ir *ir = arg;
    ir->alone = true;
    if (pass_loads(ir) == RC_OK)
        liveness_compute(ir);
    ir->alone = false;
}

bool break_others(struct ir *ir, int at)
{
    uint32_t before = ir_changes(ir);
    return at == 0 && ir->others && decode_gate(loads_alone, ir) == RC_OK && ir_changes(ir) > before;
}
