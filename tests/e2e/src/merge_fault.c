/* build: -O2
 * run: repair
 * run: once
 * A store that each side of an unpredictable branch has for itself faults, again and again, in a loop that has long been hot.
 * The handler sees the side's own instruction, with the registers as they were before it, and makes the page writable. With
 * `once` the kernel resets the handler each time, and it is set anew. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { LENGTH = 1 << 14, PASSES = 4000 };

/* Merges two sorted runs: rdi, rsi; to rdx, whose end is rcx. */
extern const char merge_start[], merge_left[], merge_right[];
void merge(const unsigned *a, const unsigned *b, unsigned *to, unsigned *end);
__asm__(".text\n"
        "merge:\n"
        "merge_start:\n"
        "1:  mov (%rdi), %eax\n"
        "    mov (%rsi), %r8d\n"
        "    cmp %r8d, %eax\n"
        "    jae 2f\n"
        "    add $4, %rdi\n"
        "merge_left:\n"
        "    mov %eax, (%rdx)\n"
        "    add $4, %rdx\n"
        "    cmp %rcx, %rdx\n"
        "    jne 1b\n"
        "    jmp 3f\n"
        "2:  mov %r8d, %eax\n"
        "    add $4, %rdx\n"
        "    add $4, %rsi\n"
        "merge_right:\n"
        "    mov %eax, -4(%rdx)\n"
        "    cmp %rcx, %rdx\n"
        "    jne 1b\n"
        "3:  xor %eax, %eax\n"
        "    xor %r8d, %r8d\n"
        "    xor %r9d, %r9d\n"
        "    ret\n");

static unsigned left[LENGTH + 1], right[LENGTH + 1], *to;
static volatile unsigned long seen[3], registers;
static volatile int faults;
static const char *way;

static void on_fault(int sig, siginfo_t *info, void *context);
static void handle(void)
{
    struct sigaction how = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    if (strcmp(way, "once") == 0)
        how.sa_flags |= (int)SA_RESETHAND;
    sigaction(SIGSEGV, &how, NULL);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    int at = r[REG_RIP] == (greg_t)merge_left ? 0 : r[REG_RIP] == (greg_t)merge_right ? 1 : 2;
    (void)sig;
    if (at == 2 && strcmp(way, "once") == 0)
        at = r[REG_RIP] < (greg_t)merge_left && r[REG_RIP] > (greg_t)merge_start; /* reset: told at the branch */
    else
        registers = registers * 31 + (unsigned long)(r[REG_RAX] + r[REG_RDI] - (greg_t)left + r[REG_RSI] - (greg_t)right +
                                                     r[REG_RDX] - (greg_t)to + at); /* r8 is dead there */
    seen[strcmp(way, "once") == 0 ? 0 : at]++;
    faults++;
    mprotect((void *)((unsigned long)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
    handle();
}

int main(int argc, char **argv)
{
    unsigned long sum = 0;
    unsigned seed = 7, value[2] = {0, 0};
    way = argc > 1 ? argv[1] : "repair";
    for (int i = 0; i < LENGTH; i++) {
        seed = seed * 1664525u + 1013904223u;
        left[i] = value[0] += seed >> 16 & 1023;
        right[i] = value[1] += seed >> 20 & 1023;
    }
    left[LENGTH] = right[LENGTH] = ~0u;
    to = mmap(NULL, 8 * LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    handle();
    for (int i = 0; i < PASSES; i++) {
        if (i % 50 == 49)
            mprotect((char *)to + (i / 50 % 32) * 4096, 4096, PROT_READ);
        merge(left, right, to, to + 2 * LENGTH);
        sum = sum * 3 + to[i * 7 % (2 * LENGTH)];
    }
    printf("%s: %lx, %d faults, %lu %lu %lu", way, sum, faults, seen[0], seen[1], seen[2]);
    printf(strcmp(way, "once") == 0 ? "\n" : ", %lx\n", registers);
    return 0;
}
