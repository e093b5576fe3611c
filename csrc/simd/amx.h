/* AMX: the product on tiles of 16 rows of 64 bytes; 2 x 2 of them hold sums while two of a and two of b go by.
 *
 * The intrinsics tell gcc little of the memory they touch: it may leave out, or move behind them, ordinary stores to
 * what they read. Hence the barriers. */
#include <string.h>

#include "../fastnn.h"
#ifdef FNN_EMULATE_TILES
#include "tiles.h"
#endif

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

/* 16 rows of the product, or the last ones of a part, which may be fewer. */
typedef struct {
    const uint16_t *a;
    const float *init;
    float *c;
    int64_t height;
} fnn_rows;

FNN_INLINE fnn_rows fnn_rows_at(const fnn_bfloat16_product *p, int64_t i)
{
    const int64_t of_part = (p->rows + FNN_TILE - 1) / FNN_TILE, part = p->a_part ? i / of_part : 0;
    const int64_t row = (i - part * of_part) * FNN_TILE, rest = p->rows - row;
    const int64_t init = p->init_row ? part * p->c_part + row * p->init_row : 0;
    return (fnn_rows){
        .a = p->a + (p->a_part ? p->a_part[part] : 0) + row * p->a_row,
        .init = p->init ? p->init + init : NULL,
        .c = p->c + part * p->c_part + row * p->c_row,
        .height = rest < FNN_TILE ? rest : FNN_TILE,
    };
}

/* Tile numbers are part of the instruction: sums are in tiles 0 to 3. Two tiles of rows by two of columns share a's
 * in 4 and 5 and b's in 6 and 7; four by one take turns with a in 4 and 5, one by four with b in 6, 7 and 5. The second
 * one of a comes behind the first product: of operands in the second cache 1.02 to 1.03 times as fast. */
#define FNN_EACH_SUM(DO) \
    DO(0, 4, 6, 0, 0); \
    if (columns > 1) DO(1, 4, 7, 0, 1); \
    if (columns > 1 && rows > 1) DO(2, 5, 6, 1, 0); \
    if (columns > 1 && rows > 1) DO(3, 5, 7, 1, 1); \
    if (columns > 2) DO(2, 4, 5, 0, 2); \
    if (columns > 3) DO(3, 4, 6, 0, 3); \
    if (columns == 1 && rows > 1) DO(1, 5, 6, 1, 0); \
    if (columns == 1 && rows > 2) DO(2, 4, 6, 2, 0); \
    if (columns == 1 && rows > 3) DO(3, 5, 6, 3, 0)

/* rows x columns tiles of c, from the i-th and j-th on; after each step of the depth something else, unless NULL. */
FNN_INLINE void fnn_tiles(int rows, int columns, const fnn_bfloat16_product *p, int64_t i, int64_t j,
                          void (*meanwhile)(void *work), void *work)
{
    const uint16_t *b = p->b + j * p->b_tile;
    const int64_t b_column = p->b_tile;
    const int64_t a_bytes = 2 * p->a_row, c_bytes = 4 * p->c_row, init_bytes = 4 * p->init_row;
    float edge[FNN_TILE * FNN_TILE];
    fnn_rows of[4];
    FNN_UNROLL
    for (int r = 0; r < rows; r++) of[r] = fnn_rows_at(p, i + r);

#define FNN_BEGIN(sum, a_tile, b_tile, r, v) \
    do { \
        const float *init = of[r].init + (j + v) * FNN_TILE; \
        if (!p->init) { \
            _tile_zero(sum); \
        } else if (of[r].height < FNN_TILE && p->init_row) { \
            for (int64_t row = 0; row < of[r].height; row++) \
                memcpy(edge + row * FNN_TILE, init + row * p->init_row, FNN_TILE_BYTES); \
            FNN_TILE_BARRIER; \
            _tile_loadd(sum, edge, FNN_TILE_BYTES); \
            FNN_TILE_BARRIER; \
        } else { \
            _tile_loadd(sum, init, init_bytes); \
        } \
    } while (0)
#define FNN_MULTIPLY(sum, a_tile, b_tile, r, v) \
    do { \
        if (r > 1) _tile_loadd(a_tile, of[r].a + offset, a_bytes); \
        if (v > 1) _tile_loadd(b_tile, b + v * b_column, FNN_TILE_BYTES); \
        _tile_dpbf16ps(sum, a_tile, b_tile); \
        if (sum == 0 && rows > 1) _tile_loadd(5, of[1].a + offset, a_bytes); \
    } while (0)
#define FNN_END(sum, a_tile, b_tile, r, v) \
    do { \
        float *c = of[r].c + (j + v) * FNN_TILE; \
        if (of[r].height < FNN_TILE) { \
            _tile_stored(sum, edge, FNN_TILE_BYTES); \
            FNN_TILE_BARRIER; \
            for (int64_t row = 0; row < of[r].height; row++) \
                memcpy(c + row * p->c_row, edge + row * FNN_TILE, FNN_TILE_BYTES); \
            FNN_TILE_BARRIER; \
        } else { \
            _tile_stored(sum, c, c_bytes); \
        } \
    } while (0)

    FNN_TILE_BARRIER;
    FNN_EACH_SUM(FNN_BEGIN);
    for (int64_t block = 0; block < p->blocks; block++, b += FNN_TILE_DEPTH * FNN_TILE) {
        const int64_t offset = p->offset ? p->offset[block] : block * p->a_block;
        _tile_loadd(6, b, FNN_TILE_BYTES);
        if (columns > 1) _tile_loadd(7, b + b_column, FNN_TILE_BYTES);
        _tile_loadd(4, of[0].a + offset, a_bytes);
        FNN_EACH_SUM(FNN_MULTIPLY);
        if (meanwhile) meanwhile(work);
    }
    FNN_EACH_SUM(FNN_END);
    FNN_TILE_BARRIER;
#undef FNN_BEGIN
#undef FNN_MULTIPLY
#undef FNN_END
}

/* Four sums at a time hide the latency of one: a single column takes four tiles of rows, a single row four of
 * columns. */
static void fnn_multiply(const fnn_bfloat16_product *p)
{
    const int64_t rows = (p->a_part ? p->parts : 1) * ((p->rows + FNN_TILE - 1) / FNN_TILE);
    int64_t j = 0;
    for (; rows == 1 && j + 4 <= p->tiles; j += 4) fnn_tiles(1, 4, p, 0, j, NULL, NULL);
    for (; j < p->tiles; j += 2) {
        int64_t i = 0;
        if (p->tiles - j > 1) {
            for (; i + 2 <= rows; i += 2) fnn_tiles(2, 2, p, i, j, NULL, NULL);
            if (i < rows) fnn_tiles(1, 2, p, i, j, NULL, NULL);
            continue;
        }
        for (; i + 4 <= rows; i += 4) fnn_tiles(4, 1, p, i, j, NULL, NULL);
        if (rows - i == 3) fnn_tiles(3, 1, p, i, j, NULL, NULL);
        if (rows - i == 2) fnn_tiles(2, 1, p, i, j, NULL, NULL);
        if (rows - i == 1) fnn_tiles(1, 1, p, i, j, NULL, NULL);
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
