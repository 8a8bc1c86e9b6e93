/* CPU samples for residency: where a controlled thread spends its user-mode time.
 *
 * A perf event on the software cpu-clock writes pcs into a ring (perf_event_open(2)); nothing interrupts the
 * program and no signal is used. The descriptor is closed at once: the mapping keeps the event alive.
 * Where perf is refused there are no samples, and the report says so. */
#ifndef REHEAT_SAMPLER_H
#define REHEAT_SAMPLER_H

#include "runtime/base/types.h"
#include "runtime/proto.h"

struct perf_event_mmap_page;
struct sampler {
    struct perf_event_mmap_page *ring; /* NULL: not sampling */
    uint32_t ring_bytes; /* of the data part, a power of two */
};

/* Starts sampling the calling thread at `rate` per second of user CPU time; 0: no sampling. */
enum proto_sampler sampler_start(struct sampler *s, uint64_t rate);
/* Stops and unmaps. */
void sampler_stop(struct sampler *s);
/* In the child of a fork: rings are not inherited, and something else may lie there by now. */
void sampler_forget(struct sampler *s);
/* Calls fn for each sample since the last drain; returns how many were lost. */
uint64_t sampler_drain(struct sampler *s, void (*fn)(uint64_t pc));

#endif
