/* What kept fragments gain, shared out among passes. */
#include "tests/unit/unit.h"

#include "runtime/gains.h"

#define A PASS_BIT(PASS_calls)
#define B PASS_BIT(PASS_loads)
#define C PASS_BIT(PASS_unroll)
#define D PASS_BIT(PASS_convert)
#define NO GAIN_UNKNOWN

static struct gains g;

static int64_t total(void)
{
    int64_t sum = g.shared[PASS_COUNT];
    for (int i = 0; i < PASS_COUNT; i++)
        sum += g.measured[i] + g.shared[i];
    return sum;
}

static int clear(void **state)
{
    (void)state;
    g = (struct gains){0};
    return 0;
}

static void test_one_variant_is_shared(void **state)
{
    (void)state;
    gains_add(&g, (uint32_t[]){0, A | B, 0, 0}, (int32_t[]){NO, 1001, NO, NO}, 1, 1, 1);
    assert_int_equal(g.shared[PASS_calls] + g.shared[PASS_loads], 1001);
    assert_in_range(g.shared[PASS_loads], 500, 501);
    assert_int_equal(g.measured[PASS_calls], 0);
    assert_int_equal(g.fragments[PASS_calls], 1);
    assert_int_equal(g.fragments[PASS_unroll], 0);
}

static void test_variants_measure_what_they_differ_in(void **state)
{
    (void)state;
    gains_add(&g, (uint32_t[]){0, A | B, A | B | C, A | B | C | D}, (int32_t[]){NO, 400, 700, 1500}, 3, 1, 1);
    assert_int_equal(g.measured[PASS_convert], 800);
    assert_int_equal(g.measured[PASS_unroll], 300);
    assert_int_equal(g.shared[PASS_calls], 200);
    assert_int_equal(g.shared[PASS_loads], 200);
    assert_int_equal(total(), 1500);
}

/* Kept without what made it slower. */
static void test_what_the_kept_one_lacks_gains_nothing(void **state)
{
    (void)state;
    gains_add(&g, (uint32_t[]){0, A, A | C, A | D}, (int32_t[]){NO, 400, 700, 100}, 2, 1, 1);
    assert_int_equal(g.measured[PASS_unroll], 300);
    assert_int_equal(g.measured[PASS_convert] + g.shared[PASS_convert], 0);
    assert_int_equal(g.fragments[PASS_convert], 0);
    assert_int_equal(g.shared[PASS_calls], 400);
}

/* Variants that were not measured, that have other passes, or the same ones, tell nothing. */
static void test_only_smaller_measured_variants_count(void **state)
{
    (void)state;
    gains_add(&g, (uint32_t[]){0, A, B, A | C}, (int32_t[]){NO, NO, 300, 900}, 3, 1, 1);
    gains_add(&g, (uint32_t[]){0, A | C, A | C, 0}, (int32_t[]){NO, 50, 100, NO}, 2, 1, 1);
    for (int i = 0; i < PASS_COUNT; i++)
        assert_int_equal(g.measured[i], 0);
    assert_int_equal(g.shared[PASS_calls], 500);
    assert_int_equal(g.shared[PASS_unroll], 500);
}

static void test_changed_by_none(void **state)
{
    (void)state;
    gains_add(&g, (uint32_t[]){0, 0, 0, D}, (int32_t[]){NO, 600, NO, 1000}, 3, 1, 1);
    assert_int_equal(g.measured[PASS_convert], 400);
    assert_int_equal(g.shared[PASS_COUNT], 600);
    gains_add(&g, (uint32_t[]){0, 0, 0, 0}, (int32_t[]){NO, 50, NO, NO}, 1, 1, 1);
    assert_int_equal(g.shared[PASS_COUNT], 650);
    assert_int_equal(g.fragments[PASS_COUNT], 1);
}

static void test_sets_are_shared_by_samples(void **state)
{
    (void)state;
    static const int32_t gain[GAINS_ARMS] = {NO, 1000, NO, NO};
    gains_add(&g, (uint32_t[]){0, A, 0, 0}, gain, 1, 30, 40);
    gains_add(&g, (uint32_t[]){0, B, 0, 0}, gain, 1, 10, 40);
    assert_int_equal(g.shared[PASS_calls], 750);
    assert_int_equal(g.shared[PASS_loads], 250);
}

static void test_a_slower_part_is_a_loss(void **state)
{
    (void)state;
    gains_add(&g, (uint32_t[]){0, A, A | C, 0}, (int32_t[]){NO, -200, 800, NO}, 2, 1, 1);
    assert_int_equal(g.measured[PASS_unroll], 1000);
    assert_int_equal(g.shared[PASS_calls], -200);
}

static void test_untried_ones_are_counted(void **state)
{
    (void)state;
    gains_add_untried(&g, A | C);
    assert_int_equal(g.fragments[PASS_calls], 1);
    assert_int_equal(g.fragments[PASS_unroll], 1);
    assert_int_equal(g.fragments[PASS_COUNT], 0);
    assert_int_equal(total(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_one_variant_is_shared, clear),
        cmocka_unit_test_setup(test_variants_measure_what_they_differ_in, clear),
        cmocka_unit_test_setup(test_what_the_kept_one_lacks_gains_nothing, clear),
        cmocka_unit_test_setup(test_only_smaller_measured_variants_count, clear),
        cmocka_unit_test_setup(test_changed_by_none, clear),
        cmocka_unit_test_setup(test_sets_are_shared_by_samples, clear),
        cmocka_unit_test_setup(test_a_slower_part_is_a_loss, clear),
        cmocka_unit_test_setup(test_untried_ones_are_counted, clear),
    };
    return cmocka_run_group_tests_name("gains", tests, NULL, NULL);
}
