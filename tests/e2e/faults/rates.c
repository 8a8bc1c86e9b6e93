/* The sampler by itself: how many samples come at which rate, and what remains without perf. Prints one line for what is
 * wrong; exit status 0: nothing; 3: perf is refused here. Usage: rates [FAIL], FAIL as in the option `fail`. */
#include "runtime/sampler.h"

#include <stdio.h>
#include <time.h>

#include "runtime/base/fail.h"

static uint64_t seen, outside, last_pc;
static int wrong;

static void check(bool good, const char *what, uint64_t value)
{
    if (good)
        return;
    printf("%s: %lu\n", what, (unsigned long)value);
    wrong = 1;
}

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Nearly all of its time is spent in its own few instructions. */
static __attribute__((noinline)) void burn(uint64_t ns)
{
    for (uint64_t end = cpu_ns() + ns; cpu_ns() < end;)
        for (volatile int i = 0; i < 200000; i++)
            ;
}

static void count(uint64_t pc)
{
    uint64_t start = (uint64_t)(uintptr_t)burn;
    seen++;
    outside += pc - start >= 256;
    last_pc = pc;
}

static uint64_t drain(struct sampler *s)
{
    seen = outside = 0;
    return sampler_drain(s, count);
}

static void try_perf(struct sampler *s)
{
    enum proto_sampler kind = sampler_start(s, 1000);
    if (kind == PROTO_SAMPLER_NONE && sampler_refusal() != RC_OK) {
        wrong = 3;
        return;
    }
    check(kind == PROTO_SAMPLER_PERF_CLOCK || kind == PROTO_SAMPLER_PERF_HW, "kind at the start", kind);
    check(sampler_refusal() == RC_OK, "refusal", sampler_refusal());
    burn(200000000);
    check(drain(s) == 0 && seen > 150 && seen < 250, "samples in 200 ms at 1000 Hz", seen);
    check(outside * 10 <= seen, "of them elsewhere", outside);
    check(sampler_set_rate(s, 100) == kind, "kind at the second rate", 0);
    burn(300000000);
    check(drain(s) == 0 && seen > 20 && seen < 40, "samples in 300 ms at 100 Hz", seen);
    check(fail_set("perf_event_open@1+"), "fail", 0);
    check(sampler_set_rate(s, 1000) == PROTO_SAMPLER_NONE && sampler_refusal() == RC_PERF_REFUSED, "refusal", sampler_refusal());
    burn(300000000);
    check(drain(s) == 0 && seen > 20 && seen < 40, "samples in 300 ms at the rate that stayed", seen);
    sampler_tick(s, 1);
    check(drain(s) == 0 && seen <= 1 && last_pc != 1, "ticks beside the ring", seen);
}

static void try_ticks(struct sampler *s)
{
    check(sampler_start(s, 1000) == PROTO_SAMPLER_NONE, "started without ticks", 0);
    sampler_tick(s, 1);
    check(drain(s) == 0 && seen == 0, "ticks that nobody expects", seen);
    sampler_expect_ticks(true);
    check(sampler_start(s, 0) == PROTO_SAMPLER_TIMER, "not started with ticks and without perf", 0);
    sampler_stop(s);
    check(sampler_start(s, 1000) == PROTO_SAMPLER_TIMER, "not started with ticks", 0);
    check(sampler_refusal() == RC_PERF_REFUSED, "refusal", sampler_refusal());
    for (uint64_t i = 1; i <= 10; i++)
        sampler_tick(s, i);
    check(drain(s) == 0 && seen == 10 && last_pc == 10, "ticks", seen);
    for (uint64_t i = 1; i <= SAMPLER_TICKS + 5; i++)
        sampler_tick(s, 100 + i);
    check(drain(s) == 5 && seen == SAMPLER_TICKS && last_pc == 105 + SAMPLER_TICKS, "ticks of too many", seen);
    sampler_stop(s);
    sampler_tick(s, 1);
    check(drain(s) == 0 && seen == 0, "ticks after the end", seen);
}

int main(int argc, char **argv)
{
    static struct sampler s;
    if (argc > 1 && !fail_set(argv[1]))
        return 2;
    if (argc > 1)
        try_ticks(&s);
    else
        try_perf(&s);
    sampler_stop(&s);
    return wrong;
}
