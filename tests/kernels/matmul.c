/* The plain triple loop over doubles. Without optimization each index is computed from memory, with -O1 it is not yet
 * vectorized or unrolled.
 *
 * kernel: matmul-O0 1.5 4 126 -O0
 * kernel: matmul-O1 1.1 18 520 -O1 */
#include <stdio.h>
#include <stdlib.h>

#define N 120

static double a[N][N], b[N][N], c[N][N];

static void multiply(void)
{
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0;
            for (int k = 0; k < N; k++)
                sum += a[i][k] * b[k][j];
            c[i][j] = sum;
        }
}

int main(int argc, char **argv)
{
    double trace = 0;
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            a[i][j] = (i * 7 + j) % 11;
            b[i][j] = (i + j * 3) % 13;
        }
    for (int r = 0; r < rounds * 10; r++) {
        a[r % N][0] += 1;
        multiply();
        for (int i = 0; i < N; i++)
            trace += c[i][i];
    }
    printf("%.17g\n", trace);
    return 0;
}
