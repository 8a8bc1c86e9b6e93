/* Code memory: where regions lie, what is written when, and that no page is ever writable and executable (CM-1). */
#include "tests/unit/unit.h"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/codemem.h"
#include "runtime/base/fail.h"

#define TEXT 0x200000000000ULL

static struct code_region *region;

static int setup(void **state)
{
    (void)state;
    code_set_sizes(100000, 100000);
    return code_region_near(app_pc(TEXT), &region) == RC_OK ? 0 : -1;
}

static struct cache_pc at(uint64_t offset) { return cache_pc(region->blocks.start + offset); }
static const uint8_t *bytes_at(uint64_t offset) { return (const uint8_t *)(uintptr_t)at(offset).v; }

static void test_region(void **state)
{
    (void)state;
    struct code_region *r;
    assert_true(TEXT - region->start < CODE_REACH);
    assert_true(region->blocks.end - region->blocks.start >= 100000);
    assert_true(region->fragments.end - region->fragments.start >= 100000);
    assert_true(region->stubs.end <= region->blocks.start && region->blocks.end <= region->fragments.start &&
                region->fragments.end <= region->end);
    assert_ok(code_region_near(app_pc(TEXT + (1 << 30)), &r)); /* in reach: the same */
    assert_ptr_equal(r, region);
    assert_ok(code_region_near(app_pc(TEXT + (64ULL << 30)), &r)); /* not in reach: another */
    assert_ptr_not_equal(r, region);
    assert_int_equal(code_region_count(), 2);
    assert_ptr_equal(code_region_find(region->start), region);
    assert_ptr_equal(code_region_find(region->end - 1), region);
    assert_null(code_region_find(region->end));
    assert_null(code_region_find(region->start - 1));
}

static void test_regions_run_out(void **state)
{
    (void)state;
    struct code_region *r;
    rc_t rc = RC_OK;
    for (uint64_t i = 2; i < 64 && rc == RC_OK; i++)
        rc = code_region_near(app_pc(TEXT + (i * 64ULL << 30)), &r);
    assert_rc(rc, RC_NO_MEMORY);
    assert_ok(code_region_near(app_pc(TEXT), &r)); /* the others go on serving */
}

static void test_reaches(void **state)
{
    (void)state;
    const uint64_t from = 0x100000000000;
    assert_true(code_reaches(from, from));
    assert_true(code_reaches(from, from + 0x7fffff00));
    assert_true(code_reaches(from, from - 0x7fffff00));
    assert_false(code_reaches(from, from + 0x80000000));
    assert_false(code_reaches(from, from - 0x80000000));
    assert_false(code_reaches(from, 0));
    assert_false(code_reaches(0x1000, UINT64_MAX - 0xffffffff));
}

/* CM-2: nothing is there before the commit, all of it afterwards, later pieces over earlier ones. */
static void test_stage_then_commit(void **state)
{
    (void)state;
    assert_ok(code_stage(at(0), "abcd", 4));
    assert_ok(code_stage(at(100), "wxyz", 4));
    assert_ok(code_stage(at(1), "BC", 2));
    assert_int_equal(bytes_at(0)[0], 0);
    assert_ok(code_commit());
    assert_memory_equal(bytes_at(0), "aBCd", 4);
    assert_memory_equal(bytes_at(100), "wxyz", 4);
    assert_int_equal(bytes_at(104)[0], 0);
    assert_ok(code_commit()); /* nothing staged */
}

static void test_adjacent_pieces(void **state)
{
    (void)state;
    assert_ok(code_stage(at(200), "0123", 4));
    assert_ok(code_stage(at(204), "4567", 4)); /* merged */
    assert_ok(code_stage(at(204), "ab", 2)); /* an overwrite, not adjacent */
    assert_ok(code_stage(at(206), "cd", 2)); /* merged with that */
    assert_ok(code_stage(at(212), "Z", 1)); /* a gap */
    assert_ok(code_commit());
    assert_memory_equal(bytes_at(200), "0123abcd\0\0\0\0Z", 13);
}

static void test_more_pieces_than_the_buffer_holds(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 6000; i++)
        assert_ok(code_stage(at(1000 + i * 8), &i, 4));
    assert_ok(code_commit());
    for (uint32_t i = 0; i < 6000; i++)
        assert_memory_equal(bytes_at(1000 + i * 8), &i, 4);
}

static void test_more_bytes_than_the_buffer_holds(void **state)
{
    (void)state;
    static uint8_t page[4096], huge[(1 << 20) + 1];
    for (uint32_t i = 0; i < 600; i++) {
        memset(page, (int)i, sizeof page);
        assert_ok(code_stage(at(i % 16 * 4096), page, sizeof page));
    }
    assert_ok(code_commit());
    assert_int_equal(bytes_at(4096 * 7)[0], (uint8_t)(599 - 599 % 16 + 7));
    assert_rc(code_stage(at(0), huge, sizeof huge), RC_NO_MEMORY);
    assert_ok(code_commit());
}

static void test_write_outside_memory_fails(void **state)
{
    (void)state;
    assert_ok(code_stage(cache_pc(0x1000), "x", 1));
    assert_rc(code_commit(), RC_CODE_WRITE);
}

/* The way that remains when /proc/self/mem refuses. */
static void test_fallback_writes_and_keeps_the_protection(void **state)
{
    (void)state;
    code_set_way(CODE_WAY_PAGE);
    assert_ok(code_stage(at(4090), "across the page", 15));
    assert_ok(code_commit());
    code_set_way(CODE_WAY_AUTO);
    assert_memory_equal(bytes_at(4090), "across the page", 15);
    assert_int_equal(code_ways_used(), 1 << CODE_WAY_MEM | 1 << CODE_WAY_PAGE);
}

/* More pages than are replaced at once, from the middle of one to the middle of another. */
static void test_fallback_replaces_many_pages(void **state)
{
    (void)state;
    static uint8_t big[150 * 4096];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)(i * 7 + i / 4096);
    uint64_t start = region->fragments.start - region->blocks.start + 32 * 4096;
    code_set_way(CODE_WAY_PAGE);
    assert_true(start + 2000 + sizeof big <= region->end - region->blocks.start);
    assert_ok(code_stage(at(start + 2000), big, sizeof big));
    assert_ok(code_commit());
    code_set_way(CODE_WAY_AUTO);
    assert_memory_equal(bytes_at(start + 2000), big, sizeof big);
    assert_int_equal(bytes_at(start + 1999)[0], 0);
    assert_int_equal(bytes_at(start + 2000 + sizeof big)[0], 0);
}

/* Each refusal, alone and for good: what is written is right, or nothing is and the commit says so. */
static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        enum code_way way;
        const char *fail;
        bool good;
        enum code_way then;
    } rows[] = {
        {CODE_WAY_AUTO, "open_mem@1", true, CODE_WAY_PAGE},
        {CODE_WAY_AUTO, "open_mem@1+", true, CODE_WAY_PAGE},
        {CODE_WAY_AUTO, "open@1", true,
         CODE_WAY_MEM}, /* no descriptor left: at another moment there is one */
        {CODE_WAY_AUTO, "open@1+", true, CODE_WAY_MEM},
        {CODE_WAY_AUTO, "code_write@1", true, CODE_WAY_PAGE},
        {CODE_WAY_AUTO, "code_write@1+", false, CODE_WAY_PAGE},
        {CODE_WAY_AUTO, "mremap@1+", true, CODE_WAY_MEM}, /* not needed */
        {CODE_WAY_MEM, "open_mem@1+", false, CODE_WAY_MEM},
        {CODE_WAY_MEM, "code_write@1+", false, CODE_WAY_MEM},
        {CODE_WAY_PAGE, "open_mem@1+", true, CODE_WAY_PAGE},
        {CODE_WAY_PAGE, "mremap@1", false, CODE_WAY_PAGE},
        {CODE_WAY_PAGE, "mprotect@1", false, CODE_WAY_PAGE},
        {CODE_WAY_PAGE, "mmap@1", false, CODE_WAY_PAGE},
        {CODE_WAY_PAGE, "mremap@2", false, CODE_WAY_PAGE}, /* the first of two pieces is written */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t one = 20 * 4096 + i * 64, two = one + 1024;
        code_set_way(rows[i].way);
        assert_ok(code_stage(at(one), "first", 5));
        assert_ok(code_stage(at(two), "second", 6));
        assert_true(fail_set(rows[i].fail));
        rc_t rc = code_commit();
        bool fired = fail_count() > 0;
        assert_true(fail_set(""));
        assert_int_equal(fired, strcmp(rows[i].fail, "mremap@1+") != 0 &&
                                    !(rows[i].way == CODE_WAY_PAGE && rows[i].good));
        if (rc != (rows[i].good ? RC_OK : RC_CODE_WRITE))
            fail_msg("%s, way %d: rc %d", rows[i].fail, rows[i].way, rc);
        assert_int_equal(code_way_in_use(), rows[i].then);
        assert_int_equal(memcmp(bytes_at(one), "first", 5) == 0,
                         rows[i].good || strcmp(rows[i].fail, "mremap@2") == 0);
        assert_int_equal(memcmp(bytes_at(two), "second", 6) == 0, rows[i].good);
        code_set_way(CODE_WAY_AUTO);
        assert_ok(code_stage(at(two), "after", 5)); /* what was refused is not staged any more */
        assert_ok(code_commit());
        assert_int_equal(memcmp(bytes_at(one), "first", 5) == 0,
                         rows[i].good || strcmp(rows[i].fail, "mremap@2") == 0);
    }
}

static void test_cm1_no_page_is_writable_and_executable(void **state)
{
    (void)state;
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    bool seen = false;
    while (fgets(line, sizeof line, maps)) {
        unsigned long start, end;
        char prot[8];
        assert_int_equal(sscanf(line, "%lx-%lx %7s", &start, &end, prot), 3);
        if (start < region->end && end > region->start) {
            seen = true;
            assert_string_equal(prot, "r-xp");
        }
    }
    fclose(maps);
    assert_true(seen);
}

static void test_cm3_no_descriptor_stays_open(void **state)
{
    (void)state;
    char link[512], path[300];
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
        ssize_t n = readlink(path, link, sizeof link - 1);
        link[n > 0 ? n : 0] = 0;
        assert_null(strstr(link, "/mem"));
    }
    closedir(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region),
        cmocka_unit_test(test_regions_run_out),
        cmocka_unit_test(test_reaches),
        cmocka_unit_test(test_stage_then_commit),
        cmocka_unit_test(test_adjacent_pieces),
        cmocka_unit_test(test_more_pieces_than_the_buffer_holds),
        cmocka_unit_test(test_more_bytes_than_the_buffer_holds),
        cmocka_unit_test(test_cm1_no_page_is_writable_and_executable),
        cmocka_unit_test(test_write_outside_memory_fails),
        cmocka_unit_test(test_fallback_writes_and_keeps_the_protection),
        cmocka_unit_test(test_fallback_replaces_many_pages),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cm1_no_page_is_writable_and_executable),
        cmocka_unit_test(test_cm3_no_descriptor_stays_open),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
