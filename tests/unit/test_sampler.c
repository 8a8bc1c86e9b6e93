/* The choice of a sampling back-end: what is tried in which order, what it then is, and why perf was refused. The kernel is made
 * up. Its file is part of this one, so that each test begins with a new process's state. */
#include <linux/perf_event.h>
#include <stdlib.h>

#include "runtime/base/sys.h"
#include "tests/unit/unit.h"

/* What the kernel has, and what it was asked for. */
static struct {
    long hardware[3], clock; /* by precise_ip; the event's descriptor or the error */
    uint32_t lock_pages; /* a ring may have */
    const char *status;
    int opened, closed, mapped, unmapped;
    struct perf_event_attr attr; /* of the last event */
} kernel;

static long kernel_call(long nr, long a, long b, long c, long d, long e, long f)
{
    (void)b, (void)c, (void)d, (void)e, (void)f;
    assert_int_equal(nr, __NR_perf_event_open);
    memcpy(&kernel.attr, (const void *)a, sizeof kernel.attr);
    kernel.opened++;
    return kernel.attr.type == PERF_TYPE_HARDWARE ? kernel.hardware[kernel.attr.precise_ip] : kernel.clock;
}
static void *kernel_map(void *at, size_t len, int prot, int flags, int fd, long off)
{
    (void)at, (void)prot, (void)flags, (void)off;
    assert_int_equal(fd, 7);
    if (len / 4096 - 1 > kernel.lock_pages)
        return (void *)-1L; /* EPERM */
    kernel.mapped++;
    return calloc(1, len);
}
static long kernel_unmap(void *at, size_t len)
{
    (void)len;
    kernel.unmapped++;
    free(at);
    return 0;
}
static long kernel_open(const char *path, int flags, int mode)
{
    (void)flags, (void)mode;
    assert_string_equal(path, "/proc/thread-self/status");
    return kernel.status ? 9 : -2;
}
static long kernel_read(long fd, void *to, size_t n)
{
    assert_int_equal(fd, 9);
    return (long)strlen(strncpy(to, kernel.status, n));
}
static long kernel_close(long fd)
{
    kernel.closed += fd == 7;
    return 0;
}

#define sys_call6 kernel_call
#define sys_mmap kernel_map
#define sys_munmap kernel_unmap
#define sys_open kernel_open
#define sys_read kernel_read
#define sys_close kernel_close
#include "runtime/sampler.c" /* NOLINT(bugprone-suspicious-include) */

static struct sampler sampler;

static int new_process(void **state)
{
    (void)state;
    refusal = RC_OK;
    ticks_come = no_pmu = spare_clock = false;
    memset(&sampler, 0, sizeof sampler);
    memset(&kernel, 0, sizeof kernel);
    kernel.hardware[0] = kernel.hardware[1] = kernel.hardware[2] = kernel.clock = 7;
    kernel.lock_pages = MOST_PAGES;
    kernel.status = "Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n";
    return 0;
}

static int stop(void **state)
{
    (void)state;
    sampler_stop(&sampler);
    return 0;
}

static void no_hardware(void) { kernel.hardware[0] = kernel.hardware[1] = kernel.hardware[2] = -ENOENT; }

static void test_cycles_where_there_is_a_pmu(void **state)
{
    (void)state;
    sampler_expect_ticks(true);
    sampler_spare_clock(true);
    assert_int_equal(sampler_start(&sampler, 1000), PROTO_SAMPLER_PERF_HW);
    assert_int_equal(kernel.attr.precise_ip, MOST_PRECISE);
    assert_int_equal(kernel.attr.freq, 1);
    assert_int_equal(kernel.attr.sample_freq, 1000);
    assert_true(kernel.attr.exclude_kernel);
    assert_int_equal(kernel.closed, 1); /* no descriptor stays open */
    assert_int_equal(sampler_refusal(), RC_OK);
    sampler_tick(&sampler, 77);
    assert_int_equal(sampler.tick_head, 0); /* what has a ring needs no ticks */
}

static void test_less_precise_where_it_must(void **state)
{
    (void)state;
    kernel.hardware[2] = -EOPNOTSUPP;
    assert_int_equal(sampler_start(&sampler, 1000), PROTO_SAMPLER_PERF_HW);
    assert_int_equal(kernel.attr.precise_ip, 1);
    sampler_stop(&sampler);
    kernel.hardware[1] = -EOPNOTSUPP;
    assert_int_equal(sampler_start(&sampler, 1000), PROTO_SAMPLER_PERF_HW);
    assert_int_equal(kernel.attr.precise_ip, 0);
}

static void test_the_clock_where_there_is_none(void **state)
{
    (void)state;
    no_hardware();
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_PERF_CLOCK);
    assert_int_equal(kernel.attr.config, PERF_COUNT_SW_CPU_CLOCK);
    assert_int_equal(kernel.attr.sample_period, 2000000);
    int opened = kernel.opened;
    assert_int_equal(sampler_set_rate(&sampler, 100), PROTO_SAMPLER_PERF_CLOCK);
    assert_int_equal(kernel.opened, opened + 1); /* that there is no PMU is known by now */
    assert_int_equal(kernel.attr.sample_period, 10000000);
    assert_int_equal(kernel.unmapped, 1); /* the old one */
    assert_int_equal(kernel.mapped, 2);
}

/* The clock's own interrupts cost too much beside ticks that come anyway. */
static void test_ticks_rather_than_the_clock(void **state)
{
    (void)state;
    no_hardware();
    sampler_spare_clock(true);
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_PERF_CLOCK); /* there are no ticks */
    sampler_stop(&sampler);
    sampler_expect_ticks(true);
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_TIMER);
    assert_int_equal(sampler_refusal(), RC_PERF_COST);
    assert_int_equal(sampler_set_rate(&sampler, 100), PROTO_SAMPLER_TIMER);
    sampler_stop(&sampler);
    sampler_spare_clock(false);
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_PERF_CLOCK);
}

static void test_refused(void **state)
{
    (void)state;
    kernel.hardware[2] = -EACCES; /* for this, no second try */
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_NONE);
    assert_int_equal(kernel.opened, 1);
    assert_int_equal(sampler_refusal(), RC_PERF_REFUSED);
    sampler_expect_ticks(true);
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_TIMER);
    assert_int_equal(sampler_start(&sampler, 0), PROTO_SAMPLER_TIMER);
    assert_int_equal(sampler_refusal(), RC_PERF_REFUSED); /* the first reason */
}

static void test_off_and_filtered(void **state)
{
    (void)state;
    assert_int_equal(sampler_start(&sampler, 0), PROTO_SAMPLER_NONE);
    assert_int_equal(sampler_refusal(), RC_PERF_OFF);
    refusal = RC_OK;
    kernel.status = "Name:\tx\nSeccomp:\t2\n";
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_NONE);
    assert_int_equal(sampler_refusal(), RC_PERF_FILTER);
    kernel.status = NULL; /* what cannot be read may be one */
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_NONE);
    assert_int_equal(kernel.opened, 0); /* a filter may kill for it */
    kernel.status = "Name:\tx\n"; /* a kernel without filters */
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_PERF_HW);
}

static void test_rings_as_large_as_may_be(void **state)
{
    (void)state;
    kernel.lock_pages = 20;
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_PERF_HW);
    assert_int_equal(sampler.ring_bytes, 16 * PAGE);
    sampler_stop(&sampler);
    kernel.lock_pages = 0;
    sampler_expect_ticks(true);
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_TIMER);
    assert_int_equal(sampler_refusal(), RC_PERF_REFUSED);
    assert_int_equal(kernel.closed, 2);
}

/* A rate that is refused leaves the old one. */
static void test_rates_that_are_refused(void **state)
{
    (void)state;
    assert_int_equal(sampler_start(&sampler, 500), PROTO_SAMPLER_PERF_HW);
    struct perf_event_mmap_page *ring = sampler.ring;
    kernel.hardware[2] = -EACCES;
    assert_int_equal(sampler_set_rate(&sampler, 100), PROTO_SAMPLER_NONE);
    assert_ptr_equal(sampler.ring, ring);
    assert_int_equal(kernel.unmapped, 0);
}

static uint64_t seen[SAMPLER_TICKS], seen_count;
static void see(uint64_t pc) { seen[seen_count++] = pc; }

static void test_ticks_are_drained_once(void **state)
{
    (void)state;
    sampler_tick(&sampler, 1); /* nobody asked */
    sampler_expect_ticks(true);
    assert_int_equal(sampler_start(&sampler, 0), PROTO_SAMPLER_TIMER);
    seen_count = 0;
    for (uint64_t pc = 10; pc < 13; pc++)
        sampler_tick(&sampler, pc);
    assert_int_equal(sampler_drain(&sampler, see), 0);
    assert_int_equal(seen_count, 3);
    assert_int_equal(seen[2], 12);
    assert_int_equal(sampler_drain(&sampler, see), 0);
    assert_int_equal(seen_count, 3);
    seen_count = 0;
    for (uint64_t pc = 0; pc < SAMPLER_TICKS + 5; pc++)
        sampler_tick(&sampler, pc);
    assert_int_equal(sampler_drain(&sampler, see), 5); /* lost */
    assert_int_equal(seen_count, SAMPLER_TICKS);
    assert_int_equal(seen[0], 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, new_process, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_cycles_where_there_is_a_pmu),
        TEST(test_less_precise_where_it_must),
        TEST(test_the_clock_where_there_is_none),
        TEST(test_ticks_rather_than_the_clock),
        TEST(test_refused),
        TEST(test_off_and_filtered),
        TEST(test_rings_as_large_as_may_be),
        TEST(test_rates_that_are_refused),
        TEST(test_ticks_are_drained_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
