/* If-conversion.
 *
 *      branch, leaves to B when cc                     hammock: what A and B compute, by moves and conditional moves
 *      A...            B...                            C...
 *      C... (joined)   goes to C, or does what C does
 *
 * A lies on the path, B is read from the program's text. They meet where B gets to an instruction of the path, or where both
 * go on with the same instructions up to a branch that leads to the same two places (a loop's test, once on each side). A
 * The program is then seen on the path's copy of those, whichever way it came. A
 * and B may be empty, or move, add, shift and store general registers (convert_side.c); flags that they write must be dead
 * where they meet. Loads are of what the path has accessed before the branch. In a loop registers that nothing in it uses are
 * borrowed, where those of the program do not suffice (borrow.c). */
#include "optimizer/borrow.h"
#include "optimizer/convert.h"
#include "optimizer/encode.h"
#include "optimizer/liveness.h"
#include "optimizer/passes.h"
#include "runtime/base/mem.h"

#define SIDE_INSNS 8
#define PEEK_BYTES 64

struct found {
    struct ir *ir;
    int branch, join, shared; /* nodes */
    struct insn *other; /* in the room for made instructions */
    int other_count;
};

/* The first node after the branch that stands for pc; before a node that cannot be on a side. */
static int node_at(const struct found *h, uint64_t pc)
{
    const struct ir *ir = h->ir;
    for (int i = h->branch + 1; i < ir->count && i <= h->branch + SIDE_INSNS + 1; i++) {
        const struct node *n = &ir->nodes[i];
        if (n->op == N_BACK)
            return pc == ir->tag.v ? i : -1;
        if (n->appended)
            return -1;
        if (ir->insns[n->insn].pc.v == pc)
            return i;
        if (!n->removed && n->op != N_INSN)
            return -1;
    }
    return -1;
}

/* Where a direct jump at pc leads. */
static uint64_t past_jumps(const struct ir *ir, uint64_t pc)
{
    uint8_t text[INSN_MAX_BYTES];
    struct insn in;
    for (int i = 0; i < 2; i++) {
        decode_one(text, ir->peek(app_pc(pc), text, sizeof text), app_pc(pc), &in);
        if (in.kind != IK_JMP)
            break;
        pc = in.target;
    }
    return pc;
}

/* The branch `in` goes where node i, which ends a side, goes. */
static bool same_ways(const struct found *h, int i, const struct insn *in)
{
    const struct ir *ir = h->ir;
    const struct node *n = &ir->nodes[i];
    bool back = n->op == N_BACK_IF;
    uint64_t leaves = back ? ir->tag.v : n->target; /* when n->cc */
    uint64_t stays = back ? n[1].target : n->went;
    uint64_t fall = in->pc.v + in->len;
    if (in->cc != n->cc && in->cc != (n->cc ^ 1))
        return false;
    bool same = in->cc == n->cc;
    uint64_t when = past_jumps(ir, same ? in->target : fall), else_ = past_jumps(ir, same ? fall : in->target);
    return when == past_jumps(ir, leaves) && else_ == past_jumps(ir, stays);
}

/* A copy of one that cannot fault: the program would be seen at the wrong one. */
static bool same_insn(const struct insn *a, const struct insn *b)
{
    bool memory = a->mem_read || a->mem_write || a->mem_implied || a->stores || a->rip_relative;
    return a->kind == IK_PLAIN && a->act != ACT_OTHER && !memory && a->len == b->len &&
           mem_compare(a->bytes, b->bytes, a->len) == 0;
}

/* The other side ends in a branch of its own, `in`. They meet before what both have in common up to it. */
static bool join_at_branch(struct found *h, const struct insn *in)
{
    const struct ir *ir = h->ir;
    int end = h->branch + 1;
    while (end < ir->count && (ir->nodes[end].removed || ir->nodes[end].op == N_INSN))
        end++;
    if (end == ir->count || (ir->nodes[end].op != N_EXIT_IF && ir->nodes[end].op != N_BACK_IF) ||
        !same_ways(h, end, in))
        return false;
    int i = end;
    while (h->other_count && i > h->branch + 1) {
        const struct node *n = &ir->nodes[i - 1];
        if (!n->removed && !same_insn(&ir->insns[n->insn], &h->other[h->other_count - 1]))
            break;
        h->other_count -= !n->removed;
        i--;
    }
    h->join = i;
    h->shared = end + 1 - i;
    return i < end; /* the flags, too, are made on both sides */
}

/* Reads the other side up to where it meets the path. */
static bool find_join(struct found *h)
{
    struct ir *ir = h->ir;
    uint64_t pc = ir->nodes[h->branch].target;
    uint8_t text[PEEK_BYTES];
    size_t have = 0, at = 0;
    h->other = &ir->made[ir->made_count];
    h->other_count = 0;
    for (int i = 0; i < 2 * SIDE_INSNS; i++) {
        h->join = node_at(h, pc);
        if (h->join > 0)
            return true;
        if (h->other_count == SIDE_INSNS || ir->made_count + h->other_count >= ir->made_cap)
            return false;
        if (at + INSN_MAX_BYTES > have) {
            have = ir->peek(app_pc(pc), text, sizeof text);
            at = 0;
        }
        struct insn *in = &h->other[h->other_count];
        decode_one(text + at, have - at, app_pc(pc), in);
        if (in->kind == IK_JCC)
            return join_at_branch(h, in);
        if (in->kind != IK_JMP && in->kind != IK_PLAIN)
            return false;
        at += in->len;
        pc += in->len;
        if (in->kind == IK_JMP) {
            pc = in->target;
            have = at = 0;
        } else {
            h->other_count++;
        }
    }
    return false;
}

/* What both sides compute, and the steps for it. The nodes are a hammock already, as far as liveness is concerned. */
static bool find_steps(struct found *h, struct values *at_branch, struct hammock *sel, unsigned cc)
{
    struct ir *ir = h->ir;
    struct side go, leave;
    if (borrow_used(h->other, h->other_count) & ir->wanted)
        return false;
    liveness_compute(ir);
    struct live_set after = liveness_before(ir, &ir->nodes[h->join]);
    uint16_t free = (uint16_t) ~(after.gpr | ir->nodes[h->branch].original.gpr | 1u << R_RSP);
    sel->spare = (uint16_t)~(after.gpr | 1u << R_RSP);
    sel->scratch = free;
    struct prelude before = {.sel = sel, .ir = ir, .borrowed = borrow_unused(ir, h->other, h->other_count)};
    before.free = free | before.borrowed;
    side_start(&go, &before);
    side_start(&leave, &before);
    for (int i = h->branch + 1; i < h->join; i++) {
        const struct insn *in = &ir->insns[ir->nodes[i].insn];
        if (in->kind != IK_JMP && !side_step(&go, at_branch, in))
            return false;
    }
    for (int i = 0; i < h->other_count; i++)
        if (!side_step(&leave, at_branch, &h->other[i]))
            return false;
    return !(after.flags & (go.flags_written | leave.flags_written)) && convert_steps(sel, &go, &leave, cc, after.gpr);
}

static uint16_t written(const struct hammock *s)
{
    unsigned writes = 0;
    for (int i = 0; i < s->count; i++)
        writes |= s->step[i].kind == HAMMOCK_STORE ? 0u : 1u << s->step[i].reg;
    return (uint16_t)writes;
}

static void convert(struct ir *ir, int branch, struct values *at_branch)
{
    struct found h = {.ir = ir, .branch = branch};
    struct node *n = &ir->nodes[branch], kept[SIDE_INSNS + 2];
    if (ir->hammock_count == IR_HAMMOCKS || !find_join(&h) || h.join - branch > SIDE_INSNS + 1)
        return;
    struct hammock *sel = &ir->hammocks[ir->hammock_count];
    *sel = (struct hammock){.nodes = h.join - branch, .shared = h.shared, .other_at = (uint16_t)ir->made_count,
                           .other_count = (uint16_t)h.other_count};
    for (int i = 0; i < sel->nodes; i++) {
        kept[i] = n[i];
        n[i].removed = i > 0;
    }
    n->op = N_HAMMOCK;
    n->hammock = (uint8_t)ir->hammock_count;
    n->at_exit = (struct live_set){0, 0};
    n->exit_known = true;
    if (find_steps(&h, at_branch, sel, kept[0].cc) && ir_change(ir, PASS_convert, n, "convert: both sides at once")) {
        for (int i = 1; i < sel->nodes; i++)
            n[i].why = n[i].op == N_INSN ? "convert: in the hammock" : n[i].why;
        ir->hammock_count++;
        ir->made_count += h.other_count;
        ir->wanted |= written(sel) & borrow_unused(ir, NULL, 0);
        return;
    }
    for (int i = 0; i < sel->nodes; i++)
        n[i] = kept[i];
}

rc_t pass_convert(struct ir *ir)
{
    struct values s;
    if (!ir->peek || !ir->made)
        return RC_OK;
    liveness_compute(ir);
    values_start(&s, ir);
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        if (n->op == N_EXIT_IF && !n->removed && ir->insns[n->insn].kind == IK_JCC)
            convert(ir, i, &s);
        values_step(&s, n);
    }
    return RC_OK;
}
