/* What the parts of the lowering share: lower.c has the nodes and the frame around them, lower_branch.c guards and lookups.
 * Not for anyone else. */
#ifndef REHEAT_LOWER_PARTS_H
#define REHEAT_LOWER_PARTS_H

#include "fragcache/lower.h"
#include "tracer/asm.h"

#define MAX_CONSTANTS 1024
#define MAX_MISSES    512

struct lowering {
    struct asm_buf a;
    struct lowered *out;
    const struct ir *ir;
    uint32_t lookup_table;
    uint64_t lookup_miss; /* of the region */
    int constant_count, miss_count;
    uint32_t saved; /* borrowed registers whose own values are in the slots; a mask as ir.borrowed */
    struct {
        uint32_t rel32; /* offset */
        uint64_t value;
    } constants[MAX_CONSTANTS];
    struct {
        uint32_t rel32;
        const struct node *guard;
        bool subtracted, rcx_spilled; /* rcx holds operand - target, and its own value is in slots.spill0 */
        const struct insn *redo; /* to be done again: the comparison has overwritten its flags; NULL: nothing */
        uint32_t saved;
    } misses[MAX_MISSES];
};

/* From here on; the last one given for an offset counts. Stacked and saved are filled in. */
void lower_recipe(struct lowering *l, struct recipe r);
void lower_recipe_at(struct lowering *l, uint64_t pc, unsigned first, unsigned second);
/* An indirect branch is done: its target is in rdx. */
void lower_recipe_looked_up(struct lowering *l);
/* The rel32 that was just emitted leads to an exit, or to a constant. RC_TOO_LONG. */
rc_t lower_add_exit(struct lowering *l, uint64_t target);
rc_t lower_constant(struct lowering *l, uint64_t value);
void lower_patch_rel32(struct lowering *l, uint32_t at, uint32_t to);
rc_t lower_push_const(struct lowering *l, uint64_t value, bool stands); /* stands: it is there */
void lower_spill(struct lowering *l, unsigned reg, int32_t slot);
void lower_unspill(struct lowering *l, unsigned reg, int32_t slot);
void lower_restore_borrowed(struct lowering *l);

/* lower_branch.c. RC_TOO_LONG, RC_UNSUPPORTED. */
rc_t lower_guard(struct lowering *l, const struct node *n);
rc_t lower_lookup(struct lowering *l, const struct node *n);
/* lower_redo.c: `in`, of redo_before, when its flags are overwritten. For the next instruction, which has two bytes or more: the
 * program is in front of `in`. Then: doing it again. */
void lower_redo_recipe(struct lowering *l, const struct insn *in);
void lower_redo(struct lowering *l, const struct insn *in);
/* `native`: exits go on in the program's own code. */
rc_t lower_place_misses(struct lowering *l, bool native);

#endif
