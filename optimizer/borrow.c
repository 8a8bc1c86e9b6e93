#include "optimizer/borrow.h"

uint16_t borrow_used(const struct insn *in, int count)
{
    unsigned used = 0;
    for (int i = 0; i < count; i++)
        used |= in[i].gpr_read | in[i].gpr_written;
    return (uint16_t)used;
}

uint16_t borrow_unused(const struct ir *ir, const struct insn *more, int count)
{
    unsigned used = 1u << R_RSP | borrow_used(more, count);
    if (!ir->alone || !ir_closes(ir))
        return 0;
    for (int i = 0; i < ir->count; i++) {
        const struct node *n = &ir->nodes[i];
        used |= borrow_used(&ir->insns[n->insn], 1);
        if (n->op == N_INSN && n->in)
            used |= borrow_used(n->in, 1);
        if (n->op == N_GUARD)
            used |= 1u << R_RCX | 1u << R_RDX; /* those that a lookup uses */
    }
    for (int i = 0; i < ir->hammock_count; i++)
        used |= borrow_used(&ir->made[ir->hammocks[i].other_at], ir->hammocks[i].other_count);
    return (uint16_t)(REGS_GENERAL & ~used);
}

static rc_t insert_first(struct ir *ir, enum node_op op, const char *why)
{
    int first = ir->nodes[0].insn;
    TRY(ir_append(ir, (struct node){.op = N_EXIT}));
    for (int i = ir->count - 1; i > 0; i--)
        ir->nodes[i] = ir->nodes[i - 1];
    ir->nodes[0] = (struct node){.op = (uint8_t)op, .insn = first, .appended = true, .in = &ir->insns[first], .why = why};
    return RC_OK;
}

rc_t borrow_wanted(struct ir *ir)
{
    bool loop = false;
    if (!ir->wanted || (ir->borrowed && ir->nodes[0].op == N_BORROW))
        return RC_OK;
    for (int i = 0; i < ir->count; i++)
        loop |= ir->nodes[i].op == N_LOOP;
    ir->borrowed |= ir->wanted;
    if (!loop)
        TRY(insert_first(ir, N_LOOP, "convert: the loop"));
    return insert_first(ir, N_BORROW, "convert: registers borrowed");
}
