/* Random numbers: splitmix64 (Steele, Lea, Flood, OOPSLA 2014); a seed is the whole state. */
#ifndef REHEAT_FUZZ_RNG_H
#define REHEAT_FUZZ_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t s;
};

static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->s += 0x9e3779b97f4a7c15ULL);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}
/* 0 .. n-1 */
static inline uint32_t rng_below(struct rng *r, uint32_t n)
{
    return (uint32_t)((rng_next(r) >> 32) * n >> 32);
}
static inline bool rng_percent(struct rng *r, unsigned p)
{
    return rng_below(r, 100) < p;
}
/* One of the set bits of a mask that is not 0. */
static inline unsigned rng_bit(struct rng *r, uint32_t mask)
{
    for (uint32_t k = rng_below(r, (uint32_t)__builtin_popcount(mask)); k; k--)
        mask &= mask - 1;
    return (unsigned)__builtin_ctz(mask);
}

#endif
