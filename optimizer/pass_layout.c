#include "optimizer/passes.h"

static void remove_jump(struct node *n)
{
    n->removed = true;
    n->why = "layout: jump dropped";
}

/* A conditional branch on the path: leave when it goes the other way. */
static void exit_on_other_side(struct node *n, const struct insn *in)
{
    uint64_t fall = in->pc.v + in->len;
    if (in->target == fall) { /* both ways are one */
        remove_jump(n);
        return;
    }
    n->op = N_EXIT_IF;
    n->cc = n->taken ? in->cc ^ 1 : in->cc;
    n->target = n->taken ? fall : in->target;
    n->why = n->taken ? "layout: inverted" : NULL;
}

static void layout_branch(struct node *n, const struct insn *in)
{
    switch ((enum insn_kind)in->kind) {
    case IK_JMP: remove_jump(n); break;
    case IK_JCC: exit_on_other_side(n, in); break;
    case IK_LOOP:
        n->op = N_EXIT_LOOP;
        n->exit_taken = !n->taken;
        n->target = n->taken ? in->pc.v + in->len : in->target;
        break;
    case IK_CALL:
        n->op = N_PUSH_CONST;
        n->value = in->pc.v + in->len;
        n->why = "layout: call inlined";
        break;
    case IK_RET:
    case IK_JMP_IND:
    case IK_CALL_IND:
        n->op = N_GUARD;
        n->target = n->went;
        n->why = "layout: guarded";
        break;
    default: break;
    }
}

/* The last branch of a loop: when it is a condition that leads to the head, it becomes the back edge. */
static rc_t end_loop(struct ir *ir)
{
    struct node *last = &ir->nodes[ir->count - 1];
    struct node end = {.op = N_BACK, .insn = last->insn, .appended = true, .why = "layout: loop closed"};
    if (last->op == N_EXIT_IF && !last->removed) {
        uint64_t away = last->target;
        last->op = N_BACK_IF;
        last->cc ^= 1;
        last->why = "layout: loop closed";
        end.op = N_EXIT;
        end.target = away;
    }
    return ir_append(ir, end);
}

rc_t pass_layout(struct ir *ir)
{
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->op == N_BRANCH && !n->removed)
            layout_branch(n, &ir->insns[n->insn]);
    }
    struct node *last = &ir->nodes[ir->count - 1];
    struct node end = {.op = N_EXIT, .insn = last->insn, .appended = true, .target = ir->exit.v, .why = "layout: end"};
    switch (ir->end) {
    case TRACE_LOOP: return end_loop(ir);
    case TRACE_INDIRECT:
        if (last->op != N_GUARD)
            return RC_UNSUPPORTED;
        last->op = N_LOOKUP;
        last->why = "layout: looked up";
        return RC_OK;
    case TRACE_DIRECT: return ir_append(ir, end);
    case TRACE_BEFORE:
        last->op = N_EXIT;
        last->target = ir->insns[last->insn].pc.v;
        last->why = "layout: stays native";
        return RC_OK;
    }
    return RC_UNSUPPORTED;
}
