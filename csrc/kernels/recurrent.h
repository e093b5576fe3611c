/* Recurrent cells: what happens at one step between the products, for some sequences and one panel of units (see
 * fnn_cell). Values that the next step needs lie side by side; what later ops read goes to its own place in the batch,
 * where the steps of a sequence follow each other. */

/* Where sequence i of `s` has the values of this step in a batch buffer with so many lines a step. */
#define FNN_LINE(buffer, lines) ((real *)(buffer) + s->row[i] * s->time * (lines) * width)
/* Four lines of gates: in the batch where it keeps them, else where the pre-activations were. */
#define FNN_GATES(z) \
    real *gates = s->gates ? FNN_LINE(s->gates, 4) : (z); \
    const int64_t line = s->gates ? width : s->z_line

/* What a row of a cell reads and writes; z and gates in lines. */
typedef struct {
    const real *z;
    int64_t z_line, line;
    real *gates, *state, *c, *after, *h;
} NAME(cell_row);

/* Gates of both kinds are computed side by side, those of two vectors at most, then tanh c for all vectors. */
FNN_INLINE void NAME(lstm_units)(int n, int64_t first, const NAME(cell_row) *s)
{
    enum { PAIR = 2, LANES = NAME(gate_lanes) };
    gate output[FNN_VECTORS], y[FNN_VECTORS];
    FNN_UNROLL
    for (int v = 0; v < n; v += PAIR) {
        const int m = n - v < PAIR ? n - v : PAIR;
        gate x[4 * PAIR]; /* input, forget, output, change */
        FNN_UNROLL
        for (int i = 0; i < m; i++) {
            const real *z = s->z + first + (v + i) * LANES;
            x[i] = NAME(take)(z);
            x[m + i] = NAME(take)(z + s->z_line);
            x[2 * m + i] = NAME(take)(z + 3 * s->z_line);
            x[3 * m + i] = NAME(take)(z + 2 * s->z_line);
        }
        NAME(gates_of)(3 * m, 4 * m, x);
        FNN_UNROLL
        for (int i = 0; i < m; i++) {
            const int64_t j = first + (v + i) * LANES;
            const gate cell = x[m + i] * NAME(take)(s->state + j) + x[i] * x[3 * m + i];
            NAME(put)(s->gates + j, x[i]);
            NAME(put)(s->gates + s->line + j, x[m + i]);
            NAME(put)(s->gates + 2 * s->line + j, x[3 * m + i]);
            NAME(put)(s->gates + 3 * s->line + j, x[2 * m + i]);
            NAME(put)(s->state + j, cell);
            NAME(put)(s->c + j, cell);
            output[v + i] = x[2 * m + i];
            y[v + i] = cell;
        }
    }
    NAME(gates_of)(0, n, y);
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        const int64_t j = first + v * LANES;
        NAME(put)(s->after + j, output[v] * y[v]);
        NAME(put)(s->h + j, output[v] * y[v]);
    }
}

static void NAME(lstm_cell)(const fnn_cell *s)
{
    const int64_t width = FNN_WHOLE(s->width), z_line = s->z_line;
    for (int64_t i = 0; i < s->rows; i++) {
        real *z = (real *)s->z + i * width, *state = (real *)s->state + i * width;
        real *after = (real *)s->after + i * width, *h = FNN_LINE(s->h, 1);
        FNN_GATES(z);
        const NAME(cell_row) row = {z, z_line, line, gates, state, s->c ? FNN_LINE(s->c, 1) : state, after, h};
        FNN_EACH_GATE(width, NAME(lstm_units), &row);
    }
}

FNN_INLINE void NAME(gru_units)(int n, int64_t first, const NAME(cell_row) *s)
{
    enum { LANES = NAME(gate_lanes) };
    gate x[2 * FNN_VECTORS], change[FNN_VECTORS]; /* reset, keep */
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        x[v] = NAME(take)(s->z + first + v * LANES);
        x[n + v] = NAME(take)(s->z + s->z_line + first + v * LANES);
    }
    NAME(gates_of)(2 * n, 2 * n, x);
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        const int64_t j = first + v * LANES;
        const gate a = NAME(take)(s->z + 3 * s->z_line + j);
        change[v] = NAME(take)(s->z + 2 * s->z_line + j) + x[v] * a;
        NAME(put)(s->gates + 3 * s->line + j, a);
    }
    NAME(gates_of)(0, n, change);
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        const int64_t j = first + v * LANES;
        const gate y = change[v] + x[n + v] * (NAME(take)(s->state + j) - change[v]);
        NAME(put)(s->gates + j, x[v]);
        NAME(put)(s->gates + s->line + j, x[n + v]);
        NAME(put)(s->gates + 2 * s->line + j, change[v]);
        NAME(put)(s->after + j, y);
        NAME(put)(s->h + j, y);
    }
}

static void NAME(gru_cell)(const fnn_cell *s)
{
    const int64_t width = FNN_WHOLE(s->width), z_line = s->z_line;
    for (int64_t i = 0; i < s->rows; i++) {
        real *z = (real *)s->z + i * width, *after = (real *)s->after + i * width;
        FNN_GATES(z);
        const NAME(cell_row) row = {
            z, z_line, line, gates, (real *)s->before + i * width, NULL, after, FNN_LINE(s->h, 1),
        };
        FNN_EACH_GATE(width, NAME(gru_units), &row);
    }
}
#undef FNN_GATES

#define FNN_BEFORE() (s->before ? FNN_LINE(s->before, 1) : (real *)zeros)

/* What a row of a cell's gradient reads and writes, in lines. */
typedef struct {
    const real *gates, *c, *before;
    int64_t line;
    real *dh, *dc, *dgates;
} NAME(grad_row);

FNN_INLINE void NAME(lstm_units_grad)(int n, int64_t first, const NAME(grad_row) *s)
{
    enum { LANES = NAME(gate_lanes) };
    static const real zeros[FNN_LANES];
    gate y[FNN_VECTORS];
    FNN_UNROLL
    for (int v = 0; v < n; v++) y[v] = NAME(take)(s->c + first + v * LANES);
    NAME(gates_of)(0, n, y);
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        const int64_t j = first + v * LANES;
        const gate input = NAME(take)(s->gates + j), forget = NAME(take)(s->gates + s->line + j);
        const gate change = NAME(take)(s->gates + 2 * s->line + j), output = NAME(take)(s->gates + 3 * s->line + j);
        const gate dy = NAME(take)(s->dh + j);
        const gate cell = NAME(take)(s->dc + j) + dy * output * (1 - y[v] * y[v]);
        const gate di = cell * change * input * (1 - input);
        const gate df = cell * NAME(take)(s->before + j) * forget * (1 - forget);
        const gate dg = cell * input * (1 - change * change), d_o = dy * y[v] * output * (1 - output);
        NAME(put)(s->dgates + j, di);
        NAME(put)(s->dgates + s->line + j, df);
        NAME(put)(s->dgates + 2 * s->line + j, dg);
        NAME(put)(s->dgates + 3 * s->line + j, d_o);
        NAME(put)(s->dc + j, cell * forget);
        NAME(put)(s->dh + j, NAME(take)(zeros));
    }
}

static void NAME(lstm_cell_grad)(const fnn_cell_grad *s)
{
    static const real zeros[FNN_PANEL];
    const int64_t width = FNN_WHOLE(s->width);
    for (int64_t i = 0; i < s->rows; i++) {
        const NAME(grad_row) row = {
            FNN_LINE(s->gates, 4), FNN_LINE(s->c, 1), FNN_BEFORE(), width, (real *)s->dh + i * width,
            (real *)s->dc + i * width, FNN_LINE(s->dgates, 4),
        };
        FNN_EACH_GATE(width, NAME(lstm_units_grad), &row);
    }
}

static void NAME(gru_cell_grad)(const fnn_cell_grad *s)
{
    static const real zeros[FNN_PANEL];
    const int64_t width = FNN_WHOLE(s->width);
    for (int64_t i = 0; i < s->rows; i++) {
        real *dh = (real *)s->dh + i * width, *dgates = FNN_LINE(s->dgates, 4);
        const real *gates = FNN_LINE(s->gates, 4), *before = FNN_BEFORE();
        FNN_INDEPENDENT
        for (int64_t j = 0; j < width; j++) {
            const real reset = gates[j], keep = gates[width + j], change = gates[2 * width + j];
            const real dn = dh[j] * (1 - keep) * (1 - change * change);
            dgates[j] = dn * gates[3 * width + j] * reset * (1 - reset);
            dgates[width + j] = dh[j] * (before[j] - change) * keep * (1 - keep);
            dgates[2 * width + j] = dn;
            dgates[3 * width + j] = dn * reset;
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
