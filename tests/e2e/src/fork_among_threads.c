/* build: -O2 -pthread
 * Two threads fork all the time, one of them the first, while others and the children run the same hot loop: as children of a
 * process in which somebody else is anywhere, they go on by themselves, make threads and fork again. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/hot_loop.h"

static bool quit;

static void *brief(void *arg)
{
    *(unsigned long *)arg = compute(7, 20000);
    return NULL;
}

/* The exit status of a child that computes, with a thread of its own and a child of its own. */
static int child(int depth)
{
    pid_t pid = fork();
    if (pid == 0) {
        unsigned long result, own = compute(7, 20000);
        pthread_t t;
        for (int i = 0; i < 100; i++)
            own = compute(7, 20000) | (own ^ compute(7, 20000)); /* the same again */
        if (pthread_create(&t, NULL, brief, &result) != 0)
            _exit(1);
        pthread_join(t, NULL);
        if (depth && child(depth - 1) != 0)
            _exit(2);
        if (depth)
            exit(own == result ? 0 : 3);
        _exit(own == result ? 0 : 4);
    }
    int status = -1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return -2;
    return status;
}

static void *forks(void *arg)
{
    for (int i = 0; i < 12; i++)
        *(int *)arg |= child(0);
    return NULL;
}

static void *runs(void *arg)
{
    unsigned long first = compute(7, 20000);
    *(bool *)arg = true;
    while (!__atomic_load_n(&quit, __ATOMIC_ACQUIRE))
        *(bool *)arg &= compute(7, 20000) == first;
    return NULL;
}

int main(void)
{
    pthread_t a, b, c;
    int others = 0, own = 0;
    bool right[2];
    unsigned long first = compute(7, 20000);
    bool same = true;
    pthread_create(&a, NULL, forks, &others);
    pthread_create(&b, NULL, runs, &right[0]);
    pthread_create(&c, NULL, runs, &right[1]);
    for (int i = 0; i < 12; i++) {
        own |= child(1);
        for (int k = 0; k < 200; k++)
            same &= compute(7, 20000) == first;
    }
    pthread_join(a, NULL);
    __atomic_store_n(&quit, true, __ATOMIC_RELEASE);
    pthread_join(b, NULL);
    pthread_join(c, NULL);
    printf("%d %d %d %d %d\n", own, others, same, right[0], right[1]);
    return 0;
}
