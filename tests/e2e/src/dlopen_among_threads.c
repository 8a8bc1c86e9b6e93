/* build: -O2 -pthread
 * plugins: plug_a plug_b
 * One thread loads, works and unloads two libraries in turn, and protects and unmaps their like, while the first thread and others
 * run hot loops of their own. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/hot_loop.h"

static char directory[4096];
static bool quit;

static void *reload(void *arg)
{
    long *sum = arg;
    for (int i = 0; i < 100; i++) {
        char path[4200];
        snprintf(path, sizeof path, "%s/libplug_%c.so", directory, "ab"[i & 1]);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library)
            return NULL;
        long (*work)(long) = (long (*)(long))dlsym(library, "plug_work");
        for (int k = 0; k < 5; k++)
            *sum = *sum * 3 + work(500 + k);
        dlclose(library);
        int fd = open(path, O_RDONLY);
        struct stat st;
        void *at = fd < 0 || fstat(fd, &st) ? MAP_FAILED
                                            : mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
        if (at != MAP_FAILED) {
            *sum += mprotect(at, (size_t)st.st_size, PROT_READ);
            *sum += mprotect(at, (size_t)st.st_size, PROT_READ | PROT_EXEC);
            munmap(at, (size_t)st.st_size);
        }
        close(fd);
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    __atomic_store_n(&quit, true, __ATOMIC_RELEASE);
    return NULL;
}

static void *other(void *arg)
{
    *(unsigned long *)arg = compute(1, 60000000);
    return NULL;
}

int main(int argc, char **argv)
{
    (void)argc;
    snprintf(directory, sizeof directory, "%s", argv[0]);
    *strrchr(directory, '/') = 0;
    long sum = 0;
    unsigned long results[2] = {0, 0};
    bool same = true;
    pthread_t reloads, others[2];
    pthread_create(&reloads, NULL, reload, &sum);
    for (int i = 0; i < 2; i++)
        pthread_create(&others[i], NULL, other, &results[i]);
    unsigned long first = compute(1, 30000);
    for (int i = 0; i < 6000 || !__atomic_load_n(&quit, __ATOMIC_ACQUIRE); i++)
        same &= compute(1, 30000) == first;
    pthread_join(reloads, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(others[i], NULL);
    printf("%ld %lx %d %d\n", sum, first, same, results[0] == results[1]);
    return 0;
}
