/* A fragment stopped at each of its instructions, and each of its accesses to memory made to fault.
 *
 * The program runs natively from a state, and it is noted what its registers and its memory are before each instruction:
 * its trail. Then the fragment runs from the same state, instruction by instruction. In front of each, the program's state
 * is recovered (fc_recover), and
 *
 *   boundary  it is one of the trail, not before the last one, but for registers that are dead there; and the program's own
 *             code, going on from it, ends as it did
 *   fault     each page that the instruction accesses is denied: it faults, and its state is recovered; the program's own code,
 *             with the same page denied, faults at the recovered pc, the same address, with the same registers, vectors
 *             and memory; and with the page back, it goes on to the same end */
#ifndef REHEAT_FUZZ_WALK_H
#define REHEAT_FUZZ_WALK_H

#include "tests/fuzz/compare.h"

struct walk_counts {
    uint64_t insns, reached; /* of all fragments; those in front of which some walk stopped */
    uint64_t boundaries, faults;
    uint64_t again;  /* faults on a page that the same instruction of the program had accessed before */
    uint64_t beyond; /* boundaries where the trail had been given up as too long */
};

struct walk_failure {
    const char *what;
    uint64_t at, recovered; /* cache pc; app pc, 0: none */
    struct comparison c;    /* the two runs that differ */
};

/* Before the walks of a fragment. */
void walk_begin(const struct subject *sub, struct walk_counts *counts);
/* One state of the subject, entered that way; laps end the walk unless way.linked. V_SKIPPED when nothing can be said, as
 * in compare_run; V_DIFFERENT fills in *out. */
enum verdict walk(const struct subject *sub, const struct state *s, const struct memory *m, struct way way,
                  struct walk_counts *counts, struct walk_failure *out);

#endif
