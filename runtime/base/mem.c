#include "runtime/base/mem.h"

#include <linux/mman.h>

#include "runtime/base/sys.h"

#define CHUNK_BYTES (256u << 10)
#define SCRATCH_CHUNK_BYTES (1u << 20)
#define PAGE 4096u
#define MOST_HEADS (PAGE / sizeof(struct arena_chunk))

struct arena_chunk {
    struct arena_chunk *next;
    char *at; /* this header's own address, but not for scratch */
    size_t bytes, used; /* both include the header at `at` */
};

static bool wipe;

void *mem_map(size_t len)
{
    len = (len + PAGE - 1) & ~(size_t)(PAGE - 1);
    void *p = sys_mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return sys_failed(p) ? NULL : p;
}

void mem_wipe_at_fork(void) { wipe = true; }

void *mem_map_scratch(size_t len)
{
    void *p = mem_map(len);
    if (p && wipe) /* refused by an older kernel: it is copied */
        (void)sys_call3(__NR_madvise, (long)p, (long)((len + PAGE - 1) & ~(size_t)(PAGE - 1)), MADV_WIPEONFORK);
    return p;
}

void mem_unmap(void *p, size_t len) { (void)sys_munmap(p, (len + PAGE - 1) & ~(size_t)(PAGE - 1)); }

static size_t header_bytes(const struct arena *a) { return a->scratch ? 0 : (sizeof(struct arena_chunk) + 15) & ~(size_t)15; }

/* The header of a chunk, elsewhere than in memory that is wiped. */
static struct arena_chunk *head_get(struct arena *a)
{
    if (!a->heads)
        a->heads = mem_map(MOST_HEADS * sizeof *a->heads);
    return a->heads && a->head_count < (int)MOST_HEADS ? &a->heads[a->head_count] : NULL;
}

static struct arena_chunk *chunk_add(struct arena *a, size_t len)
{
    size_t bytes = len + header_bytes(a), least = a->scratch ? SCRATCH_CHUNK_BYTES : CHUNK_BYTES;
    if (bytes < least)
        bytes = least;
    bytes = (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
    if (a->limit && a->used + bytes > a->limit)
        return NULL;
    struct arena_chunk *c = a->scratch ? head_get(a) : NULL;
    char *at = a->scratch && !c ? NULL : a->scratch ? mem_map_scratch(bytes) : mem_map(bytes);
    if (!at)
        return NULL;
    a->head_count += a->scratch;
    c = c ? c : (struct arena_chunk *)(void *)at;
    c->at = at;
    c->bytes = bytes;
    c->used = header_bytes(a);
    c->next = a->chunks;
    a->chunks = c;
    a->used += bytes;
    return c;
}

void *arena_alloc(struct arena *a, size_t len)
{
    len = (len + 15) & ~(size_t)15;
    struct arena_chunk *c = a->chunks;
    if (!c || c->bytes - c->used < len)
        c = chunk_add(a, len);
    if (!c)
        return NULL;
    void *p = c->at + c->used;
    c->used += len;
    return p;
}

void arena_reset(struct arena *a)
{
    struct arena_chunk *keep = a->chunks;
    if (!keep)
        return;
    while (keep->next) {
        struct arena_chunk *c = keep->next;
        keep->next = c->next;
        a->used -= c->bytes;
        mem_unmap(c->at, c->bytes);
    }
    size_t header = header_bytes(a);
    mem_zero(keep->at + header, keep->used - header);
    keep->used = header;
    if (a->scratch) {
        a->heads[0] = *keep;
        a->chunks = a->heads;
        a->head_count = 1;
    }
}

void arena_free(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->next;
        mem_unmap(c->at, c->bytes);
    }
    if (a->heads)
        mem_unmap(a->heads, MOST_HEADS * sizeof *a->heads);
    a->heads = NULL;
    a->head_count = 0;
    a->used = 0;
}

/* Short runs by words: `rep` has a start-up cost of tens of cycles. */
typedef uint64_t __attribute__((may_alias, aligned(1))) word;

void *mem_copy(void *to, const void *from, size_t n)
{
    char *t = to;
    const char *f = from;
    if (n > 256) {
        __asm__ volatile("rep movsb" : "+D"(t), "+S"(f), "+c"(n) : : "memory");
        return to;
    }
    for (; n >= 8; n -= 8, t += 8, f += 8)
        *(word *)t = *(const word *)f;
    while (n--)
        *t++ = *f++;
    return to;
}

void *mem_zero(void *to, size_t n)
{
    char *t = to;
    if (n > 512) {
        __asm__ volatile("rep stosb" : "+D"(t), "+c"(n) : "a"(0) : "memory");
        return to;
    }
    for (; n >= 8; n -= 8, t += 8)
        *(word *)t = 0;
    while (n--)
        *t++ = 0;
    return to;
}

int mem_compare(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;
    for (; n >= 8 && *(const word *)x == *(const word *)y; n -= 8)
        x += 8, y += 8;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

size_t str_len(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

int str_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

size_t str_copy(char *to, const char *from, size_t cap)
{
    size_t n = str_len(from), k = n < cap ? n : cap - 1;
    mem_copy(to, from, k);
    to[k] = 0;
    return n;
}

const char *str_base(const char *path)
{
    const char *base = path;
    for (; *path; path++)
        if (*path == '/')
            base = path + 1;
    return base;
}
