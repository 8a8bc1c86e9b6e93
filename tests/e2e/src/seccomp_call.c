/* build: -O2
 * run: filter
 * run: strict
 * run: asked
 * A process that forbids itself nearly all system calls by syscall(3), as libseccomp does, in the middle of a loop that is hot before
 * and after: with a filter that kills for all but read, write and the end; in strict mode; and one that only asks what could be
 * forbidden, and goes on freely. Hard, because whoever shares the process may make no call from then on. */
#define _GNU_SOURCE
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ALLOW(number) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static struct sock_filter filter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    ALLOW(read),
    ALLOW(write),
    ALLOW(exit_group),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};

static __attribute__((noinline)) unsigned step(unsigned x, unsigned i)
{
    return x & 1 ? x * 31 + i : (x >> 1) ^ (i * 2654435761u);
}

static __attribute__((noinline)) unsigned work(unsigned x, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        x = step(x, i);
    return x;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    char line[80];
    long rc = -2;
    unsigned x = work(1, 40000000);
    if (strcmp(what, "asked") == 0) {
        unsigned action = SECCOMP_RET_KILL_PROCESS;
        rc = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
        rc = rc * 10 + syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 1, NULL);
        rc = rc * 10 + syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL);
    } else if (strcmp(what, "strict") == 0) {
        rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL);
    } else if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0) {
        rc = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
    }
    x = work(x, 160000000);
    int n = snprintf(line, sizeof line, "%s %ld %u\n", what, rc, x);
    if (write(1, line, (size_t)n) != n)
        return 1;
    if (strcmp(what, "strict") == 0)
        syscall(SYS_exit, 7);
    _exit(7);
}
