/* Random changes of images: maps of the plane, zeroed squares, noise, factors. A signal is an image of height 1.
 * Shifts, rotations, zooms and flips that follow each other become one map from pixels of y to places in x, so an image
 * is sampled once. Words are drawn for FNN_GROUPS images at once (words.h). */

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

/* The image inside the scratch, whose zeroed border has one line and column before it and two behind: it stays 0. */
static const real *NAME(bordered)(const fnn_augment *a, const real *x)
{
    const int64_t line = a->width * a->channels, stride = (a->width + 3) * a->channels;
    real *inside = (real *)a->scratch + stride + a->channels;
    for (int64_t i = 0; i < a->height; i++) memcpy(inside + i * stride, x + i * line, (size_t)line * sizeof(real));
    return inside;
}

/* y = x, whose lines lie `stride` apart, at the places of a map that needs no interpolation. */
static void NAME(move)(const fnn_augment *a, const affine *m, const real *x, int64_t stride, real *y)
{
    const int64_t width = a->width, channels = a->channels, step = (int64_t)m->column[1], first = (int64_t)m->column[2];
    /* The columns of y, of which x has begin .. end: those with 0 <= first + step * j < width. */
    int64_t begin = step > 0 ? -first : first - width + 1, end = step > 0 ? width - first : first + 1;
    begin = begin < 0 ? 0 : begin > width ? width : begin;
    end = end < begin ? begin : end > width ? width : end;
    for (int64_t i = 0; i < a->height; i++) {
        const int64_t row = (int64_t)m->row[0] * i + (int64_t)m->row[2], inside = row >= 0 && row < a->height;
        real *to = y + i * width * channels;
        memset(to, 0, (size_t)((inside ? begin : width) * channels) * sizeof(real));
        if (!inside) continue;
        const real *from = x + row * stride + first * channels;
        if (step > 0)
            memcpy(to + begin * channels, from + begin * channels, (size_t)((end - begin) * channels) * sizeof(real));
        else
            for (int64_t j = begin; j < end; j++)
                for (int64_t c = 0; c < channels; c++) to[j * channels + c] = from[c - j * channels];
        memset(to + end * channels, 0, (size_t)((width - end) * channels) * sizeof(real));
    }
}

FNN_INLINE real NAME(within)(real x, real limit)
{
    x = x > 0 ? x : 0; /* NaN, from a map that overflows, becomes 0 */
    return x > limit ? limit : x;
}

/* Of some pixels of y: the elements of the bordered image up and left of their places, and how far right and below. */
enum { NAME(SAMPLES) = 4 * FNN_GROUPS };
typedef struct {
    int32_t at[NAME(SAMPLES)];
    real right[NAME(SAMPLES)], below[NAME(SAMPLES)];
} NAME(places);

FNN_INLINE void NAME(blend)(const NAME(places) *p, int64_t pixels, const real *x, int64_t stride, int64_t channels,
                            real *y)
{
    for (int64_t e = 0; e < pixels; e++) {
        const real *above = x + p->at[e], *under = above + stride;
        const real right = p->right[e], left = 1 - right, below = p->below[e];
        for (int64_t c = 0; c < channels; c++)
            y[e * channels + c] = (1 - below) * (left * above[c] + right * above[c + channels]) +
                                  below * (left * under[c] + right * under[c + channels]);
    }
}

/* y = the bordered image at the places of a map, bilinear; places beyond the border are moved onto it. The places are
 * made by vector code, the elements there are then loaded one by one: gcc 12 has no use for gathers. */
static void NAME(sample)(const fnn_augment *a, const affine *m, real *y)
{
    const int64_t pixels = a->height * a->width;
    const int32_t *row = a->places, *column = a->places + pixels;
    const int32_t channels = (int32_t)a->channels, stride = (int32_t)(a->width + 3) * channels;
    const real bottom = (real)(a->height + 1), end = (real)(a->width + 1);
    const real row0 = (real)m->row[0], row1 = (real)m->row[1], row2 = (real)(m->row[2] + 1);
    const real column0 = (real)m->column[0], column1 = (real)m->column[1], column2 = (real)(m->column[2] + 1);
    NAME(places) p;
    for (int64_t first = 0; first < pixels; first += NAME(SAMPLES)) {
        const int64_t n = pixels - first < NAME(SAMPLES) ? pixels - first : NAME(SAMPLES);
        FNN_INDEPENDENT
        for (int64_t e = 0; e < n; e++) {
            const real i = (real)row[first + e], j = (real)column[first + e];
            const real v = NAME(within)(row0 * i + row1 * j + row2, bottom);
            const real u = NAME(within)(column0 * i + column1 * j + column2, end);
            const int32_t up = (int32_t)v, left = (int32_t)u;
            p.at[e] = up * stride + left * channels;
            p.below[e] = v - (real)up;
            p.right[e] = u - (real)left;
        }
        if (channels == 1)
            NAME(blend)(&p, n, a->scratch, stride, 1, y + first);
        else
            NAME(blend)(&p, n, a->scratch, stride, channels, y + first * channels);
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

/* y = x under the maps of the plane from number `first` on that follow each other; returns the number after them. */
static int64_t NAME(augment_places)(const fnn_augment *a, int64_t first, const uint64_t *c0, const uint64_t *c1,
                                    int64_t images, const real *x, real *y)
{
    const int64_t line = a->width * a->channels, size = a->height * line;
    uint32_t words[4 * FNN_GROUPS];
    affine map[FNN_GROUPS];
    int64_t k = first, whole = 1;
    for (int64_t r = 0; r < images; r++) map[r] = (affine){{1, 0, 0}, {0, 1, 0}};
    for (; k < a->transforms && a->table[3 * k] < FNN_TRANSFORM_MAPS; k++) {
        const int transform = (int)a->table[3 * k];
        fnn_random_words(c0, c1, a->step, a->stream + (uint32_t)k, a->seed, words);
        for (int64_t r = 0; r < images; r++)
            map[r] = NAME(compose)(map[r], transform, a->table + 3 * k + 1, words + 4 * r, a->height, a->width);
        whole &= transform != FNN_TRANSFORM_rotate && transform != FNN_TRANSFORM_zoom;
    }
    for (int64_t r = 0; r < images; r++, x += size, y += size) {
        if (!whole) {
            NAME(bordered)(a, x);
            NAME(sample)(a, &map[r], y);
        } else if (x == y) {
            NAME(move)(a, &map[r], NAME(bordered)(a, x), line + 3 * a->channels, y);
        } else {
            NAME(move)(a, &map[r], x, line, y);
        }
    }
    return k;
}

/* y = x under transform k, which leaves pixels where they are, of image `image` of the batch; `words` are its. */
static void NAME(augment_values)(const fnn_augment *a, int64_t k, int64_t image, const uint32_t *words, const real *x,
                                 real *y)
{
    const int64_t size = a->height * a->width * a->channels;
    const double *number = a->table + 3 * k + 1;
    real normal[2];
    switch ((int)a->table[3 * k]) {
    case FNN_TRANSFORM_cutout:
        if (x != y) memcpy(y, x, (size_t)size * sizeof(real));
        NAME(cut_out)(a, (int64_t)number[0], words, y);
        break;
    case FNN_TRANSFORM_gaussian_noise:
        NAME(add_noise)(size, x, y, (real)number[0], a->seed, image, a->step, a->stream + (uint32_t)k);
        break;
    default:
        NAME(normal_pair)(words[0], words[1], normal, normal + 1);
        for (int64_t i = 0; i < size; i++) y[i] = x[i] * (1 + (real)number[0] * normal[0]);
    }
}

/* All transforms of up to FNN_GROUPS images, transform by transform; the first is image `image` of the batch. */
static void NAME(augment_block)(const fnn_augment *a, int64_t image, int64_t images, const real *x, real *y)
{
    const int64_t size = a->height * a->width * a->channels;
    uint64_t c0[FNN_GROUPS] = {0}, c1[FNN_GROUPS];
    uint32_t words[4 * FNN_GROUPS];
    for (int64_t r = 0; r < FNN_GROUPS; r++) c1[r] = (uint64_t)(image + r);
    for (int64_t k = 0; k < a->transforms; x = y) {
        if (a->table[3 * k] < FNN_TRANSFORM_MAPS) {
            k = NAME(augment_places)(a, k, c0, c1, images, x, y);
            continue;
        }
        fnn_random_words(c0, c1, a->step, a->stream + (uint32_t)k, a->seed, words);
        for (int64_t r = 0; r < images; r++)
            NAME(augment_values)(a, k, image + r, words + 4 * r, x + r * size, y + r * size);
        k++;
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
