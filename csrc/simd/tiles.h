/* The tiles of AMX in C: a build with FASTNN_EMULATE_TILES=1 tests their kernels on CPUs that have AVX512-BF16 only.
 *
 * Sums are those of TDPBF16PS in Intel's manual, but it is the mode of the thread, in which all kernels run, that makes
 * subnormal numbers zero. What the CPU would answer with a fault ends the process with a message. */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t fnn_tile_row __attribute__((vector_size(64)));

/* As LDTILECFG reads it; zeros, as TILERELEASE leaves them, allow no tile to be used. */
static _Thread_local struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} fnn_tile_config;
static _Thread_local fnn_tile_row fnn_tile[8][16];

#define FNN_TILE_NEEDS(condition) \
    do { \
        if (!(condition)) fputs("emulated tiles: this must hold: " #condition "\n", stderr), abort(); \
    } while (0)

static void fnn_tile_load_config(const void *config)
{
    memcpy(&fnn_tile_config, config, sizeof fnn_tile_config);
    memset(fnn_tile, 0, sizeof fnn_tile);
    FNN_TILE_NEEDS(fnn_tile_config.palette == 1 && fnn_tile_config.start == 0);
    for (int tile = 0; tile < 8; tile++)
        FNN_TILE_NEEDS(fnn_tile_config.rows[tile] <= 16 && fnn_tile_config.row_bytes[tile] <= 64);
}

static void fnn_tile_release(void) { memset(&fnn_tile_config, 0, sizeof fnn_tile_config); }

/* How many rows a tile has, and bytes in each. */
static int fnn_tile_rows(int tile, int *row_bytes)
{
    const int rows = fnn_tile_config.rows[tile];
    *row_bytes = fnn_tile_config.row_bytes[tile];
    FNN_TILE_NEEDS(rows > 0 && *row_bytes > 0);
    return rows;
}

static void fnn_tile_load(int tile, const void *from, int64_t stride)
{
    int bytes;
    const int rows = fnn_tile_rows(tile, &bytes);
    memset(fnn_tile[tile], 0, sizeof fnn_tile[tile]);
    for (int row = 0; row < rows; row++) memcpy(&fnn_tile[tile][row], (const char *)from + row * stride, bytes);
}

static void fnn_tile_zero(int tile)
{
    static const fnn_tile_row zeros;
    fnn_tile_load(tile, &zeros, 0);
}

static void fnn_tile_store(int tile, void *to, int64_t stride)
{
    int bytes;
    const int rows = fnn_tile_rows(tile, &bytes);
    for (int row = 0; row < rows; row++) memcpy((char *)to + row * stride, &fnn_tile[tile][row], bytes);
}

/* c += a b: sums of even and of odd products, each in the order of depth, meet at the end. */
static void fnn_tile_multiply(int c, int a, int b)
{
    int a_bytes, b_bytes, c_bytes;
    const int rows = fnn_tile_rows(c, &c_bytes), depth = fnn_tile_rows(b, &b_bytes);
    FNN_TILE_NEEDS(a != b && b != c && c != a);
    FNN_TILE_NEEDS(fnn_tile_rows(a, &a_bytes) == rows && a_bytes == 4 * depth && b_bytes == c_bytes);
    for (int row = 0; row < rows; row++) {
        __m512 even = {0}, odd = {0};
        for (int k = 0; k < depth; k++) {
            const fnn_tile_row pair = (fnn_tile_row)_mm512_set1_epi32((int)fnn_tile[a][row][k]), pairs = fnn_tile[b][k];
            even += (__m512)(pair << 16) * (__m512)(pairs << 16);
            odd += (__m512)(pair & 0xffff0000) * (__m512)(pairs & 0xffff0000);
        }
        fnn_tile[c][row] = (fnn_tile_row)((__m512)fnn_tile[c][row] + (even + odd));
    }
}

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig fnn_tile_load_config
#define _tile_release fnn_tile_release
#define _tile_zero fnn_tile_zero
#define _tile_loadd fnn_tile_load
#define _tile_stored fnn_tile_store
#define _tile_dpbf16ps fnn_tile_multiply
