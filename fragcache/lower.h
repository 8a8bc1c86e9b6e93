/* Lowering: optimized IR to bytes.
 *
 *   lookup entry:  mov rcx, -tag; lea rcx, [rcx+rdx]; jrcxz +5; jmp lookup_miss
 *                  mov rdx, fs:[spill1]; mov rcx, fs:[spill0]
 *   entry:         the path; each direct exit is a jcc or jmp rel32 to its stub, or to what it is linked to
 *   with slots (optimizer/pass_promote.c), after the first iteration: mov fs:[saved], R for each borrowed register;
 *                  checks: lea T, [a]; sub T, b; cmp T, range; jb stub; then mov R, [slot], and the loop
 *   misses:        for each guard, its chain: cmp operand, other; jne next; jmp stub; next:
 *                  then the lookup of where the branch goes instead, or with native exits: jmp stub of the branch itself
 *   stubs:         mov dword fs:[exit_id], id; jmp leave            (one per direct exit)
 *                  with native exits: jmp target, or jmp [rip+0]; target
 *                  before it, where registers are borrowed: mov R, fs:[saved] for each
 *   constants:     return addresses that inlined calls push, expected targets
 *
 * A guard leaves everything as it is before the branch until it knows that the branch goes where it is expected to:
 *
 *   flags dead:  cmp operand, target; jne miss                    an imm32, a register, or a scratch holds one side;
 *                also where the misses can make them again (optimizer/redo.h)
 *   flags live:  mov fs:[spill0], rcx; mov rcx, operand; lea rcx, [rcx - target]; jrcxz +5; jmp miss
 *                mov rcx, fs:[spill0]                             a target of more than 32 bits needs rdx or a dead one
 *
 * then does what the branch does besides (rsp += 8; push of the return address). A lookup loads the target into
 * rdx (rcx and rdx spilled) and jumps to lookup_table[target & 0xffff], where the fragment checks that the target is its
 * tag, or to lookup_miss where that is zero: the table's pages are touched only where something stands.
 *
 * Recipes say for each instruction of a fragment how the program's state is had from the registers before it
 * (fragcache/recover.h). */
#ifndef REHEAT_LOWER_H
#define REHEAT_LOWER_H

#include "optimizer/ir.h"
#include "runtime/base/codemem.h"

struct asm_buf;

#define LOWER_MAX_BYTES (128u << 10)
#define LOWER_MAX_EXITS 1024
#define STUB_BYTES_EACH 17u

struct lowered_exit {
    uint32_t branch; /* offset of the rel32 that leads there */
    uint32_t restore; /* offset: where borrowed registers are restored; the stub follows. Without any, the stub */
    uint32_t stub; /* offset */
    uint32_t saved; /* borrowed registers, a mask as ir.borrowed */
    bool back; /* the loop's own edge */
    uint64_t target; /* app pc */
};

/* Where the bytes of a node begin; for maps from cache pc to app pc and for the dump. */
struct lowered_node {
    uint32_t at; /* offset */
    int32_t node; /* index */
};

/* What a pc in a recipe's reach stands for: `first` is reloaded from spill0, `second` from spill1, `stacked` from
 * [rsp] (R_NONE: as it is), then rsp += rsp_add, and the program is about to execute the instruction at a pc. */
enum recipe_pc {
    PC_KNOWN, /* recipe.pc */
    PC_RDX, /* what rdx holds before it is reloaded: an indirect branch has been done */
    PC_SLOT, /* slots.target */
    PC_AGAIN, /* recipe.pc; a fault here is met again, where it belongs, when the program's own code goes on there */
    PC_ROLL /* the instruction is a move or a sum of registers: do it (fragcache/roll.h), then what the next recipe says */
};
struct recipe {
    uint64_t pc;
    uint32_t at; /* offset; good until the next one's */
    uint8_t first, second, stacked; /* enum reg */
    uint8_t from; /* enum recipe_pc */
    uint32_t saved; /* registers that are reloaded from slots.saved and slots.vectors, last of all; a mask as ir.borrowed */
    uint32_t rsp_add;
};
#define LOWER_MAX_RECIPES 32768

struct lowered {
    uint8_t *bytes; /* LOWER_MAX_BYTES, the caller's */
    struct lowered_exit *exits; /* LOWER_MAX_EXITS, the caller's */
    struct lowered_node *map; /* one per node of the IR, the caller's */
    struct recipe *recipes; /* LOWER_MAX_RECIPES, the caller's */
    uint32_t len, lookup_entry, entry, loop, body_end; /* offsets; loop: where the back edge leads */
    int exit_count, map_count, recipe_count;
    uint32_t insns_out; /* instructions from entry to body_end */
};

/* Lowers `ir` for address `at` in region `r`; the exits get the ids first_exit, first_exit+1, ...
 * RC_TOO_LONG, RC_FAR_BRANCH, RC_NO_SCRATCH, RC_UNSUPPORTED. */
rc_t lower(const struct ir *ir, struct cache_pc at, const struct code_region *r, uint32_t first_exit,
           uint32_t lookup_table, struct lowered *out);

/* For tests: what is lowered from now on has so many instructions without effect at its entry, before its first node. */
void lower_set_plant(uint32_t units);
/* Such instructions. They need a cycle each where mov between registers is not renamed away (measured: Intel Golden
 * Cove, where lea rsp, [rsp+0] is). */
void lower_plant(struct asm_buf *a, uint32_t units);

/* The 17 bytes of the stub of exit `id` to `target`, at address `at`. In a region with native exits it jumps
 * to the target itself. Restored registers are the caller's business. */
void lower_stub(uint8_t bytes[STUB_BYTES_EACH], struct cache_pc at, const struct code_region *r, uint32_t id,
                struct app_pc target);
/* The same stub linked: jmp to; or, beyond the reach of a rel32, jmp [rip+0]; to; padding. */
void lower_stub_far(uint8_t bytes[STUB_BYTES_EACH], struct cache_pc at, struct cache_pc to);

#endif
