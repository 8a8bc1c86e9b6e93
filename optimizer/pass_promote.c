/* Slots of a loop's memory kept in registers that the program does not use there.
 *
 *   body; back          body of the first iteration, as it was
 *                       N_BORROW; N_CHECK...; N_LOOP
 *                       body with slots: mov r, [slot] -> mov r, R;  mov [slot], r -> mov R, r; mov [slot], r
 *                       op [slot], x -> op R, x; mov [slot], R;  other stores that may reach a slot: after an N_CHECK
 *                       back to N_LOOP
 *
 * The first iteration has touched each slot before N_LOOP loads it, and makes headway where a check fails each time. */
#include "optimizer/encode.h"
#include "optimizer/liveness.h"
#include "optimizer/passes.h"
#include "optimizer/values.h"

#define LONGEST 400 /* nodes of a body */
#define MAX_ACCESSES 200
#define MAX_FOUND 40 /* slots and what may be some */
#define NO_SLOT 0xff

enum access_kind { ACCESS_LOAD = 1, ACCESS_STORE = 2 };

struct access {
    int node;
    uint8_t kind; /* mask of enum access_kind */
    uint8_t slot; /* index of what is found */
    bool whole; /* the slot's own width */
    uint8_t root; /* the register whose value at the head is the base; R_NONE: a constant; R_RIP: unknown */
    uint16_t same_base; /* registers that hold the base and an offset */
    int64_t apart[16]; /* their offsets from it */
    struct place at;
};

struct found {
    uint32_t base; /* id */
    uint8_t root, bytes, load_bytes, reg;
    uint8_t touched; /* bytes, by the first iteration */
    bool bad, stored;
    int gain;
    int64_t off;
};

struct promotion {
    struct ir *ir;
    int body, first; /* nodes; of them, those of the first iteration */
    struct access access[MAX_ACCESSES];
    int access_count;
    struct found found[MAX_FOUND];
    int found_count;
    uint16_t steady; /* registers that are at the end what they are at the head */
    uint16_t free;
    uint32_t noted; /* the base that same_base is about */
    unsigned scratch;
};

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

static uint8_t root_of(const struct values *start, const struct place *p)
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

static void note_bases(struct access *a, const struct values *s, uint32_t base)
{
    a->same_base = 0;
    for (unsigned r = 0; r < 16; r++)
        if (s->reg[r].id == base) {
            a->same_base |= (uint16_t)(1u << r);
            a->apart[r] = s->reg[r].off;
        }
}

static bool add_access(struct promotion *p, const struct access *a)
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
    struct access a = {.node = i, .slot = NO_SLOT};
    bool pushes = n->op == N_PUSH_CONST || (n->op == N_GUARD && in->kind == IK_CALL_IND);
    if (n->op == N_INSN && in->fence)
        return false;
    if (pushes || (n->op == N_INSN && in->stores)) {
        a.kind = ACCESS_STORE;
        if (!store_place(s, n, in, &a.at))
            return false;
        if (!pushes && in->mem_read && in->mem_write)
            a.kind |= ACCESS_LOAD;
        a.root = root_of(start, &a.at);
        if (!add_access(p, &a))
            return false;
    }
    if (n->op != N_INSN || !in->mem_read || in->mem_write || !in->mem_bytes || !values_place(s, in, &a.at))
        return true;
    a.kind = ACCESS_LOAD;
    a.root = root_of(start, &a.at);
    return a.root == R_RIP || add_access(p, &a);
}

static bool look(struct promotion *p)
{
    struct values s, start;
    struct ir *ir = p->ir;
    unsigned used = 1u << R_RSP;
    values_start(&s, ir);
    start = s;
    for (int i = 0; i < p->body; i++) {
        const struct node *n = &ir->nodes[i];
        const struct insn *was = &ir->insns[n->insn];
        used |= was->gpr_read | was->gpr_written;
        if (n->removed)
            continue;
        if (n->op == N_HAMMOCK)
            return false; /* its registers and its store are not followed here */
        if (n->op == N_INSN)
            used |= n->in->gpr_read | n->in->gpr_written;
        if (n->op == N_GUARD)
            used |= 1u << R_RCX | 1u << R_RDX; /* those that a lookup uses */
        if (!note_node(p, &s, &start, i))
            return false;
        values_step(&s, n);
    }
    for (unsigned r = 0; r < 16; r++)
        if (value_equal(s.reg[r], start.reg[r]))
            p->steady |= (uint16_t)(1u << r);
    p->free = (uint16_t)~used;
    return true;
}

/* --- slots */

static bool is_fixed(const struct promotion *p, const struct access *a)
{
    return a->root == R_NONE || (a->root < R_NONE && p->steady & 1u << a->root);
}

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
        if (!is_fixed(p, a) || (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8) || a->at.off != (int32_t)a->at.off)
            if (a->root != R_NONE || !is_fixed(p, a) || bytes > 8 || (bytes & (bytes - 1)))
                continue;
        struct found *f = find_slot(p, a);
        if (!f)
            continue;
        if (a->node < p->first && f->touched < bytes)
            f->touched = (uint8_t)bytes;
        if (a->kind & ACCESS_STORE) {
            f->bad |= f->stored && f->bytes != bytes;
            f->stored = true;
            f->bytes = (uint8_t)bytes;
        } else if (f->load_bytes < bytes) {
            f->load_bytes = (uint8_t)bytes;
        }
    }
    for (int i = 0; i < p->found_count; i++) {
        struct found *f = &p->found[i];
        if (!f->stored)
            f->bytes = f->load_bytes;
        f->bad |= f->touched < f->bytes; /* a later copy of the body may know more about its addresses */
    }
}

/* How many loads go; and whether each store can be followed. */
static void weigh_slots(struct promotion *p)
{
    unsigned some = (unsigned)__builtin_ctz(p->free);
    for (int i = 0; i < p->access_count; i++) {
        struct access *a = &p->access[i];
        struct found *f = a->slot == NO_SLOT ? NULL : &p->found[a->slot];
        const struct node *n = &p->ir->nodes[a->node];
        a->whole = f && f->bytes == a->at.bytes;
        if (!f || f->bad)
            continue;
        bool can = n->op == N_INSN && a->at.bytes <= f->bytes && can_encode(p->ir, n->in, a, some);
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

static bool is_slot(const struct found *f) { return !f->bad && f->gain > 0; }

/* --- stores that may reach a slot */

/* The slots at one base. */
struct group {
    uint32_t base;
    uint8_t root;
    int gain;
    int64_t low, high;
};

static bool group_find(const struct promotion *p, uint32_t base, bool chosen, struct group *g)
{
    *g = (struct group){.base = base};
    bool any = false;
    for (int i = 0; i < p->found_count; i++) {
        const struct found *f = &p->found[i];
        if (f->base != base || !is_slot(f) || (chosen && f->reg == R_NONE))
            continue;
        g->root = f->root;
        g->gain += f->gain;
        g->low = any && g->low < f->off ? g->low : f->off;
        g->high = any && g->high > f->off + f->bytes ? g->high : f->off + f->bytes;
        any = true;
    }
    return any && g->high - g->low < 1 << 20;
}

enum check_need { CHECK_NONE, CHECK_ONCE, CHECK_EACH };

/* The stores at a steady base are checked as one, by the first of them. */
static bool first_of_base(const struct promotion *p, const struct access *a)
{
    for (const struct access *b = p->access; b < a; b++)
        if (b->kind & ACCESS_STORE && b->root != R_RIP && b->at.base == a->at.base)
            return false;
    return true;
}

static enum check_need check_need(const struct promotion *p, const struct access *a, const struct group *g)
{
    if (!(a->kind & ACCESS_STORE) || (a->root != R_RIP && a->at.base == g->base))
        return CHECK_NONE;
    if (!is_fixed(p, a))
        return CHECK_EACH;
    return first_of_base(p, a) ? CHECK_ONCE : CHECK_NONE;
}

static bool fits32(int64_t v) { return v > INT32_MIN / 2 && v < INT32_MAX / 2; }

/* All of them. */
static bool store_range(const struct promotion *p, const struct access *a, struct ir_check *c)
{
    int64_t low = a->at.off, high = a->at.off + a->at.bytes;
    for (int i = 0; i < p->access_count; i++) {
        const struct access *b = &p->access[i];
        if (!(b->kind & ACCESS_STORE) || b->root == R_RIP || b->at.base != a->at.base)
            continue;
        low = low < b->at.off ? low : b->at.off;
        high = high > b->at.off + b->at.bytes ? high : b->at.off + b->at.bytes;
    }
    c->off = low;
    c->bytes = (uint32_t)(high - low);
    return high - low < 1 << 20;
}

/* A check of access a against the group. False: there is none. */
static bool check_make(const struct promotion *p, const struct access *a, const struct group *g, struct ir_check *c)
{
    const struct ir *ir = p->ir;
    const struct node *n = &ir->nodes[a->node];
    bool once = check_need(p, a, g) == CHECK_ONCE;
    uint16_t dead = once ? ir->nodes[0].flags_dead_before : n->flags_dead_before;
    *c = (struct ir_check){.base = R_NONE, .index = R_NONE, .scale = 1, .near = g->root, .scratch = (uint8_t)p->scratch};
    c->bytes = a->at.bytes;
    c->low = g->low;
    c->high = g->high;
    if ((dead & FL_STATUS) != FL_STATUS)
        return false;
    if (once) {
        c->base = a->root;
        if (!store_range(p, a, c))
            return false;
    } else {
        const struct insn *in = n->in;
        if (n->op != N_INSN || in->pushes || in->mem_base == R_RIP)
            return false;
        c->base = in->mem_base;
        c->index = in->mem_index;
        c->scale = in->mem_scale;
        c->off = in->mem_disp;
        if (g->root != R_NONE) {
            if (!a->same_base)
                return false;
            unsigned r = (unsigned)__builtin_ctz(a->same_base);
            c->near = (uint8_t)r;
            c->low -= a->apart[r];
            c->high -= a->apart[r];
        }
    }
    bool far_ok = c->base == R_NONE || c->near == R_NONE; /* one side may be a whole address */
    return (fits32(c->off) && fits32(c->low)) || (far_ok && (fits32(c->off) || c->base == R_NONE) &&
                                                  (fits32(c->low) || c->near == R_NONE));
}

static void note_check_bases(struct promotion *p, uint32_t base)
{
    struct values s;
    int k = 0;
    if (p->noted == base)
        return;
    p->noted = base;
    values_start(&s, p->ir);
    for (int i = 0; i < p->body; i++) {
        if (p->ir->nodes[i].removed)
            continue;
        for (; k < p->access_count && p->access[k].node == i; k++)
            note_bases(&p->access[k], &s, base);
        values_step(&s, &p->ir->nodes[i]);
    }
}

/* Whether the slots at a base can be kept and are worth what it needs; how many checks. */
static bool group_allowed(struct promotion *p, uint32_t base, int *checks)
{
    struct group g;
    struct ir_check c;
    int each = 0, once = 0;
    if (!group_find(p, base, false, &g))
        return false;
    note_check_bases(p, base);
    for (int i = 0; i < p->access_count; i++) {
        enum check_need need = check_need(p, &p->access[i], &g);
        if (need != CHECK_NONE && !check_make(p, &p->access[i], &g, &c))
            return false;
        each += need == CHECK_EACH;
        once += need == CHECK_ONCE;
    }
    if (2 * each > g.gain || *checks + each + once > IR_CHECKS)
        return false;
    *checks += each + once;
    return true;
}

/* Leaves slots of those bases only that are worth it; true when a check is needed. */
static bool choose_groups(struct promotion *p)
{
    int checks = 0;
    for (int i = 0; i < p->found_count; i++) {
        uint32_t base = p->found[i].base;
        bool first = true;
        for (int k = 0; k < i; k++)
            first &= p->found[k].base != base;
        if (!first || group_allowed(p, base, &checks))
            continue;
        for (int k = i; k < p->found_count; k++)
            p->found[k].bad |= p->found[k].base == base;
    }
    return checks > 0;
}

static int choose_registers(struct promotion *p, uint16_t free)
{
    struct ir *ir = p->ir;
    for (int i = 0; i < p->found_count; i++)
        p->found[i].reg = R_NONE;
    while (free && ir->slot_count < IR_SLOTS) {
        struct found *best = NULL;
        for (int i = 0; i < p->found_count; i++) {
            struct found *f = &p->found[i];
            if (f->reg == R_NONE && is_slot(f) && (!best || f->gain > best->gain))
                best = f;
        }
        if (!best)
            break;
        best->reg = (uint8_t)__builtin_ctz(free);
        free &= (uint16_t)(free - 1);
        ir->borrowed |= (uint16_t)(1u << best->reg);
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

static rc_t add_checks(struct promotion *p, const struct access *a, enum check_need need)
{
    struct ir *ir = p->ir;
    struct group g;
    for (int i = 0; i < p->found_count; i++) {
        uint32_t base = p->found[i].base;
        bool first = p->found[i].reg != R_NONE;
        for (int k = 0; k < i; k++)
            first &= p->found[k].base != base || p->found[k].reg == R_NONE;
        if (!first || !group_find(p, base, true, &g) || check_need(p, a, &g) != need)
            continue;
        note_check_bases(p, base);
        if (ir->check_count == IR_CHECKS || !check_make(p, a, &g, &ir->checks[ir->check_count]))
            return RC_TOO_LONG;
        int insn = need == CHECK_ONCE ? ir->nodes[0].insn : ir->nodes[a->node].insn;
        struct node n = {.op = N_CHECK, .insn = insn, .appended = true, .why = "promote: may it reach a slot?"};
        n.target = need == CHECK_ONCE ? ir->tag.v : ir->insns[insn].pc.v;
        n.value = (uint64_t)ir->check_count++;
        n.in = &ir->insns[insn];
        n.flags_dead = ir->nodes[need == CHECK_ONCE ? 0 : a->node].flags_dead_before;
        TRY(ir_append(ir, n));
    }
    return RC_OK;
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
    TRY(ir_append(ir, mark));
    for (int i = 0; i < p->access_count; i++)
        TRY(add_checks(p, &p->access[i], CHECK_ONCE));
    mark.op = N_LOOP;
    mark.why = "promote: slots loaded; the loop";
    TRY(ir_append(ir, mark));
    for (int i = 0; i < p->body; i++) {
        const struct node n = ir->nodes[i];
        const struct access *slot = NULL;
        for (; k < p->access_count && p->access[k].node == i; k++) {
            const struct access *a = &p->access[k];
            TRY(add_checks(p, a, CHECK_EACH));
            if (a->slot != NO_SLOT && p->found[a->slot].reg != R_NONE && is_slot(&p->found[a->slot]))
                slot = a;
        }
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

static bool plan(struct promotion *p)
{
    if (!look(p) || !p->free || !p->access_count)
        return false;
    gather_slots(p);
    weigh_slots(p);
    p->scratch = 31u - (unsigned)__builtin_clz(p->free);
    uint16_t without = (uint16_t)(p->free & ~(1u << p->scratch));
    return choose_registers(p, choose_groups(p) ? without : p->free) > 0;
}

rc_t pass_promote(struct ir *ir)
{
    struct promotion p = {.ir = ir, .body = ir->count, .noted = UINT32_MAX};
    int made = ir->made_count, body = ir->count;
    if (!ir->alone || !ir_closes(ir) || body > LONGEST || body > ir->cap / 2)
        return RC_OK;
    p.first = ir->changes[PASS_unroll] ? body / ir->unroll : body;
    liveness_compute(ir);
    bool done = plan(&p) && add_body(&p) == RC_OK && ir_change(ir, PASS_promote, &ir->nodes[body], ir->nodes[body].why);
    if (!done) {
        ir->count = body;
        ir->made_count = made;
        ir->slot_count = ir->check_count = 0;
        ir->borrowed = 0;
        return RC_OK;
    }
    if (ir->check_count)
        ir->borrowed |= (uint16_t)(1u << p.scratch);
    join_bodies(ir, body, p.first);
    return RC_OK;
}
