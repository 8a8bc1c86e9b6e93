/* build: -O2 -frounding-math
 * long double and x87 state: values on the register stack across branches, control word, rounding, MXCSR flags. */
#include <fenv.h>
#include <math.h>
#include <stdio.h>

static __attribute__((noinline)) long double series(int terms)
{
    long double sum = 0, sign = 1;
    for (int i = 0; i < terms; i++) {
        sum += sign / (2 * i + 1);
        sign = -sign;
    }
    return sum * 4;
}

/* Keeps three values on the x87 stack through a loop with branches. */
static double resident(unsigned count)
{
    double out;
    __asm__ volatile("fld1\n fldpi\n fldl2e\n"
                     "1: test $1, %1\n jz 2f\n fxch %%st(1)\n fadd %%st(2), %%st\n jmp 3f\n"
                     "2: fxch %%st(2)\n fsqrt\n fabs\n 3: dec %1\n jnz 1b\n"
                     "faddp\n faddp\n fstpl %0\n"
                     : "=m"(out), "+r"(count) : : "st", "st(1)", "st(2)", "cc");
    return out;
}

int main(void)
{
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    printf("%.18Lf %.12f\n", series(200000), resident(10000));
    for (int i = 0; i < 4; i++) {
        fesetround(modes[i]);
        volatile double x = 0, step = 0.1;
        volatile long double y = 0;
        volatile float z = 0;
        for (int k = 0; k < 20000; k++) {
            x += step;
            y += step;
            z += 0.1f;
        }
        printf("%a %La %a %ld\n", x, y, z, lrint(x * 0.37));
    }
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    volatile double zero = 0, big = 1e308;
    for (int k = 0; k < 1000; k++)
        if (k == 700)
            big = big * 10;
    printf("%d", fetestexcept(FE_OVERFLOW) != 0);
    zero = 1 / zero;
    printf(" %d %d %f\n", fetestexcept(FE_DIVBYZERO) != 0, fetestexcept(FE_INVALID) != 0, zero);
    printf("%.15Lg %.15Lg %.15Lg\n", sinl(1.5L), expl(2.5L), fmodl(1e18L, 7));
    return 0;
}
