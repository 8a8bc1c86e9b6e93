#include "fragcache/landing.h"

#include "fragcache/hook.h"
#include "runtime/base/mem.h"

#define LEAST_BYTES 1024u /* of text that is worth a map */
#define MOST_BYTES (512u << 10)
#define MAPS 64u
#define POOL_BYTES (256u << 10)

static struct map {
    uint64_t start, end; /* of the text; end 0: none */
    uint8_t *bits;
} maps[MAPS];
static uint8_t *pool;
static uint32_t pool_used;

void landing_forget(void)
{
    mem_zero(maps, sizeof maps);
    pool_used = 0;
}

bool landing_opcode(uint64_t end, uint64_t start)
{
    const uint8_t *p = (const uint8_t *)end;
    if ((p[-5] & 0xfe) == 0xe8)
        return true;
    return end - 6 >= start && (((p[-5] & 0xf0) == 0x80 && p[-6] == 0x0f) || (p[-5] == 0xf8 && p[-6] == 0xc7));
}

static void map_set(struct map *m, uint64_t target)
{
    uint64_t at = target - m->start;
    if (at < m->end - m->start)
        m->bits[at / 8] |= (uint8_t)(1u << at % 8);
}

/* They are not in the text now, but will be again. */
static void map_displaced(struct hook *h, void *arg)
{
    for (int i = 0; i < h->branch_count; i++)
        map_set(arg, h->branch[i]);
}

static struct map *map_make(struct map *m, uint64_t start, uint64_t end)
{
    uint32_t bytes = (uint32_t)((end - start + 7) / 8);
    if (!pool)
        pool = mem_map(POOL_BYTES);
    if (!pool)
        return NULL;
    if (bytes > POOL_BYTES - pool_used)
        landing_forget();
    *m = (struct map){start, end, pool + pool_used};
    pool_used += bytes;
    mem_zero(m->bits, bytes);
    for (uint64_t e = start + 5; e <= end; e++)
        if (landing_opcode(e, start)) {
            int32_t rel;
            mem_copy(&rel, (const void *)(e - 4), sizeof rel);
            map_set(m, e + (uint64_t)(int64_t)rel);
        }
    hook_each(map_displaced, m);
    return m;
}

bool landing_possible(uint64_t start, uint64_t end, uint64_t lo, uint64_t hi)
{
    if (end - start < LEAST_BYTES || end - start > MOST_BYTES || lo < start || hi > end)
        return true;
    struct map *m = &maps[(start >> 4 ^ start >> 10) % MAPS];
    if ((m->start != start || m->end != end) && !map_make(m, start, end))
        return true;
    for (uint64_t at = lo - start; at < hi - start; at++)
        if (m->bits[at / 8] >> at % 8 & 1)
            return true;
    return false;
}
