/* The trace recorder: next executing tail (NET; Duesterwald and Bala, ASPLOS 2000).
 *
 * From a hot head on, each block that runs is noted with where it went, until the path closes, meets
 * another fragment, turns backward to what may be another head, becomes unpredictable, or hits a limit.
 *
 *   idle --rec_start--> recording --rec_step: REC_DONE--> idle (trace complete)
 *                           +-------rec_abort-----------> idle
 *
 * Where the indirect branches of a thread go round and round (path.h), as an interpreter's do in a loop of the program that
 * it interprets, the path is the whole round: it passes its own head several times, and closes when the round does.
 */
#ifndef REHEAT_RECORD_H
#define REHEAT_RECORD_H

#include "tracer/interp.h"
#include "tracer/path.h"

#define TRACE_MAX_BLOCKS 256

enum trace_end {
    TRACE_LOOP, /* back to the head */
    TRACE_DIRECT, /* leaves to `exit`, known in advance */
    TRACE_INDIRECT, /* leaves through the last block's indirect branch, anywhere */
    TRACE_BEFORE /* leaves to its last instruction, which runs natively */
};

struct trace_step {
    struct app_pc pc, next; /* the block: [pc, next) */
    struct app_pc went; /* where it continued */
    bool taken;
};

struct trace {
    struct app_pc head, exit;
    enum trace_end end;
    int steps, insns;
    struct trace_step step[TRACE_MAX_BLOCKS];
};

enum rec_verdict { REC_MORE, REC_DONE };

struct recorder {
    bool active;
    int max_insns;
    int depth; /* calls in the trace that have not returned yet */
    int open_step; /* depth > 0: the step that ends in the outermost of them */
    bool native; /* traces are left to native code: a return that the trace did not call stays the program's own, so
                    that the CPU's return predictor stays in step; and so does a restless indirect branch, and a call that
                    the trace does not return from */
    bool restless; /* the last trace ended at a restless branch, when too little was known of a round */
    uint32_t round; /* indirect branches in the round that is being recorded; 0: none */
    int round_step; /* the step that ends in the first restless one of them */
    uint32_t passed; /* unmatched indirect branches in the trace */
    struct path path;
    struct trace trace;
    uint16_t insns[TRACE_MAX_BLOCKS]; /* of each step */
};

void rec_start(struct recorder *r, struct app_pc head, int max_insns);
void rec_abort(struct recorder *r);
/* True when the block that is about to run must not be part of the trace: the trace ends before it. */
bool rec_stops_before(const struct recorder *r, const struct block *b);
/* Ends the trace with a direct exit to `exit`. */
void rec_finish_direct(struct recorder *r, struct app_pc exit);
/* Notes that `b` has run and went to `o`. */
enum rec_verdict rec_step(struct recorder *r, const struct block *b, struct outcome o);

/* Why a trace may not start or continue in b; RC_OK when it may. */
rc_t rec_may_contain(const struct block *b);

/* Decodes the instructions of a recorded trace, in order, from our own address space. Returns how many, or 0
 * when they do not fit in `max` or no longer decode as they ran. */
int trace_decode(const struct trace *t, struct insn *out, int max);

#endif
