#include "runtime/verdict.h"

#define TRIM_PERCENT 20
#define WORTH (VERDICT_ONE * 3 / 1000) /* what a trial need not look for: 0.3 % */
#define EARLY_BLOCKS 4
#define EARLY_T 1021 /* of t with three degrees of freedom, the same quantile */
#define FUTILE_T 170 /* hundredths: one in twenty that is worth it is given up at a look */

static const struct {
    int n;
    int keep; /* one-sided 0.001 quantile of t with the degrees of freedom of the trimmed mean, in hundredths */
} looks[] = {{8, 589}, {12, 479}, {16, 430}, {24, 373},  {32, 358}, {48, 340},
             {64, 331}, {96, 324}, {128, 320}, {192, 316}, {256, 315}};

static uint64_t square_root(uint64_t v)
{
    uint64_t r = 0;
    for (uint64_t bit = 1ULL << 31; bit; bit >>= 1)
        if ((r + bit) * (r + bit) <= v)
            r += bit;
    return r;
}

int32_t verdict_ln(uint64_t num, uint64_t den)
{
    int64_t log2 = 0;
    while ((num | den) >> 40)
        num >>= 1, den >>= 1;
    num += !num;
    den += !den;
    while (num >= 2 * den)
        den *= 2, log2 += VERDICT_ONE;
    while (num < den)
        num *= 2, log2 -= VERDICT_ONE;
    uint64_t x = (num << 20) / den; /* 1 <= x / 2^20 < 2: each squaring gives one bit of the logarithm */
    for (int bit = 15; bit >= 0; bit--) {
        x = x * x >> 20;
        if (x >= 2u << 20) {
            x >>= 1;
            log2 += 1LL << bit;
        }
    }
    return (int32_t)(log2 * 45426 / VERDICT_ONE); /* ln 2 */
}

static void sort(int32_t *v, int n)
{
    for (int i = 1; i < n; i++) {
        int32_t x = v[i];
        int j = i;
        for (; j && v[j - 1] > x; j--)
            v[j] = v[j - 1];
        v[j] = x;
    }
}

struct estimate verdict_estimate(const int32_t *x, int n, int fitted)
{
    static int32_t v[VERDICT_MOST_BLOCKS]; /* not on a borrowed stack */
    int cut = n * TRIM_PERCENT / 100, left = n - 2 * cut;
    int64_t sum = 0, winsorized = 0, squares = 0;
    if (left < 2 || fitted >= n)
        return (struct estimate){0, INT32_MAX, n};
    for (int i = 0; i < n; i++)
        v[i] = x[i];
    sort(v, n);
    for (int i = cut; i < n - cut; i++)
        sum += v[i];
    int64_t low = v[cut], high = v[n - cut - 1];
    winsorized = sum + cut * (low + high);
    for (int i = 0; i < n; i++) {
        int64_t y = v[i] < low ? low : v[i] > high ? high : v[i];
        int64_t d = y - winsorized / n;
        squares += d * d;
    }
    uint64_t variance = (uint64_t)squares / (uint64_t)((int64_t)left * (left - 1));
    variance = variance * 2 * (uint64_t)n / (uint64_t)(2 * n - fitted);
    return (struct estimate){(int32_t)(sum / left), (int32_t)square_root(variance) + 1, n};
}

bool verdict_due(int n)
{
    if (n == EARLY_BLOCKS)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(looks); i++)
        if (looks[i].n == n)
            return true;
    return false;
}

enum verdict verdict_of(struct estimate e)
{
    int64_t keep = e.n < EARLY_BLOCKS ? 0 : EARLY_T, mean = e.mean, error = e.error;
    for (size_t i = 0; i < ARRAY_LEN(looks); i++)
        if (looks[i].n <= e.n)
            keep = looks[i].keep;
    if (!keep)
        return VERDICT_NONE;
    if (e.n >= looks[0].n && (mean - WORTH) * 100 > keep * error) /* what gains less may be chance, or a clock's cost, and is not missed */
        return VERDICT_FASTER;
    if (-mean * 300 > keep * 2 * error) /* sooner: to be wrong here costs no more than a gain */
        return VERDICT_SLOWER;
    if (e.n < looks[0].n)
        return VERDICT_NONE;
    if (mean * 100 + FUTILE_T * error < WORTH * 100 || e.n >= VERDICT_MOST_BLOCKS)
        return VERDICT_NEUTRAL;
    return VERDICT_NONE;
}
