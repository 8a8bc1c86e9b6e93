/* Translation validation in the living process (verify=N): one entry in N of a fragment is run twice from the same state.
 *
 *   the fragment    its own bytes, by careful steps, until it leaves or is about to begin anew; what it wrote is taken back
 *   the program     the original instructions, by careful steps: this is what counts, whatever comes of the comparison
 *
 * The program must come to the address that the fragment left for, with the same memory written, vector state and
 * registers; registers and flags that differ must be overwritten before they are read, on the way that the program really
 * goes. If it does not, the fragment is withdrawn, and the case is written down: mismatch=FILE gets the registers, the
 * trace's and the fragment's bytes, and FILE.trace a record for replays (tests/fuzz/replay.h).
 *
 *   VER-1  after a verified entry the program's state is that of its own instructions.
 *   VER-2  only while the process has one thread; an entry that cannot be taken back (a string instruction, a system call,
 *          rdtsc) is left alone.
 *
 * Entries are those that the interpreter sees: under control=full all, for exits are not linked then; under
 * control=sampled those within slices. Lock held. */
#ifndef REHEAT_VERIFY_H
#define REHEAT_VERIFY_H

#include "fragcache/cache.h"
#include "runtime/options.h"
#include "tracer/record.h"

struct thread;

void verify_init(const struct options *o);
bool verify_on(void);
/* A fragment was emitted from this trace. */
void verify_note(struct fragment *f, const struct trace *t, const struct insn *insns, int n);
/* The fragment that starts in [from, to) and is to be verified there now, or NULL: its entries are counted here. */
struct fragment *verify_due(uint64_t from, uint64_t to);
/* The thread is at f's tag. False: nothing has happened. True: the program went on to *pc; f may be live no more. */
bool verify_entry(struct thread *t, struct fragment *f, struct app_pc *pc);
/* Runs the program's own instructions from *pc to `to`, on its straight line. False: it stays where it is. */
bool verify_reach(struct thread *t, struct app_pc *pc, struct app_pc to);

#endif
