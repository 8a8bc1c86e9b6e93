/* State recovery (REC-1): programs run from fragments one instruction at a time (the trap flag, a SIGTRAP handler). At each
 * instruction of ours the state is recovered, the program's own code runs from there to its end, and what comes of it
 * must be what a native run gives: registers, flags, data, stack. */
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "fragcache/hook.h"
#include "fragcache/recover.h"
#include "optimizer/passes.h"
#include "tests/unit/machine.h"
#include "tests/unit/module.h"
#include "tracer/block.h"
#include "tracer/stubs.h"

#define STOP       0x1234560ULL /* where programs end; mapped nowhere */
#define TEXT_BYTES 4096u
#define FAR_AWAY   0x7ff00000ULL /* of the text: rip reaches it there, and not from the cache */
#define MAX_PATH   400
#define FLAG_TF    0x100u

enum visit { COMPARE, RECORD, ENTER };

static struct {
    enum visit visit;
    uint64_t text, head;
    struct app_pc path[MAX_PATH]; /* RECORD: from head until it is reached again */
    int path_count;
    bool enter; /* fragments, where they begin */
    bool looked_up; /* by their lookup entry */
    bool blocks; /* copies of blocks, everywhere */
    const struct block *block; /* whose copy runs */
    unsigned entered, in_cache, steps;
    unsigned dead; /* registers that may differ */
    uint64_t enter_flags;
    const char *failed;
    uint64_t failed_at;
    gregset_t host;
    bool started;
} run;

struct outside {
    uint8_t data[8192];
};
static struct outside *far_data;
static struct machine_state reference;
static struct outside reference_far;

static struct tls_slots *slots_get(void)
{
    uint64_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    return (struct tls_slots *)(uintptr_t)(fs + (uint64_t)(int64_t)slots_fs_offset);
}

static struct code_region *region(void)
{
    struct code_region *r;
    assert_ok(stubs_region(app_pc(run.text), &r));
    assert_ok(code_commit());
    return r;
}

static const uint8_t greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static struct cpu_state state_of(const greg_t *g)
{
    struct cpu_state s;
    for (unsigned i = 0; i < 16; i++)
        s.gpr[i] = (uint64_t)g[greg_of[i]];
    s.rflags = (uint64_t)g[REG_EFL];
    s.pc = (uint64_t)g[REG_RIP];
    return s;
}

static struct cpu_state begin(void)
{
    struct machine_state *m = &machine.now;
    struct cpu_state s = {.rflags = 0x202, .pc = run.text};
    for (unsigned i = 0; i < 16; i++)
        s.gpr[i] = 0x0101010101010101ULL * i + 0x8000000000000000ULL;
    for (size_t i = 0; i < sizeof m->data; i++)
        m->data[i] = (uint8_t)(i * 31 + 7);
    memset(m->stack, 0x5a, sizeof m->stack);
    memset(far_data, 0x11, sizeof *far_data);
    s.gpr[R_RDI] = (uint64_t)(uintptr_t)m->data;
    s.gpr[R_RSP] = (uint64_t)(uintptr_t)m->stack + MACHINE_STACK - 512;
    s.gpr[R_R15] = STOP;
    return s;
}

/* The program's own code from s to its end, natively; the result is in machine.now and *far_data. */
static void finish_natively(const struct cpu_state *s)
{
    struct tls_slots *slots = slots_get();
    struct code_region *r = code_region_find(region()->start);
    stubs_enter_fn *fn = (stubs_enter_fn *)(uintptr_t)r->enter.v;
    memcpy(machine.now.ctx.gpr, s->gpr, sizeof s->gpr);
    machine.now.ctx.gpr[R_R15] = r->leave.v;
    machine.now.ctx.rflags = s->rflags & ~(uint64_t)FLAG_TF;
    *slots = (struct tls_slots){.ctx = &machine.now.ctx, .target = s->pc, .exit_id = UINT32_MAX};
    fn(&machine.now.ctx);
}

static void failed(const char *why, uint64_t at)
{
    if (run.failed)
        return;
    run.failed = why;
    run.failed_at = at;
}

static const char *difference(void)
{
    static char text[100];
    const struct machine_state *a = &reference, *b = &machine.now;
    for (unsigned i = 0; i < R_R15; i++)
        if (a->ctx.gpr[i] != b->ctx.gpr[i] && !(run.dead & 1u << i)) {
            snprintf(text, sizeof text, "register %u is %#llx, natively %#llx", i, (unsigned long long)b->ctx.gpr[i],
                     (unsigned long long)a->ctx.gpr[i]);
            return text;
        }
    if ((a->ctx.rflags ^ b->ctx.rflags) & (FL_STATUS | FL_DF))
        return "flags differ";
    if (memcmp(a->data, b->data, sizeof a->data) != 0)
        return "data differs";
    if (memcmp(&reference_far, far_data, sizeof *far_data) != 0)
        return "far data differs";
    return memcmp(a->stack, b->stack, sizeof a->stack) != 0 ? "the stack differs" : NULL;
}

static bool in_text(uint64_t pc) { return pc - run.text < TEXT_BYTES || pc == STOP; }

static bool recover_block(struct cpu_state *s)
{
    struct app_pc native;
    bool found = block_recover(s->pc, s->gpr, slots_get(), &native);
    s->pc = native.v;
    return found;
}

/* At one instruction of ours. */
static void check_state(struct cpu_state s)
{
    static struct machine_state kept;
    static struct outside kept_far;
    struct tls_slots kept_slots = *slots_get();
    uint64_t at = s.pc;
    run.in_cache++;
    bool found = run.blocks ? recover_block(&s) : fc_recover(&s, slots_get());
    if (!found) {
        failed("not recovered", at);
        return;
    }
    if (!in_text(s.pc)) {
        failed("the pc is not the program's", at);
        return;
    }
    kept = machine.now;
    kept_far = *far_data;
    if (s.pc == STOP) {
        memcpy(machine.now.ctx.gpr, s.gpr, sizeof s.gpr);
        machine.now.ctx.rflags = s.rflags;
    } else {
        finish_natively(&s);
    }
    const char *why = difference();
    if (why)
        failed(why, at);
    machine.now = kept;
    *far_data = kept_far;
    *slots_get() = kept_slots;
}

/* What the dispatcher does after a copy or fragment has left. */
static void dispatch(greg_t *g)
{
    struct tls_slots *slots = slots_get();
    if (slots->exit_id != EXIT_BLOCK) {
        g[REG_RIP] = (greg_t)(slots->exit_id == EXIT_LOOKUP ? slots->target : fc_exit(slots->exit_id)->target.v);
        return;
    }
    struct cpu_state s = state_of(g);
    struct cpu_ctx ctx = {.rflags = s.rflags};
    memcpy(ctx.gpr, s.gpr, sizeof ctx.gpr);
    g[REG_RIP] = (greg_t)interp_next(run.block, &ctx, slots).next.v;
    g[REG_RCX] = (greg_t)ctx.gpr[R_RCX];
}

static void enter_block(greg_t *g)
{
    struct block *b;
    if (block_get(app_pc((uint64_t)g[REG_RIP]), &b) != RC_OK) {
        failed("no block", (uint64_t)g[REG_RIP]);
        return;
    }
    run.entered++;
    run.block = b;
    slots_get()->exit_id = EXIT_BLOCK;
    g[REG_RIP] = (greg_t)(b->code.v ? b->code.v : region()->leave.v);
}

static void enter_fragment(greg_t *g, const struct fragment *f)
{
    run.entered++;
    if (!run.looked_up || run.entered % 2) {
        g[REG_RIP] = (greg_t)f->entry.v;
        return;
    }
    slots_get()->spill0 = (uint64_t)g[REG_RCX];
    slots_get()->spill1 = (uint64_t)g[REG_RDX];
    g[REG_RDX] = (greg_t)f->tag.v;
    g[REG_RIP] = (greg_t)f->lookup_entry.v;
}

static void on_program(greg_t *g)
{
    uint64_t pc = (uint64_t)g[REG_RIP];
    if (run.visit == RECORD && (run.path_count || pc == run.head) && run.path_count < MAX_PATH) {
        bool closed = run.path_count && pc == run.head && run.path[run.path_count - 1].v != pc;
        run.path[run.path_count++] = app_pc(pc);
        run.visit = closed ? COMPARE : RECORD;
    }
    struct fragment *f = run.enter ? fc_find(app_pc(pc)) : NULL;
    if (f)
        enter_fragment(g, f);
}

/* Of any region: a table of one may lead to another's. */
static bool is_leave(uint64_t pc)
{
    const struct code_region *r = code_region_find(pc);
    return r && pc == r->leave.v;
}

/* ENTER: the first trap is at the region's enter, called with a context that begins the program. */
static void begin_enter(greg_t *g)
{
    static struct cpu_ctx ctx;
    struct cpu_state s = begin();
    memcpy(ctx.gpr, s.gpr, sizeof ctx.gpr);
    ctx.rflags = run.enter_flags;
    slots_get()->target = s.pc;
    g[REG_RDI] = (greg_t)(uintptr_t)&ctx;
    g[REG_RSP] -= 1024;
    g[REG_RIP] = (greg_t)run.head;
}

static void check_enter(struct cpu_state s)
{
    struct cpu_state wanted = begin();
    run.in_cache++;
    if (!fc_recover(&s, slots_get()))
        failed("not recovered", s.pc);
    else if (s.pc != wanted.pc || memcmp(s.gpr, wanted.gpr, sizeof s.gpr) != 0 ||
             ((s.rflags ^ run.enter_flags) & (FL_STATUS | FL_DF)))
        failed("not the context", s.pc);
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)sig, (void)info;
    if (!run.started) {
        struct cpu_state s = begin();
        run.started = true;
        memcpy(run.host, g, sizeof run.host);
        for (unsigned i = 0; i < 16; i++)
            g[greg_of[i]] = (greg_t)s.gpr[i];
        g[REG_RIP] = (greg_t)s.pc;
        g[REG_EFL] = (greg_t)s.rflags;
        if (run.visit == ENTER) {
            memcpy(g, run.host, sizeof run.host);
            begin_enter(g);
        }
    }
    while (is_leave((uint64_t)g[REG_RIP])) {
        dispatch(g);
        if (run.blocks && g[REG_RIP] != STOP)
            enter_block(g);
    }
    if (g[REG_RIP] == STOP || run.failed || ++run.steps > 200000) {
        struct cpu_state s = state_of(g);
        memcpy(machine.now.ctx.gpr, s.gpr, sizeof s.gpr);
        machine.now.ctx.rflags = s.rflags;
        memcpy(g, run.host, sizeof run.host);
        return;
    }
    if (run.visit == ENTER && in_text((uint64_t)g[REG_RIP])) {
        memcpy(g, run.host, sizeof run.host);
        return;
    }
    if (run.visit == ENTER)
        check_enter(state_of(g));
    else if (in_text((uint64_t)g[REG_RIP]) && run.blocks)
        enter_block(g);
    else if (in_text((uint64_t)g[REG_RIP]))
        on_program(g);
    if (run.visit != ENTER && !in_text((uint64_t)g[REG_RIP]))
        check_state(state_of(g));
    g[REG_EFL] |= FLAG_TF;
}

static void step_all(enum visit visit, bool enter, uint64_t head)
{
    run.visit = visit;
    run.enter = enter;
    run.head = head;
    run.path_count = 0;
    run.started = false;
    run.steps = 0;
    run.failed = NULL;
    raise(SIGTRAP);
    if (!run.failed)
        return;
    const struct fragment *f = fc_at(run.failed_at);
    fail_msg("at %#llx, offset %#llx (entry %#llx, body ends %#x): %s", (unsigned long long)run.failed_at,
             f ? (unsigned long long)(run.failed_at - f->start.v) : 0,
             f ? (unsigned long long)(f->entry.v - f->start.v) : 0, f ? f->body_end : 0, run.failed);
}

/* --- fragments of recorded paths */

struct kind {
    uint16_t flags_dead, gpr_dead; /* of guards and lookups */
    bool computed; /* all passes run, and what is dead is what the liveness analysis says */
    bool cut; /* traces end at the first indirect branch that they do not return from */
};

static struct trace trace;
static struct insn insns[MAX_PATH], made[64];
static struct node nodes[MAX_PATH + 16];

/* The trace that the recorded path is; returns its instructions. */
static int path_to_trace(const struct kind *k)
{
    int n = 0, last = run.path_count - 1, depth = 0;
    uint64_t block = run.head;
    trace = (struct trace){.head = app_pc(run.head), .end = TRACE_DIRECT};
    for (; n < last && trace.steps < TRACE_MAX_BLOCKS; n++) {
        uint64_t pc = run.path[n].v;
        insns[n] = unit_decode_bytes((const void *)(uintptr_t)pc, INSN_MAX_BYTES, pc);
        if (!insn_ends_block(&insns[n]))
            continue;
        uint64_t next = pc + insns[n].len, went = run.path[n + 1].v;
        trace.step[trace.steps++] = (struct trace_step){app_pc(block), app_pc(next), app_pc(went), went != next};
        block = went;
        depth += insns[n].kind == IK_CALL;
        bool away = insns[n].kind == IK_RET && depth-- <= 0;
        if (k->cut && (insns[n].kind == IK_JMP_IND || insns[n].kind == IK_CALL_IND || away)) {
            trace.end = TRACE_INDIRECT;
            n++;
            break;
        }
    }
    if (trace.end == TRACE_DIRECT && n == last && run.path[last].v == run.head)
        trace.end = TRACE_LOOP;
    trace.exit = run.path[n];
    trace.insns = n;
    return n;
}

static size_t peek(struct app_pc pc, uint8_t *out, size_t cap)
{
    size_t n = pc.v - run.text < TEXT_BYTES ? run.text + TEXT_BYTES - pc.v : 0;
    n = n < cap ? n : cap;
    memcpy(out, (const void *)(uintptr_t)pc.v, n);
    return n;
}

static struct fragment *emit(uint64_t head, const struct kind *k)
{
    step_all(RECORD, false, head);
    assert_true(run.path_count > 1);
    int n = path_to_trace(k);
    struct ir ir = {.nodes = nodes, .cap = (int)ARRAY_LEN(nodes)};
    if (k->computed) {
        ir.made = made;
        ir.made_cap = (int)ARRAY_LEN(made);
        ir.unroll = 3;
        ir.alone = true;
        ir.peek = peek;
    } else {
        ir.passes = PASS_BIT(PASS_calls);
    }
    memset(nodes, 0, sizeof nodes);
    assert_ok(ir_build(&ir, &trace, insns, n));
    assert_ok(optimize(&ir));
    for (int i = 0; i < ir.count && !k->computed; i++)
        if (nodes[i].op == N_GUARD || nodes[i].op == N_LOOKUP) {
            nodes[i].flags_dead = k->flags_dead;
            nodes[i].gpr_dead = k->gpr_dead;
        }
    struct fragment *f;
    assert_ok(fc_emit(&ir, &f));
    return f;
}

/* Loads the program and runs it natively, for reference. */
static void load(uint64_t at, const uint8_t *start, const uint8_t *end)
{
    static bool ready;
    if (!ready)
        machine_reset(1 << 20, true);
    ready = true;
    fc_flush();
    block_flush();
    run.text = machine_load(at, start, end);
    if (far_data)
        munmap(far_data, sizeof *far_data);
    uint64_t far = at < MACHINE_TEXT ? MACHINE_TEXT - 0x100000 : run.text + FAR_AWAY;
    far_data = mmap((void *)(uintptr_t)far, sizeof *far_data, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    assert_ptr_not_equal(far_data, MAP_FAILED);
    run.dead = run.entered = run.in_cache = 0;
    run.blocks = run.looked_up = false;
    struct cpu_state s = begin();
    finish_natively(&s);
    reference = machine.now;
    reference_far = *far_data;
}

static void compare(const char *way)
{
    step_all(COMPARE, true, 0);
    const char *why = difference();
    if (why)
        fail_msg("%s: %s", way, why);
}

/* Makes fragments of the heads (offsets, ended by 0), and checks each instruction of them. */
static void check(uint64_t at, const uint8_t *start, const uint8_t *end, const unsigned *heads, const struct kind *k)
{
    load(at, start, end);
    run.dead = k->gpr_dead;
    compare("natively"); /* the harness itself */
    for (; *heads; heads++)
        emit(run.text + *heads, k);
    compare("fragments");
    run.looked_up = true;
    compare("fragments, looked up");
    assert_true(run.entered > 1 && run.in_cache > 10);
}

static void check_blocks(const uint8_t *start, const uint8_t *end)
{
    stubs_set_native_exits(false);
    load(MACHINE_TEXT, start, end);
    run.blocks = true;
    compare("blocks");
    assert_true(run.entered > 10 && run.in_cache > 50);
}

/* In a region whose exits go to the dispatcher, and in one whose exits go on natively. */
#define CHECK(name, kind, ...)                                                                               \
    do {                                                                                                     \
        static const unsigned heads_[] = {__VA_ARGS__, 0};                                                   \
        stubs_set_native_exits(false);                                                                       \
        check(MACHINE_TEXT, name##_start, name##_end, heads_, kind);                                         \
        stubs_set_native_exits(true);                                                                        \
        check(MACHINE_FAR, name##_start, name##_end, heads_, kind);                                          \
    } while (0)

static const struct kind live = {0}, flags_dead = {.flags_dead = FL_STATUS},
                         r11_dead = {.flags_dead = FL_STATUS, .gpr_dead = 1u << 11},
                         only_r11_dead = {.gpr_dead = 1u << 11}, rcx_dead = {.gpr_dead = 1u << R_RCX | 1u << 11},
                         all_dead = {.flags_dead = FL_STATUS, .gpr_dead = 1u << R_RCX | 1u << R_RDX | 1u << 11};
static const struct kind computed = {.computed = true}, cut_computed = {.computed = true, .cut = true};
static const struct kind cut = {.cut = true}, cut_dead = {.gpr_dead = 1u << R_RCX | 1u << R_RDX, .cut = true};

/* --- programs; the loop's head is at offset 6 */

PROGRAM(sum, "mov r14d, 9\n"
             "1: add rax, r14\n cmp r14d, 4\n je 3f\n"
             "2: dec r14d\n jnz 1b\n jmp r15\n"
             "3: add rax, 1000\n jmp 2b");
PROGRAM(loops, "mov r14d, 4\n"
               "0: mov rcx, 3\n 1: inc rax\n loop 1b\n"
               "mov rcx, 6\n 2: inc rbx\n cmp rcx, 3\n loopne 2b\n"
               "jrcxz 4f\n mov r10, rcx\n"
               "4: mov ecx, r14d\n and ecx, 1\n jrcxz 8f\n add rax, 7\n"
               "8: dec r14d\n jnz 0b\n jmp r15");
PROGRAM(calls, "mov r14d, 4\n"
               "0: call leaf\n push rcx\n call nested\n pop rcx\n push 11\n call argument\n"
               "dec r14d\n jnz 0b\n jmp r15\n"
               "leaf: add rax, rcx\n ret\n"
               "nested: push rbx\n call leaf\n call leaf\n pop rbx\n ret\n"
               "argument: add rax, [rsp+8]\n ret 8");
/* Far operands of every kind of copy: scratch registers, push, lea. */
PROGRAM(operands, "mov r14d, 3\n"
                  "0: mov rax, [rip+0x7ff00000]\n add rax, 3\n mov [rip+0x7ff00000], rax\n"
                  "lea rbx, [rip+0x7ff00000]\n add dword ptr [rip+0x7ff00000], 0x12345\n cmp eax, [rip+0x7ff00000]\n"
                  "adc rdx, [rip+0x7ff00000]\n push [rip+0x7ff00000]\n pop r10\n dec r14d\n jnz 0b\n jmp r15");
/* Guards that hit and miss: register, memory, [rsp], rip-relative and rcx- and rdx-based operands, jmp, call, ret,
 * ret imm16. After each, flags are written before they are read; rcx and rdx where the test takes them for dead. */
#define GUARDS_OF(value)                                                                                     \
    "mov r14d, 6\n"                                                                                          \
    "0: lea r8, [rip+11f]\n lea r9, [rip+12f]\n test r14d, 1\n cmovnz r8, r9\n mov [rdi], r8\n"              \
    "stc\n jmp r8\n"                                                                                         \
    "12: add rax, 100\n"                                                                                     \
    "11: " value "\n lea rcx, [rip+13f]\n add rax, 1\n call rcx\n xor ecx, ecx\n"                             \
    "mov [rdi], r8\n call [rdi]\n"                                                                           \
    "xor edx, edx\n lea rcx, [rip+14f]\n mov [rsp-24], rcx\n mov rdx, rdi\n mov ecx, 2\n"                    \
    "lea r10, [rip+14f]\n mov [rdi+24], r10\n cmp r14d, 5\n jmp [rdx+rcx*8+8]\n"                             \
    "14: xor ecx, ecx\n mov rdx, rsp\n lea r10, [rip+15f]\n push 77\n push r10\n add r10, 3\n ret 8\n"        \
    "15: xor r10d, r10d\n mov rcx, 9\n mov rdx, 5\n lea r10, [rip+16f]\n push r10\n cmp r14, 3\n"             \
    "call [rsp]\n pop r10\n add rax, rcx\n xor edx, edx\n xor ecx, ecx\n"                                    \
    "dec r14d\n jnz 0b\n xor ecx, ecx\n xor edx, edx\n xor r8d, r8d\n jmp r15\n"                             \
    "13: add rbx, 3\n lea r8, [rip+17f]\n mov ecx, 4\n mov edx, 5\n ret\n"                                   \
    "16: add rbx, 5\n mov ecx, 4\n mov edx, 5\n ret\n"                                                       \
    "17: add rbx, 7\n mov ecx, 4\n mov edx, 5\n ret\n"
PROGRAM(guards, GUARDS_OF("xor ecx, ecx\n xor edx, edx"));
/* Flags live through guards. */
PROGRAM(carry, "mov r14d, 5\n"
               "0: lea r8, [rip+1f]\n lea r9, [rip+2f]\n test r14d, 1\n cmovnz r8, r9\n cmp r14d, 3\n call r8\n"
               "adc rax, 1\n mov [rdi+8], r8\n cmp r14d, 2\n call [rdi+8]\n adc rbx, 1\n lea r10, [rip+3f]\n push r10\n"
               "cmp r14d, 4\n ret\n"
               "3: adc rbx, rcx\n dec r14d\n jnz 0b\n jmp r15\n"
               "1: adc rcx, 3\n cmc\n ret\n 2: adc rdx, 5\n ret\n");

static void test_exits_and_back_edges(void **state)
{
    (void)state;
    CHECK(sum, &live, 6);
}

static void test_counted_loops(void **state)
{
    (void)state;
    CHECK(loops, &live, 6);
}

static void test_inlined_calls(void **state)
{
    (void)state;
    CHECK(calls, &live, 6);
}

static void test_far_operands(void **state)
{
    (void)state;
    CHECK(operands, &live, 6);
}

static void test_guards(void **state)
{
    (void)state;
    CHECK(guards, &live, 6);
    CHECK(guards, &flags_dead, 6);
    CHECK(guards, &r11_dead, 6);
    CHECK(guards, &only_r11_dead, 6);
    CHECK(guards, &rcx_dead, 6);
    CHECK(guards, &all_dead, 6);
}

static void test_guards_with_live_flags(void **state)
{
    (void)state;
    CHECK(carry, &live, 6);
    CHECK(carry, &only_r11_dead, 6);
}

/* With all passes: what they change may not be seen at any instruction. */
static void test_optimized(void **state)
{
    (void)state;
    CHECK(sum, &computed, 6);
    CHECK(loops, &computed, 6);
    CHECK(calls, &computed, 6);
    CHECK(operands, &computed, 6);
    CHECK(guards, &computed, 6);
    CHECK(carry, &computed, 6);
    CHECK(guards, &cut_computed, 6);
}

static void test_lookups(void **state)
{
    (void)state;
    CHECK(carry, &cut, 6);
    CHECK(guards, &cut, 6);
    CHECK(guards, &cut_dead, 6);
}

static void test_blocks(void **state)
{
    (void)state;
    check_blocks(loops_start, loops_end);
    check_blocks(calls_start, calls_end);
    check_blocks(operands_start, operands_end);
    check_blocks(guards_start, guards_end);
    check_blocks(carry_start, carry_end);
}

/* --- random programs: pieces in any order, in a loop */

#define PIECE(name, text) PROGRAM(piece_##name, text)
PIECE(add, "add rax, rbx\n adc rbx, 7\n");
PIECE(store, "mov [rdi+64], rax\n add [rdi+72], rbx\n sbb rax, [rdi+64]\n");
PIECE(push, "push rax\n push rbx\n xchg rax, rbx\n pop rax\n add rsp, 8\n");
PIECE(leaf, "call 1f\n jmp 2f\n 1: lea rax, [rax+rax*2]\n ret\n 2:");
PIECE(nested, "call 1f\n jmp 3f\n 1: push rbx\n call 2f\n pop rcx\n ret 0\n 2: adc rcx, rax\n ret\n 3:");
PIECE(skip, "test al, 4\n jz 1f\n add rbx, 11\n 1: cmp rbx, rax\n jb 2f\n xor rcx, rax\n 2:");
PIECE(far, "mov rdx, [rip+0x7ff00000]\n lea rdx, [rdx+rax]\n mov [rip+0x7ff00000], rdx\n adc rcx, [rip+0x7ff00000]\n");
PIECE(count, "mov ecx, 3\n 1: adc rbx, rcx\n loop 1b\n jrcxz 2f\n inc rax\n 2:");
PIECE(call_reg, "lea r8, [rip+1f]\n lea r9, [rip+2f]\n test al, 1\n cmovz r8, r9\n cmp eax, ebx\n call r8\n adc rcx, 1\n"
                "jmp 3f\n 1: adc rax, 5\n ret\n 2: sbb rax, 9\n ret\n 3:");
PIECE(jmp_mem, "lea r8, [rip+1f]\n lea r9, [rip+2f]\n test bl, 1\n cmovz r8, r9\n mov rdx, 1\n mov [rdi+104], r8\n"
               "jmp [rdi+rdx*8+96]\n 1: adc rax, rdx\n 2: adc rcx, rax\n");
PIECE(ret_away, "lea rdx, [rip+1f]\n push 33\n push rdx\n cmp eax, 99\n ret 8\n 1: adc rax, 0\n");
PIECE(strings, "mov rsi, rdi\n push rdi\n lea rdi, [rdi+200]\n mov ecx, 5\n rep movsb\n pop rdi\n");
PIECE(red_zone, "mov [rsp-8], rax\n mov [rsp-120], rbx\n adc rcx, [rsp-8]\n");
/* In front, and behind: dec r14d; jnz rel32 to the first piece; jmp r15. */
PROGRAM(piece_begin, "mov r14d, 4\n");

#define PIECES 13
static uint32_t seed;
static uint32_t random_below(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static size_t random_program(uint8_t *out)
{
    static const struct {
        const uint8_t *start, *end;
    } pieces[PIECES] = {{piece_add_start, piece_add_end},           {piece_store_start, piece_store_end},
                        {piece_push_start, piece_push_end},         {piece_leaf_start, piece_leaf_end},
                        {piece_nested_start, piece_nested_end},     {piece_skip_start, piece_skip_end},
                        {piece_far_start, piece_far_end},           {piece_count_start, piece_count_end},
                        {piece_call_reg_start, piece_call_reg_end}, {piece_jmp_mem_start, piece_jmp_mem_end},
                        {piece_ret_away_start, piece_ret_away_end}, {piece_strings_start, piece_strings_end},
                        {piece_red_zone_start, piece_red_zone_end}};
    size_t n = (size_t)(piece_begin_end - piece_begin_start), head = n;
    memcpy(out, piece_begin_start, n);
    for (unsigned i = 3 + random_below(8); i; i--) {
        unsigned k = random_below(PIECES);
        size_t len = (size_t)(pieces[k].end - pieces[k].start);
        memcpy(out + n, pieces[k].start, len);
        n += len;
    }
    int32_t back = (int32_t)(head - (n + 9));
    memcpy(out + n, "\x41\xff\xce\x0f\x85", 5); /* dec r14d; jnz */
    memcpy(out + n + 5, &back, 4);
    memcpy(out + n + 9, "\x41\xff\xe7", 3); /* jmp r15 */
    return n + 12;
}

static void test_random_programs(void **state)
{
    (void)state;
    static const unsigned heads[] = {6, 0};
    uint8_t program[2048];
    for (seed = 1; seed < 60; seed++) {
        uint32_t this = seed;
        size_t len = random_program(program);
        stubs_set_native_exits(this & 1);
        uint64_t at = this & 1 ? MACHINE_FAR : MACHINE_TEXT;
        check(at, program, program + len, heads, this % 3 ? &live : &cut);
        check(at, program, program + len, heads, this % 5 ? &computed : &cut_computed);
        if (!(this & 1))
            check_blocks(program, program + len);
        seed = this;
    }
}

/* --- low addresses: what fits 32 bits takes other forms */

static void test_low_text(void **state)
{
    (void)state;
    static const unsigned heads[] = {6, 0};
    static const struct kind *const kinds[] = {&live, &flags_dead, &r11_dead, &all_dead};
    stubs_set_native_exits(false);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        check(0x30000000, guards_start, guards_end, heads, kinds[i]);
    check(0x30000000, carry_start, carry_end, heads, &live);
    check(0x30000000, calls_start, calls_end, heads, &live);
}

/* --- what is neither a fragment nor a block */

static void test_hooks(void **state)
{
    (void)state;
    static const unsigned one_function[][2] = {{0, 64}, {0, 0}};
    static const struct site_ask ask = {TACTIC_BIT(TACTIC_LONG), true};
    struct hook h = {0};
    module_clear();
    module_code(0, "48 8d 44 37 05 c3"); /* lea rax, [rdi+rsi+5]; ret */
    module_load(one_function, 0);
    assert_ok(hook_place(&h, app_pc(module_text), &ask, cache_pc(module_text), true));
    assert_int_not_equal(h.gate.v, 0);
    const uint64_t at[3] = {h.gate.v, h.native.v, h.native.v + 5}, native[3] = {0, 0, 5};
    for (int i = 0; i < 3; i++) {
        struct cpu_state s = {.gpr = {1, 2, 3}, .pc = at[i]}, was = s;
        assert_true(fc_recover(&s, slots_get()));
        assert_int_equal(s.pc, module_text + native[i]);
        assert_memory_equal(s.gpr, was.gpr, sizeof s.gpr);
    }
    assert_ok(hook_clear(&h));
    hook_release(&h);
}

/* Each instruction of enter, on its way to the program's own code; flags that need the slow way and not. */
static void test_enter(void **state)
{
    (void)state;
    load(MACHINE_TEXT, sum_start, sum_end);
    const struct code_region *r = region();
    struct tls_slots kept = *slots_get();
    for (int i = 0; i < 2; i++) {
        run.enter_flags = 0x202 | (i ? FL_DF | FL_CF : FL_OF | FL_ZF);
        step_all(ENTER, false, r->enter.v);
        assert_true(run.in_cache > 20);
        run.in_cache = 0;
    }
    *slots_get() = kept;
}

static void test_unknown_code(void **state)
{
    (void)state;
    load(MACHINE_TEXT, sum_start, sum_end);
    const uint64_t pcs[] = {0, run.text, region()->leave.v, region()->thread_start.v, region()->fragments.start,
                            region()->end - 1, (uint64_t)(uintptr_t)&run};
    for (size_t i = 0; i < ARRAY_LEN(pcs); i++) {
        struct cpu_state s = {.gpr = {1, 2, 3}, .pc = pcs[i]}, was = s;
        assert_false(fc_recover(&s, slots_get()));
        assert_memory_equal(&s, &was, sizeof s);
    }
}

int main(void)
{
    static uint8_t alternate[1 << 18];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGTRAP, &action, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hooks), /* before the others map programs where it has its module */
        cmocka_unit_test(test_exits_and_back_edges), cmocka_unit_test(test_counted_loops),
        cmocka_unit_test(test_inlined_calls),        cmocka_unit_test(test_far_operands),
        cmocka_unit_test(test_guards),               cmocka_unit_test(test_guards_with_live_flags),
        cmocka_unit_test(test_optimized),            cmocka_unit_test(test_lookups),              cmocka_unit_test(test_low_text),
        cmocka_unit_test(test_blocks),               cmocka_unit_test(test_random_programs),
        cmocka_unit_test(test_enter),                cmocka_unit_test(test_unknown_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
