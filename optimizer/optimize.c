#include "optimizer/passes.h"

rc_t optimize(struct ir *ir)
{
    TRY(ir_verify(ir, false));
    TRY(pass_calls(ir));
    TRY(ir_verify(ir, false));
    TRY(pass_layout(ir));
    return ir_verify(ir, true);
}
