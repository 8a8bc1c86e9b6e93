/* build: -O2
 * libs: early_handler
 * except: control=full
 * A handler that a library's constructor set finds the program in its own text, and stays what the program reads back. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/time.h>

#include "lib/hot_loop.h"

extern volatile long early_calls, early_strange;

int main(void)
{
    struct itimerval every = {{0, 4000}, {0, 4000}};
    struct sigaction act;
    Dl_info of;
    unsigned long first = compute(1, 30000);
    bool same = true;
    setitimer(ITIMER_VIRTUAL, &every, NULL);
    for (int i = 0; i < 20000; i++)
        same &= compute(1, 30000) == first;
    sigaction(SIGVTALRM, NULL, &act);
    const char *name = dladdr((void *)act.sa_sigaction, &of) ? of.dli_fname : "nowhere";
    bool right = false;
    for (const char *p = name; *p; p++)
        right |= *p == 'e' && p[1] == 'a' && p[2] == 'r' && p[3] == 'l' && p[4] == 'y';
    printf("%d %d %ld %d\n", same, early_calls > 20, early_strange, right);
    return 0;
}
