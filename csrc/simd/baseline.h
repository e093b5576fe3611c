/* The 16 bytes every target has: SSE2 on x86-64, whatever the compiler makes of them elsewhere.
 * 16 registers and no fused multiply-add: 6 x 2 sums, 2 of b, the broadcast and the product fill them. */
#define FNN_VECTOR_BYTES 16
#define FNN_VECTORS 2
#define FNN_TILES(TILE) TILE(1, 8) TILE(2, 6)
#define FNN_INDEXED_TILES FNN_TILES
