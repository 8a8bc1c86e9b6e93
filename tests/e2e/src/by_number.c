/* build: -O2
 * run: mmap
 * run: mremap
 * run: mprotect
 * run: signals
 * run: fork
 * System calls made by syscall(3), between runs of a hot loop: code of a file that the loop calls is replaced, in three ways; signals are
 * all blocked, waited for and looked at; children are forked that go on with the loop. Hard for whoever knows of such things by libc's
 * functions of those names. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096 };

/* lea eax, [rdi + rdi * K]; xor eax, 5; ret */
static const unsigned char times[2][8] = {{0x8d, 0x44, 0x7f, 0, 0x83, 0xf0, 5, 0xc3}, {0x8d, 0x44, 0xff, 0, 0x83, 0xf0, 5, 0xc3}};

static __attribute__((noinline)) unsigned work(unsigned (*call)(unsigned), unsigned n)
{
    unsigned x = 1;
    for (unsigned i = 0; i < n; i++)
        x += call(x ^ i);
    return x;
}

static __attribute__((noinline)) unsigned own(unsigned x) { return x * 7 + 3; }

static void text(const char *how)
{
    char name[] = "/tmp/reheat-test-XXXXXX";
    int file = mkstemp(name), text = PROT_READ | PROT_EXEC;
    if (file < 0 || pwrite(file, times[0], 8, 0) < 0 || pwrite(file, times[1], 8, PAGE) < 0 || ftruncate(file, 2 * PAGE) != 0)
        exit(1);
    unlink(name);
    char *at = mmap(NULL, PAGE, text, MAP_PRIVATE, file, 0), *there = mmap(NULL, PAGE, text, MAP_PRIVATE, file, PAGE);
    unsigned (*call)(unsigned) = (unsigned (*)(unsigned))at;
    unsigned first = work(call, 60000000);
    long rc = 0;
    if (strcmp(how, "mmap") == 0) {
        rc = syscall(SYS_mmap, at, PAGE, text, MAP_PRIVATE | MAP_FIXED, file, (long)PAGE) - (long)at;
    } else if (strcmp(how, "mremap") == 0) {
        rc = syscall(SYS_mremap, there, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at) - (long)at;
    } else {
        rc = syscall(SYS_mprotect, at, PAGE, PROT_READ | PROT_WRITE);
        memcpy(at, times[1], 8);
        rc += syscall(SYS_mprotect, at, PAGE, text);
    }
    printf("%ld %u %u\n", rc, first, work(call, 1000000));
}

static void signals(void)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } action;
    unsigned long all = ~0UL, none = 0, old = 1, now = 2;
    struct timespec at_once = {0, 0};
    unsigned sum = work(own, 20000000), came = 0;
    long rc = syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, 8);
    for (int i = 0; i < 2000; i++) {
        sum += work(own, 20000);
        came += syscall(SYS_rt_sigtimedwait, &all, NULL, &at_once, 8) != -1 || errno != EAGAIN;
    }
    rc = rc * 10 + syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, &now, 8);
    printf("%ld %lx %lx %u\n", rc, old, now, came);
    rc = syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &now, 8);
    printf("%ld %lx %ld\n", rc, now, syscall(SYS_rt_sigprocmask, SIG_BLOCK, (void *)8, NULL, 8));
    sum += work(own, 20000000);
    for (int i = 1; i < 65; i++) {
        rc = syscall(SYS_rt_sigaction, i, NULL, &action, 8);
        if (rc != 0 || action.handler)
            printf("%d: %ld %d\n", i, rc, action.handler != NULL);
    }
    printf("%u\n", sum + work(own, 20000000));
}

static void children(void)
{
    unsigned sum = work(own, 20000000);
    for (int i = 0; i < 6; i++) {
        struct clone_args args = {.exit_signal = SIGCHLD};
        long child = i % 3 == 0   ? syscall(SYS_fork)
                     : i % 3 == 1 ? syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL)
                                  : syscall(SYS_clone3, &args, sizeof args);
        int status = -1;
        if (child == 0)
            _exit(work(own, 20000000 + (unsigned)i) & 127);
        sum += work(own, 10000000);
        if (child < 0 || waitpid((pid_t)child, &status, 0) != child)
            puts("no child");
        printf("%x\n", (unsigned)status);
    }
    printf("%u\n", sum);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "signals") == 0)
        signals();
    else if (strcmp(what, "fork") == 0)
        children();
    else
        text(what);
    return 0;
}
