/* How long an iteration waits for the one before it: along the chains of values that go through a slot of the loop. In the
 * program itself they go through memory, from a store to a load of the next iteration; with the slot in a register they do
 * not. Latencies as on Intel Golden Cove, in cycles. */
#include "optimizer/estimate.h"

#define CYCLE 6u /* where it is a chain that counts, a core does as many instructions meanwhile */
#define FORWARDED 5 /* from a store to a load */
#define LOADED 5
#define NONE (-1)

struct depths {
    int reg[32]; /* cycles since the slot's value was there, by a mask's bits as ir.borrowed; NONE: does not hang on it */
    int slot[IR_SLOTS]; /* the same of the slots' memory */
};

static uint8_t opcode_of(const struct insn *in) { return in->modrm_at ? in->bytes[in->modrm_at - 1] : 0; }

static int latency_of(const struct insn *in)
{
    bool two = in->modrm_at > 1 && in->bytes[in->modrm_at - 2] == 0x0f;
    if (in->act == ACT_MOV)
        return 0;
    if (!in->xmm)
        return (two && opcode_of(in) == 0xaf) || opcode_of(in) == 0x69 || opcode_of(in) == 0x6b ? 3 : 1; /* imul */
    switch (two ? opcode_of(in) : 0) {
    case 0x10:
    case 0x11:
    case 0x28: return 0; /* moves */
    case 0x51: return 15; /* sqrt */
    case 0x5e: return 13; /* div */
    default: return 4;
    }
}

static uint32_t reg_bit(const struct insn *in, unsigned at, unsigned rex)
{
    bool has_rex = in->modrm_at > 2 && (in->bytes[in->modrm_at - 3] & 0xf0) == 0x40;
    unsigned high = has_rex ? in->bytes[in->modrm_at - 3] >> rex & 1u : 0;
    return 1u << (16 + ((in->bytes[in->modrm_at] >> at & 7) | high << 3));
}

/* Vector registers that it writes; *read: those it reads. Of legacy forms; others read and write all they touch. */
static uint32_t vectors_written(const struct insn *in, uint32_t *read)
{
    uint32_t all = (uint32_t)in->xmm << 16;
    *read = all;
    if (!all || in->modrm_at < 2 || in->bytes[in->modrm_at - 2] != 0x0f)
        return all;
    uint8_t op = opcode_of(in);
    bool in_register = in->bytes[in->modrm_at] >> 6 == 3;
    if (op == 0x11)
        return in_register ? reg_bit(in, 0, 0) : 0;
    uint32_t to = reg_bit(in, 3, 2) & all;
    if (op == 0x28 || (op == 0x10 && !in_register) || op == 0xef) /* pxor, which clears */
        *read = op == 0xef ? 0 : all & ~to;
    return to;
}

static int slot_find(const struct ir *ir, const struct insn *in)
{
    for (int i = 0; i < ir->slot_count; i++) {
        const struct ir_slot *s = &ir->slots[i];
        bool absolute = s->base == R_NONE && in->rip_relative && in->target == (uint64_t)s->at;
        if (absolute || (s->base != R_NONE && in->mem_base == s->base && in->mem_index == R_NONE && in->mem_disp == s->at))
            return i;
    }
    return NONE;
}

static int deepest(const struct depths *d, uint32_t mask)
{
    int most = NONE;
    for (unsigned r = 0; r < 32; r++)
        if (mask >> r & 1 && d->reg[r] > most)
            most = d->reg[r];
    return most;
}

static int later(int a, int by) { return a == NONE ? NONE : a + by; }

static void run(struct depths *d, const struct ir *ir, const struct insn *in)
{
    uint32_t read, written = vectors_written(in, &read) | in->gpr_written;
    uint32_t address = in->mem_base < 16 ? 1u << in->mem_base : 0;
    address |= in->mem_index < 16 ? 1u << in->mem_index : 0;
    int slot = in->mem_read || in->mem_write ? slot_find(ir, in) : NONE;
    bool zeroes = in->act == ACT_XOR && in->dst.kind == OPERAND_GPR && in->src.kind == OPERAND_GPR && in->dst.reg == in->src.reg;
    int depth = zeroes ? NONE : deepest(d, read | in->gpr_data);
    int from = in->mem_read ? slot != NONE ? later(d->slot[slot], FORWARDED) : later(deepest(d, address), LOADED) : NONE;
    depth = depth > from ? depth : from;
    depth = later(depth, latency_of(in));
    for (unsigned r = 0; r < 32; r++)
        if (written >> r & 1)
            d->reg[r] = depth;
    if (in->mem_write && slot != NONE)
        d->slot[slot] = depth;
}

static void start(struct depths *d)
{
    for (int i = 0; i < 32; i++)
        d->reg[i] = NONE;
    for (int i = 0; i < IR_SLOTS; i++)
        d->slot[i] = NONE;
}

struct estimated ir_estimate_chain(const struct ir *ir)
{
    int before = 0, after = 0, first = 0;
    while (first < ir->count && ir->nodes[first].op != N_LOOP)
        first++;
    for (int s = 0; s < ir->slot_count && first < ir->count; s++) {
        struct depths was, now;
        start(&was);
        start(&now);
        was.slot[s] = now.reg[ir->slots[s].reg] = 0;
        for (int i = first; i < ir->count; i++) {
            const struct node *n = &ir->nodes[i];
            if (!n->appended)
                run(&was, ir, &ir->insns[n->insn]);
            if (n->op == N_INSN && !n->removed && n->part != PART_STORE)
                run(&now, ir, n->in);
        }
        int through = was.slot[s], in_place = now.reg[ir->slots[s].reg];
        before = through > before ? through : before;
        after = in_place > after ? in_place : after;
    }
    return (struct estimated){(uint32_t)before * CYCLE, (uint32_t)after * CYCLE};
}
