/* Getters and setters of a small struct in another shared library: calls of one load or store each, across modules,
 * which no compiler can inline.
 *
 * kernel: accessors 2 15 440 -O2
 * libs: accessors */
#include "accessors.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNT 1000

int main(int argc, char **argv)
{
    static struct point *points[COUNT];
    unsigned long sum = 0;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    for (int i = 0; i < COUNT; i++)
        points[i] = point_make(i, -i);
    for (int r = 0; r < rounds * 2000; r++) {
        for (int i = 0; i < COUNT; i++) {
            struct point *p = points[i];
            int x = point_x(p), y = point_y(p);
            point_set(p, (x + 1) & 0xffff, (y ^ x) & 0xffff);
            sum += (unsigned long)(x + y);
        }
    }
    printf("%lx\n", sum);
    return 0;
}
