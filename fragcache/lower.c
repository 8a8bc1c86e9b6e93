#include "fragcache/lower.h"

#include "fragcache/roll.h"
#include "runtime/base/context.h"
#include "tracer/asm.h"

#define MAX_CONSTANTS 1024
#define MAX_MISSES    512
#define LOOP_ALIGN 64u
#define STRAIGHT_ALIGN 32u

struct lowering {
    struct asm_buf a;
    struct lowered *out;
    const struct ir *ir;
    uint32_t lookup_table;
    int constant_count, miss_count;
    uint16_t saved; /* borrowed registers whose own values are in slots.saved */
    struct {
        uint32_t rel32; /* offset */
        uint64_t value;
    } constants[MAX_CONSTANTS];
    struct {
        uint32_t rel32;
        const struct node *guard;
        bool rcx_spilled;
        uint16_t saved;
    } misses[MAX_MISSES];
};

/* From here on. The last one given for an offset counts. */
static void recipe(struct lowering *l, struct recipe r)
{
    struct lowered *out = l->out;
    r.at = (uint32_t)l->a.len;
    r.stacked = r.from == PC_ROLL ? r.stacked : R_NONE;
    r.saved = l->saved;
    if (out->recipe_count && out->recipes[out->recipe_count - 1].at == r.at)
        out->recipe_count--;
    if (out->recipe_count == LOWER_MAX_RECIPES)
        l->a.overflow = true;
    else
        out->recipes[out->recipe_count++] = r;
}

static void recipe_at(struct lowering *l, uint64_t pc, unsigned first, unsigned second)
{
    recipe(l, (struct recipe){.pc = pc, .first = (uint8_t)first, .second = (uint8_t)second});
}

/* An indirect branch is done: its target is in rdx. */
static void recipe_looked_up(struct lowering *l)
{
    recipe(l, (struct recipe){.first = R_RCX, .second = R_RDX, .from = PC_RDX});
}

static rc_t add_exit(struct lowering *l, uint64_t target)
{
    if (l->out->exit_count == LOWER_MAX_EXITS)
        return RC_TOO_LONG;
    l->out->exits[l->out->exit_count++] =
        (struct lowered_exit){.branch = (uint32_t)l->a.len - 4, .saved = l->saved, .target = target};
    return RC_OK;
}

/* Branches to stubs are aimed at their own end first; place_stubs patches them. */
static rc_t lower_exit_if(struct lowering *l, const struct node *n)
{
    asm_jcc(&l->a, n->cc, asm_here(&l->a).v);
    l->out->insns_out++;
    return add_exit(l, n->target);
}

static rc_t lower_exit(struct lowering *l, const struct node *n)
{
    asm_jmp(&l->a, asm_here(&l->a).v);
    l->out->insns_out++;
    return add_exit(l, n->target);
}

/* leave when taken:      loop 1f; jmp 2f; 1: jmp stub; 2:
 * leave when not taken:  loop 2f; jmp stub; 2: */
static rc_t lower_exit_loop(struct lowering *l, const struct node *n)
{
    static const uint8_t jmp_over[] = {0xeb, 5};
    const struct insn *in = &l->ir->insns[n->insn];
    asm_loop_op(&l->a, in->loop_op, n->exit_taken ? 2 : 5);
    if (n->exit_taken) {
        recipe_at(l, in->pc.v + in->len, R_NONE, R_NONE);
        asm_bytes(&l->a, jmp_over, sizeof jmp_over);
    }
    l->out->insns_out += n->exit_taken ? 2 : 1;
    recipe_at(l, n->target, R_NONE, R_NONE);
    return lower_exit(l, n);
}

/* The loop's own edge is an exit to its tag, linked to itself: so that unlinking stops a loop that runs. */
static rc_t lower_back(struct lowering *l, const struct node *n)
{
    struct node edge = *n;
    edge.target = l->ir->tag.v;
    TRY(n->op == N_BACK ? lower_exit(l, &edge) : lower_exit_if(l, &edge));
    l->out->exits[l->out->exit_count - 1].back = true;
    return RC_OK;
}

/* The rel32 that was just emitted leads to a constant. */
static rc_t constant(struct lowering *l, uint64_t value)
{
    if (l->constant_count == MAX_CONSTANTS)
        return RC_TOO_LONG;
    l->constants[l->constant_count].rel32 = (uint32_t)l->a.len - 4;
    l->constants[l->constant_count++].value = value;
    return RC_OK;
}

static rc_t lower_push_const(struct lowering *l, uint64_t value)
{
    l->out->insns_out++;
    if ((int64_t)value == (int32_t)value) {
        asm_push_imm32(&l->a, (int32_t)value);
        return RC_OK;
    }
    asm_push_mem(&l->a, asm_here(&l->a).v);
    return constant(l, value);
}

/* A copy through a scratch register: its steps. */
static rc_t lower_insn(struct lowering *l, const struct node *n)
{
    const struct insn *was = &l->ir->insns[n->insn];
    unsigned count = 0;
    size_t at = l->a.len;
    TRY(asm_copy_insn(&l->a, n->in, SLOT(spill0), &count));
    l->out->insns_out += count;
    if (count == 1 || l->a.overflow)
        return RC_OK;
    unsigned scratch = asm_copy_scratch(n->in);
    size_t end = l->a.len;
    l->a.len = at + ASM_SLOT_BYTES;
    recipe_at(l, was->pc.v, scratch, R_NONE);
    l->a.len = end - ASM_SLOT_BYTES;
    recipe_at(l, was->pc.v + was->len, scratch, R_NONE);
    l->a.len = end;
    return RC_OK;
}

/* What a branch does besides going somewhere. */
static rc_t lower_effect(struct lowering *l, const struct insn *in)
{
    if (in->kind == IK_RET) {
        asm_lea(&l->a, R_RSP, R_RSP, 8 + in->imm);
        l->out->insns_out++;
    }
    return in->kind == IK_CALL_IND ? lower_push_const(l, in->pc.v + in->len) : RC_OK;
}

static void spill(struct lowering *l, unsigned reg, int32_t slot)
{
    asm_store_slot(&l->a, slot, reg);
    l->out->insns_out++;
}

static void unspill(struct lowering *l, unsigned reg, int32_t slot)
{
    asm_load_slot(&l->a, reg, slot);
    l->out->insns_out++;
}

/* Registers that may be overwritten before the branch is done: what it reads itself must stay for another try, and
 * borrowed ones hold slots. */
static unsigned free_registers(const struct lowering *l, const struct node *n)
{
    return n->gpr_dead & ~(l->ir->insns[n->insn].gpr_read | 1u << R_RSP | l->saved);
}

/* Always looked up. rcx_spilled: it already is, and holds something else. */
static rc_t lower_lookup(struct lowering *l, const struct node *n, bool rcx_spilled)
{
    const struct insn *in = &l->ir->insns[n->insn];
    unsigned dead = free_registers(l, n);
    recipe_at(l, in->pc.v, rcx_spilled ? R_RCX : R_NONE, R_NONE);
    if (rcx_spilled && in->gpr_read & 1u << R_RCX)
        unspill(l, R_RCX, SLOT(spill0));
    if (!rcx_spilled && !(dead & 1u << R_RCX))
        spill(l, R_RCX, SLOT(spill0));
    if (!(dead & 1u << R_RDX)) {
        spill(l, R_RDX, SLOT(spill1));
        recipe_at(l, in->pc.v, rcx_spilled ? R_RCX : R_NONE, R_RDX); /* a far operand's address comes into rdx */
    }
    if (in->kind == IK_RET)
        asm_load(&l->a, R_RDX, R_RSP, 0);
    else if (!asm_load_branch_operand(&l->a, R_RDX, in))
        return RC_UNSUPPORTED;
    recipe_at(l, in->pc.v, rcx_spilled ? R_RCX : R_NONE, R_RDX);
    TRY(lower_effect(l, in));
    recipe_looked_up(l);
    asm_movzx16(&l->a, R_RCX, R_RDX);
    asm_jmp_table_rcx(&l->a, l->lookup_table);
    l->out->insns_out += 3;
    return RC_OK;
}

static rc_t add_miss(struct lowering *l, const struct node *n, bool rcx_spilled)
{
    if (l->miss_count == MAX_MISSES)
        return RC_TOO_LONG;
    l->misses[l->miss_count].rel32 = (uint32_t)l->a.len - 4;
    l->misses[l->miss_count].rcx_spilled = rcx_spilled;
    l->misses[l->miss_count].saved = l->saved;
    l->misses[l->miss_count++].guard = n;
    return RC_OK;
}

/* The one of a set that a program is least likely to wait for. */
static unsigned choose_register(unsigned mask)
{
    unsigned passed_on = mask & (1u << 10 | 1u << 11); /* r10, r11: neither arguments nor kept (System V ABI, 3.2.1) */
    mask = passed_on ? passed_on : mask;
    return mask ? (unsigned)__builtin_ctz(mask) : R_NONE;
}

/* cmp operand, target. False: not possible, and nothing is emitted. */
static bool lower_compare(struct lowering *l, const struct node *n)
{
    const struct insn *in = &l->ir->insns[n->insn];
    unsigned reg = asm_branch_register(in);
    if ((int64_t)n->target == (int32_t)n->target)
        return asm_cmp_branch_operand_imm(&l->a, in, (int32_t)n->target);
    if (reg != R_NONE) {
        asm_cmp_const(&l->a, reg, asm_here(&l->a).v);
        return constant(l, n->target) == RC_OK;
    }
    const struct asm_buf before = l->a;
    int recipes = l->out->recipe_count;
    unsigned scratch = choose_register(free_registers(l, n));
    bool spilled = scratch == R_NONE;
    if (spilled) {
        scratch = choose_register(~(in->gpr_read | 1u << R_RSP) & 0xffff);
        spill(l, scratch, SLOT(spill0));
        recipe_at(l, in->pc.v, scratch, R_NONE);
    }
    asm_mov_imm64(&l->a, scratch, n->target);
    l->out->insns_out++;
    if (!asm_cmp_branch_operand(&l->a, scratch, in)) {
        l->a = before;
        l->out->recipe_count = recipes;
        return false;
    }
    if (spilled) {
        unspill(l, scratch, SLOT(spill0));
        recipe_at(l, in->pc.v, R_NONE, R_NONE);
    }
    return true;
}

/* rcx = operand - target, flags untouched; rcx is spilled unless it is free. */
static rc_t lower_subtract(struct lowering *l, const struct node *n, bool spilled)
{
    const struct insn *in = &l->ir->insns[n->insn];
    unsigned reg = asm_branch_register(in), free = free_registers(l, n) & ~(1u << R_RCX);
    int64_t minus = (int64_t)(0 - n->target);
    bool small = minus == (int32_t)minus;
    unsigned saved = spilled ? R_RCX : R_NONE;
    if (spilled)
        spill(l, R_RCX, SLOT(spill0));
    recipe_at(l, in->pc.v, saved, R_NONE);
    l->out->insns_out++;
    if (reg != R_NONE && reg != R_RCX && !small) {
        asm_mov_imm64(&l->a, R_RCX, (uint64_t)minus);
        asm_lea_sum(&l->a, R_RCX, reg, R_RCX);
        l->out->insns_out++;
        return RC_OK;
    }
    if (reg == R_NONE) {
        l->out->insns_out++;
        if (in->kind == IK_RET)
            asm_load(&l->a, R_RCX, R_RSP, 0);
        else if (!asm_load_branch_operand(&l->a, R_RCX, in))
            return RC_UNSUPPORTED;
        reg = R_RCX;
    }
    if (small) {
        asm_lea(&l->a, R_RCX, reg, (int32_t)minus);
        return RC_OK;
    }
    unsigned second = free ? choose_register(free) : R_RDX;
    if (!free) {
        spill(l, R_RDX, SLOT(spill1));
        recipe_at(l, in->pc.v, saved, R_RDX);
    }
    asm_mov_imm64(&l->a, second, (uint64_t)minus);
    asm_lea_sum(&l->a, R_RCX, R_RCX, second);
    l->out->insns_out++;
    if (!free) {
        unspill(l, R_RDX, SLOT(spill1));
        recipe_at(l, in->pc.v, saved, R_NONE);
    }
    return RC_OK;
}

static rc_t lower_guard(struct lowering *l, const struct node *n)
{
    const struct insn *in = &l->ir->insns[n->insn];
    bool flags_dead = (n->flags_dead & FL_STATUS) == FL_STATUS;
    if (flags_dead && lower_compare(l, n)) {
        asm_jcc(&l->a, 5, asm_here(&l->a).v);
        l->out->insns_out += 2;
        TRY(add_miss(l, n, false));
        return lower_effect(l, in);
    }
    bool spilled = !(free_registers(l, n) & 1u << R_RCX);
    TRY(lower_subtract(l, n, spilled));
    asm_loop_op(&l->a, 3, 5); /* jrcxz */
    asm_jmp(&l->a, asm_here(&l->a).v);
    l->out->insns_out++;
    TRY(add_miss(l, n, spilled));
    if (spilled)
        unspill(l, R_RCX, SLOT(spill0));
    recipe_at(l, in->pc.v, R_NONE, R_NONE);
    return lower_effect(l, in);
}

static rc_t lower_hammock(struct lowering *l, const struct node *n)
{
    const struct hammock *s = &l->ir->hammocks[n->hammock];
    for (int i = 0; i < s->count; i++) {
        const struct hammock_step *t = &s->step[i];
        if (i >= s->commit)
            recipe(l, roll_recipe(t));
        else if (t->kind == HAMMOCK_STORE)
            recipe(l, (struct recipe){.pc = l->ir->insns[n->insn].pc.v, .first = R_NONE, .second = R_NONE, .from = PC_AGAIN});
        if (t->kind == HAMMOCK_STORE)
            asm_store_sum(&l->a, t->sum, t->reg, t->bytes);
        else if (t->kind == HAMMOCK_CMOV)
            asm_cmov(&l->a, t->cc, t->reg, t->sum.base);
        else
            asm_set_sum(&l->a, t->reg, t->sum);
    }
    l->out->insns_out += s->count;
    return RC_OK;
}

/* --- borrowed registers */

static void lower_borrow(struct lowering *l, const struct node *n)
{
    for (unsigned r = 0; r < 16; r++) {
        if (!(l->ir->borrowed & 1u << r))
            continue;
        spill(l, r, SLOT_SAVED(r));
        l->saved |= (uint16_t)(1u << r);
        recipe_at(l, l->ir->insns[n->insn].pc.v, R_NONE, R_NONE);
    }
}

static void restore_borrowed(struct lowering *l)
{
    for (unsigned r = 0; r < 16; r++)
        if (l->saved & 1u << r)
            unspill(l, r, SLOT_SAVED(r));
}

static void lower_loop(struct lowering *l)
{
    for (int i = 0; i < l->ir->slot_count; i++) {
        const struct ir_slot *s = &l->ir->slots[i];
        bool absolute = s->base == R_NONE;
        if (absolute)
            asm_mov_imm64(&l->a, s->reg, (uint64_t)s->at);
        asm_load_wide(&l->a, s->reg, absolute ? s->reg : s->base, absolute ? 0 : (int32_t)s->at, s->bytes);
        l->out->insns_out += absolute ? 2 : 1;
    }
    asm_align(&l->a, LOOP_ALIGN);
    l->out->loop = (uint32_t)l->a.len;
}

/* scratch = first byte after the store - 1 - lowest of the range, which is below the sum of both lengths when they
 * meet. */
static rc_t lower_check(struct lowering *l, const struct node *n)
{
    const struct ir_check *c = &l->ir->checks[n->value];
    int64_t last = (int64_t)c->bytes - 1, span = c->high - c->low + last;
    bool store_const = c->base == R_NONE && c->index == R_NONE, range_const = c->near == R_NONE;
    int64_t off = c->off + last - (range_const ? 0 : c->low);
    if (store_const)
        asm_mov_imm64(&l->a, c->scratch, (uint64_t)off);
    else if (off == (int32_t)off)
        asm_lea_operand(&l->a, c->scratch, c->base, c->index, c->scale, (int32_t)off);
    else
        return RC_UNSUPPORTED;
    if (range_const) {
        asm_sub_const(&l->a, c->scratch, asm_here(&l->a).v);
        TRY(constant(l, (uint64_t)c->low));
    } else {
        asm_sub_reg(&l->a, c->scratch, c->near);
    }
    asm_cmp_imm32(&l->a, c->scratch, (int32_t)span);
    asm_jcc(&l->a, 2, asm_here(&l->a).v);
    l->out->insns_out += 4;
    return add_exit(l, n->target);
}

/* What the program is about to execute where the node begins. */
static uint64_t node_pc(const struct ir *ir, const struct node *n)
{
    return n->op == N_EXIT ? n->target : n->op == N_BACK ? ir->tag.v : ir->insns[n->insn].pc.v;
}

static rc_t lower_node(struct lowering *l, const struct node *n)
{
    switch ((enum node_op)n->op) {
    case N_INSN: return lower_insn(l, n);
    case N_EXIT_IF: return lower_exit_if(l, n);
    case N_EXIT_LOOP: return lower_exit_loop(l, n);
    case N_EXIT: return lower_exit(l, n);
    case N_PUSH_CONST: return lower_push_const(l, n->value);
    case N_ADD_SP:
        asm_lea(&l->a, R_RSP, R_RSP, (int32_t)n->value);
        l->out->insns_out++;
        return RC_OK;
    case N_GUARD: return lower_guard(l, n);
    case N_HAMMOCK: return lower_hammock(l, n);
    case N_LOOKUP: return lower_lookup(l, n, false);
    case N_BACK:
    case N_BACK_IF: return lower_back(l, n);
    case N_CHECK: return lower_check(l, n);
    case N_BORROW: lower_borrow(l, n); return RC_OK;
    case N_LOOP: lower_loop(l); return RC_OK;
    case N_BRANCH: break;
    }
    return RC_UNSUPPORTED;
}

void lower_stub(uint8_t bytes[STUB_BYTES_EACH], struct cache_pc at, const struct code_region *r, uint32_t id,
                struct app_pc target)
{
    if (r->native_exits) {
        lower_stub_far(bytes, at, cache_pc(target.v));
        return;
    }
    struct asm_buf a = asm_on(bytes, STUB_BYTES_EACH, at);
    asm_store_slot_imm32(&a, SLOT(exit_id), id);
    asm_jmp(&a, r->leave.v);
}

void lower_stub_far(uint8_t bytes[STUB_BYTES_EACH], struct cache_pc at, struct cache_pc to)
{
    struct asm_buf a = asm_on(bytes, STUB_BYTES_EACH, at);
    if (code_reaches(at.v + 5, to.v)) {
        asm_jmp(&a, to.v);
    } else {
        asm_jmp_mem(&a, at.v + 6);
        asm_u64(&a, to.v);
    }
    while (a.len < STUB_BYTES_EACH)
        asm_bytes(&a, "", 1); /* never reached */
}

static void emit_lookup_entry(struct asm_buf *a, struct app_pc tag, const struct code_region *r)
{
    asm_mov_imm64(a, R_RCX, 0 - tag.v);
    asm_lea_sum(a, R_RCX, R_RCX, R_RDX);
    asm_loop_op(a, 3, 5);
    asm_jmp(a, r->lookup_miss.v);
    asm_load_slot(a, R_RDX, SLOT(spill1));
    asm_load_slot(a, R_RCX, SLOT(spill0));
}

/* The lookup entry comes first; what follows it is aligned: a loop to a cache line, so that a short one is
 * fetched as a whole. */
static void lower_lookup_entry(struct lowering *l, const struct code_region *r)
{
    uint8_t buf[64];
    struct asm_buf trial = asm_on(buf, sizeof buf, asm_here(&l->a));
    emit_lookup_entry(&trial, l->ir->tag, r);
    unsigned align = l->ir->end == TRACE_LOOP ? LOOP_ALIGN : STRAIGHT_ALIGN;
    size_t pad = (0 - (l->a.origin + trial.len)) & (align - 1);
    while (pad--)
        asm_bytes(&l->a, "", 1); /* never reached */
    l->out->lookup_entry = (uint32_t)l->a.len;
    recipe_looked_up(l);
    emit_lookup_entry(&l->a, l->ir->tag, r);
    l->out->entry = (uint32_t)l->a.len;
    if (l->a.overflow)
        return;
    l->a.len -= ASM_SLOT_BYTES; /* rdx has been reloaded */
    recipe_at(l, l->ir->tag.v, R_RCX, R_NONE);
    l->a.len += ASM_SLOT_BYTES;
}

static void patch_rel32(struct lowering *l, uint32_t at, uint32_t to)
{
    int32_t d = (int32_t)(to - (at + 4));
    struct asm_buf p = asm_on(l->a.bytes + at, 4, cache_pc(0));
    asm_bytes(&p, &d, 4);
}

static void place_stubs(struct lowering *l, const struct code_region *r, uint32_t first_exit)
{
    uint32_t insns = l->out->insns_out;
    for (int i = 0; i < l->out->exit_count && !l->a.overflow; i++) {
        struct lowered_exit *e = &l->out->exits[i];
        uint8_t stub[STUB_BYTES_EACH];
        l->saved = e->saved;
        e->restore = (uint32_t)l->a.len;
        recipe_at(l, e->target, R_NONE, R_NONE);
        restore_borrowed(l);
        e->stub = (uint32_t)l->a.len;
        lower_stub(stub, asm_here(&l->a), r, first_exit + (uint32_t)i, app_pc(e->target));
        asm_bytes(&l->a, stub, sizeof stub);
        uint64_t branch = l->a.origin + e->branch;
        bool straight = r->native_exits && !e->saved && code_reaches(branch, e->target); /* no stub on the way */
        patch_rel32(l, e->branch, straight ? (uint32_t)(e->target - l->a.origin) : e->restore);
    }
    l->out->insns_out = insns;
}

static rc_t place_misses(struct lowering *l)
{
    uint32_t insns = l->out->insns_out;
    for (int i = 0; i < l->miss_count && !l->a.overflow; i++) {
        patch_rel32(l, l->misses[i].rel32, (uint32_t)l->a.len);
        l->saved = l->misses[i].saved;
        recipe_at(l, l->ir->insns[l->misses[i].guard->insn].pc.v, l->misses[i].rcx_spilled ? R_RCX : R_NONE, R_NONE);
        restore_borrowed(l);
        l->saved = 0;
        TRY(lower_lookup(l, l->misses[i].guard, l->misses[i].rcx_spilled));
    }
    l->out->insns_out = insns; /* of the path only */
    return RC_OK;
}

static void place_constants(struct lowering *l)
{
    if (l->constant_count)
        asm_align(&l->a, 8);
    for (int i = 0; i < l->constant_count && !l->a.overflow; i++) {
        uint32_t at = (uint32_t)l->a.len;
        asm_u64(&l->a, l->constants[i].value);
        patch_rel32(l, l->constants[i].rel32, at);
    }
}

static uint32_t planted;

void lower_set_plant(uint32_t units) { planted = units; }

void lower_plant(struct asm_buf *a, uint32_t units)
{
    for (uint32_t i = 0; i < units; i++)
        asm_mov_reg(a, R_RSP, R_RSP);
}

rc_t lower(const struct ir *ir, struct cache_pc at, const struct code_region *r, uint32_t first_exit,
           uint32_t lookup_table, struct lowered *out)
{
    static struct lowering state; /* one controlled thread; too large for the runtime's stack */
    struct lowering *l = &state;
    l->a = asm_on(out->bytes, LOWER_MAX_BYTES, at);
    l->out = out;
    l->ir = ir;
    l->lookup_table = lookup_table;
    l->constant_count = l->miss_count = 0;
    l->saved = 0;
    out->exit_count = out->map_count = out->recipe_count = 0;
    out->insns_out = 0;
    lower_lookup_entry(l, r);
    recipe_at(l, ir->tag.v, R_NONE, R_NONE);
    lower_plant(&l->a, planted);
    out->insns_out += planted;
    for (int i = 0; i < ir->count; i++) {
        if (ir->nodes[i].removed)
            continue;
        out->map[out->map_count++] = (struct lowered_node){(uint32_t)l->a.len, i};
        recipe_at(l, node_pc(ir, &ir->nodes[i]), R_NONE, R_NONE);
        TRY(lower_node(l, &ir->nodes[i]));
    }
    out->loop = ir->borrowed ? out->loop : out->entry;
    out->body_end = (uint32_t)l->a.len;
    TRY(place_misses(l));
    place_stubs(l, r, first_exit);
    place_constants(l);
    asm_align(&l->a, 16);
    if (l->a.overflow)
        return RC_FAR_BRANCH;
    out->len = (uint32_t)l->a.len;
    return RC_OK;
}
