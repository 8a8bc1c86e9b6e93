/* A candidate: a place of the program where a fragment, or one of several variants of it, may be entered.
 *
 *   arm 0        native: the text is the program's own, byte for byte, unless it is slowed down for a test
 *   arm 1 .. 3   a hook leads to that variant; or, where no hook can stand, the exits of kept fragments do
 *
 * Lock held, signals blocked where text changes. */
#ifndef REHEAT_CANDIDATE_H
#define REHEAT_CANDIDATE_H

#include "fragcache/cache.h"
#include "fragcache/hook.h"

#define CANDIDATE_ARMS 4

struct candidate {
    struct fragment *variant[CANDIDATE_ARMS]; /* [0] is NULL: native */
    struct hook hook;
    struct site site; /* len 0: reached by links only */
    struct cache_pc stub[2]; /* counted trials: ticking, to arm 0 and to arm 1 */
    uint64_t samples; /* in its text or its variants, since it was found */
    uint64_t found_ns, dropped_ns; /* CPU time */
    uint8_t arms, arm;
    bool counted;
    struct cache_pc slowed; /* for tests (plant.h): arm 0 is entered here, and on to its own code; 0: there is none */
    struct candidate *next;
};

/* With the process alone: takes up the variants that were emitted, arm 0. NULL without memory. */
struct candidate *candidate_new(struct fragment *const *variants, int n, const struct site *site);
/* From the next entry on the program takes this arm. CODE_WRITE and the hook's reasons: it stays as it was. */
rc_t candidate_switch(struct candidate *c, int arm);
/* The variant of that arm becomes arm 1; the others are retired. It may be on arm 0 or on that one. */
void candidate_keep_variant(struct candidate *c, int arm);
/* Fragments retired, hook out; its code stays for a while, for a thread may be on its way through it. */
void candidate_drop(struct candidate *c);
/* Its hook and its variants' back edges count iterations (workclock.h). RC_HOOK_*, RC_CACHE_FULL. */
rc_t candidate_count(struct candidate *c, bool counted);
/* True when pc is in its text or in a variant. */
bool candidate_covers(const struct candidate *c, uint64_t pc);
/* All hooks are out and all fragments gone. */
void candidate_forget_all(void);

#endif
