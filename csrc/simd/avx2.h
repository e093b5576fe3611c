/* AVX2 with FMA: 16 registers of 32 bytes. 6 x 2 sums, 2 of b, 1 broadcast. */
#define FNN_VECTOR_BYTES 32
#define FNN_VECTORS 2
#define FNN_TILES(TILE) TILE(1, 12) TILE(2, 6)
#define FNN_INDEXED_TILES FNN_TILES
