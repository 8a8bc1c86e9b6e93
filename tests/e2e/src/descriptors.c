/* build: -O2
 * A program that closes every descriptor it did not open, reuses the numbers, and lists what is open. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void list(const char *when)
{
    DIR *directory = opendir("/proc/self/fd");
    int open[32], count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory) && count < 32)
            open[count++] = atoi(entry->d_name);
    closedir(directory);
    printf("%s:", when);
    for (int number = 0; number < 100; number++)
        for (int i = 0; i < count; i++)
            if (open[i] == number)
                printf(" %d", number);
    printf("\n");
}

int main(void)
{
    unsigned sum = 0;
    closefrom(3);
    char name[] = "/tmp/reheat-test-XXXXXX";
    int file = mkstemp(name);
    for (unsigned i = 0; i < 2000000; i++)
        sum = sum * 31 + i;
    list("after closefrom");
    dprintf(file, "%u", sum);
    char text[64] = "";
    if (pread(file, text, sizeof text - 1, 0) < 0)
        return 1;
    printf("%s %ld %d\n", text, (long)lseek(file, 0, SEEK_END), dup(file) - file);
    unlink(name);
    return 0;
}
