/* build: -O2
 * run: 0
 * run: 1
 * run: 42
 * run: 300
 * run: _exit 7
 * run: segv
 * run: abort
 * run: fpe
 * run: trap
 * run: illegal
 * run: quick 9
 * The ways a process ends. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile int zero;
static int *volatile nowhere;

static void at_exit(void)
{
    puts("atexit ran");
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "0";
    unsigned sum = 0;
    for (unsigned i = 0; i < 100000; i++)
        sum = sum * 31 + i;
    printf("%s %u\n", how, sum);
    fflush(stdout);
    atexit(at_exit);
    if (!strcmp(how, "_exit"))
        _exit(atoi(argv[2]));
    if (!strcmp(how, "quick"))
        quick_exit(atoi(argv[2]));
    if (!strcmp(how, "segv"))
        *nowhere = 1;
    if (!strcmp(how, "abort"))
        abort();
    if (!strcmp(how, "fpe"))
        return 1234567 / zero;
    if (!strcmp(how, "trap"))
        __asm__ volatile("int3");
    if (!strcmp(how, "illegal"))
        __builtin_trap();
    return atoi(how);
}
