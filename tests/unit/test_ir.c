/* ir_build, and ir_verify: for each invariant a graph that breaks it is rejected. */
#include "tests/unit/unit.h"

#include "optimizer/ir.h"

static struct insn insns[4], made_insns[2];
static struct node nodes[12];
static struct ir ir;

/* nop; je; jmp rax; ret, laid out: insn, exit_if, guard, exit */
static int good(void **state)
{
    (void)state;
    static const char *const hex[] = {"90", "74 10", "ff e0", "c3"};
    for (size_t i = 0; i < 4; i++)
        insns[i] = unit_decode(hex[i], 0x1000 + 16 * i);
    memset(nodes, 0, sizeof nodes);
    nodes[0] = (struct node){.op = N_INSN, .insn = 0};
    nodes[1] = (struct node){.op = N_EXIT_IF, .insn = 1, .target = 0x2000};
    nodes[2] = (struct node){.op = N_GUARD, .insn = 2, .target = 0x3000};
    nodes[3] = (struct node){.op = N_EXIT, .insn = 3, .target = 0x4000};
    ir = (struct ir){.insns = insns, .insn_count = 4, .nodes = nodes, .count = 4, .cap = 8};
    return 0;
}

static void test_good_is_accepted(void **state)
{
    (void)state;
    assert_ok(ir_verify(&ir, true));
    nodes[3] = (struct node){.op = N_BACK, .insn = 3};
    assert_ok(ir_verify(&ir, true));
    nodes[3] = (struct node){.op = N_LOOKUP, .insn = 3};
    assert_ok(ir_verify(&ir, true));
    nodes[1].removed = true;
    nodes[1].op = N_BRANCH;
    assert_ok(ir_verify(&ir, true));
}

static void test_ir1_the_last_node_ends_the_trace(void **state)
{
    (void)state;
    static const uint8_t not_ends[] = {N_INSN, N_EXIT_IF, N_PUSH_CONST, N_ADD_SP, N_GUARD, N_BACK_IF};
    for (size_t i = 0; i < ARRAY_LEN(not_ends); i++) {
        good(NULL);
        nodes[3].op = not_ends[i];
        nodes[3].insn = not_ends[i] == N_GUARD ? 3 : 0;
        assert_rc(ir_verify(&ir, true), RC_VERIFY);
    }
    good(NULL);
    nodes[3].removed = true;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir1_nothing_follows_the_end(void **state)
{
    (void)state;
    nodes[1] = (struct node){.op = N_EXIT, .insn = 1, .target = 0x2000};
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    nodes[1] = (struct node){.op = N_BACK, .insn = 1};
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    nodes[1].removed = true;
    assert_ok(ir_verify(&ir, true));
}

static void test_ir2_no_branch_after_layout(void **state)
{
    (void)state;
    nodes[1].op = N_BRANCH;
    assert_ok(ir_verify(&ir, false));
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir3_exits_and_guards_have_targets(void **state)
{
    (void)state;
    for (int i = 1; i < 4; i++) {
        good(NULL);
        nodes[i].target = 0;
        assert_rc(ir_verify(&ir, true), RC_VERIFY);
    }
    good(NULL);
    nodes[1] = (struct node){.op = N_EXIT_LOOP, .insn = 1};
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

/* A node whose instruction is `was`, lowered to `made` instead. */
static void make(const char *was, const char *made_hex, uint16_t flags_dead)
{
    static struct insn made;
    good(NULL);
    insns[0] = unit_decode(was, 0x1000);
    made = unit_decode(made_hex, 0x1000);
    nodes[0].in = &made;
    nodes[0].flags_dead = flags_dead;
}

static void test_ir4_made_instructions_write_what_the_original_writes(void **state)
{
    (void)state;
    make("48 8b 44 24 08", "48 89 c8", 0); /* mov rax, [rsp+8]: mov rax, rcx */
    assert_ok(ir_verify(&ir, true));
    make("48 8b 44 24 08", "48 89 cb", 0); /* mov rbx, rcx */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    make("48 8b 44 24 08", "88 c8", 0); /* mov al, cl: in part */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    make("48 8b 44 24 08", "48 8b 44 24 10", 0); /* another load */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    make("48 8b 44 24 08", "48 01 c8", 0); /* add rax, rcx: flags */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    make("b8 00 00 00 00", "31 c0", FL_STATUS); /* mov eax, 0: xor */
    assert_ok(ir_verify(&ir, true));
    make("b8 00 00 00 00", "31 c0", FL_STATUS & ~FL_CF);
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    make("48 03 44 24 08", "48 8d 04 08", 0); /* add rax, [rsp+8]: lea without its flags */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    make("48 89 44 24 08", "90", 0); /* a store */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir4_made_instructions_decode_to_what_they_say(void **state)
{
    (void)state;
    make("48 8b 44 24 08", "48 89 c8", 0);
    struct insn wrong = *nodes[0].in;
    wrong.bytes[2] = 0xd0; /* mov rax, rdx, which it does not say */
    nodes[0].in = &wrong;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    wrong = unit_decode("48 89 c8", 0x1001);
    nodes[0].in = &wrong; /* stands for another address */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir5_removed_nodes_have_no_effect(void **state)
{
    (void)state;
    static const char *const stay[] = {"48 89 07", "50", "5c", "48 83 c4 08", "f0 01 07", "0f ae f0", "aa"};
    for (size_t i = 0; i < ARRAY_LEN(stay); i++) {
        good(NULL);
        insns[0] = unit_decode(stay[i], 0x1000);
        assert_ok(ir_verify(&ir, true));
        nodes[0].removed = true;
        assert_rc(ir_verify(&ir, true), RC_VERIFY);
    }
    good(NULL);
    nodes[2].removed = true; /* jmp rax */
    assert_ok(ir_verify(&ir, true));
    insns[2] = unit_decode("ff d0", 0x1020); /* call rax */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    insns[2] = unit_decode("c3", 0x1020);
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    good(NULL);
    nodes[1].removed = true;
    assert_ok(ir_verify(&ir, true));
    nodes[1].op = N_PUSH_CONST;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

/* add [rbp-8], eax; mov [rbp-16], ecx; mov [rdi], al; jmp, with slots in r8 and r9, r10 to check with. */
static void promoted(void)
{
    good(NULL);
    static const char *const hex[] = {"01 45 f8", "89 4d f0", "88 07", "eb 10"};
    for (size_t i = 0; i < 4; i++)
        insns[i] = unit_decode(hex[i], 0x1000 + 16 * i);
    static struct insn add, mov, store;
    add = unit_decode("41 01 c0", 0x1000); /* add r8d, eax */
    store = unit_decode("44 89 45 f8", 0x1000); /* mov [rbp-8], r8d */
    mov = unit_decode("41 89 c9", 0x1010); /* mov r9d, ecx */
    int n = 0;
    nodes[n++] = (struct node){.op = N_BORROW, .appended = true};
    nodes[n++] = (struct node){.op = N_LOOP, .appended = true};
    nodes[n++] = (struct node){.op = N_INSN, .part = PART_UPDATE, .in = &add, .appended = true};
    nodes[n++] = (struct node){.op = N_INSN, .part = PART_STORE, .in = &store};
    nodes[n++] = (struct node){.op = N_INSN, .part = PART_UPDATE, .insn = 1, .in = &mov, .appended = true};
    nodes[n++] = (struct node){.op = N_INSN, .insn = 1, .in = &insns[1]};
    nodes[n++] = (struct node){.op = N_CHECK, .insn = 2, .target = 0x1020, .flags_dead = FL_STATUS, .appended = true};
    nodes[n++] = (struct node){.op = N_INSN, .insn = 2, .in = &insns[2]};
    nodes[n++] = (struct node){.op = N_BACK, .insn = 3, .appended = true};
    ir.count = n;
    ir.slots[0] = (struct ir_slot){8, R_RBP, 4, -8};
    ir.slots[1] = (struct ir_slot){9, R_RBP, 4, -16};
    ir.checks[0] = (struct ir_check){R_RDI, R_NONE, 1, R_RBP, 10, 1, 0, -16, -4};
    ir.slot_count = 2;
    ir.check_count = 1;
    ir.borrowed = 1u << 8 | 1u << 9 | 1u << 10;
}

static void spoil(int node, const char *hex)
{
    promoted();
    made_insns[0] = unit_decode(hex, nodes[node].in->pc.v);
    nodes[node].in = &made_insns[0];
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir7_parts_change_borrowed_registers_only(void **state)
{
    (void)state;
    promoted();
    assert_ok(ir_verify(&ir, true));
    spoil(2, "01 c3"); /* add ebx, eax */
    spoil(2, "41 29 c0"); /* sub r8d, eax */
    spoil(2, "41 89 c0"); /* mov: not the flags of add */
    spoil(2, "44 01 45 f8"); /* add [rbp-8], r8d */
    spoil(2, "45 01 c8"); /* add r8d, r9d */
    spoil(4, "41 89 c1"); /* mov r9d, eax */
    spoil(4, "41 88 c9"); /* mov r9b, cl */
    spoil(4, "41 01 c9"); /* add r9d, ecx */
    spoil(4, "89 cb"); /* mov ebx, ecx */
    spoil(3, "44 89 4d f8"); /* mov [rbp-8], r9d: another slot's */
    spoil(3, "44 89 45 f0"); /* mov [rbp-16], r8d */
    spoil(3, "4c 89 45 f8"); /* mov [rbp-8], r8 */
    spoil(3, "44 01 45 f8"); /* add [rbp-8], r8d */
    for (int i = 2; i < 5; i++) { /* one of a pair */
        promoted();
        nodes[i].removed = true;
        assert_rc(ir_verify(&ir, true), RC_VERIFY);
    }
}

/* movsd [rbp-8], xmm0; movsd xmm1, [rbp-8]; jmp, with a slot in xmm9. */
static void promoted_number(void)
{
    static struct insn update, load;
    good(NULL);
    static const char *const hex[] = {"f2 0f 11 45 f8", "f2 0f 10 4d f8", "eb 10"};
    for (size_t i = 0; i < 3; i++)
        insns[i] = unit_decode(hex[i], 0x1000 + 16 * i);
    update = unit_decode("f2 41 0f 11 c1", 0x1000); /* movsd xmm9, xmm0 */
    load = unit_decode("41 0f 28 c9", 0x1010); /* movaps xmm1, xmm9 */
    int n = 0;
    nodes[n++] = (struct node){.op = N_BORROW, .appended = true};
    nodes[n++] = (struct node){.op = N_LOOP, .appended = true};
    nodes[n++] = (struct node){.op = N_INSN, .part = PART_UPDATE, .in = &update, .appended = true};
    nodes[n++] = (struct node){.op = N_INSN, .in = &insns[0]};
    nodes[n++] = (struct node){.op = N_INSN, .insn = 1, .in = &load};
    nodes[n++] = (struct node){.op = N_BACK, .insn = 2, .appended = true};
    ir.count = n;
    ir.slots[0] = (struct ir_slot){REG_VECTOR(9), R_RBP, 8, -8};
    ir.slot_count = 1;
    ir.check_count = 0;
    ir.borrowed = 1u << REG_VECTOR(9);
}

static void spoil_number(int node, const char *hex)
{
    promoted_number();
    made_insns[0] = unit_decode(hex, nodes[node].in->pc.v);
    nodes[node].in = &made_insns[0];
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir7_vector_registers(void **state)
{
    (void)state;
    promoted_number();
    assert_ok(ir_verify(&ir, true));
    spoil_number(2, "f2 41 0f 11 c2"); /* movsd xmm10, xmm0 */
    spoil_number(2, "f2 0f 11 c2"); /* movsd xmm2, xmm0 */
    spoil_number(2, "f2 44 0f 11 4d f8"); /* movsd [rbp-8], xmm9 */
    spoil_number(4, "41 0f 28 ca"); /* movaps xmm1, xmm10 */
    promoted_number();
    nodes[2].removed = true;
    nodes[3].removed = true; /* IR-5 */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted_number();
    ir.borrowed |= 1u << REG_VECTOR(0); /* never borrowed */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted_number();
    ir.slots[0].reg = REG_VECTOR(8);
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted_number();
    ir.slots[0].bytes = 4;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted_number();
    ir.slots[0].base = R_NONE;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted_number();
    insns[0] = unit_decode("f2 44 0f 11 4d f8", 0x1000); /* the program's own xmm9 */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir7_fused_nodes_follow_removed_ones(void **state)
{
    (void)state;
    promoted_number();
    nodes[4].fused = true;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    nodes[3] = (struct node){.op = N_INSN, .insn = 1, .in = &insns[1], .removed = true};
    nodes[2] = nodes[3];
    assert_ok(ir_verify(&ir, true));
    nodes[3].op = N_CHECK;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir7_borrowed_registers_are_nobodys(void **state)
{
    (void)state;
    static const uint8_t used[] = {R_RAX, R_RCX, R_RSP, R_RBP, R_RDI};
    for (size_t i = 0; i < ARRAY_LEN(used); i++) {
        promoted();
        ir.borrowed |= (uint16_t)(1u << used[i]);
        assert_rc(ir_verify(&ir, true), RC_VERIFY);
        ir.slots[0].reg = used[i];
        assert_rc(ir_verify(&ir, true), RC_VERIFY);
    }
    promoted();
    ir.borrowed &= (uint16_t)~(1u << 9);
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted();
    ir.slots[1].reg = 8;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted();
    ir.slots[1].base = 10;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir7_checks_and_order(void **state)
{
    (void)state;
    promoted();
    nodes[6].flags_dead = FL_STATUS & ~FL_CF;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted();
    nodes[6].target = 0;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted();
    nodes[6].value = 1;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    static const uint8_t scratch[] = {8, R_RBX, R_NONE};
    for (size_t i = 0; i < ARRAY_LEN(scratch); i++) {
        promoted();
        ir.checks[0].scratch = scratch[i];
        assert_rc(ir_verify(&ir, true), RC_VERIFY);
    }
    promoted();
    nodes[0].op = N_LOOP; /* twice */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted();
    nodes[1].op = N_BORROW;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    promoted();
    nodes[1] = nodes[7]; /* a store while registers are saved and not loaded */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir8_chains_have_targets_of_their_own(void **state)
{
    (void)state;
    static const struct ir_chain bad[] = {
        {0, {0x5000}}, {CHAIN_TARGETS + 1, {0x5000, 0x6000, 0x7000}}, {2, {0x5000, 0}}, {1, {0x3000}}, {2, {0x5000, 0x5000}},
    };
    ir.chains[0] = (struct ir_chain){2, {0x5000, 0x6000}};
    ir.chain_count = 1;
    nodes[2].chain = 1;
    assert_ok(ir_verify(&ir, true));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ir.chains[0] = bad[i];
        assert_rc(ir_verify(&ir, true), RC_VERIFY);
    }
    ir.chains[0] = (struct ir_chain){1, {0x5000}};
    nodes[2].chain = 2; /* there is none */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    nodes[2].chain = 0;
    nodes[1].chain = 1; /* no indirect branch */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_changes_are_counted_and_bisected(void **state)
{
    (void)state;
    assert_true(ir_change(&ir, PASS_loads, &nodes[0], "one"));
    assert_true(ir_change(&ir, PASS_idle, &nodes[0], "two"));
    assert_string_equal(nodes[0].why, "two");
    assert_int_equal(ir_changes(&ir), 2);
    ir.bisect = 2;
    assert_false(ir_change(&ir, PASS_idle, &nodes[0], "three"));
    assert_string_equal(nodes[0].why, "two");
    ir.bisect = 3;
    assert_true(ir_change(&ir, PASS_idle, &nodes[0], "three"));
    ir.bisect = -1;
    assert_false(ir_change(&ir, PASS_idle, &nodes[0], "four"));
    assert_int_equal(ir.changes[PASS_idle], 2);
    assert_true(ir_runs(&ir, PASS_idle));
    ir.passes = PASS_BIT(PASS_loads);
    assert_false(ir_runs(&ir, PASS_idle));
    assert_true(ir_runs(&ir, PASS_loads));
    ir.passes = PASSES_NONE;
    assert_false(ir_runs(&ir, PASS_loads));
}

static void test_nodes_name_instructions(void **state)
{
    (void)state;
    nodes[0].insn = -1;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    nodes[0].insn = 4;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_kinds_fit(void **state)
{
    (void)state;
    nodes[0].insn = 1; /* a branch as a plain instruction */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    good(NULL);
    nodes[2].insn = 1; /* a guard on a direct branch */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    good(NULL);
    nodes[3] = (struct node){.op = N_LOOKUP, .insn = 0};
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_empty_is_rejected(void **state)
{
    (void)state;
    ir.count = 0;
    assert_rc(ir_verify(&ir, false), RC_VERIFY);
    good(NULL);
    for (int i = 0; i < 4; i++)
        nodes[i].removed = true;
    assert_rc(ir_verify(&ir, false), RC_VERIFY);
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_append_has_a_limit(void **state)
{
    (void)state;
    ir.cap = 5;
    assert_ok(ir_append(&ir, (struct node){.op = N_INSN}));
    assert_rc(ir_append(&ir, (struct node){.op = N_INSN}), RC_TOO_LONG);
    assert_int_equal(ir.count, 5);
}

static void test_build(void **state)
{
    (void)state;
    insns[0] = unit_decode("90", 0x1000);
    insns[1] = unit_decode("74 10", 0x1001);
    insns[2] = unit_decode("c3", 0x1013);
    struct trace t = {.head = app_pc(0x1000), .exit = app_pc(0), .end = TRACE_INDIRECT, .steps = 2};
    t.step[0] = (struct trace_step){app_pc(0x1000), app_pc(0x1003), app_pc(0x1013), true};
    t.step[1] = (struct trace_step){app_pc(0x1013), app_pc(0x1014), app_pc(0x5000), true};
    assert_ok(ir_build(&ir, &t, insns, 3));
    assert_int_equal(ir.count, 3);
    assert_int_equal(ir.tag.v, 0x1000);
    assert_int_equal(nodes[0].op, N_INSN);
    assert_int_equal(nodes[0].went, 0x1001);
    assert_int_equal(nodes[1].op, N_BRANCH);
    assert_true(nodes[1].taken);
    assert_int_equal(nodes[1].went, 0x1013);
    assert_int_equal(nodes[2].went, 0x5000);
    ir.cap = 2;
    assert_rc(ir_build(&ir, &t, insns, 3), RC_TOO_LONG);
    ir.cap = 8;
    assert_rc(ir_build(&ir, &t, insns, 2), RC_VERIFY); /* a recorded block is missing */
}

/* mov rax, rdi; je; mov rcx, rdx; mov [rsi], rcx, which the hammock stands for; exit. The other side stores rax. */
static struct insn other[2];
static struct hammock *hammock(void)
{
    static const char *const hex[] = {"48 89 f8", "74 10", "48 89 d1", "48 89 0e"};
    good(NULL);
    for (size_t i = 0; i < 4; i++)
        insns[i] = unit_decode(hex[i], 0x1000 + 16 * i);
    nodes[0] = (struct node){.op = N_INSN, .insn = 0, .in = &insns[0]};
    nodes[1] = (struct node){.op = N_HAMMOCK, .insn = 1};
    nodes[2] = (struct node){.op = N_INSN, .insn = 2, .removed = true};
    nodes[3] = (struct node){.op = N_INSN, .insn = 3, .removed = true};
    nodes[4] = (struct node){.op = N_EXIT, .insn = 3, .target = 0x4000, .appended = true};
    ir.count = 5;
    other[0] = unit_decode("48 89 06", 0x3000);
    ir.made = other;
    ir.made_cap = 2;
    ir.made_count = ir.hammock_count = 1;
    ir.hammocks[0] = (struct hammock){.nodes = 3, .other_count = 1, .scratch = 1u << R_RBX, .count = 3, .commit = 2};
    struct asm_sum rdx = {R_RDX, R_NONE, 1, false, 0}, at = {R_RSI, R_NONE, 1, false, 0};
    ir.hammocks[0].step[0] = (struct hammock_step){HAMMOCK_SET, 0, R_RBX, 8, rdx};
    ir.hammocks[0].step[1] = (struct hammock_step){HAMMOCK_STORE, 0, R_RBX, 8, at};
    ir.hammocks[0].step[2] = (struct hammock_step){HAMMOCK_CMOV, 5, R_RCX, 8, rdx};
    return &ir.hammocks[0];
}

static void test_ir6_a_hammock_is_a_branch_and_its_sides(void **state)
{
    (void)state;
    hammock();
    assert_ok(ir_verify(&ir, true));
    hammock()->nodes = 2; /* a removed store */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock()->nodes = 4; /* the end of the trace */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock()->nodes = 5; /* nowhere */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock();
    nodes[2].removed = false;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock();
    nodes[1].hammock = 1; /* there is none */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock();
    nodes[1].insn = 0; /* no branch */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock();
    nodes[1].removed = true;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock();
    insns[2] = unit_decode("ff d0", 0x1020); /* a call on a side */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock();
    other[0] = unit_decode("c3", 0x3000);
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir6_a_hammock_does_what_its_sides_do(void **state)
{
    (void)state;
    hammock()->step[0].reg = R_RDX; /* neither side's, not free */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock()->step[2].reg = R_R8;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock()->spare = 1u << R_R8;
    ir.hammocks[0].step[2].reg = R_R8;
    assert_ok(ir_verify(&ir, true));
    hammock()->commit = 1; /* a store behind it */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock()->commit = 4;
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock()->step[1].kind = HAMMOCK_SET; /* no store */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock();
    other[0] = unit_decode("48 89 c1", 0x3000); /* none on the other side */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir6_what_can_be_rolled_forward_comes_last(void **state)
{
    static const uint8_t kinds[] = {HAMMOCK_LOAD, HAMMOCK_SHIFT, HAMMOCK_EXTEND};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        hammock()->step[0].kind = kinds[i];
        assert_ok(ir_verify(&ir, true));
        hammock()->step[2].kind = kinds[i]; /* past the store */
        assert_rc(ir_verify(&ir, true), RC_VERIFY);
    }
    hammock()->step[0].kind = HAMMOCK_SHIFT;
    ir.hammocks[0].step[0].sum.base = R_RBX; /* which the count is in */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

static void test_ir6_wanted_registers_are_borrowed(void **state)
{
    (void)state;
    hammock()->step[0].reg = ir.hammocks[0].step[1].reg = 9;
    ir.wanted = 1u << 9;
    assert_ok(ir_verify(&ir, true)); /* until the end */
    other[0] = unit_decode("4c 89 0e", 0x3000); /* the other side's own */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
    hammock()->step[0].reg = ir.hammocks[0].step[1].reg = 9;
    memmove(nodes + 2, nodes, (size_t)ir.count * sizeof *nodes);
    ir.count += 2;
    nodes[0] = (struct node){.op = N_BORROW, .appended = true};
    nodes[1] = (struct node){.op = N_LOOP, .appended = true};
    ir.borrowed = ir.wanted = 1u << 9;
    assert_ok(ir_verify(&ir, true));
    ir.borrowed = 1u << R_R8; /* others */
    assert_rc(ir_verify(&ir, true), RC_VERIFY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_good_is_accepted, good),
        cmocka_unit_test_setup(test_ir1_the_last_node_ends_the_trace, good),
        cmocka_unit_test_setup(test_ir1_nothing_follows_the_end, good),
        cmocka_unit_test_setup(test_ir2_no_branch_after_layout, good),
        cmocka_unit_test_setup(test_ir3_exits_and_guards_have_targets, good),
        cmocka_unit_test_setup(test_ir4_made_instructions_write_what_the_original_writes, good),
        cmocka_unit_test_setup(test_ir4_made_instructions_decode_to_what_they_say, good),
        cmocka_unit_test_setup(test_ir5_removed_nodes_have_no_effect, good),
        cmocka_unit_test_setup(test_ir6_a_hammock_is_a_branch_and_its_sides, good),
        cmocka_unit_test_setup(test_ir6_a_hammock_does_what_its_sides_do, good),
        cmocka_unit_test_setup(test_ir6_what_can_be_rolled_forward_comes_last, good),
        cmocka_unit_test_setup(test_ir6_wanted_registers_are_borrowed, good),
        cmocka_unit_test_setup(test_ir7_parts_change_borrowed_registers_only, good),
        cmocka_unit_test_setup(test_ir7_vector_registers, good),
        cmocka_unit_test_setup(test_ir7_fused_nodes_follow_removed_ones, good),
        cmocka_unit_test_setup(test_ir7_borrowed_registers_are_nobodys, good),
        cmocka_unit_test_setup(test_ir7_checks_and_order, good),
        cmocka_unit_test_setup(test_ir8_chains_have_targets_of_their_own, good),
        cmocka_unit_test_setup(test_changes_are_counted_and_bisected, good),
        cmocka_unit_test_setup(test_nodes_name_instructions, good),
        cmocka_unit_test_setup(test_kinds_fit, good),
        cmocka_unit_test_setup(test_empty_is_rejected, good),
        cmocka_unit_test_setup(test_append_has_a_limit, good),
        cmocka_unit_test_setup(test_build, good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
