/* Register and memory states for random programs. */
#include <string.h>

#include "tests/fuzz/gen.h"

#define POOL     65536u
#define ARENA_AT (WORLD_DATA + 1536u)
#define STACK_AT (WORLD_STACK + 2048u)

static uint8_t pool[POOL + offsetof(struct memory, extra)];

/* Bytes like those of programs: small numbers and zeros among random ones. Always the same. */
static void fill_pool(void)
{
    struct rng r = {1};
    for (size_t i = 0; i + 8 <= sizeof pool; i += 8) {
        uint64_t v = rng_next(&r);
        switch (rng_below(&r, 4)) {
        case 0:
            v &= 0xff;
            break;
        case 1:
            v = 0;
            break;
        case 2:
            v = (uint64_t)(int64_t)(int32_t)v;
            break;
        default:
            break;
        }
        memcpy(pool + i, &v, 8);
    }
}

static uint64_t some_value(struct rng *r)
{
    uint64_t v = rng_next(r);
    switch (rng_below(r, 8)) {
    case 0:
        return v & 3;
    case 1:
        return v & 0xff;
    case 2:
        return 0 - (v & 3);
    case 3:
        return (uint64_t)1 << (v & 63);
    case 4:
        return ARENA_AT + (v & 63);
    case 5:
        return (uint32_t)v;
    default:
        return v;
    }
}

static void some_vectors(struct rng *r, struct state *s)
{
    static const double numbers[] = {0.0, 1.0, -1.5, 1e300, -1e-300, 3.25};
    memset(s->xs, 0, sizeof s->xs);
    s->xs[0] = 0x7f; /* fcw 0x37f */
    s->xs[1] = 0x03;
    s->xs[24] = 0x80; /* mxcsr 0x1f80 */
    s->xs[25] = 0x1f;
    s->xs[512] = 7; /* XSTATE_BV: x87, SSE, AVX */
    memcpy(s->xs + 160, pool + (rng_next(r) & (POOL - 1)), 256);
    memcpy(s->xs + 576, pool + (rng_next(r) & (POOL - 1)), 256);
    for (unsigned i = 0; i < 8; i++)
        memcpy(s->xs + 160 + rng_below(r, 16) * 16, &numbers[rng_below(r, 6)], 8);
}

static uint64_t some_flags(struct rng *r)
{
    return 0x202 | (rng_next(r) & FL_STATUS);
}

static void set_roles(struct rng *r, const struct gen_roles *roles, struct state *s)
{
    static const uint8_t near[] = {0, 0, 1, 4, 8, 8, 16, 32};
    bool aligned = rng_percent(r, 40);
    for (unsigned i = 0; i < 16; i++)
        if (roles->pointers & 1u << i) {
            uint64_t d = rng_percent(r, 70) ? near[rng_below(r, sizeof near)] : rng_below(r, 256);
            s->gpr[i] = ARENA_AT + (aligned ? d & ~(uint64_t)15 : d);
        }
    s->gpr[R_RSP] = STACK_AT + (rng_percent(r, 80) ? 8 * rng_below(r, 4) : rng_below(r, 32));
    if (roles->fixed)
        s->gpr[roles->fixed] = s->gpr[R_RSP] + GEN_STACK_POINTER;
    if (roles->counter != R_NONE)
        s->gpr[roles->counter] = 1 + rng_below(r, 6);
}

void gen_state(struct rng *r, const struct gen_roles *roles, struct state *s, struct memory *m)
{
    static bool filled;
    if (!filled)
        fill_pool();
    filled = true;
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = some_value(r);
    s->rflags = some_flags(r);
    set_roles(r, roles, s);
    some_vectors(r, s);
    memcpy((void *)m, pool + (rng_next(r) & (POOL - 1) & ~7ULL), offsetof(struct memory, extra));
    uint32_t offset = rng_below(r, 64);
    for (unsigned i = 0; i < 24; i++) { /* the middle, where programs go */
        uint64_t v = some_value(r);
        memcpy(m->data + 1500 + offset + i * 8, &v, 8);
    }
}

void gen_nearby_state(struct rng *r, const struct gen_roles *roles, const struct program *p, struct state *s,
                      struct memory *m)
{
    *s = p->start;
    world_memory_copy(m, &p->memory);
    for (unsigned n = 1 + rng_below(r, 3); n; n--) {
        unsigned reg = rng_below(r, 16);
        bool role =
            (roles->pointers & 1u << reg) || reg == R_RSP || reg == roles->counter || reg == roles->fixed;
        if (!role)
            s->gpr[reg] = some_value(r);
    }
    if (rng_percent(r, 50))
        s->rflags = some_flags(r);
    if (rng_percent(r, 50))
        set_roles(r, roles, s);
    if (rng_percent(r, 50))
        some_vectors(r, s);
    for (unsigned n = rng_below(r, 4); n; n--) {
        uint64_t v = some_value(r);
        memcpy(m->data + 1500 + rng_below(r, 256), &v, 8);
    }
}
