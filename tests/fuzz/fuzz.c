/* The fuzzer: random programs, their traces optimized, both run on random states, the ends compared.
 *
 *   fuzz [--seed N] [--traces N] [--seconds N] [--states N] [--broken NAME] [--selftest N] [--replay FILE]
 *   fuzz --faults N [--states N] [--replay FILE]     N fragments, see walk.h; --faults-selftest N
 *   fuzz --facts [ELF FILE]...
 *
 * Program i of a run has seed N + i, so one that fails is reproduced alone. Exits 1 after the first mismatch, which is
 * shrunk and printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/fuzz/breaks.h"
#include "tests/fuzz/compare.h"
#include "tests/fuzz/facts.h"
#include "tests/fuzz/faults.h"
#include "tests/fuzz/gen.h"
#include "tests/fuzz/replay.h"
#include "tests/fuzz/report.h"
#include "tests/fuzz/shared.h"
#include "tests/fuzz/shrink.h"

static struct settings {
    uint64_t seed, traces, seconds, faults;
    unsigned states, selftest, faults_selftest;
    const char *broken, *replay;
} set = {.seed = 1, .states = 8};

static struct counts {
    uint64_t traces, runs, unbuilt, declined, faults, hangs, exits, loops, complete, stops, shared, hammocks, promoted, checked, invariant, chained, ordered;
    uint64_t reasons[RC_COUNT];
} counts;

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static const char *reason_name(int rc)
{
    static const char *const names[] = {
        "RC_OK",
#define REASON(id, level, text) #id,
#include "runtime/base/reasons.def"
#undef REASON
    };
    return names[rc];
}

static void count_run(const struct subject *sub, const struct comparison *c)
{
    counts.runs++;
    counts.faults += c->native.kind == LEFT_FAULT;
    counts.stops += c->stopped_at != 0;
    counts.hangs += c->native.kind == LEFT_HANG;
    counts.complete += sub->ir.end == TRACE_DIRECT && c->first_exit == sub->ir.exit.v;
}

static struct program program;
static struct gen_roles roles;
static struct built built;
static struct case_under_test failed;
static const char *first_difference;

static void choose_state(struct rng *r, unsigned i, struct state *s, struct memory *m)
{
    if (i == 0) {
        *s = program.start;
        world_memory_copy(m, &program.memory);
    } else if (i % 4 == 3) {
        gen_state(r, &roles, s, m);
    } else {
        gen_nearby_state(r, &roles, &program, s, m);
    }
    if (roles.pointers && rng_percent(r, 1)) /* a fault somewhere */
        s->gpr[rng_bit(r, roles.pointers)] = 0x7000;
}

static struct way choose_way(struct rng *r, bool stoppable)
{
    unsigned k = rng_below(r, 4);
    struct way way = {rng_percent(r, 10) ? ENTER_LOOKUP : ENTER_DIRECT, k < 2, k == 2, 0};
    if (stoppable && rng_percent(r, 12))
        way.stop = 1 + rng_below(r, 100000);
    return way;
}

/* True when all states end the same. */
static bool one_program(uint64_t seed)
{
    static struct comparison c;
    struct rng r = {seed * 0x9e3779b97f4a7c15ULL};
    struct subject sub;
    gen_program(&r, &program, &roles);
    if (!program_build(&program, &built)) {
        counts.unbuilt++;
        return true;
    }
    struct knobs k = knobs_choose(&r);
    k.broken = set.broken;
    rc_t rc = subject_make(&built, &k, &sub);
    if (rc != RC_OK) {
        counts.declined++;
        counts.reasons[rc]++;
        failed = (struct case_under_test){.knobs = k, .program = program};
        first_difference = rc == RC_VERIFY ? case_rejected : NULL;
        return rc != RC_VERIFY;
    }
    counts.traces++;
    counts.loops += sub.ir.end == TRACE_LOOP;
    counts.promoted += sub.ir.slot_count > 0;
    counts.checked += sub.ir.check_count > 0;
    counts.invariant += sub.ir.invariant_count > 0;
    counts.ordered += sub.ir.changes[PASS_order] > 0;
    counts.chained += sub.ir.chain_count > 0;
    counts.exits += (uint64_t)sub.out.exit_count;
    counts.hammocks += (uint64_t)sub.ir.hammock_count;
    if (k.others && set.states && !(k.roll >> 27 & 15)) { /* stepping takes long */
        enum verdict v = shared_compare(&sub, &program.start, &program.memory);
        counts.shared += v == V_SAME;
        if (v == V_DIFFERENT) {
            failed = (struct case_under_test){.knobs = k, .program = program};
            first_difference = case_shared;
            return false;
        }
    }
    bool stoppable = !k.abi; /* what an indirect branch may lose is lost then */
    for (unsigned i = 0; i < set.states; i++) {
        choose_state(&r, i, &failed.state, &failed.memory);
        failed.way = choose_way(&r, stoppable);
        enum verdict v = compare_run(&sub, &failed.state, &failed.memory, failed.way, &c);
        count_run(&sub, &c);
        if (v == V_DIFFERENT) {
            failed.knobs = k;
            failed.program = program;
            first_difference = c.what;
            return false;
        }
    }
    return true;
}

static void report_failure(uint64_t seed)
{
    fprintf(stderr, "fuzz: seed %llu differs in %s; shrinking\n", (unsigned long long)seed, first_difference);
    if (first_difference == case_rejected) {
        shrink_by(&failed, case_is_rejected);
        report_rejected(&failed);
    } else if (first_difference == case_shared) {
        shrink_by(&failed, case_shares_otherwise);
        report_shared(&failed);
    } else {
        shrink(&failed);
        report_case(&failed);
    }
    fprintf(stderr, "reproduce: build/fuzz/fuzz --seed %llu --traces 1%s%s\n", (unsigned long long)seed,
            set.broken ? " --broken " : "", set.broken ? set.broken : "");
}

/* The number of programs until the first mismatch; 0: none. */
static uint64_t fuzz_until_mismatch(uint64_t traces, double seconds)
{
    double start = now();
    for (uint64_t i = 0; traces ? i < traces : true; i++) {
        if (seconds > 0 && i % 64 == 0 && now() - start > seconds)
            break;
        if (!one_program(set.seed + i))
            return i + 1;
    }
    return 0;
}

static void print_counts(double seconds, uint64_t mismatches)
{
    printf(
        "fuzz: traces=%llu runs=%llu exits=%llu loops=%llu hammocks=%llu promoted=%llu shared=%llu checked=%llu invariant=%llu chained=%llu ordered=%llu complete=%llu stops=%llu "
        "faults=%llu hangs=%llu "
        "unbuilt=%llu declined=%llu",
        (unsigned long long)counts.traces, (unsigned long long)counts.runs, (unsigned long long)counts.exits,
        (unsigned long long)counts.loops, (unsigned long long)counts.hammocks,
        (unsigned long long)counts.promoted, (unsigned long long)counts.shared,
        (unsigned long long)counts.checked, (unsigned long long)counts.invariant, (unsigned long long)counts.chained, (unsigned long long)counts.ordered, (unsigned long long)counts.complete,
        (unsigned long long)counts.stops, (unsigned long long)counts.faults, (unsigned long long)counts.hangs,
        (unsigned long long)counts.unbuilt, (unsigned long long)counts.declined);
    for (int i = 0; i < RC_COUNT; i++)
        if (counts.reasons[i])
            printf(" %s=%llu", reason_name(i), (unsigned long long)counts.reasons[i]);
    double cpu = (double)clock() / CLOCKS_PER_SEC;
    printf(" mismatches=%llu seed=%llu rate=%.0f/s cpu-rate=%.0f/s\n", (unsigned long long)mismatches,
           (unsigned long long)set.seed, (double)counts.traces / (seconds > 0 ? seconds : 1),
           (double)counts.traces / (cpu > 0 ? cpu : 1));
}

/* Each wrong pass must be noticed within n programs. */
static int selftest(unsigned n)
{
    int missed = 0;
    for (int i = 0; (set.broken = break_name(i)); i++) {
        counts = (struct counts){0};
        uint64_t after = fuzz_until_mismatch(n, 0);
        printf("%s - %s: %s after %llu programs, %llu occasions\n", after ? "ok" : "not ok", set.broken,
               after ? "noticed" : "missed", (unsigned long long)(after ? after : n),
               (unsigned long long)counts.traces);
        missed += !after;
    }
    printf("fuzz-selftest: %d missed\n", missed);
    return missed != 0;
}

static int replay(void)
{
    struct replay_counts c;
    if (!replay_file(set.replay, set.seed, set.states * 8, &c))
        return 2;
    printf("fuzz-replay: records=%llu skipped=%llu declined=%llu runs=%llu faults=%llu deep=%llu slots=%llu "
           "mismatches=%llu seed=%llu\n",
           (unsigned long long)c.records, (unsigned long long)c.skipped, (unsigned long long)c.declined,
           (unsigned long long)c.runs, (unsigned long long)c.faults, (unsigned long long)c.deep,
           (unsigned long long)c.slots, (unsigned long long)c.mismatches, (unsigned long long)set.seed);
    return c.mismatches != 0;
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t v = strtoull(text, &end, 0);
    if (*end || end == text) {
        fprintf(stderr, "fuzz: %s: requirement: a number\n", text);
        exit(2);
    }
    return v;
}

static void read_arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(name, "--seed") == 0)
            set.seed = number(value);
        else if (strcmp(name, "--traces") == 0)
            set.traces = number(value);
        else if (strcmp(name, "--seconds") == 0)
            set.seconds = number(value);
        else if (strcmp(name, "--states") == 0)
            set.states = (unsigned)number(value);
        else if (strcmp(name, "--broken") == 0)
            set.broken = value;
        else if (strcmp(name, "--replay") == 0)
            set.replay = value;
        else if (strcmp(name, "--faults") == 0)
            set.faults = number(value);
        else if (strcmp(name, "--faults-selftest") == 0)
            set.faults_selftest = (unsigned)number(value);
        else if (strcmp(name, "--selftest") == 0)
            set.selftest = (unsigned)number(value);
        else {
            fprintf(stderr, "fuzz: unknown argument %s\n", name);
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--facts") == 0) {
        world_init();
        return facts_check(set.seed, argc - 2, argv + 2) != 0;
    }
    read_arguments(argc, argv);
    world_init();
    if (set.faults_selftest)
        return faults_selftest(set.seed, set.faults_selftest);
    if (set.faults)
        return faults_campaign(&(struct faults_settings){set.seed, set.faults, set.states, set.replay});
    if (set.replay)
        return replay();
    if (set.selftest)
        return selftest(set.selftest);
    if (!set.traces && !set.seconds)
        set.seconds = 10;
    double start = now();
    uint64_t bad = fuzz_until_mismatch(set.traces, (double)set.seconds);
    double took = now() - start;
    if (bad)
        report_failure(set.seed + bad - 1);
    print_counts(took, bad != 0);
    return bad != 0;
}
