/* Recurrent cells: what happens at one step between the products, for some sequences and one panel of units (see
 * fnn_cell). Values that the next step needs lie side by side; what later ops read goes to its own place in the batch,
 * where the steps of a sequence follow each other. */

/* Where sequence i of `s` has the values of this step in a batch buffer with so many lines a step. */
#define FNN_LINE(buffer, lines) ((real *)(buffer) + s->row[i] * s->time * (lines) * width)
/* Four lines of gates: in the batch where it keeps them, else where the pre-activations were. */
#define FNN_GATES(z) \
    real *gates = s->gates ? FNN_LINE(s->gates, 4) : (z); \
    const int64_t line = s->gates ? width : s->z_line

static void NAME(lstm_cell)(const fnn_cell *s)
{
    const int64_t width = FNN_WHOLE(s->width), z_line = s->z_line;
    for (int64_t i = 0; i < s->rows; i++) {
        real *z = (real *)s->z + i * width, *state = (real *)s->state + i * width;
        real *after = (real *)s->after + i * width, *h = FNN_LINE(s->h, 1);
        real *c = s->c ? FNN_LINE(s->c, 1) : state;
        FNN_GATES(z);
        FNN_INDEPENDENT
        for (int64_t j = 0; j < width; j++) {
            const real input = NAME(logistic)(z[j]), forget = NAME(logistic)(z[z_line + j]);
            const real change = NAME(tanh)(z[2 * z_line + j]), output = NAME(logistic)(z[3 * z_line + j]);
            const real cell = forget * state[j] + input * change, y = output * NAME(tanh)(cell);
            gates[j] = input;
            gates[line + j] = forget;
            gates[2 * line + j] = change;
            gates[3 * line + j] = output;
            state[j] = c[j] = cell;
            after[j] = h[j] = y;
        }
    }
}

static void NAME(gru_cell)(const fnn_cell *s)
{
    const int64_t width = FNN_WHOLE(s->width), z_line = s->z_line;
    for (int64_t i = 0; i < s->rows; i++) {
        real *z = (real *)s->z + i * width, *after = (real *)s->after + i * width, *h = FNN_LINE(s->h, 1);
        const real *before = (const real *)s->before + i * width;
        FNN_GATES(z);
        FNN_INDEPENDENT
        for (int64_t j = 0; j < width; j++) {
            const real reset = NAME(logistic)(z[j]), keep = NAME(logistic)(z[z_line + j]), a = z[3 * z_line + j];
            const real change = NAME(tanh)(z[2 * z_line + j] + reset * a), y = change + keep * (before[j] - change);
            gates[j] = reset;
            gates[line + j] = keep;
            gates[2 * line + j] = change;
            gates[3 * line + j] = a;
            after[j] = h[j] = y;
        }
    }
}
#undef FNN_GATES

#define FNN_BEFORE() (s->before ? FNN_LINE(s->before, 1) : (real *)zeros)

static void NAME(lstm_cell_grad)(const fnn_cell_grad *s)
{
    static const real zeros[FNN_PANEL];
    const int64_t width = FNN_WHOLE(s->width), line = s->dz_line;
    for (int64_t i = 0; i < s->rows; i++) {
        real *dh = (real *)s->dh + i * width, *dc = (real *)s->dc + i * width;
        real *dz = (real *)s->dz + i * width, *dgates = FNN_LINE(s->dgates, 4);
        const real *gates = FNN_LINE(s->gates, 4), *c = FNN_LINE(s->c, 1), *before = FNN_BEFORE();
        FNN_INDEPENDENT
        for (int64_t j = 0; j < width; j++) {
            const real input = gates[j], forget = gates[width + j], change = gates[2 * width + j];
            const real output = gates[3 * width + j], y = NAME(tanh)(c[j]);
            const real cell = dc[j] + dh[j] * output * (1 - y * y);
            dgates[j] = dz[j] = cell * change * input * (1 - input);
            dgates[width + j] = dz[line + j] = cell * before[j] * forget * (1 - forget);
            dgates[2 * width + j] = dz[2 * line + j] = cell * input * (1 - change * change);
            dgates[3 * width + j] = dz[3 * line + j] = dh[j] * y * output * (1 - output);
            dc[j] = cell * forget;
            dh[j] = 0;
        }
    }
}

static void NAME(gru_cell_grad)(const fnn_cell_grad *s)
{
    static const real zeros[FNN_PANEL];
    const int64_t width = FNN_WHOLE(s->width), line = s->dz_line;
    for (int64_t i = 0; i < s->rows; i++) {
        real *dh = (real *)s->dh + i * width, *dz = (real *)s->dz + i * width, *dgates = FNN_LINE(s->dgates, 4);
        const real *gates = FNN_LINE(s->gates, 4), *before = FNN_BEFORE();
        FNN_INDEPENDENT
        for (int64_t j = 0; j < width; j++) {
            const real reset = gates[j], keep = gates[width + j], change = gates[2 * width + j];
            const real dn = dh[j] * (1 - keep) * (1 - change * change);
            dgates[j] = dz[j] = dn * gates[3 * width + j] * reset * (1 - reset);
            dgates[width + j] = dz[line + j] = dh[j] * (before[j] - change) * keep * (1 - keep);
            dgates[2 * width + j] = dn;
            dgates[3 * width + j] = dz[2 * line + j] = dn * reset;
            dh[j] = dh[j] * keep;
        }
    }
}
#undef FNN_BEFORE
#undef FNN_LINE

static void NAME(take_lines)(int64_t rows, int64_t width, const int64_t *row, const void *from_, int64_t from_row,
                             void *to_)
{
    for (int64_t i = 0; i < rows; i++) {
        const real *from = (const real *)from_ + row[i] * from_row;
        real *to = (real *)to_ + i * width;
        for (int64_t j = 0; j < width; j += FNN_LANES) NAME(store)(to + j, NAME(load)(from + j));
    }
}

static void NAME(put_lines)(int64_t rows, int64_t width, const int64_t *row, const void *from_, void *to_,
                            int64_t to_row)
{
    for (int64_t i = 0; i < rows; i++) {
        const real *from = (const real *)from_ + i * width;
        real *to = (real *)to_ + row[i] * to_row;
        for (int64_t j = 0; j < width; j += FNN_LANES) NAME(store)(to + j, NAME(load)(from + j));
    }
}

static void NAME(add_lines)(int64_t rows, int64_t width, const int64_t *row, const void *from_, int64_t from_row,
                            void *to_)
{
    for (int64_t i = 0; i < rows; i++) {
        const real *from = (const real *)from_ + row[i] * from_row;
        real *to = (real *)to_ + i * width;
        for (int64_t j = 0; j < width; j += FNN_LANES)
            NAME(store)(to + j, NAME(add)(NAME(load)(to + j), NAME(load)(from + j)));
    }
}

static void NAME(mask_lines)(int64_t rows, int64_t repeats, int64_t width, const void *x_, const void *mask_, void *y_)
{
    const real *x = x_;
    real *y = y_;
    for (int64_t line = 0; line < rows * repeats; line++) {
        const real *mask = (const real *)mask_ + line / repeats * width;
        for (int64_t j = 0; j < width; j += FNN_LANES)
            NAME(store)(y + line * width + j, NAME(multiply)(NAME(load)(x + line * width + j), NAME(load)(mask + j)));
    }
}

static void NAME(add_products)(int64_t n, const void *a_, const void *b_, void *y_)
{
    const real *a = a_, *b = b_;
    real *y = y_;
    FNN_INDEPENDENT
    for (int64_t i = 0; i < FNN_WHOLE(n); i++) y[i] += a[i] * b[i];
}
