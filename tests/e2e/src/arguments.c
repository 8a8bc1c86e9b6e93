/* build: -O2
 * What main is given: arguments, environment, auxiliary vector, its own path, stack alignment. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

static unsigned long hash(const char *text)
{
    unsigned long h = 5381;
    while (*text)
        h = h * 33 + (unsigned char)*text++;
    return h;
}

int main(int argc, char **argv, char **envp)
{
    unsigned long arguments = 0, variables = 0;
    int count = 0;
    for (int i = 0; i < argc; i++)
        arguments = arguments * 31 + hash(argv[i]);
    for (char **at = envp; *at; at++) {
        if (!strncmp(*at, "LD_PRELOAD=", 11) || !strncmp(*at, "REHEAT", 6) || !strncmp(*at, "_=", 2))
            continue;
        variables += hash(*at);
        count++;
    }
    char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length < 0 ? 0 : length] = 0;
    printf("%d %lx %d %lx\n", argc, arguments, count, variables);
    printf("%s %s %lu %d\n", self, program_invocation_short_name, getauxval(AT_PAGESZ),
           getauxval(AT_EXECFN) != 0 && !strcmp((char *)getauxval(AT_EXECFN), argv[0]));
    printf("aligned %d\n", ((unsigned long)__builtin_frame_address(0) & 15) == 0);
    if (getenv("BIG"))
        printf("BIG %zu\n", strlen(getenv("BIG")));
    return argc & 1;
}
