/* For tests/fuzz/breaks.c in a library without libc. */
#include "runtime/base/types.h"

REH_HIDDEN int strcmp(const char *a, const char *b);

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}
