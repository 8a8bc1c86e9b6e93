/* When a recording ends, and how. Blocks are made up; only rec_* runs. */
#include "tests/unit/unit.h"

#include "tracer/record.h"

static struct recorder rec;

static struct block block(uint64_t pc, uint8_t kind)
{
    return (struct block){.pc = app_pc(pc), .next = app_pc(pc + 16), .kind = kind, .insns = 4, .map_kind = MAP_TEXT};
}

static enum rec_verdict went(const struct block *b, uint64_t next, bool taken)
{
    return rec_step(&rec, b, (struct outcome){app_pc(next), taken});
}

static int start(void **state)
{
    (void)state;
    memset(&rec, 0, sizeof rec);
    rec.depth = rec.trace.steps = rec.trace.insns = 7; /* of an earlier recording */
    rec_start(&rec, app_pc(0x1000), 64);
    return 0;
}

static void test_start(void **state)
{
    (void)state;
    struct block b = block(0x1000, IK_JCC);
    b.fragment = (struct fragment *)&rec; /* even a head that has one is recorded when asked for */
    assert_true(rec.active);
    assert_int_equal(rec.depth, 0);
    assert_int_equal(rec.trace.steps, 0);
    assert_false(rec_stops_before(&rec, &b));
    rec_abort(&rec);
    assert_false(rec.active);
}

static void test_loop_closes(void **state)
{
    (void)state;
    struct block a = block(0x1000, IK_JCC), b = block(0x1010, IK_JMP);
    assert_int_equal(went(&a, 0x1010, false), REC_MORE);
    assert_int_equal(went(&b, 0x1000, true), REC_DONE);
    assert_false(rec.active);
    assert_int_equal(rec.trace.end, TRACE_LOOP);
    assert_int_equal(rec.trace.steps, 2);
    assert_int_equal(rec.trace.insns, 8);
    assert_int_equal(rec.trace.step[0].pc.v, 0x1000);
    assert_int_equal(rec.trace.step[0].next.v, 0x1010);
    assert_int_equal(rec.trace.step[0].went.v, 0x1010);
    assert_false(rec.trace.step[0].taken);
    assert_int_equal(rec.trace.step[1].went.v, 0x1000);
    assert_true(rec.trace.step[1].taken);
}

static void test_backward_branch_ends(void **state)
{
    (void)state;
    struct block a = block(0x1000, IK_JMP), b = block(0x2000, IK_JCC), c = block(0x2000, IK_JCC);
    assert_int_equal(went(&a, 0x2000, true), REC_MORE);
    assert_int_equal(went(&b, 0x1800, true), REC_DONE);
    assert_int_equal(rec.trace.end, TRACE_DIRECT);
    assert_int_equal(rec.trace.exit.v, 0x1800);
    start(NULL);
    assert_int_equal(went(&c, 0x2000, true), REC_DONE); /* to itself, which is not the head */
    assert_int_equal(rec.trace.end, TRACE_DIRECT);
}

/* Calls, returns and indirect branches may go backward without ending the trace. */
static void test_backward_transfers_that_go_on(void **state)
{
    (void)state;
    struct block call = block(0x1000, IK_CALL), ret = block(0x800, IK_RET), jump = block(0x1010, IK_JMP_IND);
    assert_int_equal(went(&call, 0x800, true), REC_MORE);
    assert_int_equal(rec.depth, 1);
    assert_int_equal(went(&ret, 0x1010, true), REC_MORE);
    assert_int_equal(rec.depth, 0);
    assert_int_equal(went(&jump, 0x600, true), REC_MORE);
    assert_int_equal(went(&ret, 0x500, true), REC_MORE); /* unmatched: goes on with a guard */
    assert_int_equal(rec.depth, 0);
}

static void test_recursion_ends(void **state)
{
    (void)state;
    struct block a = block(0x1000, IK_CALL), b = block(0x2000, IK_CALL);
    assert_int_equal(went(&a, 0x2000, true), REC_MORE);
    assert_int_equal(went(&b, 0x2000, true), REC_DONE);
    assert_int_equal(rec.trace.end, TRACE_DIRECT);
    assert_int_equal(rec.trace.exit.v, 0x2000);
    assert_int_equal(rec.trace.steps, 2);
}

static void test_restless_indirect_ends_in_lookup(void **state)
{
    (void)state;
    struct block calm = block(0x1000, IK_JMP_IND), restless = block(0x2000, IK_JMP_IND), young = restless;
    calm.target_runs = 100;
    calm.target_changes = 25;
    assert_int_equal(went(&calm, 0x2000, true), REC_MORE);
    young.target_runs = young.target_changes = 7; /* too few runs to judge */
    assert_int_equal(went(&young, 0x2000, true), REC_MORE);
    restless.target_runs = 100;
    restless.target_changes = 26;
    assert_int_equal(went(&restless, 0x3000, true), REC_DONE);
    assert_int_equal(rec.trace.end, TRACE_INDIRECT);
}

/* A return whose call is in the trace needs no prediction: the call's own address does it. */
static void test_matched_return_may_be_restless(void **state)
{
    (void)state;
    struct block call = block(0x1000, IK_CALL), ret = block(0x2000, IK_RET);
    ret.target_runs = ret.target_changes = 1000;
    assert_int_equal(went(&call, 0x2000, true), REC_MORE);
    assert_int_equal(went(&ret, 0x1010, true), REC_MORE);
    assert_int_equal(went(&ret, 0x3000, true), REC_DONE); /* unmatched */
    assert_int_equal(rec.trace.end, TRACE_INDIRECT);
}

/* An interpreter: `dispatch` at the head jumps to one of three handlers, which jump back to it, in rounds of four. */
static const uint64_t round_of[] = {0x3000, 0x4000, 0x3000, 0x5000};

static enum rec_verdict dispatch(uint64_t to)
{
    struct block b = block(0x1000, IK_JMP_IND), handler = block(to, IK_JMP);
    b.target_runs = b.target_changes = 1000;
    path_note(&rec.path, b.pc, app_pc(to));
    enum rec_verdict v = rec.active ? went(&b, to, true) : REC_MORE;
    return rec.active ? went(&handler, 0x1000, true) : v;
}

static void rounds_before(int branches)
{
    path_clear(&rec.path);
    rec.native = true;
    rec.active = false;
    for (int i = 0; i < branches; i++)
        dispatch(round_of[i % 4]);
    rec_start(&rec, app_pc(0x1000), 64);
}

static void test_round_is_followed(void **state)
{
    (void)state;
    rounds_before(60);
    for (int i = 0; i < 3; i++)
        assert_int_equal(dispatch(round_of[i]), REC_MORE);
    assert_int_equal(dispatch(round_of[3]), REC_DONE);
    assert_int_equal(rec.trace.end, TRACE_LOOP);
    assert_int_equal(rec.trace.steps, 8);
    assert_int_equal(rec.trace.step[6].went.v, 0x5000);
    assert_false(rec.restless);
}

static void test_no_round_known_yet(void **state)
{
    (void)state;
    rounds_before(20);
    assert_int_equal(dispatch(round_of[0]), REC_DONE);
    assert_int_equal(rec.trace.end, TRACE_BEFORE);
    assert_true(rec.restless);
    rec_start(&rec, app_pc(0x1000), 64);
    assert_false(rec.restless);
}

/* A path known long enough that goes no round is not asked about again. */
static void test_no_round_there(void **state)
{
    (void)state;
    rounds_before(0);
    for (uint64_t i = 0; i < PATH_KEEPS; i++)
        path_note(&rec.path, app_pc(0x1000), app_pc(i * i));
    assert_int_equal(dispatch(round_of[0]), REC_DONE);
    assert_int_equal(rec.trace.end, TRACE_BEFORE);
    assert_false(rec.restless);
}

/* The trace that is left ends before the first restless branch, as if no round had been known. */
static void test_round_that_is_left(void **state)
{
    (void)state;
    rounds_before(60);
    assert_int_equal(dispatch(round_of[0]), REC_MORE);
    assert_int_equal(dispatch(round_of[1]), REC_MORE);
    assert_int_equal(dispatch(0x5000), REC_DONE);
    assert_int_equal(rec.trace.end, TRACE_BEFORE);
    assert_int_equal(rec.trace.steps, 1);
    assert_int_equal(rec.trace.insns, 4);
    rounds_before(60);
    rec.max_insns = 10;
    struct block b = block(0x1000, IK_JMP_IND);
    assert_int_equal(dispatch(round_of[0]), REC_MORE);
    assert_true(rec_stops_before(&rec, &b));
    rec_finish_direct(&rec, b.pc);
    assert_int_equal(rec.trace.end, TRACE_BEFORE);
    assert_int_equal(rec.trace.steps, 1);
}

static void test_stops_before(void **state)
{
    (void)state;
    struct block a = block(0x1000, IK_PLAIN), b = block(0x1010, IK_PLAIN), c;
    assert_int_equal(went(&a, 0x1010, false), REC_MORE);
    assert_false(rec_stops_before(&rec, &b));
    c = b;
    c.fragment = (struct fragment *)&rec;
    assert_true(rec_stops_before(&rec, &c));
    c = b;
    c.kind = IK_SYSCALL;
    assert_true(rec_stops_before(&rec, &c));
    c = b;
    c.map_kind = MAP_LOADER;
    assert_true(rec_stops_before(&rec, &c));
    c = b;
    c.insns = 61; /* 4 + 61 > 64 */
    assert_true(rec_stops_before(&rec, &c));
    c.insns = 60;
    assert_false(rec_stops_before(&rec, &c));
    rec_finish_direct(&rec, app_pc(0x1010));
    assert_false(rec.active);
    assert_int_equal(rec.trace.exit.v, 0x1010);
}

static void test_block_limit(void **state)
{
    (void)state;
    rec_start(&rec, app_pc(0x1000), 1 << 20);
    for (uint64_t i = 0; i < TRACE_MAX_BLOCKS; i++) {
        struct block b = block(0x1000 + i * 16, IK_PLAIN);
        assert_false(rec_stops_before(&rec, &b));
        assert_int_equal(went(&b, b.next.v, false), REC_MORE);
    }
    struct block b = block(0x9000, IK_PLAIN);
    assert_true(rec_stops_before(&rec, &b));
    assert_int_equal(rec.trace.steps, TRACE_MAX_BLOCKS);
}

static void test_may_contain(void **state)
{
    (void)state;
    static const struct {
        uint8_t map_kind, kind;
        rc_t rc;
    } rows[] = {
        {MAP_TEXT, IK_PLAIN, RC_OK},
        {MAP_TEXT, IK_CALL_IND, RC_OK},
        {MAP_TEXT, IK_SYSCALL, RC_SYSCALL},
        {MAP_TEXT, IK_STRANGE, RC_UNSUPPORTED},
        {MAP_TEXT, IK_XBEGIN, RC_UNSUPPORTED},
        {MAP_LOADER, IK_PLAIN, RC_LOADER},
        {MAP_SELF, IK_PLAIN, RC_SELF},
        {MAP_VDSO, IK_PLAIN, RC_NOT_FILE_TEXT},
        {MAP_VOLATILE, IK_PLAIN, RC_NOT_FILE_TEXT},
        {MAP_NONE, IK_PLAIN, RC_NOT_FILE_TEXT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct block b = {.map_kind = rows[i].map_kind, .kind = rows[i].kind};
        assert_rc(rec_may_contain(&b), rows[i].rc);
    }
}

/* Decoding what was recorded: blocks that are not contiguous, and text that has changed since. */
static void test_trace_decode(void **state)
{
    (void)state;
    static uint8_t code[64];
    memset(code, 0x90, sizeof code);
    code[1] = 0xeb; /* nop; jmp +29 */
    code[2] = 29;
    code[33] = 0xc3; /* nop; ret, at 32 */
    uint64_t pc = (uint64_t)(uintptr_t)code;
    struct trace t = {.head = app_pc(pc), .steps = 2, .end = TRACE_INDIRECT};
    t.step[0] = (struct trace_step){app_pc(pc), app_pc(pc + 3), app_pc(pc + 32), true};
    t.step[1] = (struct trace_step){app_pc(pc + 32), app_pc(pc + 34), app_pc(1), true};
    struct insn out[8];
    assert_int_equal(trace_decode(&t, out, 8), 4);
    assert_int_equal(out[1].kind, IK_JMP);
    assert_int_equal(out[2].pc.v, pc + 32);
    assert_int_equal(out[3].kind, IK_RET);
    assert_int_equal(trace_decode(&t, out, 4), 4);
    assert_int_equal(trace_decode(&t, out, 3), 0); /* no room */
    code[33] = 0x48; /* rex.w nop: one byte longer than what ran; the verifier rejects what comes of it */
    assert_int_equal(trace_decode(&t, out, 8), 4);
    assert_int_equal(out[3].kind, IK_STRANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_start, start),
        cmocka_unit_test_setup(test_loop_closes, start),
        cmocka_unit_test_setup(test_backward_branch_ends, start),
        cmocka_unit_test_setup(test_backward_transfers_that_go_on, start),
        cmocka_unit_test_setup(test_recursion_ends, start),
        cmocka_unit_test_setup(test_restless_indirect_ends_in_lookup, start),
        cmocka_unit_test_setup(test_matched_return_may_be_restless, start),
        cmocka_unit_test_setup(test_round_is_followed, start),
        cmocka_unit_test_setup(test_no_round_known_yet, start),
        cmocka_unit_test_setup(test_no_round_there, start),
        cmocka_unit_test_setup(test_round_that_is_left, start),
        cmocka_unit_test_setup(test_stops_before, start),
        cmocka_unit_test_setup(test_block_limit, start),
        cmocka_unit_test_setup(test_may_contain, start),
        cmocka_unit_test_setup(test_trace_decode, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
