/* build: -O2 -fno-inline
 * Indirect calls with 1, 3 and 32 targets, through tables, members and memory; tail calls; an IFUNC. */
#include <stdio.h>

typedef unsigned op(unsigned);

struct object { op *method; unsigned state; };

#define DEFINE(k) static unsigned op_##k(unsigned x) { return (x ^ (k * 2654435761u)) + (x >> (k % 13 + 1)); }
#define EACH(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15) M(16) M(17) \
    M(18) M(19) M(20) M(21) M(22) M(23) M(24) M(25) M(26) M(27) M(28) M(29) M(30) M(31)
EACH(DEFINE)
#define ENTRY(k) op_##k,
static op *const table[] = {EACH(ENTRY)};

static unsigned tail_b(unsigned n, unsigned sum);
static unsigned tail_a(unsigned n, unsigned sum)
{
    return n == 0 ? sum : tail_b(n - 1, sum * 3 + n);
}
static unsigned tail_b(unsigned n, unsigned sum)
{
    return n == 0 ? sum ^ 1 : tail_a(n - 1, sum + 7);
}

static unsigned tail_indirect(unsigned x)
{
    op *volatile target = table[x % 32];
    return target(x + 1);
}

static unsigned slow(unsigned x) { return x * 5 + 1; }
static unsigned fast(unsigned x) { return x * 5 + 1; }
static op *resolve(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") ? fast : slow;
}
unsigned chosen(unsigned x) __attribute__((ifunc("resolve")));

int main(void)
{
    struct object objects[3] = {{op_1, 1}, {op_2, 2}, {op_3, 3}};
    unsigned sum = 1;
    for (unsigned i = 0; i < 100000; i++) {
        struct object *object = &objects[sum % 3];
        object->state += object->method(object->state + sum);
        sum += table[sum >> 27](i) + object->state;
        sum += tail_indirect(sum) + chosen(i);
        if (i % 100 == 0)
            sum += tail_a(i, sum);
    }
    printf("%u\n", sum);
    return 0;
}
