/* The trial: every fragment must prove that it is faster than the code it replaces.
 *
 *     hook --> gate --> [cell] --> count stub A --> fragment             (its back edge leads to the hook again)
 *                              \-> count stub B --> displaced instruction --> the program's own code
 *
 * A tick decides by chance which arm the next window uses. Both arms pass the hook, the gate and a stub once for each
 * entry, or iteration of a loop, so both pay the same for being measured. An arm's cost is the CPU samples
 * in the fragment, its stubs and the text it was made from, divided by entries.
 *
 *   verdict   when                                                         then
 *   kept      faster, KEEP_Z standard errors                               hook leads to the fragment, links are made
 *   slower    slower, DROP_Z standard errors                               unhooked and retired; the head is declined
 *   neutral   neither after MOST_SAMPLES samples or MOST_NS of CPU time    the same
 *
 * Samples are counts, so the logarithm of the ratio of two rates has variance 1/a + 1/b. The test is
 * looked at after every window; KEEP_Z is high to make up for that.
 *
 *   TRL-1  a fragment on trial is entered through its hook only.
 *   TRL-2  all samples since an arm was chosen are counted for it before the next is chosen.
 *   TRL-3  no two trials share text.
 *
 * Unfinished: windows follow each other without a rest, so a fragment that stays neutral costs its stub's time until
 * its deadline; the setting is off. */
#ifndef REHEAT_TRIAL_H
#define REHEAT_TRIAL_H

#include "fragcache/cache.h"
#include "fragcache/hook.h"

/* Starts the trial of a fragment that was emitted held; `site` is where its hook goes. */
rc_t trial_begin(struct fragment *f, struct hook *h, const struct site *site);
/* Counts a sample for the trial whose fragment or text holds pc, if any. */
void trial_sample(uint64_t pc);
/* After the samples were drained: judges, and chooses the next window's arms. Signals blocked, lock held. */
void trial_tick(void);
/* Everything is withdrawn: forgets all trials. */
void trial_forget(void);
bool trial_any(void);
/* Text of [start, end) belongs to a trial; another one there would disturb both. */
bool trial_overlaps(uint64_t start, uint64_t end);
/* No further trial can begin now. */
bool trial_full(void);

#endif
