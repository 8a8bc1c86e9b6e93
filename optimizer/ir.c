#include "optimizer/ir.h"

rc_t ir_append(struct ir *ir, struct node n)
{
    if (ir->count == ir->cap)
        return RC_TOO_LONG;
    ir->nodes[ir->count++] = n;
    return RC_OK;
}

bool ir_runs(const struct ir *ir, enum pass_id pass) { return !ir->passes || (ir->passes & PASS_BIT(pass)) != 0; }

uint32_t ir_changes(const struct ir *ir)
{
    uint32_t sum = 0;
    for (int i = 0; i < PASS_COUNT; i++)
        sum += ir->changes[i];
    return sum;
}

bool ir_change(struct ir *ir, enum pass_id pass, struct node *n, const char *why)
{
    if (ir->bisect < 0 || (ir->bisect > 0 && ir_changes(ir) >= (uint32_t)ir->bisect))
        return false;
    ir->changes[pass]++;
    n->why = why;
    return true;
}

rc_t ir_build(struct ir *ir, const struct trace *t, const struct insn *insns, int n)
{
    ir->tag = t->head;
    ir->exit = t->exit;
    ir->end = t->end;
    ir->insns = insns;
    ir->insn_count = n;
    ir->count = ir->made_count = ir->hammock_count = ir->slot_count = ir->check_count = ir->chain_count = ir->invariant_count = 0;
    ir->borrowed = ir->wanted = 0;
    for (int i = 0; i < PASS_COUNT; i++)
        ir->changes[i] = 0;
    int step = 0;
    for (int i = 0; i < n; i++) {
        uint64_t next = insns[i].pc.v + insns[i].len;
        struct node node = {.op = insn_ends_block(&insns[i]) ? N_BRANCH : N_INSN, .insn = i, .went = next};
        node.in = &insns[i];
        if (next == t->step[step].next.v) {
            node.went = t->step[step].went.v;
            node.taken = t->step[step].taken;
            step++;
        }
        TRY(ir_append(ir, node));
    }
    return step == t->steps ? RC_OK : RC_VERIFY;
}

/* IR-4 */
static rc_t verify_made(const struct ir *ir, const struct node *n, const struct insn *was)
{
    const struct insn *in = n->in;
    struct insn again;
    decode_made(in->bytes, in->len, was->pc, &again);
    bool decodes = again.kind == IK_PLAIN && again.len == in->len && again.act == in->act &&
                   again.gpr_written == in->gpr_written && again.gpr_read == in->gpr_read && again.xmm == in->xmm;
    bool registers = in->gpr_written == was->gpr_written && in->gpr_full == was->gpr_full &&
                     !((uint32_t)(in->xmm & ~was->xmm) << 16 & ~ir->borrowed) && in->sp == was->sp && in->sp_delta == was->sp_delta;
    bool memory = in->stores == was->stores && !in->mem_write && !in->mem_read && in->pushes == was->pushes;
    bool flags = (in->flags_written & ~n->flags_dead) == (was->flags_written & ~n->flags_dead);
    return decodes && registers && memory && flags && app_pc_eq(in->pc, was->pc) ? RC_OK : RC_VERIFY;
}

/* IR-7: movss or movsd of what is stored to a slot's vector register. */
static rc_t verify_vector_update(const struct ir *ir, const struct node *n)
{
    const struct insn *in = n->in, *was = &ir->insns[n->insn];
    struct insn again;
    decode_made(in->bytes, in->len, was->pc, &again);
    uint32_t more = (uint32_t)(again.xmm & ~was->xmm) << 16;
    bool is_slot = false;
    for (int i = 0; i < ir->slot_count; i++)
        is_slot |= more == 1u << ir->slots[i].reg && ir->slots[i].bytes == was->mem_bytes;
    bool register_only = is_slot && more & ir->borrowed && again.kind == IK_PLAIN && again.len == in->len &&
                         !again.gpr_written && !again.gpr_read && !again.flags_written && !again.mem_read && !again.stores;
    bool store = was->mem_write && !was->mem_read && n[1].op == N_INSN && !n[1].removed && n[1].insn == n->insn &&
                 n[1].part == PART_WHOLE && n[1].in == was;
    return register_only && store && app_pc_eq(in->pc, was->pc) ? RC_OK : RC_VERIFY;
}

/* IR-7: a part that changes a register changes that of one slot, and no memory. */
static rc_t verify_update(const struct ir *ir, const struct node *n)
{
    const struct insn *in = n->in, *was = &ir->insns[n->insn], *next = n[1].in;
    struct insn again;
    decode_made(in->bytes, in->len, was->pc, &again);
    unsigned reg = 0;
    if (in->xmm)
        return verify_vector_update(ir, n);
    while (reg < 16 && in->gpr_written != 1u << reg)
        reg++;
    bool register_only = reg < 16 && ir->borrowed & 1u << reg && !in->stores && !in->mem_read && !in->fence &&
                         in->sp == SP_SAME && again.kind == IK_PLAIN && again.len == in->len &&
                         again.gpr_written == in->gpr_written && again.gpr_read == in->gpr_read;
    if (!register_only || !app_pc_eq(in->pc, was->pc) || n[1].op != N_INSN || n[1].removed || n[1].insn != n->insn)
        return RC_VERIFY;
    if (n[1].part == PART_WHOLE) { /* mov memory, x */
        bool moves = was->act == ACT_MOV && in->act == ACT_MOV && in->gpr_read == was->gpr_data && in->gpr_full;
        return next == was && moves && !in->flags_written ? RC_OK : RC_VERIFY;
    }
    bool same = in->act == was->act && in->gpr_read == (was->gpr_data | 1u << reg) && in->immediate == was->immediate && in->flags_written == was->flags_written && in->flags_killed == was->flags_killed;
    return same && !in->flags_read && next->src.reg == reg && n[1].part == PART_STORE ? RC_OK : RC_VERIFY;
}

/* IR-7: mov memory, slot's register, where the original changed the same memory. */
static rc_t verify_store(const struct ir *ir, const struct node *n)
{
    const struct insn *in = n->in, *was = &ir->insns[n->insn];
    struct insn again;
    decode_made(in->bytes, in->len, was->pc, &again);
    bool decodes = again.kind == IK_PLAIN && again.len == in->len && again.act == ACT_MOV && again.mem_write &&
                   again.gpr_read == in->gpr_read && app_pc_eq(in->pc, was->pc);
    bool address = in->mem_base == was->mem_base && in->mem_index == was->mem_index &&
                   in->mem_bytes == was->mem_bytes && in->seg == was->seg && in->rip_relative == was->rip_relative &&
                   (in->rip_relative ? in->target == was->target
                                     : in->mem_disp == was->mem_disp && in->mem_scale == was->mem_scale);
    bool effect = was->mem_write && !was->gpr_written && !was->flags_read && !in->mem_read && !in->gpr_written &&
                  !in->flags_written && in->src.kind == OPERAND_GPR;
    bool pair = n > ir->nodes && n[-1].part == PART_UPDATE && n[-1].insn == n->insn && !n[-1].removed;
    return decodes && address && effect && pair ? RC_OK : RC_VERIFY;
}

static rc_t verify_check(const struct ir *ir, const struct node *n)
{
    if (n->value >= (uint64_t)ir->check_count || !n->target || (FL_STATUS & ~n->flags_dead))
        return RC_VERIFY;
    const struct ir_check *c = &ir->checks[n->value];
    bool scratch = c->scratch < 16 && ir->borrowed & 1u << c->scratch;
    for (int i = 0; i < ir->slot_count; i++)
        scratch &= ir->slots[i].reg != c->scratch;
    return scratch && c->low < c->high ? RC_OK : RC_VERIFY;
}

static uint32_t used_by(const struct insn *in) { return in->gpr_read | in->gpr_written | (uint32_t)in->xmm << 16; }

/* IR-7: what the program's own instruction touches. */
static uint32_t touched(const struct ir *ir, const struct node *n)
{
    return n->appended ? 0 : used_by(&ir->insns[n->insn]);
}

/* IR-7: computed where the flags are dead, from what the loop does not write, into a register of its own. */
static rc_t verify_invariants(const struct ir *ir, const struct node *loop)
{
    unsigned own = 0, all = 0;
    for (int i = 0; i < ir->invariant_count; i++) {
        const struct ir_invariant *v = &ir->invariants[i];
        bool fits = v->by == (int32_t)v->by && v->plus == (int32_t)v->plus && v->then_by == (int32_t)v->then_by &&
                    v->then_plus == (int32_t)v->then_plus;
        if (!fits || v->reg >= 16 || v->from >= 16 || own >> v->reg & 1 || !(ir->borrowed >> v->reg & 1))
            return RC_VERIFY;
        if (v->extend == EXTEND_NOT && (v->by != 1 || v->plus))
            return RC_VERIFY;
        own |= 1u << v->reg;
        all |= 1u << v->reg | 1u << v->from;
    }
    for (int i = 0; i < ir->slot_count; i++)
        if (own >> ir->slots[i].reg & 1)
            return RC_VERIFY;
    for (int i = 0; i < ir->check_count; i++)
        if (own >> ir->checks[i].scratch & 1)
            return RC_VERIFY;
    for (const struct node *n = loop + 1; own && n < ir->nodes + ir->count; n++)
        if (!n->removed && (n->op == N_HAMMOCK || (n->op == N_INSN && n->in->gpr_written & all)))
            return RC_VERIFY;
    return own && FL_STATUS & ~loop->flags_dead ? RC_VERIFY : RC_OK;
}

/* IR-7 as far as it does not depend on values. */
static rc_t verify_borrowed(const struct ir *ir)
{
    int state = 0; /* 1 after N_BORROW, 2 after N_LOOP */
    unsigned slots = 0;
    if (ir->borrowed & (1u << R_RSP | ~(REGS_GENERAL | REGS_VECTOR)))
        return RC_VERIFY;
    if (!ir->borrowed && !ir->slot_count && !ir->check_count && !ir->invariant_count)
        state = 3;
    if (ir->borrowed && (ir->wanted & ~ir->borrowed || (ir->wanted && ir->nodes[0].op != N_BORROW)))
        return RC_VERIFY;
    for (int i = 0; i < ir->slot_count; i++) {
        unsigned bit = 1u << ir->slots[i].reg;
        bool absolute_vector = bit & REGS_VECTOR && ir->slots[i].base == R_NONE;
        if (slots & bit || !(ir->borrowed & bit) || ir->borrowed >> ir->slots[i].base & 1 || absolute_vector)
            return RC_VERIFY;
        slots |= bit;
    }
    for (int i = 0; i < ir->count; i++) {
        const struct node *n = &ir->nodes[i];
        bool marks = n->op == N_BORROW || n->op == N_LOOP || n->op == N_CHECK || n->part != PART_WHOLE;
        if (n->op == N_BORROW ? state != 0 : n->op == N_LOOP ? state != 1 : marks && (state == 0 || state == 3))
            return RC_VERIFY;
        state = n->op == N_BORROW ? 1 : n->op == N_LOOP ? 2 : state;
        if ((state == 1 || state == 2) && touched(ir, n) & ir->borrowed)
            return RC_VERIFY;
        bool outside = state <= 1 && n->op == N_INSN && !n->removed && used_by(n->in) & ir->borrowed;
        if (outside || (state == 1 && n->part != PART_WHOLE))
            return RC_VERIFY;
        if (n->removed)
            continue;
        if (n->op == N_CHECK)
            TRY(verify_check(ir, n));
        if (n->op == N_LOOP)
            TRY(verify_invariants(ir, n));
        if (n->op == N_INSN && n->part == PART_UPDATE && i + 1 < ir->count)
            TRY(verify_update(ir, n));
        if (n->op == N_INSN && n->part == PART_STORE)
            TRY(verify_store(ir, n));
    }
    return state == 3 || state == 2 ? RC_OK : RC_VERIFY;
}

bool node_may_go(const struct ir *ir, const struct node *n)
{
    const struct insn *was = &ir->insns[n->insn];
    return !was->stores && !was->fence && was->sp == SP_SAME && was->kind == IK_PLAIN;
}

/* IR-5 */
static rc_t verify_removed(const struct ir *ir, const struct node *n)
{
    const struct insn *was = &ir->insns[n->insn];
    switch ((enum node_op)n->op) {
    case N_INSN: return node_may_go(ir, n) ? RC_OK : RC_VERIFY;
    case N_GUARD: return was->kind == IK_JMP_IND ? RC_OK : RC_VERIFY;
    case N_PUSH_CONST:
    case N_ADD_SP:
    case N_EXIT_LOOP:
    case N_HAMMOCK:
    case N_LOOKUP: return RC_VERIFY;
    default: return RC_OK;
    }
}

static uint16_t written_by(const struct insn *in, uint16_t *stores)
{
    *stores = (uint16_t)(*stores + in->stores);
    return in->gpr_written;
}

static bool may_be_covered(const struct insn *in) { return in->kind == IK_PLAIN || in->kind == IK_JMP; }

/* IR-6 */
static rc_t verify_hammock(const struct ir *ir, int at)
{
    const struct node *n = &ir->nodes[at];
    if (n->hammock >= ir->hammock_count || ir->insns[n->insn].kind != IK_JCC)
        return RC_VERIFY;
    const struct hammock *s = &ir->hammocks[n->hammock];
    uint16_t go = 0, leave = 0, has = 0, may_write = s->scratch | s->spare, touches = 0;
    if (s->nodes < 1 || at + s->nodes >= ir->count || s->commit > s->count || s->count > HAMMOCK_STEPS ||
        s->other_at + s->other_count > ir->made_count)
        return RC_VERIFY;
    for (int i = 1; i < s->nodes; i++) {
        const struct insn *in = &ir->insns[n[i].insn];
        if (!n[i].removed || n[i].appended || !may_be_covered(in))
            return RC_VERIFY;
        may_write |= written_by(in, &go);
    }
    for (int i = 0; i < s->other_count; i++) {
        const struct insn *in = &ir->made[s->other_at + i];
        if (!may_be_covered(in))
            return RC_VERIFY;
        may_write |= written_by(in, &leave);
        touches |= in->gpr_read | in->gpr_written;
    }
    may_write |= ir->wanted | (uint16_t)(ir->borrowed & REGS_GENERAL);
    for (int i = 0; i < s->count; i++) {
        const struct hammock_step *t = &s->step[i];
        bool store = t->kind == HAMMOCK_STORE, last = i + 1 == s->commit;
        bool late = t->kind == HAMMOCK_SET || t->kind == HAMMOCK_CMOV;
        has = (uint16_t)(has + store);
        if (store ? !last : !(may_write & 1u << t->reg) || (i >= s->commit && !late))
            return RC_VERIFY;
        if (t->kind == HAMMOCK_SHIFT && t->reg == t->sum.base)
            return RC_VERIFY;
    }
    return go == leave && go == has && !(touches & (ir->wanted | ir->borrowed)) ? RC_OK : RC_VERIFY;
}

/* IR-8 */
static rc_t verify_chain(const struct ir *ir, const struct node *n)
{
    if (n->chain > ir->chain_count || n->op != N_GUARD)
        return RC_VERIFY;
    const struct ir_chain *c = &ir->chains[n->chain - 1];
    bool good = c->count > 0 && c->count <= CHAIN_TARGETS;
    for (int i = 0; good && i < c->count; i++) {
        good &= c->target[i] && c->target[i] != n->target;
        for (int k = 0; k < i; k++)
            good &= c->target[k] != c->target[i];
    }
    return good ? RC_OK : RC_VERIFY;
}

static rc_t verify_node(const struct ir *ir, const struct node *n, bool laid_out, bool last)
{
    if (n->fused && (n->fused > n - ir->nodes || n->op != N_INSN || !ir->borrowed))
        return RC_VERIFY; /* IR-7 */
    for (int i = 1; i <= n->fused; i++)
        if (!n[-i].removed || n[-i].op != N_INSN)
            return RC_VERIFY;
    if (node_ends_trace(n) != last)
        return RC_VERIFY; /* IR-1 */
    if (n->op == N_BRANCH && laid_out)
        return RC_VERIFY; /* IR-2 */
    bool wants_target = n->op == N_EXIT_IF || n->op == N_EXIT_LOOP || n->op == N_EXIT || n->op == N_GUARD;
    if (wants_target && !n->target)
        return RC_VERIFY; /* IR-3 */
    if (n->op == N_INSN && insn_ends_block(&ir->insns[n->insn]))
        return RC_VERIFY;
    if ((n->op == N_GUARD || n->op == N_LOOKUP)) {
        uint8_t kind = ir->insns[n->insn].kind;
        if (kind != IK_RET && kind != IK_JMP_IND && kind != IK_CALL_IND)
            return RC_VERIFY;
    }
    if (n->chain)
        TRY(verify_chain(ir, n));
    if (n->op == N_INSN && !node_is_original(ir, n) && n->part == PART_WHOLE)
        return verify_made(ir, n, &ir->insns[n->insn]);
    return RC_OK;
}

rc_t ir_verify(const struct ir *ir, bool laid_out)
{
    int last = -1;
    for (int i = 0; i < ir->count; i++) {
        if (ir->nodes[i].insn < 0 || ir->nodes[i].insn >= ir->insn_count)
            return RC_VERIFY;
        if (!ir->nodes[i].removed)
            last = i;
    }
    if (last < 0)
        return RC_VERIFY;
    int covered = 0; /* below it: in a hammock */
    for (int i = 0; i < ir->count && laid_out; i++) {
        const struct node *n = &ir->nodes[i];
        if (!n->removed && n->op == N_HAMMOCK) {
            TRY(verify_hammock(ir, i));
            covered = i + ir->hammocks[n->hammock].nodes;
        }
        if (n->removed && i >= covered)
            TRY(verify_removed(ir, n));
        else if (!n->removed)
            TRY(verify_node(ir, n, laid_out, i == last));
    }
    return verify_borrowed(ir);
}
