/* Two kinds of code address that must never be mixed: where the program believes it is, and where a copy
 * of that code lies in our memory. */
#ifndef REHEAT_TYPES_H
#define REHEAT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app_pc {
    uint64_t v;
};
struct cache_pc {
    uint64_t v;
};

static inline struct app_pc app_pc(uint64_t v) { return (struct app_pc){v}; }
static inline struct cache_pc cache_pc(uint64_t v) { return (struct cache_pc){v}; }
static inline bool app_pc_eq(struct app_pc a, struct app_pc b) { return a.v == b.v; }

#define REH_HIDDEN __attribute__((visibility("hidden")))
/* What a process writes that ends before its first slice shares a page with what the loader wrote. */
#define AT_START __attribute__((section(".data")))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
