/* A handler computes on an alternate stack that has room for its own frame, and for no second one. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>

#define BELOW      16384
#define ROOM       2500
#define SPARE      4500
#define HANDLER_NS 60000000

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static volatile unsigned long sum = 1;

static long cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void on_signal(int sig)
{
    volatile char room[ROOM];
    for (int i = 0; i < ROOM; i++)
        room[i] = (char)(sig + i);
    for (long start = cpu_ns(); cpu_ns() - start < HANDLER_NS;)
        for (int i = 0; i < 20000; i++)
            sum = sum * 31 + (unsigned char)room[i % ROOM];
}

int main(void)
{
    unsigned long frame = getauxval(AT_MINSIGSTKSZ);
    size_t size = (frame < 2048 ? 2048 : frame) + SPARE, overwritten = 0;
    unsigned char *memory = malloc(BELOW + size);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK}, old;
    stack_t stack = {.ss_sp = memory + BELOW, .ss_size = size};
    memset(memory, 0x5a, BELOW + size);
    if (sigaltstack(&stack, NULL) || sigaction(SIGUSR1, &action, NULL) || sigaction(SIGUSR1, NULL, &old))
        return 2;
    for (int sig = 1, any = 0; sig <= 64; sig++) {
        any += sigismember(&old.sa_mask, sig) == 1;
        if (sig == 64)
            printf("signals blocked: %d, flags same: %d\n", any, old.sa_flags == action.sa_flags);
    }
    for (int i = 0; i < 4; i++)
        raise(SIGUSR1);
    for (size_t i = 0; i < BELOW; i++)
        overwritten += memory[i] != 0x5a;
    printf("overwritten: %zu\n", overwritten);
    return 0;
}
