/* A type whose fields are only reached through functions of another shared library. */
#ifndef ACCESSORS_H
#define ACCESSORS_H

struct point;

struct point *point_make(int x, int y);
int point_x(const struct point *p);
int point_y(const struct point *p);
void point_set(struct point *p, int x, int y);

#endif
