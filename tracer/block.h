/* Copies of basic blocks: what the interpreter steps by.
 *
 *   +-----------------------------------------------+
 *   | the block's plain instructions, relocated      |
 *   | the terminator's memory part, if it has one:   |
 *   |   call: push [return address]                  |
 *   |   indirect: slots.target = operand             |
 *   |   ret: slots.target = [rsp]; rsp += 8 + imm    |
 *   |   syscall: syscall; rcx = the address after it |
 *   | slots.exit_id = EXIT_BLOCK; jmp leave          |
 *   | constants                                      |
 *   +-----------------------------------------------+
 *
 * Where control goes is computed in C (interp.h). Everything that touches the program's memory is done by
 * the copy, so a fault happens in code that maps to the faulting instruction.
 *
 *   BLK-1  a block of text that cannot change (MAP_TEXT and the like) equals its source until maps change.
 *   BLK-2  a block of text that can change is compared with its source before every run.
 *
 * One controlled thread. Fails with bail reasons only; a pc that cannot be run is a block of kind IK_STRANGE. */
#ifndef REHEAT_BLOCK_H
#define REHEAT_BLOCK_H

#include "runtime/base/codemem.h"
#include "runtime/base/maps.h"
#include "tracer/decode.h"

struct fragment;
struct cpu_ctx;
struct tls_slots;

/* A plain instruction of a block and its copy, for block_recover. */
struct block_step {
    uint8_t len, copy_len; /* bytes */
    uint8_t scratch; /* the register that a far operand goes through, or R_NONE */
};

struct block {
    struct app_pc pc, next; /* next: the address after its last instruction */
    uint64_t target; /* direct branches */
    struct cache_pc code; /* v == 0: nothing to execute */
    const struct block_step *steps; /* of its plain instructions; with `code` */
    uint16_t step_count;
    uint16_t effect_at, done_at; /* offsets behind the steps' copies: the branch's one effect; when all is done */
    struct cache_pc code_clone; /* IK_SYSCALL: same, but a child (rax == 0) continues natively */
    struct block *chain; /* hash chain */
    struct block *succ[2]; /* last successor: [0] fall through, [1] taken or indirect */
    struct fragment *fragment; /* the fragment whose tag is pc */
    const uint8_t *source; /* BLK-2: bytes when it was copied; NULL when text cannot change */
    uint64_t last_target; /* indirect terminators */
    uint32_t target_changes, target_runs;
    uint32_t heat; /* times reached as a head candidate */
    uint32_t runs; /* interpreted */
    uint16_t insns; /* with the terminator */
    uint8_t kind; /* enum insn_kind of the terminator; IK_PLAIN: cut at the size limit */
    uint8_t cc, loop_op;
    uint8_t map_kind; /* enum map_kind of its text */
    uint8_t early; /* traces from here that met a restless branch too early to know whether it goes round and round */
    uint8_t retries; /* traces from here that did not close, though it is a loop's head */
    bool checked; /* its module has no restartable sequences */
    uint8_t declined; /* rc_t of the last declined trace that started here; 0: none */
};

struct block_stats {
    uint64_t blocks, flushes;
};

/* The block that starts at pc, copied at the first call. The result may be of kind IK_STRANGE: it must run
 * natively. RC_NO_MEMORY, RC_CODE_WRITE. The pointer holds until block_flush. */
rc_t block_get(struct app_pc pc, struct block **out);
/* The block if it is known, else NULL. */
struct block *block_find(struct app_pc pc);
/* A copy of b, a system call that makes a thread, whose child starts under control: it enters its region's
 * thread_start with `child`, the context prepared for it. Good for one run. RC_NO_MEMORY, RC_CODE_WRITE. */
rc_t block_thread_code(const struct block *b, const struct cpu_ctx *child, struct cache_pc *code);
/* Makes gpr the program's registers and *native its pc, for a thread that was stopped at `pc` in a block's copy; `slots`
 * as they were then. False: it is in none, or in one for a child. Lock held; in signal handlers too. */
bool block_recover(uint64_t pc, uint64_t gpr[16], const struct tls_slots *slots, struct app_pc *native);
/* Forgets all blocks; any copy becomes invalid. */
void block_flush(void);
/* Forgets blocks whose text overlaps [start, end). Their copies stay valid for threads that are in them. */
void block_forget_range(uint64_t start, uint64_t end);
/* True when the next block_get may need room that only a flush can make. */
bool block_full(void);
/* Calls fn for each known block. */
void block_each(void (*fn)(struct block *));
struct block_stats block_stats_get(void);

#endif
