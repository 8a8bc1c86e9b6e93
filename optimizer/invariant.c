/* extend(from * by + plus) * then_by + then_plus, all modulo 1 << 64. Where it is extended, only the low 32 bits of the first
 * step matter, and of an operation on 32 bits all is linear in the low 32 bits of `from`: so two steps are enough. */
#include "optimizer/invariant.h"

struct linear {
    uint64_t by, plus;
};

static bool is_known(const struct ir_invariant *v) { return v->from != R_NONE; }

static const struct ir_invariant unknown = {.from = R_NONE};

static struct ir_invariant of_register(unsigned r)
{
    return (struct ir_invariant){.from = (uint8_t)r, .extend = EXTEND_NOT, .by = 1, .then_by = 1};
}

/* The low 32 bits are those of from * by + plus. */
static struct linear low_of(const struct ir_invariant *v)
{
    uint64_t by = (uint64_t)v->by * (uint64_t)v->then_by;
    return (struct linear){by, (uint64_t)v->plus * (uint64_t)v->then_by + (uint64_t)v->then_plus};
}

static struct ir_invariant extended(unsigned from, struct linear low, enum ir_extend how)
{
    return (struct ir_invariant){.from = (uint8_t)from, .extend = (uint8_t)how, .by = (int32_t)low.by, .plus = (int32_t)low.plus, .then_by = 1};
}

static struct ir_invariant narrowed(const struct ir_invariant *v, enum ir_extend how)
{
    return is_known(v) ? extended(v->from, low_of(v), how) : unknown;
}

static struct ir_invariant scaled(struct ir_invariant v, int64_t by, int64_t plus, unsigned bytes)
{
    v.then_by = (int64_t)((uint64_t)v.then_by * (uint64_t)by);
    v.then_plus = (int64_t)((uint64_t)v.then_plus * (uint64_t)by + (uint64_t)plus);
    return bytes == 4 ? narrowed(&v, EXTEND_ZERO) : v;
}

static struct ir_invariant sum_of(struct ir_invariant a, struct ir_invariant b, unsigned bytes)
{
    if (!is_known(&a) || a.from != b.from)
        return unknown;
    if (bytes == 4) {
        struct linear x = low_of(&a), y = low_of(&b);
        return extended(a.from, (struct linear){x.by + y.by, x.plus + y.plus}, EXTEND_ZERO);
    }
    if (a.extend != b.extend || a.by != b.by || a.plus != b.plus)
        return unknown;
    a.then_by = (int64_t)((uint64_t)a.then_by + (uint64_t)b.then_by);
    a.then_plus = (int64_t)((uint64_t)a.then_plus + (uint64_t)b.then_plus);
    return a;
}

static struct ir_invariant address(const struct invariant_walk *w, const struct insn *in)
{
    unsigned bytes = in->dst.bytes;
    struct ir_invariant v = unknown;
    if (in->mem_narrow || in->mem_base == R_RIP)
        return unknown;
    if (in->mem_index < R_NONE)
        v = scaled(w->now[in->mem_index], in->mem_scale, 0, bytes);
    if (in->mem_base < R_NONE)
        v = in->mem_index < R_NONE ? sum_of(w->now[in->mem_base], v, bytes) : w->now[in->mem_base];
    return scaled(v, 1, in->mem_disp, bytes);
}

/* [REX] c1 /4 ib, d1 /4: shl r, imm; 69 /r id, 6b /r ib: imul r, r, imm. */
static struct ir_invariant other(const struct invariant_walk *w, const struct insn *in)
{
    unsigned at = (in->bytes[0] & 0xf0) == 0x40, rex = at ? in->bytes[0] : 0, bytes = rex & 8 ? 8 : 4;
    uint8_t op = in->bytes[at], modrm = in->bytes[at + 1];
    if (in->modrm_at != at + 1 || modrm >> 6 != 3 || in->mem_read)
        return unknown;
    unsigned rm = (modrm & 7u) | (rex & 1) << 3, digit = modrm >> 3 & 7;
    const uint8_t *imm = in->bytes + at + 2;
    if (digit == 4 && (op == 0xd1 || op == 0xc1)) {
        unsigned by = op == 0xd1 ? 1 : imm[0] & (bytes * 8 - 1);
        return by < 31 ? scaled(w->now[rm], 1ll << by, 0, bytes) : unknown;
    }
    if (op == 0x6b)
        return scaled(w->now[rm], (int8_t)imm[0], 0, bytes);
    if (op == 0x69 && in->len == at + 6)
        return scaled(w->now[rm], (int32_t)((uint32_t)imm[0] | (uint32_t)imm[1] << 8 | (uint32_t)imm[2] << 16 | (uint32_t)imm[3] << 24), 0, bytes);
    return unknown;
}

/* What `in` leaves in its destination, a whole general register. */
static struct ir_invariant result(const struct invariant_walk *w, const struct insn *in)
{
    unsigned bytes = in->dst.bytes;
    if (in->act == ACT_OTHER)
        return other(w, in);
    if (in->dst.kind != OPERAND_GPR || bytes < 4 || in->dst.high)
        return unknown;
    const struct ir_invariant *was = &w->now[in->dst.reg];
    bool from_reg = in->src.kind == OPERAND_GPR && !in->src.high, from_imm = in->src.kind == OPERAND_IMM;
    const struct ir_invariant *src = from_reg ? &w->now[in->src.reg] : &unknown;
    switch ((enum insn_act)in->act) {
    case ACT_MOV: return bytes == 8 ? *src : narrowed(src, EXTEND_ZERO);
    case ACT_MOVSX: return in->src.bytes == 4 && bytes == 8 ? narrowed(src, EXTEND_SIGN) : unknown;
    case ACT_LEA: return address(w, in);
    case ACT_INC: return scaled(*was, 1, 1, bytes);
    case ACT_DEC: return scaled(*was, 1, -1, bytes);
    case ACT_ADD: return from_imm ? scaled(*was, 1, in->immediate, bytes) : sum_of(*was, *src, bytes);
    case ACT_SUB:
        return from_imm ? scaled(*was, 1, (int64_t)(0 - (uint64_t)in->immediate), bytes)
                        : sum_of(*was, scaled(*src, -1, 0, 8), bytes);
    default: return unknown;
    }
}

static uint16_t writes(const struct node *n)
{
    switch ((enum node_op)n->op) {
    case N_INSN: return n->in->gpr_written;
    case N_EXIT_LOOP: return 1u << R_RCX;
    case N_PUSH_CONST:
    case N_ADD_SP:
    case N_GUARD: return 1u << R_RSP;
    default: return 0;
    }
}

bool invariant_start(struct invariant_walk *w, const struct ir *ir, int loop)
{
    w->ir = ir;
    w->fixed = UINT16_MAX & ~(1u << R_RSP);
    for (int i = loop + 1; i < ir->count; i++) {
        if (ir->nodes[i].removed)
            continue;
        if (ir->nodes[i].op == N_HAMMOCK)
            return false;
        w->fixed &= (uint16_t)~writes(&ir->nodes[i]);
    }
    for (unsigned r = 0; r < 16; r++)
        w->now[r] = w->fixed >> r & 1 ? of_register(r) : unknown;
    return true;
}

void invariant_step(struct invariant_walk *w, const struct node *n)
{
    if (n->removed)
        return;
    uint16_t written = writes(n);
    struct ir_invariant v = unknown;
    bool followed = n->op == N_INSN && n->in->gpr_full == written && written && !(written & (written - 1)) && !n->in->mem_read;
    if (followed)
        v = result(w, n->in);
    for (unsigned r = 0; r < 16; r++)
        if (written >> r & 1)
            w->now[r] = v;
}
