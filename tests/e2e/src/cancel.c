/* build: -O2 -pthread
 * Cancelled threads: cleanup handlers and thread-specific destructors run, from cancellation points inside hot loops. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static pthread_key_t key;
static volatile int cleaned, destroyed;
static volatile unsigned long work;

static void clean(void *argument)
{
    cleaned += *(int *)argument;
}

static void destroy(void *value)
{
    (void)value;
    destroyed++;
}

static __attribute__((noinline)) unsigned long mix(unsigned long x)
{
    return x * 6364136223846793005 + 1442695040888963407;
}

static void *computes(void *argument)
{
    pthread_setspecific(key, argument);
    pthread_cleanup_push(clean, argument);
    for (unsigned long x = 1;; work = x) {
        for (int i = 0; i < 10000; i++)
            x = mix(x);
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void *waits(void *argument)
{
    char byte;
    int ends[2];
    pthread_setspecific(key, argument);
    pthread_cleanup_push(clean, argument);
    if (pipe(ends) == 0)
        (void)!read(ends[0], &byte, 1);
    pthread_cleanup_pop(0);
    return NULL;
}

int main(void)
{
    unsigned long x = 1;
    pthread_key_create(&key, destroy);
    for (int i = 0; i < 300000000; i++) /* hot before there is a second thread */
        x = mix(x);
    work = x;
    for (int i = 0; i < 8; i++) {
        pthread_t thread;
        void *result;
        int one = 1;
        pthread_create(&thread, NULL, i & 1 ? computes : waits, &one);
        usleep(20000);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        printf("%d %d %d\n", result == PTHREAD_CANCELED, cleaned, destroyed);
    }
    return 0;
}
