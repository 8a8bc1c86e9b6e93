#include "optimizer/ir.h"

rc_t ir_append(struct ir *ir, struct node n)
{
    if (ir->count == ir->cap)
        return RC_TOO_LONG;
    ir->nodes[ir->count++] = n;
    return RC_OK;
}

rc_t ir_build(struct ir *ir, const struct trace *t, const struct insn *insns, int n)
{
    ir->tag = t->head;
    ir->exit = t->exit;
    ir->end = t->end;
    ir->insns = insns;
    ir->insn_count = n;
    ir->count = 0;
    int step = 0;
    for (int i = 0; i < n; i++) {
        uint64_t next = insns[i].pc.v + insns[i].len;
        struct node node = {.op = insn_ends_block(&insns[i]) ? N_BRANCH : N_INSN, .insn = i, .went = next};
        node.in = &insns[i];
        if (next == t->step[step].next.v) {
            node.went = t->step[step].went.v;
            node.taken = t->step[step].taken;
            step++;
        }
        TRY(ir_append(ir, node));
    }
    return step == t->steps ? RC_OK : RC_VERIFY;
}

static rc_t verify_node(const struct ir *ir, const struct node *n, bool laid_out, bool last)
{
    if (n->insn < 0 || n->insn >= ir->insn_count)
        return RC_VERIFY;
    if (node_ends_trace(n) != last)
        return RC_VERIFY; /* IR-1 */
    if (n->op == N_BRANCH && laid_out)
        return RC_VERIFY; /* IR-2 */
    bool wants_target = n->op == N_EXIT_IF || n->op == N_EXIT_LOOP || n->op == N_EXIT || n->op == N_GUARD;
    if (wants_target && !n->target)
        return RC_VERIFY; /* IR-3 */
    if (n->op == N_INSN && insn_ends_block(&ir->insns[n->insn]))
        return RC_VERIFY;
    if ((n->op == N_GUARD || n->op == N_LOOKUP)) {
        uint8_t kind = ir->insns[n->insn].kind;
        if (kind != IK_RET && kind != IK_JMP_IND && kind != IK_CALL_IND)
            return RC_VERIFY;
    }
    return RC_OK;
}

rc_t ir_verify(const struct ir *ir, bool laid_out)
{
    int last = -1;
    for (int i = 0; i < ir->count; i++)
        if (!ir->nodes[i].removed)
            last = i;
    if (last < 0)
        return RC_VERIFY;
    for (int i = 0; i < ir->count; i++) {
        if (ir->nodes[i].removed)
            continue;
        if (laid_out)
            TRY(verify_node(ir, &ir->nodes[i], laid_out, i == last));
    }
    return RC_OK;
}
