#include "runtime/trial.h"

#include "runtime/base/fmt.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/exposure.h"
#include "runtime/fit.h"
#include "runtime/log.h"
#include "runtime/several.h"
#include "runtime/workclock.h"

#define WINDOW_NS 3500000u /* with 250 ticks a second, a timer that is set again for 4 ms misses the next */
#define TOGGLE_SHARE 100u /* a window is so many times as long as switching takes */
#define MOST_NS 40000000000ULL /* of a trial */
#define MOST_COST_NS 12000000u /* that it may lose in slower arms */
#define LEAST_REST WINDOW_NS
#define HEAD_TICK_PS 500u /* where every iteration ticks; measured: 300 */
#define MOST_STARTS 4
#define THIN_BLOCKS 2
#define MOST_SPREAD (FIT_ONE / 4) /* of speed, on the average */
#define HOPELESS_SPREAD (FIT_ONE / 2)
#define PATIENCE 8 /* blocks */
#define BEHIND_ERRORS 2
/* Of all clocks in a window. A clock that counts a whole round of a program's outer loop has few: windows then last longer. */
#define ENOUGH_TICKS 32u
#define FEW_TICKS 8u
#define LEAST_TICKS 5u
#define PROBE_NS 40000000u /* to see how fast they tick; also the longest window */
#define PART_NS 7000000u /* a longer window is looked at so often */
#define SLACK_NS 2000000u /* user time, which the timer is set to, and CPU time differ */
/* What a tick may cost one arm more than another, as it runs beside other instructions in each (measured: 1.3 ns for a loop
 * of 8 ns; 0.3 ns where both arms pass the same stub in the same place). Where each iteration jumps
 * indirectly to a pun, it may mispredict each time in the native arm only (12 ns, in a loop of Lua's bytecode). */
#define TICK_BIAS_PS 2000u
#define HEAD_BIAS_PS 300u
#define PUN_BIAS_PS 13000u
#define CLAMP (2 * VERDICT_ONE)
#define CLOCKS FIT_CLOCKS

static struct {
    enum trial_state state;
    struct candidate *member[TRIAL_MEMBERS];
    int n, arms, dropped; /* dropped: bit for each arm that is out of the race */
    bool counted, resting, probing; /* probing: natively, to see how fast the clocks tick */
    int starts, unset; /* unset: members whose hook could not be set in some window */
    enum workclock_source source;
    bool used[CLOCKS];
    int order[CANDIDATE_ARMS], order_count, at; /* the block's windows */
    uint64_t since, began, cost_ns; /* CPU time of the thread; cost_ns: before it began again */
    uint64_t least_ns, window_ns; /* of a window; of this one */
    uint64_t tick_ns; /* natively between two ticks, of all clocks */
    uint64_t ticks_before[CLOCKS];
    uint64_t ticks_all, ns_all; /* of the windows so far */
    struct estimate each[CANDIDATE_ARMS]; /* at the last look */
    int16_t window[CANDIDATE_ARMS][VERDICT_MOST_BLOCKS]; /* number for fit.h; -1: the arm was out of the race */
    int windows;
    int32_t x[VERDICT_MOST_BLOCKS];
    int blocks;
    struct trial_result result;
    uint64_t chance;
} tr;

static uint32_t random_below(uint32_t n)
{
    tr.chance ^= tr.chance << 13; /* xorshift64 (Marsaglia, 2003) */
    tr.chance ^= tr.chance >> 7;
    tr.chance ^= tr.chance << 17;
    return (uint32_t)(tr.chance >> 33) % n;
}

_Static_assert(FIT_CLOCKS == WORKCLOCK_MOST + 1 && FIT_WINDOWS == CANDIDATE_ARMS * VERDICT_MOST_BLOCKS, "");

static void order_shuffle(void)
{
    tr.order_count = 0;
    for (int arm = 0; arm < tr.arms; arm++)
        if (!(tr.dropped >> arm & 1))
            tr.order[tr.order_count++] = arm;
    for (int i = tr.order_count - 1; i > 0; i--) {
        int j = (int)random_below((uint32_t)i + 1), t = tr.order[i];
        tr.order[i] = tr.order[j];
        tr.order[j] = t;
    }
    tr.at = 0;
}

static void switch_all(int arm)
{
    uint64_t mask = sys_signals_set(~0ULL);
    poke_batch_begin();
    int failed = 0;
    for (int i = 0; i < tr.n; i++) {
        int to = arm < tr.member[i]->arms ? arm : 0;
        if (tr.member[i]->arm != to || tr.counted)
            failed += candidate_switch(tr.member[i], to) != RC_OK;
    }
    poke_batch_end();
    (void)sys_signals_set(mask);
    if (failed > tr.unset)
        tr.unset = failed;
}

/* All hooks are out while the trial rests. */
static void rest(void)
{
    struct candidate *c = tr.member[0];
    if (!tr.counted) {
        switch_all(0);
        workclock_pause();
        return;
    }
    c->counted = false;
    (void)candidate_switch(c, 0);
    c->counted = true;
}

static void window_begin(void)
{
    for (int j = 0; j < CLOCKS; j++)
        if (tr.used[j])
            tr.ticks_before[j] = workclock_read(j);
    tr.since = sys_clock_ns(THREAD_CPU);
}

static void window_open(uint64_t now)
{
    switch_all(tr.order[tr.at]);
    window_begin();
    exposure_overhead(tr.since - now);
    uint64_t toggle = (tr.since - now) * TOGGLE_SHARE;
    tr.window_ns = toggle > tr.least_ns ? toggle : tr.least_ns;
    tr.window_ns += WINDOW_NS / 8 * random_below(8); /* out of step with whatever the program does */
}

/* All ticks since the window began, and of each clock. */
static uint64_t ticks_get(uint64_t ticks[CLOCKS])
{
    uint64_t sum = 0;
    for (int j = 0; j < CLOCKS; j++) {
        ticks[j] = tr.used[j] ? workclock_read(j) - tr.ticks_before[j] : 0;
        sum += ticks[j];
    }
    return sum;
}

static void ticks_charge(uint64_t ticks, uint64_t ns)
{
    uint64_t cost = tr.counted ? ticks * HEAD_TICK_PS / 1000 : ticks * workclock_tick_ns();
    exposure_overhead(cost < ns ? cost : ns);
}

/* False: some clocks ticked too often and are out; the blocks so far are of no use. */
static bool window_close(uint64_t now)
{
    uint64_t ticks[CLOCKS], ns = now - tr.since, all = ticks_get(ticks);
    tr.ticks_all += all;
    tr.ns_all += ns;
    ticks_charge(all, ns);
    if (!tr.counted && tr.blocks < THIN_BLOCKS && workclock_thin(ticks, ns))
        return false;
    fit_window(tr.windows, tr.order[tr.at], ticks, ns);
    exposure_window(tr.order[tr.at], ticks, ns);
    tr.window[tr.order[tr.at]][tr.blocks] = (int16_t)tr.windows++;
    return true;
}

static struct estimate arm_estimate(int arm, int fitted)
{
    int n = 0;
    for (int b = 0; b < tr.blocks; b++)
        if (tr.window[arm][b] >= 0) {
            int32_t x = verdict_ln(fit_speed(tr.window[arm][b]), fit_speed(tr.window[0][b]));
            tr.x[n++] = x > CLAMP ? CLAMP : x < -CLAMP ? -CLAMP : x;
        }
    return verdict_estimate(tr.x, n, fitted);
}

static void decide(struct trial_result r, uint64_t now)
{
    r.clocks = workclock_live();
    rest(); /* so that the thread soon is in its own code */
    r.cpu_ns = now - tr.began;
    r.counted = tr.counted;
    r.source = tr.source;
    r.unset = tr.unset;
    r.blocks = tr.blocks;
    r.spread = (int32_t)(fit_spread() * VERDICT_ONE / FIT_ONE);
    r.cost_ns = tr.cost_ns + exposure_cost();
    tr.result = r;
    tr.state = TRIAL_DECIDED;
}

/* By so much an arm may look faster than it is. */
static int32_t bias(void)
{
    bool pun = tr.member[0]->site.tactic == TACTIC_PUN && tr.member[0]->variant[1]->indirect;
    uint64_t ps = tr.ticks_all * (!tr.counted ? TICK_BIAS_PS : pun ? PUN_BIAS_PS : HEAD_BIAS_PS);
    return tr.ns_all ? (int32_t)(ps / 1000 * VERDICT_ONE / tr.ns_all) : 0;
}

/* TRL-2: the gain, less what the clocks may feign, must be significant. */
static enum verdict verdict_of_arm(struct estimate e)
{
    enum verdict v = e.error == INT32_MAX ? VERDICT_NONE : verdict_of(e);
    if (v != VERDICT_FASTER)
        return v;
    e.mean -= bias();
    v = verdict_of(e);
    return v == VERDICT_SLOWER ? VERDICT_NEUTRAL : v;
}

static bool too_dear(void) { return exposure_lost() > MOST_COST_NS; }

static bool overdue(uint64_t now) { return now - tr.began > MOST_NS || too_dear(); }

/* What an arm looks like so far; per 10,000. */
static void log_look(int arm, struct estimate e, enum verdict v, uint64_t now)
{
    char line[200];
    struct fmt f = fmt_on(line, sizeof line);
    fmt_str(&f, "  look: arm ");
    fmt_dec(&f, arm);
    fmt_str(&f, " gain ");
    fmt_dec(&f, (int64_t)e.mean * 10000 / VERDICT_ONE);
    fmt_str(&f, " +- ");
    fmt_dec(&f, (int64_t)e.error * 10000 / VERDICT_ONE);
    fmt_str(&f, ", blocks ");
    fmt_dec(&f, e.n);
    fmt_str(&f, ", clocks ");
    fmt_dec(&f, workclock_live());
    fmt_str(&f, ", spread ");
    fmt_dec(&f, (int64_t)(fit_spread() * 10000 / FIT_ONE));
    fmt_str(&f, ", verdict ");
    fmt_dec(&f, (int64_t)v);
    fmt_str(&f, ", after ms ");
    fmt_dec(&f, (int64_t)((now - tr.began) / 1000000));
    log_line(line);
}

static void log_rest(uint64_t pause, uint64_t spare)
{
    char line[200];
    struct fmt f = fmt_on(line, sizeof line);
    fmt_str(&f, "  block ");
    fmt_dec(&f, tr.blocks);
    fmt_str(&f, ": windows of ms ");
    fmt_dec(&f, (int64_t)(tr.least_ns / 1000000));
    fmt_str(&f, ", ticks in each ");
    fmt_dec(&f, (int64_t)(tr.ticks_all / (uint64_t)tr.windows));
    fmt_str(&f, ", cost us ");
    fmt_dec(&f, (int64_t)((tr.cost_ns + exposure_cost()) / 1000));
    fmt_str(&f, ", spare us ");
    fmt_dec(&f, (int64_t)(spare / 1000));
    fmt_str(&f, ", rest ms ");
    fmt_dec(&f, (int64_t)(pause / 1000000));
    log_line(line);
}

/* Arms that are surely behind the best one need no more windows. */
static void drop_behind(struct estimate best, const struct estimate *e)
{
    for (int arm = 1; arm < tr.arms; arm++)
        if (!(tr.dropped >> arm & 1) && e[arm].error != INT32_MAX &&
            (int64_t)best.mean - e[arm].mean > BEHIND_ERRORS * ((int64_t)best.error + e[arm].error))
            tr.dropped |= 1 << arm;
}

static void look(uint64_t now)
{
    struct trial_result best = {.verdict = VERDICT_NEUTRAL};
    bool open = false, late = overdue(now);
    int fitted = fit_windows(tr.windows);
    if (fit_spread() > MOST_SPREAD && log_wants(2))
        log_look(0, (struct estimate){0, 0, tr.blocks}, VERDICT_NONE, now);
    if (fit_spread() > MOST_SPREAD) { /* the clocks do not tell how much work was done */
        if (late || tr.blocks >= PATIENCE || fit_spread() > HOPELESS_SPREAD)
            decide((struct trial_result){.verdict = VERDICT_NEUTRAL, .no_clock = true}, now);
        return;
    }
    struct estimate all[CANDIDATE_ARMS];
    for (int arm = 1; arm < tr.arms; arm++) {
        if (tr.dropped >> arm & 1)
            continue;
        struct estimate e = all[arm] = arm_estimate(arm, fitted);
        enum verdict v = verdict_of_arm(e);
        tr.each[arm] = e;
        if (log_wants(2))
            log_look(arm, e, v, now);
        if (v == VERDICT_NONE && (late || tr.blocks >= VERDICT_MOST_BLOCKS))
            v = exposure_loss(arm) > 0 && too_dear() ? VERDICT_SLOWER : VERDICT_NEUTRAL;
        if (v == VERDICT_SLOWER || v == VERDICT_NEUTRAL)
            tr.dropped |= 1 << arm;
        if (best.gain.n == 0 || (e.mean > best.gain.mean && e.error != INT32_MAX))
            best.gain = e, best.arm = arm, best.verdict = v;
    }
    if (best.gain.error != INT32_MAX)
        drop_behind(best.gain, all);
    for (int arm = 1; arm < tr.arms; arm++)
        open |= !(tr.dropped >> arm & 1);
    if (best.verdict != VERDICT_FASTER && open)
        return;
    decide(best, now);
}

static void blocks_clear(void)
{
    tr.dropped = tr.blocks = tr.windows = 0;
    tr.ticks_all = tr.ns_all = 0;
    exposure_begin();
    for (int arm = 0; arm < CANDIDATE_ARMS; arm++) {
        tr.each[arm] = (struct estimate){0, 0, 0};
        for (int b = 0; b < VERDICT_MOST_BLOCKS; b++)
            tr.window[arm][b] = -1;
    }
    order_shuffle();
}

/* There is nothing here that ticks as often as it should. */
static void decide_idle(uint64_t now)
{
    decide((struct trial_result){.verdict = VERDICT_NEUTRAL, .no_clock = true, .idle = true}, now);
}

static void start_again(uint64_t now)
{
    tr.cost_ns += exposure_cost();
    blocks_clear();
    tr.probing = true;
    switch_all(0);
    window_begin();
    if (++tr.starts > MOST_STARTS || workclock_live() == 0)
        decide_idle(now);
}

/* With the clocks in, natively. True when their pace is known, and with it how long a window is. */
static bool probe(uint64_t now)
{
    uint64_t ticks[CLOCKS], ns = now - tr.since, all = ticks_get(ticks);
    if (workclock_thin(ticks, ns)) {
        ticks_charge(all, ns);
        start_again(now);
        return false;
    }
    if (all < ENOUGH_TICKS && ns + SLACK_NS < PROBE_NS)
        return false;
    ticks_charge(all, ns);
    tr.probing = false;
    if (all < LEAST_TICKS) {
        decide_idle(now);
        return false;
    }
    tr.tick_ns = ns / all;
    uint64_t few = FEW_TICKS * tr.tick_ns;
    tr.least_ns = few < WINDOW_NS ? WINDOW_NS : few < PROBE_NS ? few : PROBE_NS;
    return true;
}

/* A long window goes on, unless it already cost more than a trial may. */
static bool window_goes_on(uint64_t now, uint64_t *wait)
{
    uint64_t ticks[CLOCKS], ns = now - tr.since;
    if (ns + SLACK_NS >= tr.window_ns)
        return false;
    uint64_t natively = (ticks_get(ticks) + 1) * tr.tick_ns;
    if (tr.order[tr.at] && !tr.counted && ns > natively + MOST_COST_NS) {
        exposure_overhead(ns - natively);
        decide((struct trial_result){.verdict = VERDICT_SLOWER}, now);
    }
    *wait = tr.window_ns - ns < PART_NS ? tr.window_ns - ns : PART_NS;
    return true;
}

static void block_end(uint64_t now)
{
    tr.blocks++;
    if (tr.blocks == THIN_BLOCKS && tr.ticks_all < LEAST_TICKS * (uint64_t)tr.windows)
        decide_idle(now);
    else if (tr.unset == tr.n)
        decide((struct trial_result){.verdict = VERDICT_NEUTRAL}, now);
    else if (verdict_due(tr.blocks) || overdue(now))
        look(now);
    order_shuffle();
}

/* After a block; returns how long. `spare`: what trials may cost now without paying. */
static uint64_t block_rest(uint64_t now, uint64_t spare)
{
    bool known = tr.blocks >= THIN_BLOCKS; /* what the first block cost, the second will tell */
    uint64_t pause = !known || tr.cost_ns + exposure_cost() < spare ? 0 : exposure_due();
    if (log_wants(2))
        log_rest(pause, spare);
    tr.resting = true;
    tr.since = now;
    rest();
    return pause > LEAST_REST ? pause : LEAST_REST;
}

static void rest_end(uint64_t now)
{
    tr.resting = false;
    exposure_rested(now - tr.since);
    if (!tr.counted)
        workclock_resume();
}

/* What the signal ends: a rest, a part of the probe or of a window, or a window. False: the same goes on. */
static bool next(uint64_t now, uint64_t spare, uint64_t *wait)
{
    if (tr.resting) {
        rest_end(now);
    } else if (tr.probing) {
        if (!probe(now))
            return false;
    } else if (window_goes_on(now, wait)) {
        return false;
    } else if (!window_close(now)) {
        start_again(now);
        return false;
    } else if (++tr.at == tr.order_count) {
        block_end(now);
        if (tr.state == TRIAL_RUNS)
            *wait = block_rest(now, spare);
        return false;
    }
    return true;
}

enum trial_state trial_tick(uint64_t now, uint64_t spare, uint64_t *wait)
{
    *wait = WINDOW_NS;
    if (tr.state == TRIAL_RUNS && next(now, spare, wait)) {
        window_open(now);
        *wait = tr.window_ns < PART_NS ? tr.window_ns : PART_NS;
    }
    return tr.state;
}

static rc_t clocks_get(struct candidate *const *members, int n, enum workclock_source source)
{
    mem_zero(tr.used, sizeof tr.used);
    struct fragment *own[TRIAL_MEMBERS * (CANDIDATE_ARMS - 1)];
    int count = 0, clocks = 0;
    for (int i = 0; i < n; i++)
        for (int arm = 1; arm < members[i]->arms; arm++)
            own[count++] = members[i]->variant[arm];
    for (tr.source = source; tr.source < WORKCLOCK_NONE; tr.source++) {
        clocks = workclock_choose(tr.source, own, count);
        if (clocks)
            break;
    }
    for (int j = 0; j < clocks; j++)
        tr.used[j] = true;
    tr.counted = clocks == 0;
    if (clocks)
        return RC_OK;
    if (n != 1 || !members[0]->variant[1]->loop || !members[0]->site.len || several_now())
        return RC_NO_CLOCK;
    candidate_keep_variant(members[0], 1); /* the back edge of an unrolled one is not an iteration */
    TRY(candidate_count(members[0], true));
    tr.used[WORKCLOCK_HEAD] = true;
    return RC_OK;
}

rc_t trial_begin(struct candidate *const *members, int n, enum workclock_source source)
{
    TRY(clocks_get(members, n, source));
    tr.chance = tr.chance ? tr.chance : sys_tsc() | 1;
    tr.n = n;
    tr.arms = 2;
    tr.starts = tr.unset = 0;
    tr.cost_ns = 0;
    tr.resting = false;
    tr.probing = !tr.counted;
    for (int i = 0; i < n; i++) {
        tr.member[i] = members[i];
        tr.arms = members[i]->arms > tr.arms ? members[i]->arms : tr.arms;
    }
    tr.began = sys_clock_ns(THREAD_CPU);
    tr.least_ns = tr.window_ns = WINDOW_NS;
    tr.state = TRIAL_RUNS;
    blocks_clear();
    if (tr.probing)
        window_begin();
    else
        window_open(tr.began);
    return RC_OK;
}

struct trial_result trial_end(void)
{
    rest();
    if (tr.counted)
        (void)candidate_count(tr.member[0], false);
    uint64_t mask = sys_signals_set(~0ULL);
    workclock_stop();
    (void)sys_signals_set(mask);
    tr.state = TRIAL_IDLE;
    for (int arm = 0; arm < CANDIDATE_ARMS; arm++)
        tr.result.each[arm] = tr.each[arm];
    return tr.result;
}

void trial_abort(void)
{
    if (tr.state == TRIAL_RUNS)
        decide((struct trial_result){.verdict = VERDICT_NEUTRAL}, sys_clock_ns(THREAD_CPU));
}

void trial_forget(void)
{
    tr.state = TRIAL_IDLE;
    workclock_forget();
}
