/* AVX2 with FMA: 16 registers of 32 bytes. 6 x 2 sums, 2 of b, 1 broadcast. */
#define FNN_VECTOR_BYTES 32
#define FNN_VECTORS 2
#define FNN_TILES(TILE) TILE(1, 12) TILE(2, 6)
#define FNN_INDEXED_TILES FNN_TILES

#include <immintrin.h>
#include <stdint.h>

#include "compiler.h"

/* A bit for each lane that is not zero. */
#define FNN_NONZERO_LANES
FNN_INLINE uint64_t nonzero_lanes_f32(const float *x)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x), _mm256_setzero_ps(), _CMP_NEQ_UQ));
}
FNN_INLINE uint64_t nonzero_lanes_f64(const double *x)
{
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd(_mm256_loadu_pd(x), _mm256_setzero_pd(), _CMP_NEQ_UQ));
}
#if defined(__GNUC__)
/* Of the numbers of a vector, the one that each lane names; and which, of the taps of a window. */
#define FNN_PICKED(x, which) (vec)_mm256_permutevar8x32_ps((__m256)(x), (__m256i)(which))
#define FNN_PICKED_TILES FNN_TILES
#define FNN_PICKED_TAPS(tap, index) \
    _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const __m256i *)(tap)), _mm256_cvttps_epi32(_mm256_loadu_ps(index)))
#endif
