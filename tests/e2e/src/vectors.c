/* build: -O2
 * SSE, AVX2 and AVX-512 values that live across calls, branches and printf; upper halves and mask registers. */
#include <immintrin.h>
#include <stdio.h>

static __attribute__((noinline)) unsigned scalar(unsigned seed)
{
    for (int i = 0; i < 50; i++)
        seed = seed & 1 ? seed * 3 + 1 : seed / 2 + 77777;
    return seed;
}

static void sse(void)
{
    __m128i sum = _mm_set_epi32(1, 2, 3, 4);
    __m128 real = _mm_set1_ps(1.5f);
    for (unsigned i = 0; i < 20000; i++) {
        sum = _mm_add_epi32(_mm_shuffle_epi32(sum, 0x39), _mm_set1_epi32((int)scalar(i)));
        real = _mm_add_ps(_mm_mul_ps(real, _mm_set1_ps(0.999f)), _mm_cvtepi32_ps(_mm_srli_epi32(sum, 28)));
    }
    printf("sse %d %.6f\n", _mm_cvtsi128_si32(sum), (double)_mm_cvtss_f32(real));
}

__attribute__((target("avx2,fma"))) static void avx2(void)
{
    __m256i sum = _mm256_set_epi64x(1, 2, 3, 4);
    __m256d real = _mm256_set1_pd(0.25);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned value = i & 7;
        /* The compiler does not know that all 16 registers live on across this loop. */
        __asm__ volatile("1: imul $3, %0\n add $5, %0\n test $64, %0\n jnz 2f\n inc %0\n 2: cmp $100000, %0\n jb 1b"
                         : "+r"(value) : : "cc");
        sum = _mm256_xor_si256(_mm256_permute4x64_epi64(sum, 0x39), _mm256_set1_epi64x((long)value + i));
        real = _mm256_fmadd_pd(real, _mm256_set1_pd(0.999), _mm256_set1_pd(value & 15));
    }
    long out[4];
    double reals[4];
    _mm256_storeu_si256((__m256i *)out, sum);
    _mm256_storeu_pd(reals, real);
    printf("avx2 %ld %ld %ld %ld %.12g\n", out[0], out[1], out[2], out[3], reals[3]);
}

__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static void avx512(void)
{
    __m512i sum = _mm512_set_epi64(1, 2, 3, 4, 5, 6, 7, 8);
    __mmask8 mask = 0x5a;
    for (unsigned i = 0; i < 20000; i++) {
        sum = _mm512_mask_add_epi64(sum, mask, sum, _mm512_rol_epi64(sum, 7));
        mask = _mm512_test_epi64_mask(sum, _mm512_set1_epi64(1 << (i & 15)));
        __asm__ volatile("" : "+v"(sum), "+k"(mask));
        if (mask == 0)
            sum = _mm512_xor_si512(sum, _mm512_set1_epi64(i));
    }
    printf("avx512 %lld %d\n", _mm512_reduce_add_epi64(sum), mask);
}

int main(void)
{
    sse();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        avx2();
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        avx512();
    return 0;
}
