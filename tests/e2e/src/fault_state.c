/* build: -O2 -fno-strict-aliasing
 * run: repair
 * run: jump
 * run: alternate
 * run: often
 * A load faults in a loop that has long been hot. The handler sees the instruction and the registers as they were before
 * it: it repairs a register and returns, or jumps out. Around the load the loop has a call, a return and an indirect
 * branch, so code that runs in its place has moved things. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { LENGTH = 1 << 16, PASSES = 3000 };

/* rdi: longs, rsi: how many, rdx: seed. Sums what the function at r8 makes of them. */
extern const char loop_start[], loop_end[], loop_load[], loop_step[];
long loop_sum(const long *at, long count, long seed, void *step);
__asm__(".text\n"
        "loop_sum:\n"
        "loop_start:\n"
        "    push %rbx\n"
        "    push %r12\n"
        "    mov %rcx, %r8\n"
        "    mov %rdx, %rax\n"
        "    mov $0x1234, %ebx\n"
        "1:  lea (%rax,%rax,2), %r12\n"
        "    call *%r8\n"
        "    xor %r12, %rax\n"
        "    add $8, %rdi\n"
        "    add $0x11111111, %ebx\n"
        "    dec %rsi\n"
        "    jnz 1b\n"
        "    pop %r12\n"
        "    pop %rbx\n"
        "    ret\n"
        "loop_step:\n"
        "    cmp $5, %rax\n"
        "loop_load:\n"
        "    mov (%rdi), %rdx\n"
        "    adc %rdx, %rax\n"
        "    ret\n"
        "loop_end:\n");

static long *numbers;
static volatile int faults;
static sigjmp_buf out;
static volatile int jumps;
static stack_t alternate;

static const char *yes(int it) { return it ? "yes" : "no"; }

static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    char here;
    unsigned long sp = (unsigned long)g[REG_RSP];
    faults++;
    printf("signal %d, code %d, address %td\n", number, info->si_code, (char *)info->si_addr - (char *)numbers);
    printf("pc %s, rdi %td, rsi %lld, ebx %#llx, r8 %s\n",
           (char *)g[REG_RIP] == loop_load ? "at the load" : "elsewhere", (char *)g[REG_RDI] - (char *)numbers, g[REG_RSI],
           g[REG_RBX], yes((char *)g[REG_R8] == loop_step));
    printf("r12 is %s, flags %#llx\n", yes(g[REG_R12] == 3 * g[REG_RAX]), g[REG_EFL] & 0x8d5);
    printf("returns into the loop: %s\n", yes(*(char **)sp > loop_start && *(char **)sp < loop_end));
    printf("on the alternate stack: %s\n", yes(&here >= (char *)alternate.ss_sp &&
                                               &here < (char *)alternate.ss_sp + alternate.ss_size));
    if (jumps)
        siglongjmp(out, 1);
    g[REG_RDI] = (greg_t)numbers;
}

static volatile int wrong;

static void on_each(int number, siginfo_t *info, void *context)
{
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)number, (void)info;
    faults++;
    wrong += (char *)g[REG_RIP] != loop_load || (long *)g[REG_RDI] != numbers + LENGTH || g[REG_RSI] != 1;
    g[REG_RDI] = (greg_t)numbers;
}

/* Wherever the thread is when it faults, in a copy too that is only looked at for a moment. */
static int fault_often(void)
{
    struct sigaction action = {.sa_sigaction = on_each, .sa_flags = SA_SIGINFO};
    long sum = 0;
    sigaction(SIGSEGV, &action, NULL);
    for (int i = 0; i < 150000; i++)
        sum += loop_sum(numbers + LENGTH - i % 8, 1 + i % 8, i, (void *)loop_step);
    printf("%d faults, %d wrong, %ld\n", faults, wrong, sum);
    return 0;
}

int main(int argc, char **argv)
{
    (void)argc;
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    numbers = mmap(NULL, LENGTH * 8 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(numbers + LENGTH, 4096, PROT_NONE);
    for (long i = 0; i < LENGTH; i++)
        numbers[i] = i * 0x9e3779b97f4a7c15 + 1;
    if (strcmp(argv[1], "alternate") == 0) {
        static char stack[65536];
        alternate = (stack_t){.ss_sp = stack, .ss_size = sizeof stack};
        sigaltstack(&alternate, NULL);
        action.sa_flags |= SA_ONSTACK;
    }
    jumps = strcmp(argv[1], "jump") == 0;
    sigaction(SIGSEGV, &action, NULL);
    if (strcmp(argv[1], "often") == 0)
        return fault_often();
    volatile long sum = 0;
    for (int i = 0; i < PASSES; i++)
        sum += loop_sum(numbers, LENGTH, i, (void *)loop_step);
    printf("%ld\n", sum);
    for (int i = 0; i < 5; i++) {
        if (sigsetjmp(out, 1) == 0)
            sum += loop_sum(numbers, LENGTH + 100, i, (void *)loop_step);
        for (int k = 0; k < 20; k++)
            sum += loop_sum(numbers, LENGTH, i, (void *)loop_step);
        printf("%d faults, %ld\n", faults, sum);
    }
    return 0;
}
