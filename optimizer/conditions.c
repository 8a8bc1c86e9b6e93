/* Conditions of compared values.
 *
 * Of a and b exactly one order is true: equal, or below/above (unsigned) with less/greater (signed). What is known of a
 * pair is the set of orders still possible; a condition holds when all of them imply it. */
#include "optimizer/liveness.h"
#include "optimizer/values.h"

#define EQUAL 1u
#define BELOW_LESS 2u
#define BELOW_GREATER 4u
#define ABOVE_LESS 8u
#define ABOVE_GREATER 16u
#define ANY_ORDER 31u

/* The orders that imply cc (even codes; odd ones are the complement). 0: says nothing about orders. */
static unsigned orders_of(unsigned cc, bool with_zero)
{
    static const uint8_t even[8] = {
        0, /* o */
        BELOW_LESS | BELOW_GREATER, /* b */
        EQUAL, /* e */
        EQUAL | BELOW_LESS | BELOW_GREATER, /* be */
        BELOW_LESS | ABOVE_LESS, /* s: of a - 0 */
        0, /* p */
        BELOW_LESS | ABOVE_LESS, /* l */
        EQUAL | BELOW_LESS | ABOVE_LESS, /* le */
    };
    unsigned pair = cc >> 1 & 7;
    if (pair == 0 || pair == 5 || (pair == 4 && !with_zero))
        return 0;
    return cc & 1 ? ANY_ORDER & ~even[pair] : even[pair];
}

static uint64_t low(uint64_t v, unsigned bytes) { return bytes == 8 ? v : v & ((1ull << 8 * bytes) - 1); }
static int64_t sign_extended(uint64_t v, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(v << shift) >> shift;
}

static unsigned order_of(uint64_t a, uint64_t b, unsigned bytes)
{
    if (low(a, bytes) == low(b, bytes))
        return EQUAL;
    bool below = low(a, bytes) < low(b, bytes), less = sign_extended(a, bytes) < sign_extended(b, bytes);
    return below ? (less ? BELOW_LESS : BELOW_GREATER) : (less ? ABOVE_LESS : ABOVE_GREATER);
}

/* What the values alone say: a is unknown but below 1 << a.bits, b a constant. */
static unsigned orders_by_range(struct value a, uint64_t b, unsigned bytes)
{
    unsigned orders = ANY_ORDER;
    b = low(b, bytes);
    if (b == 0)
        orders &= ~(BELOW_LESS | BELOW_GREATER);
    if (a.bits >= 8 * bytes)
        return orders;
    uint64_t most = (1ull << a.bits) - 1; /* also as a signed number */
    if (b > most)
        return sign_extended(b, bytes) < 0 ? BELOW_GREATER : BELOW_LESS;
    orders &= ~(BELOW_GREATER | ABOVE_LESS);
    if (b == most)
        orders &= ~ABOVE_GREATER;
    return orders;
}

static unsigned orders_by_value(struct value a, struct value b, unsigned bytes)
{
    if (value_equal(a, b))
        return EQUAL;
    if (!value_is_const(b))
        return ANY_ORDER;
    if (value_is_const(a))
        return order_of((uint64_t)a.off, (uint64_t)b.off, bytes);
    return orders_by_range(a, (uint64_t)b.off, bytes);
}

struct compared {
    struct value a, b;
    unsigned bytes;
    bool usable;
};

/* The comparison that the flags stand for, as far as cc is concerned. */
static struct compared compared_for(const struct values *s, unsigned cc)
{
    const struct flags_now *f = &s->flags;
    bool sign = cc >> 1 == 4; /* of the result only */
    if (f->compared && !(sign && f->result))
        return (struct compared){f->a, f->b, f->bytes, true};
    if (f->result && !(liveness_cc_reads(cc) & ~f->mask))
        return (struct compared){f->res, value_const(0), f->bytes, true};
    return (struct compared){.usable = false};
}

static const struct relation *relation_find(const struct values *s, const struct compared *c)
{
    for (int i = 0; i < s->relation_count; i++) {
        const struct relation *r = &s->relations[i];
        if (r->bytes == c->bytes && value_equal(r->a, c->a) && value_equal(r->b, c->b))
            return r;
    }
    return NULL;
}

static unsigned orders_now(const struct values *s, const struct compared *c)
{
    const struct relation *r = relation_find(s, c);
    return orders_by_value(c->a, c->b, c->bytes) & (r ? r->orders : ANY_ORDER);
}

static bool is_zero(struct value v) { return value_is_const(v) && v.off == 0; }

int values_condition(const struct values *s, unsigned cc)
{
    struct compared c = compared_for(s, cc);
    if (!c.usable)
        return -1;
    bool with_zero = is_zero(c.b);
    if (cc >> 1 == 0 && with_zero)
        return (cc & 1) != 0; /* a - 0 does not overflow */
    unsigned implies = orders_of(cc, with_zero), orders = orders_now(s, &c);
    if (!implies || !orders)
        return -1;
    return !(orders & ~implies) ? 1 : !(orders & implies) ? 0 : -1;
}

void values_assume(struct values *s, unsigned cc)
{
    struct compared c = compared_for(s, cc);
    if (!c.usable)
        return;
    unsigned implies = orders_of(cc, is_zero(c.b)), orders = orders_now(s, &c) & implies;
    struct value result = s->flags.res;
    bool result_is_zero = s->flags.result && orders == EQUAL;
    if (!implies || !orders)
        return;
    if (orders == EQUAL && value_is_const(c.b)) {
        values_learn(s, c.a, low((uint64_t)c.b.off, c.bytes));
        if (result_is_zero && value_equal(result, s->flags.res))
            values_learn(s, result, 0);
        return;
    }
    struct relation *r = (struct relation *)relation_find(s, &c);
    if (!r) {
        r = &s->relations[s->relation_next];
        s->relation_next = (s->relation_next + 1) % VALUES_RELATIONS;
        if (s->relation_count < VALUES_RELATIONS)
            s->relation_count++;
        *r = (struct relation){c.a, c.b, (uint8_t)c.bytes, ANY_ORDER};
    }
    r->orders = (uint8_t)orders;
}
