/* Copies of basic blocks: where they end, what text they trust, what is forgotten. Running them is test_fragments.c. */
#include "tests/unit/unit.h"

#include <sys/mman.h>

#include "runtime/base/maps.h"
#include "tests/unit/machine.h"

#define PAGE_AT 0x201000000000ULL

static uint8_t *page;

static int setup(void **state)
{
    (void)state;
    machine_reset(1 << 20, true);
    page = mmap((void *)(uintptr_t)PAGE_AT, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    memset(page, 0x90, 4096);
    maps_forget();
    return 0;
}

static void put(size_t at, const char *hex)
{
    uint8_t bytes[32];
    memcpy(page + at, bytes, unit_bytes(hex, bytes, sizeof bytes));
}

static struct block *get(size_t at)
{
    struct block *b;
    assert_ok(block_get(app_pc(PAGE_AT + at), &b));
    return b;
}

static void test_ends(void **state)
{
    (void)state;
    put(0, "48 01 d8 74 10"); /* add; je */
    struct block *b = get(0);
    assert_int_equal(b->kind, IK_JCC);
    assert_int_equal(b->cc, 4);
    assert_int_equal(b->insns, 2);
    assert_int_equal(b->next.v, PAGE_AT + 5);
    assert_int_equal(b->target, PAGE_AT + 21);
    assert_ptr_equal(get(0), b);
    assert_ptr_equal(block_find(app_pc(PAGE_AT)), b);
    assert_null(block_find(app_pc(PAGE_AT + 1)));
}

/* A system call, and what runs only natively, stand alone: the dispatcher sees the registers before them. */
static void test_system_calls_stand_alone(void **state)
{
    (void)state;
    put(0, "31 c0 0f 05 90 f4");
    struct block *before = get(0), *call = get(2), *after = get(4), *strange = get(5);
    assert_int_equal(before->kind, IK_PLAIN);
    assert_int_equal(before->next.v, PAGE_AT + 2);
    assert_int_equal(call->kind, IK_SYSCALL);
    assert_int_equal(call->insns, 1);
    assert_true(call->code.v && call->code_clone.v);
    assert_int_equal(after->next.v, PAGE_AT + 5);
    assert_int_equal(strange->kind, IK_STRANGE);
    assert_int_equal(strange->code.v, 0);
}

static void test_long_runs_are_cut(void **state)
{
    (void)state;
    struct block *b = get(0);
    assert_int_equal(b->kind, IK_PLAIN);
    assert_in_range(b->insns, 16, 64);
    assert_int_equal(b->next.v, PAGE_AT + b->insns);
}

static void test_a_bare_jump_has_no_copy(void **state)
{
    (void)state;
    put(0, "eb 10");
    assert_int_equal(get(0)->kind, IK_JMP);
    assert_int_equal(get(0)->code.v, 0);
}

/* BLK-2 */
static void test_volatile_text_is_compared(void **state)
{
    (void)state;
    put(0, "b8 01 00 00 00 c3");
    struct block *b = get(0);
    assert_int_equal(b->map_kind, MAP_VOLATILE);
    assert_non_null(b->source);
    assert_ptr_equal(get(0), b);
    put(1, "02");
    struct block *fresh = get(0);
    assert_ptr_not_equal(fresh, b);
    assert_ptr_equal(block_find(app_pc(PAGE_AT)), fresh);
    assert_int_equal(fresh->source[1], 2);
    put(5, "eb 00");
    assert_int_equal(get(0)->kind, IK_JMP); /* its terminator too */
}

static void test_volatile_text_ends_at_a_store(void **state)
{
    (void)state;
    put(0, "48 01 d8 48 89 07 48 01 d8 c3"); /* add; mov [rdi], rax; add; ret */
    assert_int_equal(get(0)->next.v, PAGE_AT + 6);
    put(100, "50 c3"); /* a push stores as well */
    assert_int_equal(get(100)->next.v, PAGE_AT + 101);
}

static void test_unmapped_is_strange(void **state)
{
    (void)state;
    struct block *b;
    assert_ok(block_get(app_pc(PAGE_AT + 8192), &b));
    assert_int_equal(b->kind, IK_STRANGE);
}

static void test_end_of_the_mapping(void **state)
{
    (void)state;
    put(4094, "0f 84"); /* half a je */
    struct block *b = get(4090);
    assert_int_equal(b->kind, IK_PLAIN);
    assert_int_equal(b->next.v, PAGE_AT + 4094);
    assert_int_equal(get(4094)->kind, IK_STRANGE);
}

static void test_flush_and_forget(void **state)
{
    (void)state;
    put(0, "90 c3");
    put(64, "90 c3");
    struct block *kept = get(64);
    get(0);
    block_forget_range(PAGE_AT + 1, PAGE_AT + 2); /* its last byte */
    assert_null(block_find(app_pc(PAGE_AT)));
    assert_ptr_equal(block_find(app_pc(PAGE_AT + 64)), kept);
    block_forget_range(PAGE_AT + 66, PAGE_AT + 100); /* right behind */
    assert_ptr_equal(block_find(app_pc(PAGE_AT + 64)), kept);
    uint64_t flushes = block_stats_get().flushes;
    block_flush();
    assert_null(block_find(app_pc(PAGE_AT + 64)));
    assert_int_equal(block_stats_get().flushes, flushes + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ends, setup),
        cmocka_unit_test_setup(test_system_calls_stand_alone, setup),
        cmocka_unit_test_setup(test_long_runs_are_cut, setup),
        cmocka_unit_test_setup(test_a_bare_jump_has_no_copy, setup),
        cmocka_unit_test_setup(test_volatile_text_is_compared, setup),
        cmocka_unit_test_setup(test_volatile_text_ends_at_a_store, setup),
        cmocka_unit_test_setup(test_unmapped_is_strange, setup),
        cmocka_unit_test_setup(test_end_of_the_mapping, setup),
        cmocka_unit_test_setup(test_flush_and_forget, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
