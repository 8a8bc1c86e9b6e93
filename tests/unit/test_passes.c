/* The optimizer's passes on recorded paths written as text: tests/unit/golden/NAME.txt, one test for each case. How the
 * text reads stands at the top of golden/layout.txt. Unless a case says which, the pass NAME runs, and no other that
 * can be left out. Run from the top of the tree. */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "optimizer/passes.h"

#define MAX_CASES 320
#define MAX_INSNS 64
#define MAX_BODIES 8
#define MAX_FACTS 8

struct golden {
    char name[96];
    uint32_t passes;
    char input[4096], expected[4096];
};

static struct golden cases[MAX_CASES];
static int case_count;
static struct trace trace;
static struct insn insns[MAX_INSNS], made[MAX_INSNS];
static struct node nodes[MAX_INSNS * MAX_BODIES];
static bool show_dead;

/* What the pure optimizer asks its caller. */
static struct {
    uint64_t at, value;
} constants[MAX_FACTS];
static int constant_count;
static struct {
    uint64_t at;
    uint8_t bytes[48];
    size_t len;
} texts[MAX_FACTS];
static int text_count;
static struct branch_targets branches[MAX_FACTS];
static int branch_count;

static const struct branch_targets *targets_of(struct app_pc after)
{
    for (int i = 0; i < branch_count; i++)
        if (branches[i].after == after.v)
            return &branches[i];
    return NULL;
}

static bool constant_at(uint64_t at, unsigned bytes, uint64_t *value)
{
    for (int i = 0; i < constant_count; i++)
        if (at >= constants[i].at && at + bytes <= constants[i].at + 8) {
            *value = constants[i].value >> 8 * (at - constants[i].at);
            return true;
        }
    return false;
}

static size_t peek(struct app_pc pc, uint8_t *out, size_t cap)
{
    for (int i = 0; i < text_count; i++)
        if (pc.v >= texts[i].at && pc.v < texts[i].at + texts[i].len) {
            size_t skip = pc.v - texts[i].at, n = texts[i].len - skip < cap ? texts[i].len - skip : cap;
            memcpy(out, texts[i].bytes + skip, n);
            return n;
        }
    return 0;
}

static void die(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s\n", what, text);
    exit(2);
}

static uint32_t pass_named(const char *name)
{
    static const char *const names[] = {
#define PASS(id, text) #id,
#include "optimizer/passes.def"
#undef PASS
    };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return PASS_BIT(i);
    return strcmp(name, "all") == 0 ? PASSES_ALL : PASSES_NONE;
}

static void load(const char *file)
{
    char path[128], line[256];
    snprintf(path, sizeof path, "tests/unit/golden/%s.txt", file);
    FILE *in = fopen(path, "r");
    if (!in)
        die(path, "cannot be read; run from the top of the tree");
    struct golden *g = NULL;
    char *to = NULL;
    while (fgets(line, sizeof line, in)) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (strncmp(line, "== ", 3) == 0) {
            if (case_count == MAX_CASES)
                die(path, "too many cases");
            g = &cases[case_count++];
            line[strcspn(line, "\n")] = 0;
            snprintf(g->name, sizeof g->name, "%s: %.80s", file, line + 3);
            g->passes = pass_named(file);
            to = g->input;
        } else if (strcmp(line, "--\n") == 0 && g) {
            to = g->expected;
        } else if (to && strlen(to) + strlen(line) < sizeof g->input) {
            strcat(to, line);
        } else {
            die(path, line);
        }
    }
    fclose(in);
}

static void close_block(uint64_t start, uint64_t next, uint64_t went, bool taken)
{
    assert_true(trace.steps < TRACE_MAX_BLOCKS);
    trace.step[trace.steps++] = (struct trace_step){app_pc(start), app_pc(next), app_pc(went), taken};
}

static void read_targets(char *text)
{
    assert_true(branch_count < MAX_FACTS);
    struct branch_targets *b = &branches[branch_count++];
    *b = (struct branch_targets){.after = strtoull(text, &text, 16)};
    b->runs = (uint32_t)strtoul(text, &text, 10);
    for (int i = 0; i < TARGETS_KEPT && *text; i++) {
        b->target[i] = strtoull(text, &text, 16);
        b->count[i] = (uint32_t)strtoul(text, &text, 10);
    }
}

/* Lines that say how to optimize, and what the caller knows:
 *   passes NAME... | alone | others | native | abi | unroll N | bisect N | const ADDRESS VALUE | text ADDRESS BYTES | show dead
 *   targets AFTER RUNS [TARGET COUNT]... */
static bool read_setting(char *line, struct ir *ir)
{
    char word[8][16];
    unsigned long long a = 0, b = 0;
    int n = sscanf(line, "passes %15s %15s %15s %15s %15s %15s %15s", word[0], word[1], word[2], word[3], word[4], word[5],
                   word[6]);
    if (n > 0) {
        ir->passes = 0;
        while (n--)
            ir->passes |= pass_named(word[n]);
        return true;
    }
    if (sscanf(line, "unroll %d", &ir->unroll) == 1 || sscanf(line, "bisect %d", &ir->bisect) == 1)
        return true;
    if (sscanf(line, "const %llx %llx", &a, &b) == 2) {
        assert_true(constant_count < MAX_FACTS);
        constants[constant_count].at = a;
        constants[constant_count++].value = b;
        return true;
    }
    if (sscanf(line, "text %llx", &a) == 1) {
        assert_true(text_count < MAX_FACTS);
        texts[text_count].at = a;
        texts[text_count].len = unit_bytes(strchr(line + 5, ' '), texts[text_count].bytes, 48);
        text_count++;
        return true;
    }
    if (strncmp(line, "targets", 7) == 0) {
        read_targets(line + 7);
        return true;
    }
    show_dead |= strncmp(line, "show dead", 9) == 0;
    ir->alone |= strncmp(line, "alone", 5) == 0;
    ir->native |= strncmp(line, "native", 6) == 0;
    if (strncmp(line, "others", 6) == 0)
        return ir->others = true;
    bool abi = strncmp(line, "abi", 3) == 0;
    if (abi) {
        ir->indirect_gpr_dead = 1u << 11;
        ir->indirect_flags_dead = FL_STATUS;
    }
    return abi || strncmp(line, "show dead", 9) == 0 || strncmp(line, "alone", 5) == 0 || strncmp(line, "native", 6) == 0;
}

/* Fills trace, insns and settings from a case's text; returns the number of instructions. */
static int read_input(char *text, struct ir *ir)
{
    int n = 0;
    uint64_t block = 0;
    show_dead = false;
    constant_count = text_count = branch_count = 0;
    memset(&trace, 0, sizeof trace);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        line[strcspn(line, ";")] = 0;
        char *end;
        if (read_setting(line, ir))
            continue;
        if (strncmp(line, "end ", 4) == 0) {
            trace.end = strstr(line, "loop") ? TRACE_LOOP : strstr(line, "direct ") ? TRACE_DIRECT : TRACE_INDIRECT;
            if (strstr(line, "indirect"))
                trace.end = TRACE_INDIRECT;
            else if (trace.end == TRACE_DIRECT)
                trace.exit = app_pc(strtoull(line + 11, NULL, 16));
            continue;
        }
        uint64_t pc = strtoull(line, &end, 16);
        assert_int_equal(*end, ':');
        uint8_t bytes[16];
        size_t len = unit_bytes(end + 1, bytes, sizeof bytes);
        struct insn *in = &insns[n++];
        *in = unit_decode_bytes(bytes, len, pc);
        assert_int_equal(in->len, len);
        if (!block)
            block = pc;
        uint64_t next = pc + len;
        char *arrow = strchr(line, '>'), *dot = strchr(line, '.');
        if (arrow)
            close_block(block, next, strtoull(arrow + 1, NULL, 16), true);
        else if (dot)
            close_block(block, next, next, false);
        else
            assert_int_equal(in->kind, IK_PLAIN);
        if (arrow || dot)
            block = 0;
    }
    trace.head = insns[0].pc;
    trace.insns = n;
    return n;
}

static const struct ir *shown;

/* `hammock: what is done | from here on the program is past it`; registers by number, n: the low 32 bits. */
static void write_hammock(char *to, size_t cap, const struct hammock *s)
{
    snprintf(to, cap, "hammock:");
    for (int i = 0; i < s->count; i++) {
        const struct hammock_step *t = &s->step[i];
        struct asm_sum a = t->sum;
        char sum[64] = "";
        if (a.base < R_NONE)
            snprintf(sum, sizeof sum, "r%u", a.base);
        if (a.index < R_NONE)
            snprintf(sum + strlen(sum), sizeof sum - strlen(sum), "+r%u*%u", a.index, a.scale);
        if (a.disp || !sum[0])
            snprintf(sum + strlen(sum), sizeof sum - strlen(sum), "%+d", a.disp);
        if (a.narrow)
            strcat(sum, "n");
        cap -= strlen(to);
        to += strlen(to);
        const char *stage = i == s->commit ? " |" : "";
        if (t->kind == HAMMOCK_STORE)
            snprintf(to, cap, "%s [%s]%u=r%u", stage, sum, t->bytes, t->reg);
        else if (t->kind == HAMMOCK_LOAD)
            snprintf(to, cap, "%s r%u=[%s]%u", stage, t->reg, sum, t->bytes);
        else if (t->kind == HAMMOCK_SHIFT)
            snprintf(to, cap, "%s r%u=%s r%u by %d of %u", stage, t->reg, t->cc == ASM_SHL ? "shl" : t->cc == ASM_SAR ? "sar" : "shr",
                     t->sum.base, t->sum.disp, t->bytes);
        else if (t->kind == HAMMOCK_EXTEND)
            snprintf(to, cap, "%s r%u=%sx%u %s", stage, t->reg, t->cc ? "s" : "z", t->bytes, sum);
        else if (t->kind == HAMMOCK_CMOV)
            snprintf(to, cap, "%s r%u=%s if %u", stage, t->reg, sum, t->cc);
        else
            snprintf(to, cap, "%s r%u=%s", stage, t->reg, sum);
    }
}

/* Registers by number, - for none. */
static const char *register_name(unsigned r)
{
    static char name[4][8];
    static unsigned next;
    char *to = name[next++ % 4];
    snprintf(to, sizeof name[0], r < R_NONE ? "r%u" : r >= REG_VECTOR(VECTOR_FIRST) ? "x%u" : "-", r % 16);
    return to;
}

static void write_promoted(char *to, size_t cap, const struct ir *ir, const struct node *n)
{
    size_t len = 0;
    if (n->op == N_CHECK) {
        const struct ir_check *c = &ir->checks[n->value];
        snprintf(to, cap, "check %llu at %s+%s*%u%+lld in %s%+lld..%+lld by %s > %llx", (unsigned long long)c->bytes, register_name(c->base),
                 register_name(c->index), c->scale, (long long)c->off, register_name(c->near), (long long)c->low,
                 (long long)c->high, register_name(c->scratch), (unsigned long long)n->target);
        return;
    }
    len += (size_t)snprintf(to, cap, n->op == N_BORROW ? "borrow" : "loop");
    for (unsigned r = 0; r < 32 && n->op == N_BORROW; r++)
        if (ir->borrowed & 1u << r)
            len += (size_t)snprintf(to + len, cap - len, " %s", register_name(r));
    for (int i = 0; i < ir->slot_count && n->op == N_LOOP; i++) {
        const struct ir_slot *s = &ir->slots[i];
        len += (size_t)snprintf(to + len, cap - len, " %s=%u@%s%+lld", register_name(s->reg), s->bytes, register_name(s->base),
                                (long long)s->at);
    }
    for (int i = 0; i < ir->invariant_count && n->op == N_LOOP; i++) {
        static const char *const how[] = {"", " zx", " sx"};
        const struct ir_invariant *v = &ir->invariants[i];
        len += (size_t)snprintf(to + len, cap - len, " %s=%s*%lld%+lld%s*%lld%+lld", register_name(v->reg), register_name(v->from),
                                (long long)v->by, (long long)v->plus, how[v->extend], (long long)v->then_by, (long long)v->then_plus);
    }
}

static void write_node(char *to, size_t cap, const struct ir *ir, const struct node *n)
{
    unsigned long long pc = insns[n->insn].pc.v, target = n->target, value = n->value;
    switch ((enum node_op)n->op) {
    case N_INSN: snprintf(to, cap, "insn %llx", pc); break;
    case N_BRANCH: snprintf(to, cap, "branch %llx", pc); break;
    case N_EXIT_IF: snprintf(to, cap, "exit_if %u > %llx", n->cc, target); break;
    case N_EXIT_LOOP: snprintf(to, cap, "exit_loop %s > %llx", n->exit_taken ? "leave-taken" : "stay-taken", target); break;
    case N_PUSH_CONST: snprintf(to, cap, n->stands ? "stands %llx" : "push %llx", value); break;
    case N_ADD_SP: snprintf(to, cap, "add_sp %llu", value); break;
    case N_GUARD: snprintf(to, cap, n->stands ? "guard, stands > %llx" : "guard > %llx", target); break;
    case N_LOOKUP: snprintf(to, cap, "lookup"); break;
    case N_HAMMOCK: write_hammock(to, cap, &shown->hammocks[n->hammock]); break;
    case N_BACK: snprintf(to, cap, "back"); break;
    case N_BACK_IF: snprintf(to, cap, "back_if %u", n->cc); break;
    case N_EXIT: snprintf(to, cap, "exit > %llx", target); break;
    case N_BORROW:
    case N_CHECK:
    case N_LOOP: write_promoted(to, cap, ir, n); break;
    }
}

static void write_bytes(char *to, size_t cap, const struct insn *in)
{
    for (unsigned i = 0; i < in->len; i++)
        snprintf(to + strlen(to), cap - strlen(to), " %02x", in->bytes[i]);
}

/* ` dead FLAGS REGISTERS`: flags as in unit_describe, registers by number. */
static void write_dead(char *to, size_t cap, const struct node *n)
{
    static const struct {
        unsigned bit;
        char name;
    } flags[] = {{FL_CF, 'c'}, {FL_PF, 'p'}, {FL_AF, 'a'}, {FL_ZF, 'z'}, {FL_SF, 's'}, {FL_DF, 'd'}, {FL_OF, 'o'}};
    snprintf(to + strlen(to), cap - strlen(to), " dead ");
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (n->flags_dead & flags[i].bit)
            snprintf(to + strlen(to), cap - strlen(to), "%c", flags[i].name);
    for (unsigned r = 0; r < 16; r++)
        if (n->gpr_dead & 1u << r)
            snprintf(to + strlen(to), cap - strlen(to), " r%u", r);
}

static void write_chain(char *to, size_t cap, const struct ir_chain *c)
{
    for (int i = 0; i < c->count; i++)
        snprintf(to + strlen(to), cap - strlen(to), "%s %llx", i ? "" : " or", (unsigned long long)c->target[i]);
}

static void write_line(char *to, size_t cap, const struct ir *ir, const struct node *n)
{
    bool is_made = n->op == N_INSN && !node_is_original(ir, n) && !n->removed;
    snprintf(to, cap, "%s", n->removed ? "- " : n->part == PART_UPDATE ? "+ " : is_made ? "~ " : "");
    write_node(to + strlen(to), cap - strlen(to), ir, n);
    if (n->chain)
        write_chain(to, cap, &ir->chains[n->chain - 1]);
    if (is_made) {
        strcat(to, ":");
        write_bytes(to, cap, n->in);
        strcat(to, " was");
        write_bytes(to, cap, &insns[n->insn]);
    }
    if (show_dead && !n->removed)
        write_dead(to, cap, n);
    strcat(to, "\n");
}

static const char *reason_name(rc_t rc)
{
    static const char *const names[] = {"RC_OK",
#define REASON(id, level, text) #id,
#include "runtime/base/reasons.def"
#undef REASON
    };
    return names[rc];
}

static void test_case(void **state)
{
    const struct golden *g = *state;
    char input[sizeof g->input], actual[sizeof g->expected] = "", line[256];
    strcpy(input, g->input);
    struct ir ir = {.nodes = nodes, .cap = (int)ARRAY_LEN(nodes), .passes = g->passes, .cpu = CPU_BMI2, .constant_at = constant_at};
    int n = read_input(input, &ir);
    ir.made = made;
    ir.made_cap = (int)ARRAY_LEN(made);
    ir.peek = text_count ? peek : NULL;
    ir.targets_of = branch_count ? targets_of : NULL;
    memset(nodes, 0, sizeof nodes);
    shown = &ir;
    rc_t rc = ir_build(&ir, &trace, insns, n);
    if (rc == RC_OK)
        rc = optimize(&ir);
    if (rc != RC_OK) {
        snprintf(actual, sizeof actual, "error %s\n", reason_name(rc));
    } else {
        for (int i = 0; i < ir.count; i++) {
            write_line(line, sizeof line, &ir, &ir.nodes[i]);
            snprintf(actual + strlen(actual), sizeof actual - strlen(actual), "%s", line);
        }
    }
    assert_string_equal(actual, g->expected);
}

int main(void)
{
    static struct CMUnitTest tests[MAX_CASES];
    static const char *const files[] = {"layout", "calls", "convert", "unroll", "constants", "chain", "branches", "order",
                                        "loads",  "flags", "select",  "idle",   "promote", "invariant", "liveness",  "pipeline"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        load(files[i]);
    for (int i = 0; i < case_count; i++)
        tests[i] = (struct CMUnitTest){.name = cases[i].name, .test_func = test_case, .initial_state = &cases[i]};
    return _cmocka_run_group_tests("passes", tests, (size_t)case_count, NULL, NULL);
}
