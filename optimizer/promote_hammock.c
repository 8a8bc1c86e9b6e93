/* Slots that hammocks load or store. A hammock has its loads and its store while the program is at its branch: so the slots'
 * registers, which are no concern of the program, are changed there, too. */
#include "optimizer/promote.h"

static const struct hammock *hammock_of(const struct promotion *p, int node)
{
    return &p->ir->hammocks[p->ir->nodes[node].hammock];
}

bool promote_step_place(const struct promotion *p, const struct values *s, const struct access *a, struct place *at)
{
    const struct hammock *h = hammock_of(p, a->node);
    const struct hammock_step *t = &h->step[a->step];
    struct insn in = {.mem_base = t->sum.base, .mem_index = t->sum.index, .mem_scale = t->sum.scale,
                      .mem_disp = t->sum.disp, .mem_bytes = t->bytes};
    for (int i = 0; i < a->step; i++)
        if (h->step[i].kind != HAMMOCK_STORE && asm_sum_reads(t->sum) >> h->step[i].reg & 1)
            return false; /* not as at the branch */
    return values_place(s, &in, at);
}

bool promote_note_hammock(struct promotion *p, const struct values *s, const struct values *start, int node)
{
    const struct hammock *h = hammock_of(p, node);
    for (int i = 0; i < h->count; i++) {
        struct access a = {.node = node, .step = i, .slot = NO_SLOT};
        unsigned kind = h->step[i].kind;
        if (kind != HAMMOCK_LOAD && kind != HAMMOCK_STORE)
            continue;
        a.kind = kind == HAMMOCK_STORE ? ACCESS_STORE : ACCESS_LOAD;
        if (!promote_step_place(p, s, &a, &a.at)) {
            if (kind == HAMMOCK_STORE)
                return false;
            continue;
        }
        a.root = promote_root_of(start, &a.at);
        if ((kind == HAMMOCK_STORE || a.root != R_RIP) && !promote_add_access(p, &a))
            return false;
    }
    return true;
}

bool promote_step_fits(const struct promotion *p, const struct access *a, const struct found *f)
{
    const struct hammock *h = hammock_of(p, a->node);
    return !f->vector && a->at.bytes == f->bytes && h->count < HAMMOCK_STEPS;
}

/* to = the slot's `bytes`, which are in the low bytes of `from`. */
static struct hammock_step move(unsigned to, unsigned from, unsigned bytes)
{
    struct hammock_step t = {.kind = bytes < 4 ? HAMMOCK_EXTEND : HAMMOCK_SET, .reg = (uint8_t)to, .bytes = (uint8_t)bytes};
    t.sum = (struct asm_sum){(uint8_t)from, R_NONE, 1, bytes <= 4, 0};
    return t;
}

rc_t promote_add_hammock(struct promotion *p, const struct node *n, int node, int first)
{
    struct ir *ir = p->ir;
    struct node with = *n;
    if (ir->hammock_count == IR_HAMMOCKS)
        return RC_TOO_LONG;
    const struct hammock *was = hammock_of(p, node);
    struct hammock *h = &ir->hammocks[ir->hammock_count];
    *h = *was;
    h->count = 0;
    for (int i = 0; i < was->count; i++) {
        const struct hammock_step *t = &was->step[i];
        unsigned reg = R_NONE;
        for (int k = first; k < p->access_count && p->access[k].node == node; k++)
            if (p->access[k].step == i)
                reg = promote_register(p, &p->access[k]);
        if (h->count + 2 > HAMMOCK_STEPS)
            return RC_TOO_LONG;
        if (reg == R_NONE || t->kind == HAMMOCK_STORE) {
            if (reg != R_NONE)
                h->step[h->count++] = move(reg, t->reg, t->bytes);
            h->step[h->count++] = *t;
        } else {
            h->step[h->count++] = move(t->reg, reg, t->bytes);
        }
        if (i + 1 == was->commit)
            h->commit = h->count;
    }
    with.hammock = (uint8_t)ir->hammock_count++;
    with.why = "promote: the slots' registers, too";
    return ir_append(ir, with);
}
