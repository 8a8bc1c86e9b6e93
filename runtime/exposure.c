#include "runtime/exposure.h"

#include "runtime/base/mem.h"

#define LEAST_WINDOWS 2 /* of the arm, before its clocks are believed */
#define LEAST_TICKS 16u /* of a clock that is asked */

static struct {
    uint64_t ticks[FIT_ARMS][FIT_CLOCKS], ns[FIT_ARMS];
    int windows[FIT_ARMS];
    uint64_t overhead, paid;
} ex;

void exposure_begin(void) { mem_zero(&ex, sizeof ex); }

void exposure_window(int arm, const uint64_t ticks[FIT_CLOCKS], uint64_t ns)
{
    for (int j = 0; j < FIT_CLOCKS; j++)
        ex.ticks[arm][j] += ticks[j];
    ex.ns[arm] += ns;
    ex.windows[arm]++;
}

void exposure_overhead(uint64_t ns) { ex.overhead += ns; }

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
    return median < -VERDICT_ONE ? -VERDICT_ONE : median < VERDICT_ONE ? median : VERDICT_ONE;
}

static int64_t lost(void)
{
    int64_t sum = 0;
    for (int arm = 1; arm < FIT_ARMS; arm++)
        if (ex.ns[arm])
            sum += (int64_t)ex.ns[arm] * exposure_loss(arm) / VERDICT_ONE;
    return sum;
}

static uint64_t least_zero(int64_t x) { return x > 0 ? (uint64_t)x : 0; }

uint64_t exposure_lost(void) { return least_zero(lost()); }

uint64_t exposure_cost(void) { return least_zero(lost() + (int64_t)ex.overhead); }

uint64_t exposure_due(void)
{
    uint64_t due = exposure_cost() * EXPOSURE_SHARE;
    return due > ex.paid ? due - ex.paid : 0;
}

void exposure_rested(uint64_t ns) { ex.paid += ns; }
