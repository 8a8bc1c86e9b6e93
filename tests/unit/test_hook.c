/* Hooks: in which order text is written (POKE-n), and what a hook does to the code it stands in (HK-n), which is run. */
#include "tests/unit/module.h"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fragcache/hook.h"
#include "fragcache/pun.h"
#include "runtime/base/maps.h"

static const struct site_ask any = {TACTIC_ALL, true}, no_threads = {TACTIC_ALL, false},
                             several = {TACTIC_BIT(TACTIC_SEVERAL), true};

/* --- a fragment: adds 1000 to rdi and goes on behind the site, or returns 77 */

static struct cache_pc fragment_near(const char *hex, uint64_t jump_to)
{
    static uint64_t area;
    static size_t used;
    uint64_t want = (module_text & ~0xffffULL) + 0x1000000;
    if (area - want > 0x1000 || !area) {
        area = (uint64_t)(uintptr_t)mmap((void *)want, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        used = 0;
    }
    struct asm_buf a = asm_on((void *)(area + used), 64, cache_pc(area + used));
    uint8_t bytes[32];
    asm_bytes(&a, bytes, unit_bytes(hex, bytes, sizeof bytes));
    if (jump_to)
        asm_jmp(&a, jump_to);
    assert_false(a.overflow);
    used += 64;
    return cache_pc(a.origin);
}

static uint64_t call_at(unsigned at, uint64_t x, uint64_t y)
{
    return ((uint64_t (*)(uint64_t, uint64_t))(module_text + at))(x, y);
}

static void dismiss(struct hook *h)
{
    uint8_t was[16];
    memcpy(was, h->original, sizeof was);
    assert_ok(hook_clear(h));
    assert_memory_equal((void *)h->at.v, was, h->written); /* HK-2 */
    hook_release(h);
    assert_int_equal(h->state, HOOK_FREE);
}

/* --- hooks that run */

static void check_hook(unsigned at, const struct site_ask *ask, bool switched, const char *fragment, unsigned back,
                       uint64_t native_result, uint64_t fragment_result)
{
    struct hook h = {0};
    struct cache_pc to = fragment_near(fragment, back ? module_text + back : 0);
    assert_true(call_at(0, 5, 3) == native_result);
    assert_ok(hook_place(&h, app_pc(module_text + at), ask, to, switched));
    assert_true(call_at(0, 5, 3) == fragment_result);
    assert_ok(hook_retarget(&h, h.native)); /* the other arm */
    assert_true(call_at(0, 5, 3) == native_result);
    assert_ok(hook_retarget(&h, to));
    assert_true(call_at(0, 5, 3) == fragment_result);
    uint64_t pc = 0;
    assert_true(hook_trap(module_text + at + 1, &pc)); /* HK-5 */
    assert_true(pc == h.native.v);
    assert_ok(hook_clear(&h));
    assert_true(call_at(0, 5, 3) == native_result);
    assert_memory_equal((void *)module_text, module_image + PAGE, 2 * PAGE); /* HK-2 */
    struct site s;
    struct site_ask same = {TACTIC_BIT(h.tactic), true};
    assert_ok(site_check(app_pc(module_text + at), &same, &s));
    uint64_t native = h.native.v;
    assert_ok(hook_set(&h, &s, to, switched)); /* again, in the same memory */
    assert_true(h.native.v == native);
    assert_true(call_at(0, 5, 3) == fragment_result);
    dismiss(&h);
}

static void check_all_ways(unsigned at, const struct site_ask *ask, const char *fragment, unsigned back,
                           uint64_t native_result, uint64_t fragment_result)
{
    for (enum poke_way way = POKE_AUTO; way <= POKE_PAGE; way++)
        for (int switched = 0; switched < 2; switched++) {
            poke_set_way(way);
            check_hook(at, ask, switched, fragment, back, native_result, fragment_result);
        }
    poke_set_way(POKE_AUTO);
}

#define ADD_1000 "48 81 c7 e8 03 00 00"

static void test_long(void **state)
{
    (void)state;
    module_load_function("48 81 c7 01 00 00 00 48 8d 04 37 c3"); /* add rdi, 1; lea rax, [rdi+rsi]; ret */
    check_all_ways(0, &any, ADD_1000, 7, 9, 1008);
    module_load_function("48 8b 05 09 00 00 00 48 01 f8 c3 90 90 90 90 90 2a 00 00 00 00 00 00 00"); /* mov rax, [rip+9] */
    check_all_ways(0, &any, "31 c0", 7, 47, 5);
    module_load_function("31 c0 48 85 ff 0f 84 01 00 00 00 c3 48 8d 04 37 c3"); /* ..; je 12; ret; lea; ret */
    check_all_ways(5, &any, "31 c0", 12, 0, 8);
    module_load_function("e9 03 00 00 00 31 c0 c3 48 8d 04 37 c3"); /* jmp 8 */
    check_all_ways(0, &any, "", 5, 8, 0);
    module_load_function("48 83 ec 08 e8 05 00 00 00 48 83 c4 08 c3 48 8d 04 37 c3"); /* call 14 */
    check_all_ways(4, &any, "6a 4d 58", 9, 8, 77);
}

static void test_pun(void **state)
{
    (void)state;
    module_load_function("48 89 f8 48 01 f0 c3"); /* mov rax, rdi; add rax, rsi: rel32 = 0148.... */
    check_all_ways(0, &any, "48 8d 87 e8 03 00 00", 3, 8, 1008);
    module_load_function("31 c0 48 8d 04 37 c3"); /* xor; lea rax, [rdi+rsi]: rel32 = 048d48.. */
    check_all_ways(0, &any, ADD_1000, 2, 8, 1008);
    module_load_function("48 8d 04 37 48 89 c0 c3");
    check_all_ways(0, &any, "6a 4d 58", 4, 8, 77);
    module_load_function("31 c0 48 85 ff 75 01 c3 48 8d 04 37 c3"); /* jne 8 */
    check_all_ways(5, &any, "", 7, 8, 0);
    module_load_function("48 89 f1 31 c0 e2 07 6a 4d 58 c3 90 90 90 48 8d 04 37 c3"); /* loop 14: taken */
    check_all_ways(5, &any, "", 7, 8, 77);
    module_load_function("48 89 f1 31 c0 e3 07 6a 4d 58 c3 90 90 90 48 8d 04 37 c3"); /* jrcxz 14: not taken */
    check_all_ways(5, &any, "", 14, 77, 8);
}

static void test_several_runs(void **state)
{
    (void)state;
    module_load_function("31 c0 48 01 f8 48 01 f0 c3");
    check_all_ways(0, &several, "48 8d 87 e8 03 00 00", 5, 8, 1008);
    module_load_function("85 ff 75 00 50 59 48 8d 04 37 c3"); /* test; jne 4: among them */
    assert_rc(module_ask_site(0, &several), RC_HOOK_INTERIOR);
    module_load_function("31 c0 85 ff 75 02 90 c3 48 8d 04 37 c3"); /* xor; test; jne 8 */
    check_all_ways(0, &several, "31 c0", 7, 8, 0);
}

static void test_across_two_pages(void **state)
{
    (void)state;
    for (unsigned at = PAGE - 7; at <= PAGE; at++) {
        static const unsigned whole[][2] = {{0, 2 * PAGE}, {0, 0}};
        module_clear();
        memset(module_image + PAGE, 0x90, 2 * PAGE);
        module_code(at, "48 81 c7 01 00 00 00 48 8d 04 37 c3");
        module_load(whole, 0);
        check_all_ways(at, &any, ADD_1000, at + 7, 9, 1008);
    }
}

static void test_hk4_neighbours(void **state)
{
    (void)state;
    module_load_function("90 48 89 f8 48 01 f0 48 81 c7 01 00 00 00 c3"); /* nop; 1: mov; 4: add; 7: add imm; ret */
    struct hook h = {0}, other = {0};
    struct cache_pc to = fragment_near("48 89 f8", module_text + 4);
    assert_ok(hook_place(&h, app_pc(module_text + 1), &no_threads, to, false));
    assert_int_equal(h.tactic, TACTIC_PUN);
    assert_rc(hook_place(&other, app_pc(module_text + 1), &no_threads, to, false), RC_HOOK_OVERLAP);
    assert_rc(hook_place(&other, app_pc(module_text + 4), &any, to, false), RC_HOOK_OVERLAP); /* its bytes end our jump */
    assert_rc(module_ask_site(4, &any), RC_HOOK_OVERLAP);
    assert_rc(hook_place(&other, app_pc(module_text), &several, to, false), RC_HOOK_OVERLAP);
    assert_ok(hook_place(&other, app_pc(module_text + 7), &any, fragment_near("", module_text + 14), false));
    uint8_t bytes[20] = {0};
    assert_true(hook_overlay(module_text + 2, memcpy(bytes, (void *)(module_text + 2), 10), 10));
    assert_memory_equal(bytes, module_image + PAGE + 2, 10);
    assert_int_equal(bytes[10], 0);
    assert_false(hook_overlay(module_text + 12, bytes, 3));
    assert_int_equal(hook_counts_get().live[TACTIC_PUN], 1);
    dismiss(&h);
    dismiss(&other);
    assert_ok(hook_place(&other, app_pc(module_text + 4), &any, fragment_near("48 01 f0", module_text + 7), false));
    const struct site_ask pun = {TACTIC_BIT(TACTIC_PUN), false};
    assert_rc(hook_place(&h, app_pc(module_text + 1), &pun, to, false), RC_HOOK_OVERLAP); /* it would end there */
    dismiss(&other);
    assert_int_equal(hook_counts_get().live[TACTIC_PUN], 0);
    assert_false(hook_overlay(module_text, bytes, 15));
}

/* A branch that a hook has displaced still lands where it did. */
static void test_site2_displaced_branches_count(void **state)
{
    (void)state;
    module_load_function("31 c0 48 01 f8 c3 0f 84 f6 ff ff ff c3"); /* 6: je 2 */
    assert_rc(module_ask_site(0, &several), RC_HOOK_INTERIOR);
    struct hook h = {0};
    assert_ok(hook_place(&h, app_pc(module_text + 6), &any, fragment_near("c3", 0), false));
    assert_rc(module_ask_site(0, &several), RC_HOOK_INTERIOR);
    dismiss(&h);
}

static void test_changed_text(void **state)
{
    (void)state;
    module_load_function("48 81 c7 01 00 00 00 48 8d 04 37 c3");
    struct site s;
    struct hook h = {0};
    assert_ok(site_check(app_pc(module_text), &any, &s));
    s.bytes[6] ^= 1;
    assert_rc(hook_set(&h, &s, cache_pc(module_text), false), RC_HOOK_CHANGED);
    assert_int_equal(h.state, HOOK_FREE);
    assert_memory_equal((void *)module_text, module_image + PAGE, PAGE);
}

/* --- the order of writing */

static char journal[256];
static int fail_write_at, fail_sync_at, writes, syncs;
static bool refuse_mem;

static bool io_write(enum poke_way way, uint64_t at, const void *bytes, size_t len)
{
    if (at < module_text || at >= module_text + 2 * PAGE)
        return poke_io_system.write(way, at, bytes, len); /* near memory */
    if (refuse_mem && way == POKE_MEM) {
        code_refuse_mem();
        return false;
    }
    if (++writes == fail_write_at)
        return false;
    size_t n = strlen(journal);
    snprintf(journal + n, sizeof journal - n, "%c%d+%zu%s ", way == POKE_PAGE ? 'p' : 'm', (int)(at - module_text), len,
             *(const uint8_t *)bytes == 0xcc ? "!" : "");
    return poke_io_system.write(way, at, bytes, len);
}

static bool io_sync(void)
{
    if (++syncs == fail_sync_at)
        return false;
    strcat(journal, "| ");
    return poke_io_system.sync();
}

static void journal_on(int write_failure, int sync_failure)
{
    static const struct poke_io recording = {io_write, io_sync};
    journal[0] = 0;
    writes = syncs = 0;
    fail_write_at = write_failure;
    fail_sync_at = sync_failure;
    poke_set_io(&recording);
}

static void test_poke1_order(void **state)
{
    (void)state;
    module_load_function("48 81 c7 01 00 00 00 48 8d 04 37 c3");
    struct hook h = {0};
    struct cache_pc to = fragment_near("", module_text + 7);
    journal_on(0, 0);
    assert_ok(hook_place(&h, app_pc(module_text), &any, to, false));
    assert_string_equal(journal, "| m0+1! | m1+4 | m0+1 | "); /* the first: is there a sync */
    journal[0] = 0;
    assert_ok(hook_clear(&h));
    assert_string_equal(journal, "m0+1! | m1+4 | m0+1 | ");
    hook_release(&h);
    poke_set_alone(true);
    journal[0] = 0;
    assert_ok(hook_place(&h, app_pc(module_text), &any, to, true));
    assert_string_equal(journal, "m0+5 | ");
    journal[0] = 0;
    assert_ok(hook_retarget(&h, h.native));
    assert_string_equal(journal, ""); /* a store */
    poke_set_alone(false);
    dismiss(&h);
    poke_set_way(POKE_PAGE);
    journal[0] = 0;
    assert_ok(hook_place(&h, app_pc(module_text), &any, to, false));
    assert_string_equal(journal, "p0+5 | ");
    assert_true(poke_replaced_page(module_text + 4095));
    assert_false(poke_replaced_page(module_text + 4096));
    maps_forget();
    assert_rc(module_ask_site(7, &any), RC_OK); /* no longer file-backed, but known */
    dismiss(&h);
    hook_forget_range(0, UINT64_MAX);
    assert_false(poke_replaced_page(module_text)); /* nor is any other, and the question ends */
    module_load_function("48 81 c7 01 00 00 00 48 8d 04 37 c3");
    poke_set_way(POKE_AUTO);
    refuse_mem = true;
    journal[0] = 0;
    assert_ok(hook_place(&h, app_pc(module_text), &any, to, false));
    assert_string_equal(journal, "p0+1! | p1+4 | p0+1 | ");
    journal[0] = 0;
    dismiss(&h);
    assert_string_equal(journal, "p0+5 | ");
    assert_int_equal(poke_way_in_use(), POKE_PAGE);
    poke_set_way(POKE_AUTO);
    refuse_mem = false;
    poke_set_io(NULL);
}

static void test_refused_writes(void **state)
{
    (void)state;
    module_load_function("48 81 c7 01 00 00 00 48 8d 04 37 c3");
    struct cache_pc to = fragment_near("", module_text + 7);
    poke_set_way(POKE_MEM);
    for (int n = 1; n <= 3; n++) {
        struct hook h = {0};
        journal_on(n, 0);
        assert_rc(hook_place(&h, app_pc(module_text), &any, to, false), RC_CODE_WRITE);
        assert_int_equal(h.state, HOOK_FREE); /* went back */
        assert_memory_equal((void *)module_text, module_image + PAGE, PAGE);
        journal_on(0, 0);
        assert_ok(hook_place(&h, app_pc(module_text), &any, to, false));
        journal_on(n, 0);
        assert_rc(hook_clear(&h), RC_CODE_WRITE);
        assert_int_equal(h.state, HOOK_LIVE);
        assert_true(call_at(0, 5, 3) == 8);
        journal_on(0, 0);
        dismiss(&h);
    }
    struct hook h = {0};
    journal_on(0, 1);
    assert_rc(hook_place(&h, app_pc(module_text), &any, to, false), RC_HOOK_SYNC);
    assert_string_equal(journal, "");
    assert_int_equal(h.state, HOOK_FREE);
    poke_set_way(POKE_AUTO);
    poke_set_io(NULL);
}

static bool no_more_writes;
static bool io_write_once(enum poke_way way, uint64_t at, const void *bytes, size_t len)
{
    bool in_text = at >= module_text && at < module_text + PAGE;
    if (in_text && no_more_writes)
        return false;
    no_more_writes |= in_text;
    return poke_io_system.write(way, at, bytes, len);
}

static void test_stuck(void **state)
{
    (void)state;
    static const struct poke_io once = {io_write_once, io_sync};
    module_load_function("48 81 c7 01 00 00 00 48 8d 04 37 c3");
    struct hook h = {0};
    poke_set_way(POKE_MEM);
    journal_on(0, 0);
    poke_set_io(&once);
    no_more_writes = false;
    assert_rc(hook_place(&h, app_pc(module_text), &any, fragment_near("", module_text + 7), false), RC_CODE_WRITE);
    assert_int_equal(h.state, HOOK_STUCK);
    assert_true(poke_is_int3(module_text));
    uint64_t pc;
    assert_true(hook_trap(module_text + 1, &pc)); /* threads go on all the same */
    assert_int_equal(((uint64_t (*)(uint64_t, uint64_t))pc)(5, 3), 9);
    assert_int_equal(hook_counts_get().stuck, 1);
    hook_release(&h);
    assert_int_equal(h.state, HOOK_STUCK);
    no_more_writes = false;
    poke_set_io(NULL);
    dismiss(&h);
    assert_int_equal(hook_counts_get().stuck, 0);
    poke_set_way(POKE_AUTO);
}

/* --- what signal handlers ask */

static void test_hk5_traps(void **state)
{
    (void)state;
    module_load_function("48 81 c7 01 00 00 00 48 8d 04 37 c3");
    struct hook h = {0};
    uint64_t pc = 0;
    assert_false(hook_trap(module_text + 1, &pc));
    assert_ok(hook_place(&h, app_pc(module_text), &any, fragment_near("", module_text + 7), false));
    assert_false(hook_trap(module_text + 2, &pc));
    uint64_t native = h.native.v;
    assert_true(hook_trap(module_text + 1, &pc) && pc == native);
    assert_ok(hook_clear(&h));
    assert_true(hook_trap(module_text + 1, &pc) && pc == native); /* too late, and right */
    hook_release(&h);
    assert_true(hook_trap(module_text + 1, &pc) && pc == module_text); /* again: the instruction is there */
    assert_ok(hook_place(&h, app_pc(module_text), &any, fragment_near("", module_text + 7), false));
    hook_forget_range(module_text - PAGE, module_text + 8 * PAGE);
    assert_int_equal(h.state, HOOK_CLEARED);
    mprotect((void *)module_text, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
    *(uint8_t *)module_text = 0xcc; /* somebody else's module_text now, with an int3 of its own */
    assert_false(hook_trap(module_text + 1, &pc));
    hook_release(&h);
}

/* Somebody else, a debugger or the kernel for its probes, has changed another byte there. */
static void test_pages_that_are_not_the_files_stay(void **state)
{
    (void)state;
    struct hook h = {0};
    for (int changed = 0; changed < 2; changed++) {
        module_clear();
        module_code(0, "48 81 c7 01 00 00 00 48 8d 04 37 c3");
        module_load(module_one_function, MODULE_KEPT);
        poke_set_way(POKE_PAGE);
        poke_set_alone(false);
        poke_set_traps(false);
        const uint8_t byte = 0x90;
        const struct code_piece piece = {module_text + 3000, &byte, 1};
        if (changed)
            assert_true(code_write_mem(&piece, 1));
        rc_t rc = hook_place(&h, app_pc(module_text), &any, fragment_near("", module_text + 7), false);
        assert_int_equal(rc == RC_OK, !changed);
        if (!changed) {
            assert_int_equal(poke_next_replaced(module_text - PAGE, module_text + 1), module_text);
            assert_int_equal(poke_next_replaced(module_text + PAGE, module_text + 2 * PAGE), 0);
            dismiss(&h);
        }
        module_forget_file();
        poke_set_traps(true);
        poke_set_way(POKE_AUTO);
    }
}

static void test_native_pc(void **state)
{
    (void)state;
    struct app_pc pc;
    module_load_function("48 83 ec 08 e8 05 00 00 00 48 83 c4 08 c3 48 8d 04 37 c3"); /* call 14 */
    struct hook h = {0}, two = {0};
    assert_ok(hook_place(&h, app_pc(module_text + 4), &any, fragment_near("", module_text + 9), true));
    assert_true(hook_native_pc(h.gate.v, &pc) && pc.v == module_text + 4);
    assert_true(hook_native_pc(h.native.v, &pc) && pc.v == module_text + 4);
    assert_true(hook_native_pc(h.native.v + 6, &pc) && pc.v == module_text + 14); /* the return address is pushed */
    assert_false(hook_native_pc(module_text + 4, &pc));
    uint64_t native = h.native.v;
    dismiss(&h);
    assert_false(hook_native_pc(native, &pc));
    module_load_function("31 c0 85 ff 75 02 90 c3 48 8d 04 37 c3");
    assert_ok(hook_place(&two, app_pc(module_text), &several, fragment_near("", module_text + 7), false));
    assert_true(hook_native_pc(two.native.v + 2, &pc) && pc.v == module_text + 2);
    assert_true(hook_native_pc(two.native.v + 4, &pc) && pc.v == module_text + 4);
    assert_true(hook_native_pc(two.native.v + 10, &pc) && pc.v == module_text + 6);
    dismiss(&two);
}

static void test_poke2_poke3_no_page_writable_no_descriptor_open(void **state)
{
    (void)state;
    char line[512], path[300];
    unsigned long start, end;
    module_load_function("48 89 f8 48 01 f0 c3");
    struct hook h = {0};
    poke_set_way(POKE_PAGE);
    assert_ok(hook_place(&h, app_pc(module_text), &any, fragment_near("", module_text + 3), false));
    poke_set_way(POKE_AUTO);
    FILE *maps = fopen("/proc/self/maps", "r");
    int seen = 0;
    while (fgets(line, sizeof line, maps)) {
        char prot[8];
        assert_int_equal(sscanf(line, "%lx-%lx %7s", &start, &end, prot), 3);
        if ((module_text >= start && module_text < end) || (h.gate.v >= start && h.gate.v < end) ||
            (h.native.v >= start && h.native.v < end)) {
            assert_string_equal(prot, "r-xp");
            seen++;
        }
    }
    fclose(maps);
    assert_int_equal(seen, 3);
    dismiss(&h);
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
        ssize_t n = readlink(path, line, sizeof line - 1);
        line[n > 0 ? n : 0] = 0;
        assert_null(strstr(line, "/mem"));
        assert_null(strstr(line, "test_hook_"));
    }
    closedir(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_pun),
        cmocka_unit_test(test_several_runs),
        cmocka_unit_test(test_across_two_pages),
        cmocka_unit_test(test_hk4_neighbours),
        cmocka_unit_test(test_site2_displaced_branches_count),
        cmocka_unit_test(test_changed_text),
        cmocka_unit_test(test_poke1_order),
        cmocka_unit_test(test_refused_writes),
        cmocka_unit_test(test_stuck),
        cmocka_unit_test(test_hk5_traps),
        cmocka_unit_test(test_pages_that_are_not_the_files_stay),
        cmocka_unit_test(test_native_pc),
        cmocka_unit_test(test_poke2_poke3_no_page_writable_no_descriptor_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
