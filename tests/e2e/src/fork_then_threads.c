/* build: -O2 -pthread
 * A process with a thread forks, and its children make threads at once, which all run hot code that the parent's made something of
 * or that is new to them, load and unload a library's worth of text, and fork again. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/hot_loop.h"

#define THREADS 3

__attribute__((noinline)) static unsigned long mix(unsigned long h, int n)
{
    static const unsigned char steps[16] = {1, 5, 9, 2, 8, 3, 7, 11, 4, 15, 6, 13, 10, 12, 14, 17};
    __asm__ volatile("" : "+r"(h));
    for (int i = 0; i < n; i++) {
        h = turn(h, steps[h >> 7 & 15]);
        if (!(h & 3))
            h ^= h >> 11;
    }
    return h;
}

static void *runs(void *arg)
{
    unsigned long *result = arg;
    for (int i = 0; i < 60; i++) {
        *result = compute(*result, 60000);
        *result = mix(*result, 60000);
        void *p = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(p, 1 << 16);
    }
    return NULL;
}

static unsigned long together(void)
{
    pthread_t t[THREADS];
    unsigned long result[THREADS], sum = 0;
    for (int i = 0; i < THREADS; i++) {
        result[i] = (unsigned long)i;
        pthread_create(&t[i], NULL, runs, &result[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        sum = sum * 31 + result[i];
    }
    return sum;
}

static int child(unsigned long expected, int depth)
{
    pid_t pid = fork();
    if (pid == 0) {
        int wrong = together() != expected;
        if (depth)
            wrong |= child(expected, depth - 1) != 0;
        _exit(wrong);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

int main(void)
{
    unsigned long sum = together();
    int status[4];
    for (int i = 0; i < 4; i++)
        status[i] = child(sum, i & 1);
    printf("%lx %d %d %d %d\n", sum, status[0], status[1], status[2], status[3]);
    return 0;
}
