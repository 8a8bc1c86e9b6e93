/* build: -O2 -pthread
 * run: pthread
 * run: thrd
 * run: clone
 * run: call
 * run: timer
 * run: urgent
 * A second thread, made in each of the ways there are, while a loop of the first is hot in which a word is read twice: natively the two
 * soon differ, and if the second read was found to be the first it ends never. `timer`: inside libc, where no wrapper sees it. `urgent`:
 * after the program took the signal that slices use. Both threads go on with right results. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

static volatile unsigned word;
static volatile int stop, stopped;
static unsigned result;
static char stack[65536] __attribute__((aligned(16)));

static __attribute__((noinline)) unsigned work(unsigned n)
{
    unsigned x = 1;
    for (unsigned i = 0; i < n; i++)
        x = x * 1103515245u + (x >> 7);
    return x;
}

/* How often two reads gave the same, up to n. */
static __attribute__((noinline)) unsigned long same(unsigned long n)
{
    unsigned long i = 0;
    while (i < n) {
        unsigned first = word, second = word;
        if (first != second)
            break;
        i++;
    }
    return i;
}

static void other(void)
{
    result = work(1500000);
    while (!stop)
        word++;
    stopped = 1;
}

static void *other_pthread(void *arg)
{
    other();
    return arg;
}

static int other_thrd(void *arg)
{
    other();
    return arg != NULL;
}

static int other_clone(void *arg)
{
    (void)arg;
    other();
    syscall(SYS_exit, 0);
    return 0;
}

static void other_call(void)
{
    other();
    syscall(SYS_exit, 0);
}

static void other_timer(union sigval arg)
{
    (void)arg;
    other();
}

static void on_urgent(int sig) { (void)sig; }

static int make(const char *how)
{
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
    pthread_t p;
    thrd_t t;
    if (strcmp(how, "urgent") == 0)
        signal(SIGURG, on_urgent);
    if (strcmp(how, "thrd") == 0)
        return thrd_create(&t, other_thrd, NULL) == thrd_success;
    if (strcmp(how, "clone") == 0)
        return clone(other_clone, stack + sizeof stack, flags, NULL) > 0;
    if (strcmp(how, "call") == 0) { /* the child returns from syscall(3) to what lies on its stack */
        *(void **)(stack + sizeof stack - 8) = (void *)other_call;
        return syscall(SYS_clone, flags, stack + sizeof stack - 8, NULL, NULL, NULL) > 0;
    }
    if (strcmp(how, "timer") == 0) {
        struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = other_timer};
        struct itimerspec when = {.it_value.tv_nsec = 1000000};
        timer_t id;
        return timer_create(CLOCK_MONOTONIC, &event, &id) == 0 && timer_settime(id, 0, &when, NULL) == 0;
    }
    return pthread_create(&p, NULL, other_pthread, NULL) == 0;
}

int main(int argc, char **argv)
{
    unsigned long calm = same(150000000);
    if (!make(argc > 1 ? argv[1] : ""))
        return 2;
    int differed = same(-1UL) < -1UL;
    unsigned mine = work(30000000);
    stop = 1;
    while (!stopped)
        ;
    printf("%lu %d %u %u\n", calm, differed, mine, result);
    return 0;
}
