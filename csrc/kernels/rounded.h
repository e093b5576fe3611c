/* What is kept as bfloat16: recurrent cells that write and read it (see cell.h), and lines of it as operands of
 * products. */

/* A gate of a cell, see math.h. */
FNN_INLINE gate fnn_cell_take(const uint16_t *from)
{
#ifdef FNN_UPPER_HALVES
    return (vec)FNN_UPPER_HALVES(from);
#else
    return NAME(from_bits)((uint32_t)*from << 16);
#endif
}
FNN_INLINE void fnn_cell_put(uint16_t *to, gate x)
{
#ifdef FNN_UPPER_HALVES
    float lanes[FNN_LANES];
    NAME(store)(lanes, x);
    fnn_round_row(lanes, to);
#else
    *to = (uint16_t)(fnn_round(x) >> 16);
#endif
}
/* Two gates side by side. */
FNN_INLINE void fnn_cell_put_both(uint16_t *to, gate x, gate y)
{
#ifdef FNN_UPPER_HALVES
    float first[FNN_LANES], second[FNN_LANES];
    NAME(store)(first, x);
    NAME(store)(second, y);
    fnn_round_two(first, second, to);
#else
    fnn_cell_put(to, x);
    fnn_cell_put(to + 1, y);
#endif
}

/* Gates that are kept as bfloat16, whose last place is 4e-3 to 8e-3 of them: a logistic within 1e-3 of itself and of
 * what it lacks to 1, a tanh within 7e-4 of itself, as far as +-7.7 and +-3.9. Further out they are off by 7e-4 at
 * most, and from +-8 and +-4 on 0 or +-1. NaN stays.
 *
 * Where one instruction looks up 32 numbers: an x between two halves, of x times a scale, has its own parabola, or a
 * straight line of |x| for tanh(x) / x. Highest power first, as NumPy's Chebyshev.interpolate fits them over each
 * interval but for those at the ends of the range, where lines lead to 0 and 1. It takes 4 cycles a vector instead of
 * 10. */
#ifdef FNN_CHOSEN
static const float fnn_logistic_fit[3][32] = {
    {0, 0, 2.865238e-4f, 4.8761314e-4f, 8.2887855e-4f, 1.4062292e-3f, 2.3777923e-3f, 3.997883e-3f, 6.6574235e-3f,
     0.0109069245f, 0.017384175f, 0.026458887f, 0.037292194f, 0.04626436f, 0.04620594f, 0.030114051f, 0,
     -0.030114051f, -0.04620594f, -0.04626436f, -0.037292194f, -0.026458887f, -0.017384175f, -0.0109069245f,
     -6.6574235e-3f, -3.997883e-3f, -2.3777923e-3f, -1.4062292e-3f, -8.2887855e-4f, -4.8761314e-4f, -2.865238e-4f, 0},
    {0, 1.6417503e-3f, 4.855006e-3f, 7.7430373e-3f, 0.012280307f, 0.019340752f, 0.030186167f, 0.046544235f,
     0.07056456f, 0.10442266f, 0.1491495f, 0.20220485f, 0.2541595f, 0.2880075f, 0.28881142f, 0.264332f, 0.24889478f,
     0.264332f, 0.28881142f, 0.2880075f, 0.2541595f, 0.20220485f, 0.1491495f, 0.10442266f, 0.07056456f, 0.046544235f,
     0.030186167f, 0.019340752f, 0.012280307f, 7.7430373e-3f, 4.855006e-3f, 1.6417503e-3f},
    {0, 0.013134003f, 0.020848198f, 0.03121875f, 0.046301898f, 0.067890756f, 0.098162666f, 0.13946368f, 0.19371514f,
     0.26118082f, 0.3384302f, 0.41603005f, 0.478385f, 0.51035684f, 0.51153094f, 0.5021511f, 0.5f, 0.49784893f,
     0.48846906f, 0.4896432f, 0.521615f, 0.58396995f, 0.66156983f, 0.7388192f, 0.80628484f, 0.86053634f, 0.90183735f,
     0.93210924f, 0.9536981f, 0.96878123f, 0.9791518f, 0.986866f},
};
static const float fnn_tanh_fit[2][32] = {
    {-0.021478556f, -0.08474891f, -0.16298434f, -0.22941305f, -0.28077498f, -0.3160482f, -0.33611357f, -0.34312016f,
     -0.33981106f, -0.32898283f, -0.3131417f, -0.29434136f, -0.27415013f, -0.25369424f, -0.23373406f, -0.21474709f,
     -0.19700326f, -0.18062685f, -0.16564451f, -0.15202045f, -0.13968176f, -0.12853554f, -0.118480556f, -0.10941463f,
     -0.1012391f, -0.0938615f, -0.08719676f, -0.081167735f, -0.07570508f, -0.0707469f, -0.0662382f, -0.060519345f},
    {1.0001732f, 1.0047563f, 1.0198476f, 1.0412017f, 1.0643114f, 1.0847068f, 1.0988698f, 1.1046832f, 1.101433f,
     1.0895237f, 1.0700846f, 1.0446019f, 1.0146368f, 0.98164433f, 0.9468792f, 0.91136134f, 0.8758808f, 0.84102243f,
     0.80719876f, 0.77468395f, 0.74364483f, 0.7141674f, 0.6862786f, 0.6599632f, 0.63517743f, 0.6118587f, 0.5899332f,
     0.5693211f, 0.54994035f, 0.53170955f, 0.5145497f, 0.49207738f},
};

FNN_INLINE void fnn_cell_gates_of(int logistics, int n, vec *x)
{
    const float whole = 12582912; /* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
    vec magnitude[FNN_TOGETHER], k[FNN_TOGETHER];
    FNN_UNROLL
    for (int i = 0; i < n; i++) x[i] = NAME(clamp)(x[i], i < logistics ? 8 : 4);
    FNN_UNROLL
    for (int i = 0; i < n; i++) {
        magnitude[i] = (vec)((NAME(mask))x[i] & 0x7fffffff);
        k[i] = i < logistics ? x[i] * 1.875f + (whole + 16) : magnitude[i] * 7.75f + whole;
    }
    FNN_UNROLL
    for (int i = 0; i < n; i++) {
        const vec z = i < logistics ? x[i] : magnitude[i];
        const float *fit = i < logistics ? fnn_logistic_fit[0] : fnn_tanh_fit[0];
        const vec line = FNN_CHOSEN(fit, k[i]) * z + FNN_CHOSEN(fit + 32, k[i]);
        x[i] = i < logistics ? line * x[i] + FNN_CHOSEN(fit + 64, k[i]) : line * x[i];
    }
}
#else
FNN_INLINE void fnn_cell_gates_of(int logistics, int n, gate *x) { NAME(gates_of)(logistics, n, x); }
#endif

/* Word l: even[l] in the lower half, odd[l] in the upper one. */
FNN_INLINE void fnn_pair(const uint16_t *even, const uint16_t *odd, uint16_t *words)
{
#ifdef FNN_UPPER_HALVES
    FNN_STORE_HALVES(words, even, odd);
#else
    FNN_EACH_LANE {
        const uint32_t word = even[lane] | (uint32_t)odd[lane] << 16;
        memcpy(words + 2 * lane, &word, sizeof word);
    }
#endif
}

static void fnn_copy_rows(int64_t rows, int64_t width, const uint16_t *from, int64_t from_row, uint16_t *to,
                          int64_t to_row, int64_t to_block)
{
    for (int64_t i = 0; i < rows; i++, from += from_row, to += to_row) {
        int64_t j = 0;
        for (; j + FNN_DEPTH <= width; j += FNN_DEPTH)
            memcpy(to + j / FNN_DEPTH * to_block, from + j, FNN_DEPTH * sizeof *to);
        if (j < width) {
            uint16_t half[FNN_DEPTH] = {0};
            memcpy(half, from + j, FNN_LANES * sizeof *to);
            memcpy(to + j / FNN_DEPTH * to_block, half, sizeof half);
        }
    }
}

/* Up to FNN_DEPTH lines of FNN_LANES numbers as a square of pairs of lines; lines that are not there are zeros. */
FNN_INLINE void fnn_pairs_of_lines(int64_t rows, const uint16_t *from, int64_t from_row, uint16_t *to)
{
    static const uint16_t zeros[FNN_LANES];
    for (int64_t k = 0; k < FNN_DEPTH; k += 2, from += 2 * from_row, to += FNN_DEPTH)
        fnn_pair(k < rows ? from : zeros, k + 1 < rows ? from + from_row : zeros, to);
}

static void fnn_copy_columns(int64_t rows, int64_t width, const uint16_t *from, int64_t from_row, uint16_t *to,
                             int64_t to_row, int64_t to_block)
{
    uint16_t square[2 * FNN_WORDS];
    for (int64_t k = 0; k < rows; k += FNN_DEPTH, to += to_block) {
        for (int64_t j = 0; j < width; j += FNN_LANES) {
            fnn_pairs_of_lines(rows - k, from + k * from_row + j, from_row, square);
            fnn_transpose_words(square, to + j * to_row, to_row / 2);
        }
    }
}

static void fnn_copy_pairs(int64_t rows, int64_t width, const uint16_t *from, int64_t from_row, uint16_t *to,
                           int64_t to_tile, float *sums)
{
    static const uint16_t ones[2] = {0x3f80, 0x3f80};
    for (int64_t k = 0; k < rows; k += FNN_DEPTH, to += FNN_DEPTH * FNN_LANES) {
        for (int64_t j = 0; j < width; j += FNN_LANES) {
            uint16_t *square = to + j / FNN_LANES * to_tile;
            fnn_pairs_of_lines(rows - k, from + k * from_row + j, from_row, square);
            if (!sums) continue;
            vec sum = NAME(load)(sums + j);
            for (int64_t pair = 0; pair < FNN_LANES; pair++)
                sum = fnn_dot(sum, ones, (const uint32_t *)(square + pair * FNN_DEPTH));
            NAME(store)(sums + j, sum);
        }
    }
}

static void fnn_round_lines(int64_t rows, int64_t width, const int64_t *row, const float *from, uint16_t *to,
                            int64_t to_row)
{
    for (int64_t i = 0; i < rows; i++, from += width)
        for (int64_t j = 0; j < width; j += FNN_LANES) fnn_round_row(from + j, to + row[i] * to_row + j);
}

#define CELL(name) fnn_cell_##name
#define saved uint16_t
#include "cell.h"
