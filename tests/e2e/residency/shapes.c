/* Programs for residency.sh: about two seconds of user time in code of one kind.
 *
 *   loop    a loop
 *   flat    512 functions that call each other through pointers, of a few blocks each: no loop is hot
 *   jit     a loop in anonymous memory
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t state = 88172645463325252u;

static int time_left(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec < 2;
}

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

#define F(n) \
    __attribute__((noinline)) static uint64_t f##n(uint64_t x) \
    { \
        uint64_t y = x * (2 * n##u + 1) ^ 0x9e3779b97f4a7c15u; \
        if (y & 1) \
            y = (y >> 3) + (n##u << 2); \
        else \
            y = (y << 1) ^ (n##u * 77); \
        if (y & 64) \
            y += next() & 15; \
        return y ^ (y >> 17); \
    }
#define F8(n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7)
#define F64(n) F8(n##0) F8(n##1) F8(n##2) F8(n##3) F8(n##4) F8(n##5) F8(n##6) F8(n##7)
F64(01) F64(02) F64(03) F64(04) F64(05) F64(06) F64(07) F64(010)
#define N8(n) f##n##0, f##n##1, f##n##2, f##n##3, f##n##4, f##n##5, f##n##6, f##n##7
#define N64(n) N8(n##0), N8(n##1), N8(n##2), N8(n##3), N8(n##4), N8(n##5), N8(n##6), N8(n##7)
static uint64_t (*const functions[512])(uint64_t) = {N64(01), N64(02), N64(03), N64(04), N64(05), N64(06), N64(07), N64(010)};

static uint64_t flat(void)
{
    uint64_t x = 1;
    while (time_left())
        for (int i = 0; i < 100000; i++)
            x = functions[(x ^ (uint64_t)i) & 511](x + (uint64_t)i);
    return x;
}

static uint64_t loop(void)
{
    uint64_t x = 1;
    while (time_left())
        for (int i = 0; i < 1000000; i++)
            x = (x ^ (x >> 7)) * 0x2545f4914f6cdd1du + (uint64_t)i;
    return x;
}

static uint64_t jit(void)
{
    /* mov ecx, 1000000; lea rax, [rax + rax*2 + 1]; loop; mov rax to the result; ret */
    static const uint8_t code[] = {0x89, 0xf9, 0x48, 0x8d, 0x44, 0x40, 0x01, 0xe2, 0xf9, 0xc3};
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t x = 0;
    memcpy(p, code, sizeof code);
    if (p == MAP_FAILED || mprotect(p, 4096, PROT_READ | PROT_EXEC) != 0)
        return 0;
    uint64_t (*fn)(int) = (uint64_t(*)(int))p;
    while (time_left())
        x += fn(1000000);
    return x;
}

int main(int argc, char **argv)
{
    uint64_t x = argc < 2 ? 0 : strcmp(argv[1], "flat") == 0 ? flat() : strcmp(argv[1], "jit") == 0 ? jit() : loop();
    printf("%d\n", x != 0);
    return 0;
}
