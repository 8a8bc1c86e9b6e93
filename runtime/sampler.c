#include "runtime/sampler.h"

#include <asm/errno.h>
#include <asm/fcntl.h>
#include <linux/mman.h>
#include <linux/perf_event.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define PAGE         4096u
#define MOST_PAGES   64u
#define LEAST_PAGES  2u
#define MOST_PRECISE 2u /* perf_event_open(2), precise_ip: 2 asks for no skid, 3 demands it */

static rc_t refusal = RC_OK;
static bool ticks_come AT_START;
static bool no_pmu; /* known after the first try */

static bool spare_clock;

void sampler_spare_clock(bool yes) { spare_clock = yes; }

void sampler_expect_ticks(bool yes)
{
    ticks_come = yes;
}
rc_t sampler_refusal(void)
{
    return refusal;
}

static enum proto_sampler refuse(rc_t why)
{
    refusal = refusal == RC_OK ? why : refusal;
    return PROTO_SAMPLER_NONE;
}

/* "Seccomp:" of /proc/thread-self/status, proc(5): 0 means no filter. What cannot be read may be one. */
static bool filter_in_force(void)
{
    static const char key[] = "\nSeccomp:\t";
    char text[2048];
    long fd = sys_open("/proc/thread-self/status", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return true;
    long n = sys_read(fd, text, sizeof text);
    (void)sys_close(fd);
    for (long i = 0; i + (long)sizeof key <= n; i++)
        if (mem_compare(text + i, key, sizeof key - 1) == 0)
            return text[i + (long)sizeof key - 1] != '0';
    return false; /* a kernel without filters */
}

static long perf_open(uint32_t type, uint64_t config, uint64_t rate, unsigned precise)
{
    struct perf_event_attr attr;
    mem_zero(&attr, sizeof attr);
    attr.size = sizeof attr;
    attr.type = type;
    attr.config = config;
    attr.sample_type = PERF_SAMPLE_IP;
    attr.exclude_kernel = attr.exclude_hv = 1;
    attr.precise_ip = precise & 3;
    if (type == PERF_TYPE_HARDWARE) {
        attr.freq = 1; /* how many cycles a second has is the kernel's business */
        attr.sample_freq = rate;
    } else {
        attr.sample_period = 1000000000u / rate;
    }
    return sys_call6(__NR_perf_event_open, (long)&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC, 0);
}

static bool not_permitted(long error)
{
    return error == -EACCES || error == -EPERM || error == -ENOSYS;
}

static long open_best(uint64_t rate, enum proto_sampler *kind)
{
    *kind = PROTO_SAMPLER_PERF_HW;
    for (unsigned precise = MOST_PRECISE + 1; !no_pmu && precise-- > 0;) {
        long fd = perf_open(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES, rate, precise);
        if (fd >= 0 || not_permitted(fd))
            return fd;
        no_pmu = precise == 0 || fd == -ENOENT || fd == -ENODEV;
    }
    if (spare_clock && ticks_come)
        return -EOPNOTSUPP;
    *kind = PROTO_SAMPLER_PERF_CLOCK;
    return perf_open(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK, rate, 0);
}

/* As large as the limit on locked memory allows (perf_event_mlock_kb). */
static void *ring_map(long fd, uint32_t *bytes)
{
    for (uint32_t pages = MOST_PAGES; pages >= LEAST_PAGES; pages /= 4) {
        *bytes = pages * PAGE;
        void *p = sys_mmap(NULL, *bytes + PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
        if (!sys_failed(p))
            return p;
    }
    return NULL;
}

static enum proto_sampler ring_start(struct sampler *s, uint64_t rate)
{
    enum proto_sampler kind;
    uint32_t bytes = 0;
    if (filter_in_force())
        return refuse(RC_PERF_FILTER);
    long fd = open_best(rate, &kind);
    void *ring = fd < 0 ? NULL : ring_map(fd, &bytes);
    if (fd >= 0)
        (void)sys_close(fd);
    if (!ring)
        return refuse(fd == -EOPNOTSUPP ? RC_PERF_COST : RC_PERF_REFUSED);
    sampler_stop(s);
    s->ring = ring;
    s->ring_bytes = bytes;
    return kind;
}

enum proto_sampler sampler_start(struct sampler *s, uint64_t rate)
{
    if (s->ring)
        return PROTO_SAMPLER_NONE;
    enum proto_sampler kind = rate ? ring_start(s, rate) : refuse(RC_PERF_OFF);
    if (kind != PROTO_SAMPLER_NONE || !ticks_come)
        return kind;
    s->tick_head = s->tick_tail = 0;
    s->ticking = true;
    return PROTO_SAMPLER_TIMER;
}

enum proto_sampler sampler_set_rate(struct sampler *s, uint64_t rate)
{
    if (!s->ring || !rate)
        return s->ticking ? PROTO_SAMPLER_TIMER : PROTO_SAMPLER_NONE;
    return ring_start(s, rate);
}

void sampler_stop(struct sampler *s)
{
    if (s->ring)
        (void)sys_munmap(s->ring, s->ring_bytes + PAGE);
    sampler_forget(s);
}

void sampler_forget(struct sampler *s)
{
    s->ring = NULL;
    s->ticking = false;
}

void sampler_tick(struct sampler *s, uint64_t pc)
{
    if (!s->ticking)
        return;
    s->ticks[s->tick_head % SAMPLER_TICKS] = pc;
    __atomic_store_n(&s->tick_head, s->tick_head + 1, __ATOMIC_RELEASE);
}

static uint64_t ticks_drain(struct sampler *s, void (*fn)(uint64_t pc))
{
    uint32_t head = __atomic_load_n(&s->tick_head, __ATOMIC_ACQUIRE), lost = 0;
    if (head - s->tick_tail > SAMPLER_TICKS) {
        lost = head - s->tick_tail - SAMPLER_TICKS;
        s->tick_tail += lost;
    }
    while (s->tick_tail != head)
        fn(s->ticks[s->tick_tail++ % SAMPLER_TICKS]);
    return lost;
}

static uint64_t ring_u64(const struct sampler *s, uint64_t at)
{
    const uint64_t *data = (const uint64_t *)((const char *)s->ring + PAGE);
    return data[(at & (s->ring_bytes - 1)) / 8];
}

uint64_t sampler_drain(struct sampler *s, void (*fn)(uint64_t pc))
{
    if (!s->ring)
        return s->ticking ? ticks_drain(s, fn) : 0;
    uint64_t head = __atomic_load_n(&s->ring->data_head, __ATOMIC_ACQUIRE), tail = s->ring->data_tail,
             lost = 0;
    while (tail < head) {
        uint64_t header = ring_u64(s, tail); /* type:32 misc:16 size:16 */
        uint32_t type = (uint32_t)header, size = (uint32_t)(header >> 48);
        if (type == PERF_RECORD_SAMPLE)
            fn(ring_u64(s, tail + 8));
        else if (type == PERF_RECORD_LOST)
            lost += ring_u64(s, tail + 16);
        if (!size)
            break;
        tail += size;
    }
    __atomic_store_n(&s->ring->data_tail, head, __ATOMIC_RELEASE);
    return lost;
}
