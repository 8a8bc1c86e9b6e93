/* build: -O2
 * run: page
 * run: vsyscall
 * Code that cannot be read: on a page that may only be executed (with protection keys the kernel means it), and on the
 * kernel's vsyscall page, which no instruction of the program can read either. Hard for whoever has to read code in
 * order to run it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

/* mov eax, edi; add eax, 42; ret */
static const unsigned char code[] = {0x89, 0xf8, 0x83, 0xc0, 0x2a, 0xc3};

static int has_vsyscall(void)
{
    char line[512];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        found |= strstr(line, "[vsyscall]") != NULL;
    if (maps != NULL)
        fclose(maps);
    return found;
}

int main(int argc, char **argv)
{
    long sum = 0;
    if (argc > 1 && strcmp(argv[1], "vsyscall") == 0) {
        struct timeval now = {0};
        int (*get)(struct timeval *, void *) = (int (*)(struct timeval *, void *))0xffffffffff600000;
        if (!has_vsyscall()) {
            printf("no vsyscall page\n");
            return 0;
        }
        for (int i = 0; i < 100; i++)
            sum += get(&now, NULL) == 0 && now.tv_sec > 0;
    } else {
        char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        memcpy(page, code, sizeof code);
        if (mprotect(page, 4096, PROT_EXEC) != 0) {
            printf("refused\n");
            return 0;
        }
        for (int i = 0; i < 100; i++)
            sum += ((int (*)(int))page)(i);
    }
    printf("%ld\n", sum);
    return 0;
}
