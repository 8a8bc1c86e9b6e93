/* The machine that generated code runs on: where things lie, a whole register state, the way in and out, and what a
 * fault or an endless loop becomes. One thread; everything is at a fixed address, so a seed reproduces a run.
 *
 *   text    the program, then pads: one landing stub for each place that a program may leave to, most behind some code
 *   consts  writable, reached rip-relative from the text
 *   data    arena that pointers aim into, low so that 32 bits hold an address; the stack follows, guards around both
 *   cache   what the optimizer's code is written to, near the text or out of its reach
 */
#ifndef REHEAT_FUZZ_WORLD_H
#define REHEAT_FUZZ_WORLD_H

#include "runtime/base/codemem.h"
#include "runtime/base/context.h"

#define WORLD_TEXT         0x200000000000ULL
#define WORLD_TEXT_BYTES   0x20000u
#define WORLD_PADS         (WORLD_TEXT + 0x40000u)
#define WORLD_PAD_COUNT    128u
#define WORLD_PAD_PLAIN    127u /* the one that does nothing but leave */
#define WORLD_PAD_STRIDE   64u
#define WORLD_PAD_JUMP     40u /* where in a pad it leaves */
#define WORLD_CONSTS       (WORLD_TEXT + 0x80000u)
#define WORLD_FIXED        (WORLD_CONSTS + 4096u) /* read-only data, written while a program is laid out */
#define WORLD_NEAR         (WORLD_TEXT + 0x100000u)
#define WORLD_FAR          0x210000000000ULL
#define WORLD_ALIAS        0x80000000000ULL  /* from executable memory to the writable view of it */
#define WORLD_REPLAY       0x220000000000ULL /* recorded traces; their fragments */
#define WORLD_REPLAY_BYTES (8ULL << 38)
#define WORLD_CACHE        0x40000u /* bytes of each of the two */
#define WORLD_DATA         0x10000000ULL
#define WORLD_STACK        (WORLD_DATA + 4096u)

#define WORLD_EXTRA 24
struct memory {
    uint8_t data[4096], stack[4096];
    uint8_t consts[512];
    uint8_t extra[WORLD_EXTRA][4096]; /* as many as world_extra_set says */
};

#define XSAVE_BYTES 2816
struct state {
    uint64_t gpr[16]; /* by enum reg */
    uint64_t rflags;
    uint64_t pad[7];
    _Alignas(64) uint8_t xs[XSAVE_BYTES]; /* as XSAVE writes it (SDM volume 1, 13.4) */
};

enum left_kind {
    LEFT_PAD,    /* id: the pad */
    LEFT_EXIT,   /* a fragment's direct exit; id from 0 */
    LEFT_LOOKUP, /* a fragment's indirect branch; target */
    LEFT_STRAY,  /* to code that is not there: target */
    LEFT_FAULT,  /* pc, signal, address */
    LEFT_HANG,
    LEFT_STEP /* pc: where world_run_until was told to stop */
};

struct left {
    enum left_kind kind;
    uint32_t id;
    int signal;
    uint64_t pc, address, target;
};

/* Regions whose leave and lookup_miss come back to world_run. */
enum place { PLACE_NEAR, PLACE_FAR, PLACE_REPLAY, PLACE_COUNT };
extern struct code_region world_region[PLACE_COUNT];
extern uint32_t world_cpu; /* for ir.cpu: what this one has */
extern uint32_t world_lookup; /* the lookup table; every slot misses */
extern struct tls_slots *world_slots;

void world_init(void);
/* Runs from pc with s until something leaves; s holds the state then. */
struct left world_run(struct state *s, uint64_t pc);
/* The same, but stops in front of the instruction at `stop`, if it gets there. */
struct left world_run_until(struct state *s, uint64_t pc, uint64_t stop);
/* world_run, but what the slots say of an exit on its way stays. */
struct left world_resume(struct state *s, uint64_t pc);
/* world_run with the trap flag set: fn is told of each instruction before it runs, until it returns false. From a signal
 * handler. */
struct left world_run_stepped(struct state *s, uint64_t pc, bool (*fn)(uint64_t pc, const struct state *s));
/* An int3 where fn says so is a stop, as that of world_run_until. NULL: none. */
void world_set_stops(bool (*fn)(uint64_t pc));
/* The last run took a good part of the time after which it would have been a hang. */
bool world_was_slow(void);
/* Where bytes of the text or of a cache are written: they are executable and not writable, so that a program that goes
 * astray cannot change itself. */
static inline uint8_t *world_writable(uint64_t at)
{
    return (uint8_t *)(uintptr_t)(at + WORLD_ALIAS);
}
/* What the program finds there looks at the flags. */
bool world_pad_reads_flags(unsigned i);

static inline uint64_t world_pad(unsigned i)
{
    return WORLD_PADS + i * WORLD_PAD_STRIDE;
}

/* Further pages of data, part of the memory from now on; forgets those before. */
void world_extra_set(int count, const uint64_t *pages);
int world_extra_count(void);
uint64_t world_extra_page(int i);

/* The pages that are part of the memory, and the read-only data, have numbers; -1: none of them. */
int world_page_find(uint64_t address);
/* Accesses to these pages fault, those to all others do not. */
void world_deny(uint32_t pages);
#define WORLD_ALL_PAGES 0xfffffffu

void world_memory_set(const struct memory *m);
void world_memory_get(struct memory *m);
void world_memory_copy(struct memory *to, const struct memory *from);
/* Vector, x87 and mask state that a program can tell apart. */
bool world_vectors_equal(const struct state *a, const struct state *b);
/* Writes a line on the difference of two states to stderr, named a and b. */
void world_vectors_print(const struct state *a, const struct state *b);
bool world_has_avx2(void);
bool world_has_avx512(void);

#endif
