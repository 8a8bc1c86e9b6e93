#include "optimizer/values.h"

#define RED_ZONE 128

uint64_t value_mask(unsigned bytes) { return bytes >= 8 ? ~0ull : (1ull << 8 * bytes) - 1; }
static int64_t plus(int64_t a, int64_t b) { return (int64_t)((uint64_t)a + (uint64_t)b); }
static int64_t times(int64_t a, unsigned b) { return (int64_t)((uint64_t)a * b); }

struct value value_const(uint64_t c)
{
    uint8_t bits = 0;
    while (bits < 64 && c >> bits)
        bits++;
    return (struct value){VALUE_CONST, bits, (int64_t)c};
}

struct value values_fresh(struct values *s, unsigned bytes)
{
    return (struct value){s->next_id++, (uint8_t)(8 * bytes), 0};
}

struct value value_moved(struct value v, int64_t by)
{
    if (by == 0)
        return v;
    if (value_is_const(v))
        return value_const((uint64_t)plus(v.off, by));
    return (struct value){v.id, 64, plus(v.off, by)};
}

void values_start(struct values *s, const struct ir *ir)
{
    s->ir = ir;
    s->held_count = s->relation_count = s->relation_next = s->extension_count = s->extension_next = 0;
    s->flags = (struct flags_now){.compared = false};
    s->framed = s->leaked = s->published = false;
    s->frame_top = 0;
    s->next_id = VALUE_SP + 1;
    for (unsigned r = 0; r < 16; r++)
        s->reg[r] = r == R_RSP ? (struct value){VALUE_SP, 64, 0} : values_fresh(s, 8);
}

/* --- widths */

static struct value extend(struct values *s, struct value v, unsigned bytes, bool sign, unsigned to_bytes)
{
    struct value key = {v.id, 0, (int64_t)((uint64_t)v.off & value_mask(bytes))};
    for (int i = 0; i < s->extension_count; i++) {
        const struct extension *e = &s->extensions[i];
        if (value_equal(e->from, key) && e->bytes == bytes && e->sign == sign && e->to_bytes == to_bytes)
            return e->to;
    }
    struct extension *e = &s->extensions[s->extension_next];
    s->extension_next = (s->extension_next + 1) % VALUES_EXTENSIONS;
    if (s->extension_count < VALUES_EXTENSIONS)
        s->extension_count++;
    *e = (struct extension){key, values_fresh(s, sign ? to_bytes : bytes), (uint8_t)bytes, sign, (uint8_t)to_bytes};
    return e->to;
}

struct value values_zero_extend(struct values *s, struct value v, unsigned bytes)
{
    if (value_is_const(v))
        return value_const((uint64_t)v.off & value_mask(bytes));
    if (v.bits <= 8 * bytes)
        return v;
    return extend(s, v, bytes, false, 8);
}

struct value values_sign_extend(struct values *s, struct value v, unsigned bytes, unsigned to_bytes)
{
    unsigned shift = 64 - 8 * bytes;
    if (value_is_const(v))
        return value_const((uint64_t)((int64_t)((uint64_t)v.off << shift) >> shift) & value_mask(to_bytes));
    if (v.bits < 8 * bytes)
        return v;
    return extend(s, v, bytes, true, to_bytes);
}

/* --- learning */

static void learn_value(struct value *v, uint32_t id, int64_t is)
{
    if (v->id == id)
        *v = value_const((uint64_t)plus(is, v->off));
}

static void learn_place(struct place *p, uint32_t id, int64_t is)
{
    if (p->base == id) {
        p->base = VALUE_CONST;
        p->off = plus(p->off, is);
    }
    if (p->index == id) {
        p->index = 0;
        p->off = plus(p->off, times(is, p->scale));
        p->scale = 1;
    }
}

void values_learn(struct values *s, struct value v, uint64_t c)
{
    if (value_is_const(v) || v.id == VALUE_SP)
        return;
    int64_t is = plus((int64_t)c, (int64_t)(0 - (uint64_t)v.off));
    for (unsigned r = 0; r < 16; r++)
        learn_value(&s->reg[r], v.id, is);
    for (int i = 0; i < s->held_count; i++) {
        learn_value(&s->held[i].v, v.id, is);
        learn_place(&s->held[i].at, v.id, is);
    }
    learn_value(&s->flags.a, v.id, is);
    learn_value(&s->flags.b, v.id, is);
    learn_value(&s->flags.res, v.id, is);
    for (int i = 0; i < s->relation_count; i++) {
        learn_value(&s->relations[i].a, v.id, is);
        learn_value(&s->relations[i].b, v.id, is);
    }
    for (int i = 0; i < s->extension_count; i++)
        learn_value(&s->extensions[i].to, v.id, is);
}

/* --- memory */

bool values_place(const struct values *s, const struct insn *in, struct place *p)
{
    if (in->mem_narrow)
        return false;
    *p = (struct place){.scale = 1, .seg = in->seg, .bytes = in->mem_bytes, .off = in->mem_disp};
    if (in->mem_base == R_RIP) {
        p->off = (int64_t)in->target;
        return true;
    }
    if (in->mem_base < R_NONE) {
        p->base = s->reg[in->mem_base].id;
        p->off = plus(p->off, s->reg[in->mem_base].off);
    }
    if (in->mem_index < R_NONE) {
        struct value v = s->reg[in->mem_index];
        p->off = plus(p->off, times(v.off, in->mem_scale));
        p->index = v.id;
        if (p->index)
            p->scale = in->mem_scale;
    }
    if (p->index && p->scale == 1 && (!p->base || p->base > p->index)) { /* a sum: one order for both */
        uint32_t base = p->base;
        p->base = p->index;
        p->index = base;
    }
    return true;
}

static bool same_address(const struct place *a, const struct place *b)
{
    return a->base == b->base && a->index == b->index && a->scale == b->scale && a->off == b->off && a->seg == b->seg;
}

static bool is_framed(const struct values *s, const struct place *p)
{
    return s->framed && !s->leaked && p->base == VALUE_SP && !p->index && p->seg == SEG_FLAT &&
           plus(p->off, p->bytes) <= s->frame_top;
}

bool place_through_sp(const struct place *p) { return p->base == VALUE_SP || p->index == VALUE_SP; }

static bool may_overlap(const struct values *s, const struct place *a, const struct place *b)
{
    if (a->seg != b->seg)
        return true; /* %fs:0 has an ordinary address too */
    if (a->base == b->base && a->index == b->index && a->scale == b->scale) {
        int64_t d = (int64_t)((uint64_t)a->off - (uint64_t)b->off);
        return d < b->bytes && d > -(int64_t)a->bytes;
    }
    return !(is_framed(s, a) && !place_through_sp(b)) && !(is_framed(s, b) && !place_through_sp(a));
}

/* A place on the stack that was free when the trace began. */
static bool is_new(const struct values *s, const struct place *p)
{
    struct value sp = s->reg[R_RSP];
    return p->base == VALUE_SP && !p->index && sp.id == VALUE_SP && p->off >= sp.off && plus(p->off, p->bytes) <= 0;
}

bool values_may_hold(const struct values *s, const struct place *p)
{
    if (p->seg != SEG_FLAT || !p->bytes || p->bytes > 8)
        return false;
    if (s->ir->alone)
        return true;
    if (s->ir->others && (s->published || !is_new(s, p)))
        return false; /* another thread may have its address */
    struct value sp = s->reg[R_RSP];
    return p->base == VALUE_SP && !p->index && sp.id == VALUE_SP && p->off >= plus(sp.off, -RED_ZONE);
}

bool values_find(const struct values *s, const struct place *p, struct value *v)
{
    if (values_may_hold(s, p))
        for (int i = 0; i < s->held_count; i++) {
            const struct held *h = &s->held[i];
            if (same_address(&h->at, p) && h->at.bytes >= p->bytes) {
                *v = h->v;
                return true;
            }
        }
    uint64_t c;
    bool fixed = p->seg == SEG_FLAT && !p->base && !p->index && p->bytes && p->bytes <= 8 &&
                 (uint64_t)p->off <= ~0ull - p->bytes;
    if (!fixed || !s->ir->constant_at || !s->ir->constant_at((uint64_t)p->off, p->bytes, &c))
        return false;
    *v = value_const(c & value_mask(p->bytes));
    return true;
}

static void hold(struct values *s, const struct place *p, struct value v)
{
    if (!values_may_hold(s, p))
        return;
    if (s->held_count == VALUES_HELD) {
        for (int i = 1; i < VALUES_HELD; i++)
            s->held[i - 1] = s->held[i];
        s->held_count--;
    }
    s->held[s->held_count++] = (struct held){*p, v};
}

static void forget_overlapping(struct values *s, const struct place *p)
{
    int kept = 0;
    for (int i = 0; i < s->held_count; i++)
        if (!may_overlap(s, &s->held[i].at, p))
            s->held[kept++] = s->held[i];
    s->held_count = kept;
}

void values_store(struct values *s, const struct place *p, const struct value *v)
{
    forget_overlapping(s, p);
    s->published |= s->leaked && !is_new(s, p);
    if (!v)
        return;
    if (v->id == VALUE_SP)
        s->leaked = true;
    s->published |= s->leaked && !is_new(s, p);
    hold(s, p, *v);
}

struct value values_load(struct values *s, const struct place *p)
{
    struct value v;
    if (values_find(s, p, &v))
        return values_zero_extend(s, v, p->bytes);
    v = values_fresh(s, p->bytes);
    hold(s, p, v);
    return v;
}

void values_forget_memory(struct values *s)
{
    s->published |= s->leaked;
    s->held_count = 0;
}

unsigned values_register_of(struct values *s, struct value v, unsigned bytes)
{
    for (unsigned r = 0; r < 16; r++)
        if (value_equal(s->reg[r], v))
            return r;
    struct value cut = values_zero_extend(s, v, bytes);
    for (unsigned r = 0; r < 16; r++)
        if (value_equal(s->reg[r], cut))
            return r;
    return R_NONE;
}
