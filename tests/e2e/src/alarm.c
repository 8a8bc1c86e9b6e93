/* build: -O2
 * A timer's handler interrupts a hot loop many times; the loop's result must not change. */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

static volatile sig_atomic_t ticks;
static volatile double spoiled;

static void on_alarm(int number)
{
    ticks++;
    spoiled = sqrt(number + ticks) * 1.5;
}

static __attribute__((noinline)) unsigned long compute(unsigned long rounds, double *real)
{
    unsigned long x = 88172645463325252UL;
    double r = 0.5;
    for (unsigned long i = 0; i < rounds; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        r = r * 0.999 + (double)(x & 1023) * 0.001;
    }
    *real = r;
    return x;
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 500}, {0, 500}};
    setitimer(ITIMER_REAL, &often, NULL);
    double first, real;
    unsigned long expected = compute(200000, &first);
    int wrong = 0;
    for (int i = 0; i < 100 || (ticks < 20 && i < 10000); i++)
        if (compute(200000, &real) != expected || real != first)
            wrong++;
    often = (struct itimerval){0};
    setitimer(ITIMER_REAL, &often, NULL);
    printf("%lx %.17g wrong %d, ticks %s\n", expected, first, wrong, ticks >= 20 ? "enough" : "too few");
    return 0;
}
