#include "optimizer/estimate.h"

#include "optimizer/redo.h"

#define ISSUE 1u
#define ACCESS 1u
#define TAKEN 1u
#define CALL 4u /* and as much for the return */
#define INDIRECT 4u
#define DISPATCH 10u /* a jump through a table; measured: a switch's loop, 12 instructions a pass, 3.2 cycles, 2.2 with guards */
#define LOOP_OP 6u
#define GUARD_FLAGS 6u
#define LOOKUP 10u
#define MISSED 20u /* of a branch that a pass takes for unpredictable: a quarter of the times, 20 cycles */
#define SHIFT 2u /* by cl, flags kept when it is 0 */

static bool shifts_by_cl(const struct insn *in)
{
    unsigned at = (in->bytes[0] & 0xf0) == 0x40;
    return in->bytes[at] == 0xd3 && in->modrm_at == at + 1u;
}

static uint32_t insn_cost(const struct insn *in)
{
    uint32_t cost = ISSUE + (in->mem_read ? ACCESS : 0u) + (in->stores ? ACCESS : 0u);
    cost += shifts_by_cl(in) ? SHIFT : 0u;
    switch ((enum insn_kind)in->kind) {
    case IK_CALL:
    case IK_RET: return cost + CALL;
    case IK_CALL_IND: return cost + CALL + INDIRECT;
    case IK_JMP_IND: return cost + (in->rip_relative ? INDIRECT : DISPATCH);
    case IK_LOOP: return cost + LOOP_OP;
    default: return cost + (in->act == ACT_POP ? ACCESS : 0u);
    }
}

static bool guard_keeps_flags(const struct ir *ir, const struct node *n)
{
    return (n->flags_dead & FL_STATUS) != FL_STATUS && !redo_before(ir, n);
}

static uint32_t node_cost(const struct ir *ir, const struct node *n)
{
    const struct insn *in = &ir->insns[n->insn];
    bool loads = in->kind == IK_RET || in->mem_read;
    switch ((enum node_op)n->op) {
    case N_INSN: return insn_cost(n->in);
    case N_EXIT_LOOP: return ISSUE + LOOP_OP;
    case N_PUSH_CONST: return ISSUE + (n->stands ? 0u : ACCESS);
    case N_GUARD:
        return 2 * ISSUE + (loads ? ACCESS : 0u) + (guard_keeps_flags(ir, n) ? GUARD_FLAGS : 0u) +
               (in->kind == IK_CALL_IND ? ISSUE + (n->stands ? 0u : ACCESS) : 0u);
    case N_LOOKUP: return insn_cost(in) + LOOKUP;
    case N_BACK:
    case N_BACK_IF:
    case N_EXIT: return ISSUE + TAKEN;
    case N_HAMMOCK: return ir->hammocks[n->hammock].count * ISSUE + (ir->hammocks[n->hammock].commit ? ACCESS : 0u);
    default: return ISSUE;
    }
}

struct estimated ir_estimate(const struct ir *ir)
{
    struct estimated e = {0, 0};
    for (int i = 0; i < ir->count; i++) {
        const struct node *n = &ir->nodes[i];
        if (n->op == N_LOOP)
            e = (struct estimated){0, 0}; /* what comes before is done once */
        if (!n->appended)
            e.before += insn_cost(&ir->insns[n->insn]) + (n->taken ? TAKEN : 0u);
        if (n->op == N_HAMMOCK)
            e.before += MISSED;
        if (!n->removed)
            e.after += node_cost(ir, n);
        if (n->op == N_BACK_IF && !n->removed)
            break; /* what follows is not on the path */
    }
    struct estimated chain = ir_estimate_chain(ir);
    e.before = e.before > chain.before ? e.before : chain.before;
    e.after = e.after > chain.after ? e.after : chain.after;
    return e;
}
