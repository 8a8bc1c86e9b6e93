#include "fragcache/lower.h"

#include "runtime/base/context.h"
#include "tracer/asm.h"

#define MAX_CONSTANTS 512
#define LOOP_ALIGN 64u
#define STRAIGHT_ALIGN 32u

struct lowering {
    struct asm_buf a;
    struct lowered *out;
    const struct ir *ir;
    uint32_t lookup_table;
    int constant_count;
    struct {
        uint32_t push_at; /* offset of the push */
        uint64_t value;
    } constants[MAX_CONSTANTS];
};

static rc_t add_exit(struct lowering *l, uint64_t target)
{
    if (l->out->exit_count == LOWER_MAX_EXITS)
        return RC_TOO_LONG;
    l->out->exits[l->out->exit_count++] = (struct lowered_exit){(uint32_t)l->a.len - 4, 0, target};
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
    unsigned op = l->ir->insns[n->insn].loop_op;
    asm_loop_op(&l->a, op, n->exit_taken ? 2 : 5);
    if (n->exit_taken)
        asm_bytes(&l->a, jmp_over, sizeof jmp_over);
    l->out->insns_out += n->exit_taken ? 2 : 1;
    return lower_exit(l, n);
}

/* The loop's own edge is an exit to its tag, linked to itself: so that unlinking stops a loop that runs. */
static rc_t lower_back(struct lowering *l, const struct node *n)
{
    struct node edge = *n;
    edge.target = l->ir->tag.v;
    return n->op == N_BACK ? lower_exit(l, &edge) : lower_exit_if(l, &edge);
}

static rc_t lower_push_const(struct lowering *l, uint64_t value)
{
    if (l->constant_count == MAX_CONSTANTS)
        return RC_TOO_LONG;
    l->constants[l->constant_count].push_at = (uint32_t)l->a.len;
    l->constants[l->constant_count++].value = value;
    asm_push_mem(&l->a, asm_here(&l->a).v);
    l->out->insns_out++;
    return RC_OK;
}

/* rdx = target of the indirect branch; stack adjusted as the branch would. */
static rc_t lower_indirect_target(struct lowering *l, const struct insn *in)
{
    asm_store_slot(&l->a, SLOT(spill0), R_RCX);
    asm_store_slot(&l->a, SLOT(spill1), R_RDX);
    l->out->insns_out += 3;
    if (in->kind == IK_RET) {
        asm_load(&l->a, R_RDX, R_RSP, 0);
        asm_lea(&l->a, R_RSP, R_RSP, 8 + in->imm);
        l->out->insns_out++;
        return RC_OK;
    }
    if (!asm_load_branch_operand(&l->a, R_RDX, in))
        return RC_UNSUPPORTED;
    if (in->kind == IK_CALL_IND)
        return lower_push_const(l, in->pc.v + in->len);
    return RC_OK;
}

static void lower_table_jump(struct lowering *l)
{
    asm_movzx16(&l->a, R_RCX, R_RDX);
    asm_jmp_table_rcx(&l->a, l->lookup_table);
    l->out->insns_out += 2;
}

static void lower_reload(struct asm_buf *a)
{
    asm_load_slot(a, R_RDX, SLOT(spill1));
    asm_load_slot(a, R_RCX, SLOT(spill0));
}

static rc_t lower_guard(struct lowering *l, const struct node *n)
{
    TRY(lower_indirect_target(l, &l->ir->insns[n->insn]));
    asm_mov_imm64(&l->a, R_RCX, 0 - n->target);
    asm_lea_sum(&l->a, R_RCX, R_RCX, R_RDX);
    size_t at = l->a.len;
    asm_loop_op(&l->a, 3, 0); /* jrcxz over the table jump */
    lower_table_jump(l);
    if (!l->a.overflow)
        l->a.bytes[at + 1] = (uint8_t)(l->a.len - at - 2);
    lower_reload(&l->a);
    l->out->insns_out += 5;
    return RC_OK;
}

static rc_t lower_node(struct lowering *l, const struct node *n)
{
    unsigned count = 0;
    struct lowered *out = l->out;
    switch ((enum node_op)n->op) {
    case N_INSN:
        TRY(asm_copy_insn(&l->a, n->in, SLOT(spill0), &count));
        out->insns_out += count;
        return RC_OK;
    case N_EXIT_IF: return lower_exit_if(l, n);
    case N_EXIT_LOOP: return lower_exit_loop(l, n);
    case N_EXIT: return lower_exit(l, n);
    case N_PUSH_CONST: return lower_push_const(l, n->value);
    case N_ADD_SP:
        asm_lea(&l->a, R_RSP, R_RSP, (int32_t)n->value);
        out->insns_out++;
        return RC_OK;
    case N_GUARD: return lower_guard(l, n);
    case N_LOOKUP:
        TRY(lower_indirect_target(l, &l->ir->insns[n->insn]));
        lower_table_jump(l);
        return RC_OK;
    case N_BACK:
    case N_BACK_IF: return lower_back(l, n);
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
    asm_jmp_mem(&a, at.v + 6);
    asm_u64(&a, to.v);
    while (a.len < STUB_BYTES_EACH)
        asm_bytes(&a, "", 1); /* never reached */
}

static void emit_lookup_entry(struct asm_buf *a, struct app_pc tag, const struct code_region *r)
{
    asm_mov_imm64(a, R_RCX, 0 - tag.v);
    asm_lea_sum(a, R_RCX, R_RCX, R_RDX);
    asm_loop_op(a, 3, 5);
    asm_jmp(a, r->lookup_miss.v);
    lower_reload(a);
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
    emit_lookup_entry(&l->a, l->ir->tag, r);
    l->out->entry = (uint32_t)l->a.len;
}

static void patch_rel32(struct lowering *l, uint32_t at, uint32_t to)
{
    int32_t d = (int32_t)(to - (at + 4));
    struct asm_buf p = asm_on(l->a.bytes + at, 4, cache_pc(0));
    asm_bytes(&p, &d, 4);
}

static void place_stubs(struct lowering *l, const struct code_region *r, uint32_t first_exit)
{
    for (int i = 0; i < l->out->exit_count && !l->a.overflow; i++) {
        struct lowered_exit *e = &l->out->exits[i];
        uint8_t stub[STUB_BYTES_EACH];
        e->stub = (uint32_t)l->a.len;
        lower_stub(stub, asm_here(&l->a), r, first_exit + (uint32_t)i, app_pc(e->target));
        asm_bytes(&l->a, stub, sizeof stub);
        patch_rel32(l, e->branch, e->stub);
    }
}

static void place_constants(struct lowering *l)
{
    if (l->constant_count)
        asm_align(&l->a, 8);
    for (int i = 0; i < l->constant_count && !l->a.overflow; i++) {
        uint32_t constant = (uint32_t)l->a.len;
        asm_u64(&l->a, l->constants[i].value);
        patch_rel32(l, l->constants[i].push_at + 2, constant);
    }
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
    l->constant_count = 0;
    out->exit_count = out->map_count = 0;
    out->insns_out = 0;
    lower_lookup_entry(l, r);
    for (int i = 0; i < ir->count; i++) {
        if (ir->nodes[i].removed)
            continue;
        out->map[out->map_count++] = (struct lowered_node){(uint32_t)l->a.len, i};
        TRY(lower_node(l, &ir->nodes[i]));
    }
    out->body_end = (uint32_t)l->a.len;
    place_stubs(l, r, first_exit);
    place_constants(l);
    asm_align(&l->a, 16);
    if (l->a.overflow)
        return RC_FAR_BRANCH;
    out->len = (uint32_t)l->a.len;
    return RC_OK;
}
