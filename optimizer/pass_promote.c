/* Slots of a loop's memory kept in registers that the program does not use there.
 *
 *   body; back          body of the first iteration, as it was
 *                       N_BORROW; N_CHECK...; N_LOOP
 *                       body with slots: mov r, [slot] -> mov r, R;  mov [slot], r -> mov R, r; mov [slot], r
 *                       op [slot], x -> op R, x; mov [slot], R;  other stores that may reach a slot: after an N_CHECK
 *                       back to N_LOOP
 *
 * The first iteration has touched each slot before N_LOOP loads it, and makes headway where a check fails each time. */
#include "optimizer/promote.h"

#include "optimizer/borrow.h"
#include "optimizer/encode.h"
#include "optimizer/liveness.h"
#include "optimizer/passes.h"

#define LONGEST 400 /* nodes of a body */
#define MOST_VECTORS 4 /* each costs every way out more than a general register */

/* --- what the loop does to memory */

/* A store of n besides that of an explicit operand that is followed. False: it may be anywhere. */
static bool store_place(const struct values *s, const struct node *n, const struct insn *in, struct place *p)
{
    struct value sp = s->reg[R_RSP];
    int64_t bytes = 8;
    bool pushes = n->op == N_PUSH_CONST || (n->op == N_GUARD && in->kind == IK_CALL_IND);
    if (n->op == N_INSN && in->pushes && !in->mem_write && in->sp == SP_ADD && in->sp_delta < 0) {
        pushes = true;
        bytes = -(int64_t)in->sp_delta;
    }
    if (pushes) {
        *p = (struct place){.base = sp.id, .scale = 1, .bytes = (uint16_t)bytes, .off = value_moved(sp, -bytes).off};
        return true;
    }
    return in->mem_write && in->mem_bytes && !in->mem_implied && in->sp == SP_SAME && in->seg == SEG_FLAT &&
           values_place(s, in, p);
}

uint8_t promote_root_of(const struct values *start, const struct place *p)
{
    if (p->index || p->seg != SEG_FLAT)
        return R_RIP;
    if (p->base == VALUE_CONST)
        return R_NONE;
    for (unsigned r = 0; r < R_NONE; r++)
        if (start->reg[r].id == p->base)
            return (uint8_t)r;
    return R_RIP;
}

/* constant + index * scale, where the index has 32 bits or fewer: *off and how far it reaches. */
static uint64_t reach_of(const struct values *s, const struct insn *in, int64_t *off)
{
    struct value base = in->mem_base < 16 ? s->reg[in->mem_base] : value_const(0);
    struct value index = in->mem_index < 16 ? s->reg[in->mem_index] : value_const(0);
    unsigned scale = in->mem_index < 16 ? in->mem_scale : 1;
    if (!value_is_const(base)) {
        struct value other = base;
        if (scale != 1 && in->mem_index < 16)
            return 0;
        base = index;
        index = other;
        scale = 1;
    }
    if (!value_is_const(base) || value_is_const(index) || index.off || index.bits > 32)
        return 0;
    *off = (int64_t)((uint64_t)base.off + (uint64_t)(int64_t)in->mem_disp);
    return ((1ull << index.bits) - 1) * scale + in->mem_bytes;
}

bool promote_add_access(struct promotion *p, const struct access *a)
{
    if (p->access_count == MAX_ACCESSES)
        return false;
    p->access[p->access_count++] = *a;
    return true;
}

static bool note_node(struct promotion *p, const struct values *s, const struct values *start, int i)
{
    const struct node *n = &p->ir->nodes[i];
    const struct insn *in = n->op == N_INSN ? n->in : &p->ir->insns[n->insn];
    struct access a = {.node = i, .step = NO_STEP, .slot = NO_SLOT};
    bool pushes = n->op == N_PUSH_CONST || (n->op == N_GUARD && in->kind == IK_CALL_IND);
    if (n->op == N_HAMMOCK)
        return promote_note_hammock(p, s, start, i);
    if (n->op == N_INSN && in->fence)
        return false;
    if (pushes || (n->op == N_INSN && in->stores)) {
        a.kind = ACCESS_STORE;
        if (!store_place(s, n, in, &a.at))
            return false;
        if (!pushes && in->mem_read && in->mem_write)
            a.kind |= ACCESS_LOAD;
        a.root = promote_root_of(start, &a.at);
        if (!pushes && in->mem_base != R_RIP)
            a.reach = reach_of(s, in, &a.from);
        if (!promote_add_access(p, &a))
            return false;
    }
    if (n->op != N_INSN || !in->mem_read || in->mem_write || !in->mem_bytes || !values_place(s, in, &a.at))
        return true;
    a.kind = ACCESS_LOAD;
    a.root = promote_root_of(start, &a.at);
    return a.root == R_RIP || promote_add_access(p, &a);
}

/* What registers hold at the head has no more bits than it has at the end of either the first iteration or the body. */
static void look_at_bits(struct promotion *p, struct values *s)
{
    struct ir *ir = p->ir;
    values_start(s, ir);
    for (int i = 0; i < p->body; i++) {
        if (!ir->nodes[i].removed)
            promote_step(s, &ir->nodes[i]);
        for (unsigned r = 0; r < 16 && i + 1 == p->first; r++)
            p->bits[r] = s->reg[r].bits;
    }
    for (unsigned r = 0; r < 16; r++)
        p->bits[r] = p->bits[r] < s->reg[r].bits ? s->reg[r].bits : p->bits[r];
}

static uint16_t hammock_uses(const struct ir *ir, const struct hammock *h)
{
    unsigned used = borrow_used(&ir->made[h->other_at], h->other_count);
    for (int i = 0; i < h->count; i++)
        used |= 1u << h->step[i].reg | asm_sum_reads(h->step[i].sum);
    return (uint16_t)used;
}

static bool look(struct promotion *p)
{
    struct values s, start;
    struct ir *ir = p->ir;
    uint32_t used = 1u << R_RSP;
    look_at_bits(p, &s);
    promote_start(p, &s);
    start = s;
    for (int i = 0; i < p->body; i++) {
        const struct node *n = &ir->nodes[i];
        const struct insn *was = &ir->insns[n->insn];
        used |= was->gpr_read | was->gpr_written | (uint32_t)was->xmm << 16;
        if (n->removed)
            continue;
        if (n->op == N_INSN)
            used |= n->in->gpr_read | n->in->gpr_written | (uint32_t)n->in->xmm << 16;
        if (n->op == N_GUARD)
            used |= 1u << R_RCX | 1u << R_RDX; /* those that a lookup uses */
        if (!note_node(p, &s, &start, i))
            return false;
        promote_step(&s, n);
    }
    for (unsigned r = 0; r < 16; r++)
        if (value_equal(s.reg[r], start.reg[r]))
            p->steady |= (uint16_t)(1u << r);
    for (int i = 0; i < ir->hammock_count; i++)
        used |= hammock_uses(ir, &ir->hammocks[i]);
    p->free = ~used & (REGS_GENERAL | REGS_VECTOR);
    return true;
}

/* Which accesses of the first iteration, where less is known of the head, are known to be at the same place. */
static void look_at_first(struct promotion *p)
{
    struct values s;
    values_start(&s, p->ir);
    for (int i = 0, k = 0; i < p->first; i++) {
        const struct node *n = &p->ir->nodes[i];
        const struct insn *in = n->op == N_INSN ? n->in : &p->ir->insns[n->insn];
        if (n->removed)
            continue;
        for (; k < p->access_count && p->access[k].node == i; k++) {
            struct access *a = &p->access[k];
            struct place at;
            bool known = a->step != NO_STEP           ? promote_step_place(p, &s, a, &at)
                         : a->kind & ACCESS_STORE ? store_place(&s, n, in, &at)
                                                  : values_place(&s, in, &at);
            a->first = known && at.base == a->at.base && at.index == a->at.index && at.off == a->at.off;
        }
        values_step(&s, n);
    }
}

/* --- slots */

static bool overlap(int64_t a, unsigned a_bytes, int64_t b, unsigned b_bytes)
{
    int64_t d = (int64_t)((uint64_t)a - (uint64_t)b);
    return d < (int64_t)b_bytes && d > -(int64_t)a_bytes;
}

static struct found *find_slot(struct promotion *p, struct access *a)
{
    int i = 0;
    while (i < p->found_count && !(p->found[i].base == a->at.base && p->found[i].off == a->at.off))
        i++;
    if (i == MAX_FOUND)
        return NULL;
    if (i == p->found_count)
        p->found[p->found_count++] = (struct found){.base = a->at.base, .root = a->root, .off = a->at.off};
    a->slot = (uint8_t)i;
    return &p->found[i];
}

/* Which registers to try an encoding with, when only whether there is one is asked. */
static bool can_encode(struct ir *ir, const struct insn *in, const struct access *a, unsigned reg)
{
    int made = ir->made_count;
    bool can;
    if (a->kind == ACCESS_LOAD)
        can = encode_load(ir, in, reg) != NULL;
    else if (a->kind == ACCESS_STORE)
        can = encode_store_update(ir, in, reg) != NULL;
    else
        can = encode_change_update(ir, in, reg) && encode_store(ir, in, reg);
    ir->made_count = made;
    return can;
}

static void gather_slots(struct promotion *p)
{
    for (int i = 0; i < p->access_count; i++) {
        struct access *a = &p->access[i];
        unsigned bytes = a->at.bytes;
        if (!promote_is_fixed(p, a) || (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) || a->at.off != (int32_t)a->at.off)
            if (a->root != R_NONE || !promote_is_fixed(p, a) || bytes > 8 || (bytes & (bytes - 1)))
                continue;
        struct found *f = find_slot(p, a);
        if (!f)
            continue;
        if (a->first && f->touched < bytes)
            f->touched = (uint8_t)bytes;
        bool vector = p->ir->nodes[a->node].op == N_INSN && encode_is_scalar(p->ir->nodes[a->node].in);
        if (a->kind & ACCESS_STORE) {
            f->bad |= f->stored && (f->bytes != bytes || f->vector != vector);
            f->vector = vector;
            f->stored = true;
            f->bytes = (uint8_t)bytes;
        } else {
            f->vector = f->stored || f->load_bytes ? f->vector : vector;
            f->load_bytes = f->load_bytes < bytes ? (uint8_t)bytes : f->load_bytes;
        }
    }
    for (int i = 0; i < p->found_count; i++) {
        struct found *f = &p->found[i];
        if (!f->stored)
            f->bytes = f->load_bytes;
        f->bad |= f->vector && f->root == R_NONE;
        f->bad |= f->touched < f->bytes; /* the body may know more about its addresses */
    }
}

/* How many loads go; and whether each store can be followed. */
static void weigh_slots(struct promotion *p)
{
    uint32_t general = p->free & REGS_GENERAL, vector = p->free & REGS_VECTOR;
    unsigned some[2] = {general ? (unsigned)__builtin_ctz(general) : R_NONE, vector ? (unsigned)__builtin_ctz(vector) : R_NONE};
    for (int i = 0; i < p->access_count; i++) {
        struct access *a = &p->access[i];
        struct found *f = a->slot == NO_SLOT ? NULL : &p->found[a->slot];
        const struct node *n = &p->ir->nodes[a->node];
        a->whole = f && f->bytes == a->at.bytes;
        if (!f || f->bad)
            continue;
        bool fits = f->vector ? a->at.bytes == f->bytes : a->at.bytes <= f->bytes;
        bool can = n->op == N_INSN && fits && some[f->vector] != R_NONE && can_encode(p->ir, n->in, a, some[f->vector]);
        if (a->step != NO_STEP)
            can = some[0] != R_NONE && promote_step_fits(p, a, f);
        if (a->kind & ACCESS_STORE)
            f->bad |= !can;
        else if (!can)
            a->slot = NO_SLOT;
        if (can && a->kind & ACCESS_LOAD)
            f->gain += a->kind & ACCESS_STORE ? 3 : 2; /* a chain through memory is worth more */
    }
    for (int i = 0; i < p->access_count; i++) { /* stores to a part, or across */
        const struct access *a = &p->access[i];
        for (int k = 0; k < p->found_count && a->kind & ACCESS_STORE; k++) {
            struct found *f = &p->found[k];
            bool same_base = a->root != R_RIP && a->at.base == f->base;
            f->bad |= same_base && a->slot != k && overlap(a->at.off, a->at.bytes, f->off, f->bytes);
        }
    }
}

static int choose_registers(struct promotion *p, uint32_t free)
{
    struct ir *ir = p->ir;
    int vectors = 0;
    for (int i = 0; i < p->found_count; i++)
        p->found[i].reg = R_NONE;
    while (free && ir->slot_count < IR_SLOTS) {
        struct found *best = NULL;
        for (int i = 0; i < p->found_count; i++) {
            struct found *f = &p->found[i];
            bool room = free & (f->vector ? REGS_VECTOR : REGS_GENERAL);
            if (f->reg == R_NONE && promote_is_slot(f) && room && (!best || f->gain > best->gain))
                best = f;
        }
        if (!best)
            break;
        best->reg = (uint8_t)__builtin_ctz(free & (best->vector ? REGS_VECTOR : REGS_GENERAL));
        free &= ~(1u << best->reg);
        vectors += best->vector;
        if (vectors == MOST_VECTORS)
            free &= REGS_GENERAL;
        ir->borrowed |= 1u << best->reg;
        ir->slots[ir->slot_count++] = (struct ir_slot){best->reg, best->root, best->bytes, best->off};
    }
    return ir->slot_count;
}

/* --- the new body */

static rc_t add_made(struct ir *ir, const struct node *of, const struct insn *in, enum node_part part, const char *why)
{
    struct node n = *of;
    if (!in)
        return RC_TOO_LONG;
    n.in = in;
    n.part = part;
    n.appended = part == PART_UPDATE;
    n.why = why;
    return ir_append(ir, n);
}

/* The node of an access to a slot. */
static rc_t add_access_nodes(struct promotion *p, const struct node *n, const struct access *a, unsigned reg)
{
    struct ir *ir = p->ir;
    if (a->kind == ACCESS_LOAD)
        return add_made(ir, n, encode_load(ir, n->in, reg), PART_WHOLE, "promote: the slot's register");
    if (a->kind == ACCESS_STORE) {
        TRY(add_made(ir, n, encode_store_update(ir, n->in, reg), PART_UPDATE, "promote: the slot's register, too"));
        return ir_append(ir, *n);
    }
    TRY(add_made(ir, n, encode_change_update(ir, n->in, reg), PART_UPDATE, "promote: the slot's register"));
    return add_made(ir, n, encode_store(ir, n->in, reg), PART_STORE, "promote: and its memory");
}

static rc_t add_body(struct promotion *p)
{
    struct ir *ir = p->ir;
    struct node mark = {.insn = ir->nodes[0].insn, .appended = true, .in = &ir->insns[ir->nodes[0].insn]};
    int k = 0;
    mark.op = N_BORROW;
    mark.why = "promote: registers borrowed";
    if (!ir->wanted) /* if not, they are from the beginning */
        TRY(ir_append(ir, mark));
    for (int i = 0; i < p->access_count; i++)
        TRY(promote_add_checks(p, &p->access[i], CHECK_ONCE));
    mark.op = N_LOOP;
    mark.why = "promote: slots loaded; the loop";
    TRY(ir_append(ir, mark));
    for (int i = 0; i < p->body; i++) {
        const struct node n = ir->nodes[i];
        const struct access *slot = NULL;
        int first = k;
        for (; k < p->access_count && p->access[k].node == i; k++) {
            const struct access *a = &p->access[k];
            TRY(promote_add_checks(p, a, CHECK_EACH));
            if (promote_register(p, a) != R_NONE)
                slot = a;
        }
        if (slot && n.op == N_HAMMOCK)
            TRY(promote_add_hammock(p, &n, i, first));
        else
            TRY(slot ? add_access_nodes(p, &n, slot, p->found[slot->slot].reg) : ir_append(ir, n));
    }
    return RC_OK;
}

/* The first iteration: the body before it was unrolled, up to `first`, which what was added now follows. */
static void join_bodies(struct ir *ir, int body, int first)
{
    if (first == body) {
        ir_open_end(&ir->nodes[body - 1]);
        return;
    }
    for (int i = body; i < ir->count; i++)
        ir->nodes[first + i - body] = ir->nodes[i];
    ir->count -= body - first;
}

/* The first iteration, up to `first`, is to lead to the head, and not to the body behind it: whether what was made there leaves
 * alone the flags that matter only at the head. */
static bool may_lead_to_head(const struct ir *ir, int first)
{
    unsigned more = liveness_before(ir, &ir->nodes[0]).flags & ir->nodes[first - 1].flags_dead;
    for (int i = first - 1; more && i >= 0; i--) {
        const struct node *n = &ir->nodes[i];
        if (n->op != N_INSN || n->removed)
            continue;
        if ((n->in->flags_written ^ ir->insns[n->insn].flags_written) & more)
            return false;
        more &= ~(unsigned)n->in->flags_killed;
    }
    return true;
}

static bool plan(struct promotion *p)
{
    if (!look(p) || !p->free || !p->access_count)
        return false;
    look_at_first(p);
    gather_slots(p);
    weigh_slots(p);
    uint32_t general = p->free & REGS_GENERAL;
    p->scratch = general ? 31u - (unsigned)__builtin_clz(general) : R_NONE;
    uint32_t without = general ? p->free & ~(1u << p->scratch) : p->free;
    return choose_registers(p, promote_choose_groups(p) ? without : p->free) > 0;
}

static rc_t promote(struct ir *ir)
{
    struct promotion p = {.ir = ir, .body = ir->count, .noted = UINT32_MAX};
    int made = ir->made_count, body = ir->count, hammocks = ir->hammock_count;
    if (!ir->alone || !ir_closes(ir) || body > LONGEST || body > ir->cap / 2)
        return RC_OK;
    p.first = ir->changes[PASS_unroll] ? body / ir->unroll : body;
    liveness_compute(ir);
    if (p.first < body && !may_lead_to_head(ir, p.first))
        return RC_OK;
    bool done = plan(&p) && add_body(&p) == RC_OK && ir_change(ir, PASS_promote, &ir->nodes[body], ir->nodes[body].why);
    if (!done) {
        ir->count = body;
        ir->made_count = made;
        ir->hammock_count = hammocks;
        ir->slot_count = ir->check_count = 0;
        ir->borrowed = 0;
        return RC_OK;
    }
    if (ir->check_count)
        ir->borrowed |= 1u << p.scratch;
    join_bodies(ir, body, p.first);
    promote_fuse(ir);
    return RC_OK;
}

rc_t pass_promote(struct ir *ir)
{
    TRY(promote(ir));
    return borrow_wanted(ir);
}
