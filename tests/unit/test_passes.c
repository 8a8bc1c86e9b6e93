/* The optimizer's passes on recorded paths written as text: tests/unit/golden/NAME.txt, one test for each case. How the
 * text reads stands at the top of golden/layout.txt. Run from the top of the tree. */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "optimizer/passes.h"

#define MAX_CASES 128
#define MAX_INSNS 64

struct golden {
    char name[96];
    char input[4096], expected[4096];
};

static struct golden cases[MAX_CASES];
static int case_count;
static struct trace trace;
static struct insn insns[MAX_INSNS];
static struct node nodes[MAX_INSNS + 16];

static void die(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s\n", what, text);
    exit(2);
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

/* Fills trace and insns from a case's text; returns the number of instructions. */
static int read_input(char *text)
{
    int n = 0;
    uint64_t block = 0;
    memset(&trace, 0, sizeof trace);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        line[strcspn(line, ";")] = 0;
        char *end;
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

static void write_node(char *to, size_t cap, const struct node *n)
{
    unsigned long long pc = insns[n->insn].pc.v, target = n->target, value = n->value;
    switch ((enum node_op)n->op) {
    case N_INSN: snprintf(to, cap, "insn %llx", pc); break;
    case N_BRANCH: snprintf(to, cap, "branch %llx", pc); break;
    case N_EXIT_IF: snprintf(to, cap, "exit_if %u > %llx", n->cc, target); break;
    case N_EXIT_LOOP: snprintf(to, cap, "exit_loop %s > %llx", n->exit_taken ? "leave-taken" : "stay-taken", target); break;
    case N_PUSH_CONST: snprintf(to, cap, "push %llx", value); break;
    case N_ADD_SP: snprintf(to, cap, "add_sp %llu", value); break;
    case N_GUARD: snprintf(to, cap, "guard > %llx", target); break;
    case N_LOOKUP: snprintf(to, cap, "lookup"); break;
    case N_BACK: snprintf(to, cap, "back"); break;
    case N_BACK_IF: snprintf(to, cap, "back_if %u", n->cc); break;
    case N_EXIT: snprintf(to, cap, "exit > %llx", target); break;
    }
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
    char input[sizeof g->input], actual[sizeof g->expected] = "", line[96];
    strcpy(input, g->input);
    int n = read_input(input);
    struct ir ir = {.nodes = nodes, .cap = (int)ARRAY_LEN(nodes)};
    memset(nodes, 0, sizeof nodes);
    rc_t rc = ir_build(&ir, &trace, insns, n);
    if (rc == RC_OK)
        rc = optimize(&ir);
    if (rc != RC_OK) {
        snprintf(actual, sizeof actual, "error %s\n", reason_name(rc));
    } else {
        for (int i = 0; i < ir.count; i++) {
            write_node(line, sizeof line, &ir.nodes[i]);
            snprintf(actual + strlen(actual), sizeof actual - strlen(actual), "%s%s\n",
                     ir.nodes[i].removed ? "- " : "", line);
        }
    }
    assert_string_equal(actual, g->expected);
}

int main(void)
{
    static struct CMUnitTest tests[MAX_CASES];
    load("layout");
    load("calls");
    for (int i = 0; i < case_count; i++)
        tests[i] = (struct CMUnitTest){.name = cases[i].name, .test_func = test_case, .initial_state = &cases[i]};
    return _cmocka_run_group_tests("passes", tests, (size_t)case_count, NULL, NULL);
}
