/* build: -O2 -pthread
 * run: one
 * run: several
 * run: by_number
 * Threads run hot code while the pages of all text are given back to the kernel: they come again from their files. */
#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/hot_loop.h"

static bool quit;

static void *runs(void *arg)
{
    unsigned long first = compute(3, 30000);
    *(bool *)arg = true;
    while (!__atomic_load_n(&quit, __ATOMIC_ACQUIRE))
        *(bool *)arg &= compute(3, 30000) == first;
    return NULL;
}

static int give_back(struct dl_phdr_info *info, size_t size, void *by_number)
{
    (void)size;
    int failed = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
            continue;
        uint64_t start = (info->dlpi_addr + p->p_vaddr) & ~0xfffUL, len = (p->p_memsz + (p->p_vaddr & 0xfff) + 0xfff) & ~0xfffUL;
        failed += (*(bool *)by_number ? (int)syscall(SYS_madvise, start, len, MADV_DONTNEED)
                                      : madvise((void *)start, len, MADV_DONTNEED)) != 0;
    }
    return failed;
}

int main(int argc, char **argv)
{
    bool by_number = argc > 1 && strcmp(argv[1], "by_number") == 0;
    bool several = argc > 1 && strcmp(argv[1], "one") != 0, same[3] = {true, true, true};
    int failed = 0;
    pthread_t t[2];
    for (int i = 0; several && i < 2; i++)
        pthread_create(&t[i], NULL, runs, &same[i]);
    unsigned long first = compute(1, 30000);
    for (int i = 0; i < 12000; i++) {
        same[2] &= compute(1, 30000) == first;
        if (i % 400 == 399)
            failed += dl_iterate_phdr(give_back, &by_number);
    }
    __atomic_store_n(&quit, true, __ATOMIC_RELEASE);
    for (int i = 0; several && i < 2; i++)
        pthread_join(t[i], NULL);
    printf("%d %d %d %d\n", failed, same[0], same[1], same[2]);
    return 0;
}
