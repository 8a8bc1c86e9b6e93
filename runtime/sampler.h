/* CPU samples: where a thread spends its user-mode time.
 *
 *   perf cycles      a perf event on hardware cycles writes pcs into a ring (perf_event_open(2)), where there is a PMU
 *   perf cpu-clock   the same on the kernel's high-resolution CPU clock; see sampler_spare_clock
 *   timer ticks      otherwise: the pcs at which the CPU-time signal of control=sampled found the thread
 *   none             and sampler_refusal() says why
 *
 * Nothing interrupts the program for the first two and no signal is used; the descriptor is closed at once, the mapping keeps
 * the event alive. The rate of an event cannot be changed without its descriptor: sampler_set_rate makes another. Under a
 * system call filter perf is not tried: the filter may kill for it.
 *
 * A perf sample is an interrupt of its own, which under some hypervisors costs 20 us; a tick of the CPU-time timer comes with
 * the kernel's own tick, and so no sooner, for next to nothing.
 *
 * A sampler belongs to one thread, which starts it; sampler_tick is for its signal handler, the rest needs the
 * runtime's lock and blocked signals. */
#ifndef REHEAT_SAMPLER_H
#define REHEAT_SAMPLER_H

#include "runtime/base/rc.h"
#include "runtime/base/types.h"
#include "runtime/proto.h"

#define SAMPLER_TICKS 256u /* a power of two */

struct perf_event_mmap_page;
struct sampler {
    struct perf_event_mmap_page *ring; /* NULL: no perf */
    uint32_t ring_bytes;               /* of the data part, a power of two */
    bool ticking;
    uint32_t tick_head, tick_tail; /* counts; written by the thread, and by who drains */
    uint64_t ticks[SAMPLER_TICKS];
};

/* Somebody will call sampler_tick: refused samplers make do with ticks. */
void sampler_expect_ticks(bool yes);
/* Where ticks come, the cpu-clock event is not used: as an interrupt of its own it costs up to 7 % at 1000 per second. */
void sampler_spare_clock(bool yes);
/* Starts sampling the calling thread at `rate` per second of user CPU time; 0: no perf. What became of it. */
enum proto_sampler sampler_start(struct sampler *s, uint64_t rate);
/* Another rate for the calling thread, whose sampler was drained just before. About 30 to 60 us. When it is refused
 * the old rate stays. */
enum proto_sampler sampler_set_rate(struct sampler *s, uint64_t rate);
/* Why perf was refused, the first time; RC_OK: it never was. */
rc_t sampler_refusal(void);
/* Stops and unmaps. */
void sampler_stop(struct sampler *s);
/* In the child of a fork: rings are not inherited, and something else may lie there by now. */
void sampler_forget(struct sampler *s);
/* The CPU-time signal found the thread at `pc`. No effect with a ring. Async-signal-safe. */
void sampler_tick(struct sampler *s, uint64_t pc);
/* Calls fn for each sample since the last drain; returns how many were lost. */
uint64_t sampler_drain(struct sampler *s, void (*fn)(uint64_t pc));

#endif
