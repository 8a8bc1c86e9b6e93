#include "runtime/base/mem.h"

#include <linux/mman.h>

#include "runtime/base/sys.h"

#define CHUNK_BYTES (256u << 10)
#define PAGE 4096u

struct arena_chunk {
    struct arena_chunk *next;
    size_t bytes, used; /* both include this header */
};

void *mem_map(size_t len)
{
    len = (len + PAGE - 1) & ~(size_t)(PAGE - 1);
    void *p = sys_mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return sys_failed(p) ? NULL : p;
}

void mem_unmap(void *p, size_t len) { (void)sys_munmap(p, (len + PAGE - 1) & ~(size_t)(PAGE - 1)); }

static struct arena_chunk *chunk_add(struct arena *a, size_t len)
{
    size_t bytes = len + sizeof(struct arena_chunk) + 16;
    if (bytes < CHUNK_BYTES)
        bytes = CHUNK_BYTES;
    bytes = (bytes + PAGE - 1) & ~(size_t)(PAGE - 1);
    if (a->limit && a->used + bytes > a->limit)
        return NULL;
    struct arena_chunk *c = mem_map(bytes);
    if (!c)
        return NULL;
    c->bytes = bytes;
    c->used = (sizeof *c + 15) & ~(size_t)15;
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
    void *p = (char *)c + c->used;
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
        mem_unmap(c, c->bytes);
    }
    size_t header = (sizeof *keep + 15) & ~(size_t)15;
    mem_zero((char *)keep + header, keep->used - header);
    keep->used = header;
}

void arena_free(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->next;
        mem_unmap(c, c->bytes);
    }
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
