/* Lowering: optimized IR to bytes.
 *
 *   lookup entry:  mov rcx, -tag; lea rcx, [rcx+rdx]; jrcxz +5; jmp lookup_miss
 *                  mov rdx, fs:[spill1]; mov rcx, fs:[spill0]
 *   entry:         the path; each direct exit is a jcc or jmp rel32 to its stub, or to what it is linked to
 *   stubs:         mov dword fs:[exit_id], id; jmp leave            (one per direct exit)
 *                  with native exits: jmp [rip+0]; target
 *   constants:     return addresses that inlined calls push
 *
 * An indirect branch loads its target into rdx (rcx and rdx spilled), compares it with the expected one by
 * lea and jrcxz, which leave the flags alone, and otherwise jumps through lookup_table[target & 0xffff]; the
 * fragment found there checks that the target is its tag. */
#ifndef REHEAT_LOWER_H
#define REHEAT_LOWER_H

#include "optimizer/ir.h"
#include "runtime/base/codemem.h"

#define LOWER_MAX_BYTES (128u << 10)
#define LOWER_MAX_EXITS 1024
#define STUB_BYTES_EACH 17u

struct lowered_exit {
    uint32_t branch; /* offset of the rel32 that leads to the stub */
    uint32_t stub; /* offset */
    uint64_t target; /* app pc */
};

/* Where the bytes of a node begin; for maps from cache pc to app pc and for the dump. */
struct lowered_node {
    uint32_t at; /* offset */
    int32_t node; /* index */
};

struct lowered {
    uint8_t *bytes; /* LOWER_MAX_BYTES, the caller's */
    struct lowered_exit *exits; /* LOWER_MAX_EXITS, the caller's */
    struct lowered_node *map; /* one per node of the IR, the caller's */
    uint32_t len, lookup_entry, entry, body_end; /* offsets */
    int exit_count, map_count;
    uint32_t insns_out; /* instructions from entry to body_end */
};

/* Lowers `ir` for address `at` in region `r`; the exits get the ids first_exit, first_exit+1, ...
 * RC_TOO_LONG, RC_FAR_BRANCH, RC_NO_SCRATCH, RC_UNSUPPORTED. */
rc_t lower(const struct ir *ir, struct cache_pc at, const struct code_region *r, uint32_t first_exit,
           uint32_t lookup_table, struct lowered *out);

/* The 17 bytes of the stub of exit `id` to `target`, at address `at`. In a region with native exits it jumps
 * to the target itself. */
void lower_stub(uint8_t bytes[STUB_BYTES_EACH], struct cache_pc at, const struct code_region *r, uint32_t id,
                struct app_pc target);
/* The same stub linked to a target that a rel32 may not reach: jmp [rip+0]; target; padding. */
void lower_stub_far(uint8_t bytes[STUB_BYTES_EACH], struct cache_pc at, struct cache_pc to);

#endif
