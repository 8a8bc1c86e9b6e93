/* The fragment cache: fragments, their exits, links between them, and the table that indirect branches are
 * looked up in.
 *
 *   fc_emit: IR -> bytes in the region nearest the tag -> live fragment, linked with its neighbours
 *   fc_flush: all fragments retired at once, their memory used again; the only eviction (Dynamo's)
 *   fc_retire_range: fragments of text that is gone are unlinked and never found again
 *
 *   FC-1  a live fragment's tag is found by fc_find, and by the lookup table unless another fragment with the
 *         same low 16 bits took the place.
 *   FC-2  used bytes never exceed the capacity.
 *   FC-3  a linked exit targets a live fragment.
 *
 *   FC-5  an exit is linked to a kept fragment, or to one that is on trial in the same set as its owner.
 *   FC-4  a branch that another thread may be executing is never patched: with fc_set_patching(false) exits stay
 *         unlinked until fc_link_exit is called at a better moment.
 *
 * Called by a controlled thread while it is outside the cache, one at a time. fc_flush only while no other
 * thread is inside. */
#ifndef REHEAT_CACHE_H
#define REHEAT_CACHE_H

#include "fragcache/lower.h"

struct frag_exit {
    struct fragment *owner;
    struct fragment *linked; /* NULL: leads to its stub */
    struct frag_exit *same_target; /* next exit with this target */
    struct app_pc target;
    struct cache_pc branch, restore, stub; /* branch: address of the rel32; others as in struct lowered_exit */
    bool restores, back; /* registers are restored before the stub; the loop's own edge */
    uint32_t index; /* among its owner's exits */
};

/* Program text that a fragment was made from, jumps that the layout dropped included. */
struct text_run {
    uint64_t start, end; /* addresses */
};

struct fragment {
    struct app_pc tag, found_at; /* found_at: the head that was hot, before its trace was rotated */
    struct cache_pc start, lookup_entry, entry, loop_head; /* loop_head: where its own back edge leads */
    uint32_t id, len, body_end; /* id from 1; bytes */
    uint32_t insns_in, insns_out, bytes_in;
    uint32_t first_exit;
    int exit_count;
    bool live, loop;
    bool indirect; /* made from a trace that goes on behind an indirect jump */
    bool counted; /* its back edge stays unlinked, so that each iteration passes its hook */
    uint32_t set; /* 0: kept; otherwise it is on trial, together with the others of this set */
    uint64_t samples, entries;
    int32_t gain, gain_error; /* of its trial: ln(native / fragment) of the whole thread, in 1/65536; 0: no trial */
    struct fragment *next; /* newest first */
    struct fragment *same_tag; /* variants */
    const struct lowered_node *map; /* body offsets to nodes */
    const uint64_t *map_pc; /* the app pc of each map entry */
    int map_count;
    const struct text_run *text;
    int text_count;
    uint32_t passes; /* bits of those that changed something; the caller's */
    /* runtime/verify.h */
    uint32_t unverified; /* entries until the next one that is verified */
    const uint8_t *record; /* its trace; NULL: not kept */
    uint32_t record_bytes;
};

struct fc_stats {
    uint64_t emitted, live, retired, flushes, links, used, capacity;
    uint64_t insns_in, insns_out;
};

/* Called with every emitted fragment before it is installed; for the dump. */
typedef void fc_observer(const struct fragment *f, const struct ir *ir, const struct lowered *out);

/* Reserves tables; no code memory yet. `link` false: exits always leave. RC_LOW_MEMORY_MAP, RC_NO_MEMORY. */
rc_t fc_init(size_t capacity, bool link, fc_observer *observer);
/* Lowers and installs; RC_CACHE_FULL when only a flush helps, and the lowering's reasons. */
rc_t fc_emit(const struct ir *ir, struct fragment **out);
/* The live fragment of a tag, or NULL. */
struct fragment *fc_find(struct app_pc tag);
/* Some live fragment's exit leads to this pc. */
bool fc_has_exits_to(struct app_pc pc);
/* The exit of that number; NULL when it was flushed or never was. */
struct frag_exit *fc_exit(uint32_t id);
/* The live fragment whose body holds a cache pc, or NULL. Linear in nothing: a binary search. */
struct fragment *fc_at(uint64_t address);
/* Puts a fragment (again) where indirect branches find it, after another took its place. */
void fc_lookup_prefer(struct fragment *f);
void fc_flush(void);
/* Whether fragments emitted from now on are on trial, each in a set of its own. */
void fc_set_held(bool held);
/* Moves fragments to a set, 0: kept, and makes FC-5 true again. */
rc_t fc_move(struct fragment *const *f, int n, uint32_t set, bool counted);
/* Retires one fragment: nothing leads to it any more. Its memory stays: its thread may be inside. */
rc_t fc_retire(struct fragment *f);
/* Reserves room for code of the runtime's in the region near `near`. RC_CACHE_FULL. */
rc_t fc_add_code(struct app_pc near, size_t len, struct cache_pc *at);
/* How the program's state is had from inside such code (fragcache/recover.h); before anything else is emitted.
 * RC_NO_MEMORY. */
rc_t fc_add_recipes(struct cache_pc at, uint32_t len, const struct recipe *recipes, int count);
/* Whether existing fragments may be patched now. Initially true. */
void fc_set_patching(bool allowed);
/* Other threads may be inside from now on (true): exits lead to no other fragment, and nothing that was emitted is changed. No fragment
 * is live then. Initially false. */
void fc_set_several(bool several);
/* Links an exit that has just been taken, if its target has a fragment and patching is allowed. */
rc_t fc_link_exit(struct frag_exit *e);
/* Retires the fragments that hold code of [start, end); their memory is not used again before a flush. */
rc_t fc_retire_range(uint64_t start, uint64_t end);
struct fragment *fc_newest(void);
struct fc_stats fc_stats_get(void);

#endif
