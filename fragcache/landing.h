/* Where the far branches of a function go: a map of the bytes that some rel32 in it may lead to, made at the first question and
 * kept, for one function is asked about often and may have a hundred KiB.
 *
 * What looks like a branch, at any alignment, counts as one; so do branches that hooks have displaced. One thread at a time. */
#ifndef REHEAT_LANDING_H
#define REHEAT_LANDING_H

#include <stdbool.h>
#include <stdint.h>

/* False: no rel32 branch that lies in [start, end), which is mapped text, leads into [lo, hi). */
bool landing_possible(uint64_t start, uint64_t end, uint64_t lo, uint64_t hi);
/* e8 call, e9 jmp, 0f 80..8f jcc, c7 f8 xbegin: the opcodes before a rel32 that ends at `end`, none of them before `start`. */
bool landing_opcode(uint64_t end, uint64_t start);
/* Text was unmapped. */
void landing_forget(void);

#endif
