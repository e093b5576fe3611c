/* AVX512-BF16: conversion, and sums of products of pairs (see kernels/bfloat16.h). Subnormal numbers become zero. */
#include <immintrin.h>
#include <stdint.h>

#include "compiler.h"

#define FNN_BFLOAT16_VECTORS

FNN_INLINE void fnn_round_row(const float *from, uint16_t *to)
{
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from)));
}
FNN_INLINE __m512i fnn_rounded(const float *first, const float *second)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(second), _mm512_loadu_ps(first));
}
FNN_INLINE void fnn_round_two(const float *first, const float *second, uint16_t *to)
{
    _mm512_storeu_si512(to, fnn_rounded(first, second));
}
FNN_INLINE void fnn_round_pairs(const float *even, const float *odd, uint32_t *words)
{
    static const uint16_t order[] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                     8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    _mm512_storeu_si512(words, _mm512_permutexvar_epi16(_mm512_loadu_si512(order), fnn_rounded(even, odd)));
}
FNN_INLINE __m512 fnn_dot_product(__m512 sum, const uint16_t *a, const uint32_t *b)
{
    int pair;
    __builtin_memcpy(&pair, a, sizeof pair);
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)_mm512_loadu_si512(b));
}
#define fnn_dot(sum, a, b) (vec)fnn_dot_product((__m512)(sum), a, b)
