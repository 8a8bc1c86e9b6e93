#include "tests/unit/stepper.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "fragcache/recover.h"
#include "optimizer/passes.h"
#include "tracer/stubs.h"

#define FLAG_TF 0x100u

struct stepper stepper;

struct outside {
    uint8_t data[8192];
};

static gregset_t host;
static bool started;
static const void *frame_vectors; /* of the last trap; NULL: there was none */
static const struct block *block; /* whose copy runs */
static struct outside *far_data;
static struct machine_state reference;
static struct outside reference_far;

struct tls_slots *step_slots(void)
{
    uint64_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    return (struct tls_slots *)(uintptr_t)(fs + (uint64_t)(int64_t)slots_fs_offset);
}

struct code_region *step_region(void)
{
    struct code_region *r;
    assert_ok(stubs_region(app_pc(stepper.text), &r));
    assert_ok(code_commit());
    return r;
}

static const uint8_t greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static struct cpu_state state_of(const greg_t *g)
{
    struct cpu_state s = {.vectors = 0};
    for (unsigned i = 0; i < 16; i++)
        s.gpr[i] = (uint64_t)g[greg_of[i]];
    s.rflags = (uint64_t)g[REG_EFL];
    s.pc = (uint64_t)g[REG_RIP];
    return s;
}

static struct cpu_state begin(void)
{
    struct machine_state *m = &machine.now;
    struct cpu_state s = {.rflags = 0x202, .pc = stepper.text};
    for (unsigned i = 0; i < 16; i++)
        s.gpr[i] = 0x0101010101010101ULL * i + 0x8000000000000000ULL;
    for (size_t i = 0; i < sizeof m->data; i++)
        m->data[i] = (uint8_t)(i * 31 + 7);
    memset(m->stack, 0x5a, sizeof m->stack);
    memset(far_data, 0x11, sizeof *far_data);
    s.gpr[R_RDI] = (uint64_t)(uintptr_t)m->data;
    s.gpr[R_RSP] = (uint64_t)(uintptr_t)m->stack + MACHINE_STACK - 512;
    s.gpr[R_R15] = STEP_STOP;
    return s;
}

/* Vector registers as the trap found them, and as s has them. */
static __attribute__((noinline)) void load_vectors(const struct cpu_state *s)
{
    static _Alignas(16) uint8_t area[512];
    if (!frame_vectors)
        return;
    memcpy(area, frame_vectors, sizeof area);
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        if (s->vectors & 1u << REG_VECTOR(VECTOR_FIRST + i))
            memcpy(area + 160 + (size_t)16 * (VECTOR_FIRST + i), &s->vector[i], 16);
    __asm__ volatile("fxrstor64 %0" : : "m"(area) : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                                                    "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                                                    "xmm15");
}

/* The program's own code from s to its end, natively; the result is in machine.now and *far_data. */
static void finish_natively(const struct cpu_state *s)
{
    struct tls_slots *slots = step_slots();
    struct code_region *r = code_region_find(step_region()->start);
    stubs_enter_fn *fn = (stubs_enter_fn *)(uintptr_t)r->enter.v;
    memcpy(machine.now.ctx.gpr, s->gpr, sizeof s->gpr);
    machine.now.ctx.gpr[R_R15] = r->leave.v;
    machine.now.ctx.rflags = s->rflags & ~(uint64_t)FLAG_TF;
    *slots = (struct tls_slots){.ctx = &machine.now.ctx, .target = s->pc, .exit_id = UINT32_MAX};
    load_vectors(s);
    fn(&machine.now.ctx);
}

static void failed(const char *why, uint64_t at)
{
    if (stepper.failed)
        return;
    stepper.failed = why;
    stepper.failed_at = at;
}

const char *step_difference(void)
{
    static char text[100];
    const size_t borrowed = MACHINE_STACK - 512 - 136;
    const struct machine_state *a = &reference, *b = &machine.now;
    if (stepper.stub) /* what the stub leaves below the red zone */
        memcpy(machine.now.stack + borrowed, reference.stack + borrowed, 8);
    for (unsigned i = 0; i < R_R15; i++)
        if (a->ctx.gpr[i] != b->ctx.gpr[i] && !(stepper.dead & 1u << i)) {
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

static bool in_text(uint64_t pc) { return pc - stepper.text < STEP_TEXT_BYTES || pc == STEP_STOP; }

static bool recover_block(struct cpu_state *s)
{
    struct app_pc native;
    bool found = block_recover(s->pc, s->gpr, step_slots(), &native);
    s->pc = native.v;
    return found;
}

/* At one instruction of ours. */
static void check_state(struct cpu_state s)
{
    static struct machine_state kept;
    static struct outside kept_far;
    struct tls_slots kept_slots = *step_slots();
    uint64_t at = s.pc;
    stepper.in_cache++;
    bool found = stepper.blocks ? recover_block(&s) : fc_recover(&s, step_slots());
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
    if (s.pc == STEP_STOP) {
        memcpy(machine.now.ctx.gpr, s.gpr, sizeof s.gpr);
        machine.now.ctx.rflags = s.rflags;
    } else {
        finish_natively(&s);
    }
    const char *why = step_difference();
    if (why)
        failed(why, at);
    machine.now = kept;
    *far_data = kept_far;
    *step_slots() = kept_slots;
}

/* What the dispatcher does after a copy or fragment has left. */
static void dispatch(greg_t *g)
{
    struct tls_slots *slots = step_slots();
    if (slots->exit_id != EXIT_BLOCK) {
        g[REG_RIP] = (greg_t)(slots->exit_id == EXIT_LOOKUP ? slots->target : fc_exit(slots->exit_id)->target.v);
        return;
    }
    struct cpu_state s = state_of(g);
    struct cpu_ctx ctx = {.rflags = s.rflags};
    memcpy(ctx.gpr, s.gpr, sizeof ctx.gpr);
    g[REG_RIP] = (greg_t)interp_next(block, &ctx, slots).next.v;
    g[REG_RCX] = (greg_t)ctx.gpr[R_RCX];
}

static void enter_block(greg_t *g)
{
    struct block *b;
    if (block_get(app_pc((uint64_t)g[REG_RIP]), &b) != RC_OK) {
        failed("no block", (uint64_t)g[REG_RIP]);
        return;
    }
    stepper.entered++;
    block = b;
    step_slots()->exit_id = EXIT_BLOCK;
    g[REG_RIP] = (greg_t)(b->code.v ? b->code.v : step_region()->leave.v);
}

static void enter_fragment(greg_t *g, const struct fragment *f)
{
    stepper.entered++;
    if (!stepper.looked_up || stepper.entered % 2) {
        g[REG_RIP] = (greg_t)(stepper.stub ? stepper.stub : f->entry.v);
        return;
    }
    step_slots()->spill0 = (uint64_t)g[REG_RCX];
    step_slots()->spill1 = (uint64_t)g[REG_RDX];
    g[REG_RDX] = (greg_t)f->tag.v;
    g[REG_RIP] = (greg_t)f->lookup_entry.v;
}

/* The program's instruction at `before` ran, and led to pc. */
static void note_branch(uint64_t before, uint64_t pc)
{
    const uint8_t *text = (const uint8_t *)(uintptr_t)before;
    uint8_t opcode = !before ? 0 : text[(text[0] & 0xf0) == 0x40];
    if (opcode != 0xff && opcode != 0xc2 && opcode != 0xc3) /* decoding each takes its time */
        return;
    struct insn in = unit_decode_bytes(text, INSN_MAX_BYTES, before);
    bool indirect = in.kind == IK_JMP_IND || in.kind == IK_CALL_IND || in.kind == IK_RET;
    for (int i = 0; indirect && i < 8; i++) /* often enough to be believed */
        targets_note(app_pc(before + in.len), app_pc(pc));
}

static void on_program(greg_t *g)
{
    uint64_t pc = (uint64_t)g[REG_RIP];
    note_branch(stepper.before, pc);
    stepper.before = pc;
    int n = stepper.path_count;
    if (stepper.visit == STEP_RECORD && (n || pc == stepper.head) && n < STEP_MAX_PATH) {
        bool closed = n && pc == stepper.head && stepper.path[n - 1].v != pc;
        stepper.path[stepper.path_count++] = app_pc(pc);
        stepper.visit = closed ? STEP_COMPARE : STEP_RECORD;
    }
    struct fragment *f = stepper.enter ? fc_find(app_pc(pc)) : NULL;
    if (f)
        enter_fragment(g, f);
}

/* Of any region: a table of one may lead to another's. */
static bool is_leave(uint64_t pc)
{
    const struct code_region *r = code_region_find(pc);
    return r && pc == r->leave.v;
}

/* STEP_ENTER: the first trap is at the region's enter, called with a context that begins the program. */
static void begin_enter(greg_t *g)
{
    static struct cpu_ctx ctx;
    struct cpu_state s = begin();
    memcpy(ctx.gpr, s.gpr, sizeof ctx.gpr);
    ctx.rflags = stepper.enter_flags;
    step_slots()->target = s.pc;
    g[REG_RDI] = (greg_t)(uintptr_t)&ctx;
    g[REG_RSP] -= 1024;
    g[REG_RIP] = (greg_t)stepper.head;
}

static void check_enter(struct cpu_state s)
{
    struct cpu_state wanted = begin();
    stepper.in_cache++;
    if (!fc_recover(&s, step_slots()))
        failed("not recovered", s.pc);
    else if (s.pc != wanted.pc || memcmp(s.gpr, wanted.gpr, sizeof s.gpr) != 0 ||
             ((s.rflags ^ stepper.enter_flags) & (FL_STATUS | FL_DF)))
        failed("not the context", s.pc);
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    frame_vectors = ((ucontext_t *)context)->uc_mcontext.fpregs;
    (void)sig, (void)info;
    if (!started) {
        struct cpu_state s = begin();
        started = true;
        memcpy(host, g, sizeof host);
        for (unsigned i = 0; i < 16; i++)
            g[greg_of[i]] = (greg_t)s.gpr[i];
        g[REG_RIP] = (greg_t)s.pc;
        g[REG_EFL] = (greg_t)s.rflags;
        if (stepper.visit == STEP_ENTER) {
            memcpy(g, host, sizeof host);
            begin_enter(g);
        }
    }
    while (is_leave((uint64_t)g[REG_RIP])) {
        dispatch(g);
        if (stepper.blocks && g[REG_RIP] != STEP_STOP)
            enter_block(g);
    }
    if (g[REG_RIP] == STEP_STOP || stepper.failed || ++stepper.steps > 200000) {
        struct cpu_state s = state_of(g);
        memcpy(machine.now.ctx.gpr, s.gpr, sizeof s.gpr);
        machine.now.ctx.rflags = s.rflags;
        memcpy(g, host, sizeof host);
        return;
    }
    if (stepper.visit == STEP_ENTER && in_text((uint64_t)g[REG_RIP])) {
        memcpy(g, host, sizeof host);
        return;
    }
    if (stepper.visit == STEP_ENTER)
        check_enter(state_of(g));
    else if (in_text((uint64_t)g[REG_RIP]) && stepper.blocks)
        enter_block(g);
    else if (in_text((uint64_t)g[REG_RIP]))
        on_program(g);
    if (stepper.visit != STEP_ENTER && !in_text((uint64_t)g[REG_RIP])) {
        stepper.before = 0;
        check_state(state_of(g));
    }
    g[REG_EFL] |= FLAG_TF;
}

void step_run(enum step_visit visit, bool enter, uint64_t head)
{
    stepper.visit = visit;
    stepper.enter = enter;
    stepper.head = head;
    stepper.path_count = 0;
    stepper.before = 0;
    started = false;
    stepper.steps = 0;
    stepper.failed = NULL;
    raise(SIGTRAP);
    if (!stepper.failed)
        return;
    const struct fragment *f = fc_at(stepper.failed_at);
    fail_msg("at %#llx, offset %#llx (entry %#llx, body ends %#x): %s", (unsigned long long)stepper.failed_at,
             f ? (unsigned long long)(stepper.failed_at - f->start.v) : 0,
             f ? (unsigned long long)(f->entry.v - f->start.v) : 0, f ? f->body_end : 0, stepper.failed);
}

/* --- fragments of recorded paths */

static struct trace trace;
static struct insn insns[STEP_MAX_PATH], made[64];
static struct node nodes[STEP_MAX_PATH + 16];

/* The trace that the recorded path is; returns its instructions. */
static int path_to_trace(const struct step_kind *k)
{
    int n = 0, last = stepper.path_count - 1, depth = 0;
    uint64_t start = stepper.head;
    trace = (struct trace){.head = app_pc(stepper.head), .end = TRACE_DIRECT};
    for (; n < last && trace.steps < TRACE_MAX_BLOCKS; n++) {
        uint64_t pc = stepper.path[n].v;
        insns[n] = unit_decode_bytes((const void *)(uintptr_t)pc, INSN_MAX_BYTES, pc);
        if (!insn_ends_block(&insns[n]))
            continue;
        uint64_t next = pc + insns[n].len, went = stepper.path[n + 1].v;
        trace.step[trace.steps++] = (struct trace_step){app_pc(start), app_pc(next), app_pc(went), went != next};
        start = went;
        depth += insns[n].kind == IK_CALL;
        bool away = insns[n].kind == IK_RET && depth-- <= 0;
        if (k->cut && (insns[n].kind == IK_JMP_IND || insns[n].kind == IK_CALL_IND || away)) {
            trace.end = TRACE_INDIRECT;
            n++;
            break;
        }
    }
    if (trace.end == TRACE_DIRECT && n == last && stepper.path[last].v == stepper.head)
        trace.end = TRACE_LOOP;
    trace.exit = stepper.path[n];
    trace.insns = n;
    return n;
}

static size_t peek(struct app_pc pc, uint8_t *out, size_t cap)
{
    size_t n = pc.v - stepper.text < STEP_TEXT_BYTES ? stepper.text + STEP_TEXT_BYTES - pc.v : 0;
    n = n < cap ? n : cap;
    memcpy(out, (const void *)(uintptr_t)pc.v, n);
    return n;
}

struct fragment *step_emit(uint64_t head, const struct step_kind *k)
{
    step_run(STEP_RECORD, false, head);
    assert_true(stepper.path_count > 1);
    int n = path_to_trace(k);
    struct ir ir = {.nodes = nodes, .cap = (int)ARRAY_LEN(nodes)};
    if (k->computed) {
        ir.made = made;
        ir.made_cap = (int)ARRAY_LEN(made);
        ir.unroll = k->promoted ? 1 : 3;
        ir.alone = true;
        ir.peek = peek;
    } else {
        ir.passes = PASS_BIT(PASS_calls) | (k->chained ? PASS_BIT(PASS_chain) : 0);
    }
    ir.targets_of = k->chained ? targets_find : NULL;
    memset(nodes, 0, sizeof nodes);
    assert_ok(ir_build(&ir, &trace, insns, n));
    assert_ok(optimize(&ir));
    assert_true(!k->promoted || ir.slot_count > 0);
    assert_true(!k->invariant || ir.invariant_count > 1);
    assert_true(!k->chained || ir.chain_count > 0);
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
void step_load(uint64_t at, const uint8_t *start, const uint8_t *end)
{
    static bool ready;
    if (!ready)
        machine_reset(1 << 20, true);
    ready = true;
    fc_flush();
    block_flush();
    targets_forget();
    stepper.text = machine_load(at, start, end);
    if (far_data)
        munmap(far_data, sizeof *far_data);
    uint64_t far = at < MACHINE_TEXT ? MACHINE_TEXT - 0x100000 : stepper.text + STEP_FAR;
    far_data = mmap((void *)(uintptr_t)far, sizeof *far_data, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    assert_ptr_not_equal(far_data, MAP_FAILED);
    stepper.dead = stepper.entered = stepper.in_cache = 0;
    stepper.blocks = stepper.looked_up = false;
    stepper.stub = 0;
    struct cpu_state s = begin();
    frame_vectors = NULL;
    finish_natively(&s);
    reference = machine.now;
    reference_far = *far_data;
}

void step_compare(const char *way)
{
    step_run(STEP_COMPARE, true, 0);
    const char *why = step_difference();
    if (why)
        fail_msg("%s: %s", way, why);
}

void step_init(void)
{
    static uint8_t alternate[1 << 18];
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGTRAP, &action, NULL);
}
