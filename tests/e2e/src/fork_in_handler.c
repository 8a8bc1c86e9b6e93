/* build: -O2
 * fork in the handler of a timer signal; the child returns from the handler and computes on. Hard, because the signal
 * may come at any moment, also one at which the child's copy of what runs the program is half changed. */
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 60 };

static volatile int forked, in_child;

static void handle(int number)
{
    (void)number;
    if (in_child || forked >= CHILDREN)
        return;
    pid_t child = fork();
    if (child == 0)
        in_child = 1;
    else
        forked += child > 0;
}

int main(void)
{
    char text[64];
    unsigned random = 1;
    for (int i = 0; i < 100000; i++)
        snprintf(text, sizeof text, "%d", i);
    signal(SIGALRM, handle);
    struct itimerval timer = {{0, 3000}, {0, 3000}}, off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
    while (forked < CHILDREN && !in_child) {
        random = random * 1103515245 + 12345;
        snprintf(text, sizeof text, "%u %g", random, random * 1.5);
    }
    if (in_child) {
        for (int i = 0; i < 10000; i++)
            snprintf(text, sizeof text, "%d %g", i, i * 1.5);
        _exit(text[0]);
    }
    setitimer(ITIMER_REAL, &off, NULL);
    int status, right = 0, wrong = 0;
    while (wait(&status) > 0) {
        if (WIFEXITED(status) && WEXITSTATUS(status) == '9') {
            right++;
        } else {
            printf("status %x\n", (unsigned)status);
            wrong++;
        }
    }
    printf("%d right, %d wrong\n", right, wrong);
    return 0;
}
