/* One state through the program natively and through the subject: is the end the same? */
#ifndef REHEAT_FUZZ_COMPARE_H
#define REHEAT_FUZZ_COMPARE_H

#include "tests/fuzz/subject.h"

enum verdict { V_SAME, V_SKIPPED, V_DIFFERENT };

/* How the subject is run. */
struct way {
    enum entry_way entry;
    bool linked;      /* back edges */
    bool native_laps; /* unlinked: go on natively at the head, not from the fragment */
    unsigned stop;    /* not 0: stopped somewhere; the program goes on from the recovered state */
};

struct comparison {
    struct left native, subject; /* where each ended; a subject that left to the text went on natively */
    struct state native_state, subject_state;
    struct memory native_memory, subject_memory;
    uint64_t first_exit;   /* app pc that the subject left to first; 0: it did not */
    bool by_abi;           /* it left where knobs.abi holds, or may do so natively */
    uint64_t stopped_at;   /* cache pc; 0: it was not stopped */
    uint64_t recovered_pc; /* of a fault in the fragment */
    const char *what;      /* the first difference */
};

enum verdict compare_run(const struct subject *sub, const struct state *s, const struct memory *m,
                         struct way way, struct comparison *c);
/* Of two runs that have ended as c says; c->what is the difference. */
enum verdict compare_ends(const struct subject *sub, struct comparison *c);
/* A jump to another address faults at the jump. */
bool compare_is_canonical(uint64_t pc);
/* The native run gives the same twice: nothing in it asks for the time or the like. */
bool compare_is_steady(const struct subject *sub, const struct state *s, const struct memory *m);
/* All differences, to stderr. */
void compare_print(const struct comparison *c);

#endif
