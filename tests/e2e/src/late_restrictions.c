/* build: -O2 -pthread
 * run: descriptors
 * run: dumpable
 * run: user
 * run: size
 * A process that runs, then gives up opening files (a limit of three descriptors), looking at itself (not dumpable),
 * being root or writing files, while two threads still come to new code. Hard for whoever reads /proc/self or writes a
 * file later than at the start. Dumpable says little to root, and user says what dumpable says to others. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static volatile int stop, reached;

#define FUNCTION(n) \
    static __attribute__((noinline)) int function_##n(int value) \
    { \
        volatile int result = value; \
        for (int i = 0; i < 20; i++) \
            result += i * n; \
        return result; \
    }
#define TEN(each, n) each(n##0) each(n##1) each(n##2) each(n##3) each(n##4) \
    each(n##5) each(n##6) each(n##7) each(n##8) each(n##9)
#define ALL(each) TEN(each, 1) TEN(each, 2) TEN(each, 3) TEN(each, 4) TEN(each, 5) TEN(each, 6) TEN(each, 7) TEN(each, 8)
#define NAME(n) function_##n,

ALL(FUNCTION)
static int (*const functions[])(int) = {ALL(NAME)};
enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

static void *work(void *argument)
{
    while (!stop)
        for (int i = 0; i <= reached; i++)
            functions[i](i);
    return argument;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, NULL) != 0)
        return 1;
    usleep(50000);
    int result;
    if (strcmp(what, "dumpable") == 0)
        result = prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    else if (strcmp(what, "user") == 0)
        result = geteuid() == 0 ? setresuid(65534, 65534, 65534) : prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    else if (strcmp(what, "size") == 0)
        result = setrlimit(RLIMIT_FSIZE, &(struct rlimit){4096, 4096});
    else
        result = setrlimit(RLIMIT_NOFILE, &(struct rlimit){3, 3});
    int sum = 0;
    for (int i = 0; i < FUNCTIONS; i++) {
        reached = i;
        for (int k = 0; k < 100; k++)
            sum += functions[i](k);
        usleep(1000);
    }
    stop = 1;
    pthread_join(thread, NULL);
    printf("%d %d\n", result, sum);
    return 0;
}
