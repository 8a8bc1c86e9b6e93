/* Adoption, under control=sampled: leading the program's own code into a fragment and back out.
 *
 *   trace --adopt_prepare: a site on its path, a loop rotated to it--> fragment --adopt_hook--> entered natively
 *
 *   ADP-1  hooks are set, and fragments' memory is used again, only while the process has one thread; otherwise several.h.
 *   ADP-2  before text may change, every hook is out and every fragment is gone.
 *
 * What is taken up is policy.h's from then on.
 *
 * Lock held, outside signal handlers. */
#ifndef REHEAT_ADOPT_H
#define REHEAT_ADOPT_H

#include "fragcache/cache.h"
#include "fragcache/hook.h"
#include "tracer/record.h"

/* Once: whether fragments are tried, or all kept. */
void adopt_init(bool trial);
/* Finds where the trace of *n instructions can be entered and, if that is not its head, rotates it, or lets it begin later. `site` is then filled. A decline
 * reason when there is no such place; RC_OK with site->len == 0 when only links from other fragments lead here and
 * that is enough. */
rc_t adopt_prepare(struct trace *t, struct insn *insns, int *n, struct site *site);
/* True when it leads from one fragment back into what another was made from: what it gains, they gain. */
bool adopt_connects(const struct trace *t);
/* Hands the variants of a fragment that were emitted held over to the policy. Its set is then 0, and it may be entered, or it waits
 * for its trial. The hook's reasons. */
rc_t adopt_take(struct fragment *const *variants, int n, const struct site *site);
/* ADP-2. False when it cannot be done: another thread may be inside. */
bool adopt_withdraw(void);
/* Hooks in the program's text now. */
uint64_t adopt_hooks(void);
/* True when the process has no other thread (proc(5), /proc/self/task). */
bool adopt_alone(void);

#endif
