/* build: -O1 -fno-optimize-sibling-calls -fno-inline
 * Deep recursion (no return predictor is that deep), mutual recursion, Ackermann, Fibonacci. */
#include <stdio.h>

static int is_odd(unsigned n);
static int is_even(unsigned n) { return n == 0 ? 1 : is_odd(n - 1); }
static int is_odd(unsigned n) { return n == 0 ? 0 : is_even(n - 1); }
static long depth(long n) { return n == 0 ? 0 : depth(n - 1) + 1; }
static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static int ackermann(int m, int n)
{
    return m == 0 ? n + 1 : n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

int main(void)
{
    long sum = 0;
    for (int i = 0; i < 20; i++)
        sum += depth(100000 + i) + is_even((unsigned)(100000 + i));
    printf("%ld %d %d\n", sum, fib(24), ackermann(2, 300));
    return 0;
}
