#include "runtime/sampler.h"

#include <linux/mman.h>
#include <linux/perf_event.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define PAGE 4096u
#define MOST_PAGES 64u
#define LEAST_PAGES 2u

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

enum proto_sampler sampler_start(struct sampler *s, uint64_t rate)
{
    if (!rate || s->ring)
        return PROTO_SAMPLER_NONE;
    struct perf_event_attr attr;
    mem_zero(&attr, sizeof attr);
    attr.size = sizeof attr;
    attr.type = PERF_TYPE_SOFTWARE;
    attr.config = PERF_COUNT_SW_CPU_CLOCK;
    attr.sample_period = 1000000000u / rate;
    attr.sample_type = PERF_SAMPLE_IP;
    attr.exclude_kernel = attr.exclude_hv = 1;
    long fd = sys_call6(__NR_perf_event_open, (long)&attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC, 0);
    if (fd < 0)
        return PROTO_SAMPLER_NONE;
    s->ring = ring_map(fd, &s->ring_bytes);
    (void)sys_close(fd);
    return s->ring ? PROTO_SAMPLER_PERF_CLOCK : PROTO_SAMPLER_NONE;
}

void sampler_stop(struct sampler *s)
{
    if (s->ring)
        (void)sys_munmap(s->ring, s->ring_bytes + PAGE);
    s->ring = NULL;
}

void sampler_forget(struct sampler *s) { s->ring = NULL; }

static uint64_t ring_u64(const struct sampler *s, uint64_t at)
{
    const uint64_t *data = (const uint64_t *)((const char *)s->ring + PAGE);
    return data[(at & (s->ring_bytes - 1)) / 8];
}

uint64_t sampler_drain(struct sampler *s, void (*fn)(uint64_t pc))
{
    if (!s->ring)
        return 0;
    uint64_t head = __atomic_load_n(&s->ring->data_head, __ATOMIC_ACQUIRE), tail = s->ring->data_tail, lost = 0;
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
