/* build: -O2
 * alloca, variable-length arrays, variadic functions with floats, big structs by value, many arguments. */
#include <alloca.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct big { long values[16]; double real; };

static __attribute__((noinline)) struct big twice(struct big in)
{
    for (int i = 0; i < 16; i++)
        in.values[i] *= 2;
    in.real *= 1.25;
    return in;
}

static __attribute__((noinline)) double total(int count, ...)
{
    va_list list;
    double sum = 0;
    va_start(list, count);
    for (int i = 0; i < count; i++)
        sum += i & 1 ? va_arg(list, double) : va_arg(list, int);
    va_end(list);
    return sum;
}

static __attribute__((noinline)) int many(int a, int b, int c, int d, int e, int f, int g, int h, double i, float j)
{
    return a - b + c - d + e - f + g - h + (int)(i * j);
}

static __attribute__((noinline)) unsigned space(unsigned size)
{
    char *room = alloca(size + 1);
    int array[size % 50 + 1];
    memset(room, (int)size & 127, size + 1);
    memset(array, 1, sizeof array);
    return (unsigned)room[size / 2] + (unsigned)array[size % 50];
}

int main(void)
{
    struct big value = {.real = 1};
    double sum = 0;
    unsigned bytes = 0;
    int ints = 0;
    for (int i = 0; i < 30000; i++) {
        value.values[i & 15] = i;
        if (i % 1000 == 0)
            value = twice(value);
        sum += total(8, i, 0.5, 2, 1.5, 3, i / 3.0, 4, 2.25);
        bytes += space((unsigned)i % 3000);
        ints += many(i, 1, 2, 3, i, 5, 6, 7, i * 0.5, 0.25f);
    }
    printf("%.10g %u %d %ld %.6f\n", sum, bytes, ints, value.values[3], value.real);
    printf("%d %s %5.2f %Lf %c %lld %e %a\n", 1, "two", 3.14159, 4.5L, '5', 6LL, 7e10, 8.125);
    return 0;
}
