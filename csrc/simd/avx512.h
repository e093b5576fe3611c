/* AVX-512 F, BW, DQ, VL: 32 registers of 64 bytes. Measured on Sapphire Rapids: 6 x 4 is as good as 14 x 2 forward and
 * better for weight gradients; narrower last panels take as many rows as the registers hold. */
#define FNN_VECTOR_BYTES 64
#define FNN_VECTORS 4
#define FNN_TILES(TILE) TILE(1, 16) TILE(2, 14) TILE(3, 9) TILE(4, 6)
/* Each row of an indexed tile has a pointer of its own; more than 12 do not fit the general registers. */
#define FNN_INDEXED_TILES(TILE) TILE(1, 12) TILE(2, 12) TILE(3, 9) TILE(4, 6)
#if defined(__GNUC__)
#include <immintrin.h>
#define FNN_RECIPROCAL(x) (vec)_mm512_rcp14_ps((__m512)(x))
#endif
