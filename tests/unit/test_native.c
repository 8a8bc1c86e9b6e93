/* What is known of the text that samples lie in. Its file is part of this one, so that its table can be filled. */
#include "runtime/native.c" /* NOLINT(bugprone-suspicious-include) */

#include "tests/unit/unit.h"

#define TEXT 0x555555554000ULL

static int forgotten(void **state)
{
    (void)state;
    native_forget();
    return 0;
}

static void test_unknown_text_was_never_seen(void **state)
{
    (void)state;
    assert_int_equal(native_why(TEXT), RC_UNSEEN);
    native_note(TEXT, TEXT + 64, RC_TOO_SHORT);
    assert_int_equal(native_why(TEXT + 64), RC_UNSEEN);
    assert_int_equal(native_why(TEXT - 1), RC_UNSEEN);
}

static void test_each_byte_has_its_reason(void **state)
{
    (void)state;
    native_note(TEXT + 5, TEXT + 37, RC_HOOK_SHORT);
    for (uint64_t at = 5; at < 37; at++)
        assert_int_equal(native_why(TEXT + at), RC_HOOK_SHORT);
    assert_int_equal(native_why(TEXT + 48), RC_UNSEEN); /* the piece after the last one */
    native_note(TEXT + 64, TEXT + 64, RC_HOOK_SHORT);
    assert_int_equal(native_why(TEXT + 64), RC_UNSEEN);
}

static void test_the_last_word_wins_but_cold_says_least(void **state)
{
    (void)state;
    native_note(TEXT, TEXT + 16, RC_COLD);
    assert_int_equal(native_why(TEXT), RC_COLD);
    native_note(TEXT, TEXT + 16, RC_TOO_SHORT);
    native_note(TEXT, TEXT + 16, RC_COLD);
    assert_int_equal(native_why(TEXT), RC_TOO_SHORT);
    native_note(TEXT, TEXT + 16, RC_OUTSIDE);
    assert_int_equal(native_why(TEXT), RC_OUTSIDE);
}

/* Each piece of a large text has a reason of its own, and none has another's. */
static void test_no_piece_has_the_word_of_another(void **state)
{
    uint64_t kept = 0, pieces = PIECES / 2;
    (void)state;
    for (uint64_t i = 0; i < pieces; i++)
        native_note(TEXT + i * 16, TEXT + i * 16 + 16, (rc_t)(RC_TOO_SHORT + i % 7));
    for (uint64_t i = 0; i < pieces; i++) {
        rc_t why = native_why(TEXT + i * 16);
        assert_true(why == RC_UNSEEN || why == (rc_t)(RC_TOO_SHORT + i % 7));
        kept += why != RC_UNSEEN;
    }
    assert_int_equal(kept, pieces);
}

static void test_a_full_table_forgets_nothing_and_takes_nothing(void **state)
{
    uint64_t kept = 0;
    (void)state;
    for (uint64_t i = 0; i < 4 * PIECES; i++)
        native_note(TEXT + i * 16, TEXT + i * 16 + 16, RC_TOO_SHORT);
    for (uint64_t i = 0; i < 4 * PIECES; i++)
        kept += native_why(TEXT + i * 16) == RC_TOO_SHORT;
    assert_true(kept > PIECES / 2 && kept <= PIECES);
    assert_int_equal(native_why(TEXT), RC_TOO_SHORT);
    native_forget();
    assert_int_equal(native_why(TEXT), RC_UNSEEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_unknown_text_was_never_seen, forgotten),
        cmocka_unit_test_setup(test_each_byte_has_its_reason, forgotten),
        cmocka_unit_test_setup(test_the_last_word_wins_but_cold_says_least, forgotten),
        cmocka_unit_test_setup(test_no_piece_has_the_word_of_another, forgotten),
        cmocka_unit_test_setup(test_a_full_table_forgets_nothing_and_takes_nothing, forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
