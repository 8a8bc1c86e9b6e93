/* build: -O2 -pthread
 * Threads begin with the signals blocked that their makers had blocked, and those that their attributes say. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

static void *looks(void *arg)
{
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    int *seen = arg;
    *seen = 0;
    for (int s = 1; s < 32; s++)
        *seen |= sigismember(&now, s) == 1 ? 1 << s : 0;
    return NULL;
}

static int seen_by_a_thread(const pthread_attr_t *attributes)
{
    pthread_t t;
    int seen = -1;
    pthread_create(&t, attributes, looks, &seen);
    pthread_join(t, NULL);
    return seen;
}

int main(void)
{
    sigset_t all, none, urgent;
    pthread_attr_t attributes;
    sigfillset(&all);
    sigemptyset(&none);
    sigemptyset(&urgent);
    sigaddset(&urgent, SIGURG);
    printf("%x\n", seen_by_a_thread(NULL));
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    printf("%x\n", seen_by_a_thread(NULL));
    pthread_sigmask(SIG_SETMASK, &urgent, NULL);
    printf("%x\n", seen_by_a_thread(NULL));
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    printf("%x\n", seen_by_a_thread(NULL));
    pthread_attr_init(&attributes);
    pthread_attr_setsigmask_np(&attributes, &urgent);
    printf("%x\n", seen_by_a_thread(&attributes));
    return 0;
}
