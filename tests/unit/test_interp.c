/* Conditions and control transfers in C, against the CPU where it can be asked. */
#include "tests/unit/unit.h"

#include "tracer/interp.h"

/* What the CPU says: setcc for all sixteen codes with these flags. */
static unsigned cpu_conditions(uint64_t flags)
{
    uint8_t r[16];
#define SET(n, cc) "set" cc " " #n "(%[r])\n\t"
    __asm__ volatile("push %[f]\n\tpopfq\n\t" SET(0, "o") SET(1, "no") SET(2, "b") SET(3, "ae") SET(4, "e")
                         SET(5, "ne") SET(6, "be") SET(7, "a") SET(8, "s") SET(9, "ns") SET(10, "p") SET(11, "np")
                             SET(12, "l") SET(13, "ge") SET(14, "le") SET(15, "g")
                     :
                     : [f] "r"(flags), [r] "r"(r)
                     : "memory", "cc");
    unsigned mask = 0;
    for (unsigned i = 0; i < 16; i++)
        mask |= (unsigned)r[i] << i;
    return mask;
}

static void test_conditions_against_the_cpu(void **state)
{
    (void)state;
    static const unsigned bits[] = {FL_CF, FL_PF, FL_AF, FL_ZF, FL_SF, FL_OF};
    for (unsigned combination = 0; combination < 64; combination++) {
        uint64_t flags = 0x202;
        for (unsigned i = 0; i < 6; i++)
            if (combination & 1u << i)
                flags |= bits[i];
        unsigned expected = cpu_conditions(flags);
        for (unsigned cc = 0; cc < 16; cc++)
            assert_int_equal(interp_condition(cc, flags), expected >> cc & 1);
    }
}

struct loop_row {
    unsigned op;
    uint64_t rcx, flags;
    bool taken;
    uint64_t rcx_after;
};

static void test_loops(void **state)
{
    (void)state;
    static const struct loop_row rows[] = {
        {2, 2, 0, true, 1},          {2, 1, 0, false, 0},
        {2, 0, 0, true, UINT64_MAX}, {2, 0x100000001, 0, true, 0x100000000},
        {1, 2, FL_ZF, true, 1},      {1, 2, 0, false, 1},
        {1, 1, FL_ZF, false, 0},     {0, 2, 0, true, 1},
        {0, 2, FL_ZF, false, 1},     {0, 1, 0, false, 0},
        {3, 0, 0, true, 0},          {3, 0x100000000, 0, false, 0x100000000},
        {4, 0x100000000, 0, true, 0x100000000}, {4, 1, 0, false, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct block b = {.kind = IK_LOOP, .loop_op = (uint8_t)rows[i].op, .target = 0x1000, .next = app_pc(0x2000)};
        struct cpu_ctx ctx = {.rflags = rows[i].flags};
        ctx.gpr[R_RCX] = rows[i].rcx;
        struct outcome o = interp_next(&b, &ctx, &(struct tls_slots){0});
        assert_int_equal(o.taken, rows[i].taken);
        assert_int_equal(o.next.v, rows[i].taken ? 0x1000 : 0x2000);
        assert_int_equal(ctx.gpr[R_RCX], rows[i].rcx_after);
        assert_int_equal(ctx.rflags, rows[i].flags);
    }
}

static void test_other_transfers(void **state)
{
    (void)state;
    static const struct {
        uint8_t kind;
        uint64_t next;
        bool taken;
    } rows[] = {
        {IK_PLAIN, 0x2000, false},  {IK_SYSCALL, 0x2000, false},  {IK_JMP, 0x1000, true},     {IK_CALL, 0x1000, true},
        {IK_RET, 0x3000, true},     {IK_JMP_IND, 0x3000, true},   {IK_CALL_IND, 0x3000, true}, {IK_XBEGIN, 0x1000, true},
        {IK_JCC, 0x1000, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct block b = {.kind = rows[i].kind, .cc = 5, .target = 0x1000, .next = app_pc(0x2000)};
        struct cpu_ctx ctx = {.rflags = 0x202};
        ctx.gpr[R_RAX] = 99;
        struct outcome o = interp_next(&b, &ctx, &(struct tls_slots){.target = 0x3000});
        assert_int_equal(o.next.v, rows[i].next);
        assert_int_equal(o.taken, rows[i].taken);
        assert_int_equal(ctx.gpr[R_RAX], rows[i].kind == IK_XBEGIN ? 0 : 99);
    }
    struct block b = {.kind = IK_JCC, .cc = 4, .target = 0x1000, .next = app_pc(0x2000)};
    struct cpu_ctx ctx = {.rflags = 0x202};
    assert_int_equal(interp_next(&b, &ctx, &(struct tls_slots){0}).next.v, 0x2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conditions_against_the_cpu),
        cmocka_unit_test(test_loops),
        cmocka_unit_test(test_other_transfers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
