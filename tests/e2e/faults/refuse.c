/* Runs a program under a system call filter (seccomp(2)) that does not allow one call.
 *
 *   refuse CALL errno|kill COMMAND ARG...      CALL: see calls[]
 *
 * The filter stands before the program starts and is inherited, as in a container. Exit status 125: it cannot be set. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *name;
    unsigned number;
} calls[] = {
    {"perf_event_open", SYS_perf_event_open}, {"timer_create", SYS_timer_create}, {"membarrier", SYS_membarrier},
    {"mremap", SYS_mremap},                   {"rt_sigaction", SYS_rt_sigaction},
};

static int refuse(unsigned number, unsigned what)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, what),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 125;
    unsigned what = strcmp(argv[2], "kill") == 0 ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (strcmp(calls[i].name, argv[1]) == 0 && refuse(calls[i].number, what) == 0) {
            execvp(argv[3], argv + 3);
            return 127;
        }
    fprintf(stderr, "refuse: cannot refuse %s: %s\n", argv[1], strerror(errno));
    return 125;
}
