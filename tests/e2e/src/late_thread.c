/* A thread that no wrapper of pthread_create sees (thrd_create), while loops of the first are hot: both go on with right results, and
 * the first still notices what the second writes. */
#include <stdio.h>
#include <threads.h>

static volatile int go, seen;
static unsigned results[2];

static unsigned work(unsigned n)
{
    unsigned x = 1;
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < 50; k++)
            x = x * 1103515245u + k;
    return x;
}

static int other(void *arg)
{
    (void)arg;
    results[1] = work(1500000);
    go = 1;
    while (!seen)
        thrd_yield();
    return 0;
}

int main(void)
{
    thrd_t t;
    unsigned before = work(1500000);
    if (thrd_create(&t, other, NULL) != thrd_success)
        return 2;
    results[0] = work(1500000);
    while (!go)
        ;
    seen = 1;
    thrd_join(t, NULL);
    printf("%u %u %u\n", before, results[0], results[1]);
    return 0;
}
