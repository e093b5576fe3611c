/* AMX: the product on tiles of 16 rows of 64 bytes; 2 x 2 of them hold sums while two of a and two of b go by.
 *
 * The intrinsics tell gcc little of the memory they touch: it may leave out, or move behind them, ordinary stores to what
 * they read. Hence the barriers. */
#include <string.h>

#include "../fastnn.h"

#define FNN_BFLOAT16_PRODUCT
#define FNN_TILE_BARRIER __asm__ volatile("" ::: "memory")
enum { FNN_TILE = 16, FNN_TILE_DEPTH = 32, FNN_TILE_BYTES = 64 };

static void fnn_enter(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) config.row_bytes[i] = FNN_TILE_BYTES, config.rows[i] = FNN_TILE;
    FNN_TILE_BARRIER;
    _tile_loadconfig(&config);
}

static void fnn_leave(void) { _tile_release(); }

/* Tile numbers are part of the instruction: sums are tiles 0 to 3, a is in 4 and 5, b in 6 and 7. */
#define FNN_EACH_SUM(DO) \
    DO(0, 4, 6, 0, 0); \
    if (columns > 1) DO(1, 4, 7, 0, 1); \
    if (rows > 1) DO(2, 5, 6, 1, 0); \
    if (rows > 1 && columns > 1) DO(3, 5, 7, 1, 1)

/* rows x columns tiles of c, from row i and tile j on; the last row of tiles may have fewer than 16 rows. */
FNN_INLINE void fnn_tiles(int rows, int columns, const fnn_bfloat16_product *p, int64_t i, int64_t j)
{
    const int64_t tall = p->rows - i - (rows - 1) * FNN_TILE < FNN_TILE ? p->rows - i - (rows - 1) * FNN_TILE : FNN_TILE;
    const uint16_t *a = p->a + i * p->a_row, *b = p->b + j * p->b_tile;
    const int64_t a_bytes = 2 * p->a_row, c_bytes = 4 * p->c_row, init_bytes = 4 * p->init_row;
    float *c = p->c + i * p->c_row + j * FNN_TILE, edge[2][FNN_TILE * FNN_TILE];
    const float *init = p->init ? p->init + i * p->init_row + j * FNN_TILE : NULL;

#define FNN_IS_EDGE(r) ((r) == rows - 1 && tall < FNN_TILE)
#define FNN_BEGIN(sum, a_tile, b_tile, r, v) \
    do { \
        if (!init) { \
            _tile_zero(sum); \
        } else if (FNN_IS_EDGE(r) && p->init_row) { \
            for (int64_t row = 0; row < tall; row++) \
                memcpy(edge[v] + row * FNN_TILE, init + ((r) * FNN_TILE + row) * p->init_row + (v) * FNN_TILE, FNN_TILE_BYTES); \
            FNN_TILE_BARRIER; \
            _tile_loadd(sum, edge[v], FNN_TILE_BYTES); \
        } else { \
            _tile_loadd(sum, init + (r) * FNN_TILE * p->init_row + (v) * FNN_TILE, init_bytes); \
        } \
    } while (0)
#define FNN_MULTIPLY(sum, a_tile, b_tile, r, v) _tile_dpbf16ps(sum, a_tile, b_tile)
#define FNN_END(sum, a_tile, b_tile, r, v) \
    do { \
        if (FNN_IS_EDGE(r)) { \
            _tile_stored(sum, edge[v], FNN_TILE_BYTES); \
            FNN_TILE_BARRIER; \
            for (int64_t row = 0; row < tall; row++) \
                memcpy(c + ((r) * FNN_TILE + row) * p->c_row + (v) * FNN_TILE, edge[v] + row * FNN_TILE, FNN_TILE_BYTES); \
        } else { \
            _tile_stored(sum, c + (r) * FNN_TILE * p->c_row + (v) * FNN_TILE, c_bytes); \
        } \
    } while (0)

    FNN_TILE_BARRIER;
    FNN_EACH_SUM(FNN_BEGIN);
    for (int64_t block = 0; block < p->blocks; block++, b += FNN_TILE_DEPTH * FNN_TILE) {
        const uint16_t *from = a + (p->offset ? p->offset[block] : block * p->a_block);
        _tile_loadd(6, b, FNN_TILE_BYTES);
        _tile_loadd(4, from, a_bytes);
        if (columns > 1) _tile_loadd(7, b + p->b_tile, FNN_TILE_BYTES);
        if (rows > 1) _tile_loadd(5, from + FNN_TILE * p->a_row, a_bytes);
        FNN_EACH_SUM(FNN_MULTIPLY);
    }
    FNN_EACH_SUM(FNN_END);
    FNN_TILE_BARRIER;
#undef FNN_IS_EDGE
#undef FNN_BEGIN
#undef FNN_MULTIPLY
#undef FNN_END
}

static void fnn_multiply(const fnn_bfloat16_product *p)
{
    for (int64_t j = 0; j < p->tiles; j += 2) {
        const int wide = p->tiles - j > 1;
        for (int64_t i = 0; i < p->rows; i += 2 * FNN_TILE) {
            const int tall = p->rows - i > FNN_TILE;
            if (tall && wide)
                fnn_tiles(2, 2, p, i, j);
            else if (tall)
                fnn_tiles(2, 1, p, i, j);
            else if (wide)
                fnn_tiles(1, 2, p, i, j);
            else
                fnn_tiles(1, 1, p, i, j);
        }
    }
}

/* What the tiles can do with nothing to load. */
static double fnn_peak(int64_t repeats)
{
    static const uint16_t zeros[FNN_TILE * FNN_TILE_DEPTH];
    fnn_enter();
    _tile_loadd(4, zeros, FNN_TILE_BYTES);
    _tile_loadd(5, zeros, FNN_TILE_BYTES);
    _tile_loadd(6, zeros, FNN_TILE_BYTES);
    _tile_loadd(7, zeros, FNN_TILE_BYTES);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t repeat = 0; repeat < repeats; repeat++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    fnn_leave();
    return (double)repeats * 4 * 2 * FNN_TILE * FNN_TILE * FNN_TILE_DEPTH;
}
