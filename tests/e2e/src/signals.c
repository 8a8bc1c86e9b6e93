/* build: -O2
 * raise in a hot loop, masks, pending signals, nested handlers, sigaction's old values, sigwait, EINTR. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile int first, second, nested;

static void on_second(int number)
{
    (void)number;
    second++;
}

static void on_first(int number)
{
    first++;
    errno = 77;
    if (number == SIGUSR1 && first % 10 == 0) {
        nested++;
        raise(SIGUSR2);
    }
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_first}, old;
    sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = on_second;
    sigaction(SIGUSR2, &action, &old);
    printf("old default: %d\n", old.sa_handler == SIG_DFL);
    for (int i = 0; i < 2000; i++)
        raise(SIGUSR1);
    printf("%d %d %d\n", first, second, nested);

    sigset_t block, pending, before;
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    sigprocmask(SIG_BLOCK, &block, &before);
    printf("blocked before: %d\n", sigismember(&before, SIGUSR1));
    raise(SIGUSR1);
    sigpending(&pending);
    printf("pending %d, delivered %d\n", sigismember(&pending, SIGUSR1), first == 2000 ? 0 : 1);
    int got = 0;
    sigwait(&block, &got);
    printf("waited for %s\n", strsignal(got));
    sigprocmask(SIG_SETMASK, &before, NULL);

    sigaction(SIGALRM, &action, NULL);
    int ends[2];
    char byte;
    if (pipe(ends) != 0)
        return 1;
    ualarm(20000, 20000); /* again and again: the first may come before read */
    ssize_t count = read(ends[0], &byte, 1);
    int why = errno;
    ualarm(0, 0);
    printf("read %zd: %s\n", count, strerror(why));
    fflush(stdout);
    raise(SIGTERM);
    return 0;
}
