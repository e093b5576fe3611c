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
        for (int64_t j = 0; j < width; j += NAME(gate_lanes)) {
            const gate input = NAME(logistic_of)(NAME(take)(z + j));
            const gate forget = NAME(logistic_of)(NAME(take)(z + z_line + j));
            const gate change = NAME(tanh_of)(NAME(take)(z + 2 * z_line + j));
            const gate output = NAME(logistic_of)(NAME(take)(z + 3 * z_line + j));
            const gate cell = forget * NAME(take)(state + j) + input * change, y = output * NAME(tanh_of)(cell);
            NAME(put)(gates + j, input);
            NAME(put)(gates + line + j, forget);
            NAME(put)(gates + 2 * line + j, change);
            NAME(put)(gates + 3 * line + j, output);
            NAME(put)(state + j, cell);
            NAME(put)(c + j, cell);
            NAME(put)(after + j, y);
            NAME(put)(h + j, y);
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
        for (int64_t j = 0; j < width; j += NAME(gate_lanes)) {
            const gate reset = NAME(logistic_of)(NAME(take)(z + j)), a = NAME(take)(z + 3 * z_line + j);
            const gate keep = NAME(logistic_of)(NAME(take)(z + z_line + j));
            const gate change = NAME(tanh_of)(NAME(take)(z + 2 * z_line + j) + reset * a);
            const gate y = change + keep * (NAME(take)(before + j) - change);
            NAME(put)(gates + j, reset);
            NAME(put)(gates + line + j, keep);
            NAME(put)(gates + 2 * line + j, change);
            NAME(put)(gates + 3 * line + j, a);
            NAME(put)(after + j, y);
            NAME(put)(h + j, y);
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
        for (int64_t j = 0; j < width; j += NAME(gate_lanes)) {
            const gate input = NAME(take)(gates + j), forget = NAME(take)(gates + width + j);
            const gate change = NAME(take)(gates + 2 * width + j), output = NAME(take)(gates + 3 * width + j);
            const gate y = NAME(tanh_of)(NAME(take)(c + j)), dy = NAME(take)(dh + j);
            const gate cell = NAME(take)(dc + j) + dy * output * (1 - y * y);
            const gate di = cell * change * input * (1 - input);
            const gate df = cell * NAME(take)(before + j) * forget * (1 - forget);
            const gate dg = cell * input * (1 - change * change), d_o = dy * y * output * (1 - output);
            NAME(put)(dz + j, di);
            NAME(put)(dgates + j, di);
            NAME(put)(dz + line + j, df);
            NAME(put)(dgates + width + j, df);
            NAME(put)(dz + 2 * line + j, dg);
            NAME(put)(dgates + 2 * width + j, dg);
            NAME(put)(dz + 3 * line + j, d_o);
            NAME(put)(dgates + 3 * width + j, d_o);
            NAME(put)(dc + j, cell * forget);
            NAME(put)(dh + j, NAME(take)(zeros));
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
