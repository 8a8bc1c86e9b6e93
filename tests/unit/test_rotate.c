/* Rotation of loop traces: another first instruction, the same cycle. */
#include "tests/unit/unit.h"

#include <string.h>

#include "optimizer/passes.h"
#include "tracer/rotate.h"

/* 1000: a b jcc->2000 | 2000: c d jmp->1000, with 4-byte instructions and 2-byte branches. */
static struct insn insns[8];
static struct trace trace;

static void add(int i, uint64_t pc, unsigned len, enum insn_kind kind, uint64_t target)
{
    insns[i] = (struct insn){.pc = app_pc(pc), .len = (uint8_t)len, .kind = (uint8_t)kind, .target = target};
    insns[i].mem_base = insns[i].mem_index = R_NONE;
}

static int make_loop(void)
{
    memset(&trace, 0, sizeof trace);
    add(0, 0x1000, 4, IK_PLAIN, 0);
    add(1, 0x1004, 4, IK_PLAIN, 0);
    add(2, 0x1008, 2, IK_JCC, 0x2000);
    add(3, 0x2000, 4, IK_PLAIN, 0);
    add(4, 0x2004, 4, IK_PLAIN, 0);
    add(5, 0x2008, 2, IK_JMP, 0x1000);
    trace.head = app_pc(0x1000);
    trace.end = TRACE_LOOP;
    trace.steps = 2;
    trace.step[0] = (struct trace_step){app_pc(0x1000), app_pc(0x100a), app_pc(0x2000), true};
    trace.step[1] = (struct trace_step){app_pc(0x2000), app_pc(0x200a), app_pc(0x1000), true};
    return 6;
}

static void test_every_rotation_is_the_same_cycle(void **state)
{
    (void)state;
    for (int k = 0; k < 6; k++) {
        int n = make_loop();
        struct insn before[8];
        memcpy(before, insns, sizeof before);
        assert_true(trace_can_rotate(&trace, insns, n, k));
        assert_ok(trace_rotate(&trace, insns, n, k));
        assert_int_equal(trace.head.v, before[k].pc.v);
        for (int i = 0; i < n; i++)
            assert_int_equal(insns[i].pc.v, before[(k + i) % n].pc.v);
        for (int i = 0; i < trace.steps; i++) /* each step goes where the next begins, the last to the head */
            assert_int_equal(trace.step[i].went.v, trace.step[(i + 1) % trace.steps].pc.v);
        struct node nodes[16] = {0};
        struct ir ir = {.nodes = nodes, .cap = 16};
        assert_ok(ir_build(&ir, &trace, insns, n)); /* IR and steps agree instruction by instruction */
        assert_ok(optimize(&ir));
        assert_int_equal(ir.tag.v, before[k].pc.v);
    }
}

static void test_outcomes_move_with_their_branches(void **state)
{
    (void)state;
    int n = make_loop();
    assert_ok(trace_rotate(&trace, insns, n, 1));
    assert_int_equal(trace.steps, 3);
    assert_int_equal(trace.step[0].pc.v, 0x1004);
    assert_true(trace.step[0].taken);
    assert_int_equal(trace.step[2].pc.v, 0x1000);
    assert_int_equal(trace.step[2].next.v, 0x1004);
    assert_false(trace.step[2].taken);
}

static void test_not_into_a_call(void **state)
{
    (void)state;
    int n = make_loop();
    insns[2].kind = IK_CALL;
    insns[5].kind = IK_RET;
    assert_true(trace_can_rotate(&trace, insns, n, 2));
    assert_false(trace_can_rotate(&trace, insns, n, 3));
    assert_false(trace_can_rotate(&trace, insns, n, 5));
    trace.end = TRACE_DIRECT;
    assert_false(trace_can_rotate(&trace, insns, n, 0));
}

/* The same path, not closed, from its k-th instruction on. */
static void test_a_path_begins_later(void **state)
{
    (void)state;
    for (int k = 0; k < 6; k++) {
        int n = make_loop();
        struct insn before[8];
        memcpy(before, insns, sizeof before);
        trace.end = TRACE_DIRECT;
        trace.exit = app_pc(0x3000);
        trace.insns = n;
        insns[5].target = 0x3000;
        trace.step[1].went = app_pc(0x3000);
        assert_true(trace_can_trim(&trace, insns, k));
        trace_trim(&trace, insns, n, k);
        n -= k;
        assert_int_equal(trace.insns, n);
        assert_int_equal(trace.steps, k < 3 ? 2 : 1);
        assert_int_equal(trace.head.v, before[k].pc.v);
        assert_int_equal(trace.step[0].pc.v, before[k].pc.v);
        assert_int_equal(trace.step[trace.steps - 1].next.v, 0x200a);
        for (int i = 0; i < n; i++)
            assert_int_equal(insns[i].pc.v, before[k + i].pc.v);
        struct node nodes[16] = {0};
        struct ir ir = {.nodes = nodes, .cap = 16};
        assert_ok(ir_build(&ir, &trace, insns, n));
        assert_int_equal(ir.tag.v, before[k].pc.v);
    }
}

static void test_no_path_begins_behind_its_calls(void **state)
{
    (void)state;
    (void)make_loop();
    assert_false(trace_can_trim(&trace, insns, 1)); /* a loop is rotated */
    trace.end = TRACE_BEFORE;
    insns[2].kind = IK_CALL;
    assert_true(trace_can_trim(&trace, insns, 2));
    assert_false(trace_can_trim(&trace, insns, 3)); /* its return would match no call */
    insns[2].kind = IK_CALL_IND;
    assert_false(trace_can_trim(&trace, insns, 3));
}

static void test_no_room_for_one_more_step(void **state)
{
    (void)state;
    int n = make_loop();
    trace.steps = TRACE_MAX_BLOCKS;
    assert_int_equal(trace_rotate(&trace, insns, n, 1), RC_TOO_LONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_rotation_is_the_same_cycle),
        cmocka_unit_test(test_outcomes_move_with_their_branches),
        cmocka_unit_test(test_not_into_a_call),
        cmocka_unit_test(test_a_path_begins_later),
        cmocka_unit_test(test_no_path_begins_behind_its_calls),
        cmocka_unit_test(test_no_room_for_one_more_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
