/* Settings as text. */
#include "tests/unit/unit.h"

#include "runtime/options.h"

static struct options o;
static char bad[OPTION_TEXT];

static int defaults(void **state)
{
    (void)state;
    memset(&o, 0xff, sizeof o);
    memset(bad, 0xff, sizeof bad);
    options_default(&o);
    return 0;
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(o.control, CONTROL_SAMPLED);
    assert_int_equal(o.trial, 1);
    assert_int_equal(o.hot, 50);
    assert_int_equal(o.cache_bytes, 8 << 20);
    assert_int_equal(o.link, 1);
    assert_string_equal(o.stats_path, "");
    struct options before = o;
    assert_ok(options_parse(&o, NULL, bad));
    assert_ok(options_parse(&o, "", bad));
    assert_memory_equal(&o, &before, sizeof o);
}

static void test_good(void **state)
{
    (void)state;
    assert_ok(options_parse(&o, "control=off,hot=1000000,cache=64K,link=0,log=/a b=c%p,dump=", bad));
    assert_int_equal(o.control, CONTROL_OFF);
    assert_int_equal(o.hot, 1000000);
    assert_int_equal(o.cache_bytes, 64 << 10);
    assert_int_equal(o.link, 0);
    assert_string_equal(o.log_path, "/a b=c%p");
    assert_string_equal(o.dump_path, "");
    assert_ok(options_parse(&o, "cache=1G", bad));
    assert_int_equal(o.cache_bytes, 1 << 30);
    assert_ok(options_parse(&o, "cache=3M", bad));
    assert_int_equal(o.cache_bytes, 3 << 20);
    assert_ok(options_parse(&o, "cache=16384", bad));
    assert_int_equal(o.cache_bytes, 16384);
}

static void test_last_setting_wins(void **state)
{
    (void)state;
    assert_ok(options_parse(&o, "hot=3,log=/first,hot=7,log=/x", bad));
    assert_int_equal(o.hot, 7);
    assert_string_equal(o.log_path, "/x");
}

static void test_empty_items_are_ignored(void **state)
{
    (void)state;
    assert_ok(options_parse(&o, ",,hot=3,,", bad));
    assert_int_equal(o.hot, 3);
    assert_ok(options_parse(&o, ",", bad));
}

static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bad;
    } rows[] = {
        {"hot", "hot"},
        {"hot=", "hot="},
        {"hot=0", "hot=0"},
        {"hot=1000001", "hot=1000001"},
        {"hot=-1", "hot=-1"},
        {"hot=+1", "hot=+1"},
        {"hot= 1", "hot= 1"},
        {"hot=1x", "hot=1x"},
        {"hot=1K", "hot=1K"}, /* not a size */
        {"hot=18446744073709551618", "hot=18446744073709551618"}, /* 2^64 + 2 */
        {"cache=16383", "cache=16383"},
        {"cache=2G", "cache=2G"},
        {"cache=64k", "cache=64k"},
        {"cache=64KB", "cache=64KB"},
        {"cache=K", "cache=K"},
        {"cache=18014398509481984K", "cache=18014398509481984K"}, /* 2^64 */
        {"control=", "control="},
        {"control=ful", "control=ful"},
        {"control=fulls", "control=fulls"},
        {"control=off|full", "control=off|full"},
        {"unknown=1", "unknown=1"},
        {"ho=1", "ho=1"},
        {"hott=1", "hott=1"},
        {"=1", "=1"},
        {"HOT=1", "HOT=1"},
        {"hot=3,link=2,maxinsns=9", "link=2"},
        {"write=pages", "write=pages"},
        {"fail=mmap", "fail=mmap"},
        {"fail=mmap@1,fail=nothing@1,hot=3", "fail=nothing@1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        defaults(NULL);
        if (options_parse(&o, rows[i].text, bad) != RC_BAD_OPTION)
            fail_msg("%s was accepted", rows[i].text);
        assert_string_equal(bad, rows[i].bad);
    }
}

static void test_text_limits(void **state)
{
    (void)state;
    char text[600] = "log=";
    memset(text + 4, 'x', OPTION_TEXT - 1);
    assert_ok(options_parse(&o, text, bad));
    assert_int_equal(strlen(o.log_path), OPTION_TEXT - 1);
    text[4 + OPTION_TEXT - 1] = 'x';
    assert_rc(options_parse(&o, text, bad), RC_BAD_OPTION);
    assert_int_equal(strlen(bad), OPTION_TEXT - 1); /* cut, terminated */
}

static void test_plant(void **state)
{
    (void)state;
    struct plant_spec p;
    assert_true(options_parse_plant("", &p));
    assert_int_equal(p.kind, PLANT_NONE);
    assert_true(options_parse_plant("slow:all", &p));
    assert_int_equal(p.kind, PLANT_SLOW);
    assert_true(p.all);
    assert_int_equal(p.units, 64);
    assert_true(options_parse_plant("fast:17:4096", &p));
    assert_int_equal(p.kind, PLANT_FAST);
    assert_false(p.all);
    assert_int_equal(p.id, 17);
    assert_int_equal(p.units, 4096);
    static const char *const wrong[] = {
        "slow",       "slow:",       "slow:0",         "slow:x", "slow:1:", "slow:1:0",  "slow:1:4097",
        "slow:1:2:3", "slow:all:2:", "quick:1",        ":1",     ":",       "slow:allx", "slow:1:-1",
        "fast::2",    "slowfast:1",  "slow:4294967296"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(options_parse_plant(wrong[i], &p));
        assert_int_equal(p.id, 17);
    }
    assert_ok(options_parse(&o, "hot=3,plant=slow:3:7,link=0", bad));
    assert_string_equal(o.plant, "slow:3:7");
    assert_int_equal(options_parse(&o, "hot=3,plant=slow:3:x,link=0", bad), RC_BAD_OPTION);
    assert_string_equal(bad, "plant=slow:3:x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, defaults),
        cmocka_unit_test_setup(test_good, defaults),
        cmocka_unit_test_setup(test_last_setting_wins, defaults),
        cmocka_unit_test_setup(test_empty_items_are_ignored, defaults),
        cmocka_unit_test_setup(test_bad, defaults),
        cmocka_unit_test_setup(test_text_limits, defaults),
        cmocka_unit_test_setup(test_plant, defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
