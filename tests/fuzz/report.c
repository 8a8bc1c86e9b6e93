#include "tests/fuzz/report.h"

#include <Zydis/Zydis.h>
#include <stdio.h>

static void print_insns(uint64_t pc, const uint8_t *bytes, size_t len, const char *note)
{
    for (size_t at = 0; at < len;) {
        ZydisDisassembledInstruction d;
        if (!ZYAN_SUCCESS(
                ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, pc + at, bytes + at, len - at, &d))) {
            fprintf(stderr, "  %lx: undecodable\n", pc + at);
            return;
        }
        char hex[3 * 16 + 1] = "";
        for (unsigned i = 0; i < d.info.length; i++)
            snprintf(hex + 3 * i, 4, "%02x ", bytes[at + i]);
        fprintf(stderr, "  %lx: %-36s %s%s%s\n", pc + at, hex, d.text, note ? "   ; " : "", note ? note : "");
        at += d.info.length;
    }
}

static void print_trace(const struct built *b)
{
    static const char *const ends[] = {"loop", "direct", "indirect", "before"};
    fprintf(stderr, "trace, end %s", ends[b->trace.end]);
    if (b->trace.end == TRACE_DIRECT)
        fprintf(stderr, " to %llx", (unsigned long long)b->trace.exit.v);
    fprintf(stderr, ":\n");
    int step = 0;
    for (int i = 0; i < b->insn_count; i++) {
        const struct insn *in = &b->insns[i];
        const struct trace_step *s = &b->trace.step[step];
        char note[64] = "";
        if (in->pc.v + in->len == s->next.v) {
            snprintf(note, sizeof note, "%s %llx", s->taken ? "> " : ".", (unsigned long long)s->went.v);
            step++;
        }
        print_insns(in->pc.v, in->bytes, in->len, note[0] ? note : NULL);
    }
}

static void print_fragment(const struct subject *sub)
{
    fprintf(stderr, "fragment, alone=%d:\n", sub->ir.alone);
    for (int i = 0; i < sub->out.map_count; i++) {
        uint32_t at = sub->out.map[i].at;
        uint32_t end = i + 1 < sub->out.map_count ? sub->out.map[i + 1].at : sub->out.body_end;
        print_insns(sub->at.v + at, sub->out.bytes + at, end - at, sub->ir.nodes[sub->out.map[i].node].why);
    }
    uint32_t at = sub->out.body_end, end = sub->out.exit_count ? sub->out.exits[0].restore : at;
    print_insns(sub->at.v + at, sub->out.bytes + at, end > at ? end - at : 0, "miss");
}

static void print_state(const struct state *s)
{
    fprintf(stderr, "from:");
    for (unsigned i = 0; i < 16; i++)
        fprintf(stderr, " %#llx%s", (unsigned long long)s->gpr[i], i == 7 ? "\n     " : "");
    fprintf(stderr, " flags %#llx\n", (unsigned long long)s->rflags);
}

void report_trace(const struct built *b, const struct subject *sub)
{
    print_trace(b);
    print_fragment(sub);
}

static void print_nodes(const struct ir *ir)
{
    static const char *const ops[] = {"insn", "branch", "exit_if", "exit_loop", "push_const", "add_sp", "guard", "lookup",
                                      "hammock", "back", "back_if", "exit", "borrow", "check", "loop"};
    fprintf(stderr, "nodes, borrowed %#x, wanted %#x:\n", ir->borrowed, ir->wanted);
    for (int i = 0; i < ir->count; i++) {
        const struct node *n = &ir->nodes[i];
        fprintf(stderr, "%4d %s%-10s part %d fused %d flags dead %#x; ", i, n->removed ? "-" : " ", ops[n->op], n->part,
                n->fused, n->flags_dead);
        if (n->op == N_INSN && n->in)
            print_insns(n->in->pc.v, n->in->bytes, n->in->len, n->why);
        else
            fprintf(stderr, "  %llx%s%s\n", (unsigned long long)ir->insns[n->insn].pc.v, n->why ? "   ; " : "",
                    n->why ? n->why : "");
    }
}

/* The last one of the fewest passes, from the first on, whose outcome is rejected; NULL: with none. */
static const char *rejected_pass(const struct built *b, const struct knobs *k, struct subject *sub)
{
    static const char *const names[] = {
#define PASS(name, text) #name,
#include "optimizer/passes.def"
#undef PASS
    };
    struct knobs some = *k;
    uint32_t all = k->passes ? k->passes : PASSES_ALL;
    for (int i = -1; i < PASS_COUNT; i++) {
        some.passes = PASSES_NONE | (i < 0 ? 0 : all & ((2u << i) - 1));
        if (subject_make(b, &some, sub) == RC_VERIFY)
            return i < 0 ? NULL : names[i];
    }
    return NULL;
}

void report_rejected_trace(const struct built *b, const struct knobs *k)
{
    struct subject sub;
    print_trace(b);
    const char *pass = rejected_pass(b, k, &sub);
    fprintf(stderr, "rejected by the verifier: %s%s\n", pass ? "pass " : "without any pass", pass ? pass : "");
    print_nodes(&sub.ir);
}

void report_rejected(const struct case_under_test *t)
{
    static struct built b;
    const char *what;
    if (!case_is_rejected(t, &what) || !program_build(&t->program, &b)) {
        fprintf(stderr, "fuzz: does not fail again\n");
        return;
    }
    report_rejected_trace(&b, &t->knobs);
}

void report_shared(const struct case_under_test *t)
{
    static struct built b;
    struct subject sub;
    if (program_build(&t->program, &b) && subject_make(&b, &t->knobs, &sub) == RC_OK)
        report_trace(&b, &sub);
    fprintf(stderr, "passes %#x\n", t->knobs.passes);
}

void report_case(const struct case_under_test *t)
{
    static struct built b;
    static struct comparison c;
    struct subject sub;
    if (!case_fails(t, &b, &sub, &c)) {
        fprintf(stderr, "fuzz: does not fail again\n");
        return;
    }
    report_trace(&b, &sub);
    fprintf(stderr, "passes %#x, bisect %d, unroll %d, made %d, peek %d, constants %d, abi %d, chain %d, native %d\n",
            t->knobs.passes, t->knobs.bisect, t->knobs.unroll, t->knobs.made, t->knobs.peek,
            t->knobs.constants, t->knobs.abi, t->knobs.chain, t->knobs.native);
    fprintf(stderr, "entry: %s%s%s\n", t->way.entry == ENTER_LOOKUP ? "lookup" : "direct",
            t->way.linked ? ", linked" : "", t->way.native_laps ? ", laps natively" : "");
    print_state(&t->state);
    compare_print(&c);
}
