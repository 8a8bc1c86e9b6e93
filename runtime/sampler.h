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
/* Stops and unmaps; also forgets a ring inherited from the parent of a fork. */
void sampler_stop(struct sampler *s);
bool sampler_pending(const struct sampler *s);
/* Calls fn for each sample since the last drain; returns how many were lost. */
uint64_t sampler_drain(struct sampler *s, void (*fn)(uint64_t pc));

#endif
