/* The runtime's own memory: bump arenas over private mappings. Nothing of ours ever reaches the program's
 * heap, and no mapping is made before the first heat.
 *
 * An arena is owned by one thread at a time. Memory comes zeroed, is freed only all at once, and its size
 * is bounded by `limit`, so a runaway caller meets NULL (RC_NO_MEMORY) and not the machine's end. */
#ifndef REHEAT_MEM_H
#define REHEAT_MEM_H

#include <stddef.h>
#include <stdint.h>

struct arena_chunk;
struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used, limit; /* bytes */
};

/* Fresh zeroed pages, or NULL. len is rounded up to pages. */
void *mem_map(size_t len);
void mem_unmap(void *p, size_t len);

/* len bytes aligned to 16, zeroed, or NULL when the limit or the kernel says no. */
void *arena_alloc(struct arena *a, size_t len);
/* Forgets everything; the newest chunk is kept and cleared for reuse. */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

/* Freestanding string functions under names of their own, so that no symbol of libc is shadowed. */
void *mem_copy(void *to, const void *from, size_t n);
void *mem_zero(void *to, size_t n);
int mem_compare(const void *a, const void *b, size_t n);
size_t str_len(const char *s);
int str_equal(const char *a, const char *b);
/* Copies at most cap-1 bytes and terminates. Returns the length of the source. */
size_t str_copy(char *to, const char *from, size_t cap);
/* What follows the last '/', or all. */
const char *str_base(const char *path);

#endif
