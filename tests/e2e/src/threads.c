/* build: -O2 -pthread
 * The main thread and workers compute; mutex, condition, barrier, atomics, thread-local storage, cancellation. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { WORKERS = 6 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static atomic_long shared;
static long guarded;
static __thread unsigned long local = 5;

static __attribute__((noinline)) unsigned long compute(unsigned long seed)
{
    for (int i = 0; i < 300000; i++) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        local += seed >> 60;
    }
    return seed + local;
}

static void *work(void *argument)
{
    unsigned long *slot = argument;
    pthread_barrier_wait(&barrier);
    *slot = compute(*slot);
    for (int i = 0; i < 20000; i++) {
        atomic_fetch_add(&shared, 1);
        if (i % 20 == 0) {
            pthread_mutex_lock(&lock);
            guarded += i;
            pthread_mutex_unlock(&lock);
        }
    }
    return argument;
}

int main(void)
{
    pthread_t threads[WORKERS];
    unsigned long slots[WORKERS + 1], total = 0;
    for (int round = 0; round < 3; round++) {
        pthread_barrier_init(&barrier, NULL, WORKERS + 1);
        for (unsigned long i = 0; i <= WORKERS; i++)
            slots[i] = i + (unsigned long)round;
        for (int i = 0; i < WORKERS; i++)
            pthread_create(&threads[i], NULL, work, &slots[i]);
        work(&slots[WORKERS]);
        for (int i = 0; i < WORKERS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i <= WORKERS; i++)
            total = total * 31 + slots[i];
        pthread_barrier_destroy(&barrier);
    }
    printf("%lx %ld %ld\n", total, (long)shared, guarded);
    return 0;
}
