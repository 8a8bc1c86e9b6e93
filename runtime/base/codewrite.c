#include "runtime/base/codewrite.h"

#include <asm/errno.h>
#include <asm/fcntl.h>
#include <linux/mman.h>

#include "runtime/base/fail.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define PAGE      4096u
#define RUN_PAGES 64u /* replaced at once */

static enum code_way way AT_START;
static bool mem_refused AT_START;
static long batch = -1; /* descriptor */
static int batches; /* within each other */
static unsigned used;

void code_set_way(enum code_way w)
{
    way = w;
    mem_refused = false;
}

enum code_way code_way_get(void)
{
    return way;
}
void code_refuse_mem(void)
{
    mem_refused = true;
}
unsigned code_ways_used(void)
{
    return used;
}

enum code_way code_way_in_use(void)
{
    if (way == CODE_WAY_AUTO)
        return mem_refused ? CODE_WAY_PAGE : CODE_WAY_MEM;
    return way;
}

/* No descriptor or memory left: at another moment there may be. */
static bool passes(long error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -EINTR;
}

static long mem_open(void)
{
    return fail_here(FAIL_OPEN_MEM) ? -EACCES : sys_open("/proc/self/mem", O_RDWR | O_CLOEXEC, 0);
}

void code_batch_begin(void)
{
    if (!batches++ && code_way_in_use() == CODE_WAY_MEM)
        batch = mem_open();
}

void code_batch_end(void)
{
    if (--batches)
        return;
    if (batch >= 0)
        (void)sys_close(batch);
    batch = -1;
}

bool code_write_mem(const struct code_piece *pieces, int count)
{
    long fd = batch >= 0 ? batch : mem_open();
    if (fd < 0) {
        mem_refused = mem_refused || !passes(fd);
        return false;
    }
    bool good = true;
    for (int i = 0; i < count && good; i++) {
        long n =
            fail_here(FAIL_CODE_WRITE) ? -EIO : sys_pwrite(fd, pieces[i].bytes, pieces[i].len, pieces[i].at);
        good = n == (long)pieces[i].len;
        mem_refused = mem_refused || (n < 0 && !passes(n));
    }
    if (fd != batch)
        (void)sys_close(fd);
    if (good)
        used |= 1u << CODE_WAY_MEM;
    return good;
}

static bool is_mapped(uint64_t first, size_t len)
{
    uint8_t resident[RUN_PAGES];
    return sys_call3(__NR_mincore, first, len, resident) == 0;
}

/* mremap looks for the means to succeed before it unmaps, but does not promise that it will. Pages that are gone come
 * back with the new bytes. */
static bool pages_restore(uint64_t first, const uint8_t *fresh, size_t len)
{
    if (is_mapped(first, len))
        return false;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
    void *p = sys_mmap((void *)first, len, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (p != (void *)first)
        return false;
    mem_copy(p, fresh, len);
    return sys_mprotect(p, len, PROT_READ | PROT_EXEC) == 0;
}

static bool move_over(uint64_t first, uint8_t *fresh, size_t len)
{
    if (fail_here(FAIL_CODE_WRITE) || sys_mprotect(fresh, len, PROT_READ | PROT_EXEC) != 0)
        return false;
    long moved = sys_call6(__NR_mremap, (long)fresh, (long)len, (long)len, MREMAP_MAYMOVE | MREMAP_FIXED,
                           (long)first, 0);
    return moved == (long)first;
}

static bool replace_run(uint64_t at, const void *bytes, size_t n)
{
    uint64_t first = at & ~(uint64_t)(PAGE - 1);
    size_t len = (at + n - first + PAGE - 1) & ~(size_t)(PAGE - 1);
    uint8_t *fresh = is_mapped(first, len) ? mem_map(len) : NULL;
    if (!fresh)
        return false;
    mem_copy(fresh, (const void *)first, len);
    mem_copy(fresh + (at - first), bytes, n);
    if (move_over(first, fresh, len)) {
        used |= 1u << CODE_WAY_PAGE;
        return true;
    }
    bool good = pages_restore(first, fresh, len);
    mem_unmap(fresh, len);
    return good;
}

bool code_write_pages(uint64_t at, const void *bytes, size_t len)
{
    for (size_t done = 0, n; done < len; done += n) {
        n = RUN_PAGES * PAGE - (at + done) % PAGE;
        if (n > len - done)
            n = len - done;
        if (!replace_run(at + done, (const uint8_t *)bytes + done, n))
            return false;
    }
    return true;
}
