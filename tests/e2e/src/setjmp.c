/* build: -O2
 * setjmp and longjmp across several frames, sigsetjmp, and out of a hot loop. */
#include <setjmp.h>
#include <stdio.h>

static jmp_buf top;
static sigjmp_buf with_mask;

static __attribute__((noinline)) int dive(int depth, int value)
{
    if (depth == 0)
        longjmp(top, value);
    return dive(depth - 1, value) + 1;
}

int main(void)
{
    volatile long sum = 0, jumps = 0;
    for (volatile int i = 1; i <= 20000; i++) {
        int value = setjmp(top);
        if (value == 0)
            sum += dive(i % 20, i);
        else {
            sum += value;
            jumps++;
        }
    }
    volatile int round = 0;
    if (sigsetjmp(with_mask, 1) < 1000) {
        round++;
        siglongjmp(with_mask, round);
    }
    printf("%ld %ld %d\n", sum, jumps, round);
    return 0;
}
