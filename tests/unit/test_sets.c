/* FC-5: an exit is linked to a kept fragment, or to one that is on trial in the same set as its owner. */
#include "tests/unit/machine.h"
#include "tests/unit/unit.h"

PROGRAM(nested, "mov ecx, 30\n 0: mov edx, 3\n 1: add rax, rdx\n dec edx\n jnz 1b\n"
                "test cl, 1\n jz 2f\n lea rax, [rax+rcx]\n 2: dec ecx\n jnz 0b\n jmp r15");

static struct fragment *all[64];
static int count;

static void make_held(void)
{
    machine_reset(1 << 20, true);
    uint64_t pc = LOAD(MACHINE_TEXT, nested);
    fc_set_held(true);
    machine_fragments(pc, 1);
    fc_set_held(false);
    count = 0;
    for (struct fragment *f = fc_newest(); f; f = f->next)
        all[count++] = f;
    assert_true(count > 2);
}

/* Links between different fragments; FC-5 holds for all. */
static int links_between(void)
{
    int n = 0;
    uint64_t linked = 0;
    for (uint32_t id = EXIT_FIRST; fc_exit(id); id++) {
        const struct frag_exit *e = fc_exit(id);
        linked += e->linked != NULL;
        if (!e->linked)
            continue;
        assert_true(e->owner->live && e->linked->live);
        assert_true(!e->linked->set || e->linked->set == e->owner->set);
        n += e->linked != e->owner;
    }
    assert_int_equal(linked, fc_stats_get().links);
    return n;
}

static void test_fc5_alone_in_their_sets(void **state)
{
    (void)state;
    make_held();
    assert_int_equal(links_between(), 0);
    assert_true(fc_stats_get().links > 0); /* loops to themselves */
}

static void test_fc5_sets_join_and_part(void **state)
{
    (void)state;
    make_held();
    assert_ok(fc_move(all, count, 7, false));
    assert_true(links_between() > 0);
    for (int i = 0; i < count; i++)
        assert_ok(fc_move(&all[i], 1, 100 + (uint32_t)i, false));
    assert_int_equal(links_between(), 0);
    assert_ok(fc_move(all, count, 0, false));
    assert_true(links_between() > 0);
    machine_compare(MACHINE_TEXT);
}

static void test_fc5_kept_are_for_all_but_not_the_other_way(void **state)
{
    (void)state;
    make_held();
    assert_ok(fc_move(&all[0], 1, 0, false));
    int links = links_between();
    for (uint32_t id = EXIT_FIRST; fc_exit(id); id++)
        if (fc_exit(id)->linked && fc_exit(id)->owner == all[0])
            assert_ptr_equal(fc_exit(id)->linked, all[0]);
    assert_true(links > 0);
    assert_ok(fc_retire(all[0]));
    assert_int_equal(links_between(), 0);
}

static void test_counted_fragments_leave_at_their_back_edge(void **state)
{
    (void)state;
    make_held();
    uint64_t before = fc_stats_get().links;
    assert_true(before > 0);
    for (int i = 0; i < count; i++)
        assert_ok(fc_move(&all[i], 1, all[i]->set, true));
    assert_int_equal(fc_stats_get().links, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fc5_alone_in_their_sets),
        cmocka_unit_test(test_fc5_sets_join_and_part),
        cmocka_unit_test(test_fc5_kept_are_for_all_but_not_the_other_way),
        cmocka_unit_test(test_counted_fragments_leave_at_their_back_edge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
