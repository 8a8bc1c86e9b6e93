/* Merging two sorted runs of random numbers, the inner loop of many sorts: which side is next cannot be predicted.
 *
 * kernel: merge 1.3 7 200 -O2 -fno-if-conversion -fno-if-conversion2 */
#include <stdio.h>
#include <stdlib.h>

#define COUNT 20000

static unsigned left[COUNT + 1], right[COUNT + 1], out[2 * COUNT];

static void merge(void)
{
    const unsigned *a = left, *b = right;
    for (unsigned *o = out; o < out + 2 * COUNT; o++) {
        if (*a < *b)
            *o = *a++;
        else
            *o = *b++;
    }
}

static void fill(unsigned *run, unsigned seed)
{
    unsigned value = 0;
    for (int i = 0; i < COUNT; i++) {
        seed = seed * 1664525u + 1013904223u;
        value += seed >> 16 & 1023;
        run[i] = value;
    }
    run[COUNT] = ~0u;
}

int main(int argc, char **argv)
{
    unsigned long sum = 0;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    fill(left, 11);
    fill(right, 12);
    for (int r = 0; r < rounds * 200; r++) {
        left[r % COUNT] += (unsigned)r & 1;
        merge();
        sum = sum * 3 + out[(unsigned)r * 977u % (2 * COUNT)] + out[COUNT];
    }
    printf("%lx\n", sum);
    return 0;
}
