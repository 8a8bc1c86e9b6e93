/* Code memory: the only place where bytes become executable.
 *
 * A region is one private anonymous r-x mapping within reach (rel32) of the text it serves. It is never
 * writable: bytes are staged with code_stage() and written by code_commit(), which opens /proc/self/mem,
 * writes and closes it again at once, because a descriptor held across program code could be closed by the
 * program and come to mean one of its own files. Where that is refused, pages are replaced: codewrite.h.
 *
 * Private memory makes fork right: the child has its own copy-on-write cache.
 *
 *   CM-1  no page is writable and executable at once.
 *   CM-2  between code_stage and code_commit no staged byte is executed.
 *   CM-3  no descriptor is open when program code runs.
 */
#ifndef REHEAT_CODEMEM_H
#define REHEAT_CODEMEM_H

#include "runtime/base/codewrite.h"
#include "runtime/base/rc.h"
#include "runtime/base/types.h"

#define CODE_REACH 0x7e000000ULL /* bytes; somewhat under 2 GiB, so a branch from either end still fits */

/* Two bump areas: copies of basic blocks and fragments, so that each can be flushed alone. */
struct code_area {
    uint64_t start, end, next; /* addresses */
};

struct code_region {
    uint64_t start, end;
    bool native_exits; /* what leaves a fragment goes on in the program's own code, not in the runtime */
    struct code_area stubs, blocks, fragments;
    /* The region's own entry points into the runtime; see tracer/stubs.h. */
    struct cache_pc enter, leave, lookup_miss, thread_start;
};

/* Sizes of the two areas of every region, in bytes. Called once, before the first code_region_near. */
void code_set_sizes(size_t blocks, size_t fragments);
/* The region within reach of `pc`, mapped at the first call. RC_NO_MEMORY. */
rc_t code_region_near(struct app_pc pc, struct code_region **region);
/* For tests: a region that the caller has mapped and filled in. RC_NO_MEMORY. */
rc_t code_region_add(const struct code_region *r);
int code_region_count(void);
struct code_region *code_region_get(int i);
struct code_region *code_region_find(uint64_t address);

/* True when a rel32 at `from` reaches `to`. */
static inline bool code_reaches(uint64_t from, uint64_t to)
{
    return to - from + 0x7ffffff0u < 0xffffffe0u;
}

/* Copies `len` bytes aside, to be written to `at`. RC_NO_MEMORY. */
rc_t code_stage(struct cache_pc at, const void *bytes, size_t len);
/* Writes all that is staged, in order, in the way that codewrite.h says. RC_CODE_WRITE. */
rc_t code_commit(void);

#endif
