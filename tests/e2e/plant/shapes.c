/* Loops and paths of several shapes, whose native code layout alone hardly changes. For tests/e2e/plant.sh.
 *
 *   shapes SHAPE COUNT      does the work COUNT times to warm up and COUNT times more, of which it prints the CPU time in
 *                           microseconds on standard error, and a checksum on standard output */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TABLE 4096

static uint64_t table[TABLE];
static uint32_t next[TABLE];

/* A pass of a loop takes some 30 cycles or more, so that a few percent of it can be planted. */
#define STEPS _Pragma("GCC unroll 8") for (int step = 0; step < 8; step++)

/* One loop, and nothing that runs beside it. */
static uint64_t tight(uint64_t x, long n)
{
    for (long i = n * 1500; i; i--)
        STEPS x = (x ^ x >> 13) * 0x9e3779b97f4a7c15ULL + (uint64_t)i;
    return x;
}

/* The same with memory. */
static uint64_t stream(uint64_t x, long n)
{
    for (long i = n * 2500; i; i--) {
        uint64_t *p = &table[i * 8 & (TABLE - 1)];
        STEPS
        {
            x += *p ^ x << 7;
            *p++ = x + 0x12345678;
        }
    }
    return x;
}

/* Two levels: a short loop in a longer one. */
static __attribute__((noinline)) uint64_t row(uint64_t x, const uint64_t *p, int n)
{
    for (int i = 0; i < n; i++, p++)
        STEPS x = (x + p[step]) * 0x100000001b3ULL;
    return x;
}

static uint64_t rows(uint64_t x, long n, int length)
{
    for (long k = n * 2000 / length; k; k--) {
        x = row(x, &table[x & 1023], length + (int)(x >> 60));
        table[x >> 52] += x;
    }
    return x;
}

static uint64_t rows_short(uint64_t x, long n)
{
    return rows(x, n, 50);
}

static uint64_t rows_long(uint64_t x, long n)
{
    return rows(x, n, 1000);
}

/* A loop with calls. */
static __attribute__((noinline)) uint64_t mix(uint64_t x, uint64_t y)
{
    x ^= y * 0xff51afd7ed558ccdULL;
    return x ^ x >> 33;
}

static __attribute__((noinline)) uint64_t pick(uint64_t x)
{
    return table[x & (TABLE - 1)] + 0x1234567;
}

static uint64_t calls(uint64_t x, long n)
{
    for (long i = n * 2000; i; i--)
        x = mix(pick(mix(x, pick(x) + (uint64_t)i)), x);
    return x;
}

/* Pointers, in an order that the caches learn. */
static uint64_t chase(uint64_t x, long n)
{
    uint32_t at = (uint32_t)x & (TABLE - 1);
    for (long k = n * 10; k; k--) {
        for (int i = 0; i < 150; i++)
            STEPS at = next[at];
        x += at + table[at];
    }
    return x;
}

/* Flat: a long path, no loop of its own. */
#define STEP(i)                                                                                              \
    x = (x << 9 | x >> 55) + table[(x ^ (i)*0x1010101ULL) & (TABLE - 1)];                                    \
    table[(i)*7] ^= x;
#define STEPS4(i) STEP(i) STEP(i + 1) STEP(i + 2) STEP(i + 3)
static __attribute__((noinline)) uint64_t path(uint64_t x)
{
    STEPS4(1) STEPS4(5) STEPS4(9) STEPS4(13) return x;
}

static uint64_t flat(uint64_t x, long n)
{
    for (long i = n * 300; i; i--) {
        x = path(x) + 0x7654321;
        table[i & (TABLE - 1)] -= x;
    }
    return x;
}

/* Two loops, one after the other, and a branch that depends on data. */
static __attribute__((noinline)) uint64_t count(uint64_t x, int n)
{
    uint64_t odd = 0;
    for (int i = 0; i < n; i++) {
        STEPS x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        if (x >> 58 == 7)
            odd += 0x1000001;
    }
    return x ^ odd;
}

static uint64_t phases(uint64_t x, long n)
{
    for (long k = n * 6; k; k--) {
        x = count(x, 100 + (int)(x >> 58));
        x = row(x, table, 150);
    }
    return x;
}

static const struct {
    const char *name;
    uint64_t (*run)(uint64_t x, long n);
} shapes[] = {{"tight", tight},         {"stream", stream}, {"rows-short", rows_short},
              {"rows-long", rows_long}, {"calls", calls},   {"chase", chase},
              {"flat", flat},           {"phases", phases}};

static long cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int main(int argc, char **argv)
{
    long n = argc == 3 ? atol(argv[2]) : 0;
    for (uint32_t i = 0; i < TABLE; i++) {
        table[i] = i * 0x9e3779b97f4a7c15ULL;
        next[i] = (i * 5 + 1) & (TABLE - 1);
    }
    for (size_t s = 0; n > 0 && s < sizeof shapes / sizeof shapes[0]; s++)
        if (strcmp(argv[1], shapes[s].name) == 0) {
            uint64_t x = shapes[s].run(1, n);
            long began = cpu_us();
            x = shapes[s].run(x, n);
            fprintf(stderr, "%ld\n", cpu_us() - began);
            printf("%016lx\n", x);
            return 0;
        }
    fprintf(stderr, "usage: shapes SHAPE COUNT\n");
    return 2;
}
