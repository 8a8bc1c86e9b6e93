/* The register file of a thread under control, and the thread-local slots that cache code reaches through
 * %fs. Generated code knows these layouts by offsetof; nothing else does.
 *
 *   CTX-1  while program code runs from a copy, vector and x87 state are the program's and live in the CPU;
 *          all C code here is compiled with general registers only.
 *   CTX-2  the slots hold nothing between two instructions of the program, except within one exit or lookup, and
 *          `saved` and `vectors` within a fragment that borrows registers: no program code runs before each is back in
 *          place. */
#ifndef REHEAT_CONTEXT_H
#define REHEAT_CONTEXT_H

#include "runtime/base/types.h"

struct cpu_ctx {
    uint64_t gpr[16]; /* by enum reg */
    uint64_t rflags;
    uint64_t rt_sp; /* the runtime's stack pointer while program code runs */
};

/* Vector registers that a fragment may borrow, of each its low 16 bytes: xmm8 to xmm15. In masks and as slots' registers they
 * are 24 to 31, behind the general ones. */
#define VECTOR_FIRST 8u
#define VECTOR_COUNT 8u
#define REG_VECTOR(n) (16u + (n))
#define REGS_GENERAL 0x0000ffffu
#define REGS_VECTOR 0xff000000u
struct vector16 {
    uint64_t low, high;
};

/* One small initial-exec variable; zero in new threads. */
struct tls_slots {
    struct cpu_ctx *ctx; /* NULL: this thread is not under control */
    uint64_t spill0; /* rcx around an indirect branch; a scratch register around a far operand */
    uint64_t spill1; /* rdx around an indirect branch */
    uint64_t target; /* where an indirect branch goes; where cpu_enter jumps */
    uint32_t exit_id; /* which exit was taken; see enum exit_kind */
    uint32_t pad;
    uint64_t saved[16]; /* by enum reg: the program's, while a fragment borrows them */
    struct vector16 vectors[VECTOR_COUNT]; /* from xmm8: the same */
};

/* exit_id: 0 for a block's end, EXIT_LOOKUP for an indirect branch whose target (slots.target) has no
 * fragment, otherwise the number of a fragment's exit. */
/* Distance of the slots from %fs:0; set once at start, before any code is generated. */
extern REH_HIDDEN int32_t slots_fs_offset;
#define SLOT(field) (slots_fs_offset + (int32_t)offsetof(struct tls_slots, field))
#define SLOT_SAVED(reg) (SLOT(saved) + 8 * (int32_t)(reg))
#define SLOT_VECTOR(n) (SLOT(vectors) + 16 * (int32_t)((n) - VECTOR_FIRST))
#define CTX_GPR(reg) ((int32_t)offsetof(struct cpu_ctx, gpr) + 8 * (int32_t)(reg))
#define CTX(field) ((int32_t)offsetof(struct cpu_ctx, field))

enum { EXIT_BLOCK = 0, EXIT_LOOKUP = 1, EXIT_FIRST = 2 };

#endif
