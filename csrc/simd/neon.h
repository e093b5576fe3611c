/* AArch64 Advanced SIMD: 32 registers of 16 bytes. 6 x 4 sums, 4 of b; the factor is a lane of a register. */
#define FNN_VECTOR_BYTES 16
#define FNN_VECTORS 4
#define FNN_TILES(TILE) TILE(1, 16) TILE(2, 12) TILE(3, 8) TILE(4, 6)
/* Each row of an indexed tile has a pointer of its own; more than 12 do not fit the general registers. */
#define FNN_INDEXED_TILES(TILE) TILE(1, 12) TILE(2, 12) TILE(3, 8) TILE(4, 6)
