/* build: -O2 -pthread
 * run: strict
 * run: filter
 * run: children
 * run: inherited
 * A process that gives up system calls: strict mode, and a filter that kills for opening, mapping and unlinking, each
 * after a hot loop and with new code and an end to come; both in forked children; a filter that was there before
 * the program started. Hard, because from then on whoever shares the process may not make these calls either. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define REFUSE(number, how) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##number, 0, 1), BPF_STMT(BPF_RET | BPF_K, how)
#define KILL(number) REFUSE(number, SECCOMP_RET_KILL_PROCESS)

static struct sock_filter kill_filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    KILL(open), KILL(openat), KILL(mmap), KILL(mkdir), KILL(unlink), KILL(unlinkat), KILL(clone), KILL(clone3),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

/* Reading one's own memory with care is refused: the way others find out what a pointer points to. */
static struct sock_filter read_filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    REFUSE(process_vm_readv, SECCOMP_RET_ERRNO | EPERM),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

#define INSTALL(filter) install(filter, sizeof filter / sizeof filter[0])

static volatile unsigned sum;

static int install(struct sock_filter *filter, size_t length)
{
    struct sock_fprog program = {.len = (unsigned short)length, .filter = filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void say(const char *line)
{
    if (write(1, line, strlen(line)) < 0)
        sum++;
}

static __attribute__((noinline)) void before(void)
{
    for (unsigned i = 0; i < 20000000; i++)
        sum = sum * 31 + i;
}

static __attribute__((noinline)) void after(void)
{
    for (unsigned i = 0; i < 100000; i++)
        sum = (sum ^ i) * 5 + (sum >> 3);
}

/* All that strict mode leaves: read, write, exit of a thread, return from a signal. */
static void strict(void)
{
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) {
        say("refused\n");
    } else {
        after();
        say("strict\n");
    }
    syscall(SYS_exit, 7);
}

static void filtered(void)
{
    if (!INSTALL(kill_filter)) {
        say("refused\n");
    } else {
        after();
        say("filtered\n");
    }
}

static int in_child(void (*call)(void), int status)
{
    pid_t child = fork();
    if (child == 0) {
        call();
        _exit(status);
    }
    waitpid(child, &status, 0);
    return status;
}

static void *thread(void *argument)
{
    say("thread\n");
    return argument;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "inherited") == 0) {
        if (!INSTALL(read_filter))
            say("refused\n");
        execl(argv[0], argv[0], "thread", NULL);
        return 1;
    }
    before();
    if (strcmp(what, "strict") == 0)
        strict();
    if (strcmp(what, "filter") == 0) {
        filtered();
        return 7;
    }
    if (strcmp(what, "children") == 0) {
        for (int i = 0; i < 3; i++) {
            int first = in_child(strict, 3), second = in_child(filtered, 4);
            printf("%x %x\n", (unsigned)first, (unsigned)second);
            fflush(stdout);
        }
        return 0;
    }
    pthread_t other;
    if (pthread_create(&other, NULL, thread, NULL) != 0)
        return 1;
    pthread_join(other, NULL);
    after();
    printf("%u\n", sum);
    return 0;
}
