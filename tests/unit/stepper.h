/* Programs run one instruction at a time (the trap flag, a SIGTRAP handler), natively, from fragments or from copies of
 * blocks. At each instruction of ours the state is recovered, the program's own code runs from there to its end, and what
 * comes of it is compared with the native run: registers, flags, data, stack. Programs are those of machine.h. */
#ifndef REHEAT_UNIT_STEPPER_H
#define REHEAT_UNIT_STEPPER_H

#include "tests/unit/unit.h"

#include "tests/unit/machine.h"
#include "tracer/block.h"

#define STEP_STOP       0x1234560ULL /* where programs end; mapped nowhere */
#define STEP_TEXT_BYTES 4096u
#define STEP_FAR        0x7ff00000ULL /* of the text: rip reaches it there, and not from the cache */
#define STEP_MAX_PATH   400

enum step_visit { STEP_COMPARE, STEP_RECORD, STEP_ENTER };

struct stepper {
    enum step_visit visit;
    uint64_t text, head;
    struct app_pc path[STEP_MAX_PATH]; /* STEP_RECORD: from head until it is reached again */
    int path_count;
    bool enter; /* fragments, where they begin */
    bool looked_up; /* by their lookup entry */
    bool blocks; /* copies of blocks, everywhere */
    unsigned entered, in_cache, steps;
    uint64_t before; /* the program's instruction that just ran; 0: it was ours */
    unsigned dead; /* registers that may differ */
    uint64_t enter_flags;
    uint64_t stub; /* leads to the fragment; 0: none */
    const char *failed;
    uint64_t failed_at;
};
extern struct stepper stepper;

struct step_kind {
    uint16_t flags_dead, gpr_dead; /* of guards and lookups */
    bool computed; /* all passes run, and what is dead is what the liveness analysis says */
    bool promoted; /* the same, and slots are promoted; as recorded, not unrolled */
    bool invariant; /* the same, and what comes of them is computed in front */
    bool chained; /* branches have chains of where they went in step_load's run; fewer passes run otherwise */
    bool cut; /* traces end at the first indirect branch that they do not return from */
};

/* Once. */
void step_init(void);
struct tls_slots *step_slots(void);
struct code_region *step_region(void);
/* Loads the program and runs it natively, for reference. */
void step_load(uint64_t at, const uint8_t *start, const uint8_t *end);
/* Steps through all of it; `enter`: its fragments, where they begin. STEP_ENTER: through the region's enter at `head`. */
void step_run(enum step_visit visit, bool enter, uint64_t head);
/* How the last run's result differs from the reference; NULL: it does not. */
const char *step_difference(void);
/* step_run, and fails when it differs. */
void step_compare(const char *way);
/* The fragment of the path that runs from head on. */
struct fragment *step_emit(uint64_t head, const struct step_kind *k);

#endif
