/* Binary search for keys in random order: half of the comparisons are mispredicted as branches. The loop is written so
 * that the compiler keeps the branch; what a straight path cannot hide, a conditional move can.
 *
 * kernel: search 1.3 5 140 -O2 -fno-if-conversion -fno-if-conversion2 */
#include <stdio.h>
#include <stdlib.h>

#define COUNT 8192

static unsigned table[COUNT];

static unsigned find(unsigned key)
{
    unsigned low = 0, high = COUNT;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (table[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int main(int argc, char **argv)
{
    unsigned long sum = 0;
    unsigned seed = 7;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    for (unsigned i = 0; i < COUNT; i++)
        table[i] = i * 521u;
    for (int r = 0; r < rounds * 500000; r++) {
        seed = seed * 1664525u + 1013904223u;
        sum = sum * 5 + find(seed >> 10);
    }
    printf("%lx\n", sum);
    return 0;
}
