/* Hooks: jumps of ours in the program's own text, written, turned and taken out while other threads run there.
 *
 *                        hook_set                     hook_clear                    hook_release
 *     HOOK_FREE -----------------------> HOOK_LIVE ----------------> HOOK_CLEARED ----------------> HOOK_FREE
 *         ^      (refused: back)          |  ^   ^                     |
 *         |                  hook_retarget+--+   +------ hook_set -----+
 *         |
 *         +---- HOOK_STUCK <---- a write was refused half-way: an int3 stands at the site, hook_trap serves it
 *
 * A live hook leads from the program's text to `to`:
 *
 *     site:  jmp to                          tactic long or several, `to` in reach and not switched
 *     site:  jmp gate    gate: jmp [cell]    a pun, a far `to`, or a switched hook; retargeting is one store
 *     native:  the displaced instructions; jmp behind them       the other arm of a trial, and what a trap goes on in
 *
 * Gate, cell and native copy stay after hook_clear, for a thread may still be on its way through them; hook_release
 * gives them back once the caller knows that none is.
 *
 * The text is written by poke_change (fragcache/poke.h). THE KERNEL KILLS A PROCESS IN WHICH A THREAD MEETS int3 WITH
 * SIGTRAP BLOCKED OR IGNORED: except with poke_set_way(POKE_PAGE), or alone, every thread must have it deliverable.
 *
 *   HK-1  the bytes of a site are at every moment the original instruction, the jump, or an int3 before either.
 *   HK-2  after hook_clear the bytes are those that were there before hook_set.
 *   HK-3  a gate, a cell and a native copy are complete before a byte of text leads to them.
 *   HK-4  no two standing hooks change the same byte, and none changes a byte that another's jump ends with.
 *   HK-5  hook_trap answers for every site that ever was hooked, whatever has become of the hook since.
 *   HK-6  no descriptor is open when program code runs.
 *
 * One thread at a time, with signals blocked; hook_trap and hook_native_pc from any thread and any signal handler,
 * without waiting. */
#ifndef REHEAT_HOOK_H
#define REHEAT_HOOK_H

#include "fragcache/poke.h"
#include "fragcache/site.h"

#define LIMBO_NS 2000000000u /* CPU time after which a single thread is in a cleared hook's code no more */

enum hook_state { HOOK_FREE, HOOK_LIVE, HOOK_CLEARED, HOOK_STUCK };

/* Zeroed by its owner, who keeps it where it is until hook_release. */
struct hook {
    struct app_pc at;
    struct cache_pc to; /* where it leads; after hook_clear its native copy */
    struct cache_pc native, gate; /* gate 0: none */
    struct cache_pc gate_to; /* of a gate without a cell */
    uint64_t *cell; /* what the gate jumps through; NULL: none */
    uint8_t state, tactic; /* enum hook_state, hook_tactic */
    uint8_t len; /* bytes of the displaced instructions */
    uint8_t written, depends; /* bytes that are changed; bytes that the jump consists of */
    uint8_t pad; /* prefixes of a pun */
    uint8_t native_len;
    uint8_t branch_count;
    bool switched;
    uint8_t original[SITE_MAX_BYTES], jump[POKE_MAX]; /* from `at` */
    uint64_t branch[SITE_JUMP_BYTES]; /* where displaced branches go */
    uint16_t owner; /* of its near memory */
    struct hook *next, *chain; /* all standing hooks; those of the same page */
};

/* Leads `at` to `to`. `switched`: through a cell, so that hook_retarget costs one store, at the price of an indirect
 * jump for each entry. A hook that is HOOK_CLEARED may be set again at the same site, with nothing allocated.
 * RC_HOOK_OVERLAP, _CHANGED (the text is not what site_check saw), _PLACE, _FULL, _SYNC, RC_FAR_BRANCH,
 * RC_NO_SCRATCH, RC_NO_MEMORY: nothing has changed. RC_CODE_WRITE: nothing, or HOOK_STUCK. RC_ASSERT. */
rc_t hook_set(struct hook *h, const struct site *s, struct cache_pc to, bool switched);
/* Leads a live hook elsewhere. With a cell: one atomic store, seen by each thread at its next entry. Otherwise the
 * text is written anew; errors as hook_set, and the hook leads where it did. */
rc_t hook_retarget(struct hook *h, struct cache_pc to);
/* Takes the jump out. RC_CODE_WRITE, RC_HOOK_SYNC: it still stands, or HOOK_STUCK. */
rc_t hook_clear(struct hook *h);
/* A cleared hook's memory is used again: no thread is in its gate or native copy, nor on its way there. */
void hook_release(struct hook *h);
/* The same without that: its memory stays for those who are there, for good. */
void hook_abandon(struct hook *h);
/* Gate and native copy, but no jump yet: HOOK_CLEARED. Errors as hook_set. */
rc_t hook_prepare(struct hook *h, const struct site *s, struct cache_pc to);
/* The text of [start, end) is going away: its hooks become cleared, without a write. */
void hook_forget_range(uint64_t start, uint64_t end);

/* site_check with one tactic after the other, and hook_set: until one of them holds. */
rc_t hook_place(struct hook *h, struct app_pc at, const struct site_ask *ask, struct cache_pc to, bool switched);

/* For the SIGTRAP handler, when si_code is SI_KERNEL (an int3): where a thread goes on whose pc lies behind an
 * int3. False: it is none of ours. */
bool hook_trap(uint64_t pc_after_int3, uint64_t *new_pc);
/* The native pc of a thread that is in a gate or a native copy. False: it is in neither. */
bool hook_native_pc(uint64_t pc, struct app_pc *native);

/* Puts the program's own bytes into a copy of [start, start + len): whoever reads text, decodes or compares it wants
 * those. True when a standing hook has any there. */
bool hook_overlay(uint64_t start, uint8_t *bytes, size_t len);
/* A new hook of these sizes at `at` would break HK-4. */
bool hook_conflicts(uint64_t at, unsigned written, unsigned depends);
/* A displaced branch of a standing hook goes to [lo, hi). */
bool hook_branch_into(uint64_t lo, uint64_t hi);

/* Calls fn for each standing hook (live or stuck); fn may clear it. */
void hook_each(void (*fn)(struct hook *h, void *arg), void *arg);

struct hook_counts {
    uint32_t set[TACTIC_COUNT], live[TACTIC_COUNT];
    uint32_t cleared, retargeted, stuck;
    uint32_t traps; /* threads that met an int3 */
    uint32_t refused[RC_COUNT]; /* by reason, of site_check and hook_set */
};
struct hook_counts hook_counts_get(void);
void hook_count_refusal(rc_t rc);

#endif
