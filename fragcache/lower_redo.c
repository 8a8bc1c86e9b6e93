#include "fragcache/lower_parts.h"
#include "fragcache/roll.h"
#include "optimizer/redo.h"

void lower_redo_recipe(struct lowering *l, const struct insn *in)
{
    unsigned src = in->src.kind == OPERAND_GPR ? in->src.reg : R_NONE;
    int sign = in->act == ACT_ADD ? -1 : 1;
    if (!redo_undoes(in)) {
        lower_recipe_at(l, in->pc.v, R_NONE, R_NONE);
        return;
    }
    lower_recipe(l, roll_back_recipe(in->dst.reg, src, sign, src == R_NONE ? sign * (int32_t)in->immediate : 0));
    l->a.len++; /* within the next instruction: found as what follows only */
    lower_recipe_at(l, in->pc.v, R_NONE, R_NONE);
    l->a.len--;
}

void lower_redo(struct lowering *l, const struct insn *in)
{
    unsigned dst = in->dst.reg;
    lower_redo_recipe(l, in);
    if (redo_undoes(in)) {
        if (in->src.kind == OPERAND_IMM)
            asm_lea(&l->a, dst, dst, (in->act == ACT_ADD ? -1 : 1) * (int32_t)in->immediate);
        else if (in->act == ACT_ADD)
            asm_sub_reg(&l->a, dst, in->src.reg);
        else
            asm_lea_sum(&l->a, dst, dst, in->src.reg);
        lower_recipe_at(l, in->pc.v, R_NONE, R_NONE);
    }
    asm_bytes(&l->a, in->bytes, in->len);
    lower_recipe_at(l, in->pc.v + in->len, R_NONE, R_NONE);
}
