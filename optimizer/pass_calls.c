/* Matched returns.
 *
 * Walks the path with rsp and rbp as offsets from rsp at the head. A call on the path opens a slot at
 * rsp - 8; a return whose rsp is exactly at an open slot that nothing rsp- or rbp-based may have written
 * since returns to the call's own return address, so it needs no guard. */
#include "optimizer/passes.h"

#define MAX_DEPTH 32

struct slot {
    int64_t at; /* offset of the return address */
    uint64_t value; /* the return address */
    bool intact;
};

struct walk {
    bool sp_known, bp_known;
    int64_t sp, bp;
    int depth;
    struct slot slots[MAX_DEPTH];
};

static void spoil(struct walk *w, int64_t from, int64_t bytes)
{
    for (int i = 0; i < w->depth; i++)
        if (from < w->slots[i].at + 8 && from + bytes > w->slots[i].at)
            w->slots[i].intact = false;
}

static void spoil_all(struct walk *w)
{
    for (int i = 0; i < w->depth; i++)
        w->slots[i].intact = false;
}

static void walk_store(struct walk *w, const struct insn *in)
{
    if (!in->mem_write)
        return;
    bool by_sp = in->mem_base == R_RSP, by_bp = in->mem_base == R_RBP;
    if (in->mem_index == R_RSP || in->mem_index == R_RBP) {
        spoil_all(w);
        return;
    }
    if (!by_sp && !by_bp)
        return;
    if (by_bp && !w->bp_known && !w->sp_known)
        spoil_all(w);
    /* rbp holds a frame pointer only if this path saw it made; otherwise it is an ordinary pointer, but one
     * that may still point at a caller's frame or, in the caller's own code, at this one. */
    bool known = (by_sp ? w->sp_known : w->bp_known) && in->mem_index == R_NONE && in->mem_bytes && in->sp == SP_SAME;
    if (!known) {
        spoil_all(w);
        return;
    }
    spoil(w, (by_sp ? w->sp : w->bp) + in->mem_disp, in->mem_bytes);
}

static void walk_registers(struct walk *w, const struct insn *in)
{
    if (in->bp_from_sp) {
        w->bp_known = w->sp_known;
        w->bp = w->sp + in->bp_delta;
    }
    switch ((enum sp_effect)in->sp) {
    case SP_SAME: break;
    case SP_ADD:
        w->sp += in->sp_delta;
        if (in->pushes && w->sp_known)
            spoil(w, w->sp, -(int64_t)in->sp_delta);
        break;
    case SP_FROM_RBP:
        w->sp_known = w->bp_known;
        w->sp = w->bp + in->sp_delta;
        break;
    case SP_OTHER: w->sp_known = false; break;
    }
    if (in->writes_bp)
        w->bp_known = false;
    if (in->pushes && !w->sp_known)
        spoil_all(w);
}

static void walk_call(struct walk *w, uint64_t return_address)
{
    w->sp -= 8;
    if (!w->sp_known) {
        spoil_all(w);
        return;
    }
    spoil(w, w->sp, 8);
    if (w->depth == MAX_DEPTH) {
        for (int i = 1; i < MAX_DEPTH; i++)
            w->slots[i - 1] = w->slots[i];
        w->depth--;
    }
    w->slots[w->depth++] = (struct slot){w->sp, return_address, true};
}

static void walk_return(struct ir *ir, struct walk *w, struct node *n, const struct insn *in)
{
    if (!w->sp_known)
        return;
    while (w->depth && w->slots[w->depth - 1].at < w->sp)
        w->depth--; /* frames that were dropped without a return */
    const struct slot *s = w->depth ? &w->slots[w->depth - 1] : NULL;
    w->sp += 8 + in->imm;
    if (!s || s->at != w->sp - 8 - in->imm)
        return;
    w->depth--;
    if (!s->intact || s->value != n->went || !ir_change(ir, PASS_calls, n, "calls: return slot known"))
        return;
    n->op = N_ADD_SP;
    n->value = 8u + in->imm;
}

rc_t pass_calls(struct ir *ir)
{
    struct walk w = {.sp_known = true};
    for (int i = 0; i < ir->count; i++) {
        struct node *n = &ir->nodes[i];
        const struct insn *in = &ir->insns[n->insn];
        if (in->kind == IK_CALL || in->kind == IK_CALL_IND) {
            walk_call(&w, in->pc.v + in->len);
        } else if (in->kind == IK_RET) {
            walk_return(ir, &w, n, in);
        } else {
            walk_store(&w, in);
            walk_registers(&w, in);
        }
    }
    return RC_OK;
}
