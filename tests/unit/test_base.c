/* runtime/base: memory, formatting, maps. */
#include "tests/unit/unit.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/base/fail.h"
#include "runtime/base/fmt.h"
#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

/* --- mem */

static void test_arena_memory_is_zeroed_aligned_and_disjoint(void **state)
{
    (void)state;
    struct arena a = {0};
    uint8_t *last_end = NULL;
    for (size_t len = 1; len < 3000; len += 37) {
        uint8_t *p = arena_alloc(&a, len);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < len; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, len);
        assert_true(!last_end || p >= last_end);
        last_end = p + len;
    }
    arena_reset(&a);
    uint8_t *p = arena_alloc(&a, 3000); /* what was used before is cleared */
    for (size_t i = 0; i < 3000; i++)
        assert_int_equal(p[i], 0);
    arena_free(&a);
    assert_int_equal(a.used, 0);
}

static void test_arena_limit(void **state)
{
    (void)state;
    struct arena a = {.limit = 1 << 20};
    size_t got = 0;
    while (arena_alloc(&a, 4000))
        got += 4000;
    assert_true(got > 900000 && got <= 1 << 20);
    assert_true(a.used <= a.limit);
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 4000));
    assert_null(arena_alloc(&a, 2 << 20));
    arena_free(&a);
}

static void test_arena_large(void **state)
{
    (void)state;
    struct arena a = {0};
    uint8_t *small = arena_alloc(&a, 100), *large = arena_alloc(&a, 3 << 20);
    assert_non_null(large);
    memset(large, 1, 3 << 20);
    assert_int_equal(small[0], 0);
    assert_true(a.used >= 3 << 20);
    arena_reset(&a);
    assert_int_equal(*(uint8_t *)arena_alloc(&a, 3 << 20), 0);
    arena_free(&a);
}

static void test_copy_zero_compare(void **state)
{
    (void)state;
    uint8_t from[1200], to[1200];
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (uint8_t)(i * 7 + 1);
    for (size_t n = 0; n < 1100; n = n < 20 ? n + 1 : n + 61) {
        memset(to, 0xaa, sizeof to);
        assert_ptr_equal(mem_copy(to + 3, from + 1, n), to + 3);
        assert_memory_equal(to + 3, from + 1, n);
        assert_int_equal(to[2], 0xaa);
        assert_int_equal(to[3 + n], 0xaa);
        assert_int_equal(mem_compare(to + 3, from + 1, n), 0);
        mem_zero(to + 3, n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(to[3 + i], 0);
        assert_int_equal(to[2], 0xaa);
        assert_int_equal(to[3 + n], 0xaa);
    }
    assert_true(mem_compare("\x80", "\x01", 1) > 0); /* unsigned */
    assert_true(mem_compare("aa", "ab", 2) < 0);
}

static void test_strings(void **state)
{
    (void)state;
    char to[4];
    assert_int_equal(str_len(""), 0);
    assert_int_equal(str_len("abc"), 3);
    assert_true(str_equal("", ""));
    assert_true(str_equal("ab", "ab"));
    assert_false(str_equal("ab", "abc"));
    assert_false(str_equal("abc", "ab"));
    assert_int_equal(str_copy(to, "abcdef", sizeof to), 6);
    assert_string_equal(to, "abc");
    assert_int_equal(str_copy(to, "ab", sizeof to), 2);
    assert_string_equal(to, "ab");
    assert_string_equal(str_base("/usr/bin/true"), "true");
    assert_string_equal(str_base("true"), "true");
    assert_string_equal(str_base("/usr/"), "");
}

/* --- fmt */

static void test_fmt_numbers(void **state)
{
    (void)state;
    char buf[200];
    struct fmt f = fmt_on(buf, sizeof buf);
    fmt_dec(&f, 0);
    fmt_char(&f, ' ');
    fmt_dec(&f, INT64_MIN);
    fmt_char(&f, ' ');
    fmt_dec(&f, INT64_MAX);
    fmt_char(&f, ' ');
    fmt_hex(&f, 0, 1);
    fmt_char(&f, ' ');
    fmt_hex(&f, UINT64_MAX, 1);
    fmt_char(&f, ' ');
    fmt_hex(&f, 0x1a, 4);
    fmt_char(&f, ' ');
    fmt_hex(&f, 1, 99);
    assert_string_equal(buf, "0 -9223372036854775808 9223372036854775807 0 ffffffffffffffff 001a 0000000000000001");
    assert_int_equal(f.len, strlen(buf));
}

static void test_fmt_never_overruns(void **state)
{
    (void)state;
    for (size_t cap = 1; cap < 12; cap++) {
        char *buf = malloc(cap);
        struct fmt f = fmt_on(buf, cap);
        fmt_str(&f, "abcdef");
        fmt_dec(&f, -12345);
        fmt_pad(&f, 50);
        assert_int_equal(f.len, cap - 1);
        assert_int_equal(strlen(buf), cap - 1);
        assert_memory_equal(buf, "abcdef-12345", cap - 1);
        free(buf);
    }
}

static void test_fmt_pad_counts_from_the_line(void **state)
{
    (void)state;
    char buf[64];
    struct fmt f = fmt_on(buf, sizeof buf);
    fmt_str(&f, "first line\nab");
    fmt_pad(&f, 5);
    fmt_str(&f, "c");
    fmt_pad(&f, 3); /* already beyond */
    assert_string_equal(buf, "first line\nab   c");
}

static void test_fmt_path(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *expected;
    } rows[] = {{"/a/%p.json", "/a/42.json"}, {"%p%p", "4242"}, {"100%%", "100%"}, {"%", "%"}, {"%q", "%q"},
                {"", ""}, {"%%p", "%p"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char buf[64];
        struct fmt f = fmt_on(buf, sizeof buf);
        fmt_path(&f, rows[i].pattern, 42);
        assert_string_equal(buf, rows[i].expected);
    }
}

/* --- maps */

static void test_maps_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool executable;
        uint64_t start, end, offset;
        enum map_kind kind;
        const char *path;
    } rows[] = {
        {"00400000-00452000 r-xp 00001000 08:02 173521      /usr/bin/dbus-daemon", true, 0x400000, 0x452000, 0x1000,
         MAP_TEXT, "/usr/bin/dbus-daemon"},
        {"7f0000000000-7f0000001000 r-xp 00000000 00:00 0 ", true, 0x7f0000000000, 0x7f0000001000, 0, MAP_VOLATILE, ""},
        {"7f0000000000-7f0000001000 rwxp 00000000 08:01 12 /tmp/x", true, 0x7f0000000000, 0x7f0000001000, 0, MAP_VOLATILE,
         "/tmp/x"},
        {"7f0000000000-7f0000001000 r-xs 00000000 08:01 12 /tmp/x", true, 0x7f0000000000, 0x7f0000001000, 0, MAP_VOLATILE,
         "/tmp/x"},
        {"7f0000000000-7f0000001000 --xp 00000000 08:01 12 /tmp/x", false, 0, 0, 0, MAP_NONE, ""},
        {"7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0                          [vdso]", true, 0x7ffd00000000,
         0x7ffd00002000, 0, MAP_VDSO, "[vdso]"},
        {"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]", false, 0, 0, 0,
         MAP_NONE, ""},
        {"7ffc00000000-7ffc00021000 rwxp 00000000 00:00 0   [stack]", true, 0x7ffc00000000, 0x7ffc00021000, 0,
         MAP_VOLATILE, "[stack]"},
        {"7f1000000000-7f1000010000 r-xp 00002000 08:01 7  /opt/with a space/lib.so (deleted)", true, 0x7f1000000000,
         0x7f1000010000, 0x2000, MAP_TEXT, "/opt/with a space/lib.so (deleted)"},
        {"7f1000000000-7f1000010000 r-xp 100000000 103:05 9999999 /big", true, 0x7f1000000000, 0x7f1000010000,
         0x100000000, MAP_TEXT, "/big"},
        {"7f1000000000-7f1000010000 r-xp 00000000 00:01 5 /memfd:jit (deleted)", true, 0x7f1000000000, 0x7f1000010000, 0,
         MAP_VOLATILE, "/memfd:jit (deleted)"},
        {"7f1000000000-7f1000010000 r-xp 00000000 00:01 5 /dev/zero (deleted)", true, 0x7f1000000000, 0x7f1000010000, 0,
         MAP_VOLATILE, "/dev/zero (deleted)"},
        {"00400000-00452000 r--p 00001000 08:02 173521 /usr/bin/x", false, 0, 0, 0, MAP_NONE, ""},
        {"00400000-00452000 rw-p 00001000 08:02 173521 /usr/bin/x", false, 0, 0, 0, MAP_NONE, ""},
        {"00400000-00452000", false, 0, 0, 0, MAP_NONE, ""},
        {"00400000", false, 0, 0, 0, MAP_NONE, ""},
        {"", false, 0, 0, 0, MAP_NONE, ""},
    };
    maps_set_loader(0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct map_range r;
        if (maps_parse_line(rows[i].line, &r) != rows[i].executable)
            fail_msg("%s", rows[i].line);
        if (!rows[i].executable)
            continue;
        assert_int_equal(r.start, rows[i].start);
        assert_int_equal(r.end, rows[i].end);
        assert_int_equal(r.file_offset, rows[i].offset);
        assert_string_equal(r.path, rows[i].path);
        if (r.kind != rows[i].kind)
            fail_msg("kind %d instead of %d: %s", r.kind, rows[i].kind, rows[i].line);
    }
}

static void test_maps_constants_and_sharing(void **state)
{
    (void)state;
    const unsigned short *constant = *__ctype_b_loc(); /* of libc: this program counts as ours, and ours is never told of */
    static uint64_t variable = 1;
    uint64_t local = 2;
    maps_read();
    assert_true(maps_is_constant((uint64_t)(uintptr_t)constant, 8));
    assert_false(maps_is_constant((uint64_t)(uintptr_t)&variable, 8));
    assert_false(maps_is_constant((uint64_t)(uintptr_t)&local, 8));
    assert_false(maps_is_constant((uint64_t)(uintptr_t)"of this program", 8));
    assert_false(maps_is_constant((uint64_t)(uintptr_t)stdout, 8)); /* libc's, but it may be written */
    uint64_t end = (uint64_t)(uintptr_t)constant & ~4095ULL;
    while (maps_is_constant(end, 8))
        end += 4096;
    assert_true(maps_is_constant(end - 8, 8));
    assert_false(maps_is_constant(end - 7, 8)); /* the last byte lies behind it */
    FILE *file = tmpfile(); /* read-only and private, but no module's: others may write the file */
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), 4096), 0);
    void *data = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    maps_read();
    assert_false(maps_is_constant((uint64_t)(uintptr_t)data, 8));
    assert_false(maps_is_shared());
    munmap(data, 4096);
    data = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
    maps_read();
    assert_true(maps_is_shared());
    munmap(data, 4096);
    maps_read();
    assert_false(maps_is_shared());
    (void)fclose(file);
}

static void test_maps_long_path_is_cut(void **state)
{
    (void)state;
    char line[600] = "00400000-00452000 r-xp 00000000 08:02 1 /";
    memset(line + strlen(line), 'x', 400);
    struct map_range r;
    assert_true(maps_parse_line(line, &r));
    assert_int_equal(strlen(r.path), sizeof r.path - 1);
    assert_int_equal(r.kind, MAP_TEXT);
}

static void test_maps_loader_is_found_by_its_header(void **state)
{
    (void)state;
    struct map_range r;
    maps_set_loader(0x7f2000000000);
    assert_true(maps_parse_line("7f2000001000-7f2000026000 r-xp 00001000 08:01 1 /lib/ld.so", &r));
    assert_int_equal(r.kind, MAP_LOADER);
    assert_true(maps_parse_line("7f2000030000-7f2000040000 r-xp 00001000 08:01 2 /lib/next.so", &r));
    assert_int_equal(r.kind, MAP_TEXT);
    maps_set_loader(0);
}

static void test_maps_of_this_process(void **state)
{
    (void)state;
    static int data;
    maps_forget();
    assert_int_equal(maps_kind(app_pc((uint64_t)(uintptr_t)&maps_find)), MAP_SELF);
    assert_int_equal(maps_kind(app_pc((uint64_t)(uintptr_t)&write)), MAP_TEXT); /* libc's or the sanitizer's */
    assert_int_equal(maps_kind(app_pc((uint64_t)(uintptr_t)&data)), MAP_NONE);
    assert_int_equal(maps_kind(app_pc(1)), MAP_NONE);
    uint8_t *p = mmap(NULL, 8192, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t at = (uint64_t)(uintptr_t)p;
    assert_int_equal(maps_kind(app_pc(at)), MAP_VOLATILE); /* unknown pc: read again without maps_forget */
    const struct map_range *r = maps_find(app_pc(at + 8191));
    assert_non_null(r);
    assert_true(maps_touches_code(at, at + 1));
    assert_true(maps_touches_code(at - 4096, at + 1));
    assert_false(maps_touches_code((uint64_t)(uintptr_t)&data, (uint64_t)(uintptr_t)&data + 4));
    munmap(p, 8192);
    maps_forget();
    assert_int_equal(maps_kind(app_pc(at)), MAP_NONE);
}

static void test_fail_specs(void **state)
{
    (void)state;
    static const char *const bad[] = {"mmap",    "mmap@",    "mmap@0", "mmap@x",          "mmap@1x",
                                      "mmap@+",  "mmap@1++", "mma@1",  "mmapp@1",         "@1",
                                      "mmap@-1", "mmap@ 1",  "x@1",    "mmap@99999999999"};
    static const char *const good[] = {"mmap@1",
                                       "munmap@1",
                                       "mprotect@1",
                                       "mremap@1",
                                       "open@1",
                                       "open_mem@1",
                                       "code_write@1",
                                       "membarrier@1",
                                       "perf_event_open@1",
                                       "timer_create@1",
                                       "timer_settime@1",
                                       "rt_sigaction@12+",
                                       ""};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(fail_set(good[i]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_true(fail_set("mmap@1"));
        if (fail_set(bad[i]))
            fail_msg("%s was accepted", bad[i]);
        assert_int_equal(fail_armed, -1);
    }
}

static bool map_works(void)
{
    void *p = mem_map(4096);
    if (p)
        mem_unmap(p, 4096);
    return p;
}

static void test_fail_once_and_from_then_on(void **state)
{
    (void)state;
    assert_true(fail_set("mmap@3"));
    for (int i = 1; i <= 6; i++)
        assert_int_equal(map_works(), i != 3);
    assert_int_equal(fail_count(), 1);
    assert_true(fail_set("mmap@3+"));
    for (int i = 1; i <= 6; i++)
        assert_int_equal(map_works(), i < 3);
    assert_int_equal(fail_count(), 4);
    assert_true(fail_set("open@1+"));
    assert_int_equal(sys_open("/proc/self/maps", 0, 0), -EMFILE);
    assert_true(map_works()); /* other calls are not touched */
    assert_true(fail_set(""));
    assert_int_equal(fail_count(), 0);
    long fd = sys_open("/proc/self/maps", 0, 0);
    assert_true(fd >= 0);
    assert_int_equal(sys_close(fd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_memory_is_zeroed_aligned_and_disjoint),
        cmocka_unit_test(test_arena_limit),
        cmocka_unit_test(test_arena_large),
        cmocka_unit_test(test_copy_zero_compare),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_fmt_numbers),
        cmocka_unit_test(test_fmt_never_overruns),
        cmocka_unit_test(test_fmt_pad_counts_from_the_line),
        cmocka_unit_test(test_fmt_path),
        cmocka_unit_test(test_maps_lines),
        cmocka_unit_test(test_maps_constants_and_sharing),
        cmocka_unit_test(test_maps_long_path_is_cut),
        cmocka_unit_test(test_maps_loader_is_found_by_its_header),
        cmocka_unit_test(test_maps_of_this_process),
        cmocka_unit_test(test_fail_specs),
        cmocka_unit_test(test_fail_once_and_from_then_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
