/* Faults that are met again (fc_faults_again): a store that stands for one on each side of a branch faults before the branch, as
 * far as the program is concerned. Nothing is told of it there; the program's own code goes on, and faults where it belongs. */
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "fragcache/recover.h"
#include "tests/unit/stepper.h"
#include "tracer/stubs.h"

/* The branch is at offset 9; the sides store at `high` and `low`. */
PROGRAM(sides, "mov r14d, 9\n"
               "1: cmp rax, rcx\n jle 2f\n"
               ".globl sides_high\nsides_high: mov [rdi], rax\n"
               "3: xor edx, edx\n dec r14d\n jnz 1b\n jmp r15\n"
               ".globl sides_low\nsides_low: 2: mov [rdi], rcx\n jmp 3b\n");
extern const uint8_t sides_high[], sides_low[];
#define HEAD 6
#define BRANCH 9

static const struct step_kind computed = {.computed = true};
static struct cpu_state fault; /* as the program would be told */
static uint64_t address;
static int in_cache, again;

static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

/* As runtime/signals.c: a fault that is met again is not told of. */
static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *r = uc->uc_mcontext.gregs;
    struct cpu_state s = {.pc = (uint64_t)r[REG_RIP], .rflags = (uint64_t)r[REG_EFL]};
    (void)sig;
    for (int i = 0; i < 16; i++)
        s.gpr[i] = (uint64_t)r[order[i]];
    bool cached = s.pc - stepper.text >= STEP_TEXT_BYTES, goes_on = fc_faults_again(s.pc);
    in_cache += cached;
    again += goes_on;
    if (cached && !fc_recover(&s, step_slots()))
        s.pc = 0;
    if (goes_on) {
        for (int i = 0; i < 16; i++)
            r[order[i]] = (greg_t)s.gpr[i];
        r[REG_RIP] = (greg_t)s.pc;
        return;
    }
    fault = s;
    address = (uint64_t)(uintptr_t)info->si_addr;
    r[REG_RIP] = (greg_t)step_region()->leave.v;
}

static void run(uint64_t at, uint64_t rax, uint64_t rcx, uint8_t *data)
{
    struct cpu_ctx *c = &machine.now.ctx;
    *c = (struct cpu_ctx){.rflags = 0x202};
    for (unsigned i = 0; i < 16; i++)
        c->gpr[i] = i * 0x0101010101010101ULL;
    c->gpr[R_RAX] = rax;
    c->gpr[R_RCX] = rcx;
    c->gpr[14] = 9;
    c->gpr[R_RDI] = (uint64_t)(uintptr_t)data;
    c->gpr[R_RSP] = (uint64_t)(uintptr_t)machine.now.stack + MACHINE_STACK - 512;
    c->gpr[R_R15] = step_region()->leave.v;
    *step_slots() = (struct tls_slots){.ctx = c, .target = at};
    fault = (struct cpu_state){0};
    in_cache = again = 0;
    ((stubs_enter_fn *)(uintptr_t)step_region()->enter.v)(c);
}

static void check(const struct fragment *f, uint64_t rax, uint64_t rcx, const uint8_t *store, uint8_t *data)
{
    run(stepper.text + HEAD, rax, rcx, data);
    struct cpu_state native = fault;
    assert_int_equal(native.pc, stepper.text + (uint64_t)(store - sides_start));
    assert_int_equal(in_cache, 0);
    run(f->entry.v, rax, rcx, data);
    assert_int_equal(in_cache, 1);
    assert_int_equal(again, 1);
    assert_int_equal(fault.pc, native.pc);
    assert_int_equal(address, (uint64_t)(uintptr_t)data);
    assert_int_equal((fault.rflags ^ native.rflags) & FL_STATUS, 0);
    for (unsigned i = 0; i < 16; i++)
        if (i != R_RDX) /* about to be overwritten */
            assert_int_equal(fault.gpr[i], native.gpr[i]);
}

static void test_told_where_it_belongs(void **state)
{
    (void)state;
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK}, before;
    stubs_set_native_exits(true);
    step_load(MACHINE_TEXT, sides_start, sides_end);
    struct fragment *f = step_emit(stepper.text + HEAD, &computed);
    uint8_t *data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(sigaction(SIGSEGV, &act, &before), 0);
    run(f->entry.v, 7, 3, data); /* no fault: to the end */
    assert_int_equal(in_cache + again, 0);
    assert_int_equal(data[0], 7);
    assert_int_equal(machine.now.ctx.gpr[14], 0);
    assert_int_equal(mprotect(data, 4096, PROT_READ), 0);
    check(f, 7, 3, sides_high, data);
    check(f, 3, 7, sides_low, data);
    assert_int_equal(data[0], 7);
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
    munmap(data, 4096);
}

/* Other instructions of the same fragment, and other places, are the program's own or nobody's. */
static void test_nothing_else(void **state)
{
    (void)state;
    stubs_set_native_exits(true);
    step_load(MACHINE_TEXT, sides_start, sides_end);
    const struct fragment *f = step_emit(stepper.text + HEAD, &computed);
    int stores = 0;
    for (uint64_t pc = f->start.v; pc < f->start.v + f->len; pc++)
        stores += fc_faults_again(pc) && (pc == f->start.v || !fc_faults_again(pc - 1));
    assert_int_equal(stores, 3); /* one in each body of the loop */
    assert_false(fc_faults_again(f->entry.v));
    assert_false(fc_faults_again(stepper.text + BRANCH));
    assert_false(fc_faults_again((uint64_t)(uintptr_t)&stores));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_where_it_belongs),
        cmocka_unit_test(test_nothing_else),
    };
    step_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
