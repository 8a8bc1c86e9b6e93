/* The way in and out of program code: every register and flag arrives and comes back, the program's stack and the
 * callee-saved registers of C stay as they are. */
#include "tests/unit/unit.h"

#include "tests/unit/machine.h"
#include "tracer/stubs.h"

#define FLAGS_ALL (FL_STATUS | FL_DF)

PROGRAM(nothing, "jmp r15");
PROGRAM(flags_to_rax, "mov rbx, rsp\n lea rsp, [rdi+2048]\n pushfq\n pop rax\n mov rsp, rbx\n jmp r15");
PROGRAM(set_flags, "mov rbx, rsp\n lea rsp, [rdi+2048]\n push rsi\n popfq\n mov rsp, rbx\n jmp r15");

static int setup(void **state)
{
    (void)state;
    machine_reset(1 << 20, true);
    return 0;
}

static void test_registers_survive(void **state)
{
    (void)state;
    machine_native(LOAD(MACHINE_TEXT, nothing));
    for (unsigned i = 0; i < 15; i++) {
        if (i == R_RDI || i == R_RSI || i == R_RSP)
            continue;
        assert_int_equal(machine.now.ctx.gpr[i], 0x0101010101010101ULL * i + 0x8000000000000000ULL);
    }
    assert_int_equal(machine.now.ctx.gpr[R_RDI], (uint64_t)(uintptr_t)machine.now.data);
    assert_int_equal(machine.now.ctx.gpr[R_RSP], (uint64_t)(uintptr_t)machine.now.stack + MACHINE_STACK - 512);
    for (size_t i = 0; i < MACHINE_STACK; i++)
        assert_int_equal(machine.now.stack[i], 0x5a); /* the red zone and all below */
}

/* All combinations of the flags that sahf sets, and those that need popfq. */
static void test_flags_arrive(void **state)
{
    (void)state;
    static const unsigned bits[] = {FL_CF, FL_PF, FL_AF, FL_ZF, FL_SF, FL_OF, FL_DF, 0x200000 /* ID */, 0x40000 /* AC */};
    uint64_t pc = LOAD(MACHINE_TEXT, flags_to_rax);
    uint64_t mask = 0;
    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        mask |= bits[i];
    for (unsigned combination = 0; combination < 1u << ARRAY_LEN(bits); combination++) {
        machine.rflags = 0x202;
        for (size_t i = 0; i < ARRAY_LEN(bits); i++)
            if (combination & 1u << i)
                machine.rflags |= bits[i];
        machine_native(pc);
        assert_int_equal(machine.now.ctx.gpr[R_RAX] & mask, machine.rflags & mask);
        assert_int_equal(machine.now.ctx.rflags & mask, machine.rflags & mask);
    }
}

/* Flags that the program sets come out, and C does not run with DF or AC. */
static void test_flags_leave(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, set_flags);
    static const uint64_t values[] = {0x202, 0x202 | FL_DF, 0x202 | 0x40000, 0x202 | FLAGS_ALL, 0x202 | FL_CF | FL_OF};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        machine.rsi = values[i];
        machine_native(pc);
        uint64_t now;
        __asm__ volatile("pushfq\n\tpop %0" : "=r"(now));
        assert_int_equal(now & (FL_DF | 0x40000), 0);
        assert_int_equal(machine.now.ctx.rflags & (FLAGS_ALL | 0x40000), values[i] & (FLAGS_ALL | 0x40000));
    }
}

/* Calls enter(ctx) with known values in the registers that it must preserve; counts those that changed. */
unsigned enter_and_count(struct cpu_ctx *ctx, uint64_t enter);
__asm__(".text\n.globl enter_and_count\n.intel_syntax noprefix\nenter_and_count:\n"
        "push rbx\n push rbp\n push r12\n push r13\n push r14\n push r15\n sub rsp, 24\n"
        "mov rbx, 1\n mov rbp, 2\n mov r12, 3\n mov r13, 4\n mov r14, 5\n mov r15, 6\n mov [rsp], rsp\n"
        "call rsi\n xor eax, eax\n"
        "cmp rbx, 1\n setne cl\n add al, cl\n cmp rbp, 2\n setne cl\n add al, cl\n"
        "cmp r12, 3\n setne cl\n add al, cl\n cmp r13, 4\n setne cl\n add al, cl\n"
        "cmp r14, 5\n setne cl\n add al, cl\n cmp r15, 6\n setne cl\n add al, cl\n"
        "cmp rsp, [rsp]\n setne cl\n add al, cl\n"
        "add rsp, 24\n pop r15\n pop r14\n pop r13\n pop r12\n pop rbp\n pop rbx\n ret\n.att_syntax\n");

static void test_callee_saved_registers_of_c(void **state)
{
    (void)state;
    uint64_t pc = LOAD(MACHINE_TEXT, nothing);
    machine_native(pc); /* leaves slots.target at pc */
    struct code_region *r;
    assert_ok(stubs_region(app_pc(pc), &r));
    struct cpu_ctx *ctx = &machine.now.ctx;
    ctx->gpr[R_R15] = r->leave.v;
    assert_int_equal(enter_and_count(ctx, r->enter.v), 0);
    assert_int_equal(ctx->gpr[R_RBX], 0x0303030303030303ULL + 0x8000000000000000ULL); /* the program's own were there */
}

static void test_one_region_for_near_text(void **state)
{
    (void)state;
    struct code_region *a, *b, *far;
    assert_ok(stubs_region(app_pc(MACHINE_TEXT), &a));
    assert_ok(stubs_region(app_pc(MACHINE_TEXT + 4096), &b));
    assert_ok(stubs_region(app_pc(MACHINE_FAR), &far));
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, far);
    assert_true(far->enter.v >= far->stubs.start && far->enter.v < far->stubs.end);
    assert_true(a->leave.v != 0 && a->lookup_miss.v != 0 && far->leave.v != a->leave.v);
    assert_ok(code_commit());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_registers_survive, setup),
        cmocka_unit_test_setup(test_flags_arrive, setup),
        cmocka_unit_test_setup(test_flags_leave, setup),
        cmocka_unit_test_setup(test_callee_saved_registers_of_c, setup),
        cmocka_unit_test_setup(test_one_region_for_near_text, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
