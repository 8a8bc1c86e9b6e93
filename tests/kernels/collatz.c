/* The longest Collatz chain: a loop with one branch that depends on the data, and a call per number.
 *
 * kernel: collatz-O0 1.5 45 1380 -O0
 * kernel: collatz-O1 1.1 70 2000 -O1 */
#include <stdio.h>
#include <stdlib.h>

static unsigned chain(unsigned long n)
{
    unsigned steps = 0;
    while (n != 1) {
        if (n % 2 == 0)
            n /= 2;
        else
            n = 3 * n + 1;
        steps++;
    }
    return steps;
}

int main(int argc, char **argv)
{
    unsigned best = 0;
    unsigned long sum = 0, limit = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    for (unsigned long i = 1; i < limit * 10000; i++) {
        unsigned steps = chain(i);
        if (steps > best)
            best = steps;
        sum += steps;
    }
    printf("%u %lx\n", best, sum);
    return 0;
}
