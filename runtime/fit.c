#include "runtime/fit.h"

#define ROUNDS 4 /* of reweighting */
#define SWEEPS 200
#define HUBER 1.5 /* mean absolute deviations */

static double rate[FIT_WINDOWS][FIT_CLOCKS], speed[FIT_WINDOWS], spread;
static double mean[FIT_ARMS];
static uint8_t arm_of[FIT_WINDOWS];

static double positive(double x) { return x < 0 ? -x : x; }

struct system {
    double gram[FIT_CLOCKS][FIT_CLOCKS], right[FIT_CLOCKS], weight[FIT_CLOCKS];
};

static void system_add(struct system *s, const double *r, double target, double influence)
{
    for (int i = 0; i < FIT_CLOCKS; i++) {
        for (int j = 0; j <= i; j++)
            s->gram[i][j] += influence * r[i] * r[j];
        s->right[i] += influence * target * r[i];
    }
}

static void system_solve(struct system *s)
{
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (int i = 0; i < FIT_CLOCKS; i++) {
            double left = 0;
            for (int j = 0; j < FIT_CLOCKS; j++)
                if (j != i)
                    left += (j < i ? s->gram[i][j] : s->gram[j][i]) * s->weight[j];
            double w = s->gram[i][i] > 0 ? (s->right[i] - left) / s->gram[i][i] : 0;
            s->weight[i] = w > 0 ? w : 0;
        }
}

static double speed_of(const struct system *s, const double *r)
{
    double v = 0;
    for (int j = 0; j < FIT_CLOCKS; j++)
        v += s->weight[j] * r[j];
    return v;
}

void fit_window(int w, int arm, const uint64_t ticks[FIT_CLOCKS], uint64_t ns)
{
    arm_of[w] = (uint8_t)arm;
    for (int j = 0; j < FIT_CLOCKS; j++)
        rate[w][j] = (double)(int64_t)ticks[j] / (double)(int64_t)(ns + 1);
}

uint64_t fit_speed(int w) { return (uint64_t)(int64_t)(speed[w] * FIT_ONE); }

uint64_t fit_spread(void) { return (uint64_t)(int64_t)(spread * FIT_ONE); }

/* Of each arm, with 1 for all. */
static void means_get(int n)
{
    double sum[FIT_ARMS] = {0}, all = 0;
    int count[FIT_ARMS] = {0};
    for (int w = 0; w < n; w++) {
        sum[arm_of[w]] += speed[w];
        all += speed[w] / n;
        count[arm_of[w]]++;
    }
    for (int a = 0; a < FIT_ARMS; a++)
        mean[a] = count[a] && all > 0 ? sum[a] / count[a] / all : 1;
}

static void round_solve(struct system *s, int n, bool first)
{
    for (int i = 0; i < FIT_CLOCKS; i++) {
        s->right[i] = 0;
        s->weight[i] = first ? 0 : s->weight[i];
        for (int j = 0; j < FIT_CLOCKS; j++)
            s->gram[i][j] = 0;
    }
    for (int w = 0; w < n; w++) {
        double target = first ? 1 : mean[arm_of[w]], off = first ? 0 : positive(speed[w] - target);
        system_add(s, rate[w], target, off > HUBER * spread ? HUBER * spread / off : 1);
    }
    system_solve(s);
}

int fit_windows(int n)
{
    static struct system s;
    int used = 0;
    for (int round = 0; round < ROUNDS; round++) {
        round_solve(&s, n, round == 0);
        for (int w = 0; w < n; w++)
            speed[w] = speed_of(&s, rate[w]);
        means_get(n);
        spread = 0;
        for (int w = 0; w < n; w++)
            spread += positive(speed[w] - mean[arm_of[w]]) / n;
    }
    for (int j = 0; j < FIT_CLOCKS; j++)
        used += s.weight[j] > 0;
    return used;
}
