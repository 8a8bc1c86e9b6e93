#include "runtime/gains.h"

static int bits(uint32_t mask)
{
    int n = 0;
    for (; mask; mask &= mask - 1)
        n++;
    return n;
}

/* In equal parts; what does not divide goes to the first. */
static void share(int64_t to[], uint32_t passes, int64_t gain)
{
    int64_t n = bits(passes);
    if (!n)
        return;
    int64_t rest = gain - gain / n * n;
    for (int i = 0; i < PASS_COUNT; i++) {
        if (!(passes & PASS_BIT(i)))
            continue;
        to[i] += gain / n + rest;
        rest = 0;
    }
}

/* Of the measured variants that lack some of this one's passes and have no others, the one that lacks fewest; 0: none. */
static int next_smaller(const uint32_t passes[GAINS_ARMS], const int32_t gain[GAINS_ARMS], int arm)
{
    int best = 0;
    for (int i = 1; i < GAINS_ARMS; i++) {
        bool smaller = gain[i] != GAIN_UNKNOWN && passes[i] != passes[arm] && !(passes[i] & ~passes[arm]);
        if (smaller && (!best || bits(passes[i]) > bits(passes[best])))
            best = i;
    }
    return best;
}

void gains_add_untried(struct gains *g, uint32_t passes)
{
    for (int i = 0; i < PASS_COUNT; i++)
        g->fragments[i] += passes >> i & 1;
    g->fragments[PASS_COUNT] += !passes;
}

void gains_add(struct gains *g, const uint32_t passes[GAINS_ARMS], const int32_t gain[GAINS_ARMS], int arm, uint64_t part,
               uint64_t all)
{
    int64_t p = all ? (int64_t)part : 1, of = all ? (int64_t)all : 1;
    gains_add_untried(g, passes[arm]);
    for (int less = next_smaller(passes, gain, arm); less; less = next_smaller(passes, gain, arm)) {
        share(g->measured, passes[arm] & ~passes[less], ((int64_t)gain[arm] - gain[less]) * p / of);
        arm = less;
    }
    int64_t left = gain[arm] * p / of;
    if (passes[arm])
        share(g->shared, passes[arm], left);
    else
        g->shared[PASS_COUNT] += left;
}
