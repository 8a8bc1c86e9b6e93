/* The library of the accessors kernel. */
#include "../accessors.h"

#include <stdlib.h>

struct point {
    int x, y;
};

struct point *point_make(int x, int y)
{
    struct point *p = malloc(sizeof *p);
    if (!p)
        abort();
    point_set(p, x, y);
    return p;
}

int point_x(const struct point *p) { return p->x; }

int point_y(const struct point *p) { return p->y; }

void point_set(struct point *p, int x, int y)
{
    p->x = x;
    p->y = y;
}
