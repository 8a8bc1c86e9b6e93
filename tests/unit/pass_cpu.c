#include "tests/unit/pass_cpu.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

static struct cpu_state *state; /* at CPU_STATE */
static uint64_t rng = 0x9e3779b97f4a7c15ull;

/* Loads the registers of the state and jumps to the code; comes back by a jump to cpu_leave. 0x1001f000: saved rsp;
 * 0x1001f008: address of the code. */
void cpu_enter(void);
extern const uint8_t cpu_leave[];
__asm__(".pushsection .text\n.globl cpu_enter, cpu_leave\ncpu_enter:\n.intel_syntax noprefix\n"
        "push rbx\n push rbp\n push r12\n push r13\n push r14\n push r15\n"
        "mov [0x1001f000], rsp\n"
        "push [0x10010080]\n popfq\n mov rsp, [0x10010020]\n"
        "mov rax, [0x10010000]\n mov rcx, [0x10010008]\n mov rdx, [0x10010010]\n mov rbx, [0x10010018]\n"
        "mov rbp, [0x10010028]\n mov rsi, [0x10010030]\n mov rdi, [0x10010038]\n mov r8, [0x10010040]\n"
        "mov r9, [0x10010048]\n mov r10, [0x10010050]\n mov r11, [0x10010058]\n mov r12, [0x10010060]\n"
        "mov r13, [0x10010068]\n mov r14, [0x10010070]\n mov r15, [0x10010078]\n"
        "movdqu xmm0, [0x10010090]\n jmp [0x1001f008]\n"
        "cpu_leave:\n"
        "mov [0x10010020], rsp\n mov rsp, [0x1001f000]\n pushfq\n pop [0x10010080]\n"
        "mov [0x10010000], rax\n mov [0x10010008], rcx\n mov [0x10010010], rdx\n mov [0x10010018], rbx\n"
        "mov [0x10010028], rbp\n mov [0x10010030], rsi\n mov [0x10010038], rdi\n mov [0x10010040], r8\n"
        "mov [0x10010048], r9\n mov [0x10010050], r10\n mov [0x10010058], r11\n mov [0x10010060], r12\n"
        "mov [0x10010068], r13\n mov [0x10010070], r14\n mov [0x10010078], r15\n"
        "pop r15\n pop r14\n pop r13\n pop r12\n pop rbp\n pop rbx\n cld\n ret\n"
        ".att_syntax\n.popsection\n");

void cpu_seed(uint64_t seed) { rng = seed * 2654435761u + 1; }

uint32_t cpu_dice(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 33) % n;
}

uint8_t *cpu_code(void) { return (uint8_t *)(uintptr_t)CPU_CODE; }

uint8_t *cpu_emit_leave(uint8_t *to, uint32_t exit)
{
    static const uint8_t set_exit[] = {0xc7, 0x04, 0x25, 0x88, 0x00, 0x01, 0x10}; /* mov dword [exit], imm32 */
    uint64_t leave = (uint64_t)(uintptr_t)cpu_leave;
    memcpy(to, set_exit, sizeof set_exit);
    memcpy(to + 7, &exit, 4);
    memcpy(to + 11, "\xff\x25\0\0\0\0", 6); /* jmp [rip+0] */
    memcpy(to + 17, &leave, 8);
    return to + 25;
}

#define FAILED 0xffffffffu

/* Goes on at the way out, as if the code had jumped there. */
static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    state->exit = FAILED;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)cpu_leave;
}

void cpu_catch_signals(void)
{
    static uint8_t handler_stack[64 << 10];
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    stack_t on = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    assert_int_equal(sigaltstack(&on, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        assert_int_equal(sigaction(signals[i], &action, NULL), 0);
}

bool cpu_run(const struct cpu_state *start, struct cpu_state *out)
{
    *state = *start;
    cpu_enter();
    *out = *state;
    return out->exit != FAILED;
}

int cpu_setup(void)
{
    const char *seed = getenv("SEED");
    if (seed)
        cpu_seed(strtoull(seed, NULL, 0));
    void *p = mmap((void *)(uintptr_t)CPU_LOW, 0x20000, PROT_READ | PROT_WRITE | PROT_EXEC,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if ((uintptr_t)p != CPU_LOW)
        return -1;
    for (unsigned i = 0; i < 4096; i++)
        ((uint8_t *)p)[i] = (uint8_t)(i % 24 < 8 ? i % 8 == 0 : cpu_dice(256));
    state = (struct cpu_state *)(uintptr_t)CPU_STATE;
    uint64_t entry = CPU_CODE;
    memcpy((void *)(uintptr_t)(CPU_STATE + 0xf008), &entry, 8);
    return 0;
}
