/* build: -O2
 * vfork + exec, posix_spawn, system, popen, and an exec that fails. */
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(void)
{
    int status;
    setvbuf(stdout, NULL, _IONBF, 0);
    for (volatile int i = 0; i < 20; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", i);
        char *arguments[] = {"/bin/echo", "vfork", number, NULL};
        pid_t child = vfork();
        if (child == 0) {
            execv(arguments[0], arguments);
            _exit(127);
        }
        waitpid(child, &status, 0);
        arguments[1] = "spawn";
        if (posix_spawn(&child, arguments[0], NULL, NULL, arguments, environ) != 0)
            return 1;
        waitpid(child, &status, 0);
        printf("status %d\n", status);
    }
    char *missing[] = {"/nonexistent/program", NULL};
    pid_t child = vfork();
    if (child == 0) {
        execv(missing[0], missing);
        _exit(errno == ENOENT ? 33 : 34);
    }
    waitpid(child, &status, 0);
    printf("missing: %d\n", WEXITSTATUS(status));
    printf("system: %d\n", WEXITSTATUS(system("echo through the shell; exit 5")));
    FILE *pipe = popen("echo 1 2 3 | tr ' ' +", "r");
    char line[64] = "";
    if (pipe == NULL || fgets(line, sizeof line, pipe) == NULL)
        return 1;
    printf("popen: %s", line);
    printf("pclose: %d\n", pclose(pipe));
    execl("/bin/sh", "sh", "-c", "echo replaced; exit 21", (char *)NULL);
    return 1;
}
