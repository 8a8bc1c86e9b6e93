/* build: -O2 -fcf-protection=none
 * Functions that change their own return address: each goes back five bytes further, past the caller's "mov $1, %eax",
 * every time or at times, by another instruction each. Last an iretq. Hard, because a call that was inlined comes
 * with a guess where its return goes, and any store may make it wrong. */
#include <stdio.h>

/* Calls skip_NAME; the return value is 7 when that skips, else 1. The call ends at a multiple of 8: 5 more is 5 or'ed. */
#define CALL(name) \
    "call_" #name ":\n\t" \
    "sub $8, %rsp\n\t" \
    "mov $7, %eax\n\t" \
    ".balign 8\n\t" \
    "nop; nop; nop\n\t" \
    "call skip_" #name "\n\t" \
    "mov $1, %eax\n\t" \
    "add $8, %rsp\n\t" \
    "ret\n"
#define SKIP(name, instructions) ".balign 16\n" CALL(name) "skip_" #name ":\n\t" instructions "\n\t ret\n"

/* In rcx, the address that is to be returned to. */
#define FURTHER "mov (%rsp), %rcx; add $5, %rcx;"

__asm__(".text\n"
        SKIP(add, "addq $5, (%rsp)")
        SKIP(or, "orb $5, (%rsp)")
        SKIP(xchg, FURTHER "xchg %rcx, (%rsp)")
        SKIP(mov, FURTHER "mov %rcx, (%rsp)")
        SKIP(indexed, FURTHER "mov $2, %edx; mov %rcx, -16(%rsp,%rdx,8)")
        SKIP(moved, FURTHER "mov %rsp, %rdx; mov %rcx, (%rdx)")
        SKIP(vector, FURTHER "movq %rcx, %xmm0; pslldq $8, %xmm0; movups %xmm0, -8(%rsp)")
        SKIP(pop_push, "pop %rcx; add $5, %rcx; push %rcx")
        SKIP(pop_memory, FURTHER "push %rcx; popq (%rsp)")
        SKIP(push_16, FURTHER "add $2, %rsp; pushw %cx")
        SKIP(lea, FURTHER "lea 8(%rsp), %rsp; push %rcx")
        SKIP(sub, FURTHER "sub $-8, %rsp; mov %rcx, -8(%rsp); sub $8, %rsp")
        SKIP(saved, "mov %rsp, %rdx;" FURTHER "pop %rdx; push %rcx")
        SKIP(frame, "push %rbp; mov %rsp, %rbp; addq $5, 8(%rbp); pop %rbp")
        SKIP(enter, "enter $16, $0; addq $5, 8(%rbp); leave")
        SKIP(cmpxchg, "push %rax; mov 8(%rsp), %rax; lea 5(%rax), %rcx; lock cmpxchg %rcx, 8(%rsp); pop %rax")
        SKIP(stos, "mov %rsp, %rdi; mov (%rsp), %rax; add $5, %rax; stosq; mov $7, %eax")
        SKIP(bts, "mov $512, %edx; bts %rdx, -64(%rsp); add $2, %edx; bts %rdx, -64(%rsp)")
        /* The bit is the caller's: the return address or 64 bytes below it. */
        SKIP(bit, "bts %rdi, -64(%rsp); add $2, %rdi; bts %rdi, -64(%rsp)")
        /* The number to add is the caller's. */
        SKIP(by, "add %rdi, (%rsp)"));

#define ALL(each) \
    each(add) each(or) each(xchg) each(mov) each(indexed) each(moved) each(vector) each(pop_push) each(pop_memory) \
    each(push_16) each(lea) each(sub) each(saved) each(frame) each(enter) each(cmpxchg) each(stos) each(bts)

#define DECLARE(name) int call_##name(void);
ALL(DECLARE)
int call_bit(long bit), call_by(long bytes);

/* Goes on at the next instruction, with the same stack pointer and flags. */
static __attribute__((noinline)) void interrupt_return(long *count)
{
    __asm__ volatile("mov %%rsp, %%rax\n\t"
                     "sub $256, %%rsp\n\t"
                     "mov %%ss, %%ecx\n\t"
                     "push %%rcx\n\t"
                     "push %%rax\n\t"
                     "pushfq\n\t"
                     "mov %%cs, %%ecx\n\t"
                     "push %%rcx\n\t"
                     "lea 1f(%%rip), %%rcx\n\t"
                     "push %%rcx\n\t"
                     "iretq\n"
                     "1:\tincq %0"
                     : "+m"(*count) : : "rax", "rcx", "memory", "cc");
}

int main(void)
{
    int sum;
#define RUN(name) \
    sum = 0; \
    for (int i = 0; i < 200; i++) \
        sum += call_##name(); \
    printf(#name " %d\n", sum);
    ALL(RUN)

    sum = 0;
    for (int i = 0; i < 200; i++)
        sum += call_bit(i < 100 ? 0 : 512);
    printf("bit %d\n", sum);
    sum = 0;
    for (int i = 0; i < 200; i++)
        sum += call_by(i < 100 || i % 3 == 0 ? 0 : 5);
    printf("by %d\n", sum);

    long count = 0;
    for (int i = 0; i < 200; i++)
        interrupt_return(&count);
    printf("iretq %ld\n", count);
    return 0;
}
