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
    assert_in_range(exposure_pay(), 59 * MS, 61 * MS); /* 4 ms, of which a twentieth is lost, 300 times */
    assert_int_equal(exposure_pay(), 0);
}

static void test_median_of_clocks(void **state)
{
    (void)state;
    exposure_begin();
    for (int i = 0; i < 3; i++) {
        window(0, 1000, 2000, 100);
        window(1, 900, 1800, 9000); /* one of three clocks is of no use */
        window(2, 2000, 4000, 100);
    }
    assert_in_range(exposure_loss(1), 6800, 7000); /* 65536 ln(10/9) = 6905 */
    assert_int_equal(exposure_loss(2), 0);
    assert_in_range(exposure_cost(), 1260000, 1268000); /* 12 ms times 0.1054 */
    assert_in_range(exposure_pay(), 376 * MS, 382 * MS);
    window(2, 2000, 4000, 100);
    assert_int_equal(exposure_pay(), 0);
    window(1, 900, 1800, 0);
    assert_in_range(exposure_pay(), 125 * MS, 128 * MS);
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
        cmocka_unit_test(test_silent_clocks_are_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
