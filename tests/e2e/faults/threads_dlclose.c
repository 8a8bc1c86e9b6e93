/* Hot code that comes and goes: loops in a library that is unloaded, before and after threads run. `together`: another is
 * loaded and unloaded while they run; `across`: the hot one is unloaded while they run. Each part takes some tens of
 * milliseconds, so that fragments and hooks are made in it. Usage: threads_dlclose apart|together|across LIBRARY... */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { WORKERS = 3 };

static atomic_ulong shared;

static __attribute__((noinline)) unsigned long compute(unsigned long seed, int rounds)
{
    unsigned long table[64], sum = 0;
    for (int i = 0; i < 64; i++)
        table[i] = seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    for (int i = 0; i < rounds; i++)
        for (int k = 0; k < 64; k++) {
            unsigned long v = table[k] ^ (sum >> 7);
            table[k] = v & 0x1000000 ? v * 3 + 0x12345678UL : v + 0x87654321UL;
            sum += v;
        }
    return sum;
}

static void *work(void *argument)
{
    unsigned long *slot = argument;
    *slot = compute(*slot, 60000);
    atomic_fetch_add(&shared, *slot);
    return argument;
}

static unsigned long use(void *library, int rounds)
{
    unsigned long sum = 0;
    long (*plug_work)(long) = library == NULL ? NULL : (long (*)(long))dlsym(library, "plug_work");
    for (int i = 0; plug_work != NULL && i < rounds; i++)
        sum = sum * 31 + (unsigned long)plug_work(2000 + i % 7);
    return sum;
}

static unsigned long use_library(const char *path, int rounds)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    unsigned long sum = use(library, rounds);
    if (library != NULL)
        dlclose(library);
    return sum;
}

int main(int argc, char **argv)
{
    unsigned long sum = 0;
    if (argc < 3)
        return 1;
    bool together = strcmp(argv[1], "together") == 0, across = strcmp(argv[1], "across") == 0;
    for (int turn = 0; turn < 4; turn++) {
        pthread_t threads[WORKERS];
        unsigned long slots[WORKERS];
        const char *path = argv[2 + turn % (argc - 2)];
        void *library = NULL;
        sum = sum * 31 + compute(sum, 20000);
        if (across)
            sum = sum * 31 + use(library = dlopen(path, RTLD_NOW | RTLD_LOCAL), 20000);
        else
            sum = sum * 31 + use_library(path, 20000);
        for (int i = 0; turn % 2 && i < WORKERS; i++) {
            slots[i] = sum + (unsigned long)i;
            pthread_create(&threads[i], NULL, work, &slots[i]);
        }
        if (library != NULL)
            dlclose(library);
        if (turn % 2 && together)
            sum = sum * 31 + use_library(path, 5000);
        if (across) /* often where the other was */
            sum = sum * 31 + use(library = dlopen(argv[2 + (turn + 1) % (argc - 2)], RTLD_NOW | RTLD_LOCAL), 5000);
        for (int i = 0; turn % 2 && i < WORKERS; i++)
            pthread_join(threads[i], NULL);
        if (across) {
            sum = sum * 31 + use(library, 20000);
            dlclose(library);
        }
        printf("%d %lx %lx\n", turn, sum, (unsigned long)shared);
    }
    return 0;
}
