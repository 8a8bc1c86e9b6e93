/* Scripted failures, for tests of what happens when the system says no: fail=NAME@N lets the Nth call of a primitive
 * fail without being made, fail=NAME@N+ every call from the Nth on. The primitives are the raw system calls of sys.h
 * and the points that fail_here names; the table is in fail.c.
 *
 * Unset, it costs each system call one comparison. Any thread, and signal handlers. */
#ifndef REHEAT_FAIL_H
#define REHEAT_FAIL_H

#include "runtime/base/types.h"

/* Points that are no system call of their own; numbered behind those. */
enum fail_point {
    FAIL_OPEN_MEM = 4096, /* opening /proc/self/mem */
    FAIL_CODE_WRITE       /* the write to it, or the page that is moved over another */
};

extern REH_HIDDEN long fail_armed; /* number of the system call, or fail_point; -1: none */

/* Parses NAME@N or NAME@N+; "" disarms. False: there is no such primitive, or the shape is wrong. Before there are threads. */
bool fail_set(const char *spec);
/* How many calls were failed so far. */
uint32_t fail_count(void);
/* Counts a call of the armed primitive. 0: it is to be made; else what it returns instead, -errno. */
long fail_next(void);

/* True when `point` is to fail now. */
static inline bool fail_here(enum fail_point point)
{
    return __builtin_expect(fail_armed == (long)point, 0) && fail_next() != 0;
}

#endif
