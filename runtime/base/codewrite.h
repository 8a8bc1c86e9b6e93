/* Writing memory that is executable and therefore never writable: code memory, and the program's text.
 *
 *     mem    through /proc/self/mem, which writes to private pages whatever their protection (proc(5))
 *     page   a changed copy of each page is moved over it with mremap(2); the pages are anonymous afterwards
 *
 * `page` is what remains where the kernel refuses such writes (the proc_mem.force_override parameter), a filter or a
 * security module does, or there is no /proc.
 *
 * One thread at a time. A descriptor is open only within a call (CM-3). */
#ifndef REHEAT_CODEWRITE_H
#define REHEAT_CODEWRITE_H

#include "runtime/base/types.h"

enum code_way {
    CODE_WAY_AUTO, /* mem, and page from the first refusal on */
    CODE_WAY_MEM,
    CODE_WAY_PAGE
};

/* Forgets what was refused, too. */
void code_set_way(enum code_way way);
/* As it was set. */
enum code_way code_way_get(void);
/* The one that is tried first: mem or page. */
enum code_way code_way_in_use(void);
/* mem is not to be tried again. */
void code_refuse_mem(void);
/* The ways by which something was written so far: 1 << CODE_WAY_MEM | 1 << CODE_WAY_PAGE. */
unsigned code_ways_used(void);

/* A piece of memory and what it is to become. */
struct code_piece {
    uint64_t at;
    const void *bytes;
    size_t len;
};

/* Between the outermost of these, signals blocked, /proc/self/mem stays open. */
void code_batch_begin(void);
void code_batch_end(void);

/* Writes through /proc/self/mem. False: refused, and perhaps some of the pieces were written. */
bool code_write_mem(const struct code_piece *pieces, int count);
/* Replaces the pages of [at, at + len), which are to be mapped private and end up r-x. False: as they were, but for
 * what was replaced before the refusal. Other threads that run there wait in a fault meanwhile. */
bool code_write_pages(uint64_t at, const void *bytes, size_t len);

#endif
