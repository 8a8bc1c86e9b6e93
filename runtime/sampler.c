#include "runtime/sampler.h"

#include <linux/mman.h>
#include <linux/perf_event.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define RING_PAGES 64u
#define PAGE 4096u

static struct perf_event_mmap_page *ring;

enum proto_sampler sampler_start(uint64_t rate)
{
    if (!rate)
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
    void *p = sys_mmap(NULL, (RING_PAGES + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0);
    (void)sys_close(fd);
    if (sys_failed(p))
        return PROTO_SAMPLER_NONE;
    ring = p;
    return PROTO_SAMPLER_PERF_CLOCK;
}

void sampler_stop(void)
{
    if (ring)
        (void)sys_munmap(ring, (RING_PAGES + 1) * PAGE);
    ring = NULL;
}

bool sampler_pending(void)
{
    return ring && __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE) != ring->data_tail;
}

/* Bytes of a record may wrap around the end of the ring. */
static uint64_t ring_u64(uint64_t at)
{
    const uint64_t *data = (const uint64_t *)((const char *)ring + PAGE);
    return data[at % (RING_PAGES * PAGE) / 8];
}

uint64_t sampler_drain(void (*fn)(uint64_t pc))
{
    if (!ring)
        return 0;
    uint64_t head = __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE), tail = ring->data_tail, lost = 0;
    while (tail < head) {
        uint64_t header = ring_u64(tail); /* type:32 misc:16 size:16 */
        uint32_t type = (uint32_t)header, size = (uint32_t)(header >> 48);
        if (type == PERF_RECORD_SAMPLE)
            fn(ring_u64(tail + 8));
        else if (type == PERF_RECORD_LOST)
            lost += ring_u64(tail + 16);
        if (!size)
            break;
        tail += size;
    }
    __atomic_store_n(&ring->data_tail, head, __ATOMIC_RELEASE);
    return lost;
}
