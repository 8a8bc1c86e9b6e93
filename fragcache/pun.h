/* What hooks lead through: near memory, punned jumps into it, and native copies of displaced instructions.
 *
 * Near memory: small pieces of r-x code (gates, copies of displaced instructions) and of r-w data (cells) at places
 * that somebody else's bytes dictate. Pages are private and anonymous, mapped with MAP_FIXED_NOREPLACE, kept away
 * from where the heap and the main stack grow, shared by as many pieces as fit, and unmapped when the last is gone.
 *
 * A punned jump (LiteInst, Chamith et al., PLDI 2017; E9Patch, Duck et al., PLDI 2020) replaces an instruction of
 * fewer than five bytes. The jump's last bytes are those of the instruction that follows, which stay as they are:
 *
 *        site: an instruction of len 3        the next instruction, unchanged
 *      +------+------+------+  +------+------+--
 *      |  e9  |  f0  |  f1  |  |  x0  |  x1  |        jmp site + 5 + f0 f1 x0 x1
 *      +------+------+------+  +------+------+--
 *        the free bytes f choose one of 256^f addresses; x gives the window they lie in
 *
 * With `pad` null prefixes before e9 (E9Patch's T1) there are fewer free bytes and another window, one byte further.
 *
 *   PUN-1  a piece of near memory is written before anything leads to it.
 *   PUN-2  two pieces never share a byte.
 *
 * One thread at a time, except near_owner, which any thread and signal handler may call at any moment. */
#ifndef REHEAT_PUN_H
#define REHEAT_PUN_H

#include "fragcache/site.h"
#include "tracer/asm.h"

enum near_kind { NEAR_CODE, NEAR_DATA };

/* Where the first byte of a piece may lie. */
struct near_window {
    uint64_t start, size; /* address, bytes */
};

#define NEAR_GRANULE 8u /* bytes; pieces start at a multiple unless the window is smaller than that */

/* Reserves `bytes` (at most 4096) inside one page, first in the pages there are, then in a new one. `owner`, 1 to
 * 65535, is what near_owner answers. RC_HOOK_PLACE: nothing there is free, or the limit of pages is reached. */
rc_t near_reserve(enum near_kind kind, struct near_window w, size_t bytes, uint16_t owner, uint64_t *at);
/* To be called only when no thread can be in the piece or on its way to it. */
void near_free(uint64_t at, size_t bytes);
/* The owner of the piece that holds `pc`; 0: none. Wait-free. */
uint16_t near_owner(uint64_t pc);
/* Within reach (rel32) of `at` and of what is near it. */
struct near_window near_around(uint64_t at);
/* Pages mapped, for the report. */
int near_page_count(void);

#define PUN_MIN_LEN 2u
#define PUN_MAX_LEN 4u /* from five bytes on, a plain jump */
#define PUN_MAX_BYTES 8u /* three prefixes, e9, rel32 */

/* The addresses that a jump with `pad` prefixes over an instruction of `len` bytes at `at` can reach; `text` holds
 * the bytes from `at`, PUN_MAX_BYTES of them; pad < len. False when they are no user addresses. Pure. */
bool pun_window(struct app_pc at, const uint8_t *text, unsigned len, unsigned pad, struct near_window *w);
/* True when some pad has a window. Pure. */
bool pun_possible(struct app_pc at, const uint8_t *text, unsigned len);
/* The jump's first `len` bytes, to be written over the instruction; what follows is `text`, unchanged. Pure.
 * False when the bytes do not lead to `to`, which must be in the window. */
bool pun_encode(struct app_pc at, const uint8_t *text, unsigned len, unsigned pad, uint64_t to, uint8_t *jump);

/* A native copy: displaced instructions that do elsewhere what they did in their place, the way back included. */
#define NATIVE_MAX    96u /* bytes */
#define NATIVE_PIECES 7 /* displaced instructions, and jumps behind them */

/* For a pc in the copy: when `at[i]` (an offset) is about to run, the native state is that at `pc[i]`. */
struct native_map {
    uint64_t pc[NATIVE_PIECES];
    uint8_t at[NATIVE_PIECES];
    uint8_t count;
};

/* Emits the copy of a site's instructions. RC_FAR_BRANCH, RC_NO_SCRATCH, RC_HOOK_KIND. */
rc_t native_copy(struct asm_buf *a, const struct site *s, struct native_map *map);

/* Takes up what follows a pun's instruction, up to the jump's end, into its native copy. Behind the decoder's gate. */
void pun_take_after(struct site *s);

#endif
