/* The trial: fragments must prove that they are faster than the code they replace.
 *
 *   block:   | native | fragment |        one window for each arm, in random order; a window lasts some milliseconds of
 *            | fragment | native |        CPU time. Native means that the text is the program's own, byte for byte.
 *
 * A window's cost is its CPU time divided by the ticks of a work clock (workclock.h), so what is compared is the speed of the
 * whole thread on the same work: what a fragment does to the rest of the program counts, and the gain is the
 * program's. Statistics: verdict.h.
 *
 * Before the first block a native window shows how fast the clocks tick: those that are too fast go, and where only an outer loop's
 * are left, which tick some hundred times a second, windows last as many ticks as are needed (up to 40 ms). A long window that
 * already cost more than a trial may is the last one. Arms that are surely behind another get no further windows.
 *
 * A loop outside of which nothing runs has no clock: its iterations are counted instead. Its hook then leads through a
 * counting stub on both arms, each iteration passes the hook, and windows are followed by a rest. What that costs each arm is
 * known badly in an interpreter's dispatch: the gain must be large there.
 *
 *   TRL-1  between trials, and for what they rest, the arm is native.
 *   TRL-2  what is not shown to be faster is never kept.
 *   TRL-3  while the process has more than one thread no window runs: there are no ticks (slice.c).
 *   TRL-4  a window begins with the thread in its own code (slice.c): no loop of the arm before goes on in it.
 *
 * Lock held. One trial at a time; it may be of many candidates together. */
#ifndef REHEAT_TRIAL_H
#define REHEAT_TRIAL_H

#include "runtime/candidate.h"
#include "runtime/verdict.h"
#include "runtime/workclock.h"

#define TRIAL_MEMBERS 64

enum trial_state { TRIAL_IDLE, TRIAL_RUNS, TRIAL_DECIDED };

struct trial_result {
    enum verdict verdict;
    int arm; /* of VERDICT_FASTER */
    struct estimate gain; /* of the whole thread: ln(native / arm) */
    struct estimate each[CANDIDATE_ARMS]; /* the same of each arm, when it was last looked at; n 0: never */
    uint64_t cpu_ns; /* it took */
    uint64_t cost_ns; /* of CPU time: clocks, signals, slower arms */
    int blocks, clocks;
    int unset; /* members that could not be entered: their arms were native */
    int32_t spread; /* ln units; how far windows of an arm lie from each other, on the average */
    bool no_clock; /* there was nothing steady to compare with */
    enum workclock_source source; /* of its clocks; NONE: counted */
    bool idle; /* they do not tick often enough, or much too often: no verdict, others may do */
    bool counted; /* iterations, for want of another clock */
};

/* Begins with n candidates, all on arm 0; those with fewer variants than others stay native in the arms they lack.
 * Clocks are of `source` or a later one. RC_NO_CLOCK: there is none. Outside signal handlers. */
rc_t trial_begin(struct candidate *const *members, int n, enum workclock_source source);
/* At a CPU-time signal, `now` the thread's CPU time: closes the window, opens the next. *wait: nanoseconds to the next.
 * `spare`: nanoseconds that this trial may cost without being spread out; what is found early is kept early. */
enum trial_state trial_tick(uint64_t now, uint64_t spare, uint64_t *wait);
/* A decided trial's result; the trial is over, all arms native. */
struct trial_result trial_end(void);
/* Ends it without a verdict. */
void trial_abort(void);
/* Everything was withdrawn. */
void trial_forget(void);

#endif
