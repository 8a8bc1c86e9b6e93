#include "tests/fuzz/faults.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/fuzz/breaks_recipe.h"
#include "tests/fuzz/gen.h"
#include "tests/fuzz/replay.h"
#include "tests/fuzz/report.h"
#include "tests/fuzz/shrink.h"
#include "tests/fuzz/walk.h"

#define REPLAY_TRIES 200 /* states, of which the one that goes deepest is taken */

static struct {
    uint64_t fragments, states, skipped, declined, mismatches;
    struct walk_counts walks;
} counts;
static struct walk_failure failure;

/* --- what is walked */

static struct way choose_way(struct rng *r)
{
    return (struct way){rng_percent(r, 20) ? ENTER_LOOKUP : ENTER_DIRECT, rng_percent(r, 60), false, 0};
}

static struct knobs choose_knobs(struct rng *r, enum place place, const char *broken)
{
    struct knobs k = knobs_choose(r);
    k.abi = false; /* what an indirect branch may lose is lost when it stops */
    k.place = place == PLACE_COUNT ? k.place : place;
    k.native_exits = rng_percent(r, 30);
    k.broken_recipe = broken;
    return k;
}

/* The last two states have shown no new instruction. */
static bool enough(unsigned i)
{
    static uint64_t reached[3];
    reached[0] = i ? reached[1] : 0;
    reached[1] = i ? reached[2] : 0;
    reached[2] = counts.walks.reached;
    return i > 1 && reached[0] == reached[2];
}

static bool walk_state(const struct subject *sub, const struct state *s, const struct memory *m,
                       struct way way)
{
    enum verdict v = walk(sub, s, m, way, &counts.walks, &failure);
    counts.states += v == V_SAME;
    counts.skipped += v == V_SKIPPED;
    return v != V_DIFFERENT;
}

static void report(const struct built *b, const struct subject *sub)
{
    fprintf(stderr, "faults: at offset %#llx of the fragment, the program at %#llx: %s\n",
            (unsigned long long)(failure.at - sub->at.v), (unsigned long long)failure.recovered,
            failure.what);
    report_trace(b, sub);
    compare_print(&failure.c);
}

/* --- random programs */

static struct case_under_test failed;
static struct built built;

static bool case_walks_wrong(const struct case_under_test *t, const char **what)
{
    static struct built b;
    struct walk_counts ignored = {0};
    struct subject sub;
    if (!program_build(&t->program, &b) || subject_make(&b, &t->knobs, &sub) != RC_OK)
        return false;
    walk_begin(&sub, &ignored);
    bool wrong = walk(&sub, &t->state, &t->memory, t->way, &ignored, &failure) == V_DIFFERENT;
    *what = wrong ? failure.what : NULL;
    return wrong;
}

/* True when all states of the program do well. */
static bool one_program(uint64_t seed, unsigned states, const char *broken)
{
    static struct case_under_test t;
    struct gen_roles roles;
    struct subject sub;
    struct rng r = {seed * 0x9e3779b97f4a7c15ULL};
    gen_program(&r, &t.program, &roles);
    t.knobs = choose_knobs(&r, PLACE_COUNT, broken);
    if (!program_build(&t.program, &built) || subject_make(&built, &t.knobs, &sub) != RC_OK) {
        counts.declined++;
        return true;
    }
    counts.fragments++;
    walk_begin(&sub, &counts.walks);
    for (unsigned i = 0; i < states; i++) {
        t.state = t.program.start;
        world_memory_copy(&t.memory, &t.program.memory);
        if (i)
            gen_nearby_state(&r, &roles, &t.program, &t.state, &t.memory);
        t.way = choose_way(&r);
        if (!walk_state(&sub, &t.state, &t.memory, t.way)) {
            failed = t;
            return false;
        }
        if (enough(i))
            break;
    }
    return true;
}

static void report_program(uint64_t seed)
{
    static struct built b;
    struct subject sub;
    const char *what;
    fprintf(stderr, "faults: seed %llu: %s; shrinking\n", (unsigned long long)seed, failure.what);
    shrink_by(&failed, case_walks_wrong);
    if (case_walks_wrong(&failed, &what) && program_build(&failed.program, &b) &&
        subject_make(&b, &failed.knobs, &sub) == RC_OK)
        report(&b, &sub);
    fprintf(stderr, "reproduce: build/fuzz/fuzz-wild --seed %llu --faults 1\n", (unsigned long long)seed);
}

static void random_programs(const struct faults_settings *set)
{
    for (uint64_t i = 0; counts.fragments < set->fragments; i++)
        if (!one_program(set->seed + i, set->states, NULL)) {
            counts.mismatches++;
            report_program(set->seed + i);
            return;
        }
}

/* --- recorded traces */

static void one_trace(const struct built *b, struct rng *r, void *arg)
{
    static struct state s;
    static struct memory m;
    const struct faults_settings *set = arg;
    struct knobs k = choose_knobs(r, PLACE_REPLAY, NULL);
    struct subject sub;
    if (counts.fragments == set->fragments)
        return;
    if (subject_make(b, &k, &sub) != RC_OK) {
        counts.declined++;
        return;
    }
    counts.fragments++;
    walk_begin(&sub, &counts.walks);
    for (unsigned i = 0; i < set->states; i++) {
        replay_deep_state(r, REPLAY_TRIES, &s, &m);
        if (walk_state(&sub, &s, &m, choose_way(r))) {
            if (enough(i))
                break;
            continue;
        }
        if (replay_slot_was_hit(&failure.c, &sub) || !compare_is_steady(&sub, &s, &m)) {
            counts.skipped++;
            continue;
        }
        counts.mismatches++;
        report(b, &sub);
        return;
    }
}

static void print_counts(const char *name)
{
    printf("%s: fragments=%llu declined=%llu states=%llu skipped=%llu instructions=%llu reached=%llu "
           "boundaries=%llu beyond=%llu faults=%llu "
           "again=%llu mismatches=%llu cpu=%.1fs\n",
           name, (unsigned long long)counts.fragments, (unsigned long long)counts.declined,
           (unsigned long long)counts.states, (unsigned long long)counts.skipped,
           (unsigned long long)counts.walks.insns, (unsigned long long)counts.walks.reached,
           (unsigned long long)counts.walks.boundaries, (unsigned long long)counts.walks.beyond,
           (unsigned long long)counts.walks.faults, (unsigned long long)counts.walks.again,
           (unsigned long long)counts.mismatches, (double)clock() / CLOCKS_PER_SEC);
}

int faults_campaign(const struct faults_settings *set)
{
    struct faults_settings s = *set;
    if (!set->replay)
        random_programs(set);
    else if (!replay_each(set->replay, set->seed, one_trace, &s))
        return 2;
    print_counts("fuzz-faults");
    return counts.mismatches ? 1 : counts.walks.faults ? 0 : 2;
}

int faults_selftest(uint64_t seed, unsigned n)
{
    int missed = 0;
    for (int i = 0; break_recipe_name(i); i++) {
        unsigned k = 0;
        memset(&counts, 0, sizeof counts);
        while (k < n && one_program(seed + k, 1, break_recipe_name(i)))
            k++;
        printf("%s - %s: %s after %u programs, %llu occasions\n", k < n ? "ok" : "not ok",
               break_recipe_name(i), k < n ? failure.what : "missed", k + 1,
               (unsigned long long)counts.fragments);
        missed += k == n;
    }
    printf("fuzz-faults-selftest: %d missed\n", missed);
    return missed != 0;
}
