#define _GNU_SOURCE /* sigabbrev_np */
#include "injector/attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "injector/message.h"
#include "injector/preload.h"

#define CORE_FLAG 0x80

static double now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* A file without a name, closed at the next exec. */
static FILE *nameless_file(void)
{
    FILE *file = tmpfile();
    if (file != NULL)
        (void)fcntl(fileno(file), F_SETFD, FD_CLOEXEC);
    return file;
}

int attempt_keep_input(struct command_line *c)
{
    struct stat st;
    c->input = STDIN_FILENO;
    c->rewinds = false;
    if (fstat(STDIN_FILENO, &st) != 0 || S_ISCHR(st.st_mode))
        return EXIT_DONE; /* closed, a terminal, /dev/null */
    if (!S_ISREG(st.st_mode)) {
        char buffer[65536];
        ssize_t n;
        FILE *kept = nameless_file();
        while (kept != NULL && (n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0)
            fwrite(buffer, 1, (size_t)n, kept);
        if (kept == NULL || fflush(kept) != 0 || ferror(kept) || fseek(kept, 0, SEEK_SET) != 0)
            return message_fail(EXIT_NOTHING, "cannot keep the standard input in a file: %s",
                                strerror(errno));
        c->input = fileno(kept);
    }
    c->input_at = (long)lseek(c->input, 0, SEEK_CUR);
    c->rewinds = c->input_at >= 0;
    return EXIT_DONE;
}

/* In the child. */
static void become(const struct command_line *c, const char *setting, int output, const sigset_t *mask)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)personality(ADDR_NO_RANDOMIZE);
    bool ready = dup2(output, STDOUT_FILENO) >= 0 && nowhere >= 0 && dup2(nowhere, STDERR_FILENO) >= 0;
    if (ready && c->input != STDIN_FILENO)
        ready = dup2(c->input, STDIN_FILENO) >= 0;
    if (ready && setting == NULL)
        ready = setenv("REHEAT", "control=off", 1) == 0; /* whoever preloads the library */
    else if (ready)
        ready = preload_set_library(c->library) == EXIT_DONE && preload_add_setting(setting) == EXIT_DONE;
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    if (ready)
        execv(c->path, c->argv);
    _exit(127);
}

/* SIGCHLD is blocked. */
static void wait_for(pid_t child, double limit, struct attempt *out)
{
    double end = now() + limit;
    sigset_t chld;
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    while (waitpid(child, &out->status, WNOHANG) == 0) {
        double left = end - now();
        if (limit > 0 && left <= 0) {
            out->late = true;
            kill(child, SIGKILL);
            waitpid(child, &out->status, 0);
            return;
        }
        double patience = limit > 0 && left < 1 ? left : 1;
        struct timespec ts = {(time_t)patience, (long)((patience - (double)(time_t)patience) * 1e9)};
        (void)sigtimedwait(&chld, NULL, &ts);
    }
}

int attempt_run(const struct command_line *c, const char *setting, struct attempt *out)
{
    sigset_t chld, mask;
    *out = (struct attempt){.output = nameless_file()};
    if (out->output == NULL)
        return message_fail(EXIT_NOTHING, "cannot make a temporary file: %s", strerror(errno));
    if (c->rewinds && lseek(c->input, c->input_at, SEEK_SET) < 0)
        return message_fail(EXIT_NOTHING, "cannot rewind the standard input: %s", strerror(errno));
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, &mask);
    double start = now();
    pid_t child = fork();
    if (child == 0)
        become(c, setting, fileno(out->output), &mask);
    if (child > 0)
        wait_for(child, c->limit, out);
    out->seconds = now() - start;
    out->status &= ~CORE_FLAG;
    sigprocmask(SIG_SETMASK, &mask, NULL);
    out->bytes = (long)lseek(fileno(out->output), 0, SEEK_END);
    return child > 0 ? EXIT_DONE : message_fail(EXIT_NOTHING, "cannot start a process: %s", strerror(errno));
}

void attempt_free(struct attempt *a)
{
    if (a->output != NULL)
        fclose(a->output);
    a->output = NULL;
}

long attempt_first_difference(const struct attempt *a, const struct attempt *b)
{
    char x[65536], y[65536];
    for (long at = 0;; at += (long)sizeof x) {
        ssize_t n = pread(fileno(a->output), x, sizeof x, at);
        ssize_t m = pread(fileno(b->output), y, sizeof y, at);
        for (ssize_t i = 0; i < n && i < m; i++)
            if (x[i] != y[i])
                return at + i;
        if (n != m)
            return at + (n < m ? n : m);
        if (n <= 0)
            return -1;
    }
}

bool attempt_same(const struct attempt *a, const struct attempt *b)
{
    return a->late == b->late && a->status == b->status && a->bytes == b->bytes &&
           attempt_first_difference(a, b) < 0;
}

void attempt_describe(const struct attempt *a, char *text, size_t size)
{
    char end[64];
    if (a->late)
        snprintf(end, sizeof end, "did not end in time");
    else if (WIFSIGNALED(a->status))
        snprintf(end, sizeof end, "killed by SIG%s", sigabbrev_np(WTERMSIG(a->status)));
    else
        snprintf(end, sizeof end, "exit status %d", WEXITSTATUS(a->status));
    snprintf(text, size, "%s, %ld bytes", end, a->bytes);
}
