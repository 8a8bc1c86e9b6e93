/* The stat page: what a reheated process shows to the outside.
 *
 * One shared file mapping per process, PROTO_DIR/<pid>, written by the runtime only and read by the
 * reheat program while the process runs and after it ended, however it ended. This header is its only
 * definition; PROTO_VERSION changes with every change of layout.
 *
 *   PROTO-1  magic is written last: a reader that sees it sees a whole header.
 *   PROTO-2  every counter only grows, except fragments_live, cache_used, links, hooks, hooks_live and hooks_stuck.
 *   PROTO-3  strings are always terminated; a slot of top[] with id 0 is empty.
 */
#ifndef REHEAT_PROTO_H
#define REHEAT_PROTO_H

#include <stddef.h>
#include <stdint.h>

#define PROTO_MAGIC 0x31544145484552ULL /* "REHEAT1" */
#define PROTO_VERSION 5
#define PROTO_DIR_FORMAT "/dev/shm/reheat-%u" /* argument: the user id */
#define PROTO_REASONS 64
#define PROTO_TOP 64
#define PROTO_PATH 256
#define PROTO_NAME 64
#define PROTO_PASSES 24 /* at most */
#define PROTO_TACTICS 3 /* fragcache/site.h: long, pun, several */

#define REHEAT_VERSION "0.1.0"

enum proto_state { PROTO_FRAG_EMPTY, PROTO_FRAG_LIVE, PROTO_FRAG_RETIRED };
enum proto_kind { PROTO_KIND_LOOP, PROTO_KIND_STRAIGHT };

struct proto_fragment {
    uint32_t id; /* from 1 */
    uint8_t state; /* enum proto_state */
    uint8_t kind; /* enum proto_kind */
    uint16_t why; /* index into reasons when retired */
    uint32_t insns_in, insns_out; /* counts */
    uint32_t bytes_in, bytes_out;
    uint64_t offset; /* of the tag within the module's file mapping, as objdump shows it */
    uint64_t samples; /* CPU samples whose pc was in it */
    uint64_t entries; /* entries through the dispatcher; linked entries are not counted */
    int32_t gain_ppm, gain_error_ppm; /* of the trial it was kept in: ln(native / kept) of the whole thread's CPU time,
                                         and its standard error, in millionths; 0, 0: no trial */
    char module[PROTO_NAME]; /* base name of the file */
    char symbol[PROTO_NAME]; /* nearest dynamic symbol, or empty */
};

/* What trials found kept fragments to gain, as gain_ppm of the page, shared out among passes (runtime/gains.h). */
struct proto_gain {
    uint64_t fragments; /* kept */
    int64_t measured_ppm, shared_ppm;
};

struct proto_page {
    uint64_t magic;
    uint32_t version;
    uint32_t bytes; /* sizeof(struct proto_page) */
    uint32_t pid;
    uint32_t running; /* 1 until the process is seen to exit */
    uint32_t control; /* index into the choices of the option */
    uint32_t sampler; /* enum proto_sampler */
    char exe[PROTO_PATH];

    uint64_t cpu_ns; /* user+system time of the process when last updated */
    uint64_t runtime_ns; /* CPU time spent in the runtime: translation and dispatch */

    uint64_t samples_fragment, samples_native, samples_runtime;
    uint64_t samples_lost;

    uint64_t samples_why[PROTO_REASONS]; /* native ones, by rc_t: what became of the code they are in (runtime/native.h) */

    uint64_t traces_recorded;
    uint64_t traces_declined[PROTO_REASONS]; /* by rc_t */

    uint64_t fragments_live, fragments_emitted, fragments_retired, flushes;
    uint64_t insns_in, insns_out; /* over all emitted fragments */
    uint64_t links; /* exits linked now */
    uint64_t hooks; /* hooks in application text now */
    uint64_t cache_used, cache_capacity; /* bytes */
    uint64_t blocks, block_runs; /* copies made; block executions dispatched */
    uint64_t fragment_runs; /* entries from the dispatcher */
    uint64_t lookup_misses; /* indirect branches that came back to the dispatcher */

    uint64_t hooks_set[PROTO_TACTICS], hooks_live[PROTO_TACTICS];
    uint64_t hooks_refused[PROTO_REASONS]; /* by rc_t */
    uint64_t hooks_stuck, hook_traps; /* with an int3 for good, now; threads that met an int3 */

    uint32_t bailout_reason; /* rc_t; 0: did not happen */
    uint32_t sampler_reason; /* rc_t: why the sampler is not perf; 0: nothing was refused */
    uint32_t write_ways; /* PROTO_WRITE_*, by which code was written */
    uint32_t faults; /* calls that the option `fail` let fail */
    uint64_t bailout_cpu_ns; /* process CPU time when it happened */

    uint32_t sampler_rate; /* perf samples a second of user CPU time now; 0: no perf */
    uint32_t phase; /* enum proto_phase, when last updated */

    uint64_t trials[4]; /* ended: without a verdict, kept, slower, neutral */
    int64_t gain_ppm; /* of all that was kept, as in proto_fragment */
    uint64_t slices, slice_ns; /* CPU time in them, and what trials cost */
    uint64_t changes[PROTO_PASSES]; /* made by each pass of optimizer/passes.def */
    struct proto_gain gains[PROTO_PASSES]; /* of each pass */
    struct proto_gain layout; /* of kept fragments that no pass changed */

    uint64_t verified, verify_skipped, mismatches; /* entries: the same, not comparable, different */
    uint32_t mismatch_id, mismatch_passes; /* the first fragment; bits of all passes that changed such fragments */

    struct proto_fragment top[PROTO_TOP]; /* hottest first after an update */
};

enum proto_sampler { PROTO_SAMPLER_NONE, PROTO_SAMPLER_PERF_HW, PROTO_SAMPLER_PERF_CLOCK, PROTO_SAMPLER_TIMER };

/* Of control=sampled (runtime/policy.h). */
enum proto_phase { PROTO_PHASE_NONE, PROTO_PHASE_LOOK, PROTO_PHASE_GATHER, PROTO_PHASE_TRIAL, PROTO_PHASE_REST };

enum { PROTO_WRITE_MEM = 1, PROTO_WRITE_PAGE = 2 };

/* Name and text of reason rc, or NULL when there is none of that number. Any thread, async-signal-safe. */
const char *proto_reason_name(unsigned rc);
const char *proto_reason_text(unsigned rc);
/* Name of pass number i of optimizer/passes.def, or NULL. */
const char *proto_pass_name(unsigned i);

/* Writes the report of `page` as one JSON object through `put`. No allocation, async-signal-safe as far as
 * `put` is. Every key of the documented set is present; what is not known is null. */
typedef void proto_put(void *arg, const char *text, size_t len);
void proto_write_json(const struct proto_page *page, proto_put *put, void *arg);

#endif
