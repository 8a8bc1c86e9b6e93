/* build: -O2 -pthread
 * Execution on stacks of the program's own: swapcontext in a hot loop, a small thread stack, a 16 KiB one. */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

static ucontext_t main_context, generator;
static long yielded;

static void generate(void)
{
    for (long i = 0;; i++) {
        yielded = i * i % 1009;
        swapcontext(&generator, &main_context);
    }
}

static void *small(void *argument)
{
    long *sum = argument;
    for (long i = 0; i < 500000; i++)
        *sum = *sum * 3 + i;
    return NULL;
}

int main(void)
{
    long sum = 0, threads = 0;
    getcontext(&generator);
    generator.uc_stack.ss_sp = malloc(16384);
    generator.uc_stack.ss_size = 16384;
    generator.uc_link = NULL;
    makecontext(&generator, generate, 0);
    for (int i = 0; i < 20000; i++) {
        swapcontext(&main_context, &generator);
        sum = sum * 7 + yielded;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, small, &threads) == 0)
            pthread_join(thread, NULL);
    }
    printf("%ld %ld\n", sum, threads);
    return 0;
}
