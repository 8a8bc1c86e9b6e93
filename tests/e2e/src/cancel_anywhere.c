/* build: -O2 -pthread -fexceptions
 * except: control=full
 * Threads that may be cancelled at any instruction are, in the middle of hot loops; what unwinding cleans up is cleaned up, frame by
 * frame. */
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/hot_loop.h"

static volatile unsigned long work;
static unsigned long (*volatile computes)(unsigned long, int) = compute; /* may throw, for all the compiler knows */

static void clean(int **count) { ++**count; }

__attribute__((noinline)) static void inner(int *count)
{
    __attribute__((cleanup(clean))) int *counted = count;
    for (;;)
        work = computes(work, 20000) + (unsigned long)*counted;
}

static void *outer(void *arg)
{
    __attribute__((cleanup(clean))) int *counted = arg;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    inner(counted);
    work = (unsigned long)*counted;
    return NULL;
}

static void *waits(void *arg)
{
    pause();
    return arg;
}

static void *runs(void *arg)
{
    *(unsigned long *)arg = 1;
    for (int i = 0; i < 6000; i++)
        *(unsigned long *)arg = compute(*(unsigned long *)arg, 20000);
    return NULL;
}

int main(void)
{
    unsigned long result;
    pthread_t other;
    pthread_create(&other, NULL, waits, NULL);
    pthread_cancel(other); /* the first time, libc sets its handler */
    pthread_join(other, NULL);
    pthread_create(&other, NULL, runs, &result);
    for (int i = 0; i < 6; i++) {
        pthread_t t;
        void *returned;
        int count = 0;
        pthread_create(&t, NULL, outer, &count);
        usleep(100000);
        pthread_cancel(t);
        pthread_join(t, &returned);
        printf("%d %d\n", count, returned == PTHREAD_CANCELED);
    }
    pthread_join(other, NULL);
    printf("%lx\n", result);
    return 0;
}
