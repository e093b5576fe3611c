/* AVX512-BF16: conversion, and sums of products of pairs (see kernels/bfloat16.h). Subnormal numbers become zero. */
#include <immintrin.h>
#include <stdint.h>

#include "compiler.h"

#define FNN_BFLOAT16_VECTORS
enum { FNN_DOT_ROWS = 6 };

FNN_INLINE void fnn_round_pairs(const float *even, const float *odd, uint32_t *words)
{
    const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(even)));
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(odd)));
    _mm512_storeu_si512(words, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}
FNN_INLINE void fnn_round_row(const float *from, uint16_t *to)
{
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(from)));
}
FNN_INLINE __m512 fnn_dot_product(__m512 sum, const uint16_t *a, const uint32_t *b)
{
    int pair;
    __builtin_memcpy(&pair, a, sizeof pair);
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)_mm512_loadu_si512(b));
}
#define fnn_dot(sum, a, b) (vec)fnn_dot_product((__m512)(sum), a, b)
