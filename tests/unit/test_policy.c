/* The policy by itself (POL-1 to POL-3): phases, budget, rests, which candidates are tried together and what becomes of them. Trials
 * are scripted, fragments are numbers. Its file is part of this one, so that each test begins with a new process's state. */
#include "runtime/policy.c" /* NOLINT(bugprone-suspicious-include) */

#include "tests/unit/unit.h"

#define MOST 16

static struct candidate candidates[MOST];
static struct fragment fragments[MOST];
static int made, dropped, declined[PROTO_REASONS];
static uint64_t emitted;

/* The trial that runs, and how it will end. */
static struct {
    int begun, ended, aborted, n, first; /* first: number of the first member's fragment */
    enum workclock_source source;
    struct trial_result result;
    rc_t refuse;
    int most; /* members, or it is refused; 0: any number */
    uint64_t spare;
} trial;

struct fc_stats fc_stats_get(void) { return (struct fc_stats){.emitted = emitted}; }

rc_t fc_move(struct fragment *const *f, int n, uint32_t set, bool counted)
{
    (void)counted;
    for (int i = 0; i < n; i++)
        f[i]->set = set;
    return RC_OK;
}

struct block *block_find(struct app_pc pc)
{
    (void)pc;
    return NULL;
}

struct candidate *candidate_new(struct fragment *const *variants, int n, const struct site *site)
{
    if (made == MOST)
        return NULL;
    struct candidate *c = &candidates[made++];
    *c = (struct candidate){.arms = (uint8_t)(n + 1), .site = *site};
    c->variant[1] = variants[0];
    return c;
}
rc_t candidate_switch(struct candidate *c, int arm)
{
    c->arm = (uint8_t)arm;
    return RC_OK;
}
void candidate_keep_variant(struct candidate *c, int arm) { c->arm = (uint8_t)arm; }
void candidate_drop(struct candidate *c)
{
    (void)c;
    dropped++;
}
bool candidate_covers(const struct candidate *c, uint64_t pc) { return c->variant[1]->tag.v == pc; }
void candidate_forget_all(void) { made = 0; }

rc_t trial_begin(struct candidate *const *members, int n, enum workclock_source source)
{
    if (trial.refuse != RC_OK && n > trial.most)
        return trial.refuse;
    trial.begun++;
    trial.n = n;
    trial.source = source;
    trial.first = (int)members[0]->variant[1]->id;
    return RC_OK;
}
enum trial_state trial_tick(uint64_t now, uint64_t spare, uint64_t *wait)
{
    (void)now;
    trial.spare = spare;
    *wait = 4 * MS;
    return TRIAL_DECIDED;
}
struct trial_result trial_end(void)
{
    trial.ended++;
    return trial.result;
}
void trial_abort(void) { trial.aborted++; }
void trial_forget(void) {}

void native_note(uint64_t start, uint64_t end, rc_t why) { (void)start, (void)end, (void)why; }
bool verify_on(void) { return false; }
void stats_declined(rc_t rc) { declined[rc]++; }
bool log_wants(unsigned level) { return level == 1; } /* the lines are made, and go nowhere */
void log_line(const char *text) { assert_true(strlen(text) > 10); }

static int new_process(void **state)
{
    static const struct options with_trials = {.trial = 1};
    (void)state;
    memset(&po, 0, sizeof po);
    po.rest = REST_NS;
    memset(&trial, 0, sizeof trial);
    memset(declined, 0, sizeof declined);
    made = dropped = 0;
    emitted = 0;
    policy_init(&with_trials);
    return 0;
}

static uint64_t cpu(void) { return sys_clock_ns(THREAD_CPU); }

/* A slice that cost nothing; what it says when the next is. */
static uint64_t slice(uint64_t now)
{
    policy_slice_begins();
    return policy_slice_ends(cpu(), now);
}

/* A slice in which n fragments are found, with tags 1, 2, ... */
static void find(int n)
{
    const struct site site = {.len = 5};
    for (int i = 0; i < n; i++) {
        struct fragment *f = &fragments[made];
        *f = (struct fragment){.id = (uint32_t)made + 1, .tag = app_pc((uint64_t)made + 1), .set = (uint32_t)made + 1};
        assert_ok(policy_take(&f, 1, &site));
        emitted++;
    }
}

static void samples(uint64_t tag, int n)
{
    for (int i = 0; i < n; i++)
        policy_sample(tag);
}

/* Slices until what was found is ripe, at once as far as the clock is concerned. */
static void ripen(void)
{
    for (unsigned i = 0; i <= BARREN_SLICES && !trial.begun; i++)
        (void)slice(cpu() + GATHER_NS + MS);
}

/* The trial that runs ends like this; the next begins, if there is one. */
static void conclude(struct trial_result r)
{
    uint64_t wait;
    trial.result = r;
    assert_true(policy_tick(cpu() + 3600000 * MS, false, &wait));
    (void)slice(cpu());
}

static void test_rests_double_up_to_a_minute(void **state)
{
    (void)state;
    uint64_t expected = 250 * MS;
    for (int rest = 0; rest < 10; rest++) {
        uint64_t wait = 0, now = cpu();
        unsigned slices = 1;
        for (; (wait = slice(now)) < 200 * MS; slices++)
            assert_int_equal(policy_phase(now), PROTO_PHASE_LOOK);
        assert_int_equal(slices, MOST_BARREN);
        assert_in_range(wait, expected - 20 * MS, expected);
        assert_int_equal(policy_phase(now), PROTO_PHASE_REST);
        assert_false(policy_wants_samples());
        assert_false(policy_tick(now + expected / 2, false, &wait));
        assert_in_range(wait, expected / 2 - MS, expected / 2); /* one signal, at the end */
        assert_true(policy_tick(now + expected, false, &wait));
        assert_false(policy_tick(now + expected, true, &wait)); /* not while the thread is in code of ours */
        expected = expected < 30000 * MS ? 2 * expected : 60000 * MS;
        po.due = po.rest_end = 0; /* it is over */
    }
}

static void test_looks_are_rarer_while_nothing_is_found(void **state)
{
    (void)state;
    for (unsigned i = 1; i < MOST_BARREN; i++)
        assert_in_range(slice(cpu()), i > 16 ? 9 * MS : 0, i > 16 ? 10 * MS : MS);
}

static void test_slices_stay_in_the_budget(void **state)
{
    (void)state;
    po.spent = BUDGET_START + cpu() / BUDGET_SHARE + 2 * MS; /* 2 ms too much */
    assert_in_range(slice(cpu()), 2 * MS * BUDGET_SHARE - 20 * MS, 2 * MS * BUDGET_SHARE);
    po.due = 0;
    po.spent = 0;
    (void)policy_slice_ends(cpu() - 5 * MS, cpu());
    assert_in_range(po.spent, 5 * MS, 7 * MS);
    assert_int_equal(policy_stats_get().slices, 2);
}

/* A tenth until 40 ms are spent, and a hundredth: nothing else is paid for. */
static void test_all_of_a_hundredth_is_used_where_nothing_is_tried(void **state)
{
    static const struct options without_trials = {.trial = 0};
    (void)state;
    policy_init(&without_trials);
    po.spent = 6 * MS + 10 * MS + MS;
    assert_true(policy_in_budget(100 * MS));
    po.spent++;
    assert_false(policy_in_budget(100 * MS));
    po.spent = 6 * MS + 40 * MS + 100 * MS;
    assert_true(policy_in_budget(10000 * MS));
    po.spent++;
    assert_false(policy_in_budget(10000 * MS));
    assert_in_range(slice(cpu()), 100, 3600000 * MS);
    assert_true(policy_waits());
    po.spent = 0;
    (void)slice(cpu());
    assert_false(policy_waits());
}

/* Beyond the budget a slice only looks, and the parts of a set wait. */
static void test_parts_are_tried_within_the_budget(void **state)
{
    (void)state;
    find(2);
    samples(1, 25);
    samples(2, 25);
    ripen();
    assert_int_equal(trial.begun, 1);
    assert_int_equal(trial.n, 2);
    assert_true(policy_in_budget(cpu()));
    conclude((struct trial_result){.verdict = VERDICT_NEUTRAL, .cost_ns = 100 * MS});
    assert_int_equal(trial_spare(cpu()), 0);
    assert_int_equal(trial.begun, 1);
    assert_int_equal(policy_phase(cpu()), PROTO_PHASE_TRIAL); /* the parts are not forgotten */
    uint64_t paid = cpu() + 100 * MS * BUDGET_SHARE;
    assert_true(trial_spare(paid) > 0);
    (void)slice(paid);
    assert_int_equal(trial.begun, 2);
    assert_int_equal(trial.n, 1);
}

static void test_samples_are_wanted_until_there_are_enough(void **state)
{
    (void)state;
    samples(1, 100); /* before anything was found: not counted */
    assert_false(policy_wants_samples());
    find(1);
    po.spent = 1000 * MS; /* far over budget, but not for long: */
    assert_in_range(slice(cpu()), 0, GATHER_SEE_NS);
    assert_true(policy_wants_samples());
    assert_int_equal(policy_phase(cpu()), PROTO_PHASE_GATHER);
    samples(1, (int)GATHER_ENOUGH - 1);
    assert_true(policy_wants_samples());
    samples(99, 1);
    assert_false(policy_wants_samples());
    assert_int_equal(candidates[0].samples, GATHER_ENOUGH - 1);
}

static void test_ripe_when_sampled_and_nothing_new_comes(void **state)
{
    (void)state;
    find(2);
    samples(1, 20);
    samples(2, 19);
    for (unsigned i = 0; i <= 2 * BARREN_SLICES; i++) /* too few samples */
        (void)slice(cpu() + GATHER_NS + MS);
    assert_int_equal(trial.begun, 0);
    find(1);
    samples(1, 1);
    for (unsigned i = 0; i < BARREN_SLICES; i++) { /* the first has just made them */
        (void)slice(cpu() + GATHER_NS + MS);
        assert_int_equal(trial.begun, 0);
    }
    (void)slice(cpu()); /* too early */
    assert_int_equal(trial.begun, 0);
    (void)slice(cpu() + GATHER_NS + MS);
    assert_int_equal(trial.begun, 1);
    assert_int_equal(trial.n, 3);
    samples(1, 5); /* too late to count */
    assert_int_equal(candidates[0].samples, 21);
    assert_int_equal(fragments[0].set, fragments[1].set); /* linked with each other */
    assert_int_equal(policy_phase(cpu()), PROTO_PHASE_TRIAL);
    assert_true(policy_full());
    assert_false(policy_wants_samples());
}

static void test_ripe_after_a_while_with_few_samples(void **state)
{
    (void)state;
    find(1);
    samples(1, 3);
    (void)slice(cpu() + GATHER_MOST_NS - 100 * MS);
    assert_int_equal(trial.begun, 0);
    find(1);
    (void)slice(cpu() + GATHER_MOST_NS + 100 * MS);
    assert_int_equal(trial.begun, 1);
}

static void test_what_is_faster_is_kept(void **state)
{
    (void)state;
    find(3);
    for (uint64_t tag = 1; tag <= 3; tag++)
        samples(tag, 20);
    po.rest = 8 * REST_NS;
    ripen();
    conclude((struct trial_result){.verdict = VERDICT_FASTER, .arm = 1, .gain = {.mean = 5000}});
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fragments[i].set, 0);
        assert_int_equal(candidates[i].arm, 1);
        assert_int_equal(fragments[i].gain, 5000);
    }
    assert_int_equal(dropped, 0);
    assert_int_equal(policy_stats_get().gain, 5000);
    assert_int_equal(policy_stats_get().gains.fragments[PASS_COUNT], trial.n);
    assert_in_range(policy_stats_get().gains.shared[PASS_COUNT], 5000 - trial.n, 5000); /* by samples, rounded */
    assert_int_equal(policy_stats_get().trials[VERDICT_FASTER], 1);
    assert_int_equal(policy_phase(cpu()), PROTO_PHASE_LOOK); /* on at once, */
    assert_int_equal(po.rest, REST_NS); /* and the next rest is a short one again */
    assert_false(policy_full());
}

static void test_what_is_not_is_dropped_and_rested_from(void **state)
{
    (void)state;
    find(1);
    samples(1, 60);
    ripen();
    conclude((struct trial_result){.verdict = VERDICT_SLOWER, .gain = {.mean = -5000}, .cost_ns = 7 * MS});
    assert_int_equal(dropped, 1);
    assert_int_equal(declined[RC_SLOWER], 1);
    assert_int_equal(policy_phase(cpu()), PROTO_PHASE_REST);
    assert_int_equal(po.rest, 2 * REST_NS);
    assert_true(policy_stats_get().spent >= 7 * MS);
    assert_int_equal(policy_stats_get().gain, 0);
}

/* The third has half of the samples, the first a quarter, the others some percent each. */
static void test_sets_that_do_not_gain_come_apart(void **state)
{
    (void)state;
    const struct trial_result neutral = {.verdict = VERDICT_NEUTRAL};
    static const int shares[] = {50, 5, 100, 13, 14, 11};
    find(6);
    for (int i = 0; i < 6; i++)
        samples((uint64_t)i + 1, shares[i]);
    ripen();
    assert_int_equal(trial.n, 6);
    conclude(neutral);
    assert_int_equal(trial.n, 1); /* the largest by itself, */
    assert_int_equal(trial.first, 3);
    assert_int_not_equal(fragments[0].set, fragments[2].set); /* linked with none that is not tried */
    conclude((struct trial_result){.verdict = VERDICT_FASTER, .arm = 1});
    assert_int_equal(fragments[2].set, 0);
    assert_int_equal(trial.n, 1);
    assert_int_equal(trial.first, 1);
    conclude(neutral);
    assert_int_equal(dropped, 1);
    assert_int_equal(trial.n, 4); /* then the others, */
    assert_int_equal(trial.first, 5);
    conclude(neutral);
    assert_int_equal(trial.n, 2); /* in halves, */
    conclude(neutral);
    assert_int_equal(trial.n, 1);
    conclude(neutral);
    conclude(neutral);
    assert_int_equal(dropped, 3);
    assert_int_equal(trial.n, 2); /* unless the half has little weight */
    conclude(neutral);
    assert_int_equal(dropped, 5);
    assert_int_equal(declined[RC_NEUTRAL], 5);
    assert_int_equal(trial.begun, 8);
    assert_int_equal(trial.ended, 8);
    assert_int_equal(policy_phase(cpu()), PROTO_PHASE_LOOK); /* something was kept */
}

static void test_of_no_weight_is_not_tried_alone(void **state)
{
    (void)state;
    find(2);
    samples(1, 98);
    samples(2, 2);
    ripen();
    conclude((struct trial_result){.verdict = VERDICT_NEUTRAL});
    assert_int_equal(trial.n, 1);
    conclude((struct trial_result){.verdict = VERDICT_NEUTRAL});
    assert_int_equal(trial.begun, 2);
    assert_int_equal(dropped, 2);
}

static void test_without_a_clock_parts_are_not_tried(void **state)
{
    (void)state;
    find(4);
    for (uint64_t tag = 1; tag <= 4; tag++)
        samples(tag, 20);
    ripen();
    conclude((struct trial_result){.verdict = VERDICT_NEUTRAL});
    assert_int_equal(trial.n, 1);
    conclude((struct trial_result){.verdict = VERDICT_NEUTRAL, .no_clock = true});
    assert_int_equal(trial.begun, 2);
    assert_int_equal(dropped, 4);
    assert_int_equal(declined[RC_NO_CLOCK], 4);
}

/* The next kind of clocks, then none; a trial that said nothing does not count. */
static void test_clocks_that_stand_still_are_replaced(void **state)
{
    (void)state;
    find(2);
    samples(1, 30);
    samples(2, 30);
    ripen();
    assert_int_equal(trial.source, WORKCLOCK_SLOW);
    conclude((struct trial_result){.verdict = VERDICT_NEUTRAL, .idle = true, .no_clock = true, .source = WORKCLOCK_SLOW});
    assert_int_equal(trial.begun, 2);
    assert_int_equal(trial.n, 2);
    assert_int_equal(trial.source, WORKCLOCK_FAST);
    assert_int_equal(dropped, 0);
    assert_int_equal(policy_stats_get().trials[VERDICT_NEUTRAL], 0);
    conclude((struct trial_result){.verdict = VERDICT_NEUTRAL}); /* each alone, with the first kind again */
    assert_int_equal(trial.n, 1);
    assert_int_equal(trial.source, WORKCLOCK_SLOW);
    assert_int_equal(policy_stats_get().trials[VERDICT_NEUTRAL], 1);
}

/* Then those with much weight are tried together, before each of them alone: the others' text is where clocks may stand. */
static void test_without_a_clock_light_members_wait(void **state)
{
    (void)state;
    find(4);
    samples(1, 40);
    samples(2, 5);
    samples(3, 50);
    samples(4, 5);
    trial.refuse = RC_NO_CLOCK;
    trial.most = 2;
    ripen();
    assert_int_equal(trial.begun, 1);
    assert_int_equal(trial.n, 2);
    assert_int_equal(trial.first, 3);
    assert_int_equal(fragments[0].set, fragments[2].set);
    assert_int_not_equal(fragments[1].set, fragments[2].set);
    conclude((struct trial_result){.verdict = VERDICT_FASTER, .arm = 1});
    assert_int_equal(fragments[0].set, 0);
    assert_int_equal(trial.begun, 2); /* the rest in its turn */
    assert_int_equal(trial.n, 2);
}

/* What is kept pays for further looks, half of what it gains and one hundredth of the time at most. */
static void test_gains_are_earned(void **state)
{
    (void)state;
    uint64_t now = 1000 * MS;
    po.earned_at = now;
    po.spent = 50 * MS;
    (void)policy_in_budget(now + 1000 * MS);
    assert_int_equal(po.spent, 50 * MS); /* nothing was kept */
    po.stats.gain = VERDICT_ONE / 100;
    (void)policy_in_budget(now + 2000 * MS);
    assert_in_range(po.spent, 44 * MS, 46 * MS);
    po.stats.gain = VERDICT_ONE;
    (void)policy_in_budget(now + 3000 * MS);
    assert_in_range(po.spent, 34 * MS, 36 * MS);
    (void)policy_in_budget(now + 30000 * MS);
    assert_int_equal(po.spent, 0); /* nothing is saved up */
    (void)policy_in_budget(now); /* a clock that goes back */
    assert_int_equal(po.spent, 0);
}

/* What it may cost is what slices and earlier trials left over. */
static void test_trials_share_the_budget_with_slices(void **state)
{
    uint64_t wait, now = cpu();
    (void)state;
    find(1);
    samples(1, 60);
    ripen();
    po.spent = 5 * MS;
    assert_true(policy_tick(now, false, &wait));
    assert_int_equal(trial.spare, TRIAL_START + now / BUDGET_SHARE - 5 * MS);
    po.decided = false;
    po.spent = 500 * MS;
    assert_true(policy_tick(now, false, &wait));
    assert_int_equal(trial.spare, 0);
    trial.result = (struct trial_result){.verdict = VERDICT_NEUTRAL, .cost_ns = 3 * MS};
    (void)slice(cpu());
    assert_in_range(po.spent, 503 * MS, 504 * MS); /* once */
}

static void test_trials_that_cannot_begin(void **state)
{
    (void)state;
    find(2);
    samples(1, 50);
    samples(2, 2); /* of no weight */
    trial.refuse = RC_NO_CLOCK;
    ripen();
    assert_int_equal(trial.begun, 0);
    assert_int_equal(dropped, 2); /* tried together, then each alone */
    assert_int_equal(declined[RC_NO_CLOCK] + declined[RC_NEUTRAL], 2);
    assert_int_equal(policy_phase(cpu()), PROTO_PHASE_REST);
    assert_false(policy_full());
}

static void test_without_trials_all_is_kept_at_once(void **state)
{
    static const struct options without = {.trial = 0};
    (void)state;
    policy_init(&without);
    find(1);
    assert_int_equal(fragments[0].set, 0);
    assert_int_equal(candidates[0].arm, 1);
    for (unsigned i = 0; i < 2 * MOST_BARREN; i++)
        assert_in_range(slice(cpu()), 0, 100 * MS); /* there are no rests */
    assert_false(policy_full());
}

static void test_forked_while_something_is_tried(void **state)
{
    uint64_t wait;
    (void)state;
    find(1);
    samples(1, 60);
    ripen();
    po.spent = 5000 * MS;
    policy_forked();
    assert_int_equal(trial.aborted, 1);
    assert_int_equal(policy_stats_get().spent, 0);
    assert_true(policy_tick(1, false, &wait));
    (void)slice(1);
    assert_int_equal(trial.ended, 1);
    assert_int_equal(dropped, 1);
}

static void test_forgotten(void **state)
{
    (void)state;
    find(MOST);
    samples(1, 60);
    policy_forget();
    assert_false(policy_wants_samples());
    (void)slice(cpu() + 2 * GATHER_MOST_NS);
    assert_int_equal(trial.begun, 0);
    find(1);
    samples(1, 60);
    ripen();
    assert_int_equal(trial.n, 1);
}

#define TEST(name) cmocka_unit_test_setup(name, new_process)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rests_double_up_to_a_minute),
        TEST(test_looks_are_rarer_while_nothing_is_found),
        TEST(test_slices_stay_in_the_budget),
        TEST(test_all_of_a_hundredth_is_used_where_nothing_is_tried),
        TEST(test_parts_are_tried_within_the_budget),
        TEST(test_samples_are_wanted_until_there_are_enough),
        TEST(test_ripe_when_sampled_and_nothing_new_comes),
        TEST(test_ripe_after_a_while_with_few_samples),
        TEST(test_what_is_faster_is_kept),
        TEST(test_what_is_not_is_dropped_and_rested_from),
        TEST(test_sets_that_do_not_gain_come_apart),
        TEST(test_of_no_weight_is_not_tried_alone),
        TEST(test_without_a_clock_parts_are_not_tried),
        TEST(test_clocks_that_stand_still_are_replaced),
        TEST(test_without_a_clock_light_members_wait),
        TEST(test_gains_are_earned),
        TEST(test_trials_share_the_budget_with_slices),
        TEST(test_trials_that_cannot_begin),
        TEST(test_without_trials_all_is_kept_at_once),
        TEST(test_forked_while_something_is_tried),
        TEST(test_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
