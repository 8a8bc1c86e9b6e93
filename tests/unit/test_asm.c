/* Every emitter is read back through the decoder: one instruction, of the promised length, meaning what was asked for,
 * and with the flags left alone (ASM-1). Copies of instructions are compared with the original. */
#include "tests/unit/unit.h"

#include "tracer/asm.h"

#define AT 0x10000000ULL
#define SLOT_AT (-0x40)

static uint8_t buffer[256];

static struct asm_buf fresh(void)
{
    memset(buffer, 0xcc, sizeof buffer);
    return asm_on(buffer, sizeof buffer, cache_pc(AT));
}

/* The one instruction in the buffer, described. */
static const char *only(const struct asm_buf *a)
{
    assert_false(a->overflow);
    struct insn in = unit_decode_bytes(a->bytes, a->len, a->origin);
    if (in.len != a->len)
        print_message("%zu bytes emitted, the first instruction has %u\n", a->len, in.len);
    assert_int_equal(in.len, a->len);
    return unit_describe(&in);
}

static struct insn first(const struct asm_buf *a) { return unit_decode_bytes(a->bytes, a->len, a->origin); }

#define EMITS(text, call)                                                                                    \
    do {                                                                                                     \
        struct asm_buf a_ = fresh(), *a = &a_;                                                               \
        call;                                                                                                \
        assert_string_equal(only(a), text);                                                                  \
    } while (0)

static void test_branches(void **state)
{
    (void)state;
    EMITS("jmp 5 to:+4096", asm_jmp(a, AT + 4096));
    EMITS("jmp 5 to:-2147483643", asm_jmp(a, AT + 5 - 0x80000000ULL));
    EMITS("jcc 6 cc:5 to:+16 fr:z", asm_jcc(a, 5, AT + 16));
    EMITS("jmp_ind 6 to:+256 [rip+250]r8 rip@1,2", asm_jmp_mem(a, AT + 256));
    EMITS("jmp_ind 2 r:rcx", asm_jmp_reg(a, R_RCX));
    EMITS("jmp_ind 2 r:rdi", asm_jmp_reg(a, R_RDI));
    EMITS("jmp_ind 8 [-64]r8", asm_jmp_slot(a, SLOT_AT));
    EMITS("plain 8 r:rcx w:rcx [+rcx*8+1073741824]r8", asm_load_table_rcx(a, 0x40000000));
    EMITS("ret 1 r:rsp w:rsp sp=?", asm_ret(a));
    for (unsigned op = 0; op < 5; op++) {
        struct asm_buf a = fresh();
        asm_loop_op(&a, op, -7);
        struct insn in = first(&a);
        assert_int_equal(in.kind, IK_LOOP);
        assert_int_equal(in.loop_op, op);
        assert_int_equal(in.len, ASM_LOOP_OP_BYTES(op));
        assert_int_equal(a.len, in.len);
        assert_int_equal(in.target, AT + in.len - 7);
    }
    for (unsigned cc = 0; cc < 16; cc++) {
        struct asm_buf a = fresh();
        asm_jcc(&a, cc, AT);
        assert_int_equal(first(&a).cc, cc);
        assert_int_equal(first(&a).target, AT);
        assert_int_equal(first(&a).flags_written, 0);
    }
}

static void test_out_of_reach_is_overflow(void **state)
{
    (void)state;
    struct asm_buf a = fresh();
    asm_jmp(&a, AT + 5 + 0x7fffffffULL);
    assert_false(a.overflow);
    a = fresh();
    asm_jmp(&a, AT + 5 + 0x80000000ULL);
    assert_true(a.overflow);
    a = fresh();
    asm_jcc(&a, 0, AT + 6 - 0x80000001ULL);
    assert_true(a.overflow);
}

static void test_full_buffer_is_overflow(void **state)
{
    (void)state;
    struct asm_buf a = asm_on(buffer, 4, cache_pc(AT));
    memset(buffer, 0xcc, sizeof buffer);
    asm_bytes(&a, "abcd", 4);
    assert_false(a.overflow);
    asm_ret(&a);
    assert_true(a.overflow);
    assert_int_equal(a.len, 4);
    assert_int_equal(buffer[4], 0xcc);
    asm_bytes(&a, "", 0); /* latched */
    assert_true(a.overflow);
}

static void test_slots(void **state)
{
    (void)state;
    EMITS("plain 9 r:rax [-64]w8 stores", asm_store_slot(a, SLOT_AT, R_RAX));
    EMITS("plain 9 r:r15 [-64]w8 stores", asm_store_slot(a, SLOT_AT, 15));
    EMITS("plain 9 w:rcx [-64]r8", asm_load_slot(a, R_RCX, SLOT_AT));
    EMITS("plain 9 w:r9 [-64]r8", asm_load_slot(a, 9, SLOT_AT));
    EMITS("plain 12 [-64]w4 stores", asm_store_slot_imm32(a, SLOT_AT, 77));
    struct asm_buf a = fresh();
    asm_store_slot_imm32(&a, SLOT_AT, 0xdeadbeef);
    assert_int_equal(a.bytes[0], 0x64); /* the fs prefix, which no fact shows */
    assert_memory_equal(a.bytes + 8, "\xef\xbe\xad\xde", 4);
    a = fresh();
    asm_load_slot(&a, R_RAX, SLOT_AT);
    asm_store_slot(&a, SLOT_AT, R_RAX);
    asm_jmp_slot(&a, SLOT_AT);
    assert_int_equal(a.bytes[0], 0x64);
    assert_int_equal(a.bytes[9], 0x64);
    assert_int_equal(a.bytes[18], 0x64);
}

static void test_stack_and_flags(void **state)
{
    (void)state;
    EMITS("plain 6 to:+64 r:rsp w:rsp [rip+58]r8 rip@1,2 sp-8 pushes stores", asm_push_mem(a, AT + 64));
    EMITS("plain 1 r:rsp w:rsp fr:cpazsdo sp-8 pushes stores", asm_pushfq(a));
    EMITS("plain 1 fw:d", asm_cld(a));
    EMITS("plain 5 r:rax fw:cpazso", asm_test_eax(a, 0x1234));
    struct asm_buf b = fresh();
    asm_popfq(&b);
    assert_int_equal(b.len, 1);
    assert_int_equal(first(&b).flags_written, FL_STATUS | FL_DF);
    for (unsigned r = 0; r < 16; r++) {
        struct asm_buf a = fresh();
        asm_push(&a, r);
        struct insn in = first(&a);
        assert_int_equal(in.len, a.len);
        assert_true(in.pushes);
        assert_int_equal(in.gpr_read, 1u << r | 1u << R_RSP);
        a = fresh();
        asm_pop(&a, r);
        in = first(&a);
        assert_int_equal(in.len, a.len);
        assert_int_equal(in.gpr_written, 1u << r | 1u << R_RSP);
        assert_int_equal(in.flags_written, 0);
    }
}

static void test_mov_imm64(void **state)
{
    (void)state;
    static const struct {
        uint64_t v;
        unsigned low, high; /* lengths for rax..rdi and r8..r15 */
    } rows[] = {
        {0, 5, 6},
        {1, 5, 6},
        {0x7fffffff, 5, 6},
        {0x80000000, 5, 6},
        {0xffffffff, 5, 6},
        {0x100000000, 10, 10},
        {0xffffffff80000000, 7, 7},
        {0xffffffff7fffffff, 10, 10},
        {UINT64_MAX, 7, 7},
        {0x123456789abcdef0, 10, 10},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (unsigned r = 0; r < 16; r++) {
            struct asm_buf a = fresh();
            asm_mov_imm64(&a, r, rows[i].v);
            struct insn in = first(&a);
            assert_int_equal(in.len, a.len);
            assert_int_equal(a.len, r < 8 ? rows[i].low : rows[i].high);
            assert_int_equal(in.gpr_written, 1u << r);
            assert_int_equal(in.gpr_read | in.flags_written | in.flags_read, 0);
            uint64_t v = 0;
            memcpy(&v, a.bytes + a.len - (a.len == 10 ? 8 : 4), a.len == 10 ? 8 : 4);
            if (a.len == 7)
                v = (uint64_t)(int64_t)(int32_t)v;
            assert_int_equal(v, rows[i].v);
        }
}

static void check_access(const struct asm_buf *a, unsigned base, int32_t disp, bool read, bool write)
{
    assert_false(a->overflow);
    struct insn in = first(a);
    assert_int_equal(in.len, a->len);
    assert_int_equal(in.kind, IK_PLAIN);
    assert_int_equal(in.mem_base, base);
    assert_int_equal(in.mem_index, R_NONE);
    assert_int_equal(in.mem_disp, disp);
    assert_int_equal(in.mem_read, read);
    assert_int_equal(in.mem_write, write);
    assert_int_equal(in.mem_bytes, read || write ? 8 : 0);
    assert_int_equal(in.flags_written, 0);
}

/* Every base register: rsp and r12 need a sib byte, rbp and r13 a displacement. */
static void test_memory(void **state)
{
    (void)state;
    static const int32_t disps[] = {0, 8, -128, 127, 128, -129, 0x7fffffff};
    for (unsigned base = 0; base < 16; base++)
        for (unsigned reg = 0; reg < 16; reg++)
            for (size_t i = 0; i < ARRAY_LEN(disps); i++) {
                struct asm_buf a = fresh();
                asm_load(&a, reg, base, disps[i]);
                check_access(&a, base, disps[i], true, false);
                assert_int_equal(first(&a).gpr_written, 1u << reg);
                a = fresh();
                asm_store(&a, base, disps[i], reg);
                check_access(&a, base, disps[i], false, true);
                assert_int_equal(first(&a).gpr_read, 1u << reg | 1u << base);
                a = fresh();
                asm_lea(&a, reg, base, disps[i]);
                check_access(&a, base, disps[i], false, false);
                assert_int_equal(first(&a).gpr_written, 1u << reg);
            }
    for (unsigned base = 0; base < 16; base++) {
        struct asm_buf a = fresh();
        asm_pop_mem(&a, base, 24);
        check_access(&a, base, 24, false, true);
        a = fresh();
        asm_push_base(&a, base, 24);
        check_access(&a, base, 24, true, false);
        assert_true(first(&a).pushes);
    }
}

static void test_registers(void **state)
{
    (void)state;
    for (unsigned to = 0; to < 16; to++)
        for (unsigned from = 0; from < 16; from++) {
            struct asm_buf a = fresh();
            asm_mov_reg(&a, to, from);
            assert_int_equal(first(&a).len, a.len);
            assert_int_equal(first(&a).gpr_written, 1u << to);
            assert_int_equal(first(&a).gpr_read, 1u << from);
            assert_int_equal(first(&a).flags_written, 0);
            a = fresh();
            asm_movzx16(&a, to, from);
            assert_int_equal(first(&a).len, a.len);
            assert_int_equal(first(&a).gpr_written, 1u << to);
            assert_int_equal(first(&a).gpr_read, 1u << from);
            assert_int_equal(first(&a).flags_written, 0);
            if (from == R_RSP)
                continue; /* never an index */
            a = fresh();
            asm_lea_sum(&a, 5, to, from);
            struct insn in = first(&a);
            assert_int_equal(in.len, a.len);
            assert_int_equal(in.gpr_written, 1u << 5);
            assert_int_equal(in.mem_base, to);
            assert_int_equal(in.mem_index, from);
            assert_int_equal(in.mem_scale, 1);
            assert_int_equal(in.mem_disp, 0);
            assert_int_equal(in.flags_written, 0);
        }
}

static void test_align(void **state)
{
    (void)state;
    for (unsigned skew = 0; skew < 64; skew++) {
        struct asm_buf a = asm_on(buffer, sizeof buffer, cache_pc(AT + skew));
        asm_align(&a, 64);
        assert_int_equal(asm_here(&a).v % 64, 0);
        assert_true(a.len < 64);
        for (size_t i = 0; i < a.len;) { /* nothing but nops */
            struct insn in = unit_decode_bytes(a.bytes + i, a.len - i, AT);
            assert_int_equal(in.kind, IK_PLAIN);
            assert_int_equal(in.gpr_written | in.flags_written | in.flags_read | in.mem_write, 0);
            i += in.len;
        }
    }
}

/* The documented sequence changes rax, rcx and the six status flags, nothing else; test_stubs runs it. */
static void test_flags_from_eax(void **state)
{
    (void)state;
    struct asm_buf a = fresh();
    asm_flags_from_eax(&a);
    unsigned written = 0, flags = 0;
    for (size_t i = 0; i < a.len;) {
        struct insn in = unit_decode_bytes(a.bytes + i, a.len - i, AT + i);
        assert_int_equal(in.kind, IK_PLAIN);
        assert_false(in.stores);
        written |= in.gpr_written;
        flags |= in.flags_written;
        i += in.len;
    }
    assert_int_equal(written, 1u << R_RAX | 1u << R_RCX);
    assert_int_equal(flags, FL_STATUS);
}

static void test_pushes_and_compares(void **state)
{
    (void)state;
    struct asm_buf a = fresh();
    asm_push_imm32(&a, -5);
    assert_int_equal(first(&a).len, a.len);
    assert_true(first(&a).pushes && first(&a).sp_delta == -8);
    int32_t v;
    memcpy(&v, a.bytes + 1, 4);
    assert_int_equal(v, -5);
    for (unsigned reg = 0; reg < 16; reg++) {
        a = fresh();
        asm_store_slot(&a, SLOT_AT, reg);
        asm_load_slot(&a, reg, SLOT_AT);
        assert_int_equal(a.len, 2 * ASM_SLOT_BYTES);
        a = fresh();
        asm_cmp_const(&a, reg, AT + 64);
        struct insn in = first(&a);
        assert_int_equal(in.len, a.len);
        assert_int_equal(in.target, AT + 64);
        assert_int_equal(in.gpr_read, 1u << reg);
        assert_int_equal(in.gpr_written, 0);
        assert_true(in.flags_written == FL_STATUS && in.mem_bytes == 8 && !in.stores);
    }
}

/* Operands of indirect branches, as jmp and call have them. */
static const struct {
    const char *hex;
    uint16_t reads;
    unsigned reg;
} branch_operands[] = {
    {"ff e0", 1u << R_RAX, R_RAX}, /* jmp rax */
    {"41 ff d3", 1u << 11, 11}, /* call r11 */
    {"3e ff d1", 1u << R_RCX, R_RCX}, /* notrack call rcx */
    {"ff 20", 1u << R_RAX, R_NONE}, /* jmp [rax] */
    {"67 ff 20", 1u << R_RAX, R_NONE}, /* jmp [eax] */
    {"ff 54 24 10", 1u << R_RSP, R_NONE}, /* call [rsp+16] */
    {"42 ff 24 e8", 1u << R_RAX | 1u << 13, R_NONE}, /* jmp [rax+r13*8] */
    {"43 ff 94 ee 00 10 00 00", 1u << 14 | 1u << 13, R_NONE}, /* call [r14+r13*8+0x1000] */
    {"64 ff 14 25 28 00 00 00", 0, R_NONE}, /* call fs:[0x28] */
    {"ff 25 00 10 00 00", 0, R_NONE}, /* jmp [rip+0x1000] */
    {"c3", 1u << R_RSP, R_NONE}, /* ret */
};

static void test_compare_branch_operands(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(branch_operands); i++) {
        struct insn branch = unit_decode(branch_operands[i].hex, AT - 0x10000), in;
        struct asm_buf a = fresh();
        assert_int_equal(asm_branch_register(&branch), branch_operands[i].reg);
        assert_true(asm_cmp_branch_operand(&a, R_R8, &branch));
        in = first(&a);
        assert_int_equal(in.len, a.len);
        assert_int_equal(in.gpr_read, branch_operands[i].reads | 1u << R_R8);
        assert_true(in.flags_written == FL_STATUS && !in.gpr_written && !in.stores);
        assert_true(in.mem_read == (branch_operands[i].reg == R_NONE));
        if (branch.kind != IK_RET) {
            assert_int_equal(in.mem_base, branch.mem_base);
            assert_int_equal(in.mem_index, branch.mem_index);
            assert_int_equal(in.mem_disp == branch.mem_disp || branch.rip_relative, 1);
        }
        if (branch.rip_relative)
            assert_int_equal(in.target, branch.target);
        a = fresh();
        assert_true(asm_cmp_branch_operand_imm(&a, &branch, -77));
        in = first(&a);
        assert_int_equal(in.len, a.len);
        assert_int_equal(in.gpr_read, branch_operands[i].reads);
        assert_true(in.flags_written == FL_STATUS && !in.gpr_written && !in.stores);
        int32_t v;
        memcpy(&v, a.bytes + a.len - 4, 4);
        assert_int_equal(v, -77);
        if (branch.rip_relative)
            assert_int_equal(in.target, branch.target);
    }
    struct insn far = unit_decode("ff 25 00 10 00 00", AT + 0x100000000);
    struct asm_buf a = fresh();
    assert_false(asm_cmp_branch_operand(&a, R_R8, &far));
    assert_false(asm_cmp_branch_operand_imm(&a, &far, 1));
    assert_int_equal(a.len, 0);
    assert_true(asm_load_branch_operand(&a, R_RDX, &far)); /* in two */
    assert_int_equal(first(&a).gpr_written, 1u << R_RDX);
}

/* --- copies */

static rc_t copy(const char *hex, uint64_t pc, unsigned *count, struct asm_buf *a)
{
    struct insn in = unit_decode(hex, pc);
    *a = fresh();
    return asm_copy_insn(a, &in, SLOT_AT, count);
}

static void test_copy_keeps_bytes(void **state)
{
    (void)state;
    static const char *const hex[] = {"90", "48 8b 44 24 08", "f0 48 0f b1 0b", "62 f1 fe 48 7f 44 24 01", "d9 7c 24 fe"};
    for (size_t i = 0; i < ARRAY_LEN(hex); i++) {
        struct asm_buf a;
        unsigned count;
        uint8_t bytes[32];
        size_t len = unit_bytes(hex[i], bytes, sizeof bytes);
        assert_ok(copy(hex[i], 0x7000000000, &count, &a));
        assert_int_equal(count, 1);
        assert_int_equal(a.len, len);
        assert_memory_equal(a.bytes, bytes, len);
    }
}

static const char *const rip_forms[] = {
    "48 8b 05 00 10 00 00", /* mov rax, [rip+0x1000] */
    "44 89 3d 00 10 00 00", /* mov [rip+0x1000], r15d */
    "c7 05 00 10 00 00 78 56 34 12", /* mov dword [rip+0x1000], 0x12345678: immediate after the displacement */
    "66 0f 3a 0f 05 00 10 00 00 07", /* palignr xmm0, [rip+0x1000], 7 */
    "c5 f9 6f 05 00 10 00 00", /* vmovdqa xmm0, [rip+0x1000]: two-byte VEX */
    "c4 e3 7d 39 05 00 10 00 00 01", /* vextracti128: three-byte VEX */
    "62 61 fe 48 6f 05 00 10 00 00", /* vmovdqu64 zmm24, [rip+0x1000]: EVEX */
    "48 0f c7 0d 00 10 00 00", /* cmpxchg16b [rip+0x1000] */
    "ff 35 00 10 00 00", /* push [rip+0x1000] */
    "8f 05 00 10 00 00", /* pop [rip+0x1000] */
    "d9 05 00 10 00 00", /* fld [rip+0x1000] */
    "f0 48 ff 05 00 10 00 00", /* lock inc [rip+0x1000] */
};

static void test_copy_near(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rip_forms); i++) {
        uint64_t pc = AT + 0x70000000;
        struct asm_buf a;
        unsigned count;
        struct insn in = unit_decode(rip_forms[i], pc);
        assert_ok(copy(rip_forms[i], pc, &count, &a));
        assert_int_equal(count, 1);
        assert_int_equal(a.len, in.len);
        struct insn out = first(&a);
        assert_int_equal(out.target, in.target);
        assert_true(out.rip_relative);
        out.mem_disp = in.mem_disp;
        out.target = in.target - in.pc.v + AT;
        char expected[512];
        strcpy(expected, unit_describe(&in));
        assert_string_equal(unit_describe(&out), expected);
    }
}

/* Out of reach: save a register, load the address, the instruction with [register], restore. */
static void test_copy_far(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rip_forms); i++) {
        struct asm_buf a;
        unsigned count;
        uint64_t pc = 0x7f0000000000;
        struct insn in = unit_decode(rip_forms[i], pc);
        assert_ok(copy(rip_forms[i], pc, &count, &a));
        assert_int_equal(count, 4);
        struct insn out[4];
        size_t at = 0;
        for (int k = 0; k < 4; k++) {
            out[k] = unit_decode_bytes(a.bytes + at, a.len - at, AT + at);
            at += out[k].len;
        }
        assert_int_equal(at, a.len);
        unsigned s = out[2].mem_base;
        assert_in_range(s, 0, 7);
        assert_int_equal((in.gpr_read | in.gpr_written) & 1u << s, 0); /* the scratch is free */
        assert_int_equal(out[0].gpr_read, 1u << s);
        assert_int_equal(out[0].mem_disp, SLOT_AT);
        assert_int_equal(out[1].gpr_written, 1u << s);
        uint64_t address = 0;
        memcpy(&address, a.bytes + out[0].len + 2, 8);
        assert_int_equal(address, in.target);
        assert_false(out[2].rip_relative);
        assert_int_equal(out[2].mem_disp, 0);
        assert_int_equal(out[2].len, in.len - 4);
        assert_int_equal(out[2].mem_bytes, in.mem_bytes);
        assert_int_equal(out[2].mem_read, in.mem_read);
        assert_int_equal(out[2].mem_write, in.mem_write);
        assert_int_equal(out[2].gpr_written, in.gpr_written);
        assert_int_equal(out[2].flags_written, in.flags_written);
        assert_memory_equal(a.bytes + out[0].len + out[1].len, in.bytes, in.modrm_at);
        assert_memory_equal(a.bytes + out[0].len + out[1].len + out[2].len - (in.len - in.disp_at - 4u),
                            in.bytes + in.disp_at + 4, in.len - in.disp_at - 4u); /* the immediate */
        assert_int_equal(out[3].gpr_written, 1u << s);
        assert_int_equal(out[3].mem_disp, SLOT_AT);
    }
}

static void test_copy_far_lea_is_a_constant(void **state)
{
    (void)state;
    struct asm_buf a;
    unsigned count;
    assert_ok(copy("4c 8d 3d 00 10 00 00", 0x7f0000000000, &count, &a)); /* lea r15, [rip+0x1000] */
    assert_int_equal(count, 1);
    assert_string_equal(only(&a), "plain 10 w:r15");
    uint64_t v;
    memcpy(&v, a.bytes + 2, 8);
    assert_int_equal(v, 0x7f0000001007);
}

static void test_copy_far_without_scratch(void **state)
{
    (void)state;
    struct asm_buf a;
    unsigned count;
    /* REX.B, VEX.B and EVEX.B set: [register] would name r8..r15. The CPU ignores them with [rip]. */
    assert_rc(copy("49 8b 05 00 10 00 00", 0x7f0000000000, &count, &a), RC_NO_SCRATCH);
    assert_rc(copy("c4 c1 79 6f 05 00 10 00 00", 0x7f0000000000, &count, &a), RC_NO_SCRATCH);
    assert_ok(copy("49 8b 05 00 10 00 00", AT + 0x1000, &count, &a)); /* in reach there is no need */
}

/* --- operands of indirect branches, loaded into rdx */

static void load_operand(const char *hex, uint64_t pc, const char *expected)
{
    struct insn in = unit_decode(hex, pc);
    struct asm_buf a = fresh();
    assert_true(asm_load_branch_operand(&a, R_RDX, &in));
    assert_string_equal(only(&a), expected);
}

static void test_branch_operands(void **state)
{
    (void)state;
    load_operand("ff e0", AT, "plain 3 r:rax w:rdx");
    load_operand("41 ff e3", AT, "plain 3 r:r11 w:rdx");
    load_operand("ff e2", AT, "plain 3 r:rdx w:rdx");
    load_operand("3e ff e1", AT, "plain 3 r:rcx w:rdx");
    load_operand("ff 54 24 08", AT, "plain 5 r:rsp w:rdx [rsp+8]r8");
    load_operand("41 ff 24 d4", AT, "plain 4 r:rdx,r12 w:rdx [r12+rdx*8+0]r8");
    load_operand("43 ff 64 fd 10", AT, "plain 5 r:r13,r15 w:rdx [r13+r15*8+16]r8");
    load_operand("f2 ff 23", AT, "plain 3 r:rbx w:rdx [rbx+0]r8");
    load_operand("ff 24 c5 00 10 00 00", AT, "plain 8 r:rax w:rdx [+rax*8+4096]r8");
    load_operand("ff 25 00 10 00 00", AT + 0x100, "plain 7 to:+4358 w:rdx [rip+4351]r8 rip@2,3");
    load_operand("49 ff e3", AT, "plain 3 r:r11 w:rdx"); /* a redundant REX.W */

    struct insn in = unit_decode("65 ff 10", AT);
    struct asm_buf a = fresh();
    assert_true(asm_load_branch_operand(&a, R_RDX, &in));
    assert_int_equal(a.bytes[0], 0x65); /* the segment base counts */
    assert_string_equal(only(&a), "plain 4 r:rax w:rdx [rax+0]r8");
}

static void test_branch_operand_far(void **state)
{
    (void)state;
    struct insn in = unit_decode("ff 25 00 10 00 00", 0x7f0000000000);
    struct asm_buf a = fresh();
    assert_true(asm_load_branch_operand(&a, R_RDX, &in));
    struct insn constant = first(&a), load = unit_decode_bytes(a.bytes + 10, a.len - 10, AT + 10);
    uint64_t v;
    memcpy(&v, a.bytes + 2, 8);
    assert_string_equal(unit_describe(&constant), "plain 10 w:rdx");
    assert_int_equal(v, 0x7f0000001006);
    assert_string_equal(unit_describe(&load), "plain 7 r:rdx w:rdx [rdx+0]r8");
    assert_int_equal(a.len, 17);
}

static void test_branch_operand_refused(void **state)
{
    (void)state;
    struct insn in = unit_decode("64 ff 25 00 10 00 00", AT); /* jmp fs:[rip+d] */
    struct asm_buf a = fresh();
    assert_false(asm_load_branch_operand(&a, R_RDX, &in));
    in = unit_decode("c3", AT);
    assert_false(asm_load_branch_operand(&a, R_RDX, &in));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_out_of_reach_is_overflow),
        cmocka_unit_test(test_full_buffer_is_overflow),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_stack_and_flags),
        cmocka_unit_test(test_mov_imm64),
        cmocka_unit_test(test_pushes_and_compares),
        cmocka_unit_test(test_compare_branch_operands),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_align),
        cmocka_unit_test(test_flags_from_eax),
        cmocka_unit_test(test_copy_keeps_bytes),
        cmocka_unit_test(test_copy_near),
        cmocka_unit_test(test_copy_far),
        cmocka_unit_test(test_copy_far_lea_is_a_constant),
        cmocka_unit_test(test_copy_far_without_scratch),
        cmocka_unit_test(test_branch_operands),
        cmocka_unit_test(test_branch_operand_far),
        cmocka_unit_test(test_branch_operand_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
