/* Sums of registers, conditional moves and stores to sums: every combination of registers is read back through the decoder,
 * and what is set is computed once more from what it says. */
#include "tests/unit/unit.h"

#include "tracer/asm.h"

static uint8_t buffer[32];

static struct insn only(const struct asm_buf *a)
{
    assert_false(a->overflow);
    struct insn in = unit_decode_bytes(a->bytes, a->len, a->origin);
    assert_int_equal(in.len, a->len);
    assert_int_equal(in.kind, IK_PLAIN);
    assert_int_equal(in.flags_written, 0);
    return in;
}

static struct asm_buf fresh(void) { return asm_on(buffer, sizeof buffer, cache_pc(0x10000000)); }

static void check_address(const struct insn *in, const struct asm_sum *s)
{
    assert_int_equal(in->mem_base, s->base);
    assert_int_equal(in->mem_index, s->index);
    if (s->index != R_NONE)
        assert_int_equal(in->mem_scale, s->scale);
    assert_int_equal(in->mem_disp, s->disp);
    assert_int_equal(in->seg, SEG_FLAT);
    assert_false(in->mem_narrow);
}

static void check_set(unsigned to, struct asm_sum s)
{
    struct asm_buf a = fresh();
    asm_set_sum(&a, to, s);
    struct insn in = only(&a);
    bool constant = s.base == R_NONE && s.index == R_NONE, move = !constant && s.index == R_NONE && !s.disp;
    assert_int_equal(in.gpr_written, 1u << to);
    assert_int_equal(in.gpr_full, 1u << to);
    assert_int_equal(in.gpr_read, asm_sum_reads(s));
    assert_false(in.mem_read || in.mem_write);
    if (constant) {
        uint64_t value = in.dst.bytes == 4 ? (uint32_t)in.immediate : (uint64_t)in.immediate;
        assert_int_equal(value, s.narrow ? (uint32_t)s.disp : (uint64_t)s.disp);
        return;
    }
    assert_int_equal(in.act, move ? ACT_MOV : ACT_LEA);
    assert_int_equal(in.dst.bytes, s.narrow ? 4 : 8);
    if (!move)
        check_address(&in, &s);
}

static void check_store(unsigned from, struct asm_sum s)
{
    static const unsigned widths[] = {1, 2, 4, 8};
    for (size_t i = 0; i < ARRAY_LEN(widths); i++) {
        struct asm_buf a = fresh();
        asm_store_sum(&a, s, from, widths[i]);
        struct insn in = only(&a);
        assert_int_equal(in.act, ACT_MOV);
        assert_true(in.mem_write && !in.mem_read);
        assert_int_equal(in.mem_bytes, widths[i]);
        assert_int_equal(in.src.reg, from);
        assert_false(in.src.high);
        assert_int_equal(in.gpr_written, 0);
        check_address(&in, &s);
    }
}

static const int32_t disps[] = {0, 1, -1, 127, -128, 128, -129, 0x12345678, INT32_MIN};

static void test_sums(void **state)
{
    static const uint8_t scales[] = {1, 2, 4, 8};
    (void)state;
    for (unsigned base = 0; base <= R_NONE; base++)
        for (unsigned index = 0; index <= R_NONE; index++)
            for (size_t d = 0; d < ARRAY_LEN(disps); d++) {
                if (index == R_RSP)
                    continue;
                unsigned k = base + index + (unsigned)d;
                struct asm_sum s = {(uint8_t)base, (uint8_t)index, index == R_NONE ? 1 : scales[k % 4], k & 4, disps[d]};
                check_set(k % 16, s);
                s.narrow = false;
                if (base != R_NONE || index != R_NONE)
                    check_store((k + 5) % 16, s);
            }
}

static void test_conditional_moves(void **state)
{
    (void)state;
    for (unsigned to = 0; to < 16; to++)
        for (unsigned from = 0; from < 16; from++)
            for (unsigned cc = 0; cc < 16; cc++) {
                struct asm_buf a = fresh();
                asm_cmov(&a, cc, to, from);
                struct insn in = only(&a);
                assert_int_equal(in.gpr_written, 1u << to);
                assert_int_equal(in.gpr_read, 1u << to | 1u << from);
                assert_int_equal(in.bytes[2], 0x40 | cc);
                assert_int_not_equal(in.flags_read, 0);
            }
}

static void test_loads(void **state)
{
    static const struct asm_sum at[] = {{R_RBP, R_NONE, 1, false, -24}, {R_NONE, R_NONE, 1, false, 0x1000}, {13, 9, 8, false, 0x1000}};
    (void)state;
    for (unsigned to = 0; to < 16; to++)
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
            for (size_t i = 0; i < ARRAY_LEN(at); i++) {
                struct asm_buf a = fresh();
                asm_load_sum(&a, to, at[i], bytes);
                struct insn in = only(&a);
                assert_int_equal(in.act, bytes < 4 ? ACT_MOVZX : ACT_MOV);
                assert_int_equal(in.gpr_full, 1u << to);
                assert_int_equal(in.mem_bytes, bytes);
                check_address(&in, &at[i]);
            }
}

static void test_extensions(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 256 * 12; k++) {
        unsigned to = k & 15, from = k >> 4 & 15, narrow = 1u << (k >> 8) % 3, bytes = k >> 8 < 6 ? 4 : 8;
        bool sign = (k >> 8) % 6 >= 3, moves = narrow == 4 && !sign;
        struct asm_buf a = fresh();
        asm_extend(&a, to, from, narrow, sign, bytes);
        struct insn in = only(&a);
        assert_int_equal(in.act, moves ? ACT_MOV : sign ? ACT_MOVSX : ACT_MOVZX);
        assert_int_equal(in.gpr_full, 1u << to);
        assert_int_equal(in.gpr_read, 1u << from);
        assert_int_equal(in.dst.bytes, bytes);
        assert_int_equal(in.src.bytes, moves ? bytes : narrow);
        assert_false(in.src.high);
    }
}

/* mov to, count; shlx, sarx or shrx to, from, to */
static void test_shifts(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 256 * 6; k++) {
        unsigned to = k & 15, from = k >> 4 & 15, how = 1 + (k >> 8) % 3, bytes = k >> 8 < 3 ? 4 : 8;
        struct asm_buf a = fresh();
        struct insn in;
        if (to == from)
            continue;
        asm_shift(&a, how, to, from, 5, bytes);
        size_t mov = 5 + (to > 7);
        decode_made(a.bytes, mov, app_pc(0x1000), &in);
        assert_int_equal(in.len, mov);
        assert_int_equal(in.immediate, 5);
        assert_int_equal(in.gpr_full, 1u << to);
        decode_made(a.bytes + mov, a.len - mov, app_pc(0x1000), &in);
        assert_int_equal(in.len, a.len - mov);
        assert_int_equal(in.gpr_written, 1u << to);
        assert_int_equal(in.gpr_read, 1u << to | 1u << from);
        assert_int_equal(in.flags_written, 0);
        assert_int_equal(in.bytes[2] >> 7, bytes == 8);
        assert_int_equal(in.bytes[2] & 3, how);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_shifts),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_conditional_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
