#include "optimizer/passes.h"

#define LEAST_RUNS 8u /* of the branch: fewer say nothing */
#define LEAST_TIMES 2u
#define LEAST_SHARE 4u /* a target is frequent when it has this part of the runs that go elsewhere than expected */

/* The branch is passed several times and goes elsewhere each time, as an interpreter's one dispatch does: how often it goes
 * where in all says nothing of where it goes from here. */
static bool goes_elsewhere(const struct ir *ir, const struct node *n)
{
    for (int i = 0; i < ir->count; i++) {
        const struct node *other = &ir->nodes[i];
        if (!other->appended && other->went != n->went && app_pc_eq(ir->insns[other->insn].pc, ir->insns[n->insn].pc))
            return true;
    }
    return false;
}

static bool may_have_chain(const struct ir *ir, const struct node *n)
{
    if (n->removed || n->chain || n->op != N_GUARD || ir->chain_count == IR_CHAINS)
        return false;
    /* A call that does not go where it is expected to is left to the program's own call, which the return is predicted by. */
    bool call = ir->insns[n->insn].kind == IK_CALL_IND;
    return !(call && ir->native) && !goes_elsewhere(ir, n);
}

static struct ir_chain chain_of(const struct node *n, const struct branch_targets *t)
{
    struct ir_chain c = {.count = 0};
    uint32_t others = t->runs;
    for (int i = 0; i < TARGETS_KEPT; i++)
        others -= t->target[i] == n->target ? t->count[i] : 0;
    for (int i = 0; i < TARGETS_KEPT && c.count < CHAIN_TARGETS; i++) {
        bool frequent = t->count[i] >= LEAST_TIMES && t->count[i] >= others / LEAST_SHARE;
        if (frequent && t->target[i] != n->target)
            c.target[c.count++] = t->target[i];
    }
    return c;
}

rc_t pass_chain(struct ir *ir)
{
    for (int i = 0; i < ir->count && ir->targets_of; i++) {
        struct node *n = &ir->nodes[i];
        if (!may_have_chain(ir, n))
            continue;
        const struct insn *in = &ir->insns[n->insn];
        const struct branch_targets *t = ir->targets_of(app_pc(in->pc.v + in->len));
        if (!t || t->runs < LEAST_RUNS)
            continue;
        struct ir_chain c = chain_of(n, t);
        if (!c.count || !ir_change(ir, PASS_chain, n, "chain: other targets"))
            continue;
        ir->chains[ir->chain_count++] = c;
        n->chain = (uint8_t)ir->chain_count;
    }
    return RC_OK;
}
