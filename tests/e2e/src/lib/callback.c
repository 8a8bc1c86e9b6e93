/* A library that calls back into the program: through its own function and through libc's qsort. */
#include <stdlib.h>

int callback_apply(int (*call)(int), int value);
void callback_sort(int *numbers, size_t count, int (*compare)(const void *, const void *));

__attribute__((noinline)) int callback_apply(int (*call)(int), int value)
{
    volatile int result = call(value);
    return result + 1;
}

void callback_sort(int *numbers, size_t count, int (*compare)(const void *, const void *))
{
    qsort(numbers, count, sizeof *numbers, compare);
}
