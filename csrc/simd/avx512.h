/* AVX-512 F, BW, DQ, VL: 32 registers of 64 bytes. Measured on Sapphire Rapids: 6 x 4 is as good as 14 x 2 forward and
 * better for weight gradients; narrower last panels take as many rows as the registers hold. */
#define FNN_VECTOR_BYTES 64
#define FNN_VECTORS 4
#define FNN_ASKS_AHEAD 1 /* tiles have a place left for an instruction that does (two vectors: 0.95 of the speed) */
#define FNN_TILES(TILE) TILE(1, 16) TILE(2, 14) TILE(3, 9) TILE(4, 6)
/* Each row of an indexed tile has a pointer of its own; more than 12 do not fit the general registers. */
#define FNN_INDEXED_TILES(TILE) TILE(1, 12) TILE(2, 12) TILE(3, 9) TILE(4, 6)

#include <immintrin.h>
#include <stdint.h>

#include "compiler.h"

/* A bit for each lane that is not zero. */
#define FNN_NONZERO_LANES
FNN_INLINE uint64_t nonzero_lanes_f32(const float *x)
{
    return _mm512_cmp_ps_mask(_mm512_loadu_ps(x), _mm512_setzero_ps(), _CMP_NEQ_UQ);
}
FNN_INLINE uint64_t nonzero_lanes_f64(const double *x)
{
    return _mm512_cmp_pd_mask(_mm512_loadu_pd(x), _mm512_setzero_pd(), _CMP_NEQ_UQ);
}
#if defined(__GNUC__)
#define FNN_RECIPROCAL(x) (vec)_mm512_rcp14_ps((__m512)(x))
#define FNN_LONG_RECIPROCAL(x) (vec)_mm512_rcp14_pd((__m512d)(x))
/* x * 2^power of whole powers, infinities and zeros included. */
#define FNN_SCALED(x, power) (vec)_mm512_scalef_ps((__m512)(x), (__m512)(power))
/* What a table of 32 has at the numbers in the low bits of words. */
#define FNN_CHOSEN(table, words) \
    (vec)_mm512_permutex2var_ps(_mm512_loadu_ps(table), (__m512i)(words), _mm512_loadu_ps((table) + FNN_LANES))
/* Of the numbers of a vector, the one that each lane names; and which, of the taps of a window. The form of two tables
 * keeps the numbers in a register: they cross the lines of the cache, and would be loaded once for each use. */
#define FNN_PICKED(x, which) (vec)_mm512_permutex2var_ps((__m512)(x), (__m512i)(which), (__m512)(x))
#define FNN_PICKED_TILES(TILE) TILE(1, 12) TILE(2, 12)
#define FNN_PICKED_TAPS(tap, index) \
    _mm512_permutexvar_epi32(_mm512_cvttps_epi32(_mm512_loadu_ps(index)), _mm512_loadu_si512(tap))
/* The second one where either is not a number. */
#define FNN_LESSER(a, b) (vec)_mm512_min_ps((__m512)(a), (__m512)(b))
#define FNN_GREATER(a, b) (vec)_mm512_max_ps((__m512)(a), (__m512)(b))
/* 16 halves of words as the lower ones, or as the upper ones, which makes floats of bfloat16; and words of both. One
 * instruction moves upper ones to their places: widened first and shifted, they keep the unit that does so twice as
 * long. */
static const uint32_t fnn_place_of_half[] = {
    0 << 16, 1 << 16, 2 << 16, 3 << 16, 4 << 16, 5 << 16, 6 << 16, 7 << 16,
    8 << 16, 9 << 16, 10 << 16, 11 << 16, 12 << 16, 13 << 16, 14 << 16, 15 << 16,
};
#define FNN_HALVES(from) _mm256_loadu_si256((const void *)(from))
#define FNN_LOWER_HALVES(from) _mm512_cvtepu16_epi32(FNN_HALVES(from))
#define FNN_UPPER_HALVES_OVER(lower, from) \
    _mm512_mask_permutexvar_epi16(lower, 0xaaaaaaaau, _mm512_loadu_si512(fnn_place_of_half), \
                                  _mm512_castsi256_si512(FNN_HALVES(from)))
#define FNN_UPPER_HALVES(from) FNN_UPPER_HALVES_OVER(_mm512_setzero_si512(), from)
#define FNN_STORE_HALVES(to, lower, upper) \
    _mm512_storeu_si512(to, FNN_UPPER_HALVES_OVER(FNN_LOWER_HALVES(lower), upper))
#endif
