/* Recorded traces of real programs, run on states of our own.
 *
 * The file: records, one after another, little-endian, without padding.
 *
 *   char     magic[8]      "rhtrace1"
 *   uint32_t end           enum trace_end
 *   uint32_t steps, insns
 *   uint32_t bytes         of what follows `exit`: steps * 32 + insns * 24
 *   uint64_t head, exit    app pcs; exit is 0 unless the end is TRACE_DIRECT
 *   steps times: uint64_t pc, next, went; uint8_t taken; uint8_t zero[7]
 *   insns times: uint64_t pc; uint8_t len; uint8_t bytes[15], zero behind len
 *
 * Each module of a trace is moved to an address of ours, so that distances within it stay. What is not on the path is
 * int3. Registers and memory are random pointers into the arena and small numbers; a state that gets far is changed a
 * little for the next run. */
#ifndef REHEAT_FUZZ_REPLAY_H
#define REHEAT_FUZZ_REPLAY_H

#include <stdint.h>

#include "tests/fuzz/compare.h"

struct replay_counts {
    uint64_t records, skipped, declined, runs, faults, deep; /* deep: runs that went half the path or more */
    uint64_t
        slots; /* runs that overwrote a return slot through a pointer that is not rsp or rbp, and differed */
    uint64_t mismatches;
};

/* Runs each record `states` times. Prints the first mismatch of each trace. False when the file is no such file. */
bool replay_file(const char *path, uint64_t seed, unsigned states, struct replay_counts *counts);

/* Calls fn for each record that can be replayed, with its text and its data in place. False when the file is no such
 * file. */
typedef void replay_fn(const struct built *b, struct rng *r, void *arg);
bool replay_each(const char *path, uint64_t seed, replay_fn *fn, void *arg);
/* Within fn: of `tries` states, the one that goes farthest on the path natively. */
void replay_deep_state(struct rng *r, unsigned tries, struct state *s, struct memory *m);
/* Within fn: the difference is one that the optimizer takes not to happen, a return slot written through a pointer. */
bool replay_slot_was_hit(const struct comparison *c, const struct subject *sub);

#endif
