/* Stores that may reach a slot. */
#include "optimizer/promote.h"

static void note_bases(struct access *a, const struct values *s, uint32_t base)
{
    a->same_base = 0;
    for (unsigned r = 0; r < 16; r++)
        if (s->reg[r].id == base) {
            a->same_base |= (uint16_t)(1u << r);
            a->apart[r] = s->reg[r].off;
        }
}

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
        if (f->base != base || !promote_is_slot(f) || (chosen && f->reg == R_NONE))
            continue;
        g->root = f->root;
        g->gain += f->gain;
        g->low = any && g->low < f->off ? g->low : f->off;
        g->high = any && g->high > f->off + f->bytes ? g->high : f->off + f->bytes;
        any = true;
    }
    return any && g->high - g->low < 1 << 20;
}


/* The stores at a steady base are checked as one, by the first of them. */
static bool first_of_base(const struct promotion *p, const struct access *a)
{
    for (const struct access *b = p->access; b < a; b++)
        if (b->kind & ACCESS_STORE && b->root != R_RIP && b->at.base == a->at.base)
            return false;
    return true;
}

/* No earlier one is somewhere in the same bytes. */
static bool first_of_reach(const struct promotion *p, const struct access *a)
{
    for (const struct access *b = p->access; b < a; b++)
        if (b->reach == a->reach && b->from == a->from && !promote_is_fixed(p, b))
            return false;
    return true;
}

static enum check_need check_need(const struct promotion *p, const struct access *a, const struct group *g)
{
    if (!(a->kind & ACCESS_STORE) || (a->root != R_RIP && a->at.base == g->base))
        return CHECK_NONE;
    if (!promote_is_fixed(p, a)) {
        uint64_t span = a->reach + (uint64_t)(g->high - g->low) - 1;
        bool within = g->root == R_NONE && (uint64_t)g->high - 1 - (uint64_t)a->from < span; /* would fail always */
        return !a->reach || within ? CHECK_EACH : first_of_reach(p, a) ? CHECK_ONCE : CHECK_NONE;
    }
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
    c->bytes = (uint64_t)(high - low);
    return high - low < 1 << 20;
}

/* A check of access a against the group. False: there is none. */
static bool check_make(const struct promotion *p, const struct access *a, const struct group *g, struct ir_check *c)
{
    const struct ir *ir = p->ir;
    const struct node *n = &ir->nodes[a->node];
    bool once = check_need(p, a, g) == CHECK_ONCE;
    const struct node *where = once ? &ir->nodes[0] : n;
    uint16_t dead = where->flags_dead_before & (uint16_t)~where->original.flags; /* the first node may be removed */
    *c = (struct ir_check){.base = R_NONE, .index = R_NONE, .scale = 1, .near = g->root, .scratch = (uint8_t)p->scratch};
    c->bytes = a->at.bytes;
    c->low = g->low;
    c->high = g->high;
    if ((dead & FL_STATUS) != FL_STATUS || p->scratch == R_NONE)
        return false;
    if (once && !promote_is_fixed(p, a)) {
        c->off = a->from;
        c->bytes = a->reach;
    } else if (once) {
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
    promote_start(p, &s);
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

bool promote_choose_groups(struct promotion *p)
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

rc_t promote_add_checks(struct promotion *p, const struct access *a, enum check_need need)
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
