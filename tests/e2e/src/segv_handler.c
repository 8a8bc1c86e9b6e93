/* build: -O2 -fno-strict-aliasing -Wno-array-bounds
 * A SIGSEGV handler on an alternate stack: siglongjmp out of it, and a second one that repairs the page and
 * returns to the faulting instruction. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

static sigjmp_buf out;
static char *page;
static volatile long faults, on_stack, right_address;
static char alternate[65536];

static void jump_out(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    char here;
    faults++;
    on_stack += &here >= alternate && &here < alternate + sizeof alternate;
    right_address += info->si_addr == page + 64;
    siglongjmp(out, 1);
}

static void repair(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    ucontext_t *state = context;
    faults++;
    right_address += info->si_addr == page + 64 && state->uc_mcontext.gregs[REG_RBX] == 0x1234;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

int main(void)
{
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, NULL);
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct sigaction action = {.sa_sigaction = jump_out, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    volatile long survived = 0;
    for (volatile int i = 0; i < 500; i++) {
        if (sigsetjmp(out, 1) == 0)
            page[64] = (char)i;
        else
            survived++;
    }
    action.sa_sigaction = repair;
    sigaction(SIGSEGV, &action, NULL);
    long sum = 0;
    for (int i = 0; i < 500; i++) {
        unsigned long value = 0x1234;
        __asm__ volatile("mov %1, %%rbx; mov %%ebx, 64(%0); add 64(%0), %%ebx; mov %%rbx, %1"
                         : "+r"(page), "+r"(value) : : "rbx", "memory");
        sum += (long)value;
        mprotect(page, 4096, PROT_NONE);
    }
    printf("%ld %ld %ld %ld %ld\n", faults, on_stack, right_address, survived, sum);
    return 0;
}
