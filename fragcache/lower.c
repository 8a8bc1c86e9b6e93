#include "fragcache/lower_parts.h"

#include "fragcache/roll.h"
#include "runtime/base/context.h"

#define LOOP_ALIGN 64u
#define STRAIGHT_ALIGN 32u

/* From here on. The last one given for an offset counts. */
void lower_recipe(struct lowering *l, struct recipe r)
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

void lower_recipe_at(struct lowering *l, uint64_t pc, unsigned first, unsigned second)
{
    lower_recipe(l, (struct recipe){.pc = pc, .first = (uint8_t)first, .second = (uint8_t)second});
}

/* An indirect branch is done: its target is in rdx. */
void lower_recipe_looked_up(struct lowering *l)
{
    lower_recipe(l, (struct recipe){.first = R_RCX, .second = R_RDX, .from = PC_RDX});
}

rc_t lower_add_exit(struct lowering *l, uint64_t target)
{
    if (l->out->exit_count == LOWER_MAX_EXITS)
        return RC_TOO_LONG;
    l->out->exits[l->out->exit_count++] =
        (struct lowered_exit){.branch = (uint32_t)l->a.len - 4, .saved = l->saved, .target = target};
    return RC_OK;
}

/* The rel32 that was just emitted leads to a constant. */
rc_t lower_constant(struct lowering *l, uint64_t value)
{
    if (l->constant_count == MAX_CONSTANTS)
        return RC_TOO_LONG;
    l->constants[l->constant_count].rel32 = (uint32_t)l->a.len - 4;
    l->constants[l->constant_count++].value = value;
    return RC_OK;
}

rc_t lower_push_const(struct lowering *l, uint64_t value, bool stands)
{
    l->out->insns_out++;
    if (stands) {
        asm_lea(&l->a, R_RSP, R_RSP, -8);
        return RC_OK;
    }
    if ((int64_t)value == (int32_t)value) {
        asm_push_imm32(&l->a, (int32_t)value);
        return RC_OK;
    }
    asm_push_mem(&l->a, asm_here(&l->a).v);
    return lower_constant(l, value);
}

void lower_patch_rel32(struct lowering *l, uint32_t at, uint32_t to)
{
    int32_t d = (int32_t)(to - (at + 4));
    struct asm_buf p = asm_on(l->a.bytes + at, 4, cache_pc(0));
    asm_bytes(&p, &d, 4);
}

void lower_spill(struct lowering *l, unsigned reg, int32_t slot)
{
    asm_store_slot(&l->a, slot, reg);
    l->out->insns_out++;
}

void lower_unspill(struct lowering *l, unsigned reg, int32_t slot)
{
    asm_load_slot(&l->a, reg, slot);
    l->out->insns_out++;
}

void lower_restore_borrowed(struct lowering *l)
{
    for (unsigned r = 0; r < 16; r++)
        if (l->saved & 1u << r)
            lower_unspill(l, r, SLOT_SAVED(r));
    for (unsigned n = VECTOR_FIRST; n < 16; n++)
        if (l->saved & 1u << REG_VECTOR(n)) {
            asm_load_slot_vector(&l->a, n, SLOT_VECTOR(n));
            l->out->insns_out++;
        }
}

/* Branches to stubs are aimed at their own end first; place_stubs patches them. */
static rc_t lower_exit_if(struct lowering *l, const struct node *n)
{
    asm_jcc(&l->a, n->cc, asm_here(&l->a).v);
    l->out->insns_out++;
    return lower_add_exit(l, n->target);
}

static rc_t lower_exit(struct lowering *l, const struct node *n)
{
    asm_jmp(&l->a, asm_here(&l->a).v);
    l->out->insns_out++;
    return lower_add_exit(l, n->target);
}

/* leave when taken:      loop 1f; jmp 2f; 1: jmp stub; 2:
 * leave when not taken:  loop 2f; jmp stub; 2: */
static rc_t lower_exit_loop(struct lowering *l, const struct node *n)
{
    static const uint8_t jmp_over[] = {0xeb, 5};
    const struct insn *in = &l->ir->insns[n->insn];
    asm_loop_op(&l->a, in->loop_op, n->exit_taken ? 2 : 5);
    if (n->exit_taken) {
        lower_recipe_at(l, in->pc.v + in->len, R_NONE, R_NONE);
        asm_bytes(&l->a, jmp_over, sizeof jmp_over);
    }
    l->out->insns_out += n->exit_taken ? 2 : 1;
    lower_recipe_at(l, n->target, R_NONE, R_NONE);
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
    lower_recipe_at(l, was->pc.v, scratch, R_NONE);
    l->a.len = end - ASM_SLOT_BYTES;
    lower_recipe_at(l, was->pc.v + was->len, scratch, R_NONE);
    l->a.len = end;
    return RC_OK;
}

static rc_t lower_hammock(struct lowering *l, const struct node *n)
{
    const struct hammock *s = &l->ir->hammocks[n->hammock];
    for (int i = 0; i < s->count; i++) {
        const struct hammock_step *t = &s->step[i];
        if (i >= s->commit)
            lower_recipe(l, roll_recipe(t));
        else if (t->kind == HAMMOCK_STORE || t->kind == HAMMOCK_LOAD)
            lower_recipe(l, (struct recipe){.pc = l->ir->insns[n->insn].pc.v, .first = R_NONE, .second = R_NONE, .from = PC_AGAIN});
        switch ((enum hammock_kind)t->kind) {
        case HAMMOCK_SET: asm_set_sum(&l->a, t->reg, t->sum); break;
        case HAMMOCK_CMOV: asm_cmov(&l->a, t->cc, t->reg, t->sum.base); break;
        case HAMMOCK_STORE: asm_store_sum(&l->a, t->sum, t->reg, t->bytes); break;
        case HAMMOCK_LOAD: asm_load_sum(&l->a, t->reg, t->sum, t->bytes); break;
        case HAMMOCK_EXTEND: asm_extend(&l->a, t->reg, t->sum.base, t->bytes, t->cc, t->sum.narrow ? 4 : 8); break;
        case HAMMOCK_SHIFT:
            asm_shift(&l->a, t->cc, t->reg, t->sum.base, (unsigned)t->sum.disp, t->bytes);
            l->out->insns_out++;
            break;
        }
    }
    l->out->insns_out += s->count;
    return RC_OK;
}

/* --- borrowed registers */

static void lower_borrow(struct lowering *l, const struct node *n)
{
    for (unsigned r = 0; r < 32; r++) {
        if (!(l->ir->borrowed & 1u << r))
            continue;
        if (r < 16) {
            lower_spill(l, r, SLOT_SAVED(r));
        } else {
            asm_store_slot_vector(&l->a, SLOT_VECTOR(r - 16), r - 16);
            l->out->insns_out++;
        }
        l->saved |= 1u << r;
        lower_recipe_at(l, l->ir->insns[n->insn].pc.v, R_NONE, R_NONE);
    }
}

static void lower_linear(struct lowering *l, unsigned reg, int64_t by, int64_t plus)
{
    if (by != 1)
        asm_imul(&l->a, reg, (int32_t)by);
    if (plus)
        asm_lea(&l->a, reg, reg, (int32_t)plus);
    l->out->insns_out += (by != 1 ? 1u : 0u) + (plus ? 1u : 0u);
}

static void lower_invariant(struct lowering *l, const struct ir_invariant *v)
{
    asm_mov_reg(&l->a, v->reg, v->from);
    lower_linear(l, v->reg, v->by, v->plus);
    if (v->extend == EXTEND_SIGN)
        asm_movsxd(&l->a, v->reg, v->reg);
    else if (v->extend == EXTEND_ZERO)
        asm_set_sum(&l->a, v->reg, (struct asm_sum){.base = v->reg, .index = R_NONE, .scale = 1, .narrow = true});
    lower_linear(l, v->reg, v->then_by, v->then_plus);
    l->out->insns_out += v->extend == EXTEND_NOT ? 1 : 2;
}

static void lower_loop(struct lowering *l)
{
    for (int i = 0; i < l->ir->slot_count; i++) {
        const struct ir_slot *s = &l->ir->slots[i];
        bool absolute = s->base == R_NONE;
        l->out->insns_out += absolute ? 2 : 1;
        if (s->reg >= REG_VECTOR(VECTOR_FIRST)) {
            asm_load_scalar(&l->a, s->reg - 16u, s->base, (int32_t)s->at, s->bytes);
            continue;
        }
        if (absolute)
            asm_mov_imm64(&l->a, s->reg, (uint64_t)s->at);
        asm_load_wide(&l->a, s->reg, absolute ? s->reg : s->base, absolute ? 0 : (int32_t)s->at, s->bytes);
    }
    for (int i = 0; i < l->ir->invariant_count; i++)
        lower_invariant(l, &l->ir->invariants[i]);
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
        TRY(lower_constant(l, (uint64_t)c->low));
    } else {
        asm_sub_reg(&l->a, c->scratch, c->near);
    }
    if (span == (int32_t)span) {
        asm_cmp_imm32(&l->a, c->scratch, (int32_t)span);
    } else {
        asm_cmp_const(&l->a, c->scratch, asm_here(&l->a).v);
        TRY(lower_constant(l, (uint64_t)span));
    }
    asm_jcc(&l->a, 2, asm_here(&l->a).v);
    l->out->insns_out += 4;
    return lower_add_exit(l, n->target);
}

/* What the program is about to execute where the node begins. */
static uint64_t node_pc(const struct ir *ir, const struct node *n)
{
    n -= n->fused;
    return n->op == N_EXIT ? n->target : n->op == N_BACK ? ir->tag.v : ir->insns[n->insn].pc.v;
}

static rc_t lower_node(struct lowering *l, const struct node *n)
{
    switch ((enum node_op)n->op) {
    case N_INSN: return lower_insn(l, n);
    case N_EXIT_IF: return lower_exit_if(l, n);
    case N_EXIT_LOOP: return lower_exit_loop(l, n);
    case N_EXIT: return lower_exit(l, n);
    case N_PUSH_CONST: return lower_push_const(l, n->value, n->stands);
    case N_ADD_SP:
        asm_lea(&l->a, R_RSP, R_RSP, (int32_t)n->value);
        l->out->insns_out++;
        return RC_OK;
    case N_GUARD: return lower_guard(l, n);
    case N_HAMMOCK: return lower_hammock(l, n);
    case N_LOOKUP: return lower_lookup(l, n);
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
    lower_recipe_looked_up(l);
    emit_lookup_entry(&l->a, l->ir->tag, r);
    l->out->entry = (uint32_t)l->a.len;
    if (l->a.overflow)
        return;
    l->a.len -= ASM_SLOT_BYTES; /* rdx has been reloaded */
    lower_recipe_at(l, l->ir->tag.v, R_RCX, R_NONE);
    l->a.len += ASM_SLOT_BYTES;
}

static void place_stubs(struct lowering *l, const struct code_region *r, uint32_t first_exit)
{
    uint32_t insns = l->out->insns_out;
    for (int i = 0; i < l->out->exit_count && !l->a.overflow; i++) {
        struct lowered_exit *e = &l->out->exits[i];
        uint8_t stub[STUB_BYTES_EACH];
        l->saved = e->saved;
        e->restore = (uint32_t)l->a.len;
        lower_recipe_at(l, e->target, R_NONE, R_NONE);
        lower_restore_borrowed(l);
        e->stub = (uint32_t)l->a.len;
        lower_stub(stub, asm_here(&l->a), r, first_exit + (uint32_t)i, app_pc(e->target));
        asm_bytes(&l->a, stub, sizeof stub);
        uint64_t branch = l->a.origin + e->branch;
        bool straight = r->native_exits && !e->saved && code_reaches(branch, e->target); /* no stub on the way */
        lower_patch_rel32(l, e->branch, straight ? (uint32_t)(e->target - l->a.origin) : e->restore);
    }
    l->out->insns_out = insns;
}

static void place_constants(struct lowering *l)
{
    if (l->constant_count)
        asm_align(&l->a, 8);
    for (int i = 0; i < l->constant_count && !l->a.overflow; i++) {
        uint32_t at = (uint32_t)l->a.len;
        asm_u64(&l->a, l->constants[i].value);
        lower_patch_rel32(l, l->constants[i].rel32, at);
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
    l->lookup_miss = r->lookup_miss.v;
    l->constant_count = l->miss_count = 0;
    l->saved = 0;
    out->exit_count = out->map_count = out->recipe_count = 0;
    out->insns_out = 0;
    lower_lookup_entry(l, r);
    lower_recipe_at(l, ir->tag.v, R_NONE, R_NONE);
    lower_plant(&l->a, planted);
    out->insns_out += planted;
    for (int i = 0; i < ir->count; i++) {
        if (ir->nodes[i].removed)
            continue;
        out->map[out->map_count++] = (struct lowered_node){(uint32_t)l->a.len, i};
        lower_recipe_at(l, node_pc(ir, &ir->nodes[i]), R_NONE, R_NONE);
        TRY(lower_node(l, &ir->nodes[i]));
    }
    out->loop = ir->borrowed ? out->loop : out->entry;
    out->body_end = (uint32_t)l->a.len;
    TRY(lower_place_misses(l, r->native_exits));
    place_stubs(l, r, first_exit);
    place_constants(l);
    asm_align(&l->a, 16);
    if (l->a.overflow)
        return RC_FAR_BRANCH;
    out->len = (uint32_t)l->a.len;
    return RC_OK;
}
