/* What a loop computes anew from registers that it does not write comes from a register that the program does not use there.
 *
 *   movsxd rdx, edi; mov rax, rdx; shl rax, 4; sub rax, rdx        ->        mov rax, R        with R = edi * 15 since N_LOOP
 *
 * Several instructions in a row become one: until it is done, the program is at the first of them. What only they have used
 * in between is dead behind them. */
#include "optimizer/invariant.h"

#include "optimizer/encode.h"
#include "optimizer/liveness.h"
#include "optimizer/passes.h"

#define LONGEST 500 /* nodes of a loop */
#define LEAST_SAVED 2 /* instructions, for a register that each way out restores */
#define MULTIPLIES 2 /* cycles beyond one */

/* Can be left out together with what follows it. */
static bool may_join(const struct ir *ir, const struct node *n, const struct invariant_walk *w)
{
    const struct insn *in = n->in;
    if (n->op != N_INSN || n->removed || n->part != PART_WHOLE || !node_may_go(ir, n))
        return false;
    bool one = in->gpr_written && in->gpr_written == in->gpr_full && !(in->gpr_written & (in->gpr_written - 1));
    bool register_only = !in->mem_read && !in->mem_write && !in->stores && !in->fence && !in->xmm && !in->flags_read;
    return one && register_only && in->sp == SP_SAME && w->now[__builtin_ctz(in->gpr_written)].from != R_NONE;
}

static bool fits(const struct ir_invariant *v)
{
    return v->by == (int32_t)v->by && v->plus == (int32_t)v->plus && v->then_by == (int32_t)v->then_by &&
           v->then_plus == (int32_t)v->then_plus;
}

/* Registers that neither the program nor the fragment uses. */
static uint16_t unused(const struct ir *ir)
{
    unsigned used = (ir->borrowed & REGS_GENERAL) | 1u << R_RSP;
    for (int i = 0; i < ir->count; i++) {
        const struct node *n = &ir->nodes[i];
        const struct insn *was = &ir->insns[n->insn];
        used |= was->gpr_read | was->gpr_written;
        if (n->op == N_INSN && n->in)
            used |= n->in->gpr_read | n->in->gpr_written;
        if (n->op == N_GUARD)
            used |= 1u << R_RCX | 1u << R_RDX; /* those that a lookup uses */
    }
    for (int i = 0; i < ir->slot_count; i++)
        used |= ir->slots[i].base < R_NONE ? 1u << ir->slots[i].base : 0;
    return (uint16_t)(~used & REGS_GENERAL);
}

static bool same_value(const struct ir_invariant *a, const struct ir_invariant *b)
{
    return a->from == b->from && a->extend == b->extend && a->by == b->by && a->plus == b->plus && a->then_by == b->then_by &&
           a->then_plus == b->then_plus;
}

/* The register that holds v from N_LOOP on, or may; R_NONE: there is none. */
static unsigned register_for(const struct ir *ir, const struct ir_invariant *v, uint16_t free)
{
    for (int i = 0; i < ir->invariant_count; i++)
        if (same_value(&ir->invariants[i], v))
            return ir->invariants[i].reg;
    return free && ir->invariant_count < IR_INVARIANTS ? (unsigned)__builtin_ctz(free) : R_NONE;
}

static bool is_multiplication(const struct insn *in)
{
    unsigned at = (in->bytes[0] & 0xf0) == 0x40;
    return in->act == ACT_OTHER && (in->bytes[at] == 0x69 || in->bytes[at] == 0x6b);
}

/* The first of the nodes up to `last` that can become one, and what that saves. `joins`: for each node, may_join. */
static int first_of(const struct ir *ir, int loop, int last, const bool *joins, int *saved)
{
    const struct node *end = &ir->nodes[last];
    uint16_t to = end->in->gpr_written;
    int first = last, i = last;
    *saved = is_multiplication(end->in) ? MULTIPLIES : 0;
    while (i - 1 > loop) {
        const struct node *n = &ir->nodes[i - 1];
        const struct insn *was = &ir->insns[n->insn];
        bool gone = n->removed && n->op == N_INSN;
        if (!gone && !(joins[i - 1 - loop] && !(n->in->gpr_written & ~to & ~end->gpr_dead) &&
                       !((n->in->flags_written | was->flags_written) & ~end->flags_dead)))
            break;
        i--;
        if (gone)
            continue; /* what is gone for good, or a part of the next */
        first = i;
        *saved += 1 + (is_multiplication(n->in) ? MULTIPLIES : 0);
    }
    return first;
}

static bool replace(struct ir *ir, int first, int last, const struct ir_invariant *v, uint16_t *free)
{
    struct node *n = &ir->nodes[last];
    unsigned reg = register_for(ir, v, *free);
    int made = ir->made_count;
    int parts = last - first + ir->nodes[first].fused;
    const struct insn *in = reg == R_NONE || parts > UINT8_MAX ? NULL : encode_copy(ir, n->in, (unsigned)__builtin_ctz(n->in->gpr_written), reg);
    if (!in || !ir_change(ir, PASS_invariant, n, "invariant: the same in each iteration")) {
        ir->made_count = made;
        return false;
    }
    if (*free >> reg & 1) {
        *free &= (uint16_t)~(1u << reg);
        ir->borrowed |= 1u << reg;
        ir->invariants[ir->invariant_count] = *v;
        ir->invariants[ir->invariant_count++].reg = (uint8_t)reg;
    }
    n->in = in;
    n->fused = (uint8_t)parts;
    for (int i = first; i < last; i++) {
        if (!ir->nodes[i].removed)
            ir->nodes[i].why = "invariant: what it is for is the same in each iteration";
        ir->nodes[i].removed = true;
        ir->nodes[i].fused = 0;
    }
    return true;
}

rc_t pass_invariant(struct ir *ir)
{
    struct ir_invariant value[LONGEST];
    bool joins[LONGEST];
    struct invariant_walk w;
    int loop = 0;
    while (loop < ir->count && ir->nodes[loop].op != N_LOOP)
        loop++;
    if (loop == ir->count || ir->count - loop > LONGEST || !invariant_start(&w, ir, loop))
        return RC_OK;
    liveness_compute(ir);
    if (FL_STATUS & ~ir->nodes[loop].flags_dead)
        return RC_OK;
    for (int i = loop + 1; i < ir->count; i++) {
        const struct node *n = &ir->nodes[i];
        invariant_step(&w, n);
        joins[i - loop] = may_join(ir, n, &w);
        if (joins[i - loop])
            value[i - loop] = w.now[__builtin_ctz(n->in->gpr_written)];
    }
    uint16_t free = unused(ir);
    for (int i = ir->count - 1; i > loop; i--) {
        int saved;
        if (!joins[i - loop] || !fits(&value[i - loop]) || (ir->insns[ir->nodes[i].insn].flags_written | ir->nodes[i].in->flags_written) & ~ir->nodes[i].flags_dead)
            continue;
        int first = first_of(ir, loop, i, joins, &saved);
        if (saved >= LEAST_SAVED && replace(ir, first, i, &value[i - loop], &free))
            i = first;
    }
    return RC_OK;
}
