/* qsort with a callback of the program: the library calls back through a pointer for every comparison. The gain is in
 * the call, the guarded target and the return; the comparison's own branch stays as hard to predict as it is.
 *
 * kernel: qsort 1.2 2 62 -O2 */
#include <stdio.h>
#include <stdlib.h>

#define COUNT 100000

struct item {
    unsigned key;
    unsigned value;
};

static int by_key(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

int main(int argc, char **argv)
{
    static struct item items[COUNT];
    unsigned long sum = 0;
    unsigned seed = 1;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    for (int r = 0; r < rounds * 8; r++) {
        for (unsigned i = 0; i < COUNT; i++) {
            seed = seed * 1664525u + 1013904223u;
            items[i] = (struct item){seed >> 8, i};
        }
        qsort(items, COUNT, sizeof items[0], by_key);
        for (unsigned i = 0; i < COUNT; i += 100)
            sum = sum * 31 + items[i].key + items[i].value;
    }
    printf("%lx\n", sum);
    return 0;
}
