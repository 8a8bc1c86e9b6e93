/* The code under test: a trace optimized and lowered into the world's cache, and one run of it. */
#ifndef REHEAT_FUZZ_SUBJECT_H
#define REHEAT_FUZZ_SUBJECT_H

#include "fragcache/lower.h"
#include "tests/fuzz/program.h"
#include "tests/fuzz/rng.h"

struct knobs {
    bool alone, others; /* ir.alone, ir.others */
    enum place place; /* PLACE_FAR: fragments out of reach of the text's data */
    uint32_t passes;  /* ir.passes, ir.bisect, ir.unroll */
    int bisect, unroll;
    bool made, peek,
        constants; /* whether passes may make instructions, look at exits' code, rely on read-only data */
    bool chain, native; /* ir.targets_of knows where branches may go; ir.native */
    bool abi;      /* flags, r10 and r11 are dead where an indirect branch leads to */
    uint32_t cpu;  /* ir.cpu */
    uint32_t roll; /* where a wrong pass errs */
    const char *broken; /* a wrong pass, of breaks.h; NULL: none */
    const char *broken_recipe; /* a wrong recipe, of breaks_recipe.h; NULL: none */
    bool native_exits; /* exits jump to the program's own code */
};

struct subject {
    struct ir ir;
    struct lowered out;
    struct cache_pc at;
    struct code_region region;
    bool abi; /* of the knobs */
};

#define ABI_GPR_DEAD (1u << 10 | 1u << 11)

/* Random settings of the pipeline. */
struct knobs knobs_choose(struct rng *r);

/* Any reason of the optimizer or the lowering. The subject lives until the next one. */
rc_t subject_make(const struct built *b, const struct knobs *k, struct subject *s);
/* Back edges lead to the fragment itself, or to their stubs. */
void subject_link(const struct subject *s, bool linked);

enum entry_way { ENTER_DIRECT, ENTER_LOOKUP };
/* What there is at an entry of the fragment, *pc, when the program is in state s. */
void subject_enter(const struct subject *sub, enum entry_way way, struct state *out, const struct state *s,
                   uint64_t *pc);
/* Enters the fragment with s. Where it leaves is in left: LEFT_EXIT and LEFT_LOOKUP have a target. */
struct left subject_run(const struct subject *sub, struct state *s, enum entry_way way);
/* The same, stopped in front of one of its instructions, if it gets there; `roll` says which. */
struct left subject_run_until(const struct subject *sub, struct state *s, unsigned roll);
/* Where the fragment's instructions begin, with its lookup entry, misses and stubs. */
struct subject_insn {
    uint32_t at; /* offset */
    uint8_t len;
    bool in_memory; /* reads or writes it */
};
#define SUBJECT_MAX_INSNS (1 << 15)
/* Into out, SUBJECT_MAX_INSNS; returns how many. */
int subject_insns(const struct subject *sub, struct subject_insn *out);
/* Makes s, as it was when the fragment was stopped or faulted at a cache pc, the program's state; *pc is where the program
 * is then. False: the fragment does not know. */
bool subject_recover(struct state *s, uint64_t cache, uint64_t *pc);
/* Registers that the optimizer calls dead at an app pc: code may borrow them, and a fault shows that. */
unsigned subject_dead(const struct subject *sub, uint64_t pc);
/* Registers that the code at `target`, where the subject may leave to, writes before it reads them: until then they may
 * hold anything, and a fault shows that. */
unsigned subject_dead_at_exit(const struct subject *sub, uint64_t target);
/* The subject leaves to `target` behind an indirect branch that it has a chain for. */
bool subject_chains_to(const struct subject *sub, uint64_t target);
/* It has returns that go where their call came from, unread. */
bool subject_takes_returns(const struct subject *sub);
/* The instruction at pc stands for a copy of it, too, where the program came from the other side of a branch. */
bool subject_shared(const struct subject *sub, uint64_t pc);

#endif
