/* Random changes of images: maps of the plane, zeroed squares, noise, factors. A signal is an image of height 1.
 * Shifts, rotations, zooms and flips that follow each other become one map from pixels of y to places in x, so an image
 * is sampled once. Words are drawn for FNN_GROUPS images at once (words.h); an image goes through all transforms of a
 * block while it is in the first cache. */

/* The place in x, row and column, of y's pixel (i, j): each is [0] * i + [1] * j + [2]. */
#define affine NAME(affine)
typedef struct { double row[3], column[3]; } affine;

/* Word 0 and 1 as two independent normal numbers, after Box and Muller (1958): 24 bits of each, exact in both real
 * types; the larger of |N| is at most sqrt(48 log 2) = 5.77. */
FNN_INLINE void NAME(normal_pair)(uint32_t word0, uint32_t word1, real *first, real *second)
{
    const real above_zero = (real)((int32_t)(word0 >> 8) + 1) * (real)0x1p-24;
    const real turns = (real)((int32_t)(word1 >> 8) - (1 << 23)) * (real)0x1p-24;
    const real radius = real_sqrt(-2 * NAME(log)(above_zero));
    *first = radius * NAME(cos_turns)(turns);
    *second = radius * NAME(sin_turns)(turns);
}

/* A whole number in [-size, size]. */
FNN_INLINE double NAME(whole_shift)(uint32_t word, double size)
{
    return (double)(int64_t)((uint64_t)word * (uint64_t)(2 * size + 1) >> 32) - size;
}

/* m after the inverse of one transform, which is p -> centre + linear (p - centre) - shift. */
static affine NAME(compose)(affine m, int transform, const double *number, const uint32_t *words, int64_t height,
                            int64_t width)
{
    const double centre[2] = {0.5 * (double)(height - 1), 0.5 * (double)(width - 1)};
    const double drawn = number[0] * (words[0] * 0x1p-31 - 1);
    double linear[2][2] = {{1, 0}, {0, 1}}, shift[2] = {0, 0}, row[3], column[3];
    affine result;
    switch (transform) {
    case FNN_TRANSFORM_shift:
        for (int k = 0; k < 2; k++) shift[k] = NAME(whole_shift)(words[k], number[k]);
        break;
    case FNN_TRANSFORM_rotate:
        linear[0][0] = linear[1][1] = NAME(cos_turns)((real)drawn);
        linear[0][1] = NAME(sin_turns)((real)drawn);
        linear[1][0] = -linear[0][1];
        break;
    case FNN_TRANSFORM_zoom:
        linear[0][0] = linear[1][1] = 1 / (1 + drawn);
        break;
    default:
        if (words[0] < number[0]) {
            const int axis = transform == FNN_TRANSFORM_horizontal_flip;
            linear[axis][axis] = -1;
        }
    }
    for (int k = 0; k < 2; k++) {
        row[k] = linear[0][k];
        column[k] = linear[1][k];
    }
    row[2] = centre[0] - linear[0][0] * centre[0] - linear[0][1] * centre[1] - shift[0];
    column[2] = centre[1] - linear[1][0] * centre[0] - linear[1][1] * centre[1] - shift[1];
    for (int k = 0; k < 3; k++) {
        result.row[k] = m.row[0] * row[k] + m.row[1] * column[k] + (k == 2 ? m.row[2] : 0);
        result.column[k] = m.column[0] * row[k] + m.column[1] * column[k] + (k == 2 ? m.column[2] : 0);
    }
    return result;
}

FNN_INLINE real NAME(within)(real x, real limit)
{
    x = x < 0 ? 0 : x;
    return x > limit ? limit : x;
}

/* y = x at the places of m, bilinear, 0 outside. x goes into the scratch with a border of zeros first: one before, two
 * behind; places beyond it are moved onto it. Whole maps need no interpolation. */
static void NAME(warp)(const fnn_augment *a, affine m, int whole, const real *x, real *y)
{
    const int64_t line = a->width * a->channels;
    const int32_t next = (int32_t)a->channels, below = (int32_t)(a->width + 3) * next;
    const int32_t *restrict column = a->places, *restrict channel = a->places + line;
    const real bottom = (real)(a->height + 1), right = (real)(a->width + 1);
    const real down = (real)m.row[1], across = (real)m.column[1];
    real *restrict padded = a->scratch;
    for (int64_t i = 0; i < a->height; i++)
        memcpy(padded + (i + 1) * below + next, x + i * line, (size_t)line * sizeof(real));
    for (int64_t i = 0; i < a->height; i++) {
        real *restrict to = y + i * line;
        const real first_row = (real)(m.row[0] * (double)i + m.row[2] + 1);
        const real first_column = (real)(m.column[0] * (double)i + m.column[2] + 1);
        if (whole) {
            const real *restrict from = padded + (int64_t)NAME(within)(first_row, bottom) * below;
            const int32_t start = (int32_t)first_column, step = (int32_t)across, end = (int32_t)right;
            FNN_INDEPENDENT
            for (int64_t e = 0; e < line; e++) {
                const int32_t place = start + column[e] * step, inside = place < 0 ? 0 : place;
                to[e] = from[(inside > end ? end : inside) * next + channel[e]];
            }
            continue;
        }
        FNN_INDEPENDENT
        for (int64_t e = 0; e < line; e++) {
            const real v = NAME(within)(first_row + (real)column[e] * down, bottom);
            const real u = NAME(within)(first_column + (real)column[e] * across, right);
            const int32_t row = (int32_t)v, left = (int32_t)u, at = row * below + left * next + channel[e];
            const real lower = v - (real)row, later = u - (real)left;
            const real above_value = (1 - later) * padded[at] + later * padded[at + next];
            const real below_value = (1 - later) * padded[at + below] + later * padded[at + below + next];
            to[e] = (1 - lower) * above_value + lower * below_value;
        }
    }
}

static void NAME(add_noise)(int64_t n, const real *x, real *y, real std, uint64_t seed, int64_t image, uint32_t step,
                            uint32_t stream)
{
    uint64_t c0[FNN_GROUPS], c1[FNN_GROUPS];
    uint32_t words[4 * FNN_GROUPS];
    real noise[4 * FNN_GROUPS];
    for (int i = 0; i < FNN_GROUPS; i++) c1[i] = (uint64_t)image;
    for (int64_t first = 0; first < n; first += 4 * FNN_GROUPS) {
        const int64_t m = n - first < 4 * FNN_GROUPS ? n - first : 4 * FNN_GROUPS;
        for (int i = 0; i < FNN_GROUPS; i++) c0[i] = (uint64_t)(first / 4 + i);
        fnn_random_words(c0, c1, step, stream, seed, words);
        FNN_INDEPENDENT
        for (int i = 0; i < 2 * FNN_GROUPS; i++)
            NAME(normal_pair)(words[2 * i], words[2 * i + 1], noise + 2 * i, noise + 2 * i + 1);
        FNN_INDEPENDENT
        for (int64_t i = 0; i < m; i++) y[first + i] = x[first + i] + std * noise[i];
    }
}

static void NAME(cut_out)(const fnn_augment *a, int64_t side, const uint32_t *words, real *y)
{
    const int64_t sides[2] = {a->height, a->width};
    int64_t begin[2], end[2];
    for (int k = 0; k < 2; k++) {
        begin[k] = (int64_t)((uint64_t)words[k] * (uint64_t)sides[k] >> 32) - side / 2;
        end[k] = begin[k] + side < sides[k] ? begin[k] + side : sides[k];
        begin[k] = begin[k] > 0 ? begin[k] : 0;
    }
    for (int64_t i = begin[0]; i < end[0]; i++)
        memset(y + (i * a->width + begin[1]) * a->channels, 0, (size_t)((end[1] - begin[1]) * a->channels) * sizeof *y);
}

static int NAME(is_affine)(int transform)
{
    return transform == FNN_TRANSFORM_shift || transform == FNN_TRANSFORM_rotate || transform == FNN_TRANSFORM_zoom ||
           transform == FNN_TRANSFORM_horizontal_flip || transform == FNN_TRANSFORM_vertical_flip;
}

/* All transforms of up to FNN_GROUPS images; the first of them is image `image` of the batch. */
static void NAME(augment_block)(const fnn_augment *a, int64_t image, int64_t images, const real *x, real *y)
{
    const int64_t size = a->height * a->width * a->channels;
    uint64_t c0[FNN_GROUPS] = {0}, c1[FNN_GROUPS];
    uint32_t words[4 * FNN_GROUPS];
    for (int64_t r = 0; r < FNN_GROUPS; r++) c1[r] = (uint64_t)(image + r);
    for (int64_t k = 0; k < a->transforms;) {
        const double *number = a->table + 3 * k + 1;
        int transform = (int)a->table[3 * k], whole = 1;
        if (NAME(is_affine)(transform)) {
            affine map[FNN_GROUPS];
            for (int64_t r = 0; r < images; r++) map[r] = (affine){{1, 0, 0}, {0, 1, 0}};
            for (; k < a->transforms && NAME(is_affine)(transform = (int)a->table[3 * k]); k++) {
                fnn_random_words(c0, c1, a->step, a->stream + (uint32_t)k, a->seed, words);
                for (int64_t r = 0; r < images; r++)
                    map[r] = NAME(compose)(map[r], transform, a->table + 3 * k + 1, words + 4 * r, a->height, a->width);
                whole &= transform != FNN_TRANSFORM_rotate && transform != FNN_TRANSFORM_zoom;
            }
            for (int64_t r = 0; r < images; r++) NAME(warp)(a, map[r], whole, x + r * size, y + r * size);
            x = y;
            continue;
        }
        const uint32_t stream = a->stream + (uint32_t)k++;
        fnn_random_words(c0, c1, a->step, stream, a->seed, words);
        for (int64_t r = 0; r < images; r++) {
            const real *from = x + r * size;
            real *to = y + r * size, normal[2];
            if (transform == FNN_TRANSFORM_cutout) {
                if (from != to) memcpy(to, from, (size_t)size * sizeof(real));
                NAME(cut_out)(a, (int64_t)number[0], words + 4 * r, to);
            } else if (transform == FNN_TRANSFORM_gaussian_noise) {
                NAME(add_noise)(size, from, to, (real)number[0], a->seed, image + r, a->step, stream);
            } else {
                NAME(normal_pair)(words[4 * r], words[4 * r + 1], normal, normal + 1);
                for (int64_t i = 0; i < size; i++) to[i] = from[i] * (1 + (real)number[0] * normal[0]);
            }
        }
        x = y;
    }
    if (x != y) memcpy(y, x, (size_t)(images * size) * sizeof(real));
}

static void NAME(augment)(const fnn_augment *a)
{
    const int64_t size = a->height * a->width * a->channels;
    memset(a->scratch, 0, (size_t)((a->height + 3) * (a->width + 3) * a->channels) * sizeof(real));
    for (int64_t first = 0; first < a->rows; first += FNN_GROUPS) {
        const int64_t images = a->rows - first < FNN_GROUPS ? a->rows - first : FNN_GROUPS;
        NAME(augment_block)(a, a->row + first, images, (const real *)a->x + first * size, (real *)a->y + first * size);
    }
}
#undef affine
