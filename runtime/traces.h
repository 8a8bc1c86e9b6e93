/* From a recorded trace to a live fragment: decode, optimize, lower, install; one log line for each, with
 * the reason when it is declined. */
#ifndef REHEAT_TRACES_H
#define REHEAT_TRACES_H

#include "fragcache/cache.h"
#include "runtime/options.h"
#include "tracer/record.h"

/* Reserves the fragment cache at the first call. */
rc_t traces_init(const struct options *o);
/* Under control=sampled the trace may be rotated, and the fragment is hooked.
 * RC_OK and the fragment; RC_CACHE_FULL when a flush would help; a decline or bail reason. */
rc_t traces_install(struct trace *t, struct fragment **out);

/* Changes that a pass (enum pass_id) has made so far. */
uint64_t traces_changes(int pass);

#endif
