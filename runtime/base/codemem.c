#include "runtime/base/codemem.h"

#include <linux/mman.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define MAX_REGIONS 8
#define STUB_BYTES 4096u
#define ALIGNMENT (2u << 20)
#define STAGE_BYTES (1u << 20)
#define STAGE_PIECES 4096

static struct code_region regions[MAX_REGIONS];
static int region_count;
static size_t block_bytes, fragment_bytes;

static struct code_piece *pieces; /* their bytes lie in the staging buffer */
static uint8_t *stage;
static size_t stage_used;
static int piece_count;

static size_t round_up(size_t v, size_t to) { return (v + to - 1) / to * to; }

void code_set_sizes(size_t blocks, size_t fragments)
{
    block_bytes = round_up(blocks, 4096);
    fragment_bytes = round_up(fragments, 4096);
}

int code_region_count(void) { return region_count; }
struct code_region *code_region_get(int i) { return &regions[i]; }

struct code_region *code_region_find(uint64_t address)
{
    for (int i = 0; i < region_count; i++)
        if (address >= regions[i].start && address < regions[i].end)
            return &regions[i];
    return NULL;
}

rc_t code_region_add(const struct code_region *r)
{
    if (region_count == MAX_REGIONS)
        return RC_NO_MEMORY;
    regions[region_count++] = *r;
    return RC_OK;
}

static bool region_serves(const struct code_region *r, uint64_t pc)
{
    uint64_t low = r->start < pc ? r->start : pc, high = r->end > pc ? r->end : pc;
    return high - low < CODE_REACH;
}

/* A free 2 MiB-aligned place: from 256 MiB below the text downward, or else as far above it as a branch reaches,
 * for a heap grows above the text of a program linked to a low address. */
static void *map_near(uint64_t pc, size_t bytes)
{
    const uint64_t step = 64u << 20;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    for (int sign = -1; sign <= 1; sign += 2)
        for (uint64_t away = 4 * step; away + bytes < CODE_REACH; away += step) {
            if (sign < 0 && away + bytes > pc)
                break;
            uint64_t at = (sign < 0 ? pc - away : pc + CODE_REACH - (away - 4 * step)) - bytes;
            at &= ~(uint64_t)(ALIGNMENT - 1);
            if (at < (1u << 20))
                break;
            void *p = sys_mmap((void *)at, bytes, PROT_READ | PROT_EXEC, flags, -1, 0);
            if (p == (void *)at)
                return p;
            if (!sys_failed(p))
                (void)sys_munmap(p, bytes); /* a kernel before 4.17 ignores the flag */
        }
    return NULL;
}

static struct code_area area_at(uint64_t start, size_t bytes)
{
    return (struct code_area){start, start + bytes, start};
}

rc_t code_region_near(struct app_pc pc, struct code_region **region)
{
    for (int i = 0; i < region_count; i++)
        if (region_serves(&regions[i], pc.v)) {
            *region = &regions[i];
            return RC_OK;
        }
    if (region_count == MAX_REGIONS)
        return RC_NO_MEMORY;
    size_t bytes = round_up(STUB_BYTES + block_bytes + fragment_bytes, ALIGNMENT);
    void *p = map_near(pc.v, bytes);
    if (!p)
        return RC_NO_MEMORY;
    struct code_region *r = &regions[region_count++];
    r->start = (uint64_t)(uintptr_t)p;
    r->end = r->start + bytes;
    r->stubs = area_at(r->start, STUB_BYTES);
    r->blocks = area_at(r->stubs.end, block_bytes);
    r->fragments = area_at(r->blocks.end, fragment_bytes);
    *region = r;
    return RC_OK;
}

/* A change of bytes that are staged already is made there, so that what is staged is what will be seen. */
static bool restage(uint64_t at, const void *bytes, size_t len)
{
    for (int i = piece_count - 1; i >= 0; i--)
        if (at >= pieces[i].at && at + len <= pieces[i].at + pieces[i].len) {
            size_t offset = (size_t)((const uint8_t *)pieces[i].bytes - stage);
            mem_copy(stage + offset + (at - pieces[i].at), bytes, len);
            return true;
        }
    return false;
}

rc_t code_stage(struct cache_pc at, const void *bytes, size_t len)
{
    if (!stage) {
        stage = mem_map(STAGE_BYTES);
        pieces = mem_map(STAGE_PIECES * sizeof *pieces);
        if (!stage || !pieces)
            return RC_NO_MEMORY;
    }
    if (restage(at.v, bytes, len))
        return RC_OK;
    if (stage_used + len > STAGE_BYTES || piece_count == STAGE_PIECES)
        TRY(code_commit());
    if (len > STAGE_BYTES)
        return RC_NO_MEMORY;
    mem_copy(stage + stage_used, bytes, len);
    struct code_piece *last = piece_count ? &pieces[piece_count - 1] : NULL;
    if (last && last->at + last->len == at.v)
        last->len += len; /* adjacent in both: one write */
    else
        pieces[piece_count++] = (struct code_piece){at.v, stage + stage_used, len};
    stage_used += len;
    return RC_OK;
}

/* A signal handler may fork between open and write: the child's descriptor is then that of its parent's memory. */
static bool written(void)
{
    for (int i = 0; i < piece_count; i++)
        if (mem_compare((const void *)pieces[i].at, pieces[i].bytes, pieces[i].len) != 0)
            return false;
    return true;
}

static bool write_by_replacing(void)
{
    for (int i = 0; i < piece_count; i++)
        if (!code_write_pages(pieces[i].at, pieces[i].bytes, pieces[i].len))
            return false;
    return true;
}

rc_t code_commit(void)
{
    if (!piece_count)
        return RC_OK;
    bool good = false;
    for (int tries = 0; tries < 2 && !good && code_way_in_use() == CODE_WAY_MEM; tries++)
        good = code_write_mem(pieces, piece_count) && written();
    good = good || (code_way_get() != CODE_WAY_MEM && write_by_replacing());
    piece_count = 0;
    stage_used = 0;
    return good ? RC_OK : RC_CODE_WRITE;
}
