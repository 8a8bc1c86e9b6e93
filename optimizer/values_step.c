/* What each instruction does to what is known. */
#include "optimizer/values.h"

#define LOGIC_FLAGS (FL_STATUS & ~FL_AF)
#define SIGN_FLAGS (FL_ZF | FL_SF | FL_PF)

static struct place stack_slot(const struct values *s, unsigned bytes)
{
    struct value sp = s->reg[R_RSP];
    return (struct place){.base = sp.id, .scale = 1, .bytes = (uint16_t)bytes, .off = sp.off};
}

/* rsp and rbp are where a stack address belongs; in any other register it may go anywhere. */
static void set_register(struct values *s, unsigned r, struct value v)
{
    if (v.id == VALUE_SP && r != R_RSP && r != R_RBP)
        s->leaked = true;
    s->reg[r] = v;
}

/* The registers of the mask: does one of them hold a stack address? */
static bool holds_sp(const struct values *s, unsigned mask)
{
    for (unsigned r = 0; r < 16; r++)
        if ((mask & 1u << r) && s->reg[r].id == VALUE_SP)
            return true;
    return false;
}

/* An operand as an unsigned number of `bytes`. */
static struct value operand(struct values *s, const struct insn *in, const struct operand *o, unsigned bytes)
{
    struct place p;
    switch ((enum operand_kind)o->kind) {
    case OPERAND_IMM: return value_const((uint64_t)in->immediate & value_mask(bytes));
    case OPERAND_GPR: return o->high ? values_fresh(s, 1) : values_zero_extend(s, s->reg[o->reg], o->bytes);
    case OPERAND_MEM:
        if (in->mem_bytes == o->bytes && o->bytes <= 8 && values_place(s, in, &p))
            return values_load(s, &p);
        break;
    case OPERAND_NONE: break;
    }
    return values_fresh(s, 8);
}

static bool is_same_register(const struct insn *in)
{
    return in->dst.kind == OPERAND_GPR && in->src.kind == OPERAND_GPR && in->dst.reg == in->src.reg &&
           in->dst.high == in->src.high;
}

static struct value sum(struct values *s, const struct insn *in, struct value a, struct value b)
{
    unsigned bytes = in->dst.bytes;
    struct value whole = s->reg[in->dst.reg]; /* the same low bytes as a, and more likely to be known */
    if (value_is_const(b))
        return values_zero_extend(s, value_moved(whole, b.off), bytes);
    if (value_is_const(a))
        return values_zero_extend(s, value_moved(b, a.off), bytes);
    return values_fresh(s, bytes);
}

static struct value difference(struct values *s, const struct insn *in, struct value a, struct value b)
{
    unsigned bytes = in->dst.bytes;
    if (value_is_const(b))
        return values_zero_extend(s, value_moved(s->reg[in->dst.reg], (int64_t)(0 - (uint64_t)b.off)), bytes);
    if (a.id == b.id)
        return value_const(((uint64_t)a.off - (uint64_t)b.off) & value_mask(bytes));
    return values_fresh(s, bytes);
}

static struct value logic(struct values *s, const struct insn *in, struct value a, struct value b)
{
    uint64_t x = (uint64_t)a.off, y = (uint64_t)b.off;
    if (value_equal(a, b))
        return in->act == ACT_XOR ? value_const(0) : a;
    if (value_is_const(a) && value_is_const(b))
        return value_const(in->act == ACT_AND ? x & y : in->act == ACT_OR ? x | y : x ^ y);
    struct value v = values_fresh(s, in->dst.bytes);
    if (in->act == ACT_AND && (value_is_const(a) || value_is_const(b)))
        v.bits = value_is_const(a) ? a.bits : b.bits;
    return v;
}

static struct value address(struct values *s, const struct insn *in)
{
    struct place p;
    bool simple = values_place(s, in, &p) && !p.index;
    if (!(simple && in->dst.bytes == 8))
        s->leaked |= holds_sp(s, in->gpr_read);
    if (!simple)
        return values_fresh(s, 8);
    unsigned r = in->mem_base < R_NONE && s->reg[in->mem_base].id == p.base ? in->mem_base : in->mem_index;
    return value_moved((struct value){p.base, r < R_NONE ? s->reg[r].bits : 64, 0}, p.off);
}

/* The new value of dst, a whole register; a and b are the operands of arithmetic. */
static struct value result(struct values *s, const struct insn *in, struct value a, struct value b)
{
    unsigned bytes = in->dst.bytes;
    switch ((enum insn_act)in->act) {
    case ACT_MOV:
    case ACT_MOVZX: return operand(s, in, &in->src, bytes);
    case ACT_MOVSX: return values_sign_extend(s, operand(s, in, &in->src, bytes), in->src.bytes, bytes);
    case ACT_LEA: return values_zero_extend(s, address(s, in), bytes);
    case ACT_INC:
    case ACT_ADD: return sum(s, in, a, b);
    case ACT_DEC:
    case ACT_SUB: return difference(s, in, a, b);
    case ACT_AND:
    case ACT_OR:
    case ACT_XOR: return logic(s, in, a, b);
    default: return values_fresh(s, 8);
    }
}

static bool is_arithmetic(const struct insn *in) { return in->act >= ACT_ADD && in->act <= ACT_DEC; }

static void operands(struct values *s, const struct insn *in, struct value *a, struct value *b)
{
    *a = *b = value_const(0);
    if (!is_arithmetic(in))
        return;
    *a = operand(s, in, &in->dst, in->dst.bytes);
    if (in->act == ACT_INC || in->act == ACT_DEC)
        *b = value_const(1);
    else
        *b = is_same_register(in) ? *a : operand(s, in, &in->src, in->dst.bytes);
}

/* The flags after `in`, whose operands are a and b and whose result is res. */
static struct flags_now flags_after(const struct insn *in, struct value a, struct value b, struct value res)
{
    struct flags_now f = {.a = a, .b = b, .res = res, .bytes = in->dst.bytes, .mask = SIGN_FLAGS};
    f.result = in->dst.kind == OPERAND_GPR && in->dst.bytes >= 4;
    switch ((enum insn_act)in->act) {
    case ACT_SUB: f.compared = true; break;
    case ACT_AND:
    case ACT_OR:
    case ACT_XOR: f.mask = LOGIC_FLAGS; break;
    case ACT_ADD:
    case ACT_INC:
    case ACT_DEC: break;
    case ACT_CMP:
        f.compared = true;
        f.result = false;
        break;
    case ACT_TEST:
        f.result = value_equal(a, b);
        f.res = a;
        f.mask = LOGIC_FLAGS;
        break;
    default: f.result = false; break;
    }
    return f;
}

/* Everything that `in` writes becomes unknown, as far as its operands tell what that is. */
static void step_other(struct values *s, const struct insn *in)
{
    struct place p;
    unsigned data = in->gpr_data & ~(in->sp == SP_ADD ? 1u << R_RSP : 0u);
    s->leaked |= holds_sp(s, data);
    if (in->stores) {
        if (in->mem_write && in->mem_bytes && !in->mem_implied && in->sp == SP_SAME && values_place(s, in, &p))
            values_store(s, &p, NULL);
        else
            values_forget_memory(s);
    }
    struct value sp = s->reg[R_RSP], bp = s->reg[R_RBP];
    for (unsigned r = 0; r < 16; r++)
        if (in->gpr_written & 1u << r)
            s->reg[r] = values_fresh(s, in->gpr_zx & 1u << r ? 4 : 8);
    if (in->sp == SP_ADD)
        s->reg[R_RSP] = value_moved(sp, in->sp_delta);
    else if (in->sp == SP_FROM_RBP)
        s->reg[R_RSP] = value_moved(bp, in->sp_delta);
    if (in->flags_written & FL_STATUS)
        s->flags = (struct flags_now){.compared = false};
}

static void push(struct values *s, unsigned bytes, struct value v)
{
    s->reg[R_RSP] = value_moved(s->reg[R_RSP], -(int64_t)bytes);
    struct place p = stack_slot(s, bytes);
    values_store(s, &p, &v);
}

static struct value pop(struct values *s)
{
    struct place p = stack_slot(s, 8);
    struct value v = values_load(s, &p);
    s->reg[R_RSP] = value_moved(s->reg[R_RSP], 8);
    return v;
}

static bool is_leave(const struct insn *in)
{
    return in->sp == SP_FROM_RBP && in->mem_implied && in->gpr_written == (1u << R_RSP | 1u << R_RBP) &&
           in->sp_delta == 8;
}

static bool step_stack(struct values *s, const struct insn *in)
{
    if (in->act == ACT_PUSH && in->sp == SP_ADD && !in->mem_narrow) {
        unsigned bytes = (unsigned)-in->sp_delta;
        push(s, bytes, operand(s, in, &in->src, bytes));
        return true;
    }
    if (in->act == ACT_POP && in->sp == SP_ADD && in->dst.kind == OPERAND_GPR && in->dst.bytes == 8) {
        set_register(s, in->dst.reg, pop(s));
        return true;
    }
    if (!is_leave(in))
        return false;
    s->reg[R_RSP] = s->reg[R_RBP];
    s->reg[R_RBP] = pop(s);
    return true;
}

static bool step_exchange(struct values *s, const struct insn *in)
{
    if (in->act != ACT_XCHG || in->dst.kind != OPERAND_GPR || in->src.kind != OPERAND_GPR || in->dst.bytes < 4)
        return false;
    if (in->dst.bytes < 8)
        s->leaked |= holds_sp(s, in->gpr_data);
    struct value a = values_zero_extend(s, s->reg[in->dst.reg], in->dst.bytes);
    struct value b = values_zero_extend(s, s->reg[in->src.reg], in->dst.bytes);
    set_register(s, in->dst.reg, b);
    set_register(s, in->src.reg, a);
    return true;
}

static bool is_followed(const struct insn *in)
{
    return in->act >= ACT_MOV && in->act <= ACT_DEC && !in->fence && !in->mem_implied;
}

static void step_store(struct values *s, const struct insn *in)
{
    struct place p;
    bool move = in->act == ACT_MOV;
    if (!move)
        s->leaked |= holds_sp(s, in->gpr_data);
    if (!in->mem_bytes || !values_place(s, in, &p)) {
        s->leaked |= holds_sp(s, in->gpr_data);
        values_forget_memory(s);
        return;
    }
    struct value v = values_fresh(s, 8);
    if (move && in->src.kind == OPERAND_GPR && !in->src.high)
        v = s->reg[in->src.reg]; /* its low bytes */
    else if (move)
        v = operand(s, in, &in->src, in->dst.bytes);
    values_store(s, &p, &v);
}

static void step_followed(struct values *s, const struct insn *in)
{
    struct value a, b, v = value_const(0);
    operands(s, in, &a, &b);
    if (in->act == ACT_CMP || in->act == ACT_TEST) {
        s->flags = flags_after(in, a, b, v);
        return;
    }
    if (in->dst.kind == OPERAND_MEM) {
        step_store(s, in);
    } else {
        v = in->dst.bytes >= 4 ? result(s, in, a, b) : values_fresh(s, 8);
        if (v.id != VALUE_SP)
            s->leaked |= holds_sp(s, in->gpr_data);
        set_register(s, in->dst.reg, v);
    }
    if (is_arithmetic(in))
        s->flags = flags_after(in, a, b, v);
}

static void step_insn(struct values *s, const struct insn *in)
{
    if (in->act == ACT_NOP)
        return;
    if (in->fence)
        values_forget_memory(s);
    if (step_stack(s, in) || step_exchange(s, in))
        return;
    if (is_followed(in))
        step_followed(s, in);
    else
        step_other(s, in);
}

bool values_result(struct values *s, const struct insn *in, struct value *v)
{
    struct value a, b;
    bool reads_memory = in->src.kind == OPERAND_MEM && in->act != ACT_LEA;
    if (!is_followed(in) || in->act == ACT_CMP || in->act == ACT_TEST || in->dst.kind != OPERAND_GPR ||
        in->dst.bytes < 4 || reads_memory)
        return false;
    operands(s, in, &a, &b);
    *v = result(s, in, a, b);
    return true;
}

bool values_loaded(struct values *s, const struct insn *in, struct value *v, struct value *from)
{
    struct place p;
    bool load = in->act == ACT_MOV || in->act == ACT_MOVZX || in->act == ACT_MOVSX;
    if (!load || in->src.kind != OPERAND_MEM || in->dst.kind != OPERAND_GPR || in->dst.bytes < 4 ||
        !values_place(s, in, &p) || !values_find(s, &p, from))
        return false;
    *v = values_zero_extend(s, *from, p.bytes);
    if (in->act == ACT_MOVSX)
        *v = values_sign_extend(s, *v, p.bytes, in->dst.bytes);
    return true;
}

bool values_compared(struct values *s, const struct insn *in, uint16_t mask)
{
    struct value a, b;
    const struct flags_now *now = &s->flags;
    operands(s, in, &a, &b);
    struct flags_now f = flags_after(in, a, b, a);
    unsigned narrow = f.bytes < now->bytes ? f.bytes : now->bytes;
    if (f.bytes != now->bytes && a.bits >= 8 * narrow)
        return false; /* else the sign is clear in both widths */
    if (f.bytes == now->bytes && f.compared && now->compared && value_equal(f.a, now->a) && value_equal(f.b, now->b))
        return true;
    bool zero = value_is_const(b) && b.off == 0;
    if (f.result || (f.compared && zero)) /* of a alone */
        return now->result && value_equal(a, now->res) && !(mask & ~now->mask);
    return false;
}

/* --- nodes */

/* The operand of an indirect jump or call; RET: what rsp points at. */
static bool branch_operand(const struct values *s, const struct insn *in, struct place *p, unsigned *reg)
{
    *reg = R_NONE;
    if (in->kind == IK_RET) {
        *p = stack_slot(s, 8);
        return true;
    }
    if (in->mem_read)
        return in->mem_bytes == 8 && values_place(s, in, p);
    unsigned data = in->gpr_data;
    if (in->kind == IK_CALL_IND && data != 1u << R_RSP)
        data &= ~(1u << R_RSP); /* which every call reads */
    *reg = 0;
    while (*reg < R_NONE && !(data & 1u << *reg))
        ++*reg;
    return data == 1u << *reg;
}

bool values_target(const struct values *s, const struct insn *in, uint64_t *target)
{
    struct value v;
    struct place p;
    unsigned reg;
    if (!branch_operand(s, in, &p, &reg))
        return false;
    if (reg < R_NONE)
        v = s->reg[reg];
    else if (!values_find(s, &p, &v))
        return false;
    *target = (uint64_t)v.off;
    return value_is_const(v);
}

static void push_return(struct values *s, uint64_t address_after)
{
    push(s, 8, value_const(address_after));
    struct value sp = s->reg[R_RSP];
    if (sp.id == VALUE_SP && (!s->framed || sp.off > s->frame_top)) {
        s->framed = true;
        s->frame_top = sp.off;
    }
}

static void step_guard(struct values *s, const struct node *n, const struct insn *in)
{
    struct place p;
    unsigned reg;
    if (in->kind != IK_RET && branch_operand(s, in, &p, &reg))
        values_learn(s, reg < R_NONE ? s->reg[reg] : values_load(s, &p), n->target);
    if (in->kind == IK_RET)
        s->reg[R_RSP] = value_moved(s->reg[R_RSP], 8 + in->imm);
    if (in->kind == IK_CALL_IND)
        push_return(s, in->pc.v + in->len);
}

static struct value sum_value(struct values *s, struct asm_sum a)
{
    if (a.index < R_NONE)
        return values_fresh(s, a.narrow ? 4 : 8);
    struct value v = a.base < R_NONE ? value_moved(s->reg[a.base], a.disp) : value_const((uint64_t)a.disp);
    return a.narrow ? values_zero_extend(s, v, 4) : v;
}

static void step_hammock(struct values *s, const struct hammock_step *t)
{
    struct insn at = {.mem_base = t->sum.base, .mem_index = t->sum.index, .mem_scale = t->sum.scale,
                      .mem_disp = t->sum.disp, .mem_bytes = t->bytes};
    unsigned reads = asm_sum_reads(t->sum);
    struct value v, was = s->reg[t->reg];
    struct place p;
    if (t->kind == HAMMOCK_STORE) {
        if (values_place(s, &at, &p))
            values_store(s, &p, &was);
        return;
    }
    switch ((enum hammock_kind)t->kind) {
    case HAMMOCK_LOAD:
        v = values_place(s, &at, &p) ? values_load(s, &p) : values_fresh(s, t->bytes);
        reads = 0;
        break;
    case HAMMOCK_SHIFT: v = values_fresh(s, t->bytes); break;
    case HAMMOCK_EXTEND:
        v = t->cc ? values_sign_extend(s, s->reg[t->sum.base], t->bytes, t->sum.narrow ? 4 : 8)
                  : values_zero_extend(s, s->reg[t->sum.base], t->bytes);
        break;
    default: v = sum_value(s, t->sum); break;
    }
    if (t->kind == HAMMOCK_CMOV && !value_equal(v, was)) {
        uint8_t bits = v.bits > was.bits ? v.bits : was.bits;
        reads |= 1u << t->reg;
        v = values_fresh(s, 8);
        v.bits = bits;
    }
    if (v.id != VALUE_SP)
        s->leaked |= holds_sp(s, reads);
    set_register(s, t->reg, v);
}

void values_step(struct values *s, const struct node *n)
{
    const struct insn *in = &s->ir->insns[n->insn];
    if (n->removed)
        return;
    switch ((enum node_op)n->op) {
    case N_INSN:
        step_insn(s, n->in);
        if (n->in->flags_written & ~in->flags_written)
            s->flags = (struct flags_now){.compared = false}; /* they are there because nothing reads them */
        break;
    case N_EXIT_IF:
    case N_BACK_IF: values_assume(s, n->cc ^ 1u); break;
    case N_EXIT_LOOP:
        if (in->loop_op < 3)
            s->reg[R_RCX] = value_moved(s->reg[R_RCX], -1);
        break;
    case N_HAMMOCK:
        for (int i = 0; i < s->ir->hammocks[n->hammock].count; i++)
            step_hammock(s, &s->ir->hammocks[n->hammock].step[i]);
        for (unsigned r = 0; r < 16; r++)
            if (s->ir->wanted & 1u << r)
                s->reg[r] = values_fresh(s, 8); /* nobody else's */
        break;
    case N_PUSH_CONST: push_return(s, n->value); break;
    case N_ADD_SP: s->reg[R_RSP] = value_moved(s->reg[R_RSP], (int64_t)n->value); break;
    case N_GUARD: step_guard(s, n, in); break;
    case N_LOOP: values_start(s, s->ir); break; /* from the back edge too */
    case N_CHECK: s->flags = (struct flags_now){.compared = false}; break;
    case N_BORROW:
    case N_BRANCH:
    case N_LOOKUP:
    case N_BACK:
    case N_EXIT: break;
    }
}
