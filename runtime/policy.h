/* Policy of control=sampled: when a thread is looked at, what is put on trial together, what is kept.
 *
 *            slices find fragments             ripe: enough samples
 *     LOOK ------------------------> GATHER -------------------------> TRIAL
 *      ^ ^ |                                                             |
 *      | +-|-------- kept: look on at once ------------------------------+
 *      |   | barren: nothing is found                                    | nothing was kept (a set that has several members
 *      |   v                                                             v  and did not gain is first split, each part tried)
 *      +--REST: longer after each time in vain, up to a minute <---------+
 *
 * Many samples are wanted in GATHER only. In REST there is no signal but the one at its end.
 *
 *   POL-1  what slices and trials cost is one account, under a budget that grows with the thread's CPU time; what was kept earns
 *          a part of what it gains, up to a hundredth of the time.
 *   POL-2  a head that lost is not recorded again before REST has been left often enough (its penalty doubles).
 *   POL-3  with trial=0 everything is kept at once, and short paths and flat code are taken up too: coverage is what it is for.
 *
 * Lock held. */
#ifndef REHEAT_POLICY_H
#define REHEAT_POLICY_H

#include "fragcache/site.h"
#include "runtime/gains.h"
#include "runtime/options.h"
#include "runtime/proto.h"

struct fragment;

struct policy_stats {
    int64_t gain; /* sum over what was kept of ln(native / kept), in 1/65536: of the whole thread */
    uint64_t trials[4]; /* by enum verdict */
    uint64_t slices, spent; /* CPU time in them, and what trials cost */
    struct gains gains;
};

void policy_init(const struct options *o);
/* At a CPU-time signal: `now` the thread's CPU time; in_code: its pc is in code of ours. True: a slice is to begin. Otherwise *wait nanoseconds of CPU
 * time until the next signal. */
bool policy_tick(uint64_t now, bool in_code, uint64_t *wait);
/* Within a slice: what trials left to do, before it and at its end; returns nanoseconds until the next signal. */
void policy_slice_begins(void);
/* False: the slice is only to see what has become of samples and trials. */
bool policy_in_budget(uint64_t now);
/* Since the last slice: the next one waits for the budget. */
bool policy_waits(void);
uint64_t policy_slice_ends(uint64_t began, uint64_t now);
/* Variants of a fragment were emitted that can be entered at `site` (len 0: by links only). */
rc_t policy_take(struct fragment *const *variants, int n, const struct site *site);
bool policy_on_trial(void);
/* No further fragment is wanted now. */
bool policy_full(void);
/* A CPU sample, wherever it fell. */
void policy_sample(uint64_t pc);
enum proto_phase policy_phase(uint64_t now);
/* It is samples that are waited for. */
bool policy_wants_samples(void);
struct policy_stats policy_stats_get(void);
/* In a forked child: CPU time begins again; a trial of its parent is over. */
void policy_forked(void);
/* Another thread is looked at: CPU time, `from` the last one's, is `to`. A trial is over. */
void policy_moves(uint64_t from, uint64_t to);
/* Everything was withdrawn. */
void policy_forget(void);

#endif
