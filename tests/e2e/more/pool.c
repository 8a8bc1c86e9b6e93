/* A pool of threads over a queue, barriers, a read-write lock, thread-specific data and once: prints sums that do
 * not depend on scheduling. The first thread computes alone before the others start, and again after they ended.
 *
 *   pool THREADS ITEMS */
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOTS 8
#define MOST  64

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER, not_full = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static sem_t ended;
static uint64_t slots[SLOTS], total, table[256];
static unsigned first, used, closed, destroyed;
static _Thread_local uint64_t local;

static uint64_t mix(uint64_t x, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        x ^= x >> 33;
        x *= 0xff51afd7ed558ccdULL;
        x += i;
    }
    return x;
}

static void value_destroy(void *p)
{
    __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
    free(p);
}

static void table_make(void)
{
    for (unsigned i = 0; i < 256; i++)
        table[i] = mix(i, 100);
    pthread_key_create(&key, value_destroy);
}

static void put(uint64_t item)
{
    pthread_mutex_lock(&mutex);
    while (used == SLOTS)
        pthread_cond_wait(&not_full, &mutex);
    slots[(first + used++) % SLOTS] = item;
    pthread_cond_signal(&not_empty);
    pthread_mutex_unlock(&mutex);
}

static int take(uint64_t *item)
{
    pthread_mutex_lock(&mutex);
    while (!used && !closed)
        pthread_cond_wait(&not_empty, &mutex);
    int any = used > 0;
    if (any) {
        *item = slots[first];
        first = (first + 1) % SLOTS;
        used--;
        pthread_cond_signal(&not_full);
    }
    pthread_mutex_unlock(&mutex);
    return any;
}

static void *worker(void *arg)
{
    uint64_t item, sum = 0;
    pthread_once(&once, table_make);
    pthread_setspecific(key, malloc(32));
    while (take(&item)) {
        pthread_rwlock_rdlock(&rwlock);
        sum += mix(item, 500) ^ table[item % 256];
        pthread_rwlock_unlock(&rwlock);
        local += item;
        if (item % 64 == 0) {
            pthread_rwlock_wrlock(&rwlock);
            total += local;
            local = 0;
            pthread_rwlock_unlock(&rwlock);
        }
    }
    for (int i = 0; i < 20; i++) {
        int serial = pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD;
        __atomic_fetch_add(&total, serial ? 1000 : 0, __ATOMIC_RELAXED);
    }
    __atomic_fetch_add(&total, local, __ATOMIC_RELAXED);
    sem_post(&ended);
    (void)arg;
    return (void *)sum;
}

int main(int argc, char **argv)
{
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 4, items = argc > 2 ? (unsigned)atoi(argv[2]) : 1000;
    pthread_t threads[MOST];
    uint64_t sum = 0, alone = mix(1, items * 20000);
    if (n < 1 || n > MOST)
        return 2;
    for (int generation = 0; generation < 3; generation++) {
        closed = 0;
        pthread_barrier_init(&barrier, NULL, n);
        sem_init(&ended, 0, 0);
        for (unsigned i = 0; i < n; i++)
            pthread_create(&threads[i], NULL, worker, NULL);
        for (unsigned i = 0; i < items; i++)
            put(i);
        pthread_mutex_lock(&mutex);
        closed = 1;
        pthread_cond_broadcast(&not_empty);
        pthread_mutex_unlock(&mutex);
        for (unsigned i = 0; i < n; i++)
            sem_wait(&ended);
        for (unsigned i = 0; i < n; i++) {
            void *result;
            pthread_join(threads[i], &result);
            sum += (uint64_t)result;
        }
        pthread_barrier_destroy(&barrier);
        alone = mix(alone, items * 10000);
    }
    printf("%u threads: %016lx %016lx %lu %u\n", n, sum, alone, total, destroyed);
    return 0;
}
