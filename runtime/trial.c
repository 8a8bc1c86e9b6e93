#include "runtime/trial.h"

#include <linux/mman.h>

#include "runtime/adopt.h"
#include "runtime/base/context.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/log.h"
#include "runtime/stats.h"
#include "tracer/asm.h"
#include "tracer/block.h"

#define MOST_TRIALS 256 /* at a time: each sample is compared with all of them */
#define LEAST_SAMPLES 100u /* for each arm */
#define MOST_SAMPLES 2000u
#define MOST_NS 20000000000ULL
#define KEEP_Z 4
#define DROP_Z 3
#define STUB_MAX 64u

enum arm { ARM_FRAGMENT, ARM_NATIVE };

struct trial {
    struct fragment *f; /* NULL: free */
    struct hook *h;
    struct cache_pc stub[2];
    uint64_t samples[2];
    uint64_t started_ns;
    uint8_t arm; /* enum arm, of the window that runs */
};

static struct trial *trials;
static uint64_t (*entries)[2]; /* of each trial and arm; below 2 GiB, incremented by the stubs */
static int trial_count, live_count;
static uint64_t chance = 0x9e3779b97f4a7c15ULL;

static rc_t tables_get(void)
{
    if (trials)
        return RC_OK;
    void *low = sys_mmap(NULL, MOST_TRIALS * sizeof *entries, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (sys_failed(low) || (uint64_t)low >> 31)
        return RC_LOW_MEMORY_MAP;
    entries = low;
    trials = mem_map(MOST_TRIALS * sizeof *trials);
    chance ^= sys_tsc();
    return trials ? RC_OK : RC_NO_MEMORY;
}

/* entries[i][arm]++; jmp to. Flags are the program's: no inc. */
static rc_t stub_make(struct trial *t, enum arm arm, struct cache_pc to)
{
    uint8_t buf[STUB_MAX];
    uint32_t counter = (uint32_t)(uintptr_t)&entries[t - trials][arm];
    TRY(fc_add_code(t->f, STUB_MAX, &t->stub[arm]));
    struct asm_buf a = asm_on(buf, sizeof buf, t->stub[arm]);
    asm_store_slot(&a, SLOT(spill0), R_RCX);
    asm_load_abs(&a, R_RCX, counter);
    asm_lea(&a, R_RCX, R_RCX, 1);
    asm_store_abs(&a, counter, R_RCX);
    asm_load_slot(&a, R_RCX, SLOT(spill0));
    asm_jmp(&a, to.v);
    if (a.overflow)
        return RC_FAR_BRANCH;
    TRY(code_stage(t->stub[arm], buf, a.len));
    return code_commit();
}

static struct trial *trial_free(void)
{
    for (int i = 0; i < trial_count; i++)
        if (!trials[i].f)
            return &trials[i];
    return trial_count < MOST_TRIALS ? &trials[trial_count++] : NULL;
}

bool trial_overlaps(uint64_t start, uint64_t end)
{
    for (int i = 0; i < trial_count; i++)
        for (int k = 0; trials[i].f && k < trials[i].f->text_count; k++)
            if (start < trials[i].f->text[k].end && end > trials[i].f->text[k].start)
                return true;
    return false;
}

bool trial_any(void) { return live_count > 0; }
bool trial_full(void) { return live_count == MOST_TRIALS; }

rc_t trial_begin(struct fragment *f, struct hook *h, const struct site *site)
{
    TRY(tables_get());
    struct trial *t = trial_free();
    if (!t)
        return RC_NO_MEMORY;
    *t = (struct trial){.f = f, .h = h, .arm = ARM_FRAGMENT, .started_ns = sys_clock_ns(2)};
    entries[t - trials][0] = entries[t - trials][1] = 0;
    rc_t rc = stub_make(t, ARM_FRAGMENT, f->entry);
    if (rc == RC_OK)
        rc = hook_set(h, site, t->stub[ARM_FRAGMENT], true);
    if (rc == RC_OK) {
        rc = stub_make(t, ARM_NATIVE, h->native);
        if (rc != RC_OK && hook_clear(h) == RC_OK)
            hook_release(h);
    }
    if (rc != RC_OK)
        t->f = NULL;
    else
        live_count++;
    return rc;
}

static bool trial_covers(const struct trial *t, uint64_t pc)
{
    const struct fragment *f = t->f;
    if (pc >= f->start.v && pc < f->start.v + f->len)
        return true;
    for (int i = 0; i < f->text_count; i++)
        if (pc >= f->text[i].start && pc < f->text[i].end)
            return true;
    return (pc >= t->h->native.v && pc < t->h->native.v + t->h->native_len) ||
           (pc >= t->stub[0].v && pc < t->stub[0].v + STUB_MAX) || (pc >= t->stub[1].v && pc < t->stub[1].v + STUB_MAX);
}

void trial_sample(uint64_t pc)
{
    for (int i = 0; i < trial_count; i++)
        if (trials[i].f && trial_covers(&trials[i], pc)) {
            trials[i].samples[trials[i].arm]++; /* text may be part of several */
        }
}

/* Natural logarithm of num/den in units of 1/65536, for ratios within 2^-20 .. 2^20; no floating point here. */
static int64_t log_ratio(uint64_t num, uint64_t den)
{
    int64_t log2 = 0;
    while (num >= 2 * den)
        den *= 2, log2 += 65536;
    while (num < den)
        num *= 2, log2 -= 65536;
    uint64_t x = (num << 16) / den; /* 1 <= x/65536 < 2: one bit of the logarithm for each squaring */
    for (int bit = 15; bit >= 0; bit--) {
        x = x * x >> 16;
        if (x >= 2u << 16) {
            x >>= 1;
            log2 += 1LL << bit;
        }
    }
    return log2 * 45426 >> 16; /* ln 2 */
}

static uint64_t square_root(uint64_t v)
{
    uint64_t r = 0;
    for (uint64_t bit = 1ULL << 31; bit; bit >>= 1)
        if ((r + bit) * (r + bit) <= v)
            r += bit;
    return r;
}

/* Scales both down until their products fit. */
static uint64_t shrink(uint64_t v, unsigned by) { return (v >> by) + 1; }

/* RC_OK: kept; RC_SLOWER, RC_NEUTRAL: retired; RC_END_OF_TRACE: no verdict yet. *gain: ln(native/fragment) * 65536. */
static rc_t trial_verdict(const struct trial *t, int64_t *gain)
{
    const uint64_t *s = t->samples, *n = entries[t - trials];
    uint64_t total = s[0] + s[1];
    bool late = total > MOST_SAMPLES || sys_clock_ns(2) - t->started_ns > MOST_NS;
    if (s[0] < LEAST_SAMPLES || s[1] < LEAST_SAMPLES || !n[0] || !n[1])
        return late ? RC_NEUTRAL : RC_END_OF_TRACE;
    *gain = log_ratio(s[1], s[0]) - log_ratio(shrink(n[1], 8), shrink(n[0], 8));
    /* standard error * 65536 = sqrt((1/a + 1/b) * 2^32) */
    int64_t error = (int64_t)square_root((1ULL << 32) / s[0] + (1ULL << 32) / s[1]);
    if (*gain > KEEP_Z * error)
        return RC_OK;
    if (*gain < -DROP_Z * error)
        return RC_SLOWER;
    return late ? RC_NEUTRAL : RC_END_OF_TRACE;
}

static void trial_log(const struct trial *t, rc_t verdict, int64_t gain)
{
    char line[240];
    struct fmt f = fmt_on(line, sizeof line);
    fmt_str(&f, "trial of fragment ");
    fmt_dec(&f, t->f->id);
    fmt_str(&f, verdict == RC_OK ? ": kept, " : verdict == RC_SLOWER ? ": slower, " : ": neutral, ");
    fmt_str(&f, "gain ");
    fmt_dec(&f, gain * 1000 / 65536);
    fmt_str(&f, " per mille; samples ");
    fmt_dec(&f, (int64_t)t->samples[ARM_FRAGMENT]);
    fmt_char(&f, '/');
    fmt_dec(&f, (int64_t)t->samples[ARM_NATIVE]);
    fmt_str(&f, ", entries ");
    fmt_dec(&f, (int64_t)entries[t - trials][ARM_FRAGMENT]);
    fmt_char(&f, '/');
    fmt_dec(&f, (int64_t)entries[t - trials][ARM_NATIVE]);
    log_line(line);
}

static void block_penalize(struct app_pc head, rc_t why)
{
    struct block *b = block_find(head);
    if (b) {
        b->fragment = NULL;
        b->declined = (uint8_t)why;
    }
}

static void trial_end(struct trial *t, rc_t verdict)
{
    struct fragment *f = t->f;
    f->entries = entries[t - trials][ARM_FRAGMENT];
    t->f = NULL;
    live_count--;
    if (verdict == RC_OK && hook_retarget(t->h, f->entry) == RC_OK && fc_release(f) == RC_OK)
        return;
    stats_declined(verdict == RC_OK ? RC_CODE_WRITE : verdict);
    if (hook_clear(t->h) == RC_OK)
        hook_release(t->h);
    block_penalize(f->tag, verdict);
    block_penalize(f->found_at, verdict);
    (void)fc_retire(f);
}

static enum arm arm_choose(void)
{
    chance ^= chance << 13; /* xorshift64 (Marsaglia, 2003) */
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance >> 63 ? ARM_NATIVE : ARM_FRAGMENT;
}

void trial_tick(void)
{
    bool alone = adopt_alone();
    for (int i = 0; i < trial_count; i++) {
        struct trial *t = &trials[i];
        if (!t->f)
            continue;
        int64_t gain = 0;
        rc_t verdict = trial_verdict(t, &gain);
        if (verdict != RC_END_OF_TRACE && alone) {
            if (log_wants(1))
                trial_log(t, verdict, gain);
            trial_end(t, verdict);
            continue;
        }
        t->arm = (uint8_t)(alone ? arm_choose() : ARM_NATIVE); /* not alone: nothing more is proven, so nothing more is risked */
        (void)hook_retarget(t->h, t->stub[t->arm]);
    }
}

void trial_forget(void)
{
    for (int i = 0; i < trial_count; i++)
        trials[i].f = NULL;
    trial_count = live_count = 0;
}
