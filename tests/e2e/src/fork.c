/* build: -O2
 * fork with both sides computing, from a hot loop, nested, and with wait statuses. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static __attribute__((noinline)) unsigned compute(unsigned seed, int rounds)
{
    for (int i = 0; i < rounds; i++)
        seed = seed * 1664525u + 1013904223u + (seed >> 13);
    return seed;
}

int main(void)
{
    unsigned sum = compute(1, 1000000);
    for (int i = 0; i < 12; i++) {
        int ends[2];
        if (pipe(ends) != 0)
            return 1;
        pid_t child = fork();
        if (child == 0) {
            unsigned result = compute(sum + (unsigned)i, 500000);
            if (i % 4 == 3) {
                pid_t grandchild = fork();
                if (grandchild == 0)
                    _exit((int)(compute(9, 1000) & 63));
                int status;
                waitpid(grandchild, &status, 0);
                result += (unsigned)WEXITSTATUS(status);
            }
            if (write(ends[1], &result, sizeof result) != sizeof result)
                abort();
            exit(i);
        }
        unsigned mine = compute(sum, 500000), theirs = 0;
        int status;
        if (read(ends[0], &theirs, sizeof theirs) != sizeof theirs)
            return 1;
        waitpid(child, &status, 0);
        sum += mine ^ theirs;
        printf("%d %u %u\n", WEXITSTATUS(status), mine, theirs);
        fflush(stdout);
        close(ends[0]);
        close(ends[1]);
    }
    printf("%u\n", sum);
    return 0;
}
