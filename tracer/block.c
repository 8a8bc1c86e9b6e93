#include "tracer/block.h"

#include "runtime/base/context.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "tracer/asm.h"
#include "tracer/stubs.h"

#define FIRST_BUCKETS 512u /* a short-lived process touches few pages */
#define MAX_INSNS 64
#define BATCH_BLOCKS 8 /* copied together: a write to code memory costs as much as a few copies */
#define MAX_CODE 4096u /* bytes of one copy; the worst instruction grows to 40 */
#define ARENA_LIMIT (96u << 20)

static struct block **buckets;
static uint32_t bucket_count, block_count;
static struct arena arena = {.limit = ARENA_LIMIT};
static struct block_stats stats;

static uint32_t bucket_of(struct app_pc pc)
{
    return (uint32_t)((pc.v * 0x9e3779b97f4a7c15ULL) >> 40) & (bucket_count - 1);
}

struct block *block_find(struct app_pc pc)
{
    if (!buckets)
        return NULL;
    struct block *b = buckets[bucket_of(pc)];
    while (b && b->pc.v != pc.v)
        b = b->chain;
    return b;
}

bool block_full(void)
{
    if (arena.used > ARENA_LIMIT - (2u << 20))
        return true;
    for (int i = 0; i < code_region_count(); i++) {
        const struct code_region *r = code_region_get(i);
        if (r->blocks.end - r->blocks.next < 4 * MAX_CODE)
            return true;
    }
    return false;
}

void block_flush(void)
{
    if (buckets)
        mem_zero(buckets, bucket_count * sizeof *buckets);
    block_count = 0;
    arena_reset(&arena);
    for (int i = 0; i < code_region_count(); i++)
        code_region_get(i)->blocks.next = code_region_get(i)->blocks.start;
    stats.flushes++;
}

void block_forget_range(uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < bucket_count; i++) {
        struct block **p = &buckets[i];
        while (*p) {
            struct block *b = *p;
            b->succ[0] = b->succ[1] = NULL;
            if (b->pc.v < end && b->next.v > start)
                *p = b->chain;
            else
                p = &b->chain;
        }
    }
}

void block_each(void (*fn)(struct block *))
{
    for (uint32_t i = 0; i < bucket_count; i++)
        for (struct block *b = buckets[i]; b; b = b->chain)
            fn(b);
}

struct block_stats block_stats_get(void) { return stats; }

/* slots.target = operand, with rcx kept. *effect: where what else the branch does begins. */
static bool emit_indirect(struct asm_buf *a, const struct insn *t, size_t *effect)
{
    asm_store_slot(a, SLOT(spill0), R_RCX);
    if (t->kind == IK_RET)
        asm_load(a, R_RCX, R_RSP, 0);
    else if (!asm_load_branch_operand(a, R_RCX, t))
        return false;
    asm_store_slot(a, SLOT(target), R_RCX);
    asm_load_slot(a, R_RCX, SLOT(spill0));
    *effect = a->len;
    if (t->kind == IK_RET)
        asm_lea(a, R_RSP, R_RSP, 8 + t->imm);
    return true;
}

static void emit_leave(struct asm_buf *a, const struct code_region *r)
{
    asm_store_slot_imm32(a, SLOT(exit_id), EXIT_BLOCK);
    asm_jmp(a, r->leave.v);
}

/* A push of the return address: aimed at a constant placed after the code, patched when that is known. */
struct pending_push {
    size_t at;
    bool used;
};

static void emit_push_return(struct asm_buf *a, struct pending_push *p)
{
    p->at = a->len;
    p->used = true;
    asm_push_mem(a, asm_here(a).v);
}

static void emit_constants(struct asm_buf *a, const struct pending_push *p, struct app_pc next)
{
    if (!p->used)
        return;
    asm_align(a, 8);
    uint64_t constant = asm_here(a).v;
    asm_u64(a, next.v);
    struct asm_buf patch = asm_on(a->bytes + p->at, 6, cache_pc(a->origin + p->at));
    asm_push_mem(&patch, constant);
}

/* syscall; a child that shares our memory goes on natively, with rcx as the kernel would have left it. */
static void emit_syscall_clone(struct asm_buf *a, const struct insn *t, const struct code_region *r)
{
    uint64_t next = t->pc.v + t->len;
    asm_bytes(a, t->bytes, t->len);
    asm_mov_reg(a, R_RCX, R_RAX);
    size_t at = a->len;
    asm_loop_op(a, 3, 0); /* jrcxz child */
    asm_mov_imm64(a, R_RCX, next);
    emit_leave(a, r);
    a->bytes[at + 1] = (uint8_t)(a->len - at - 2);
    asm_mov_imm64(a, R_RCX, next);
    asm_jmp_reg(a, R_RCX);
}

/* syscall; the parent leaves as usual, the child goes to thread_start with its context in rcx. */
rc_t block_thread_code(const struct block *b, const struct cpu_ctx *child, struct cache_pc *code)
{
    struct code_region *r;
    uint8_t buf[128];
    TRY(stubs_region(b->pc, &r));
    struct asm_buf a = asm_on(buf, sizeof buf, cache_pc(r->blocks.next));
    asm_bytes(&a, (const void *)b->pc.v, b->next.v - b->pc.v);
    asm_mov_reg(&a, R_RCX, R_RAX);
    size_t at = a.len;
    asm_loop_op(&a, 3, 0); /* jrcxz child */
    asm_mov_imm64(&a, R_RCX, b->next.v);
    emit_leave(&a, r);
    buf[at + 1] = (uint8_t)(a.len - at - 2);
    asm_mov_imm64(&a, R_RCX, (uint64_t)(uintptr_t)child);
    asm_jmp(&a, r->thread_start.v);
    asm_align(&a, 16);
    if (a.overflow || a.len > r->blocks.end - r->blocks.next)
        return RC_NO_MEMORY;
    *code = cache_pc(r->blocks.next);
    r->blocks.next += a.len;
    TRY(code_stage(*code, buf, a.len));
    return code_commit();
}

static rc_t block_keep_steps(struct block *b, const struct block_step *steps, int n)
{
    struct block_step *kept = arena_alloc(&arena, sizeof *kept * (size_t)(n + 1));
    if (!kept)
        return RC_NO_MEMORY;
    b->steps = mem_copy(kept, steps, sizeof *kept * (size_t)n);
    b->step_count = (uint16_t)n;
    return RC_OK;
}

static rc_t emit_block(struct block *b, const struct insn *in, int n, struct code_region *r)
{
    uint8_t buf[MAX_CODE];
    struct asm_buf a = asm_on(buf, sizeof buf, cache_pc(r->blocks.next));
    const struct insn *t = insn_ends_block(&in[n - 1]) ? &in[n - 1] : NULL;
    int body = t ? n - 1 : n;
    struct pending_push push = {0};
    struct block_step steps[MAX_INSNS];
    for (int i = 0; i < body; i++) {
        unsigned count;
        size_t at = a.len;
        TRY(asm_copy_insn(&a, &in[i], SLOT(spill0), &count));
        steps[i] = (struct block_step){in[i].len, (uint8_t)(a.len - at),
                                       (uint8_t)(count > 1 ? asm_copy_scratch(&in[i]) : R_NONE)};
    }
    size_t branch = a.len, effect = branch;
    if (t && (t->kind == IK_RET || t->kind == IK_JMP_IND || t->kind == IK_CALL_IND))
        if (!emit_indirect(&a, t, &effect))
            return RC_UNSUPPORTED;
    if (t && (t->kind == IK_CALL || t->kind == IK_CALL_IND))
        emit_push_return(&a, &push);
    if (t && t->kind == IK_SYSCALL) {
        asm_bytes(&a, t->bytes, t->len);
        asm_mov_imm64(&a, R_RCX, t->pc.v + t->len);
    }
    if (a.len == 0)
        return RC_OK; /* only a direct branch: nothing to execute */
    b->effect_at = (uint16_t)(effect - branch);
    b->done_at = (uint16_t)(a.len - branch);
    TRY(block_keep_steps(b, steps, body));
    emit_leave(&a, r);
    emit_constants(&a, &push, b->next);
    b->code = cache_pc(a.origin);
    if (t && t->kind == IK_SYSCALL) {
        b->code_clone = asm_here(&a);
        emit_syscall_clone(&a, t, r);
    }
    asm_align(&a, 16);
    if (a.overflow || a.len > r->blocks.end - r->blocks.next)
        return RC_NO_MEMORY;
    TRY(code_stage(b->code, buf, a.len));
    r->blocks.next += a.len;
    return RC_OK;
}

static void bucket_add(struct block *b)
{
    uint32_t i = bucket_of(b->pc);
    b->chain = buckets[i];
    buckets[i] = b;
}

static rc_t buckets_grow(uint32_t count)
{
    struct block **old = buckets, **fresh = mem_map(count * sizeof *fresh);
    uint32_t old_count = bucket_count;
    if (!fresh)
        return RC_NO_MEMORY;
    buckets = fresh;
    bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++)
        for (struct block *b = old[i], *next; b; b = next) {
            next = b->chain;
            bucket_add(b);
        }
    if (old)
        mem_unmap(old, old_count * sizeof *old);
    return RC_OK;
}

static rc_t block_link(struct block *b)
{
    if (block_count >= 2 * bucket_count)
        TRY(buckets_grow(bucket_count * 8));
    bucket_add(b);
    block_count++;
    stats.blocks++;
    return RC_OK;
}

static void block_unlink(struct block *b)
{
    struct block **p = &buckets[bucket_of(b->pc)];
    while (*p && *p != b)
        p = &(*p)->chain;
    if (*p)
        *p = b->chain;
}

/* Cuts the run so that a system call or a strange instruction stands alone: whoever dispatches must see the
 * registers before it. */
static int cut_run(const struct insn *in, int n)
{
    const struct insn *last = &in[n - 1];
    bool alone = last->kind == IK_SYSCALL || last->kind == IK_STRANGE || last->kind == IK_XBEGIN;
    return alone && n > 1 ? n - 1 : n;
}

/* In text that can change, an instruction that stores may change the next one: it ends the block. */
static int cut_at_store(const struct insn *in, int n)
{
    for (int i = 0; i < n; i++)
        if (in[i].stores)
            return i + 1;
    return n;
}

static rc_t block_keep_source(struct block *b)
{
    size_t len = b->next.v - b->pc.v;
    uint8_t *source = arena_alloc(&arena, len);
    if (!source)
        return RC_NO_MEMORY;
    b->source = mem_copy(source, (const void *)b->pc.v, len);
    return RC_OK;
}

/* Copies one block; its bytes are staged, not yet written. */
static rc_t block_make(struct app_pc pc, const struct map_range *range, struct block **out)
{
    struct insn in[MAX_INSNS];
    struct block *b = arena_alloc(&arena, sizeof *b);
    if (!b)
        return RC_NO_MEMORY;
    b->pc = b->next = pc;
    b->kind = IK_STRANGE;
    *out = b;
    TRY(block_link(b));
    if (!range)
        return RC_OK;
    b->map_kind = (uint8_t)range->kind;
    struct code_region *r;
    TRY(stubs_region(pc, &r));
    bool volatile_text = range->kind == MAP_VOLATILE;
    int n = cut_run(in, decode_run(pc, range->end, in, MAX_INSNS, volatile_text));
    if (volatile_text)
        n = cut_at_store(in, n);
    const struct insn *last = &in[n - 1];
    b->insns = (uint16_t)n;
    b->next = app_pc(last->pc.v + last->len);
    b->cc = last->cc;
    b->loop_op = last->loop_op;
    b->target = last->target;
    if (last->kind == IK_STRANGE)
        return RC_OK;
    if (volatile_text)
        TRY(block_keep_source(b));
    rc_t rc = emit_block(b, in, n, r);
    if (rc == RC_OK)
        b->kind = last->kind;
    return rc == RC_NO_SCRATCH || rc == RC_UNSUPPORTED ? RC_OK : rc;
}

/* Where b may go next, as far as its text tells: up to two addresses. */
static int block_successors(const struct block *b, uint64_t to[2])
{
    int n = 0;
    switch ((enum insn_kind)b->kind) {
    case IK_JCC:
    case IK_LOOP: to[n++] = b->next.v; break;
    case IK_CALL: to[n++] = b->target; to[n++] = b->next.v; break;
    case IK_JMP: to[n++] = b->target; break;
    case IK_PLAIN:
    case IK_CALL_IND:
    case IK_SYSCALL: to[n++] = b->next.v; break;
    default: break;
    }
    return n;
}

/* The block at pc and some that it leads to within the same text. */
static rc_t batch_make(struct app_pc pc, struct block **out)
{
    if (!buckets)
        TRY(buckets_grow(FIRST_BUCKETS));
    struct block *batch[BATCH_BLOCKS];
    struct map_range range;
    const struct map_range *found = maps_find(pc);
    if (found)
        range = *found;
    TRY(block_make(pc, found ? &range : NULL, out));
    batch[0] = *out;
    bool stable = found && range.kind != MAP_VOLATILE;
    for (int done = 0, n = 1; stable && done < n; done++) {
        uint64_t to[2];
        int count = block_successors(batch[done], to);
        for (int i = 0; i < count && n < BATCH_BLOCKS; i++)
            if (to[i] >= range.start && to[i] < range.end && !block_find(app_pc(to[i])))
                TRY(block_make(app_pc(to[i]), &range, &batch[n++]));
    }
    return code_commit();
}

#define LEAVE_BYTES 17u /* mov dword fs:[exit_id], 0; jmp leave */

/* In the branch that ends b, `offset` behind its steps' copies; pc is the branch's own. */
static uint64_t branch_recover(const struct block *b, uint64_t pc, unsigned offset, uint64_t gpr[16],
                               const struct tls_slots *slots)
{
    bool done = offset >= b->done_at;
    switch ((enum insn_kind)b->kind) {
    case IK_RET:
    case IK_JMP_IND:
    case IK_CALL_IND:
        if (offset && offset < b->effect_at)
            gpr[R_RCX] = slots->spill0;
        return done && b->kind != IK_JMP_IND ? slots->target : pc;
    case IK_CALL: return done ? b->target : pc;
    case IK_SYSCALL:
        if (!offset)
            return pc;
        gpr[R_RCX] = b->next.v;
        return b->next.v;
    default: return pc; /* computed in C, not yet */
    }
}

static bool copy_recover(const struct block *b, uint64_t pc, uint64_t gpr[16], const struct tls_slots *slots,
                         struct app_pc *native)
{
    uint64_t at = b->code.v, app = b->pc.v;
    for (int i = 0; i < b->step_count; i++) {
        const struct block_step *s = &b->steps[i];
        uint64_t offset = pc - at;
        if (offset < s->copy_len) {
            bool reloads = s->scratch != R_NONE && offset == s->copy_len - ASM_SLOT_BYTES;
            if (s->scratch != R_NONE && offset)
                gpr[s->scratch] = slots->spill0;
            *native = app_pc(reloads ? app + s->len : app);
            return true;
        }
        at += s->copy_len;
        app += s->len;
    }
    if (pc - at >= b->done_at + LEAVE_BYTES)
        return false;
    *native = app_pc(branch_recover(b, app, (unsigned)(pc - at), gpr, slots));
    return true;
}

bool block_recover(uint64_t pc, uint64_t gpr[16], const struct tls_slots *slots, struct app_pc *native)
{
    for (uint32_t i = 0; i < bucket_count; i++)
        for (const struct block *b = buckets[i]; b; b = b->chain)
            if (b->code.v && pc - b->code.v < MAX_CODE && copy_recover(b, pc, gpr, slots, native))
                return true;
    return false;
}

struct batch {
    struct app_pc pc;
    struct block *out;
    rc_t rc;
};

static void batch_gated(void *arg)
{
    struct batch *b = arg;
    b->rc = batch_make(b->pc, &b->out);
}

static bool source_unchanged(const struct block *b)
{
    return mem_compare(b->source, (const void *)b->pc.v, b->next.v - b->pc.v) == 0;
}

rc_t block_get(struct app_pc pc, struct block **out)
{
    struct block *b = block_find(pc);
    if (b && b->source && !source_unchanged(b)) {
        block_unlink(b);
        b = NULL;
    }
    if (b) {
        *out = b;
        return RC_OK;
    }
    struct batch batch = {.pc = pc};
    TRY(decode_gate(batch_gated, &batch));
    *out = batch.out;
    return batch.rc;
}
