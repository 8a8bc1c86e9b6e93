/* build: -O2
 * What a program set for its signals is what it reads back, and what happens: flags, masks, one-shot handlers, each of
 * libc's functions that set a handler, siginterrupt, fork, exec, two signals at once, unwinding out of a handler. */
#define _GNU_SOURCE
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int calls, nested, order[8], order_count;

static void plain(int number)
{
    (void)number;
    calls++;
}
static void other(int number)
{
    (void)number;
    calls += 100;
}
static void with_info(int number, siginfo_t *info, void *context)
{
    calls += 1000 * (info->si_signo == number && info->si_code == SI_TKILL && info->si_pid == getpid() && context);
}
static void again(int number)
{
    if (++nested < 3)
        raise(number);
    calls++;
}
static void ordered(int number) { order[order_count++ & 7] = number; }
static void deep(int number)
{
    void *frames[64];
    (void)number;
    int count = backtrace(frames, 64);
    char **names = backtrace_symbols(frames, count);
    for (int i = 0; i < count; i++)
        calls += strstr(names[i], "__libc_start_main") != NULL; /* through the frame that was interrupted */
    free(names);
}

static void show(const char *what, int number)
{
    struct sigaction now;
    sigaction(number, NULL, &now);
    printf("%s: %s, flags %#x, masks %d %d\n", what,
           now.sa_handler == SIG_DFL       ? "default"
           : now.sa_handler == SIG_IGN     ? "ignored"
           : now.sa_handler == plain       ? "plain"
           : now.sa_handler == other       ? "other"
           : now.sa_sigaction == with_info ? "with_info"
                                           : "something",
           now.sa_flags & ~0x04000000, sigismember(&now.sa_mask, SIGUSR2), sigismember(&now.sa_mask, SIGALRM));
}

static void change(void)
{
    struct sigaction action = {.sa_handler = plain, .sa_flags = SA_RESTART | SA_NODEFER}, old;
    sigaddset(&action.sa_mask, SIGUSR2);
    show("before", SIGUSR1);
    sigaction(SIGUSR1, &action, &old);
    printf("%d\n", old.sa_handler == SIG_DFL);
    show("set", SIGUSR1);
    for (int i = 0; i < 5; i++) {
        action = (struct sigaction){.sa_sigaction = with_info, .sa_flags = SA_SIGINFO};
        sigaction(SIGUSR1, &action, &old);
        printf("%d ", old.sa_handler == plain);
        raise(SIGUSR1);
        action = (struct sigaction){.sa_handler = plain};
        sigaction(SIGUSR1, &action, &old);
        printf("%d %#x\n", old.sa_sigaction == with_info, old.sa_flags & ~0x04000000);
        raise(SIGUSR1);
    }
    printf("%d calls\n", calls);
    printf("%d\n", sigaction(SIGKILL, &action, NULL) == -1 && errno == EINVAL);
    printf("%d\n", sigaction(1000, &action, NULL) == -1 && errno == EINVAL);
    action.sa_flags = SA_RESETHAND | SA_SIGINFO;
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    show("after one shot", SIGUSR1);
    action = (struct sigaction){.sa_handler = again, .sa_flags = SA_NODEFER};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    printf("%d calls, nested %d\n", calls, nested);
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void by_other_names(void)
{
    printf("%d ", signal(SIGUSR1, plain) == again);
    printf("%d ", signal(SIGUSR1, other) == plain);
    printf("%d ", ssignal(SIGUSR1, plain) == other);
    printf("%d ", sysv_signal(SIGUSR1, other) == plain);
    show("sysv", SIGUSR1);
    raise(SIGUSR1);
    show("raised", SIGUSR1);
    printf("%d ", sigset(SIGUSR1, plain) == SIG_DFL);
    printf("%d ", sigset(SIGUSR1, SIG_HOLD) == plain);
    printf("%d ", sigset(SIGUSR1, other) == SIG_HOLD);
    show("sigset", SIGUSR1);
    siginterrupt(SIGUSR1, 0);
    show("restarts", SIGUSR1);
    siginterrupt(SIGUSR1, 1);
    raise(SIGUSR1);
    show("interrupts", SIGUSR1);
    sigignore(SIGUSR1);
    show("sigignore", SIGUSR1);
    printf("%d calls, %d\n", calls, signal(SIGUSR1, SIG_DFL) == SIG_IGN);
    printf("%d\n", signal(SIGKILL, plain) == SIG_ERR);
}

static void in_children(char **argv)
{
    struct sigaction action = {.sa_handler = plain};
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGUSR2, SIG_IGN);
    fflush(stdout);
    if (fork() == 0) {
        show("child", SIGUSR1);
        raise(SIGUSR1);
        printf("%d calls\n", calls);
        fflush(stdout);
        execl("/proc/self/exe", argv[0], "again", NULL);
    }
    wait(NULL);
}

static void at_once(void)
{
    sigset_t both, before;
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGALRM);
    signal(SIGUSR1, ordered);
    signal(SIGALRM, ordered);
    sigprocmask(SIG_BLOCK, &both, &before);
    raise(SIGUSR1);
    raise(SIGALRM);
    sigprocmask(SIG_SETMASK, &before, NULL);
    printf("%d: %d %d\n", order_count, order[0], order[1]);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        show("after exec", SIGUSR1);
        show("after exec", SIGUSR2);
        return 0;
    }
    change();
    by_other_names();
    in_children(argv);
    at_once();
    calls = 0;
    signal(SIGUSR1, deep);
    raise(SIGUSR1);
    printf("unwound to the start: %d\n", calls);
    return 0;
}
