/* Writing text that other threads may be running: the program's, and pages of near memory.
 *
 * A change of one byte is seen by another core either before or after; a change of several, fetched in the middle of it,
 * may be seen as neither. So (Intel SDM volume 3, 8.1.3; Linux, arch/x86/kernel/alternative.c, text_poke_bp):
 *
 *     mem    int3 over the first byte; sync; the other bytes; sync; the first byte; sync
 *     page   a copy of the page is changed and mremap(2)ed over the original (runtime/base/codewrite.h)
 *
 * sync is membarrier(PRIVATE_EXPEDITED_SYNC_CORE): every running thread of the process passes a serializing
 * instruction. `mem` writes through /proc/self/mem, opened, written and closed each time. No single write of several
 * bytes can do without the int3: nothing says that the kernel's copy is atomic, even within one aligned word.
 *
 * `page` needs no int3 when all bytes lie in one page. mremap unmaps the old page and flushes it from every TLB before
 * it maps the new one, so a core that fetched a part of an instruction from the old page faults before it could fetch
 * the rest from the new one; the fault waits for the address space's lock, and the instruction starts again. The price:
 * the page is no longer file-backed in /proc/self/maps, and there are two mappings more. Bytes on two pages need the
 * int3 here too.
 *
 *   POKE-1  a thread that runs there sees at each moment the bytes before, the bytes after, or an int3.
 *   POKE-2  no page is writable and executable at once, and text is never writable.
 *   POKE-3  no descriptor is open when program code runs.
 *
 * One thread at a time, with signals blocked; poke_replaced_page and poke_is_int3 from anywhere. */
#ifndef REHEAT_POKE_H
#define REHEAT_POKE_H

#include "runtime/base/codewrite.h"
#include "runtime/base/rc.h"
#include "runtime/base/types.h"

enum poke_way {
    POKE_AUTO = CODE_WAY_AUTO, /* mem, and page from the first refusal on */
    POKE_MEM = CODE_WAY_MEM,
    POKE_PAGE = CODE_WAY_PAGE
};

#define POKE_MAX 8u /* bytes of one change */

/* Changes `len` (at most POKE_MAX) bytes at `at`, the start of an instruction before and after, on none of whose other
 * bytes a thread is or will be. RC_HOOK_SYNC: nothing has changed. RC_CODE_WRITE: nothing has changed or, if *stuck,
 * the first byte is an int3 for good. */
rc_t poke_change(uint64_t at, const uint8_t *bytes, size_t len, bool *stuck);
/* Writes bytes that no thread runs yet; they may lie on two pages. False when it is refused. */
bool poke_plain(uint64_t at, const uint8_t *bytes, size_t len);

/* The process has no other thread: changes need no int3. */
/* Between these, alone and with signals blocked: many changes for the price of few system calls. */
void poke_batch_begin(void);
void poke_batch_end(void);
void poke_set_alone(bool alone);
/* false: no int3 is ever written, except alone; a change on two pages is refused (RC_HOOK_PAGES). Initially true. */
void poke_set_traps(bool allowed);
/* A change of these bytes needs no int3. */
bool poke_at_once(uint64_t at, size_t len);
bool poke_is_alone(void);
/* For code memory too: code_set_way. */
static inline void poke_set_way(enum poke_way way)
{
    code_set_way((enum code_way)way);
}
/* mem or page. */
static inline enum poke_way poke_way_in_use(void)
{
    return (enum poke_way)code_way_in_use();
}

/* True when the page of `at` is program text that `page` has replaced: the same bytes but for hooks. */
bool poke_replaced_page(uint64_t at);
/* The first such page that [start, end) touches; 0: none. From anywhere. */
uint64_t poke_next_replaced(uint64_t start, uint64_t end);
/* What is known of [start, end) is void: it is being unmapped. Everything: parts of it may be. */
void poke_forget_range(uint64_t start, uint64_t end);
bool poke_is_int3(uint64_t at);

/* What this does to the world, to be replaced by tests. Both return false when they are refused. */
struct poke_io {
    bool (*write)(enum poke_way way, uint64_t at, const void *bytes, size_t len); /* way: mem, or page and in one page */
    bool (*sync)(void);
};
extern REH_HIDDEN const struct poke_io poke_io_system;
/* NULL: poke_io_system. */
void poke_set_io(const struct poke_io *io);

#endif
