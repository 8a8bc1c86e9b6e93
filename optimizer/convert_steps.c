#include "optimizer/convert.h"

struct build {
    struct hammock *sel;
    uint16_t borrowed; /* taken last */
    uint16_t pending; /* registers that are still to get their value */
    struct asm_sum go[16], leave[16]; /* that value */
    unsigned cc;
    bool failed;
};

static void put(struct build *b, struct hammock_step step)
{
    if (b->sel->count == HAMMOCK_STEPS)
        b->failed = true;
    else
        b->sel->step[b->sel->count++] = step;
}

static void set(struct build *b, unsigned reg, struct asm_sum s)
{
    bool itself = sum_is_register(s) && s.base == reg;
    if (!itself)
        put(b, (struct hammock_step){HAMMOCK_SET, 0, (uint8_t)reg, 8, s});
}

static void cmov(struct build *b, unsigned cc, unsigned reg, unsigned from)
{
    put(b, (struct hammock_step){HAMMOCK_CMOV, (uint8_t)cc, (uint8_t)reg, 8,
                                {(uint8_t)from, R_NONE, 1, false, 0}});
}

static unsigned take(struct build *b, uint16_t *free)
{
    unsigned r = prelude_take(free, b->borrowed);
    b->failed |= r == R_NONE;
    return r == R_NONE ? R_RAX : r;
}

/* A register that holds s: its own, or a free one. */
static unsigned in_register(struct build *b, struct asm_sum s, uint16_t *free)
{
    if (sum_is_register(s))
        return s.base;
    unsigned r = take(b, free);
    set(b, r, s);
    return r;
}

/* What a register will hold on that side is made from r. */
static bool uses(const struct side *d, uint16_t live, unsigned r)
{
    unsigned reads = 0;
    for (unsigned i = 0; i < 16; i++)
        reads |= live & 1u << i ? asm_sum_reads(d->reg[i]) : 0u;
    return reads >> r & 1;
}

/* The register that holds what is to be stored. The program is at the branch and may go through either side again: a register
 * of its own is only overwritten by what the side that will run does not look at. */
static unsigned stored_value(struct build *b, const struct side *go, const struct side *leave, uint16_t live,
                             uint16_t *free)
{
    if (sum_equal(go->value, leave->value))
        return in_register(b, go->value, free);
    if (sum_is_register(go->value) && sum_is_register(leave->value)) {
        unsigned v = go->value.base, w = leave->value.base;
        uint16_t keep = live | asm_sum_reads(go->at) | 1u << R_RSP;
        if (!((keep | leave->reads) & 1u << v) && !uses(leave, live, v)) {
            cmov(b, b->cc, v, w);
            return v;
        }
        if (!((keep | go->reads) & 1u << w) && !uses(go, live, w)) {
            cmov(b, b->cc ^ 1, w, v);
            return w;
        }
    }
    unsigned r = take(b, free);
    set(b, r, go->value);
    cmov(b, b->cc, r, in_register(b, leave->value, free));
    return r;
}

/* A register that gets what is stored, on either side, gets it from there. */
static void share_stored(struct side *go, struct side *leave, unsigned value)
{
    for (unsigned r = 0; r < 16; r++)
        if (r != value && sum_equal(go->reg[r], go->value) && sum_equal(leave->reg[r], leave->value) &&
            !sum_equal(go->value, leave->value))
            go->reg[r] = leave->reg[r] = (struct asm_sum){(uint8_t)value, R_NONE, 1, false, 0};
}

static uint16_t item_reads(const struct build *b, unsigned r) { return asm_sum_reads(b->go[r]) | asm_sum_reads(b->leave[r]); }

/* Registers that some pending value, that of `but` aside, is made from. */
static uint16_t pending_reads(const struct build *b, unsigned but)
{
    uint16_t reads = 0;
    for (unsigned r = 0; r < 16; r++)
        if ((b->pending & 1u << r) && r != but)
            reads |= item_reads(b, r);
    return reads;
}

static void finish(struct build *b, unsigned r, uint16_t free)
{
    struct asm_sum go = b->go[r], leave = b->leave[r];
    bool go_stays = sum_is_register(go) && go.base == r, leave_stays = sum_is_register(leave) && leave.base == r;
    free &= (uint16_t)~(pending_reads(b, r) | item_reads(b, r));
    b->pending &= (uint16_t)~(1u << r);
    if (sum_equal(go, leave)) {
        set(b, r, go);
    } else if (leave_stays) {
        cmov(b, b->cc ^ 1, r, in_register(b, go, &free));
    } else {
        unsigned from = in_register(b, leave, &free); /* which is not r: it is not its own value */
        if (!go_stays)
            set(b, r, go);
        cmov(b, b->cc, r, from);
    }
}

static struct asm_sum renamed(struct asm_sum s, unsigned from, unsigned to)
{
    if (s.base == from)
        s.base = (uint8_t)to;
    if (s.index == from)
        s.index = (uint8_t)to;
    return s;
}

/* A circle: the old value of r moves to a free register, where the others find it. */
static void break_circle(struct build *b, unsigned r, uint16_t *free)
{
    uint16_t usable = (uint16_t)(*free & ~pending_reads(b, R_NONE));
    unsigned to = take(b, &usable);
    *free &= (uint16_t)~(1u << to);
    set(b, to, (struct asm_sum){(uint8_t)r, R_NONE, 1, false, 0});
    for (unsigned i = 0; i < 16; i++)
        if (i != r && (b->pending & 1u << i)) {
            b->go[i] = renamed(b->go[i], r, to);
            b->leave[i] = renamed(b->leave[i], r, to);
        }
}

static void assign(struct build *b, uint16_t live)
{
    uint16_t free = (uint16_t)~(live | 1u << R_RSP);
    while (b->pending && !b->failed) {
        unsigned ready = R_NONE;
        for (unsigned r = 0; r < 16 && ready == R_NONE; r++)
            if ((b->pending & 1u << r) && !(pending_reads(b, r) & 1u << r))
                ready = r;
        if (ready < R_NONE)
            finish(b, ready, free);
        else
            break_circle(b, (unsigned)__builtin_ctz(b->pending), &free);
    }
}

bool convert_steps(struct hammock *sel, struct side *go, struct side *leave, unsigned cc, uint16_t live)
{
    uint16_t free = go->prelude->free;
    struct build b = {.sel = sel, .cc = cc, .borrowed = go->prelude->borrowed};
    live &= (uint16_t)~b.borrowed;
    if (go->stores != leave->stores)
        return false;
    if (go->stores) {
        if (!sum_equal(go->at, leave->at) || go->bytes != leave->bytes)
            return false;
        unsigned value = stored_value(&b, go, leave, live, &free);
        put(&b, (struct hammock_step){HAMMOCK_STORE, 0, (uint8_t)value, go->bytes, go->at});
        if (!(live & 1u << value))
            share_stored(go, leave, value);
    }
    sel->commit = sel->count;
    for (unsigned r = 0; r < 16; r++) {
        bool stays = sum_is_register(go->reg[r]) && go->reg[r].base == r && sum_equal(go->reg[r], leave->reg[r]);
        b.go[r] = go->reg[r];
        b.leave[r] = leave->reg[r];
        if (!stays && (live & 1u << r))
            b.pending |= (uint16_t)(1u << r);
    }
    assign(&b, live);
    return !b.failed;
}
