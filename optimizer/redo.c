#include "optimizer/redo.h"

/* Registers and constants only. */
static bool can_be_redone(const struct insn *in)
{
    if (in->dst.kind != OPERAND_GPR || (in->src.kind != OPERAND_GPR && in->src.kind != OPERAND_IMM) || in->stores ||
        in->mem_read || in->mem_implied || in->rip_relative || in->flags_read ||
        (in->flags_killed & FL_STATUS) != FL_STATUS)
        return false;
    if (in->act == ACT_CMP || in->act == ACT_TEST)
        return true;
    return redo_undoes(in) && in->dst.bytes == 8 && in->dst.reg != R_RSP &&
           (in->src.kind == OPERAND_GPR ? in->src.reg != in->dst.reg && in->src.reg != R_RSP : in->immediate != INT32_MIN);
}

const struct insn *redo_before(const struct ir *ir, const struct node *n)
{
    const struct node *last = ir->nodes + ir->count - 1, *before = n;
    if (n->op != N_GUARD || n == last || FL_STATUS & ~n[1].flags_dead_before)
        return NULL;
    if (asm_branch_register(&ir->insns[n->insn]) == R_NONE)
        return NULL;
    while (before > ir->nodes && before[-1].removed)
        before--;
    if (before-- == ir->nodes || before->op != N_INSN || before->part != PART_WHOLE || before->fused ||
        before->appended || !node_is_original(ir, before))
        return NULL;
    const struct insn *in = &ir->insns[before->insn];
    return can_be_redone(in) ? in : NULL;
}
