/* Careful steps: one instruction at a time of the program's text or of a fragment, with what each store overwrites written
 * down first, so that a run can be taken back.
 *
 *   careful_begin    faults of the copies come to us, all other signals wait
 *   careful_step     copy of the instruction: run; branches: computed in C; slots of a fragment: in a copy of their own
 *   careful_undo     memory is as it was
 *   careful_end
 *
 *   CRF-1  a step that faults or cannot be made has changed nothing.
 *
 * Lock held, one thread. Vector state is the program's and stays in the CPU. */
#ifndef REHEAT_CAREFUL_H
#define REHEAT_CAREFUL_H

#include "runtime/base/context.h"
#include "tracer/decode.h"

#define STORE_MOST 64
#define STORES_MOST 512

struct store {
    uint64_t at;
    uint32_t len;
    uint8_t old[STORE_MOST], made[STORE_MOST]; /* made: filled in by careful_undo */
};

struct stores {
    int count;
    struct store list[STORES_MOST];
};

struct careful {
    uint64_t pc, end; /* bytes are read up to `end` only */
    bool text; /* of the program: under the hooks */
    struct tls_slots slots; /* those of a fragment's code */
    struct insn in; /* of the last step */
};

enum careful_result { STEP_DONE, STEP_FAULT, STEP_CANNOT };

struct thread;

/* RC_NO_MEMORY, RC_ASSERT when a signal's action cannot be set. */
rc_t careful_begin(void);
void careful_end(void);
/* Decodes what c->pc is about to run into c->in. */
enum careful_result careful_look(struct careful *c);
/* After careful_look: runs it with t's context, moves c->pc. */
enum careful_result careful_step(struct thread *t, struct careful *c, struct stores *log);
void careful_undo(struct stores *log);

#endif
