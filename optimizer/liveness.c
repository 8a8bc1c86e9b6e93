#include "optimizer/liveness.h"

static const struct live_set everything = {0xffff, LIVE_FLAGS};

uint16_t liveness_cc_reads(unsigned cc)
{
    static const uint16_t reads[] = {
        FL_OF, FL_CF, FL_ZF, FL_CF | FL_ZF, FL_SF, FL_PF, FL_SF | FL_OF, FL_ZF | FL_SF | FL_OF,
    };
    return reads[cc >> 1 & 7];
}

static struct live_set join(struct live_set a, struct live_set b)
{
    return (struct live_set){a.gpr | b.gpr, a.flags | b.flags};
}

static bool same(struct live_set a, struct live_set b) { return a.gpr == b.gpr && a.flags == b.flags; }

uint16_t liveness_gpr_read(const struct insn *in)
{
    bool zeroes = (in->act == ACT_XOR || in->act == ACT_SUB) && in->dst.kind == OPERAND_GPR &&
                  in->src.kind == OPERAND_GPR && in->dst.reg == in->src.reg && in->dst.bytes >= 4;
    return zeroes ? 0 : in->gpr_read;
}

/* Before an instruction, from what is live after it. */
static struct live_set before_insn(const struct insn *in, struct live_set after)
{
    after.gpr = (uint16_t)((after.gpr & ~in->gpr_full) | liveness_gpr_read(in));
    after.flags = (uint16_t)((after.flags & ~in->flags_killed) | in->flags_read);
    return after;
}

bool liveness_abi_border(const struct insn *in)
{
    return in->kind == IK_CALL_IND || (in->kind == IK_JMP_IND && in->rip_relative);
}

static bool leaves_directly(const struct node *n)
{
    return n->op == N_EXIT_IF || n->op == N_EXIT_LOOP || n->op == N_EXIT;
}

/* Bodies of an unrolled loop leave to the same places. */
static struct live_set live_at(const struct ir *ir, const struct node *n)
{
    for (const struct node *other = ir->nodes; other < n; other++)
        if (leaves_directly(other) && other->exit_known && other->target == n->target)
            return other->at_exit;
    return liveness_at_exit(ir, n->target);
}

static void find_exits(struct ir *ir)
{
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->exit_known)
            continue;
        n->at_exit = (struct live_set){0, 0};
        switch ((enum node_op)n->op) {
        case N_EXIT_IF:
        case N_EXIT_LOOP:
        case N_EXIT: n->at_exit = live_at(ir, n); break;
        case N_GUARD:
        case N_LOOKUP:
            n->at_exit = (struct live_set){UINT16_MAX, LIVE_FLAGS};
            if (liveness_abi_border(&ir->insns[n->insn])) {
                n->at_exit.gpr = (uint16_t)~ir->indirect_gpr_dead;
                n->at_exit.flags = (uint16_t)(LIVE_FLAGS & ~(ir->indirect_flags_dead & FL_STATUS));
            }
            break;
        default: break;
        }
        n->exit_known = true;
    }
}

/* Where n, a hammock, begins, on the side that was not recorded. */
static struct live_set before_other(const struct ir *ir, const struct node *n)
{
    const struct hammock *s = &ir->hammocks[n->hammock];
    struct live_set live = n[s->nodes].original;
    for (int i = s->other_count; i-- > 0;)
        live = before_insn(&ir->made[s->other_at + i], live);
    return live;
}

/* Before n in the original program. */
static struct live_set before_original(const struct ir *ir, const struct node *n, struct live_set after,
                                       struct live_set head)
{
    if (n->op == N_HAMMOCK)
        after = join(after, before_other(ir, n));
    if (!n->removed)
        after = join(after, n->at_exit);
    if (n->op == N_BACK || n->op == N_BACK_IF)
        after = join(after, head);
    return n->appended ? after : before_insn(&ir->insns[n->insn], after);
}

static struct live_set before_hammock(const struct hammock *s, struct live_set after)
{
    for (int i = s->count; i-- > 0;) {
        const struct hammock_step *t = &s->step[i];
        if (hammock_writes(t->kind))
            after.gpr &= (uint16_t)~(1u << t->reg);
        else
            after.gpr |= (uint16_t)(1u << t->reg);
        if (t->kind == HAMMOCK_CMOV)
            after.flags |= liveness_cc_reads(t->cc);
        after.gpr |= asm_sum_reads(t->sum);
    }
    return after;
}

static uint16_t check_reads(const struct ir_check *c)
{
    unsigned mask = 1u << c->base | 1u << c->index | 1u << c->near;
    return (uint16_t)mask;
}

static uint16_t slot_bases(const struct ir *ir)
{
    unsigned mask = 0;
    for (int i = 0; i < ir->slot_count; i++)
        mask |= 1u << ir->slots[i].base;
    for (int i = 0; i < ir->invariant_count; i++)
        mask |= 1u << ir->invariants[i].from;
    return (uint16_t)mask;
}

/* Before n as it is now, not counting the original program. */
static struct live_set before_node(const struct ir *ir, const struct node *n, struct live_set after)
{
    const struct insn *in = &ir->insns[n->insn];
    switch ((enum node_op)n->op) {
    case N_INSN: return before_insn(n->in ? n->in : in, after);
    case N_EXIT_IF:
    case N_BACK_IF: after.flags |= liveness_cc_reads(n->cc); break;
    case N_HAMMOCK: return before_hammock(&ir->hammocks[n->hammock], after);
    case N_PUSH_CONST:
    case N_ADD_SP: after.gpr |= 1u << R_RSP; break;
    case N_EXIT_LOOP:
    case N_GUARD:
    case N_LOOKUP:
        after.gpr |= in->gpr_read;
        after.flags |= in->flags_read;
        break;
    case N_BRANCH: return everything;
    case N_BACK:
    case N_EXIT: break;
    case N_CHECK: /* what matters where it leaves to is what matters to the original here */
        after.flags &= (uint16_t)~FL_STATUS;
        after.gpr |= check_reads(&ir->checks[n->value]);
        break;
    case N_LOOP:
        after.gpr |= slot_bases(ir);
        if (ir->invariant_count)
            after.flags &= (uint16_t)~FL_STATUS;
        break;
    case N_BORROW: after.gpr |= (uint16_t)(ir->borrowed & REGS_GENERAL); break;
    }
    return after;
}

/* What the original program reads on from where it is before n: a fused node's at the first of its parts. */
static struct live_set seen_before(const struct node *n) { return n[-n->fused].original; }

static bool is_end(const struct node *n) { return !n->removed && node_ends_trace(n); }

/* One walk from the end to the head, given what is live where the back edge leads; what is live there. */
static struct live_set walk_original(struct ir *ir, struct live_set head)
{
    struct live_set live = everything, loop = {0, 0};
    bool has_loop = false;
    for (int i = ir->count - 1; i >= 0; i--) {
        struct node *n = &ir->nodes[i];
        if (is_end(n))
            live = (struct live_set){0, 0};
        if (n->op == N_LOOP) {
            loop = live;
            has_loop = true;
        }
        live = before_original(ir, n, live, head);
        n->original = live;
    }
    return has_loop ? loop : live;
}

static struct live_set walk_nodes(struct ir *ir, struct live_set head)
{
    struct live_set live = everything, loop = {0, 0};
    bool has_loop = false;
    for (int i = ir->count - 1; i >= 0; i--) {
        struct node *n = &ir->nodes[i];
        if (is_end(n))
            live = (struct live_set){0, 0};
        if (n->op == N_LOOP) {
            loop = live;
            has_loop = true;
        }
        if (!n->removed) {
            live = join(live, n->at_exit);
            if (n->op == N_BACK || n->op == N_BACK_IF)
                live = join(live, head);
        }
        n->gpr_dead = (uint16_t)~live.gpr;
        n->flags_dead = (uint16_t)(LIVE_FLAGS & ~live.flags);
        if (!n->removed)
            live = join(before_node(ir, n, live), seen_before(n));
        n->flags_dead_before = (uint16_t)(LIVE_FLAGS & ~live.flags);
    }
    return has_loop ? loop : live;
}

struct live_set liveness_before(const struct ir *ir, const struct node *n)
{
    struct live_set after = {(uint16_t)~n->gpr_dead, (uint16_t)(LIVE_FLAGS & ~n->flags_dead)};
    return n->removed ? after : join(before_node(ir, n, after), seen_before(n));
}

/* From nothing upwards: the sets only grow, so this ends. */
static struct live_set fixpoint(struct ir *ir, struct live_set (*walk)(struct ir *, struct live_set),
                                struct live_set head)
{
    for (;;) {
        struct live_set now = join(head, walk(ir, head));
        if (same(now, head))
            return head;
        head = now;
    }
}

void liveness_compute(struct ir *ir)
{
    find_exits(ir);
    struct live_set original = fixpoint(ir, walk_original, (struct live_set){0, 0});
    (void)fixpoint(ir, walk_nodes, original);
}
