/* The most frequent targets of indirect branches. */
#include "tests/unit/unit.h"

#include "tracer/targets.h"

static void go(uint64_t after, uint64_t target, unsigned times)
{
    while (times--)
        targets_note(app_pc(after), app_pc(target));
}

static int forget(void **state)
{
    (void)state;
    targets_forget();
    return 0;
}

static void test_nothing_is_known_at_first(void **state)
{
    (void)state;
    assert_null(targets_find(app_pc(0x1000)));
    go(0x1000, 0x2000, 1);
    assert_null(targets_find(app_pc(0x1001)));
    assert_non_null(targets_find(app_pc(0x1000)));
}

static void test_most_frequent_first(void **state)
{
    (void)state;
    static const unsigned times[TARGETS_KEPT] = {3, 9, 1, 20};
    static const unsigned order[TARGETS_KEPT] = {3, 1, 0, 2};
    for (unsigned i = 0; i < TARGETS_KEPT; i++)
        go(0x1000, 0x2000 + i, times[i]);
    const struct branch_targets *b = targets_find(app_pc(0x1000));
    assert_non_null(b);
    assert_int_equal(b->runs, 33);
    for (unsigned i = 0; i < TARGETS_KEPT; i++) {
        assert_int_equal(b->target[i], 0x2000 + order[i]);
        assert_int_equal(b->count[i], times[order[i]]);
    }
    go(0x1000, 0x2000, 7); /* overtakes */
    assert_int_equal(b->target[1], 0x2000);
    assert_int_equal(b->target[2], 0x2001);
}

/* Rare ones, ever new, do not drive out what is frequent; no count is too low, nor too high by more than the rarest. */
static void test_frequent_ones_stay(void **state)
{
    (void)state;
    unsigned real[2] = {0, 0};
    for (unsigned i = 0; i < 3000; i++) {
        unsigned k = i % 10;
        uint64_t target = k < 4 ? 0x2000 : k < 7 ? 0x3000 : 0x100000 + i;
        go(0x1000, target, 1);
        real[0] += k < 4;
        real[1] += k >= 4 && k < 7;
    }
    const struct branch_targets *b = targets_find(app_pc(0x1000));
    assert_int_equal(b->runs, 3000);
    assert_int_equal(b->target[0], 0x2000);
    assert_int_equal(b->target[1], 0x3000);
    for (unsigned i = 0; i < 2; i++)
        assert_in_range(b->count[i], real[i], real[i] + b->count[TARGETS_KEPT - 1]);
}

/* Of more branches than there is room for, those that run most are known. */
static void test_many_branches(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 100; i++)
        go(i << 6, i, 1000);
    for (uint64_t i = 1000; i < 9000; i++)
        go(i << 6, i, 1);
    unsigned known = 0;
    for (uint64_t i = 1; i <= 100; i++) {
        const struct branch_targets *b = targets_find(app_pc(i << 6));
        known += b && b->target[0] == i && b->runs == 1000;
    }
    assert_in_range(known, 98, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_is_known_at_first, forget),
        cmocka_unit_test_setup(test_most_frequent_first, forget),
        cmocka_unit_test_setup(test_frequent_ones_stay, forget),
        cmocka_unit_test_setup(test_many_branches, forget),
    };
    return cmocka_run_group_tests_name("targets", tests, NULL, NULL);
}
