#include "runtime/exposure.h"

#include "runtime/base/mem.h"

#define LEAST_WINDOWS 2 /* of the arm, before its clocks are believed */
#define LEAST_TICKS 16u /* of a clock that is asked */

static struct {
    uint64_t ticks[FIT_ARMS][FIT_CLOCKS], ns[FIT_ARMS], unpaid[FIT_ARMS];
    int windows[FIT_ARMS];
} ex;

void exposure_begin(void) { mem_zero(&ex, sizeof ex); }

void exposure_window(int arm, const uint64_t ticks[FIT_CLOCKS], uint64_t ns)
{
    for (int j = 0; j < FIT_CLOCKS; j++)
        ex.ticks[arm][j] += ticks[j];
    ex.ns[arm] += ns;
    ex.unpaid[arm] += ns;
    ex.windows[arm]++;
}

int32_t exposure_loss(int arm)
{
    int32_t loss[FIT_CLOCKS];
    int n = 0;
    if (arm == 0)
        return 0;
    if (ex.windows[arm] < LEAST_WINDOWS || ex.windows[0] < LEAST_WINDOWS)
        return EXPOSURE_PRIOR;
    for (int j = 0; j < FIT_CLOCKS; j++) {
        if (ex.ticks[0][j] + ex.ticks[arm][j] < LEAST_TICKS)
            continue;
        int32_t x = verdict_ln(ex.ticks[0][j], ex.ticks[arm][j]) + verdict_ln(ex.ns[arm], ex.ns[0]);
        int k = n++;
        for (; k && loss[k - 1] > x; k--)
            loss[k] = loss[k - 1];
        loss[k] = x;
    }
    int32_t median = n ? loss[n / 2] : EXPOSURE_PRIOR;
    return median < 0 ? 0 : median < VERDICT_ONE ? median : VERDICT_ONE;
}

static uint64_t cost(const uint64_t ns[FIT_ARMS])
{
    uint64_t sum = 0;
    for (int arm = 1; arm < FIT_ARMS; arm++)
        if (ns[arm])
            sum += ns[arm] * (uint64_t)exposure_loss(arm) / VERDICT_ONE;
    return sum;
}

uint64_t exposure_pay(void)
{
    uint64_t due = cost(ex.unpaid) * EXPOSURE_SHARE;
    mem_zero(ex.unpaid, sizeof ex.unpaid);
    return due;
}

uint64_t exposure_cost(void) { return cost(ex.ns); }
