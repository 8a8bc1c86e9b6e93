/* build: -O2 -pthread
 * Handlers with a frame of a megabyte in threads that compute: all that a thread's stack has room for belongs to
 * the program. Hard, because a signal may come while somebody else than the program runs on the thread, and its
 * handler then runs on the stack that is in use at that moment. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { THREADS = 3 };

static volatile int stop;
static volatile long result;
static __thread volatile int handled;
static int reached[THREADS];

static void handle(int number)
{
    volatile char frame[1 << 20];
    for (unsigned i = 0; i < sizeof frame; i += 64)
        frame[i] = (char)number;
    handled++;
}

#define TARGET(n) \
    static __attribute__((noinline)) void target_##n(int value) \
    { \
        result += value * n; \
    }
TARGET(1)
TARGET(2)
TARGET(3)
TARGET(4)
TARGET(5)

static void *work(void *argument)
{
    static void (*const targets[])(int) = {target_1, target_2, target_3, target_4, target_5};
    unsigned random = 1;
    char text[32];
    while (!stop) {
        random = random * 1103515245 + 12345;
        targets[(random >> 16) % 5]((int)random);
        snprintf(text, sizeof text, "%g", random * 0.3);
    }
    *(int *)argument = handled > 0;
    return argument;
}

int main(void)
{
    pthread_t threads[THREADS];
    signal(SIGUSR1, handle);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, &reached[i]) != 0)
            return 1;
    usleep(50000);
    for (int i = 0; i < 300; i++) {
        for (int k = 0; k < THREADS; k++)
            pthread_kill(threads[k], SIGUSR1);
        usleep(1000);
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        printf("%d\n", reached[i]);
    }
    return 0;
}
