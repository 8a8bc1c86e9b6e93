#include "runtime/careful.h"

#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/ucontext.h>

#include "fragcache/hook.h"
#include "runtime/base/codemem.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/control.h"
#include "tracer/asm.h"
#include "tracer/block.h"
#include "tracer/interp.h"
#include "tracer/stubs.h"

#define SINGLES 8192u /* a power of two; a newer one takes the place of an older */
#define SINGLE_BYTES 96u
#define ALT_STACK (64u << 10)
#define STRING_MOST 8192u /* bytes */
#define SA_RESTORER_ 0x04000000

/* One instruction: its copy is good as long as its bytes are these, and until block copies are flushed. */
struct single {
    uint64_t pc, flushes;
    struct cache_pc code; /* 0: computed in C alone */
    struct insn in;
    bool ready;
};

static struct single *singles;
static uint8_t *alt_stack;
static bool faulted;
static uint64_t kept_mask, kept_alt[3];
static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

struct kernel_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};
static struct kernel_sigaction kept[ARRAY_LEN(fault_signals)];

__asm__(".text\n"
        ".type careful_restorer, @function\n"
        "careful_restorer:\n"
        "    mov $15, %eax\n" /* rt_sigreturn */
        "    syscall\n");
REH_HIDDEN void careful_restorer(void);

/* The copy leaves with the registers that it has. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
    struct sigcontext *sc = (struct sigcontext *)&((struct ucontext *)context)->uc_mcontext;
    const struct code_region *r = code_region_find(sc->rip);
    (void)info;
    if (r) {
        faulted = true;
        sc->rip = r->leave.v;
        return;
    }
    struct kernel_sigaction none = {0}; /* ours: let it happen again, unhandled */
    (void)sys_call6(__NR_rt_sigaction, sig, (long)&none, 0, 8, 0, 0);
}

rc_t careful_begin(void)
{
    if (!singles) {
        singles = mem_map(sizeof *singles * SINGLES);
        alt_stack = mem_map(ALT_STACK);
    }
    if (!singles || !alt_stack)
        return RC_NO_MEMORY;
    uint64_t faults = 0, alt[3] = {(uint64_t)(uintptr_t)alt_stack, 0, ALT_STACK};
    for (size_t i = 0; i < ARRAY_LEN(fault_signals); i++)
        faults |= 1ULL << (fault_signals[i] - 1);
    kept_mask = sys_signals_set(~faults);
    if (sys_call3(__NR_sigaltstack, alt, kept_alt, 0) < 0)
        kept_alt[2] = 0; /* the program is on its own one */
    struct kernel_sigaction act = {on_fault, SA_SIGINFO | SA_ONSTACK | SA_RESTORER_, careful_restorer, ~0ULL};
    for (size_t i = 0; i < ARRAY_LEN(fault_signals); i++)
        if (sys_call6(__NR_rt_sigaction, fault_signals[i], (long)&act, (long)&kept[i], 8, 0, 0) < 0)
            return RC_ASSERT;
    return RC_OK;
}

void careful_end(void)
{
    for (size_t i = 0; i < ARRAY_LEN(fault_signals); i++)
        (void)sys_call6(__NR_rt_sigaction, fault_signals[i], (long)&kept[i], 0, 8, 0, 0);
    (void)sys_call3(__NR_sigaltstack, kept_alt, 0, 0); /* a size of 0 is refused unless it is disabled */
    (void)sys_signals_set(kept_mask);
}

/* --- copies */

static void emit_branch(struct asm_buf *a, const struct insn *in, uint64_t constant, bool *good)
{
    if (in->kind != IK_CALL) {
        asm_store_slot(a, SLOT(spill0), R_RCX);
        if (in->kind == IK_RET)
            asm_load(a, R_RCX, R_RSP, 0);
        else
            *good = asm_load_branch_operand(a, R_RCX, in);
        asm_store_slot(a, SLOT(target), R_RCX);
        asm_load_slot(a, R_RCX, SLOT(spill0));
    }
    if (in->kind == IK_CALL || in->kind == IK_CALL_IND)
        asm_push_mem(a, constant);
    if (in->kind == IK_RET)
        asm_lea(a, R_RSP, R_RSP, 8 + in->imm);
}

/* The return address that a call pushes; the copy; mov dword fs:[exit_id], 0; jmp leave */
static rc_t single_emit(struct single *s)
{
    struct code_region *r;
    uint8_t buf[SINGLE_BYTES];
    unsigned count;
    bool good = true;
    enum insn_kind kind = s->in.kind;
    s->code = cache_pc(0);
    if (kind == IK_JMP || kind == IK_JCC || kind == IK_LOOP)
        return RC_OK;
    TRY(stubs_region(app_pc(s->pc), &r));
    struct asm_buf a = asm_on(buf, sizeof buf, cache_pc(r->blocks.next));
    asm_u64(&a, s->in.pc.v + s->in.len);
    if (kind == IK_PLAIN)
        TRY(asm_copy_insn(&a, &s->in, SLOT(spill0), &count));
    else
        emit_branch(&a, &s->in, a.origin, &good);
    asm_store_slot_imm32(&a, SLOT(exit_id), EXIT_BLOCK);
    asm_jmp(&a, r->leave.v);
    asm_align(&a, 16);
    if (!good || a.overflow || block_full())
        return RC_UNSUPPORTED;
    s->code = cache_pc(r->blocks.next + 8);
    TRY(code_stage(cache_pc(r->blocks.next), buf, a.len));
    r->blocks.next += a.len;
    return code_commit();
}

struct look {
    const uint8_t *bytes;
    size_t n;
    struct app_pc pc;
    struct insn *out;
};

static void look_gated(void *arg)
{
    const struct look *l = arg;
    decode_made(l->bytes, l->n, l->pc, l->out);
}

static struct single *single_find(uint64_t pc)
{
    return &singles[(pc * 0x9e3779b97f4a7c15ULL) >> 51 & (SINGLES - 1)];
}

enum careful_result careful_look(struct careful *c)
{
    uint8_t bytes[INSN_MAX_BYTES];
    struct single *s = single_find(c->pc);
    size_t n = c->end - c->pc < sizeof bytes ? c->end - c->pc : sizeof bytes;
    mem_copy(bytes, (const void *)c->pc, n);
    if (c->text)
        (void)hook_overlay(c->pc, bytes, n);
    uint64_t flushes = block_stats_get().flushes;
    if (s->pc != c->pc || s->flushes != flushes || s->in.len > n || mem_compare(s->in.bytes, bytes, s->in.len) != 0) {
        struct look l = {bytes, n, app_pc(c->pc), &s->in};
        s->pc = c->pc;
        s->flushes = flushes;
        s->ready = false;
        if (decode_gate(look_gated, &l) != RC_OK) {
            s->pc = 0;
            return STEP_CANNOT;
        }
    }
    c->in = s->in;
    return STEP_DONE;
}

/* --- what a step does */

static uint64_t operand_address(const struct insn *in, const struct cpu_ctx *ctx)
{
    uint64_t at = in->rip_relative ? in->target : (uint64_t)(int64_t)in->mem_disp;
    if (!in->rip_relative && in->mem_base != R_NONE)
        at += ctx->gpr[in->mem_base];
    if (in->mem_index != R_NONE)
        at += ctx->gpr[in->mem_index] * in->mem_scale;
    if (in->mem_narrow)
        at = (uint32_t)at;
    if (in->seg == SEG_FS) {
        uint64_t fs;
        __asm__("mov %%fs:0, %0" : "=r"(fs));
        at += fs;
    }
    return at;
}

/* stos and movs, repeated or not: forward from rdi. False: it is neither, or goes backward. */
static bool string_place(const struct insn *in, const struct cpu_ctx *ctx, uint64_t *at, uint64_t *len)
{
    bool repeated = false;
    unsigned unit = 4, i = 0;
    for (; i + 1u < in->len; i++) {
        uint8_t b = in->bytes[i];
        if (b == 0xf3 || b == 0xf2)
            repeated = true;
        else if (b == 0x66)
            unit = 2;
        else if ((b & 0xf8) == 0x48)
            unit = 8;
        else if ((b & 0xf0) != 0x40)
            return false;
    }
    uint8_t op = in->bytes[i];
    if ((op != 0xa4 && op != 0xa5 && op != 0xaa && op != 0xab) || (ctx->rflags & FL_DF))
        return false;
    unit = op & 1 ? unit : 1;
    if (repeated && ctx->gpr[R_RCX] > STRING_MOST / unit)
        return false;
    *at = ctx->gpr[R_RDI];
    *len = unit * (repeated ? ctx->gpr[R_RCX] : 1);
    return true;
}

/* Where the step writes, *len 0: nowhere. False: that cannot be told. */
static bool store_place(const struct insn *in, const struct cpu_ctx *ctx, uint64_t *at, uint64_t *len)
{
    bool pushes = in->pushes || in->kind == IK_CALL || in->kind == IK_CALL_IND;
    *len = 0;
    if (!in->stores && !pushes)
        return true;
    if (in->seg == SEG_GS || (pushes && in->mem_write))
        return false;
    if (pushes) {
        *len = in->kind == IK_PLAIN ? (uint64_t)-in->sp_delta : 8;
        *at = ctx->gpr[R_RSP] - *len;
        return *len && *len <= 8;
    }
    if (string_place(in, ctx, at, len))
        return true;
    *at = operand_address(in, ctx);
    *len = in->mem_bytes;
    return in->mem_write && !in->mem_implied && in->sp == SP_SAME && *len && *len <= STORE_MOST;
}

/* False: it may not be read. The kernel looks, so that nothing faults in C. */
static bool readable(void *to, uint64_t from, size_t n)
{
    struct {
        void *base;
        size_t len;
    } local = {to, n}, remote = {(void *)from, n};
    return sys_call6(__NR_process_vm_readv, sys_getpid(), (long)&local, 1, (long)&remote, 1, 0) == (long)n;
}

/* Writes down what [at, at + len) holds, not yet counted. */
static enum careful_result stores_note(struct stores *log, uint64_t at, uint64_t len, int *pieces)
{
    for (*pieces = 0; len; (*pieces)++) {
        if (log->count + *pieces == STORES_MOST)
            return STEP_CANNOT;
        struct store *s = &log->list[log->count + *pieces];
        s->at = at;
        s->len = len < STORE_MOST ? (uint32_t)len : STORE_MOST;
        if (!readable(s->old, at, s->len))
            return STEP_FAULT;
        at += s->len;
        len -= s->len;
    }
    return STEP_DONE;
}

/* Gives another result each time. */
static bool is_fickle(const struct insn *in)
{
    unsigned i = 0;
    while (i + 2 < in->len && (in->bytes[i] == 0x66 || in->bytes[i] == 0xf2 || in->bytes[i] == 0xf3 ||
                               (in->bytes[i] & 0xf0) == 0x40))
        i++;
    if (in->bytes[i] != 0x0f)
        return false;
    uint8_t op = in->bytes[i + 1], modrm = i + 2 < in->len ? in->bytes[i + 2] : 0;
    return op == 0x31 || op == 0xa2 || (op == 0x01 && modrm == 0xf9) || (op == 0xc7 && modrm >= 0xf0);
}

/* A slot of ours, in a fragment's code. */
static uint8_t *slot_of(struct careful *c)
{
    const struct insn *in = &c->in;
    uint32_t offset = (uint32_t)(in->mem_disp - SLOT(ctx));
    bool is = !c->text && in->seg == SEG_FS && in->mem_base == R_NONE && in->mem_index == R_NONE && !in->rip_relative &&
              offset < sizeof c->slots;
    return is ? (uint8_t *)&c->slots + offset : NULL;
}

/* movups between a slot and xmm8 to xmm15. False: it is none. */
static bool vector_step(const struct insn *in, struct vector16 *slot)
{
#define MOVE(n)                                                                                                        \
    case 1u << (n):                                                                                                    \
        if (in->mem_write)                                                                                             \
            __asm__ volatile("movups %%xmm" #n ", %0" : "=m"(*slot));                                                    \
        else                                                                                                           \
            __asm__ volatile("movups %0, %%xmm" #n : : "m"(*slot));                                                      \
        return true;
    if (in->kind != IK_PLAIN || in->mem_bytes != 16)
        return false;
    switch (in->xmm) {
        MOVE(8)
        MOVE(9)
        MOVE(10)
        MOVE(11)
        MOVE(12)
        MOVE(13)
        MOVE(14)
        MOVE(15)
    default: return false;
    }
#undef MOVE
}

static enum careful_result slot_step(struct cpu_ctx *ctx, struct careful *c, uint8_t *slot)
{
    const struct insn *in = &c->in;
    uint64_t next = c->pc + in->len;
    if (in->kind == IK_JMP_IND) {
        mem_copy(&next, slot, 8);
    } else if (in->kind == IK_PLAIN && in->act == ACT_MOV && in->dst.kind == OPERAND_MEM) {
        uint64_t v = in->src.kind == OPERAND_GPR ? ctx->gpr[in->src.reg] : (uint64_t)in->immediate;
        mem_copy(slot, &v, in->dst.bytes);
    } else if (in->kind == IK_PLAIN && in->act == ACT_MOV && in->dst.bytes == 8) {
        mem_copy(&ctx->gpr[in->dst.reg], slot, 8);
    } else if (!vector_step(in, (struct vector16 *)slot)) {
        return STEP_CANNOT;
    }
    c->pc = next;
    return STEP_DONE;
}

static uint64_t next_pc(const struct careful *c, struct cpu_ctx *ctx)
{
    const struct insn *in = &c->in;
    struct block b = {.kind = in->kind, .cc = in->cc, .loop_op = in->loop_op, .target = in->target};
    b.next = app_pc(in->pc.v + in->len);
    return interp_next(&b, ctx, control_slots()).next.v;
}

/* The kernel does it: nothing faults in C. */
static void store_put_back(const struct store *s)
{
    struct {
        const void *base;
        size_t len;
    } local = {s->old, s->len}, remote = {(void *)s->at, s->len};
    (void)sys_call6(__NR_process_vm_writev, sys_getpid(), (long)&local, 1, (long)&remote, 1, 0);
}

static void store_undo(const struct store *s) { mem_copy((void *)s->at, s->old, s->len); }

enum careful_result careful_step(struct thread *t, struct careful *c, struct stores *log)
{
    struct single *s = single_find(c->pc);
    uint8_t *slot = slot_of(c);
    uint64_t at, len;
    int pieces;
    if (slot)
        return slot_step(&t->ctx, c, slot);
    if (c->in.kind == IK_SYSCALL || c->in.kind == IK_STRANGE || c->in.kind == IK_XBEGIN || is_fickle(&c->in) ||
        !store_place(&c->in, &t->ctx, &at, &len))
        return STEP_CANNOT;
    if (!s->ready && single_emit(s) != RC_OK)
        return STEP_CANNOT;
    s->ready = true;
    enum careful_result noted = stores_note(log, at, len, &pieces);
    if (noted != STEP_DONE)
        return noted;
    struct cpu_ctx before = t->ctx;
    faulted = false;
    if (s->code.v)
        control_run_locked(t, s->code);
    if (faulted) {
        t->ctx = before; /* a copy's scratch register too */
        for (int i = 0; i < pieces; i++) /* of a string, some may be written; what cannot be was not */
            store_put_back(&log->list[log->count + i]);
        return STEP_FAULT;
    }
    log->count += pieces;
    c->pc = next_pc(c, &t->ctx);
    return STEP_DONE;
}

void careful_undo(struct stores *log)
{
    for (int i = 0; i < log->count; i++)
        mem_copy(log->list[i].made, (const void *)log->list[i].at, log->list[i].len);
    for (int i = log->count - 1; i >= 0; i--)
        store_undo(&log->list[i]);
}
