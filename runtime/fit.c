#include "runtime/fit.h"

#define ROUNDS 4 /* of reweighting */
#define SWEEPS 200
#define HUBER 1.5 /* mean absolute deviations */

static double rate[FIT_WINDOWS][FIT_CLOCKS], speed[FIT_WINDOWS], spread;

static double positive(double x) { return x < 0 ? -x : x; }

struct system {
    double gram[FIT_CLOCKS][FIT_CLOCKS], right[FIT_CLOCKS], weight[FIT_CLOCKS];
};

static void system_add(struct system *s, const double *r, double influence)
{
    for (int i = 0; i < FIT_CLOCKS; i++) {
        for (int j = 0; j <= i; j++)
            s->gram[i][j] += influence * r[i] * r[j];
        s->right[i] += influence * r[i];
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

void fit_window(int w, const uint64_t ticks[FIT_CLOCKS], uint64_t ns)
{
    for (int j = 0; j < FIT_CLOCKS; j++)
        rate[w][j] = (double)(int64_t)ticks[j] / (double)(int64_t)(ns + 1);
}

uint64_t fit_speed(int w) { return (uint64_t)(int64_t)(speed[w] * FIT_ONE); }

uint64_t fit_spread(void) { return (uint64_t)(int64_t)(spread * FIT_ONE); }

int fit_windows(int n)
{
    static struct system s;
    spread = 0;
    int used = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < FIT_CLOCKS; i++) {
            s.right[i] = 0;
            s.weight[i] = round ? s.weight[i] : 0;
            for (int j = 0; j < FIT_CLOCKS; j++)
                s.gram[i][j] = 0;
        }
        for (int w = 0; w < n; w++) {
            double off = round ? positive(speed[w] - 1) : 0;
            system_add(&s, rate[w], off > HUBER * spread ? HUBER * spread / off : 1);
        }
        system_solve(&s);
        spread = 0;
        for (int w = 0; w < n; w++) {
            speed[w] = speed_of(&s, rate[w]);
            spread += positive(speed[w] - 1) / n;
        }
    }
    for (int j = 0; j < FIT_CLOCKS; j++)
        used += s.weight[j] > 0;
    return used;
}
