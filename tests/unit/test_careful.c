/* Careful steps (CRF-1): they do what the instruction does, can be taken back, and change nothing when they fault or cannot be
 * made. The runtime's control of threads is made up. */
#include "runtime/careful.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "runtime/control.h"
#include "runtime/thread.h"
#include "tests/unit/machine.h"
#include "tests/unit/unit.h"
#include "tracer/asm.h"
#include "tracer/stubs.h"

#define STRING_MOST 8192 /* bytes of one instruction */

static struct thread thread;
static struct stores stores;
static struct careful careful;
static uint8_t *pages; /* two; the second cannot be accessed */
#define PAGE_BYTES 4096u

/* Those of machine.c. */
struct tls_slots *control_slots(void)
{
    uint64_t fs;
    __asm__("mov %%fs:0, %0" : "=r"(fs));
    return (struct tls_slots *)(uintptr_t)(fs + (uint64_t)(int64_t)slots_fs_offset);
}

void control_run_locked(struct thread *t, struct cache_pc code)
{
    const struct code_region *r = code_region_find(code.v);
    control_slots()->ctx = &t->ctx;
    control_slots()->target = code.v;
    ((stubs_enter_fn *)(uintptr_t)r->enter.v)(&t->ctx);
}

static int begin(void **state)
{
    (void)state;
    machine_reset(1 << 16, false);
    if (!pages)
        pages = mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(mprotect(pages, PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
    for (unsigned i = 0; i < PAGE_BYTES; i++)
        pages[i] = (uint8_t)(i * 7 + 3);
    assert_int_equal(mprotect(pages + PAGE_BYTES, PAGE_BYTES, PROT_NONE), 0);
    stores.count = 0;
    memset(&thread.ctx, 0, sizeof thread.ctx);
    for (unsigned i = 0; i < 16; i++)
        thread.ctx.gpr[i] = 0x1111111111111111ULL * i;
    thread.ctx.gpr[R_RDI] = (uint64_t)(uintptr_t)pages;
    thread.ctx.gpr[R_RSP] = (uint64_t)(uintptr_t)pages + 2048;
    thread.ctx.rflags = 0x202;
    return 0;
}

static uint64_t load(const char *hex)
{
    uint8_t bytes[64];
    size_t n = unit_bytes(hex, bytes, sizeof bytes);
    uint64_t at = machine_load(MACHINE_TEXT, bytes, bytes + n);
    careful = (struct careful){.pc = at, .end = at + n, .text = true};
    return at;
}

static enum careful_result step(void)
{
    enum careful_result r = careful_look(&careful);
    return r == STEP_DONE ? careful_step(&thread, &careful, &stores) : r;
}

/* One instruction, which is refused or faults: nothing is different afterwards. */
static void check_nothing_happens(const char *hex, enum careful_result expected)
{
    static uint8_t memory[PAGE_BYTES];
    uint64_t at = load(hex);
    struct cpu_ctx before = thread.ctx;
    int count = stores.count;
    memcpy(memory, pages, PAGE_BYTES);
    enum careful_result r = step();
    if (r != expected)
        fail_msg("%s: result %d", hex, r);
    assert_int_equal(careful.pc, at);
    assert_int_equal(stores.count, count);
    assert_memory_equal(thread.ctx.gpr, before.gpr, sizeof before.gpr);
    assert_int_equal(thread.ctx.rflags, before.rflags);
    assert_memory_equal(memory, pages, PAGE_BYTES);
}

PROGRAM(all, "push rbx; mov rbx, rsp; xor eax, eax; mov ecx, 5\n"
             "1: add rax, rcx; mov [rdi + rcx*8], rax; call 3f; dec rcx; jnz 1b\n"
             "lea rdx, [rip + 2f]; push rdx; ret; ud2\n"
             "2: mov ecx, 3; rep stosb; movups [rdi + 64], xmm9; lea r8, [rip + 4f]; call r8\n"
             "mov ecx, 2; 5: inc byte ptr [rdi]; loop 5b; cmp rbx, rsp; sete [rdi + 9]; pop rbx; jmp r15\n"
             "3: xchg [rdi + 100], rcx; xchg [rdi + 100], rcx; ret 0\n"
             "4: rol dword ptr [rdi + 12], 5; adc dword ptr [rdi + 20], 7; ret");

#define STOP 0x1234560ULL

/* Natively and step by step from the same state: the same registers and memory; and back. */
static void test_steps_do_what_instructions_do(void **state)
{
    static struct machine_state native;
    static uint8_t data[MACHINE_DATA], stack[MACHINE_STACK];
    (void)state;
    assert_ok(careful_begin()); /* not in a fixture: cmocka sets handlers of its own for each */
    uint64_t at = LOAD(MACHINE_TEXT, all);
    machine_native(at);
    native = machine.now;
    struct cpu_ctx *c = &thread.ctx;
    for (unsigned i = 0; i < 16; i++)
        c->gpr[i] = 0x0101010101010101ULL * i + 0x8000000000000000ULL;
    for (size_t i = 0; i < MACHINE_DATA; i++)
        data[i] = machine.now.data[i] = (uint8_t)(i * 31 + 7);
    memset(machine.now.stack, 0x5a, MACHINE_STACK);
    memset(stack, 0x5a, MACHINE_STACK);
    c->gpr[R_RDI] = (uint64_t)(uintptr_t)machine.now.data;
    c->gpr[R_RSI] = machine.rsi;
    c->gpr[R_RSP] = (uint64_t)(uintptr_t)machine.now.stack + MACHINE_STACK - 512;
    c->gpr[R_R15] = STOP;
    c->rflags = machine.rflags;
    careful = (struct careful){.pc = at, .end = at + (uint64_t)(all_end - all_start), .text = true};
    int steps = 0;
    for (; careful.pc != STOP; steps++)
        assert_int_equal(step(), STEP_DONE);
    assert_in_range(steps, 50, 90);
    for (unsigned i = 0; i < R_R15; i++)
        assert_int_equal(c->gpr[i], native.ctx.gpr[i]);
    assert_int_equal((c->rflags ^ native.ctx.rflags) & FL_STATUS, 0);
    assert_memory_equal(machine.now.data, native.data, MACHINE_DATA);
    careful_undo(&stores);
    assert_memory_equal(machine.now.data, data, MACHINE_DATA);
    assert_memory_equal(machine.now.stack, stack, MACHINE_STACK);
    careful_end();
}

static void test_faults_change_nothing(void **state)
{
    (void)state;
    assert_ok(careful_begin());
    struct cpu_ctx *c = &thread.ctx;
    c->gpr[R_RAX] = (uint64_t)(uintptr_t)pages + PAGE_BYTES;
    c->gpr[R_RCX] = 0;
    check_nothing_happens("48 89 08", STEP_FAULT); /* mov [rax], rcx */
    check_nothing_happens("48 89 48 fc", STEP_FAULT); /* mov [rax-4], rcx: half of it */
    check_nothing_happens("48 8b 08", STEP_FAULT); /* mov rcx, [rax] */
    check_nothing_happens("48 f7 f1", STEP_FAULT); /* div rcx */
    check_nothing_happens("0f 0b", STEP_CANNOT); /* ud2 */
    c->gpr[R_RSP] = c->gpr[R_RAX] + 8;
    check_nothing_happens("53", STEP_FAULT); /* push rbx */
    check_nothing_happens("e8 10 00 00 00", STEP_FAULT); /* call */
    check_nothing_happens("c3", STEP_FAULT); /* ret */
    c->gpr[R_RDI] = c->gpr[R_RAX] - 100;
    c->gpr[R_RCX] = 200;
    check_nothing_happens("f3 aa", STEP_FAULT); /* rep stosb: half of it could be made */
    c->gpr[R_RSI] = c->gpr[R_RAX] - 50;
    c->gpr[R_RDI] = (uint64_t)(uintptr_t)pages;
    c->gpr[R_RCX] = 100;
    check_nothing_happens("f3 a4", STEP_FAULT); /* rep movsb: was made until its source ended */
    careful_end();
}

/* Pages that may be read but not written: the copy itself is what faults. */
static void test_faults_of_read_only_memory(void **state)
{
    (void)state;
    assert_ok(careful_begin());
    assert_int_equal(mprotect(pages, PAGE_BYTES, PROT_READ), 0);
    check_nothing_happens("48 89 0f", STEP_FAULT); /* mov [rdi], rcx */
    check_nothing_happens("53", STEP_FAULT);
    check_nothing_happens("48 89 0d f9 0f 00 00", STEP_FAULT); /* mov [rip + 4089], rcx: beyond the text */
    careful_end();
}

static void test_what_cannot_be_told_or_taken_back(void **state)
{
    (void)state;
    assert_ok(careful_begin());
    static const char *const refused[] = {
        "0f 05", /* syscall */
        "0f 31", /* rdtsc */
        "0f 01 f9", /* rdtscp */
        "0f a2", /* cpuid */
        "48 0f c7 f0", /* rdrand rax */
        "65 48 89 07", /* mov gs:[rdi], rax */
        "0f ae 07", /* fxsave [rdi] */
        "8f 07", /* pop [rdi] */
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        check_nothing_happens(refused[i], STEP_CANNOT);
    thread.ctx.gpr[R_RDI] += 1000;
    thread.ctx.gpr[R_RCX] = 3;
    thread.ctx.rflags |= FL_DF;
    check_nothing_happens("f3 aa", STEP_CANNOT); /* rep stosb, backward */
    thread.ctx.rflags &= ~(uint64_t)FL_DF;
    thread.ctx.gpr[R_RCX] = STRING_MOST + 1;
    check_nothing_happens("f3 aa", STEP_CANNOT);
    thread.ctx.gpr[R_RCX] = STRING_MOST / 8 + 1;
    check_nothing_happens("f3 48 ab", STEP_CANNOT); /* rep stosq */
    careful_end();
}

static void test_undone_in_the_order_of_time(void **state)
{
    (void)state;
    assert_ok(careful_begin());
    uint64_t at = load("88 07 88 27 c7 47 01 01 02 03 04"); /* mov [rdi], al; mov [rdi], ah; mov dword [rdi+1], 0x04030201 */
    thread.ctx.gpr[R_RAX] = 0xaabb;
    for (int i = 0; i < 3; i++)
        assert_int_equal(step(), STEP_DONE);
    assert_int_equal(careful.pc, at + 11);
    assert_int_equal(stores.count, 3);
    assert_int_equal(pages[0], 0xaa);
    careful_undo(&stores);
    assert_int_equal(pages[0], 3);
    assert_int_equal(pages[1], 10);
    assert_int_equal(stores.list[0].made[0], 0xaa); /* of all, what there was in the end */
    assert_int_equal(stores.list[1].made[0], 0xaa);
    assert_memory_equal(stores.list[2].made, "\1\2\3\4", 4);
    assert_int_equal(stores.list[2].len, 4);
    careful_end();
}

static void test_full_logs_refuse(void **state)
{
    (void)state;
    assert_ok(careful_begin());
    (void)load("f3 aa");
    uint64_t start = careful.pc;
    for (int left = STORES_MOST; left > 0; left -= 2048 / STORE_MOST) {
        careful.pc = start;
        thread.ctx.gpr[R_RDI] = (uint64_t)(uintptr_t)pages;
        thread.ctx.gpr[R_RCX] = 2048;
        assert_int_equal(step(), STEP_DONE);
    }
    assert_int_equal(stores.count, STORES_MOST);
    thread.ctx.gpr[R_RDI] = (uint64_t)(uintptr_t)pages;
    thread.ctx.gpr[R_RCX] = 1;
    check_nothing_happens("f3 aa", STEP_CANNOT);
    careful_end();
}

/* The same place, other bytes. */
static void test_text_that_was_changed(void **state)
{
    (void)state;
    assert_ok(careful_begin());
    (void)load("48 ff c0"); /* inc rax */
    assert_int_equal(step(), STEP_DONE);
    assert_int_equal(thread.ctx.gpr[R_RAX], 1);
    (void)load("48 ff c8"); /* dec rax */
    assert_int_equal(step(), STEP_DONE);
    assert_int_equal(thread.ctx.gpr[R_RAX], 0);
    (void)load("48 ff c8");
    careful.end--; /* of which the end cannot be read */
    (void)careful_look(&careful);
    assert_int_equal(careful.in.kind, IK_STRANGE);
    careful_end();
}

/* Code of a fragment keeps registers in the thread's slots; a careful run has its own. */
static void test_slots_are_copies(void **state)
{
    (void)state;
    assert_ok(careful_begin());
    uint8_t bytes[128];
    struct asm_buf a = asm_on(bytes, sizeof bytes, cache_pc(MACHINE_TEXT));
    asm_store_slot(&a, SLOT_SAVED(R_RBX), R_RBX);
    asm_load_slot(&a, R_RCX, SLOT_SAVED(R_RBX));
    asm_store_slot_imm32(&a, SLOT(exit_id), 77);
    asm_store_slot(&a, SLOT(target), R_RDI);
    asm_jmp_slot(&a, SLOT(target));
    assert_false(a.overflow);
    struct tls_slots *real = control_slots();
    real->saved[R_RBX] = 5;
    real->exit_id = 6;
    (void)machine_load(MACHINE_TEXT, bytes, bytes + a.len);
    careful = (struct careful){.pc = MACHINE_TEXT, .end = MACHINE_TEXT + a.len};
    for (int i = 0; i < 5; i++)
        assert_int_equal(step(), STEP_DONE);
    assert_int_equal(careful.pc, (uint64_t)(uintptr_t)pages);
    assert_int_equal(thread.ctx.gpr[R_RCX], 3 * 0x1111111111111111ULL);
    assert_int_equal(careful.slots.saved[R_RBX], 3 * 0x1111111111111111ULL);
    assert_int_equal(careful.slots.exit_id, 77);
    assert_int_equal(real->saved[R_RBX], 5);
    assert_int_equal(real->exit_id, 6);
    assert_int_equal(stores.count, 0);
    careful = (struct careful){.pc = MACHINE_TEXT, .end = MACHINE_TEXT + a.len, .text = true};
    assert_int_equal(step(), STEP_DONE); /* a program's own variable, if it were one */
    assert_int_equal(real->saved[R_RBX], 3 * 0x1111111111111111ULL);
    assert_int_equal(stores.count, 1);
    careful_end();
}

static void nobody(int sig) { (void)sig; }

/* Actions, mask and stack for signals are the program's again. */
static void test_signals_are_given_back(void **state)
{
    (void)state;
    struct sigaction before, now, mine = {.sa_handler = nobody};
    sigset_t mask;
    stack_t stack = {.ss_sp = malloc(65536), .ss_size = 65536}, found;
    assert_int_equal(sigaction(SIGFPE, &mine, &before), 0);
    assert_int_equal(sigaltstack(&stack, NULL), 0);
    assert_ok(careful_begin());
    assert_int_equal(sigaction(SIGFPE, NULL, &now), 0);
    assert_ptr_not_equal(now.sa_handler, nobody);
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
    assert_true(sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGSEGV) == 0);
    careful_end();
    assert_int_equal(sigaction(SIGFPE, &before, &now), 0);
    assert_ptr_equal(now.sa_handler, nobody);
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
    assert_int_equal(sigismember(&mask, SIGTERM), 0);
    assert_int_equal(sigaltstack(NULL, &found), 0);
    assert_ptr_equal(found.ss_sp, stack.ss_sp);
    stack.ss_flags = SS_DISABLE;
    assert_int_equal(sigaltstack(&stack, NULL), 0);
    free(stack.ss_sp);
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_steps_do_what_instructions_do),
        TEST(test_faults_change_nothing),
        TEST(test_faults_of_read_only_memory),
        TEST(test_what_cannot_be_told_or_taken_back),
        TEST(test_undone_in_the_order_of_time),
        TEST(test_full_logs_refuse),
        TEST(test_text_that_was_changed),
        TEST(test_slots_are_copies),
        TEST(test_signals_are_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
