/* The statistics of trials: the logarithm, the estimate, error rates of the sequential test, the fit of clocks. */
#include <math.h>
#include <stdlib.h>

#include "runtime/fit.h"
#include "runtime/verdict.h"
#include "tests/unit/unit.h"

static uint64_t seed;

static double uniform(void)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void) { return sqrt(-2 * log(uniform())) * cos(2 * 3.14159265358979 * uniform()); }

/* A block: the true gain, noise, and now and then a neighbour that steals a third of a window. */
static int32_t block(double gain, double noise)
{
    double x = gain + noise * normal();
    if (uniform() < 0.05)
        x += uniform() < 0.5 ? 0.3 : -0.3;
    return (int32_t)lround(x * VERDICT_ONE);
}

static enum verdict trial(double gain, double noise, int *blocks)
{
    int32_t x[VERDICT_MOST_BLOCKS];
    for (int n = 0; n < VERDICT_MOST_BLOCKS;) {
        x[n++] = block(gain, noise);
        enum verdict v = verdict_due(n) ? verdict_of(verdict_estimate(x, n, 1)) : VERDICT_NONE;
        *blocks = n;
        if (v != VERDICT_NONE)
            return v;
    }
    return VERDICT_NONE;
}

/* Of 4000 trials in 100: how many end with v. */
static double percent(double gain, double noise, enum verdict v)
{
    int hits = 0, blocks;
    seed = 1;
    for (int i = 0; i < 4000; i++)
        hits += trial(gain, noise, &blocks) == v;
    return hits / 40.0;
}

static void test_logarithm(void **state)
{
    (void)state;
    seed = 7;
    for (int i = 0; i < 20000; i++) {
        uint64_t a = 1 + (uint64_t)(uniform() * 1e12), b = 1 + (uint64_t)((double)a * exp(4 * uniform() - 2));
        double right = log((double)a / (double)b);
        assert_true(fabs(verdict_ln(a, b) / (double)VERDICT_ONE - right) < 1e-4 + 2.0 / (double)(a < b ? a : b));
    }
    assert_int_equal(verdict_ln(5, 5), 0);
    assert_true(verdict_ln(0, 100) < -3 * VERDICT_ONE);
}

static void test_estimate_ignores_outliers(void **state)
{
    (void)state;
    int32_t x[20];
    for (int i = 0; i < 20; i++)
        x[i] = 1000 + 10 * (i % 5);
    x[3] = 1000000;
    x[9] = -1000000;
    struct estimate e = verdict_estimate(x, 20, 0);
    assert_in_range(e.mean, 1010, 1030);
    assert_true(e.error < 10);
}

static void test_nothing_gained_is_not_kept(void **state)
{
    (void)state;
    for (double noise = 0.005; noise < 0.3; noise *= 3) {
        assert_true(percent(0, noise, VERDICT_FASTER) <= 1.1);
        assert_true(percent(-0.02, noise, VERDICT_FASTER) <= 0.5);
    }
}

static void test_gains_are_kept_and_losses_found(void **state)
{
    (void)state;
    assert_true(percent(0.05, 0.05, VERDICT_FASTER) > 99);
    assert_true(percent(0.05, 0.15, VERDICT_FASTER) > 88);
    assert_true(percent(-0.05, 0.02, VERDICT_SLOWER) > 90);
    assert_true(percent(-0.05, 0.15, VERDICT_FASTER) == 0);
}

/* What is much slower is found out early; nothing is kept early. */
static void test_large_losses_are_found_at_the_first_look(void **state)
{
    int blocks = 0;
    (void)state;
    seed = 5;
    int early = 0;
    for (int i = 0; i < 1000; i++)
        early += trial(-0.3, 0.03, &blocks) == VERDICT_SLOWER && blocks == 4;
    assert_true(early > 700);
    for (int i = 0; i < 1000; i++)
        assert_true(trial(0.3, 0.001, &blocks) == VERDICT_FASTER && blocks >= 8);
    assert_true(percent(0, 0.05, VERDICT_SLOWER) < 15);
}

static void test_every_trial_ends(void **state)
{
    (void)state;
    int blocks;
    seed = 3;
    for (int i = 0; i < 1000; i++)
        assert_true(trial(0.02 * normal(), 0.2 * uniform(), &blocks) != VERDICT_NONE);
}

/* Three clocks make up the work of a window in changing parts; a fourth ticks by chance. */
static void test_fit_finds_the_work(void **state)
{
    (void)state;
    enum { N = 200 };
    double single = 0, fitted = 0;
    seed = 11;
    for (int w = 0; w < N; w++) {
        double a = 100 + 900 * uniform(), b = 100 + 900 * uniform(), c = 100 + 900 * uniform();
        double speed = w % 2 ? 1.1 : 1.0;
        uint64_t ticks[FIT_CLOCKS] = {(uint64_t)a, (uint64_t)b, (uint64_t)c, (uint64_t)(1000 * uniform())};
        double ns = (3000 * a + 1000 * b + 200 * c) / speed;
        if (w % 17 == 0)
            ns *= 1.5; /* stolen */
        fit_window(w, w % 2, ticks, (uint64_t)ns);
        single += fabs(log(a / ns * 4000)) / N;
    }
    int used = fit_windows(N);
    assert_true(used >= 3 && used <= 4);
    double arm[2] = {0, 0};
    for (int w = 0; w < N; w++) {
        double v = log((double)fit_speed(w) / FIT_ONE);
        if (w % 17) {
            arm[w % 2] += v;
            fitted += fabs(v) / N;
        }
    }
    assert_true(fitted < single / 4);
    double gain = arm[1] / 94 - arm[0] / 94;
    assert_true(gain > 0.085 && gain < 0.105); /* ln 1.1 = 0.095 */
}

/* The gain that the last fit shows, ln(arm 1 / arm 0). */
static double fitted_gain(int n)
{
    double sum[2] = {0};
    for (int w = 0; w < n; w++)
        sum[w % 2] += log((double)fit_speed(w) / FIT_ONE);
    return (sum[1] - sum[0]) * 2 / n;
}

/* One clock counts the work, the other time, but badly: what makes all windows look alike is not what makes each arm's. */
static void test_fit_looks_for_steadiness_in_each_arm(void **state)
{
    (void)state;
    enum { N = 400 };
    seed = 12;
    for (int w = 0; w < N; w++) {
        double speed = w % 2 ? 1.1 : 1.0;
        uint64_t ticks[FIT_CLOCKS] = {(uint64_t)(100000 * speed * (1 + 0.01 * normal())), (uint64_t)(100000 * (1 + 0.1 * normal()))};
        fit_window(w, w % 2, ticks, 4000000);
    }
    (void)fit_windows(N);
    assert_true(fitted_gain(N) > 0.09);
    assert_true(fit_spread() < FIT_ONE / 50); /* about each arm's own speed */
}

/* In some windows a clock ticked without work. */
static void test_fit_is_led_little_by_disturbances(void **state)
{
    (void)state;
    enum { N = 300 };
    double off = 0;
    seed = 13;
    for (int w = 0; w < N; w++) {
        double a = 100 + 900 * uniform(), b = 100 + 900 * uniform(), ns = 3000 * a + 1000 * b;
        uint64_t ticks[FIT_CLOCKS] = {(uint64_t)a, (uint64_t)(w % 17 ? b : 6 * b)};
        fit_window(w, w % 2, ticks, (uint64_t)ns);
    }
    (void)fit_windows(N);
    for (int w = 0; w < N; w++)
        if (w % 17)
            off += fabs(log((double)fit_speed(w) / FIT_ONE) - log((double)fit_speed(1) / FIT_ONE)) / N;
    assert_true(off < 0.09); /* 0.11 without reweighting */
}

/* Ticks are work that was done, never work that was not. */
static void test_fit_has_no_negative_work(void **state)
{
    (void)state;
    enum { N = 200 };
    seed = 14;
    for (int w = 0; w < N; w++) {
        double junk = 50000 * uniform();
        uint64_t ticks[FIT_CLOCKS] = {(uint64_t)(100000 + junk), (uint64_t)junk};
        fit_window(w, w % 2, ticks, 4000000);
    }
    assert_int_equal(fit_windows(N), 1);
    assert_true(fit_spread() > FIT_ONE / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logarithm),
        cmocka_unit_test(test_estimate_ignores_outliers),
        cmocka_unit_test(test_nothing_gained_is_not_kept),
        cmocka_unit_test(test_gains_are_kept_and_losses_found),
        cmocka_unit_test(test_large_losses_are_found_at_the_first_look),
        cmocka_unit_test(test_every_trial_ends),
        cmocka_unit_test(test_fit_finds_the_work),
        cmocka_unit_test(test_fit_looks_for_steadiness_in_each_arm),
        cmocka_unit_test(test_fit_is_led_little_by_disturbances),
        cmocka_unit_test(test_fit_has_no_negative_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
