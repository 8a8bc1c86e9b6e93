/* Which sites may be hooked, how, and why not (SITE-n); where punned jumps lead and their pieces lie (PUN-n). */
#include "tests/unit/module.h"

#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fragcache/hook.h"
#include "fragcache/pun.h"
#include "runtime/base/maps.h"

static const unsigned no_function[][2] = {{0, 0}};
static const struct site_ask any = {TACTIC_ALL, true}, several = {TACTIC_BIT(TACTIC_SEVERAL), true};

static enum hook_tactic tactic_of(unsigned at)
{
    struct site s;
    assert_ok(site_check(app_pc(module_text + at), &any, &s));
    return s.tactic;
}

static void test_site1_only_file_text(void **state)
{
    (void)state;
    struct site s;
    void *p = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t loader = getauxval(AT_BASE);
    maps_set_loader(loader);
    maps_forget();
    assert_rc(site_check(app_pc((uint64_t)(uintptr_t)p), &any, &s), RC_NOT_FILE_TEXT);
    assert_rc(site_check(app_pc(16), &any, &s), RC_NOT_FILE_TEXT);
    assert_rc(site_check(app_pc((uint64_t)(uintptr_t)&site_check), &any, &s), RC_SELF);
    assert_rc(site_check(app_pc(loader + 0x2000), &any, &s), RC_LOADER);
    module_clear();
    module_code(0, "48 81 c7 01 00 00 00 c3");
    module_load(module_one_function, MODULE_UNLINKED);
    assert_rc(module_ask_site(0, &any), RC_HOOK_MODULE);
    module_load(module_one_function, MODULE_NO_SECTIONS); /* nobody can tell where its rseq sections are */
    assert_rc(module_ask_site(0, &any), RC_HOOK_MODULE);
    module_load(module_one_function, 0);
    assert_rc(module_ask_site(0, &any), RC_OK);
    assert_rc(module_ask_site(2 * PAGE - 8, &any), RC_NOT_FILE_TEXT);
}

static void test_tactic_by_length(void **state)
{
    (void)state;
    module_load_function("48 81 c7 01 00 00 00 " /* 0: add rdi, 1 */
              "48 01 f8 48 89 c0 " /* 7: add rax, rdi; mov rax, rax: a tail of 48 89 */
              "31 c0 48 89 c0 " /* 13: xor eax, eax */
              "90 0f 05 c3"); /* 18: nop; syscall; ret */
    assert_int_equal(tactic_of(0), TACTIC_LONG);
    assert_int_equal(tactic_of(7), TACTIC_PUN);
    assert_int_equal(tactic_of(13), TACTIC_PUN);
    assert_rc(module_ask_site(18, &(struct site_ask){TACTIC_BIT(TACTIC_LONG) | TACTIC_BIT(TACTIC_PUN), true}), RC_HOOK_SHORT);
    assert_rc(module_ask_site(19, &any), RC_SYSCALL);
    assert_rc(module_ask_site(21, &any), RC_HOOK_KIND);
    assert_rc(module_ask_site(22, &any), RC_HOOK_KIND); /* int3 */
    assert_rc(module_ask_site(7, &(struct site_ask){TACTIC_BIT(TACTIC_LONG), true}), RC_HOOK_SHORT);
}

static void test_site2_a_branch_past_a_prefix(void **state)
{
    (void)state;
    module_load_function("74 01 f0 48 0f b1 0d 00 00 00 00 c3"); /* je 3; lock; 3: cmpxchg [rip], rcx */
    assert_rc(module_ask_site(2, &any), RC_HOOK_INTERIOR);
    module_load_function("74 00 f0 48 0f b1 0d 00 00 00 00 c3"); /* je 2 */
    assert_rc(module_ask_site(2, &any), RC_OK);
    module_load_function("0f 84 01 00 00 00 f0 48 0f b1 0d 00 00 00 00 c3"); /* je rel32 */
    assert_rc(module_ask_site(6, &any), RC_HOOK_INTERIOR);
    module_load_function("b8 74 04 90 90 48 81 c7 01 00 00 00 c3"); /* 74 04 is part of an immediate: no branch */
    assert_rc(module_ask_site(5, &any), RC_OK);
    module_clear();
    module_code(0, "b8 74 04 90 90 48 81 c7 01 00 00 00 c3"); /* the same where no bounds are known: who can tell */
    module_load(no_function, 0);
    assert_rc(module_ask_site(5, &any), RC_HOOK_INTERIOR);
}

#define TWO_SHORT "31 c0 48 01 f8 c3 " /* xor eax, eax; add rax, rdi; ret */

static void test_several(void **state)
{
    (void)state;
    module_load_function(TWO_SHORT);
    struct site s;
    assert_ok(site_check(app_pc(module_text), &several, &s));
    assert_int_equal(s.tactic, TACTIC_SEVERAL);
    assert_int_equal(s.insn_count, 2);
    assert_int_equal(s.len, 5);
    const struct site_ask others = {TACTIC_BIT(TACTIC_SEVERAL), false};
    assert_rc(module_ask_site(0, &others), RC_HOOK_THREADS);
    module_load_function(TWO_SHORT "48 81 c7 01 00 00 00 eb f4"); /* jmp 2 */
    assert_rc(module_ask_site(0, &several), RC_HOOK_INTERIOR);
    module_load_function(TWO_SHORT "48 81 c7 01 00 00 00 eb f1"); /* jmp -1: not among them */
    assert_rc(module_ask_site(0, &several), RC_OK);
    module_load_function(TWO_SHORT "ff e0"); /* jmp rax */
    assert_rc(module_ask_site(0, &several), RC_HOOK_INDIRECT);
    module_load_function("50 e8 00 00 00 00 c3"); /* push; call: the call is the last */
    assert_rc(module_ask_site(0, &several), RC_OK);
    module_load_function("ff d0 48 89 c0 c3"); /* call rax returns among them */
    assert_rc(module_ask_site(0, &several), RC_HOOK_KIND);
    module_load_function("eb 00 48 89 c0 c3"); /* what follows a jmp is entered from elsewhere */
    assert_rc(module_ask_site(0, &several), RC_HOOK_KIND);
    module_clear();
    module_code(0, TWO_SHORT);
    module_load(module_one_function, MODULE_LANDING_PADS);
    assert_rc(module_ask_site(0, &several), RC_HOOK_INDIRECT);
    module_load(no_function, 0);
    assert_rc(module_ask_site(0, &several), RC_HOOK_BOUNDS);
    static const unsigned ends_early[][2] = {{0, 4}, {0, 0}}, two[][2] = {{0, 16}, {4096, 4112}, {0, 0}};
    module_load(ends_early, 0);
    assert_rc(module_ask_site(0, &several), RC_HOOK_KIND); /* an instruction cut by the function's end is none */
    module_code(PAGE, "90 90 e9 fb ef ff ff"); /* another function, far away: jmp 2 */
    module_load(two, 0);
    assert_rc(module_ask_site(0, &several), RC_HOOK_INTERIOR);
    module_code(PAGE + 3, "f9 ef ff ff"); /* jmp 0 */
    module_load(two, 0);
    assert_rc(module_ask_site(0, &several), RC_OK);
    module_code(6, "e9 f5 0f 00 00"); /* it jumps to that function, which has a jump table */
    module_code(PAGE, "ff 24 c5 00 00 00 00");
    module_load(two, 0);
    assert_rc(module_ask_site(0, &several), RC_HOOK_INDIRECT);
    module_code(PAGE, "ff 25 00 00 00 00 90"); /* jmp [rip]: one target, as in a PLT */
    module_load(two, 0);
    assert_rc(module_ask_site(0, &several), RC_OK);
}

static void test_site3_rseq(void **state)
{
    (void)state;
    module_clear();
    for (unsigned i = 0; i < 96; i += 8)
        module_code(i, "48 81 c7 01 00 00 00 90");
    module_load(module_one_function, MODULE_RSEQ);
    static const rc_t expected[] = {RC_OK, RC_OK, RC_HOOK_RSEQ, RC_HOOK_RSEQ, RC_OK, RC_OK, RC_OK, RC_HOOK_RSEQ, RC_OK};
    module_code(56, "90 48 81 c7 01 00 00 00"); /* over the signature before the abort handler at 64 */
    module_load(module_one_function, MODULE_RSEQ);
    for (unsigned i = 0; i < ARRAY_LEN(expected); i++)
        assert_rc(module_ask_site(i == 7 ? 57 : i * 8, &any), expected[i]);
}

static void test_function_bounds(void **state)
{
    (void)state;
    static const unsigned bounds[][2] = {{16, 32}, {32, 40}, {64, 80}, {0, 0}};
    struct site_function f;
    module_clear();
    module_load(bounds, 0);
    assert_false(site_function_find(app_pc(module_text + 15), &f));
    assert_true(site_function_find(app_pc(module_text + 16), &f));
    assert_int_equal(f.start, module_text + 16);
    assert_int_equal(f.end, module_text + 32);
    assert_false(f.landing_pads);
    assert_true(site_function_find(app_pc(module_text + 39), &f));
    assert_int_equal(f.start, module_text + 32);
    assert_false(site_function_find(app_pc(module_text + 40), &f)); /* between two */
    assert_true(site_function_find(app_pc(module_text + 79), &f));
    assert_false(site_function_find(app_pc(module_text + 80), &f));
    module_load(bounds, MODULE_LANDING_PADS);
    assert_true(site_function_find(app_pc(module_text + 16), &f));
    assert_true(f.landing_pads);
}

/* --- puns and near memory */

static void test_pun_windows_and_bytes_agree(void **state)
{
    (void)state;
    srand(7);
    unsigned checked = 0;
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[PUN_MAX_BYTES], jump[PUN_MAX_BYTES];
        struct near_window w;
        const struct app_pc at = app_pc(round & 1 ? 0x555555555000 : 0x401000);
        unsigned len = PUN_MIN_LEN + (unsigned)rand() % 3, pad = (unsigned)rand() % len;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)rand();
        if (!pun_window(at, bytes, len, pad, &w))
            continue;
        assert_int_equal(w.size, 1ULL << (8 * (len - 1 - pad)));
        uint64_t to = w.start + (uint64_t)rand() % w.size;
        assert_true(pun_encode(at, bytes, len, pad, to, jump));
        memcpy(jump + len, bytes + len, sizeof bytes - len);
        struct insn in = unit_decode_bytes(jump, sizeof jump, at.v);
        assert_int_equal(in.kind, IK_JMP);
        assert_int_equal(in.len, SITE_JUMP_BYTES + pad);
        assert_true(in.target == to);
        assert_false(pun_encode(at, bytes, len, pad, w.start - 1, jump));
        assert_false(pun_encode(at, bytes, len, pad, w.start + w.size, jump));
        checked++;
    }
    assert_true(checked > 10000);
}

static void test_pun2_pieces_do_not_overlap(void **state)
{
    (void)state;
    static uint8_t taken[2 * PAGE];
    const uint64_t at = 0x250000000000;
    struct near_window w = {at, 2 * PAGE};
    uint64_t piece[4096];
    int n = 0;
    for (; near_reserve(NEAR_CODE, w, 12, 9, &piece[n]) == RC_OK; n++)
        for (int i = 0; i < 12; i++)
            assert_int_equal(taken[piece[n] - at + (unsigned)i]++, 0);
    assert_int_equal(n, 2 * (PAGE / 16));
    assert_int_equal(near_owner(piece[3] + 11), 9);
    near_free(piece[3], 12);
    assert_int_equal(near_owner(piece[3]), 0);
    w = (struct near_window){piece[3] + 3, 1};
    uint64_t exact;
    assert_ok(near_reserve(NEAR_CODE, w, 6, 10, &exact)); /* one address only */
    assert_true(exact == piece[3] + 3);
    assert_rc(near_reserve(NEAR_CODE, w, 6, 11, &exact), RC_HOOK_PLACE);
    w = (struct near_window){at + 16 * PAGE - 3, 1};
    assert_rc(near_reserve(NEAR_CODE, w, 6, 11, &exact), RC_HOOK_PLACE); /* would cross the page */
    w = (struct near_window){(uint64_t)(uintptr_t)&state & ~(uint64_t)(PAGE - 1), PAGE};
    assert_rc(near_reserve(NEAR_CODE, w, 6, 11, &exact), RC_HOOK_PLACE); /* somebody else's */
    w = (struct near_window){((uint64_t)(uintptr_t)&state & ~(uint64_t)(PAGE - 1)) - (64u << 20), PAGE};
    assert_rc(near_reserve(NEAR_CODE, w, 6, 11, &exact), RC_HOOK_PLACE); /* where the stack grows */
    w = (struct near_window){(uint64_t)(uintptr_t)sbrk(0) + (32u << 20), PAGE};
    assert_rc(near_reserve(NEAR_DATA, w, 6, 11, &exact), RC_HOOK_PLACE); /* where the heap grows */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_site1_only_file_text),
        cmocka_unit_test(test_tactic_by_length),
        cmocka_unit_test(test_site2_a_branch_past_a_prefix),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_site3_rseq),
        cmocka_unit_test(test_function_bounds),
        cmocka_unit_test(test_pun_windows_and_bytes_agree),
        cmocka_unit_test(test_pun2_pieces_do_not_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
