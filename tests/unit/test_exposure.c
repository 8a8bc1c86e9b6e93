/* What a trial costs while it lasts: the assumption at first, then what the clocks say. */
#include "runtime/exposure.h"
#include "tests/unit/unit.h"

#define MS 1000000u

static void window(int arm, uint64_t a, uint64_t b, uint64_t c)
{
    const uint64_t ticks[FIT_CLOCKS] = {a, b, c};
    exposure_window(arm, ticks, 4 * MS);
}

static void test_assumed_at_first(void **state)
{
    (void)state;
    exposure_begin();
    window(0, 100, 200, 300);
    window(1, 100, 200, 300);
    assert_int_equal(exposure_loss(0), 0);
    assert_int_equal(exposure_loss(1), EXPOSURE_PRIOR);
    assert_in_range(exposure_due(), 59 * MS, 61 * MS); /* 4 ms, of which a twentieth is lost, 300 times */
    exposure_rested(40 * MS);
    assert_in_range(exposure_due(), 19 * MS, 21 * MS);
    exposure_rested(40 * MS);
    assert_int_equal(exposure_due(), 0);
    window(0, 100, 200, 300); /* now it is known better */
    window(1, 100, 200, 300);
    assert_int_equal(exposure_loss(1), 0);
    assert_int_equal(exposure_cost(), 0);
}

static void test_median_of_clocks(void **state)
{
    (void)state;
    exposure_begin();
    for (int i = 0; i < 3; i++) {
        window(0, 1000, 2000, 100);
        window(1, 900, 1800, 9000); /* one of three clocks is of no use */
    }
    assert_in_range(exposure_loss(1), 6800, 7000); /* 65536 ln(10/9) = 6905 */
    assert_in_range(exposure_lost(), 1260000, 1268000); /* 12 ms times 0.1054 */
    assert_in_range(exposure_due(), 376 * MS, 382 * MS);
    exposure_rested(376 * MS);
    window(1, 900, 1800, 0);
    assert_in_range(exposure_due(), 125 * MS, 133 * MS);
}

static void test_gains_pay_for_losses(void **state)
{
    (void)state;
    exposure_begin();
    for (int i = 0; i < 3; i++) {
        window(0, 1000, 0, 0);
        window(1, 800, 0, 0);
        window(2, 1100, 0, 0);
    }
    assert_in_range(-exposure_loss(2), 6200, 6300); /* 65536 ln 1.1 = 6246 */
    assert_in_range(exposure_lost(), 1530000, 1540000); /* 12 ms times 0.2231 - 0.0953 */
    exposure_overhead(MS);
    assert_in_range(exposure_cost(), 2530000, 2540000);
    assert_in_range(exposure_lost(), 1530000, 1540000);
    for (int i = 0; i < 9; i++)
        window(2, 1100, 0, 0);
    assert_int_equal(exposure_lost(), 0); /* there is no credit, */
    assert_int_equal(exposure_cost(), 0);
    exposure_overhead(MS);
    assert_in_range(exposure_cost(), 90000, 115000); /* but what is in it is not forgotten */
    exposure_begin();
    assert_int_equal(exposure_cost(), 0);
}

static void test_silent_clocks_are_not_asked(void **state)
{
    (void)state;
    exposure_begin();
    for (int i = 0; i < 4; i++) {
        window(0, 3, 0, 0);
        window(1, 0, 0, 0);
    }
    assert_int_equal(exposure_loss(1), EXPOSURE_PRIOR);
    window(0, 100, 0, 0);
    assert_int_equal(exposure_loss(1), VERDICT_ONE); /* stands still: no more than all */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_assumed_at_first),
        cmocka_unit_test(test_median_of_clocks),
        cmocka_unit_test(test_gains_pay_for_losses),
        cmocka_unit_test(test_silent_clocks_are_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
