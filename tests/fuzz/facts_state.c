#include "tests/fuzz/facts_state.h"

#include <string.h>

#include "tracer/asm.h"

struct decoding {
    const uint8_t *bytes;
    size_t len;
    struct insn out;
};

static void decode_gated(void *arg)
{
    struct decoding *d = arg;
    decode_one(d->bytes, d->len, app_pc(FACT_CODE), &d->out);
}

static bool has_segment(const struct insn *in)
{
    for (unsigned i = 0; i < in->len; i++) {
        uint8_t b = in->bytes[i];
        if (b == 0x64 || b == 0x65)
            return true;
        if (b != 0x66 && b != 0x67 && b != 0xf0 && b != 0xf2 && b != 0xf3 && b != 0x2e && b != 0x36 &&
            b != 0x3e && b != 0x26)
            return false;
    }
    return false;
}

bool fact_place(const struct sample *s, struct insn *in)
{
    struct decoding d = {.bytes = s->bytes, .len = s->len};
    uint8_t bytes[INSN_MAX_BYTES];
    if (decode_gate(decode_gated, &d) != RC_OK || d.out.kind != IK_PLAIN || d.out.len != s->len ||
        has_segment(&d.out))
        return false;
    memcpy(bytes, s->bytes, s->len);
    bool absolute = d.out.modrm_at && d.out.disp_at && d.out.mem_base == R_NONE && d.out.mem_index == R_NONE;
    if (d.out.rip_relative || absolute) {
        int32_t disp =
            d.out.rip_relative ? (int32_t)(WORLD_CONSTS + 128 - (FACT_CODE + s->len)) : (int32_t)FACT_OPERAND;
        memcpy(bytes + d.out.disp_at, &disp, 4);
        d.bytes = bytes;
        if (decode_gate(decode_gated, &d) != RC_OK)
            return false;
    }
    *in = d.out;
    struct asm_buf a = asm_on(world_writable(FACT_CODE), 64, cache_pc(FACT_CODE));
    asm_bytes(&a, bytes, s->len);
    asm_jmp(&a, world_pad(WORLD_PAD_PLAIN));
    return true;
}

static void place_operand(const struct insn *in, struct state *s, uint64_t *address)
{
    uint64_t at = *address, scale = in->mem_scale ? in->mem_scale : 1;
    unsigned base = in->mem_base, index = in->mem_index;
    if (base == R_RIP || (base == R_NONE && index == R_NONE)) {
        *address = base == R_RIP ? WORLD_CONSTS + 128 : at;
        return;
    }
    if (base == R_RSP || base == R_RBP)
        at = WORLD_STACK + 2048 + 128;
    if (base == index) {
        s->gpr[base] = (at - (uint64_t)(int64_t)in->mem_disp) / (1 + scale);
    } else if (base == R_NONE) {
        s->gpr[index] = (at - (uint64_t)(int64_t)in->mem_disp) / scale;
    } else {
        if (index < R_NONE)
            s->gpr[index] &= 3;
        s->gpr[base] = at - (uint64_t)(int64_t)in->mem_disp - (index < R_NONE ? s->gpr[index] * scale : 0);
    }
    *address = (uint64_t)(int64_t)in->mem_disp + (base < R_NONE ? s->gpr[base] : 0) +
               (index < R_NONE ? s->gpr[index] * scale : 0);
}

void fact_state(struct rng *r, const struct insn *in, struct state *s, struct memory *m, uint64_t *address)
{
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < 16; i++) { /* pointers or numbers; both sorts must be tried */
        uint64_t v = rng_next(r);
        unsigned roll = rng_below(r, 6);
        s->gpr[i] = v;
        if (roll < 2)
            s->gpr[i] = WORLD_DATA + 1024 + (v & 2032);
        else if (roll < 4)
            s->gpr[i] = roll < 3 ? v & 7 : (uint64_t)(int64_t)(int8_t)v;
    }
    s->gpr[R_RSP] = WORLD_STACK + 2048 + 64 * rng_below(r, 4);
    s->gpr[R_RBP] = WORLD_STACK + 3072 + 64 * rng_below(r, 4);
    if (in->gpr_written & 1u << R_RDI)
        s->gpr[R_RDI] = WORLD_DATA + 2048 + rng_below(r, 256); /* string instructions */
    if (in->gpr_written & 1u << R_RSI)
        s->gpr[R_RSI] = WORLD_DATA + 2048 + rng_below(r, 256);
    if ((in->gpr_read & in->gpr_written & 1u << R_RCX) || rng_percent(r, 40))
        s->gpr[R_RCX] &= rng_percent(r, 30) ? 0xffffffffffffff00ULL & (rng_percent(r, 50) ? ~0ULL : 0) : 15;
    if ((in->gpr_read & in->gpr_written & 1u << R_RCX) && s->gpr[R_RCX] > 64)
        s->gpr[R_RCX] &= 7;
    if (rng_percent(r, 50))
        s->gpr[R_RDX] = 0; /* div */
    s->rflags = 0x202 | (rng_next(r) & FL_STATUS);
    *address = FACT_OPERAND;
    if (in->mem_base != R_NONE || in->mem_index != R_NONE || in->modrm_at)
        place_operand(in, s, address);
    s->xs[0] = 0x7f;
    s->xs[1] = 0x03;
    s->xs[24] = 0x80;
    s->xs[25] = 0x1f;
    s->xs[512] = 7;
    for (size_t i = 0; i < 256; i += 8) {
        uint64_t v = rng_percent(r, 30) ? 0x3ff8000000000000ULL : rng_next(r);
        memcpy(s->xs + 160 + i, &v, 8);
        memcpy(s->xs + 576 + i, &v, 8);
    }
    for (size_t i = 0; i + 8 <= offsetof(struct memory, extra); i += 8) {
        uint64_t v = rng_next(r);
        memcpy((uint8_t *)m + i, &v, 8);
    }
}

void fact_run(const struct state *s, const struct memory *m, struct fact_run *out)
{
    world_memory_set(m);
    out->state = *s;
    out->left = world_run(&out->state, FACT_CODE);
    world_memory_get(&out->memory);
}
