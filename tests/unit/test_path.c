/* Rounds that a thread's indirect branches go. */
#include "tests/unit/unit.h"

#include "tracer/path.h"

static struct path path;

static void go(uint64_t target) { path_note(&path, app_pc(0x1000), app_pc(target)); }

static void go_round(uint32_t length, uint32_t branches)
{
    for (uint32_t i = 0; i < branches; i++)
        go(0x2000 + 16 * (i % length));
}

static void test_no_round(void **state)
{
    (void)state;
    path_clear(&path);
    assert_int_equal(path_round(&path), 0);
    assert_true(path_is_short(&path));
    for (uint64_t i = 0; i < PATH_KEEPS; i++)
        go(0x2000 + i * i * 16);
    assert_int_equal(path_round(&path), 0);
    assert_false(path_is_short(&path));
}

/* It takes two rounds, and PATH_LEAST branches, that were each as one round before. */
static void test_least(void **state)
{
    (void)state;
    for (uint32_t length = 1; length <= PATH_LONGEST; length++) {
        uint32_t least = length + (2 * length < PATH_LEAST ? PATH_LEAST : 2 * length);
        path_clear(&path);
        go(0x9000); /* what came before */
        go_round(length, least - 1);
        assert_int_equal(path_round(&path), 0);
        go(0x2000 + 16 * ((least - 1) % length));
        assert_int_equal(path_round(&path), length);
        assert_true(path_repeats(&path, length));
        go(0x9000);
        assert_false(path_repeats(&path, length));
        assert_int_equal(path_round(&path), 0);
    }
    path_clear(&path);
    go_round(PATH_LONGEST + 1, PATH_KEEPS);
    assert_int_equal(path_round(&path), 0);
}

/* The ring has gone over its end many times. */
static void test_long_ago(void **state)
{
    (void)state;
    path_clear(&path);
    for (uint64_t i = 0; i < 10 * PATH_KEEPS + 7; i++)
        go(0x2000 + i * i * 16);
    go_round(29, 100);
    assert_int_equal(path_round(&path), 29);
}

/* A round within a round: a b a b a c is not a b. */
static void test_shortest_whole_round(void **state)
{
    (void)state;
    static const uint64_t targets[] = {1, 2, 1, 2, 1, 3};
    path_clear(&path);
    for (int i = 0; i < 300; i++)
        go(0x2000 + 16 * targets[i % 6]);
    assert_int_equal(path_round(&path), 6);
}

/* The same target from another place is another branch. */
static void test_place_counts(void **state)
{
    (void)state;
    path_clear(&path);
    for (int i = 0; i < 300; i++)
        path_note(&path, app_pc(i % 3 ? 0x1000 : 0x1100), app_pc(0x2000));
    assert_int_equal(path_round(&path), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_round),
        cmocka_unit_test(test_least),
        cmocka_unit_test(test_long_ago),
        cmocka_unit_test(test_shortest_whole_round),
        cmocka_unit_test(test_place_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
