#include "runtime/housekeep.h"

#include "fragcache/cache.h"
#include "fragcache/pun.h"
#include "runtime/base/sys.h"
#include "runtime/dispatch.h"
#include "runtime/log.h"
#include "runtime/native.h"
#include "runtime/policy.h"
#include "runtime/sampler.h"
#include "runtime/several.h"
#include "runtime/stats.h"
#include "runtime/thread.h"

#define WINDOW_SAMPLES 250u
#define BAIL_WINDOWS 4
#define BAIL_RUNTIME_PERCENT 40u
#define BAIL_FRAGMENT_PERCENT 50u
#define PUBLISH_SAMPLES 500u
#define PUBLISH_NS 1000000000u
#define PUBLISH_PHASE_NS 100000000u /* when the phase has changed */
#define FAST(rate) (5 * (rate)) /* of control=sampled, while samples are waited for, */
#define SLOW(rate) (((rate) + 9) / 10) /* and else */
#define START_CALLS 8u /* calls of housekeep() before a thread is sampled without a hot head */
#define BURST_FACTOR 8u
#define BURST_MIN 64u /* fragments in one window */

static struct {
    const struct options *options;
    uint64_t window_fragment, window_runtime, window_total;
    uint64_t since_publish;
    int bad_windows;
    uint64_t windows, emitted_at_window;
    long sampled_pid; /* the process whose threads the rings belong to; 0: none yet */
    uint64_t one_of, skipped; /* that are drained, so many are counted: as many a second at each rate */
    uint64_t published_ns;
    enum proto_phase phase; /* when published */
    bool finished;
} hk;

void housekeep_init(const struct options *o) { hk.options = o; }

/* Why the program runs its own code at `pc`. */
static rc_t why_native(uint64_t pc)
{
    if (near_owner(pc))
        return RC_OUTSIDE; /* what a hook has displaced */
    switch (maps_kind(app_pc(pc))) {
    case MAP_TEXT: break;
    case MAP_LOADER: return RC_LOADER;
    default: return RC_NOT_FILE_TEXT;
    }
    rc_t why = native_why(pc);
    return (why == RC_UNSEEN || why == RC_COLD) && policy_waits() ? RC_BUDGET : why;
}

static void sample_count(uint64_t pc)
{
    const struct code_region *r = code_region_find(pc);
    struct fragment *f = r && pc >= r->fragments.start ? fc_at(pc) : NULL;
    bool full = hk.options->control == CONTROL_FULL;
    policy_sample(pc);
    if (++hk.skipped < hk.one_of)
        return;
    hk.skipped = 0;
    hk.window_total++;
    if (f) {
        f->samples++;
        stats.samples_fragment++;
        hk.window_fragment++;
    } else if (r || maps_kind(app_pc(pc)) == MAP_SELF || (full && !stats.bailout_reason)) {
        stats.samples_runtime++; /* under control whatever is not a fragment is the interpreter's cost */
        hk.window_runtime++;
    } else {
        stats.samples_native++;
        stats.samples_why[why_native(pc)]++;
    }
}

static bool forked_unseen(void) { return hk.sampled_pid && sys_getpid() != hk.sampled_pid; }

/* The child of a fork that a signal handler made: the dispatcher did not see it. */
static void adopt_fork(void)
{
    thread_forked(thread_current());
    if (!several_now()) /* there may be threads by now, and with them the lock */
        thread_lock_reset();
    housekeep_forked();
}

/* Signals blocked: a handler that forks would leave its child in here with rings that are not inherited. */
void housekeep_drain(void)
{
    if (!hk.sampled_pid)
        return;
    uint64_t before = hk.window_total, mask = sys_signals_set(~0ULL);
    if (forked_unseen())
        adopt_fork();
    for (struct thread *t = thread_first(); t; t = t->next) {
        bool sampled = t->sampler_rate && hk.options->control == CONTROL_SAMPLED;
        hk.one_of = sampled ? t->sampler_rate / SLOW(hk.options->rate) : 1;
        stats.samples_lost += sampler_drain(&t->sampler, sample_count);
    }
    (void)sys_signals_set(mask);
    if (hk.window_total > before)
        hk.since_publish += hk.window_total - before;
}

void housekeep_thread_gone(struct thread *t)
{
    housekeep_drain();
    sampler_stop(&t->sampler);
}

static void sampler_note(struct thread *t, enum proto_sampler kind, uint64_t rate)
{
    t->sampler_asked = rate;
    if (kind == PROTO_SAMPLER_NONE)
        return;
    t->sampler_rate = t->sampler.ring ? rate : 0;
    stats.sampler = kind;
    stats.sampler_rate = (uint32_t)t->sampler_rate;
    hk.sampled_pid = sys_getpid();
}

void housekeep_sample(struct thread *t)
{
    if (t->sampler.ring || t->sampler_tried)
        return;
    t->sampler_tried = true;
    uint64_t rate = hk.options->control == CONTROL_FULL ? hk.options->rate : SLOW(hk.options->rate);
    uint64_t mask = sys_signals_set(~0ULL); /* a fork in here would give the child's pid to the parent's ring */
    sampler_spare_clock(hk.options->trial != 0);
    sampler_note(t, sampler_start(&t->sampler, rate), rate);
    (void)sys_signals_set(mask);
}

void housekeep_rate(struct thread *t, bool fast)
{
    uint64_t rate = fast ? FAST(hk.options->rate) : SLOW(hk.options->rate);
    if (!t->sampler.ring || rate == t->sampler_asked)
        return;
    uint64_t mask = sys_signals_set(~0ULL);
    housekeep_drain();
    sampler_note(t, sampler_set_rate(&t->sampler, rate), rate);
    (void)sys_signals_set(mask);
}

void housekeep_phase(void)
{
    uint64_t now = sys_clock_ns(THREAD_CPU), since = now - hk.published_ns;
    enum proto_phase phase = policy_phase(now);
    if (since < (phase == hk.phase ? PUBLISH_NS : PUBLISH_PHASE_NS))
        return;
    hk.phase = phase;
    hk.published_ns = now;
    stats_publish();
}

static bool traces_pay(void)
{
    uint64_t total = hk.window_total, runtime = hk.window_runtime, fragment = hk.window_fragment;
    bool bad = runtime * 100 > total * BAIL_RUNTIME_PERCENT && fragment * 100 < total * BAIL_FRAGMENT_PERCENT;
    hk.bad_windows = bad ? hk.bad_windows + 1 : 0;
    return hk.bad_windows < BAIL_WINDOWS;
}

/* True when this window formed many times more traces than the windows before it did on average. */
static bool phase_changed(void)
{
    struct fc_stats s = fc_stats_get();
    uint64_t now = s.emitted - hk.emitted_at_window;
    uint64_t average = hk.windows ? hk.emitted_at_window / hk.windows : 0;
    hk.emitted_at_window = s.emitted;
    hk.windows++;
    if (hk.windows > 8 && now > BURST_MIN && now > average * BURST_FACTOR && s.used * 2 > s.capacity)
        return true;
    return false;
}

static void window_next(void) { hk.window_total = hk.window_runtime = hk.window_fragment = 0; }

rc_t housekeep(struct thread *t)
{
    if (++t->housekeeps >= START_CALLS)
        housekeep_sample(t);
    housekeep_drain();
    if (hk.since_publish >= PUBLISH_SAMPLES) {
        hk.since_publish = 0;
        stats_publish();
    }
    if (hk.window_total < WINDOW_SAMPLES)
        return RC_OK;
    bool pay = traces_pay() || hk.options->control == CONTROL_SAMPLED;
    if (phase_changed())
        dispatch_flush_fragments(t);
    window_next();
    return pay || !hk.options->bailout ? RC_OK : RC_LOW_RESIDENCY;
}

void housekeep_bailed(rc_t reason)
{
    housekeep_drain();
    stats.bailout_reason = reason;
    stats.bailout_cpu_ns = sys_clock_ns(PROCESS_CPU);
    if (log_wants(0)) {
        char line[200];
        struct fmt f = fmt_on(line, sizeof line);
        fmt_str(&f, "bail-out: ");
        fmt_str(&f, proto_reason_text(reason));
        log_line(line);
    }
    stats_publish();
}

void housekeep_forked(void)
{
    for (struct thread *t = thread_first(); t; t = t->next) {
        sampler_forget(&t->sampler);
        t->sampler_tried = false;
        t->sampler_asked = t->sampler_rate = 0;
        t->housekeeps = 0;
    }
    hk.sampled_pid = 0;
    hk.published_ns = 0;
    window_next();
    for (struct fragment *f = fc_newest(); f; f = f->next)
        f->samples = f->entries = 0;
    stats_forked();
}

void housekeep_exit(void)
{
    if (hk.finished)
        return;
    hk.finished = true;
    housekeep_drain();
    stats_finish(hk.options);
}
