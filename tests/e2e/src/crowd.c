/* build: -O1 -pthread
 * run: idle
 * run: busy
 * run: signals
 * run: churn
 * The first thread and others run the same hot functions: others that only wait, that do as much, that do so under signals, and
 * ever new ones. Mutexes, thread-local sums and malloc in between. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define WORDS 4096

static uint32_t words[WORDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t done = PTHREAD_COND_INITIALIZER;
static bool quit;
static uint64_t shared_sum;
static atomic_ulong shared_count;
static _Thread_local uint64_t own_sum;
static _Thread_local volatile sig_atomic_t handled;

__attribute__((noinline)) static uint32_t word(uint32_t i) { return words[i % WORDS]; }
__attribute__((noinline)) static void word_set(uint32_t i, uint32_t v) { words[i % WORDS] = v; }

__attribute__((noinline)) static uint64_t hash(const uint8_t *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < n; i++)
        h = (h ^ s[i]) * 0x100000001b3ULL;
    return h;
}

__attribute__((noinline)) static uint64_t sums(uint64_t seed)
{
    uint64_t s = seed;
    for (uint32_t i = 0; i < 3000; i++) {
        s += word(i) ^ word((uint32_t)s);
        if (s & 4)
            s ^= s >> 7;
        own_sum += s & 1;
    }
    return s;
}

__attribute__((noinline)) static uint64_t sorted(uint64_t seed)
{
    uint32_t *v = malloc(256 * sizeof *v);
    for (int i = 0; i < 256; i++)
        v[i] = word((uint32_t)(seed + (uint64_t)i * 17));
    for (int i = 1; i < 256; i++)
        for (int j = i; j && v[j - 1] > v[j]; j--) {
            uint32_t t = v[j];
            v[j] = v[j - 1];
            v[j - 1] = t;
        }
    uint64_t h = hash((const uint8_t *)v, 256 * sizeof *v);
    free(v);
    return h;
}

static uint64_t work(int rounds)
{
    uint64_t h = 1;
    for (int i = 0; i < rounds; i++) {
        h = h * 31 + sums(h) + sorted(h);
        atomic_fetch_add(&shared_count, 1);
        pthread_mutex_lock(&lock);
        shared_sum += h & 0xff;
        pthread_mutex_unlock(&lock);
    }
    return h + own_sum;
}

static void *idle(void *arg)
{
    pthread_mutex_lock(&lock);
    while (!quit)
        pthread_cond_wait(&done, &lock);
    pthread_mutex_unlock(&lock);
    return arg;
}

static void *busy(void *arg)
{
    own_sum = 0;
    *(uint64_t *)arg = work(2000);
    return NULL;
}

static void *brief(void *arg)
{
    *(uint64_t *)arg = sorted(*(uint64_t *)arg) + hash((const uint8_t *)words, 3000);
    return NULL;
}

static void on_alarm(int sig)
{
    (void)sig;
    handled = handled + (hash((const uint8_t *)words, 64) != 0);
}

static pthread_t threads[THREADS + 1];

/* Signals to all of them, until they are done. */
static void *disturb(void *arg)
{
    while (!__atomic_load_n(&quit, __ATOMIC_RELAXED)) {
        for (int k = 0; k < THREADS; k++)
            (void)pthread_kill(threads[k], SIGUSR1);
        (void)pthread_kill(*(pthread_t *)arg, SIGUSR1);
        nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    return NULL;
}

static void several(void *(*fn)(void *), bool signals)
{
    uint64_t results[THREADS];
    pthread_t first = pthread_self();
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, fn, &results[i]);
    if (signals)
        pthread_create(&threads[THREADS], NULL, disturb, &first);
    uint64_t own = work(14000);
    pthread_mutex_lock(&lock);
    quit = true;
    pthread_cond_broadcast(&done);
    pthread_mutex_unlock(&lock);
    bool same = true;
    if (signals)
        pthread_join(threads[THREADS], NULL);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        same &= fn == idle || results[i] == results[0];
    }
    printf("%016lx %016lx %d %lu %lu\n", own, fn == idle ? 0 : results[0], same, shared_sum, shared_count);
}

static void churn(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < 1500; i++) {
        pthread_t threads[3];
        uint64_t results[3];
        for (int k = 0; k < 3; k++) {
            results[k] = (uint64_t)(i * 3 + k);
            if (pthread_create(&threads[k], NULL, brief, &results[k]) != 0)
                exit(1);
        }
        sum = sum * 31 + work(5);
        for (int k = 0; k < 3; k++) {
            pthread_join(threads[k], NULL);
            sum = sum * 31 + results[k];
        }
    }
    printf("%016lx %lu %lu\n", sum, shared_sum, shared_count);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "idle";
    for (uint32_t i = 0; i < WORDS; i++)
        word_set(i, i * 2654435761u);
    struct sigaction act = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &act, NULL);
    sigaction(SIGPROF, &act, NULL);
    timer_t timer;
    if (strcmp(how, "signals") == 0 && timer_create(CLOCK_PROCESS_CPUTIME_ID, &(struct sigevent){.sigev_notify = SIGEV_SIGNAL,
                                                                                   .sigev_signo = SIGPROF}, &timer) == 0)
        timer_settime(timer, 0, &(struct itimerspec){{0, 1000000}, {0, 1000000}}, NULL);
    if (strcmp(how, "churn") == 0)
        churn();
    else
        several(strcmp(how, "idle") == 0 ? idle : busy, strcmp(how, "signals") == 0);
    return 0;
}
