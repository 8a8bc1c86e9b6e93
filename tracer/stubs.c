#include "tracer/stubs.h"

#include "tracer/asm.h"

#define FLAG_AC 0x40000u
/* Flags that sahf cannot set: DF, AC, NT, ID. */
#define FLAGS_SLOW (FL_DF | FLAG_AC | 0x4000u | 0x200000u)

int32_t slots_fs_offset;

static uint64_t thread_main;
static bool native_exits;

void stubs_set_native_exits(bool native) { native_exits = native; }

void stubs_set_thread_main(void (*main)(struct cpu_ctx *ctx)) { thread_main = (uint64_t)(uintptr_t)main; }

static const uint8_t callee_saved[] = {R_RBX, R_RBP, 12, 13, 14, 15};

/* push callee-saved ; ctx.rt_sp = rsp ; flags = ctx.rflags ; gpr = ctx.gpr ; jmp slots.target */
static void emit_enter(struct asm_buf *a)
{
    for (size_t i = 0; i < sizeof callee_saved; i++)
        asm_push(a, callee_saved[i]);
    asm_store(a, R_RDI, CTX(rt_sp), R_RSP);
    asm_load(a, R_RAX, R_RDI, CTX(rflags));
    asm_test_eax(a, FLAGS_SLOW);
    size_t to_slow = a->len;
    asm_jcc(a, 5, a->origin); /* jnz slow, aimed below */
    asm_flags_from_eax(a);
    uint64_t load = asm_here(a).v;
    for (unsigned r = 0; r < 16; r++)
        if (r != R_RDI)
            asm_load(a, r, R_RDI, CTX_GPR(r));
    asm_load(a, R_RDI, R_RDI, CTX_GPR(R_RDI));
    asm_jmp_slot(a, SLOT(target));
    uint64_t slow = asm_here(a).v;
    asm_push_base(a, R_RDI, CTX(rflags));
    asm_popfq(a);
    asm_jmp(a, load);
    struct asm_buf patch = asm_on(a->bytes + to_slow, 6, cache_pc(a->origin + to_slow));
    asm_jcc(&patch, 5, slow);
}

static void emit_leave(struct asm_buf *a)
{
    asm_store_slot(a, SLOT(spill0), R_RAX);
    asm_load_slot(a, R_RAX, SLOT(ctx));
    for (unsigned r = 1; r < 16; r++)
        asm_store(a, R_RAX, CTX_GPR(r), r);
    asm_load_slot(a, R_RCX, SLOT(spill0));
    asm_store(a, R_RAX, CTX_GPR(R_RAX), R_RCX);
    asm_load(a, R_RSP, R_RAX, CTX(rt_sp));
    asm_pushfq(a);
    asm_pop_mem(a, R_RAX, CTX(rflags));
    asm_cld(a);
    asm_load(a, R_RAX, R_RAX, CTX(rflags));
    asm_test_eax(a, FLAG_AC);
    size_t skip = a->len;
    asm_jcc(a, 4, a->origin); /* jz: C code must not run with alignment checks on */
    asm_mov_imm64(a, R_RCX, 0x202);
    asm_push(a, R_RCX);
    asm_popfq(a);
    uint64_t after = asm_here(a).v;
    struct asm_buf patch = asm_on(a->bytes + skip, 6, cache_pc(a->origin + skip));
    asm_jcc(&patch, 4, after);
    for (size_t i = sizeof callee_saved; i > 0; i--)
        asm_pop(a, callee_saved[i - 1]);
    asm_ret(a);
}

/* rdx: the target; the program's rcx and rdx are in spill0 and spill1. */
static void emit_lookup_miss(struct asm_buf *a, struct cache_pc leave, bool native)
{
    asm_store_slot(a, SLOT(target), R_RDX);
    asm_load_slot(a, R_RDX, SLOT(spill1));
    asm_load_slot(a, R_RCX, SLOT(spill0));
    if (native) {
        asm_jmp_slot(a, SLOT(target));
        return;
    }
    asm_store_slot_imm32(a, SLOT(exit_id), EXIT_LOOKUP);
    asm_jmp(a, leave.v);
}

/* rcx: the new thread's context, where its rcx and rt_sp are already set. */
static void emit_thread_start(struct asm_buf *a)
{
    for (unsigned r = 0; r < 16; r++)
        if (r != R_RCX)
            asm_store(a, R_RCX, CTX_GPR(r), r);
    asm_store_slot(a, SLOT(ctx), R_RCX);
    asm_load(a, R_RSP, R_RCX, CTX(rt_sp));
    asm_pushfq(a);
    asm_pop_mem(a, R_RCX, CTX(rflags));
    asm_cld(a);
    asm_mov_reg(a, R_RDI, R_RCX);
    asm_mov_imm64(a, R_RAX, thread_main);
    asm_push(a, R_RAX); /* in place of a return address: main does not return */
    asm_jmp_reg(a, R_RAX);
}

rc_t stubs_region(struct app_pc pc, struct code_region **region)
{
    TRY(code_region_near(pc, region));
    struct code_region *r = *region;
    if (r->enter.v)
        return RC_OK;
    uint8_t buf[1024];
    struct asm_buf a = asm_on(buf, sizeof buf, cache_pc(r->stubs.next));
    r->native_exits = native_exits;
    struct cache_pc enter = asm_here(&a);
    emit_enter(&a);
    asm_align(&a, 16);
    r->leave = asm_here(&a);
    emit_leave(&a);
    asm_align(&a, 16);
    r->lookup_miss = asm_here(&a);
    emit_lookup_miss(&a, r->leave, native_exits);
    asm_align(&a, 16);
    r->thread_start = asm_here(&a);
    emit_thread_start(&a);
    if (a.overflow)
        return RC_ASSERT;
    TRY(code_stage(cache_pc(r->stubs.next), buf, a.len));
    r->stubs.next += a.len;
    r->enter = enter;
    return RC_OK;
}
