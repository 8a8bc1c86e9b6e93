/* CPU samples for residency: where the controlled thread spends its user-mode time.
 *
 * A perf event on the software cpu-clock writes pcs into a ring (perf_event_open(2)); nothing interrupts the
 * program and no signal is used. The descriptor is closed at once: the mapping keeps the event alive.
 * Where perf is refused there are no samples, and the report says so. */
#ifndef REHEAT_SAMPLER_H
#define REHEAT_SAMPLER_H

#include "runtime/base/types.h"
#include "runtime/proto.h"

/* Starts sampling the calling thread at `rate` per second of user CPU time. */
enum proto_sampler sampler_start(uint64_t rate);
/* Stops and unmaps. In a forked child: forgets the parent's ring. */
void sampler_stop(void);
bool sampler_pending(void);
/* Calls fn for each sample since the last drain; returns how many were lost. */
uint64_t sampler_drain(void (*fn)(uint64_t pc));

#endif
