#include "fragcache/pun.h"

#include <asm/fcntl.h>
#include <linux/mman.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

#define PAGE 4096u
#define GRANULES (PAGE / NEAR_GRANULE)
#define MAX_PAGES 1024 /* 4 MiB of code and data, and as many mappings: well under vm.max_map_count */
#define SLOTS 4096u /* of the page table; a power of two over MAX_PAGES */
#define LOWEST (1ULL << 20)
#define HIGHEST 0x7ffffffff000ULL
#define TRIES 48u /* calls to mmap for one piece */
#define HEAP_ROOM (256ULL << 20)
#define STACK_ROOM (128ULL << 20) /* the least that the kernel leaves below the stack (mm/util.c, mmap_base) */

struct near_page {
    uint64_t at; /* 0: not mapped */
    uint16_t kind; /* enum near_kind */
    uint16_t used; /* granules */
    uint16_t slot; /* where slots[] has it */
    uint16_t owner[GRANULES]; /* 0: free */
};

static struct near_page *pages;
static int page_count, mapped_count;
/* Page number -> index + 1, for readers without a lock: a slot never becomes empty again, which could cut a probe short.
 * When its page is gone it matches nothing, and is used for another. */
static uint16_t slots[SLOTS];
static struct near_window avoided[2];

int near_page_count(void) { return mapped_count; }

static uint32_t slot_of(uint64_t address)
{
    return (uint32_t)((address / PAGE * 0x9e3779b97f4a7c15ULL) >> 40) % SLOTS;
}

static struct near_page *page_find(uint64_t address)
{
    for (uint32_t s = slot_of(address), i = 0; i < SLOTS; i++, s = (s + 1) % SLOTS) {
        uint16_t index = __atomic_load_n(&slots[s], __ATOMIC_ACQUIRE);
        if (!index)
            return NULL;
        if (__atomic_load_n(&pages[index - 1].at, __ATOMIC_ACQUIRE) == (address & ~(uint64_t)(PAGE - 1)))
            return &pages[index - 1];
    }
    return NULL;
}

uint16_t near_owner(uint64_t pc)
{
    const struct near_page *p = page_find(pc);
    return p ? __atomic_load_n(&p->owner[pc % PAGE / NEAR_GRANULE], __ATOMIC_ACQUIRE) : 0;
}

/* Field 28 of /proc/self/stat (proc(5)): the address of the bottom of the main stack; 0 when unknown. */
static uint64_t stack_start(void)
{
    char buf[1024];
    long fd = sys_open("/proc/self/stat", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    long n = sys_read(fd, buf, sizeof buf);
    (void)sys_close(fd);
    long i = n - 1;
    while (i >= 0 && buf[i] != ')') /* the name may hold anything, a ) too */
        i--;
    uint64_t v = 0;
    for (int field = 2; i >= 0 && i < n && field <= 28; i++) {
        if (buf[i] == ' ')
            field++;
        else if (field == 28 && buf[i] >= '0' && buf[i] <= '9')
            v = v * 10 + (uint64_t)(buf[i] - '0');
    }
    return v;
}

static uint64_t stack_limit(void)
{
    uint64_t limit[2] = {0, 0};
    (void)sys_call6(__NR_prlimit64, 0, 3 /* RLIMIT_STACK */, 0, (long)limit, 0, 0);
    return limit[0] < (4ULL << 30) ? limit[0] : 4ULL << 30; /* unlimited: four GiB will do */
}

static bool pages_ready(void)
{
    if (pages)
        return true;
    pages = mem_map(sizeof *pages * MAX_PAGES);
    uint64_t top = stack_start(), room = stack_limit();
    if (room < STACK_ROOM)
        room = STACK_ROOM;
    if (top > room)
        avoided[1] = (struct near_window){top - room, room + STACK_ROOM};
    return pages != NULL;
}

static bool page_allowed(uint64_t at)
{
    if (at < LOWEST || at >= HIGHEST)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(avoided); i++)
        if (at - avoided[i].start < avoided[i].size)
            return false;
    return true;
}

static struct near_page *page_unused(void)
{
    for (int i = 0; mapped_count < page_count && i < page_count; i++)
        if (!pages[i].at)
            return &pages[i];
    return page_count < MAX_PAGES ? &pages[page_count] : NULL;
}

static struct near_page *page_map(enum near_kind kind, uint64_t at)
{
    struct near_page *page = page_unused();
    if (!page || !page_allowed(at) || page_find(at))
        return NULL;
    int prot = PROT_READ | (kind == NEAR_CODE ? PROT_EXEC : PROT_WRITE);
    void *p = sys_mmap((void *)at, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (sys_failed(p))
        return NULL;
    if ((uint64_t)(uintptr_t)p != at) { /* a kernel before 4.17 ignores the flag */
        (void)sys_munmap(p, PAGE);
        return NULL;
    }
    page_count += page == &pages[page_count];
    mapped_count++;
    page->kind = (uint16_t)kind;
    page->used = 0;
    uint32_t s = slot_of(at);
    while (slots[s] && pages[slots[s] - 1].at && pages[slots[s] - 1].slot == s)
        s = (s + 1) % SLOTS;
    page->slot = (uint16_t)s;
    __atomic_store_n(&page->at, at, __ATOMIC_RELEASE);
    __atomic_store_n(&slots[s], (uint16_t)(page - pages + 1), __ATOMIC_RELEASE);
    return page;
}

/* The granules that [offset, offset + bytes) touches are free and in the page. */
static bool piece_free(const struct near_page *p, uint64_t offset, size_t bytes)
{
    if (offset + bytes > PAGE)
        return false;
    for (uint64_t g = offset / NEAR_GRANULE; g <= (offset + bytes - 1) / NEAR_GRANULE; g++)
        if (p->owner[g])
            return false;
    return true;
}

static bool page_reserve(struct near_page *p, struct near_window w, size_t bytes, uint16_t owner, uint64_t *at)
{
    uint64_t a = w.start > p->at ? w.start : p->at;
    if (w.size >= NEAR_GRANULE)
        a = (a + NEAR_GRANULE - 1) & ~(uint64_t)(NEAR_GRANULE - 1);
    for (; a - w.start < w.size && a - p->at < PAGE; a += NEAR_GRANULE)
        if (piece_free(p, a - p->at, bytes)) {
            for (uint64_t g = (a - p->at) / NEAR_GRANULE; g <= (a - p->at + bytes - 1) / NEAR_GRANULE; g++) {
                __atomic_store_n(&p->owner[g], owner, __ATOMIC_RELEASE);
                p->used++;
            }
            *at = a;
            return true;
        }
    return false;
}

rc_t near_reserve(enum near_kind kind, struct near_window w, size_t bytes, uint16_t owner, uint64_t *at)
{
    if (!pages_ready())
        return RC_NO_MEMORY;
    if (!bytes || !owner || !w.size)
        return RC_ASSERT;
    uint64_t first = w.start & ~(uint64_t)(PAGE - 1), last = (w.start + w.size - 1) & ~(uint64_t)(PAGE - 1);
    for (int i = page_count - 1; i >= 0; i--)
        if (pages[i].at && pages[i].kind == kind && pages[i].at - first <= last - first && pages[i].used < GRANULES &&
            page_reserve(&pages[i], w, bytes, owner, at))
            return RC_OK;
    uint64_t brk = (uint64_t)sys_call3(__NR_brk, 0, 0, 0);
    avoided[0] = (struct near_window){brk, HEAP_ROOM};
    uint64_t count = (last - first) / PAGE + 1, step = count > TRIES ? count / TRIES : 1;
    for (uint64_t i = 0; i < count; i += step) {
        struct near_page *p = page_map(kind, first + i * PAGE);
        if (p && page_reserve(p, w, bytes, owner, at))
            return RC_OK;
    }
    return RC_HOOK_PLACE;
}

void near_free(uint64_t at, size_t bytes)
{
    struct near_page *p = page_find(at);
    if (!p)
        return;
    for (uint64_t g = (at - p->at) / NEAR_GRANULE; g <= (at - p->at + bytes - 1) / NEAR_GRANULE; g++) {
        __atomic_store_n(&p->owner[g], 0, __ATOMIC_RELEASE);
        p->used--;
    }
    if (p->used)
        return;
    uint64_t page = p->at;
    __atomic_store_n(&p->at, 0, __ATOMIC_RELEASE);
    mapped_count--;
    (void)sys_munmap((void *)page, PAGE);
}

struct near_window near_around(uint64_t at)
{
    const uint64_t reach = 0x60000000; /* 1.5 GiB: leaves as much for a rip-relative operand of what is copied */
    uint64_t low = at > reach + LOWEST ? at - reach : LOWEST;
    uint64_t high = at + reach < HIGHEST ? at + reach : HIGHEST;
    return (struct near_window){low & ~(uint64_t)(PAGE - 1), high - low};
}

bool pun_window(struct app_pc at, const uint8_t *text, unsigned len, unsigned pad, struct near_window *w)
{
    unsigned opcode = pad, free_bytes = len - 1 - pad;
    uint32_t rel = 0;
    for (unsigned i = free_bytes; i < 4; i++)
        rel |= (uint32_t)text[opcode + 1 + i] << (8 * i);
    w->start = at.v + opcode + 5 + (uint64_t)(int64_t)(int32_t)rel;
    w->size = 1ULL << (8 * free_bytes);
    return w->start >= LOWEST && w->start + w->size <= HIGHEST;
}

bool pun_possible(struct app_pc at, const uint8_t *text, unsigned len)
{
    struct near_window w;
    for (unsigned pad = 0; len >= PUN_MIN_LEN && pad < len; pad++)
        if (pun_window(at, text, len, pad, &w))
            return true;
    return false;
}

bool pun_encode(struct app_pc at, const uint8_t *text, unsigned len, unsigned pad, uint64_t to, uint8_t *jump)
{
    uint8_t whole[PUN_MAX_BYTES];
    struct asm_buf a = asm_on(whole, sizeof whole, cache_pc(at.v));
    asm_jmp_padded(&a, pad, to);
    if (a.overflow || mem_compare(whole + len, text + len, a.len - len) != 0)
        return false;
    mem_copy(jump, whole, len);
    return true;
}

/* What follows a punned instruction, up to the jump's end. Its bytes stay, but a CPU that comes back to the middle of a jump
 * it has just taken takes those bytes for that jump again: 30 cycles for each pass (measured: Intel Golden Cove). Within the
 * jump no other hook can begin (HK-4), so nothing is missed when they run from the copy. */
void pun_take_after(struct site *s)
{
    uint64_t at = s->at.v, offset = s->len;
    while (offset < SITE_JUMP_BYTES && s->insn_count + s->after_count < SITE_MAX_INSNS) {
        struct insn *in = &s->insn[s->insn_count + s->after_count];
        decode_one(s->bytes + offset, SITE_MAX_BYTES - offset, app_pc(at + offset), in);
        if (in->kind != IK_PLAIN && in->kind != IK_JCC && in->kind != IK_JMP)
            return; /* a call that is not called from its place costs more than it saves */
        s->after_count++;
        offset += in->len;
        if (in->kind == IK_JMP)
            return;
    }
}

bool site_leaves_jump(const struct site *s)
{
    unsigned len = s->len, last = s->insn_count - 1u + s->after_count;
    for (unsigned i = s->insn_count; i <= last; i++)
        len += s->insn[i].len;
    return len >= SITE_JUMP_BYTES || s->insn[last].kind == IK_JMP;
}

/* --- native copies */

static void piece(struct native_map *map, const struct asm_buf *a, uint64_t pc)
{
    map->at[map->count] = (uint8_t)a->len;
    map->pc[map->count++] = pc;
}

/* call: pushes the return address of the original, which lies behind the code. The CPU's return predictor is out
 * of step after it. */
static void copy_call(struct asm_buf *a, struct native_map *map, const struct insn *in)
{
    uint64_t constant = asm_here(a).v + 6 + 5; /* behind push [rip+d] and jmp rel32 */
    asm_push_mem(a, constant);
    piece(map, a, in->target);
    asm_jmp(a, in->target);
    asm_u64(a, in->pc.v + in->len);
}

/* One displaced instruction. False when control never falls out of it. */
static rc_t copy_one(struct asm_buf *a, struct native_map *map, const struct insn *in, bool *falls)
{
    unsigned count = 1;
    uint64_t next = in->pc.v + in->len;
    piece(map, a, in->pc.v);
    *falls = in->kind != IK_JMP && in->kind != IK_CALL && in->kind != IK_LOOP;
    switch (in->kind) {
    case IK_JMP: asm_jmp(a, in->target); break;
    case IK_JCC: asm_jcc(a, in->cc, in->target); break;
    case IK_CALL: copy_call(a, map, in); break;
    case IK_LOOP: /* loop +5; jmp next; jmp target */
        asm_loop_op(a, in->loop_op, 5);
        piece(map, a, next);
        asm_jmp(a, next);
        piece(map, a, in->target);
        asm_jmp(a, in->target);
        break;
    default: TRY(asm_copy_insn(a, in, 0, &count));
    }
    return count == 1 ? RC_OK : RC_NO_SCRATCH; /* no spill slot here: it may be in use */
}

/* `loop` must be the last: what follows it in the copy is its own. */
rc_t native_copy(struct asm_buf *a, const struct site *s, struct native_map *map)
{
    bool falls = true;
    map->count = 0;
    for (int i = 0; i < s->insn_count; i++) {
        TRY(copy_one(a, map, &s->insn[i], &falls));
        if (!falls && i + 1 < s->insn_count)
            return RC_HOOK_KIND;
    }
    uint64_t next = s->at.v + s->len;
    for (int i = 0; falls && i < s->after_count; i++) {
        const struct insn *in = &s->insn[s->insn_count + i];
        const struct asm_buf before = *a;
        const uint8_t pieces = map->count;
        if (copy_one(a, map, in, &falls) != RC_OK || a->overflow) { /* from here on in its place */
            *a = before;
            map->count = pieces;
            break;
        }
        next = in->pc.v + in->len;
    }
    if (falls) {
        piece(map, a, next);
        asm_jmp(a, next);
    }
    return a->overflow ? RC_FAR_BRANCH : RC_OK;
}
