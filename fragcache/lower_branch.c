#include "fragcache/lower_parts.h"

#include "optimizer/redo.h"
#include "runtime/base/context.h"

/* What a branch does besides going somewhere. */
static rc_t lower_effect(struct lowering *l, const struct node *n)
{
    const struct insn *in = &l->ir->insns[n->insn];
    if (in->kind == IK_RET) {
        asm_lea(&l->a, R_RSP, R_RSP, 8 + in->imm);
        l->out->insns_out++;
    }
    return in->kind == IK_CALL_IND ? lower_push_const(l, in->pc.v + in->len, n->stands) : RC_OK;
}

/* Registers that may be overwritten before the branch is done: what it reads itself must stay for another try, and
 * borrowed ones hold slots. */
static unsigned free_registers(const struct lowering *l, const struct node *n)
{
    return n->gpr_dead & ~(l->ir->insns[n->insn].gpr_read | 1u << R_RSP | l->saved);
}

/* rcx_spilled: it already is, and holds something else. */
static rc_t look_up(struct lowering *l, const struct node *n, bool rcx_spilled)
{
    const struct insn *in = &l->ir->insns[n->insn];
    unsigned dead = free_registers(l, n);
    lower_recipe_at(l, in->pc.v, rcx_spilled ? R_RCX : R_NONE, R_NONE);
    if (rcx_spilled && in->gpr_read & 1u << R_RCX)
        lower_unspill(l, R_RCX, SLOT(spill0));
    if (!rcx_spilled && !(dead & 1u << R_RCX))
        lower_spill(l, R_RCX, SLOT(spill0));
    if (!(dead & 1u << R_RDX)) {
        lower_spill(l, R_RDX, SLOT(spill1));
        lower_recipe_at(l, in->pc.v, rcx_spilled ? R_RCX : R_NONE, R_RDX); /* a far operand's address comes into rdx */
    }
    if (in->kind == IK_RET)
        asm_load(&l->a, R_RDX, R_RSP, 0);
    else if (!asm_load_branch_operand(&l->a, R_RDX, in))
        return RC_UNSUPPORTED;
    lower_recipe_at(l, in->pc.v, rcx_spilled ? R_RCX : R_NONE, R_RDX);
    TRY(lower_effect(l, n));
    lower_recipe_looked_up(l);
    asm_movzx16(&l->a, R_RCX, R_RDX);
    asm_load_table_rcx(&l->a, l->lookup_table);
    asm_loop_op(&l->a, 3, 2); /* jrcxz: over the jump */
    asm_jmp_reg(&l->a, R_RCX);
    asm_jmp(&l->a, l->lookup_miss);
    l->out->insns_out += 5;
    return RC_OK;
}

static rc_t add_miss(struct lowering *l, const struct node *n, bool subtracted, bool rcx_spilled,
                     const struct insn *redo)
{
    if (l->miss_count == MAX_MISSES)
        return RC_TOO_LONG;
    l->misses[l->miss_count].rel32 = (uint32_t)l->a.len - 4;
    l->misses[l->miss_count].subtracted = subtracted;
    l->misses[l->miss_count].rcx_spilled = rcx_spilled;
    l->misses[l->miss_count].redo = redo;
    l->misses[l->miss_count].saved = l->saved;
    l->misses[l->miss_count++].guard = n;
    return RC_OK;
}

/* The one of a set that a program is least likely to wait for. */
static unsigned choose_register(unsigned mask)
{
    unsigned passed_on = mask & (1u << 10 | 1u << 11); /* r10, r11: neither arguments nor kept (System V ABI, 3.2.1) */
    mask = passed_on ? passed_on : mask;
    return mask ? (unsigned)__builtin_ctz(mask) : R_NONE;
}

/* cmp operand, target. False: not possible, and nothing is emitted. */
static bool lower_compare(struct lowering *l, const struct node *n)
{
    const struct insn *in = &l->ir->insns[n->insn];
    unsigned reg = asm_branch_register(in);
    if ((int64_t)n->target == (int32_t)n->target)
        return asm_cmp_branch_operand_imm(&l->a, in, (int32_t)n->target);
    if (reg != R_NONE) {
        asm_cmp_const(&l->a, reg, asm_here(&l->a).v);
        return lower_constant(l, n->target) == RC_OK;
    }
    const struct asm_buf before = l->a;
    int recipes = l->out->recipe_count;
    unsigned scratch = choose_register(free_registers(l, n));
    bool spilled = scratch == R_NONE;
    if (spilled) {
        scratch = choose_register(~(in->gpr_read | 1u << R_RSP) & 0xffff);
        lower_spill(l, scratch, SLOT(spill0));
        lower_recipe_at(l, in->pc.v, scratch, R_NONE);
    }
    asm_mov_imm64(&l->a, scratch, n->target);
    l->out->insns_out++;
    if (!asm_cmp_branch_operand(&l->a, scratch, in)) {
        l->a = before;
        l->out->recipe_count = recipes;
        return false;
    }
    if (spilled) {
        lower_unspill(l, scratch, SLOT(spill0));
        lower_recipe_at(l, in->pc.v, R_NONE, R_NONE);
    }
    return true;
}

/* rcx = operand - target, flags untouched; rcx is spilled unless it is free. */
static rc_t lower_subtract(struct lowering *l, const struct node *n, bool spilled)
{
    const struct insn *in = &l->ir->insns[n->insn];
    unsigned reg = asm_branch_register(in), free = free_registers(l, n) & ~(1u << R_RCX);
    int64_t minus = (int64_t)(0 - n->target);
    bool small = minus == (int32_t)minus;
    unsigned saved = spilled ? R_RCX : R_NONE;
    if (spilled)
        lower_spill(l, R_RCX, SLOT(spill0));
    lower_recipe_at(l, in->pc.v, saved, R_NONE);
    l->out->insns_out++;
    if (reg != R_NONE && reg != R_RCX && !small) {
        asm_mov_imm64(&l->a, R_RCX, (uint64_t)minus);
        asm_lea_sum(&l->a, R_RCX, reg, R_RCX);
        l->out->insns_out++;
        return RC_OK;
    }
    if (reg == R_NONE) {
        l->out->insns_out++;
        if (in->kind == IK_RET)
            asm_load(&l->a, R_RCX, R_RSP, 0);
        else if (!asm_load_branch_operand(&l->a, R_RCX, in))
            return RC_UNSUPPORTED;
        reg = R_RCX;
    }
    if (small) {
        asm_lea(&l->a, R_RCX, reg, (int32_t)minus);
        return RC_OK;
    }
    unsigned second = free ? choose_register(free) : R_RDX;
    if (!free) {
        lower_spill(l, R_RDX, SLOT(spill1));
        lower_recipe_at(l, in->pc.v, saved, R_RDX);
    }
    asm_mov_imm64(&l->a, second, (uint64_t)minus);
    asm_lea_sum(&l->a, R_RCX, R_RCX, second);
    l->out->insns_out++;
    if (!free) {
        lower_unspill(l, R_RDX, SLOT(spill1));
        lower_recipe_at(l, in->pc.v, saved, R_NONE);
    }
    return RC_OK;
}

rc_t lower_guard(struct lowering *l, const struct node *n)
{
    const struct insn *in = &l->ir->insns[n->insn];
    bool flags_dead = (n->flags_dead & FL_STATUS) == FL_STATUS;
    const struct insn *redo = flags_dead ? NULL : redo_before(l->ir, n);
    if ((flags_dead || redo) && lower_compare(l, n)) {
        if (redo)
            lower_redo_recipe(l, redo);
        asm_jcc(&l->a, 5, asm_here(&l->a).v);
        l->out->insns_out += 2;
        TRY(add_miss(l, n, false, false, redo));
        lower_recipe_at(l, in->pc.v, R_NONE, R_NONE);
        return lower_effect(l, n);
    }
    bool spilled = !(free_registers(l, n) & 1u << R_RCX);
    TRY(lower_subtract(l, n, spilled));
    asm_loop_op(&l->a, 3, 5); /* jrcxz */
    asm_jmp(&l->a, asm_here(&l->a).v);
    l->out->insns_out++;
    TRY(add_miss(l, n, true, spilled, NULL));
    if (spilled)
        lower_unspill(l, R_RCX, SLOT(spill0));
    lower_recipe_at(l, in->pc.v, R_NONE, R_NONE);
    return lower_effect(l, n);
}

/* A guard's way when the branch does not go where it is expected to: what holds there. */
struct miss {
    const struct node *guard;
    bool subtracted, rcx_spilled;
    const struct insn *redo;
};

static void miss_recipe(struct lowering *l, const struct miss *m)
{
    if (m->redo)
        lower_redo_recipe(l, m->redo);
    else
        lower_recipe_at(l, l->ir->insns[m->guard->insn].pc.v, m->rcx_spilled ? R_RCX : R_NONE, R_NONE);
}

/* The program's own state, in front of the branch. */
static void leave_miss(struct lowering *l, const struct miss *m)
{
    if (m->rcx_spilled)
        lower_unspill(l, R_RCX, SLOT(spill0));
    if (m->redo)
        lower_redo(l, m->redo);
    lower_recipe_at(l, l->ir->insns[m->guard->insn].pc.v, R_NONE, R_NONE);
}

/* It goes to `to`, and does so by a jump that is an exit. */
static rc_t chain_hit(struct lowering *l, const struct miss *m, uint64_t to)
{
    leave_miss(l, m);
    TRY(lower_effect(l, m->guard));
    lower_recipe_at(l, to, R_NONE, R_NONE);
    asm_jmp(&l->a, asm_here(&l->a).v);
    return lower_add_exit(l, to);
}

/* Over what chain_hit emits when the operand is not `to`; the rel32 just emitted is patched for that. *minus: what rcx has
 * been subtracted. False: the two cannot be compared so, and nothing is emitted. */
static bool chain_compare(struct lowering *l, const struct miss *m, uint64_t to, uint64_t *minus)
{
    struct node other = *m->guard;
    other.target = to;
    int64_t step = (int64_t)(*minus - to);
    if (!m->subtracted) {
        if (!lower_compare(l, &other))
            return false;
        if (m->redo)
            lower_redo_recipe(l, m->redo);
        asm_jcc(&l->a, 5, asm_here(&l->a).v);
        return true;
    }
    if (step != (int32_t)step)
        return false;
    asm_lea(&l->a, R_RCX, R_RCX, (int32_t)step);
    *minus = to;
    asm_loop_op(&l->a, 3, 5); /* jrcxz */
    asm_jmp(&l->a, asm_here(&l->a).v);
    return true;
}

/* The branch's other targets. */
static rc_t lower_chain(struct lowering *l, const struct miss *m)
{
    const struct ir_chain *c = m->guard->chain ? &l->ir->chains[m->guard->chain - 1] : NULL;
    uint64_t minus = m->guard->target;
    for (int i = 0; c && i < c->count; i++) {
        if (!chain_compare(l, m, c->target[i], &minus))
            continue;
        uint32_t over = (uint32_t)l->a.len - 4;
        TRY(chain_hit(l, m, c->target[i]));
        lower_patch_rel32(l, over, (uint32_t)l->a.len);
        miss_recipe(l, m);
    }
    return RC_OK;
}

rc_t lower_lookup(struct lowering *l, const struct node *n) { return look_up(l, n, false); }

/* What goes elsewhere is left to the program's own branch, whose targets the CPU knows, and whose return it will predict; not
 * where that would lead back here. A return whose call was inlined is not in step with those predictions any more. */
static bool goes_natively(const struct lowering *l, const struct insn *in)
{
    return in->kind != IK_RET && !app_pc_eq(in->pc, l->ir->tag);
}

static rc_t place_miss(struct lowering *l, const struct miss *m, bool native)
{
    const struct insn *in = &l->ir->insns[m->guard->insn];
    if (native && goes_natively(l, in)) {
        leave_miss(l, m);
        asm_jmp(&l->a, asm_here(&l->a).v);
        return lower_add_exit(l, in->pc.v);
    }
    if (m->redo)
        lower_redo(l, m->redo);
    lower_restore_borrowed(l);
    l->saved = 0;
    return look_up(l, m->guard, m->rcx_spilled);
}

rc_t lower_place_misses(struct lowering *l, bool native)
{
    uint32_t insns = l->out->insns_out;
    for (int i = 0; i < l->miss_count && !l->a.overflow; i++) {
        const struct miss m = {l->misses[i].guard, l->misses[i].subtracted, l->misses[i].rcx_spilled,
                               l->misses[i].redo};
        lower_patch_rel32(l, l->misses[i].rel32, (uint32_t)l->a.len);
        l->saved = l->misses[i].saved;
        miss_recipe(l, &m);
        TRY(lower_chain(l, &m));
        TRY(place_miss(l, &m, native));
    }
    l->out->insns_out = insns; /* of the path only */
    return RC_OK;
}
