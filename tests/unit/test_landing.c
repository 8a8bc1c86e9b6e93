/* The map of what far branches lead to, against a search through random text. Its file is part of this one: what hooks have
 * displaced is scripted. */
#include "fragcache/landing.c" /* NOLINT(bugprone-suspicious-include) */

#include "tests/unit/unit.h"

#include <stdlib.h>

#define BYTES 40000u

static uint8_t *text;
static struct hook displaced;

void hook_each(void (*fn)(struct hook *h, void *arg), void *arg) { fn(&displaced, arg); }

static int random_text(void **state)
{
    (void)state;
    text = realloc(text, BYTES);
    srand(7);
    for (unsigned i = 0; i < BYTES; i++)
        text[i] = (uint8_t)(rand() >> 8);
    /* Branches that stay inside, which random bytes seldom are. */
    for (unsigned i = 16; i + 6 < BYTES; i += 48) {
        static const uint8_t ops[] = {0xe8, 0xe9, 0x80, 0x8f, 0xf8};
        uint8_t op = ops[rand() % 5];
        int32_t rel = rand() % (int)BYTES - (int)i - 5;
        text[i - 1] = op == 0xf8 ? 0xc7 : 0x0f;
        text[i] = op;
        memcpy(text + i + 1, &rel, 4);
    }
    landing_forget();
    displaced = (struct hook){0};
    return 0;
}

static bool searched(uint64_t start, uint64_t end, uint64_t lo, uint64_t hi)
{
    for (uint64_t e = start + 5; e <= end; e++) {
        int32_t rel;
        memcpy(&rel, (const void *)(e - 4), 4);
        uint64_t to = e + (uint64_t)(int64_t)rel;
        if (to >= lo && to < hi && landing_opcode(e, start))
            return true;
    }
    return false;
}

static void test_the_map_finds_what_a_search_finds(void **state)
{
    int found = 0;
    uint64_t base = (uint64_t)(uintptr_t)text;
    (void)state;
    for (int i = 0; i < 2000; i++) { /* more texts than maps, so that they are made again */
        uint64_t start = base + (uint64_t)(i % 100) * 64, end = base + BYTES - (uint64_t)(i % 3) * 8000;
        uint64_t lo = start + (uint64_t)rand() % (end - start - 16), hi = lo + 1 + (uint64_t)rand() % 14;
        bool want = searched(start, end, lo, hi);
        assert_int_equal(landing_possible(start, end, lo, hi), want);
        found += want;
    }
    assert_in_range(found, 20, 1900);
}

static void test_opcodes(void **state)
{
    static const struct {
        uint8_t before[2];
        bool branch;
    } cases[] = {{{0x90, 0xe8}, true}, {{0x90, 0xe9}, true}, {{0x0f, 0x80}, true}, {{0x0f, 0x8f}, true}, {{0xc7, 0xf8}, true},
                 {{0x90, 0x8f}, false}, {{0x0f, 0x90}, false}, {{0x0f, 0x7f}, false}, {{0x90, 0xf8}, false}, {{0x90, 0xea}, false},
                 {{0x90, 0xe7}, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t code[6] = {cases[i].before[0], cases[i].before[1]};
        uint64_t at = (uint64_t)(uintptr_t)code;
        assert_int_equal(landing_opcode(at + 6, at), cases[i].branch);
    }
    uint8_t cut[6] = {0x0f, 0x85};
    uint64_t at = (uint64_t)(uintptr_t)cut;
    assert_false(landing_opcode(at + 6, at + 1)); /* its first byte is not part of the text */
}

static void test_a_branch_that_a_hook_displaced_counts(void **state)
{
    (void)state;
    memset(text, 0x90, BYTES);
    uint64_t base = (uint64_t)(uintptr_t)text;
    assert_false(landing_possible(base, base + BYTES, base + 9000, base + 9004));
    landing_forget();
    displaced.branch_count = 1;
    displaced.branch[0] = base + 9002;
    assert_true(landing_possible(base, base + BYTES, base + 9000, base + 9004));
    assert_false(landing_possible(base, base + BYTES, base + 9003, base + 9007));
    displaced.branch_count = 0; /* it is in the text again */
    assert_true(landing_possible(base, base + BYTES, base + 9000, base + 9004));
}

static void test_what_is_not_mapped_out_is_possible(void **state)
{
    (void)state;
    memset(text, 0x90, BYTES);
    uint64_t base = (uint64_t)(uintptr_t)text;
    assert_true(landing_possible(base, base + LEAST_BYTES - 1, base + 8, base + 12));
    assert_true(landing_possible(base, base + MOST_BYTES + 1, base + 8, base + 12));
    assert_true(landing_possible(base + 100, base + BYTES, base + 99, base + 102));
    assert_true(landing_possible(base, base + BYTES, base + BYTES - 2, base + BYTES + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_map_finds_what_a_search_finds, random_text),
        cmocka_unit_test_setup(test_opcodes, random_text),
        cmocka_unit_test_setup(test_a_branch_that_a_hook_displaced_counts, random_text),
        cmocka_unit_test_setup(test_what_is_not_mapped_out_is_possible, random_text),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(text);
    return failed;
}
