/* mov a, R; then what extends or copies a, where a is not looked at any more: extends or copies R. Until that is done, the
 * program is at the first of the two. */
#include "optimizer/encode.h"
#include "optimizer/liveness.h"
#include "optimizer/promote.h"

/* mov of a slot's register, in place of a load. */
static bool loads_slot(const struct ir *ir, const struct node *n)
{
    const struct insn *in = n->in;
    return n->op == N_INSN && !n->removed && n->part == PART_WHOLE && !node_is_original(ir, n) && in->act == ACT_MOV &&
           in->dst.kind == OPERAND_GPR && in->src.kind == OPERAND_GPR && in->dst.bytes >= 4 && !in->src.high &&
           ir->borrowed >> in->src.reg & 1 && !n->fused && node_may_go(ir, n);
}

/* A register of 4 or 8 bytes is set to what a register holds, as such or extended. */
static bool takes(const struct ir *ir, const struct node *n, const struct operand *from)
{
    const struct insn *in = n->in;
    if (n->op != N_INSN || !in)
        return false;
    bool moves = in->act == ACT_MOV || in->act == ACT_MOVSX || in->act == ACT_MOVZX;
    return !n->removed && n->part == PART_WHOLE && node_is_original(ir, n) && moves &&
           in->dst.kind == OPERAND_GPR && in->dst.bytes >= 4 && !in->dst.high && in->src.kind == OPERAND_GPR &&
           in->src.reg == from->reg && !in->src.high && in->src.bytes <= from->bytes && in->dst.reg != R_RSP;
}

/* in with register r in the place of its source. NULL: no room or no such form. */
static const struct insn *encode_taken(struct ir *ir, const struct insn *in, unsigned r)
{
    uint8_t bytes[INSN_MAX_BYTES];
    struct asm_buf a = asm_on(bytes, sizeof bytes, cache_pc(0));
    unsigned to = in->dst.reg, narrow = in->src.bytes;
    /* REX.WRB [0f] opcode /r, mod 3: 8b mov; 63 movsxd; be, bf movsx; b6, b7 movzx */
    bool wide = in->dst.bytes == 8, two = in->act != ACT_MOV && narrow < 4;
    uint8_t opcode = in->act == ACT_MOV ? 0x8b : narrow == 4 ? 0x63 : (uint8_t)((in->act == ACT_MOVSX ? 0xbe : 0xb6) + narrow / 2);
    const uint8_t head[] = {(uint8_t)(0x40u | (wide ? 8u : 0) | (to >> 3) << 2 | r >> 3), 0x0f};
    const uint8_t tail[] = {opcode, (uint8_t)(0xc0u | (to & 7) << 3 | (r & 7))};
    asm_bytes(&a, head, two ? 2 : 1);
    asm_bytes(&a, tail, sizeof tail);
    struct insn *made = encode_make(ir, in->pc, bytes, a.len);
    bool as_meant = made && made->act == in->act && made->gpr_read == 1u << r && made->gpr_written == in->gpr_written &&
                    made->gpr_full == in->gpr_full && made->gpr_zx == in->gpr_zx && made->src.bytes == narrow &&
                    made->src.reg == r && !made->src.high && made->dst.bytes == in->dst.bytes && made->dst.reg == to;
    return as_meant ? &ir->made[ir->made_count++] : NULL;
}

void promote_fuse(struct ir *ir)
{
    int first = 0;
    while (first < ir->count && ir->nodes[first].op != N_LOOP)
        first++;
    liveness_compute(ir);
    for (int i = first; i + 1 < ir->count; i++) {
        struct node *load = &ir->nodes[i], *n = load + 1;
        if (!loads_slot(ir, load) || !takes(ir, n, &load->in->dst))
            continue;
        unsigned between = load->in->dst.reg;
        bool unread = n->in->dst.reg == between || n->gpr_dead >> between & 1;
        const struct insn *made = unread ? encode_taken(ir, n->in, load->in->src.reg) : NULL;
        if (!made || !ir_change(ir, PASS_promote, n, "promote: of the slot's register"))
            continue;
        load->removed = true;
        load->why = "promote: what takes it takes the slot's register";
        n->in = made;
        n->fused = 1;
    }
}
