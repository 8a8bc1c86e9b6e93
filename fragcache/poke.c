#include "fragcache/poke.h"

#include <linux/membarrier.h>

#include "fragcache/hook.h"
#include "fragcache/pun.h"
#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "tracer/asm.h"

#define PAGE 4096u
#define REPLACED_MAX 16384u /* a power of two, half of it used: a quarter of the mappings vm.max_map_count allows */

static bool alone, sync_works, batch, no_traps;
#define GONE 1u /* no page, and no end of a probe */
static uint64_t replaced[REPLACED_MAX]; /* pages, as a hash set whose probes never become shorter */
static uint32_t replaced_count; /* with those that are gone */
static uint64_t listed[REPLACED_MAX / 2]; /* the same pages, for questions about ranges */
static uint32_t listed_count;

void poke_set_alone(bool yes) { alone = yes; }
bool poke_is_alone(void) { return alone; }
void poke_set_traps(bool allowed) { no_traps = !allowed; }

static uint32_t slot_of(uint64_t page)
{
    return (uint32_t)((page * 0x9e3779b97f4a7c15ULL) >> 40) & (REPLACED_MAX - 1);
}

bool poke_replaced_page(uint64_t at)
{
    uint64_t page = at & ~(uint64_t)(PAGE - 1);
    for (uint32_t i = slot_of(page);; i = (i + 1) & (REPLACED_MAX - 1)) {
        uint64_t v = __atomic_load_n(&replaced[i], __ATOMIC_ACQUIRE);
        if (v == page || !v)
            return v != 0;
    }
}

uint64_t poke_next_replaced(uint64_t start, uint64_t end)
{
    uint64_t first = 0;
    for (uint32_t i = 0; i < __atomic_load_n(&listed_count, __ATOMIC_ACQUIRE); i++) {
        uint64_t page = __atomic_load_n(&listed[i], __ATOMIC_RELAXED);
        if (page > GONE && page + PAGE > start && page < end && (!first || page < first))
            first = page;
    }
    return first;
}

static bool list(uint64_t page)
{
    uint32_t i = 0;
    while (i < listed_count && listed[i] > GONE)
        i++;
    if (i == ARRAY_LEN(listed))
        return false;
    __atomic_store_n(&listed[i], page, __ATOMIC_RELAXED);
    if (i == listed_count)
        __atomic_store_n(&listed_count, i + 1, __ATOMIC_RELEASE);
    return true;
}

/* As the file has it, but for hooks. Otherwise somebody else has changed it, perhaps with breakpoints (uprobes), which the kernel
 * only serves where the file is mapped. */
static bool is_files_own(uint64_t page)
{
    uint8_t bytes[PAGE / 8];
    for (uint64_t at = page; at < page + PAGE; at += sizeof bytes) {
        mem_copy(bytes, (const void *)at, sizeof bytes);
        (void)hook_overlay(at, bytes, sizeof bytes);
        if (!maps_file_has(at, bytes, sizeof bytes))
            return false;
    }
    return true;
}

static bool replaced_add(uint64_t at)
{
    uint64_t page = at & ~(uint64_t)(PAGE - 1);
    if (poke_replaced_page(page))
        return true;
    if (no_traps && !maps_page_is_replaced(page) && !is_files_own(page))
        return false;
    bool known = maps_replace_page(page);
    if ((no_traps && !known) || !list(page))
        return false;
    uint32_t i = slot_of(page);
    while (replaced[i] > GONE)
        i = (i + 1) & (REPLACED_MAX - 1);
    if (!replaced[i] && replaced_count >= REPLACED_MAX / 2)
        return false;
    replaced_count += !replaced[i];
    __atomic_store_n(&replaced[i], page, __ATOMIC_RELEASE);
    return true;
}

void poke_forget_range(uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < REPLACED_MAX; i++)
        if (replaced[i] > GONE && replaced[i] >= start && replaced[i] < end)
            __atomic_store_n(&replaced[i], GONE, __ATOMIC_RELEASE);
    for (uint32_t i = 0; i < listed_count; i++)
        if (listed[i] >= start && listed[i] < end)
            __atomic_store_n(&listed[i], GONE, __ATOMIC_RELAXED);
    maps_forget_replaced(start, end);
}

static bool system_write(enum poke_way way, uint64_t at, const void *bytes, size_t len)
{
    const struct code_piece piece = {at, bytes, len};
    return way == POKE_PAGE ? code_write_pages(at, bytes, len) : code_write_mem(&piece, 1);
}

static bool system_sync(void)
{
    if (sys_call3(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0)
        return true;
    /* Not registered yet, or not in this process since exec. */
    return sys_call3(__NR_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0 &&
           sys_call3(__NR_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0) == 0;
}

const struct poke_io poke_io_system = {system_write, system_sync};
static const struct poke_io *io = &poke_io_system;

void poke_set_io(const struct poke_io *to)
{
    io = to ? to : &poke_io_system;
    sync_works = false;
}

void poke_batch_begin(void)
{
    batch = alone;
    code_batch_begin();
}

void poke_batch_end(void)
{
    code_batch_end();
    if (batch)
        (void)io->sync();
    batch = false;
}

static bool same_page(uint64_t at, size_t len) { return at / PAGE == (at + len - 1) / PAGE; }

bool poke_at_once(uint64_t at, size_t len) { return alone || (poke_way_in_use() == POKE_PAGE && same_page(at, len)); }

/* Bytes that may lie on two pages, where a state between is harmless. */
bool poke_plain(uint64_t at, const uint8_t *bytes, size_t len)
{
    if (poke_way_in_use() == POKE_MEM) {
        if (io->write(POKE_MEM, at, bytes, len))
            return true;
        if (code_way_get() == CODE_WAY_MEM)
            return false;
    }
    size_t first = PAGE - at % PAGE < len ? PAGE - at % PAGE : len;
    if (!near_owner(at) && (!replaced_add(at) || !replaced_add(at + len - 1)))
        return false;
    return io->write(POKE_PAGE, at, bytes, first) &&
           (first == len || io->write(POKE_PAGE, at + first, bytes + first, len - first));
}

static uint8_t int3_byte(void)
{
    uint8_t byte;
    struct asm_buf a = asm_on(&byte, 1, cache_pc(0));
    asm_int3(&a);
    return byte;
}

bool poke_is_int3(uint64_t at) { return *(const uint8_t *)at == int3_byte(); }

static bool with_int3(uint64_t at, const uint8_t *bytes, size_t len)
{
    uint8_t int3 = int3_byte();
    return poke_plain(at, &int3, 1) && io->sync() &&
           (len == 1 || (poke_plain(at + 1, bytes + 1, len - 1) && io->sync())) && poke_plain(at, bytes, 1);
}

/* As it was, or an int3 that stays. */
static bool put_back(uint64_t at, const uint8_t *before, size_t len)
{
    if (mem_compare((const void *)(at + 1), before + 1, len - 1) == 0)
        return poke_plain(at, before, 1);
    return with_int3(at, before, len);
}

/* Changes `len` bytes of text from what they are to `bytes`. When it fails half-way it goes back; *stuck: it could
 * not, and an int3 stands. */
rc_t poke_change(uint64_t at, const uint8_t *bytes, size_t len, bool *stuck)
{
    uint8_t before[POKE_MAX];
    mem_copy(before, (const void *)at, len);
    *stuck = false;
    if (mem_compare(before, bytes, len) == 0)
        return RC_OK;
    bool at_once = poke_at_once(at, len);
    if (!at_once && no_traps)
        return RC_HOOK_PAGES;
    if (!at_once && !sync_works && !(sync_works = io->sync())) /* before anything is changed */
        return RC_HOOK_SYNC;
    bool good = at_once ? poke_plain(at, bytes, len) : with_int3(at, bytes, len);
    if (!batch)
        (void)io->sync(); /* what is left to see is the int3, which hook_trap serves */
    if (good)
        return RC_OK;
    *stuck = mem_compare((const void *)at, before, len) != 0 && !put_back(at, before, len);
    return RC_CODE_WRITE;
}
