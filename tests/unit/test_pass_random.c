/* The passes on random straight paths, by execution. After each node, the path as recorded and the path as optimized
 * must have the same registers and memory, have left through the same exit, and have the same status flags, as far as
 * the path as recorded still needs them. Calls and returns are there as the pushes and pops they become.
 *
 * Addresses overlap on purpose: rsi points into the stack, r12 and r13 are copies of other pointers, moved. */
#include "tests/unit/pass_cpu.h"

#include "optimizer/passes.h"

#define PATHS 6000
#define LONGEST 14
#define TEXT 0x20000000ull /* where the path claims to lie */
#define AREA 2048

/* --- random instructions */

struct bytes {
    uint8_t b[32];
    size_t n;
};

static void put(struct bytes *x, unsigned v) { x->b[x->n++] = (uint8_t)v; }
static void put32(struct bytes *x, uint32_t v)
{
    memcpy(x->b + x->n, &v, 4);
    x->n += 4;
}

static unsigned any_register(void) /* one that never holds an address */
{
    static const uint8_t r[] = {R_RAX, R_RCX, R_RDX, R_RBX, R_RBP, R_R8, 9, 11};
    return r[cpu_dice(ARRAY_LEN(r))];
}
static unsigned any_pointer(void)
{
    static const uint8_t r[] = {R_RSP, R_RSP, R_RSP, R_RDI, R_RSI, 12, 13};
    return r[cpu_dice(ARRAY_LEN(r))];
}

/* [prefix] [REX] opcode modrm, with a register or a memory operand. r10 is a small index. */
static void put_modrm(struct bytes *x, unsigned width, unsigned opcode, unsigned reg, bool memory)
{
    unsigned rm = memory ? any_pointer() : any_register(), index = 4;
    bool constant = memory && cpu_dice(6) == 0, indexed = memory && !constant && cpu_dice(4) == 0;
    if (indexed)
        index = 10;
    if (constant)
        rm = R_RBP;
    unsigned rex = (width == 8 ? 8u : 0) | (reg >> 3) << 2 | (index >> 3) << 1 | (constant ? 0 : rm >> 3);
    if (width == 2)
        put(x, 0x66);
    if (rex || (width == 1 && cpu_dice(2)))
        put(x, 0x40 | rex);
    if (opcode > 0xff)
        put(x, opcode >> 8);
    put(x, opcode & 0xff);
    unsigned field = (reg & 7) << 3;
    if (!memory) {
        put(x, 0xc0 | field | (rm & 7));
    } else if (constant) {
        put(x, 0x04 | field);
        put(x, 0x25);
        put32(x, (uint32_t)CPU_CONSTANTS + 8 * cpu_dice(4) + (cpu_dice(4) ? 0 : cpu_dice(8)));
    } else {
        put(x, 0x44 | field);
        put(x, (indexed ? cpu_dice(4) << 6 : 0) | (index & 7) << 3 | (rm & 7));
        put(x, (8 * cpu_dice(4) + (cpu_dice(4) ? 0 : cpu_dice(8)) - 8) & 0xff);
    }
}

static unsigned any_width(void)
{
    static const uint8_t w[] = {8, 8, 8, 4, 4, 4, 2, 1};
    return w[cpu_dice(ARRAY_LEN(w))];
}

static bool reads_only(unsigned opcode) { return opcode == 0x39 || opcode == 0x85; }

/* The last operand is constant memory, which the program does not write. */
static bool is_constant(const struct bytes *x)
{
    return x->n >= 7 && (x->b[x->n - 6] & 0xc7) == 0x04 && x->b[x->n - 5] == 0x25;
}

static void put_arithmetic(struct bytes *x)
{
    static const uint8_t ops[] = {0x01, 0x03, 0x29, 0x2b, 0x21, 0x23, 0x09, 0x0b, 0x31, 0x33, 0x39, 0x3b, 0x85,
        0x11, 0x1b, 0x39};
    unsigned op = ops[cpu_dice(ARRAY_LEN(ops))], width = any_width(), reg = any_register();
    bool memory = cpu_dice(2);
    struct bytes before = *x;
    do {
        *x = before;
        put_modrm(x, width, width == 1 ? op & ~1u : op, reg, memory);
    } while (memory && !(op & 2) && !reads_only(op) && is_constant(x));
}

static void put_store(struct bytes *x)
{
    struct bytes before = *x;
    unsigned width = any_width();
    do {
        *x = before;
        put_modrm(x, width, width == 1 ? 0x88 : 0x89, any_register(), true);
    } while (is_constant(x));
}

static void put_immediate(struct bytes *x)
{
    static const uint8_t small[] = {0, 0, 1, 5, 0x7f, 0x80, 0xff, 0xf0};
    unsigned width = any_width(), digit = cpu_dice(8);
    digit = digit == 2 || digit == 3 ? 7 : digit; /* adc, sbb: cmp instead */
    put_modrm(x, width, width == 1 ? 0x80 : 0x83, digit, digit == 7 && cpu_dice(2));
    put(x, small[cpu_dice(ARRAY_LEN(small))]);
}

static void put_mov_constant(struct bytes *x)
{
    unsigned r = any_register();
    if (cpu_dice(3) == 0) { /* mov r64, simm32 */
        put(x, 0x48 | r >> 3);
        put(x, 0xc7);
        put(x, 0xc0 | (r & 7));
    } else {
        if (r > 7)
            put(x, 0x41);
        put(x, 0xb8 | (r & 7));
    }
    static const uint32_t values[] = {0, 0, 0, 1, 5, 0x80000000u, 0xffffffffu, (uint32_t)CPU_CONSTANTS};
    put32(x, values[cpu_dice(ARRAY_LEN(values))]);
}

/* Changes of the pointers that keep them near. */
static void put_pointer(struct bytes *x)
{
    static const char *const forms[] = {
        "49 89 fc", "49 89 f4", "4d 89 e5", "4c 8d 67 08", "4d 8d 6c 24 f8", "49 83 c5 08", "49 83 ec 08", "49 ff c4",
        "49 ff cd", "49 89 e4", "4c 8d 6c 24 10", "49 ff c2", "49 ff ca", "48 83 ec 10", "48 83 c4 10", "4d 87 e5",
        "4c 87 e7", "48 8d 64 24 f8", "41 83 e2 03", "4c 8d 24 37",
    };
    const char *hex = forms[cpu_dice(ARRAY_LEN(forms) - 1)]; /* the last adds two pointers: not used as one */
    x->n += unit_bytes(hex, x->b + x->n, 8);
}

static void put_other(struct bytes *x)
{
    static const char *const forms[] = {
        "90", "f3 0f 1e fa", "0f 1f 40 00", "48 98", "98", "48 99", "48 f7 d0", "48 f7 d9", "48 d3 e2", "d3 fa", "41 d3 e8", "48 c1 e8 04",
        "c1 e2 20", "d1 f8", "0f c8", "48 0f af c1", "0f bc c1", "48 0f bd ca", "86 c4", "b4 07", "88 e0", "00 e0",
        "84 e4",
        "48 87 c1", "87 d1", "91", "f5", "f9", "f8", "9f", "48 0f c1 c8", "0f b1 d1", "66 48 0f 6e c0",
        "66 48 0f 7e c1",
        "66 0f ef c0", "f0 48 ff 07", "48 87 07", "0f ae f0", "48 0f b1 0f", "f3 0f 6f 07", "f3 0f 7f 06",
        "f3 0f 7f 04 24",
        "f3 0f 7e 04 24", "aa 48 ff cf", "48 ab 48 83 ef 08", "50", "41 51", "6a ff", "68 00 00 00 80", "58",
        "41 59", "5d",
        "ff 34 24", "ff 37", "8f 04 24", "9c", "66 50 48 83 ec 06", "0f a3 c8", "0f ba e0 03", "89 c0", "48 89 c0",
        "48 89 c1", "89 c1", "48 8d 01", "8d 01", "48 63 c8", "48 63 c0", "0f b6 c0", "0f b6 c4", "48 0f be c9",
        "48 8d 04 11", "4c 8d 04 8d 00 00 00 00", "48 31 c0", "31 c9", "48 29 d2", "30 c0", "66 31 c0", "48 85 c0",
        "48 39 c8",
        "39 c8", "38 c8", "85 c9", "84 c9", "c8 10 00 00 c9", "55 48 89 e5 c9", "48 39 c8 48 39 c8",
        "48 29 c8 48 85 c0",
        "21 c8 85 c0", "ff c9 85 c9", "48 89 04 24 48 8b 0c 24", "64 48 8b 04 25 00 00 00 00 31 c0",
    };
    x->n += unit_bytes(forms[cpu_dice(ARRAY_LEN(forms))], x->b + x->n, 16);
}

/* One or two instructions. */
static struct bytes any_instructions(void)
{
    static const uint16_t loads[] = {0x8b, 0x8b, 0x8b, 0x0fb6, 0x0fb7, 0x0fbe, 0x0fbf, 0x63, 0x03, 0x3b, 0x0faf,
        0x0f44, 0x0f4c};
    struct bytes x = {.n = 0};
    switch (cpu_dice(12)) {
    case 0:
    case 1:
    case 2: put_modrm(&x, cpu_dice(2) ? 8 : 4, loads[cpu_dice(ARRAY_LEN(loads))], any_register(), true); break;
    case 3: put_modrm(&x, 1, 0x8a, any_register(), true); break;
    case 4:
    case 5: put_store(&x); break;
    case 6: put_arithmetic(&x); break;
    case 7: put_immediate(&x); break;
    case 8: put_mov_constant(&x); break;
    case 9: put_pointer(&x); break;
    case 10: /* setcc or cmovcc */
        put_modrm(&x, cpu_dice(2) ? 8 : 1, 0x0f90 + cpu_dice(16), 0, false);
        break;
    default: put_other(&x); break;
    }
    return x;
}

/* --- paths */

static struct insn insns[4 * LONGEST], made[4 * LONGEST];
static struct node nodes[4 * LONGEST + 4];
static struct trace trace;
static int insn_count;
static bool path_calls;

static void add_branch(struct bytes *x, uint64_t went, bool taken)
{
    struct insn *in = &insns[insn_count];
    *in = unit_decode_bytes(x->b, x->n, TEXT + 16ull * (unsigned)insn_count);
    uint64_t next = in->pc.v + in->len;
    trace.step[trace.steps++] = (struct trace_step){in->pc, app_pc(next), app_pc(went ? went : next), taken};
    insn_count++;
}

/* Random instructions, conditional branches that are not taken, and calls with their returns. */
static void any_path(void)
{
    uint64_t returns[LONGEST];
    int depth = 0, length = 2 + (int)cpu_dice(LONGEST - 1);
    memset(&trace, 0, sizeof trace);
    insn_count = 0;
    path_calls = false;
    for (int i = 0; i < length; i++) {
        struct bytes x = {.n = 0};
        unsigned what = cpu_dice(24);
        if (what < 4) {
            put(&x, 0x0f);
            put(&x, 0x80 | cpu_dice(16));
            put32(&x, 0x1000);
            add_branch(&x, 0, false);
        } else if (what == 4) {
            put(&x, 0xe8);
            put32(&x, 0x1000);
            add_branch(&x, TEXT + 0x1000, true);
            path_calls = true;
            returns[depth++] = insns[insn_count - 1].pc.v + 5;
        } else if (what == 5 && depth) {
            put(&x, 0xc3);
            add_branch(&x, returns[--depth], true);
        } else {
            x = any_instructions();
            for (size_t at = 0; at < x.n; at += insns[insn_count++].len)
                insns[insn_count] = unit_decode_bytes(x.b + at, x.n - at, TEXT + 16ull * (unsigned)insn_count);
        }
    }
    struct bytes last = {.b = {0x90}, .n = 1};
    insns[insn_count] = unit_decode_bytes(last.b, last.n, TEXT + 16ull * (unsigned)insn_count);
    uint64_t next = insns[insn_count++].pc.v + 1;
    trace.step[trace.steps++] = (struct trace_step){app_pc(TEXT), app_pc(next), app_pc(next), false};
    trace.head = app_pc(TEXT);
    trace.end = TRACE_DIRECT;
    trace.exit = app_pc(next);
    trace.insns = insn_count;
}

static uint32_t cpu; /* ir.cpu: what this one has */

static bool constant_at(uint64_t at, unsigned bytes, uint64_t *value)
{
    if (at < CPU_CONSTANTS || at + bytes > CPU_CONSTANTS + 4096)
        return false;
    *value = 0;
    memcpy(value, (const void *)(uintptr_t)at, bytes);
    return true;
}

/* --- running */

static uint8_t *emit_exit_if(uint8_t *to, unsigned cc, uint32_t exit)
{
    *to++ = (uint8_t)(0x70 | (cc ^ 1));
    *to++ = 25;
    return cpu_emit_leave(to, exit);
}

/* A node as it was recorded, or as it is now. */
static uint8_t *emit_node(uint8_t *to, const struct node *n, bool original)
{
    static const uint8_t add_sp[] = {0x48, 0x8d, 0x64, 0x24, 0x08}; /* lea rsp, [rsp+8] */
    const struct insn *was = &insns[n->insn];
    uint32_t return_address = (uint32_t)(was->pc.v + was->len);
    if (!original && n->removed)
        return to;
    switch ((enum insn_kind)was->kind) {
    case IK_JCC: return emit_exit_if(to, was->cc, (uint32_t)n->insn + 1);
    case IK_CALL:
        *to++ = 0x68; /* push simm32 */
        memcpy(to, &return_address, 4);
        return to + 4;
    case IK_RET: memcpy(to, add_sp, sizeof add_sp); return to + sizeof add_sp;
    default: break;
    }
    const struct insn *in = original ? was : n->in;
    memcpy(to, in->bytes, in->len);
    return to + in->len;
}

static void run(const struct cpu_state *start, const struct ir *ir, int count, bool original, struct cpu_state *out)
{
    uint8_t *to = cpu_code();
    for (int i = 0; i < count; i++)
        to = emit_node(to, &ir->nodes[i], original);
    cpu_emit_leave(to, 0);
    if (!cpu_run(start, out))
        fail_msg("a signal in a %s path", original ? "recorded" : "optimized");
}

static void any_state(struct cpu_state *s)
{
    uint8_t *bytes = (uint8_t *)s;
    for (size_t i = 0; i < sizeof *s; i++)
        bytes[i] = (uint8_t)cpu_dice(256);
    for (int r = 0; r < 16; r++)
        if (cpu_dice(2))
            s->gpr[r] = cpu_dice(4);
    uint64_t stack = CPU_STACK + CPU_AREA / 2, data = CPU_DATA + CPU_AREA / 2;
    s->gpr[R_RSP] = stack;
    if (path_calls)
        stack += 96; /* nobody has pointers to frames that are still to be made */
    s->gpr[R_RDI] = cpu_dice(4) ? data : stack + 8;
    s->gpr[R_RSI] = stack + 8 * cpu_dice(4) - 8;
    s->gpr[10] = cpu_dice(4);
    s->gpr[12] = data + 8 * cpu_dice(3);
    s->gpr[13] = cpu_dice(2) ? data : stack;
    s->flags = 0x202 | (cpu_dice(256) & FL_STATUS) | (cpu_dice(2) ? FL_OF : 0);
    s->exit = 0;
}

static void print_path(const struct ir *ir)
{
    for (int i = 0; i < ir->count; i++) {
        const struct node *n = &ir->nodes[i];
        print_message("%2d %c op %u  ", i, n->removed ? '-' : node_is_original(ir, n) ? ' ' : '~', n->op);
        for (unsigned k = 0; k < insns[n->insn].len; k++)
            print_message("%02x ", insns[n->insn].bytes[k]);
        if (!node_is_original(ir, n) && n->op == N_INSN) {
            print_message(" ->  ");
            for (unsigned k = 0; k < n->in->len; k++)
                print_message("%02x ", n->in->bytes[k]);
        }
        print_message("  %s\n", n->why ? n->why : "");
    }
}

static bool same_state(const struct cpu_state *a, const struct cpu_state *b, uint64_t flags)
{
    return memcmp(a->gpr, b->gpr, sizeof a->gpr) == 0 && a->exit == b->exit &&
           (a->exit ? ((a->flags ^ b->flags) & FL_STATUS) == 0 : ((a->flags ^ b->flags) & flags) == 0) &&
           memcmp(a->stack, b->stack, CPU_AREA) == 0 && memcmp(a->data, b->data, CPU_AREA) == 0;
}

static void check_path(const struct ir *ir, const struct cpu_state *start)
{
    struct cpu_state was, now;
    for (int k = 1; k < ir->count; k++) {
        const struct node *next = &ir->nodes[k]; /* in front of which the state may be seen, if it is there */
        uint64_t live = next->removed ? 0 : FL_STATUS & next->original.flags;
        run(start, ir, k, true, &was);
        run(start, ir, k, false, &now);
        if (same_state(&was, &now, live))
            continue;
        print_path(ir);
        print_message("differs after node %d\n", k - 1);
        for (int r = 0; r < 16; r++)
            if (was.gpr[r] != now.gpr[r])
                print_message("r%d %llx, not %llx\n", r, (unsigned long long)now.gpr[r], (unsigned long long)was.gpr[r]);
        print_message("exit %u %u flags %llx %llx live %llx\n", now.exit, was.exit, (unsigned long long)now.flags,
                      (unsigned long long)was.flags, (unsigned long long)live);
        fail();
    }
}

/* Any branch, somewhere else too. */
static const struct branch_targets *targets_of(struct app_pc after)
{
    static struct branch_targets t;
    t = (struct branch_targets){.after = after.v, .runs = 10, .count = {5, 5}, .target = {0x123456, after.v}};
    return &t;
}

static void run_paths(bool alone, uint32_t *changes)
{
    cpu_catch_signals();
    for (int i = 0; i < PATHS; i++) {
        any_path();
        struct ir ir = {.nodes = nodes, .cap = (int)ARRAY_LEN(nodes), .alone = alone, .made = made, .cpu = cpu};
        ir.made_cap = (int)ARRAY_LEN(made);
        ir.constant_at = constant_at;
        ir.targets_of = targets_of;
        memset(nodes, 0, sizeof nodes);
        assert_ok(ir_build(&ir, &trace, insns, insn_count));
        rc_t rc = optimize(&ir);
        if (rc != RC_OK)
            print_path(&ir);
        assert_ok(rc);
        for (int p = 0; p < PASS_COUNT; p++)
            changes[p] += ir.changes[p];
        if (ir_changes(&ir) == 0)
            continue;
        for (int s = 0; s < 2; s++) {
            struct cpu_state start;
            any_state(&start);
            check_path(&ir, &start);
        }
    }
}

/* Every pass must have done something, or the paths test nothing; but unroll and promote, which need loops, convert, which needs
 * text beside the path, and order, which needs what only compilers put together. */
static void assert_all_changed(const uint32_t *changes)
{
    for (int p = 0; p < PASS_COUNT; p++)
        if (p != PASS_unroll && p != PASS_promote && p != PASS_invariant && p != PASS_convert && p != PASS_order && (p != PASS_select || cpu) && changes[p] < 20)
            fail_msg("pass %d: %u changes", p, changes[p]);
}

static void test_shared(void **unused)
{
    uint32_t changes[PASS_COUNT] = {0};
    (void)unused;
    run_paths(false, changes);
    assert_all_changed(changes);
}

static void test_alone(void **unused)
{
    uint32_t changes[PASS_COUNT] = {0};
    (void)unused;
    run_paths(true, changes);
    assert_all_changed(changes);
}

static int setup(void **unused)
{
    (void)unused;
    cpu = __builtin_cpu_supports("bmi2") ? CPU_BMI2 : 0;
    return cpu_setup();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shared), cmocka_unit_test(test_alone)};
    return cmocka_run_group_tests_name("pass_random", tests, setup, NULL);
}
