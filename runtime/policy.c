#include "runtime/policy.h"

#include "runtime/base/fmt.h"
#include "runtime/base/sys.h"
#include "runtime/adopt.h"
#include "runtime/candidate.h"
#include "runtime/log.h"
#include "runtime/native.h"
#include "runtime/stats.h"
#include "runtime/trial.h"
#include "runtime/verify.h"
#include "tracer/block.h"

#define MS 1000000ULL
#define BUDGET_START (6 * MS) /* of slices and trials together, for slices; */
#define TRIAL_START (14 * MS) /* for trials, until they are spread out (exposure.h); */
#define BUDGET_SHARE 400u /* for both, one part in so many of the thread's CPU time more, */
#define GAIN_PARTS 2u /* and one in so many of the time that is thought to be gained by what was kept, */
#define GAIN_SHARE 100u /* but no more than this one of the CPU time */
/* With trial=0 there is nothing else to pay for, and what is not found is not had: a tenth until so much is spent, and
 * then the whole hundredth that the process may be charged over any ten seconds after its first. */
#define KEEP_START (40 * MS)
#define KEEP_START_SHARE 10u
#define KEEP_SHARE 100u
#define LEAST_WAIT MS
#define GATHER_NS (60 * MS) /* from the first candidate on */
#define GATHER_MOST_NS (1000 * MS)
#define GATHER_SAMPLES 40u
#define GATHER_SEE_NS (200 * MS) /* after so long it is seen whether there are enough, whatever the budget says */
#define GATHER_ENOUGH 200u /* more say no more about who has how much of them */
#define BARREN_SLICES 4u /* without a new fragment: what is hot now is known */
#define MOST_BARREN 64u /* and if there is nothing to try: there is nothing to find */
#define ALONE_PERCENT 20u /* of the samples: tried by itself */
#define LEAST_PERCENT 3u /* of the samples: less is not worth a trial */
#define SPLIT_PERCENT 10u
#define REST_NS (250 * MS)
#define REST_MOST_NS (60000 * MS)
#define VERIFY_NS (4 * MS)
#define GROUPS 64

/* Candidates that are tried together: part of the list. */
struct group {
    int start, n;
};

static struct {
    bool trial, decided; /* decided: a trial has ended and its consequences are still to be drawn */
    struct candidate *list[TRIAL_MEMBERS]; /* found and not yet judged; NULL: judged */
    int count;
    uint64_t found_ns, samples; /* CPU time of the first; samples since */
    struct group queue[GROUPS]; /* to be tried before anything else is looked for; the last one first */
    int queued;
    struct group now; /* on trial; n 0: none */
    enum workclock_source source; /* of the next trial's clocks */
    bool any_kept; /* of this list */
    bool waits; /* for the budget */
    uint64_t spent, due; /* CPU time that slices and trials cost, less what was earned; of the next slice */
    uint64_t earned_at; /* CPU time, up to which that was reckoned */
    uint64_t rest, rest_end; /* after the next time in vain; of the last, in CPU time */
    struct policy_stats stats;
    uint64_t emitted, fruitless; /* fragments at the last slice; slices since one made a fragment */
} po;

void policy_init(const struct options *o)
{
    po.trial = o->trial != 0;
    po.rest = REST_NS;
}

struct policy_stats policy_stats_get(void)
{
    return po.stats;
}

bool policy_on_trial(void) { return po.now.n != 0; }

bool policy_full(void) { return po.trial && (po.queued || po.now.n || po.count == TRIAL_MEMBERS); }

static rc_t take_at_once(struct candidate *c)
{
    TRY(candidate_switch(c, 1));
    return fc_move(&c->variant[1], 1, 0, false);
}

rc_t policy_take(struct fragment *const *variants, int n, const struct site *site)
{
    struct candidate *c = candidate_new(variants, n, site);
    if (!c)
        return RC_NO_MEMORY;
    if (!po.trial)
        gains_add_untried(&po.stats.gains, variants[0]->passes);
    if (!po.trial)
        return site->len ? take_at_once(c) : fc_move(variants, 1, 0, false);
    if (!po.count) {
        po.found_ns = sys_clock_ns(THREAD_CPU);
        po.samples = 0;
        po.any_kept = false;
    }
    po.list[po.count++] = c;
    return RC_OK;
}

bool policy_wants_samples(void) { return po.count && !po.now.n && !po.queued && po.samples < GATHER_ENOUGH; }

enum proto_phase policy_phase(uint64_t now)
{
    if (po.now.n || po.queued)
        return PROTO_PHASE_TRIAL;
    return po.count ? PROTO_PHASE_GATHER : now < po.rest_end ? PROTO_PHASE_REST : PROTO_PHASE_LOOK;
}

void policy_sample(uint64_t pc)
{
    if (!po.count || po.now.n)
        return;
    po.samples++;
    for (int i = 0; i < po.count; i++)
        if (po.list[i] && candidate_covers(po.list[i], pc))
            po.list[i]->samples++;
}

static void head_note(const struct fragment *f, struct fragment *now, rc_t why)
{
    for (int i = 0; i < f->text_count; i++)
        native_note(f->text[i].start, f->text[i].end, why ? why : RC_OUTSIDE);
    const struct app_pc heads[] = {f->found_at, f->tag};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct block *b = block_find(heads[i]);
        if (!b)
            continue;
        b->declined = (uint8_t)why;
        b->fragment = app_pc_eq(heads[i], f->tag) ? now : NULL;
    }
}

static uint64_t group_percent(struct group g)
{
    uint64_t sum = 0;
    for (int i = g.start; i < g.start + g.n; i++)
        sum += po.list[i]->samples;
    return po.samples ? sum * 100 / po.samples : 0;
}

static void group_retire(struct group g, rc_t why)
{
    for (int i = g.start; i < g.start + g.n; i++) {
        struct candidate *c = po.list[i];
        stats_declined(why);
        head_note(c->variant[1], NULL, why);
        candidate_drop(c);
        po.list[i] = NULL;
    }
}

/* c is about to be kept on `arm` of the trial; `all`: samples of its set. */
static void gain_note(const struct candidate *c, int arm, const struct trial_result *r, uint64_t all)
{
    uint32_t passes[GAINS_ARMS] = {0};
    int32_t gain[GAINS_ARMS];
    for (int i = 0; i < GAINS_ARMS; i++) {
        bool known = i && i < c->arms && r->each[i].n && r->each[i].error != INT32_MAX;
        gain[i] = known ? r->each[i].mean : GAIN_UNKNOWN;
        passes[i] = i && i < c->arms && c->variant[i] ? c->variant[i]->passes : 0;
    }
    gain[arm] = r->gain.mean;
    gains_add(&po.stats.gains, passes, gain, arm, c->samples, all);
}

static void group_keep(struct group g, const struct trial_result *r)
{
    struct fragment *f[TRIAL_MEMBERS];
    int n = 0;
    uint64_t samples = 0;
    for (int i = g.start; i < g.start + g.n; i++)
        samples += po.list[i]->samples;
    for (int i = g.start; i < g.start + g.n; i++) {
        struct candidate *c = po.list[i];
        if (candidate_switch(c, r->arm < c->arms ? r->arm : 1) != RC_OK) {
            group_retire((struct group){i, 1}, RC_CODE_WRITE);
            continue;
        }
        gain_note(c, c->arm, r, samples);
        candidate_keep_variant(c, c->arm);
        f[n++] = c->variant[1];
        head_note(f[n - 1], f[n - 1], RC_OK);
        f[n - 1]->gain = r->gain.mean;
        f[n - 1]->gain_error = r->gain.error;
        po.list[i] = NULL;
    }
    (void)fc_move(f, n, 0, false);
    po.stats.gain += r->gain.mean;
    po.any_kept = true;
}

static void queue_add(int start, int n)
{
    if (n && po.queued < GROUPS)
        po.queue[po.queued++] = (struct group){start, n};
    else if (n)
        group_retire((struct group){start, n}, RC_NEUTRAL);
}

static void list_sort(void)
{
    for (int i = 1; i < po.count; i++) {
        struct candidate *c = po.list[i];
        int j = i;
        for (; j && po.list[j - 1]->samples < c->samples; j--)
            po.list[j] = po.list[j - 1];
        po.list[j] = c;
    }
}

/* Each is in a set of its own again: no link leads from one that is tried into one that is not. */
static void group_part(struct group g)
{
    for (int i = g.start; i < g.start + g.n; i++)
        for (int arm = 1; arm < po.list[i]->arms; arm++)
            (void)fc_move(&po.list[i]->variant[arm], 1, po.list[i]->variant[arm]->id, false);
}

/* How many have a large part of the samples; they are the first. */
static int group_heavy(struct group g)
{
    int n = 0;
    while (n < g.n && po.list[g.start + n]->samples * 100 >= po.samples * ALONE_PERCENT)
        n++;
    return n;
}

/* The others' text may be where clocks can stand. */
static void group_lighten(struct group g)
{
    int heavy = group_heavy(g);
    group_part(g);
    queue_add(g.start + heavy, g.n - heavy);
    queue_add(g.start, heavy);
}

/* Those with a large part of the samples by themselves and first, the others together. */
static void group_split(struct group g)
{
    int alone = group_heavy(g);
    group_part(g);
    if (!alone || (alone == g.n && g.n == 1)) {
        queue_add(g.start + g.n / 2, g.n - g.n / 2);
        queue_add(g.start, g.n / 2);
        return;
    }
    queue_add(g.start + alone, g.n - alone);
    for (int i = alone; i-- > 0;)
        queue_add(g.start + i, 1);
}

static void spend(uint64_t ns)
{
    po.spent += ns;
    po.stats.spent += ns;
}

static uint64_t budget_share(void) { return po.trial ? BUDGET_SHARE : KEEP_SHARE; }

/* POL-1 */
static uint64_t budget(uint64_t now)
{
    if (po.trial)
        return BUDGET_START + now / BUDGET_SHARE;
    uint64_t start = now / KEEP_START_SHARE < KEEP_START ? now / KEEP_START_SHARE : KEEP_START;
    return BUDGET_START + start + now / KEEP_SHARE;
}

/* What was kept pays for looking further: so many ns in each VERDICT_ONE of CPU time. */
static uint64_t earnings(void)
{
    uint64_t gain = po.stats.gain > 0 ? (uint64_t)po.stats.gain / GAIN_PARTS : 0;
    return gain < VERDICT_ONE / GAIN_SHARE ? gain : VERDICT_ONE / GAIN_SHARE;
}

static void earn(uint64_t now)
{
    uint64_t gain = now > po.earned_at ? (now - po.earned_at) * earnings() / VERDICT_ONE : 0;
    po.spent -= gain < po.spent ? gain : po.spent;
    po.earned_at = now;
}

bool policy_in_budget(uint64_t now)
{
    earn(now);
    return po.spent <= budget(now);
}

static uint64_t trial_spare(uint64_t now)
{
    uint64_t allowed = TRIAL_START + now / BUDGET_SHARE;
    earn(now);
    return allowed > po.spent ? allowed - po.spent : 0;
}

/* Setting clocks costs milliseconds: the parts of a set, and other clocks, wait for that. */
static bool ripe(uint64_t now)
{
    if (!po.count || po.queued)
        return po.queued > 0 && trial_spare(now) > 0;
    bool enough = now - po.found_ns > GATHER_NS && po.samples >= GATHER_SAMPLES;
    bool complete = po.fruitless >= BARREN_SLICES || po.count == TRIAL_MEMBERS;
    return (enough && complete) || now - po.found_ns > GATHER_MOST_NS;
}

static void log_verdict(struct group g, const struct trial_result *r, uint64_t percent)
{
    static const char *const words[] = {"undecided", "kept", "slower", "neutral"};
    char line[300];
    struct fmt f = fmt_on(line, sizeof line);
    fmt_str(&f, "trial of ");
    fmt_dec(&f, g.n);
    fmt_str(&f, " fragments from ");
    fmt_dec(&f, po.list[g.start]->variant[1]->id);
    fmt_str(&f, ", ");
    fmt_dec(&f, (int64_t)percent);
    fmt_str(&f, " % of the samples: ");
    fmt_str(&f, words[r->verdict]);
    fmt_str(&f, ", gain ");
    fmt_dec(&f, (int64_t)r->gain.mean * 10000 / VERDICT_ONE);
    fmt_str(&f, " +- ");
    fmt_dec(&f, (int64_t)r->gain.error * 10000 / VERDICT_ONE);
    fmt_str(&f, " per 10,000 of the time; ");
    fmt_dec(&f, r->blocks);
    fmt_str(&f, " blocks by ");
    fmt_dec(&f, r->clocks);
    fmt_str(&f, " clocks, spread ");
    fmt_dec(&f, (int64_t)r->spread * 10000 / VERDICT_ONE);
    fmt_str(&f, ", ");
    fmt_dec(&f, (int64_t)(r->cpu_ns / MS));
    fmt_str(&f, " ms until ");
    fmt_dec(&f, (int64_t)(sys_clock_ns(THREAD_CPU) / MS));
    fmt_str(&f, r->counted ? ", iterations counted" : r->no_clock ? ", without a clock" : "");
    if (r->unset) {
        fmt_str(&f, ", hooks not set: ");
        fmt_dec(&f, r->unset);
    }
    fmt_str(&f, r->source == WORKCLOCK_FAST ? ", fast clocks" : "");
    log_line(line);
}

static void list_retire(rc_t why)
{
    po.queued = 0;
    for (int i = 0; i < po.count; i++)
        if (po.list[i])
            group_retire((struct group){i, 1}, why);
}

static void rest_begin(uint64_t now)
{
    po.fruitless = 0;
    po.due = po.rest_end = now + po.rest;
    po.rest = po.rest * 2 < REST_MOST_NS ? po.rest * 2 : REST_MOST_NS;
}

/* All judged: look on at once if that paid, later and later if not. */
static void list_done(uint64_t now)
{
    po.count = 0;
    po.fruitless = 0;
    if (po.any_kept)
        po.rest = REST_NS;
    else
        rest_begin(now);
}

static void log_no_trial(struct group g, rc_t rc)
{
    char line[200];
    struct fmt f = fmt_on(line, sizeof line);
    fmt_str(&f, "no trial of ");
    fmt_dec(&f, g.n);
    fmt_str(&f, " fragments from ");
    fmt_dec(&f, po.list[g.start]->variant[1]->id);
    fmt_str(&f, ": ");
    fmt_str(&f, proto_reason_text(rc));
    log_line(line);
}

static void draw_conclusion(void)
{
    struct group g = po.now;
    struct trial_result r = trial_end();
    uint64_t percent = group_percent(g);
    po.now.n = 0;
    po.decided = false;
    spend(r.cost_ns);
    bool others = r.idle && r.source < WORKCLOCK_NONE;
    if (log_wants(others ? 2 : 1))
        log_verdict(g, &r, percent);
    po.stats.trials[r.verdict] += !r.idle;
    po.source = others ? r.source + 1 : WORKCLOCK_SLOW;
    if (others)
        queue_add(g.start, g.n);
    else if (r.no_clock) /* nor will there be one for parts of it */
        list_retire(RC_NO_CLOCK);
    else if (r.verdict == VERDICT_FASTER)
        group_keep(g, &r);
    else if (g.n == 1 || percent < SPLIT_PERCENT)
        group_retire(g, r.verdict == VERDICT_SLOWER ? RC_SLOWER : RC_NEUTRAL);
    else
        group_split(g);
    if (!po.queued)
        list_done(sys_clock_ns(THREAD_CPU));
}

/* Those of an arm may be linked with each other. */
static rc_t group_join(struct group g)
{
    for (int arm = 1; arm < CANDIDATE_ARMS; arm++) {
        struct fragment *f[TRIAL_MEMBERS];
        int n = 0;
        for (int i = g.start; i < g.start + g.n; i++)
            if (arm < po.list[i]->arms)
                f[n++] = po.list[i]->variant[arm];
        if (n)
            TRY(fc_move(f, n, f[0]->id, false));
    }
    return RC_OK;
}

static void next_trial(uint64_t now)
{
    if (!po.queued) {
        list_sort();
        queue_add(0, po.count); /* first all together: what leads from one to the other is part of the gain */
    }
    while (po.queued) {
        struct group g = po.queue[--po.queued];
        if (group_percent(g) < LEAST_PERCENT) {
            group_retire(g, RC_NEUTRAL);
            continue;
        }
        rc_t rc = group_join(g);
        if (rc == RC_OK)
            rc = trial_begin(&po.list[g.start], g.n, po.source);
        po.source = WORKCLOCK_SLOW;
        if (rc == RC_OK) {
            po.now = g;
            return;
        }
        if (log_wants(1))
            log_no_trial(g, rc);
        int heavy = group_heavy(g);
        if (rc == RC_NO_CLOCK && heavy > 1 && heavy < g.n)
            group_lighten(g);
        else if (g.n > 1 && group_percent(g) >= SPLIT_PERCENT)
            group_split(g);
        else
            group_retire(g, rc);
    }
    list_done(now);
}

bool policy_tick(uint64_t now, bool in_code, uint64_t *wait)
{
    if (po.now.n && !po.decided) {
        po.decided = trial_tick(now, trial_spare(now), wait) != TRIAL_RUNS;
        if (!po.decided)
            return false;
    }
    *wait = now < po.due && !po.decided ? po.due - now : in_code ? 10 * MS : MS;
    return (po.decided || now >= po.due) && !in_code;
}

void policy_slice_begins(void)
{
    if (po.decided)
        draw_conclusion();
}

static uint64_t budget_wait(uint64_t now)
{
    uint64_t allowed = po.queued ? TRIAL_START + now / BUDGET_SHARE : budget(now), share = budget_share();
    uint64_t over = po.spent > allowed ? po.spent - allowed : 0;
    uint64_t wait = over * share * VERDICT_ONE / (VERDICT_ONE + share * earnings());
    uint64_t least = po.fruitless > 64 ? 100 * MS : po.fruitless > 16 ? 10 * MS : LEAST_WAIT;
    return wait > least ? wait : least;
}

bool policy_waits(void) { return po.waits; }

uint64_t policy_slice_ends(uint64_t began, uint64_t now)
{
    uint64_t made = fc_stats_get().emitted;
    po.fruitless = made == po.emitted ? po.fruitless + 1 : 0;
    po.emitted = made;
    if (po.trial && !po.now.n && ripe(now))
        next_trial(now);
    else if (po.trial && !po.count && po.fruitless >= MOST_BARREN)
        rest_begin(now);
    uint64_t end = sys_clock_ns(THREAD_CPU), wait = budget_wait(end);
    spend(end - began);
    po.stats.slices++;
    po.waits = !policy_in_budget(end);
    if (po.due < end + wait)
        po.due = end + wait;
    if (policy_wants_samples() && po.due > end + GATHER_SEE_NS)
        po.due = end + GATHER_SEE_NS;
    if (verify_on() && po.due > end + VERIFY_NS)
        po.due = end + VERIFY_NS; /* what there is has to be looked at, not only what is new */
    return po.now.n ? 3 * MS : po.due - end;
}

void policy_forked(void)
{
    po.due = po.rest_end = po.spent = po.stats.spent = po.earned_at = po.found_ns = 0;
    if (po.now.n && !po.decided) {
        trial_abort();
        po.decided = true;
    }
}

static uint64_t moved(uint64_t time, uint64_t from, uint64_t to)
{
    uint64_t at = to + (time - from);
    return time < from && at > to ? 0 : at;
}

void policy_moves(uint64_t from, uint64_t to)
{
    earn(from);
    po.spent = moved(po.spent, budget(from), budget(to)); /* as much is left as before */
    po.earned_at = to;
    po.due = po.due > from ? moved(po.due, from, to) : to;
    po.rest_end = moved(po.rest_end, from, to);
    po.found_ns = moved(po.found_ns, from, to);
    if (po.now.n && !po.decided) {
        trial_abort();
        po.decided = true;
    }
}

void policy_forget(void)
{
    trial_forget();
    candidate_forget_all();
    po.count = po.queued = po.now.n = 0;
    po.decided = false;
}
