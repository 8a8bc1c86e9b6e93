/* build: -O2 -no-pie
 * The break grows by 800 MiB, as it can natively, and back. Hard, because what wants to be near the program's code,
 * for short jumps, wants the same addresses. */
#define _GNU_SOURCE
#include <stdio.h>
#include <unistd.h>

enum { STEP = 50 << 20, STEPS = 16 };

int main(void)
{
    unsigned sum = 0;
    int steps = 0, contiguous = 1;
    for (unsigned i = 0; i < 1000000; i++)
        sum = sum * 31 + i;
    /* Nothing of the C library that allocates until the break is back. */
    char *start = sbrk(0);
    while (steps < STEPS) {
        char *more = sbrk(STEP);
        if (more == (char *)-1)
            break;
        contiguous &= more == start + (size_t)steps * STEP;
        more[0] = more[STEP - 1] = 1;
        steps++;
    }
    for (int i = 0; i < steps; i++)
        sum += (unsigned)start[(size_t)i * STEP];
    int back = brk(start);
    printf("%d steps, contiguous %d, back %d, %u\n", steps, contiguous, back, sum);
    return 0;
}
