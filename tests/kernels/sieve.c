/* The sieve of Eratosthenes: a short loop of strided byte stores and one that counts.
 *
 * kernel: sieve-O0 1.5 5 140 -O0
 * kernel: sieve-O1 1.1 13 380 -O1 */
#include <stdio.h>
#include <stdlib.h>

#define LIMIT 200000

static unsigned char composite[LIMIT];

static unsigned count_primes(unsigned limit)
{
    unsigned count = 0;
    for (unsigned i = 0; i < limit; i++)
        composite[i] = 0;
    for (unsigned i = 2; i < limit; i++) {
        if (composite[i])
            continue;
        count++;
        for (unsigned k = 2 * i; k < limit; k += i)
            composite[k] = 1;
    }
    return count;
}

int main(int argc, char **argv)
{
    unsigned long sum = 0;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    for (int r = 0; r < rounds * 20; r++)
        sum = sum * 7 + count_primes(LIMIT - (unsigned)r % 1000);
    printf("%lx\n", sum);
    return 0;
}
