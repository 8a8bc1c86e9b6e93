/* build: -O2
 * Leaf functions that keep values below the stack pointer, across loops and branches. */
#include <stdio.h>

static __attribute__((noinline)) long leaf(long a, long rounds)
{
    long out;
    __asm__ volatile("movq %1, -8(%%rsp)\n movq $7, -16(%%rsp)\n movq %2, -120(%%rsp)\n movq $1, -128(%%rsp)\n"
                     "1: movq -8(%%rsp), %%rax\n imulq -16(%%rsp), %%rax\n addq -128(%%rsp), %%rax\n"
                     "movq %%rax, -8(%%rsp)\n testb $4, %%al\n jz 2f\n incq -128(%%rsp)\n"
                     "2: decq -120(%%rsp)\n jnz 1b\n movq -8(%%rsp), %0\n"
                     : "=r"(out) : "r"(a), "r"(rounds) : "rax", "cc", "memory");
    return out;
}

static __attribute__((noinline)) int table(int n)
{
    volatile int space[24];
    for (int i = 0; i < 24; i++)
        space[i] = n * i;
    int sum = 0;
    for (int i = 0; i < 24; i++)
        sum += space[(i * 7 + n) % 24u];
    return sum;
}

int main(void)
{
    long sum = 0;
    for (int i = 0; i < 5000; i++)
        sum = sum * 3 + leaf(i, 30) + table(i);
    printf("%ld\n", sum);
    return 0;
}
