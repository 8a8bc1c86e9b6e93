/* What slots of loops need: every combination of registers is read back through the decoder. */
#include "tests/unit/unit.h"

#include "tracer/asm.h"

static uint8_t buffer[32];

static struct asm_buf fresh(void) { return asm_on(buffer, sizeof buffer, cache_pc(0x10000000)); }

static struct insn only(const struct asm_buf *a)
{
    assert_false(a->overflow);
    struct insn in = unit_decode_bytes(a->bytes, a->len, a->origin);
    assert_int_equal(in.len, a->len);
    assert_int_equal(in.kind, IK_PLAIN);
    return in;
}

static void test_lea_operand(void **state)
{
    (void)state;
    for (unsigned to = 0; to < 16; to++)
        for (unsigned base = 0; base <= R_NONE; base++)
            for (unsigned index = 0; index <= R_NONE; index++)
                for (unsigned scale = 1; scale <= 8 && index != R_RSP; scale *= 2) {
                    struct asm_buf a = fresh();
                    asm_lea_operand(&a, to, base, index, scale, -0x12345);
                    struct insn in = only(&a);
                    assert_int_equal(in.act, ACT_LEA);
                    assert_int_equal(in.gpr_full, 1u << to);
                    assert_int_equal(in.gpr_zx, 0);
                    assert_int_equal(in.mem_base, base);
                    assert_int_equal(in.mem_index, index);
                    assert_true(index == R_NONE || in.mem_scale == scale);
                    assert_int_equal(in.mem_disp, -0x12345);
                    assert_int_equal(in.flags_written, 0);
                }
}

static void test_invariants(void **state)
{
    (void)state;
    for (unsigned to = 0; to < 16; to++)
        for (unsigned from = 0; from < 16; from++) {
            struct asm_buf a = fresh();
            asm_movsxd(&a, to, from);
            struct insn in = only(&a);
            assert_int_equal(in.act, ACT_MOVSX);
            assert_int_equal(in.dst.reg, to);
            assert_int_equal(in.dst.bytes, 8);
            assert_int_equal(in.src.reg, from);
            assert_int_equal(in.src.bytes, 4);
            a = fresh();
            asm_imul(&a, to, -0x12345);
            in = only(&a);
            assert_int_equal(in.gpr_read, 1u << to);
            assert_int_equal(in.gpr_full, 1u << to);
            assert_int_equal(in.gpr_zx, 0);
            assert_memory_equal(in.bytes + 1, "\x69", 1);
            assert_memory_equal(in.bytes + 3, "\xbb\xdc\xfe\xff", 4);
        }
}

static void test_load_wide(void **state)
{
    (void)state;
    for (unsigned to = 0; to < 16; to++)
        for (unsigned base = 0; base < 16; base++)
            for (unsigned bytes = 1; bytes <= 8; bytes *= 2) {
                struct asm_buf a = fresh();
                asm_load_wide(&a, to, base, 0x1234, bytes);
                struct insn in = only(&a);
                assert_int_equal(in.act, bytes < 4 ? ACT_MOVZX : ACT_MOV);
                assert_int_equal(in.gpr_full, 1u << to);
                assert_int_equal(in.mem_base, base);
                assert_int_equal(in.mem_index, R_NONE);
                assert_int_equal(in.mem_bytes, bytes);
                assert_int_equal(in.mem_disp, 0x1234);
                assert_true(in.mem_read && !in.mem_write);
            }
}

static void test_vectors(void **state)
{
    (void)state;
    for (unsigned n = 8; n < 16; n++) {
        for (unsigned store = 0; store < 2; store++) {
            struct asm_buf a = fresh();
            if (store)
                asm_store_slot_vector(&a, -0x1234, n);
            else
                asm_load_slot_vector(&a, n, -0x1234);
            struct insn in = only(&a);
            assert_int_equal(in.len, ASM_SLOT_VECTOR_BYTES);
            assert_int_equal(in.xmm, 1u << n);
            assert_true(in.seg == SEG_FS && in.mem_disp == -0x1234 && in.mem_bytes == 16 && in.mem_base == R_NONE);
            assert_true(in.mem_write == store && in.mem_read != store);
        }
        for (unsigned base = 0; base < 16; base++)
            for (unsigned bytes = 4; bytes <= 8; bytes *= 2) {
                struct asm_buf a = fresh();
                asm_load_scalar(&a, n, base, 0x1234, bytes);
                struct insn in = only(&a);
                assert_int_equal(in.xmm, 1u << n);
                assert_true(in.mem_base == base && in.mem_bytes == bytes && in.mem_disp == 0x1234 && in.mem_read);
            }
    }
}

static void test_subtract_and_compare(void **state)
{
    (void)state;
    for (unsigned r = 0; r < 16; r++) {
        struct asm_buf a = fresh();
        for (unsigned by = 0; by < 16; by++) {
            a = fresh();
            asm_sub_reg(&a, r, by);
            struct insn in = only(&a);
            assert_int_equal(in.act, ACT_SUB);
            assert_true(in.dst.reg == r && in.src.reg == by && in.dst.bytes == 8);
        }
        a = fresh();
        asm_sub_const(&a, r, 0x10000100);
        struct insn in = only(&a);
        assert_int_equal(in.act, ACT_SUB);
        assert_int_equal(in.dst.reg, r);
        assert_true(in.rip_relative && in.target == 0x10000100 && in.mem_bytes == 8);
        a = fresh();
        asm_cmp_imm32(&a, r, -7);
        in = only(&a);
        assert_int_equal(in.act, ACT_CMP);
        assert_true(in.dst.reg == r && in.dst.bytes == 8 && in.immediate == -7 && !in.gpr_written);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lea_operand),
        cmocka_unit_test(test_invariants),
        cmocka_unit_test(test_load_wide),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_subtract_and_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
