/* The estimate of what a fragment saves: nothing where nothing changed, something for each thing that is gone. */
#include "optimizer/estimate.h"
#include "tests/unit/unit.h"

static struct insn insns[4];
static struct node nodes[8];

static struct ir path(const char *const *hex, int n)
{
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < n; i++) {
        insns[i] = unit_decode(hex[i], 0x1000 + 16 * (uint64_t)i);
        nodes[i] = (struct node){.op = N_INSN, .insn = i, .in = &insns[i]};
    }
    return (struct ir){.insns = insns, .insn_count = n, .nodes = nodes, .count = n, .cap = 8};
}

static void test_loop_as_it_was_saves_nothing(void **state)
{
    (void)state;
    static const char *const hex[] = {"48 8b 07", "48 01 c8", "75 f4"}; /* mov rax, [rdi]; add rax, rcx; jne */
    struct ir ir = path(hex, 3);
    nodes[2].op = N_BACK_IF;
    nodes[2].taken = true;
    nodes[3] = (struct node){.op = N_EXIT, .insn = 2, .appended = true};
    ir.count = 4;
    struct estimated e = ir_estimate(&ir);
    assert_int_equal(e.before, 5);
    assert_int_equal(e.after, 5); /* the way out is not on the path */
    nodes[0].removed = true; /* a load */
    assert_int_equal(ir_estimate(&ir).after, 3);
}

static void test_inlined_call_saves(void **state)
{
    (void)state;
    static const char *const hex[] = {"e8 00 01 00 00", "90", "c3"}; /* call; nop; ret */
    struct ir ir = path(hex, 3);
    nodes[0].op = N_PUSH_CONST;
    nodes[0].taken = nodes[2].taken = true;
    nodes[2].op = N_GUARD;
    nodes[2].flags_dead = FL_STATUS;
    struct estimated guarded = ir_estimate(&ir);
    nodes[2].flags_dead = 0;
    assert_true(ir_estimate(&ir).after > guarded.after);
    nodes[2].op = N_ADD_SP;
    struct estimated proven = ir_estimate(&ir);
    assert_int_equal(guarded.before, proven.before);
    assert_true(proven.before > guarded.after && guarded.after > proven.after);
}

static void test_dispatch_saves(void **state)
{
    (void)state;
    static const char *const hex[] = {"ff e0", "ff 25 00 00 00 00"}; /* jmp rax; jmp [rip], as in a PLT */
    for (int i = 0; i < 2; i++) {
        struct ir ir = path(&hex[i], 1);
        nodes[0].op = N_GUARD; /* that keeps the flags */
        nodes[0].taken = true;
        struct estimated e = ir_estimate(&ir);
        assert_true(i ? e.before < e.after : e.before > e.after);
    }
}

static void test_shifts_by_cl(void **state)
{
    (void)state;
    static const char *const hex[] = {"48 d3 e0", "d3 e8", "48 c1 e0 03", "c4 e2 71 f7 c0"}; /* by cl; by 3; shlx */
    struct ir ir = path(hex, 4);
    assert_int_equal(ir_estimate(&ir).after, 3 + 3 + 1 + 1);
}

/* What goes through a slot to the next iteration waits for memory, natively; other slots cost nothing. */
static void test_chains(void **state)
{
    (void)state;
    static const char *const hex[] = {"f2 0f 10 4d f0", "f2 0f 58 c1", "f2 0f 11 45 f0"}; /* movsd; addsd; movsd */
    static const char *const made[] = {"41 0f 28 c8", "f2 41 0f 11 c0"}; /* movaps xmm1, xmm8; movsd xmm8, xmm0 */
    static struct insn to[2];
    struct ir ir = path(hex, 3);
    for (int i = 0; i < 2; i++)
        to[i] = unit_decode(made[i], 0x1000 + 32 * (uint64_t)i);
    int n = 0;
    nodes[n++] = (struct node){.op = N_LOOP, .appended = true};
    nodes[n++] = (struct node){.op = N_INSN, .in = &to[0]};
    nodes[n++] = (struct node){.op = N_INSN, .insn = 1, .in = &insns[1]};
    nodes[n++] = (struct node){.op = N_INSN, .insn = 2, .in = &to[1], .part = PART_UPDATE, .appended = true};
    nodes[n++] = (struct node){.op = N_INSN, .insn = 2, .in = &insns[2]};
    nodes[n++] = (struct node){.op = N_BACK, .insn = 2, .appended = true};
    ir.count = n;
    ir.slots[0] = (struct ir_slot){REG_VECTOR(8), R_RBP, 8, -16};
    ir.slot_count = 1;
    struct estimated e = ir_estimate_chain(&ir);
    assert_int_equal(e.before, 6 * (5 + 4));
    assert_int_equal(e.after, 6 * 4);
    assert_int_equal(ir_estimate(&ir).before, e.before);
    nodes[2].in = &insns[0]; /* what is stored does not hang on what is loaded */
    insns[1] = insns[0] = unit_decode("f2 0f 10 07", 0x1010); /* movsd xmm0, [rdi] */
    e = ir_estimate_chain(&ir);
    assert_true(e.before == 0 && e.after == 0);
}

static void test_lookup_costs(void **state)
{
    (void)state;
    static const char *const hex[] = {"ff e0"}; /* jmp rax */
    struct ir ir = path(hex, 1);
    nodes[0].op = N_LOOKUP;
    nodes[0].taken = true;
    struct estimated e = ir_estimate(&ir);
    assert_true(e.after > e.before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop_as_it_was_saves_nothing),
        cmocka_unit_test(test_inlined_call_saves),
        cmocka_unit_test(test_dispatch_saves),
        cmocka_unit_test(test_shifts_by_cl),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_lookup_costs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
