/* Recurrent cells: what happens at one step between the products, for some sequences and one panel of units (see
 * fnn_cell). Values that the next step needs lie side by side; what later ops read goes to its own place in the batch,
 * where the steps of a sequence follow each other, as numbers of type `saved`: float and double, and bfloat16 for
 * products of operands rounded to it. The functions are called CELL(name); CELL(gates_of) is there already. */

/* Where sequence i of `s` has the values of this step in a batch buffer with so many lines a step. */
#define FNN_LINE(type, buffer, lines) ((type *)(buffer) + s->row[i] * s->time * (lines) * width)
/* Four lines of gates: in the batch where it keeps them, else where the pre-activations were. */
#define FNN_GATES(z) \
    saved *gates = s->gates ? FNN_LINE(saved, s->gates, 4) : (saved *)(z); \
    const int64_t line = s->gates ? width : s->z_line

/* What a row of a cell reads and writes; z, b and gates in lines. */
typedef struct {
    const real *z, *b, *d;
    int64_t z_line, line;
    saved *gates, *c;
    real *state, *after, *h;
} CELL(cell_row);

/* Pre-activations. Sums of products of bfloat16 come without biases: to start from them takes tiles as long as three
 * quarters of a block of products. */
FNN_INLINE gate CELL(biased)(const real *sum, const real *b)
{
    const gate z = NAME(take)(sum);
    return sizeof(saved) < sizeof(real) ? z + NAME(take)(b) : z;
}

/* One or two side by side: two take little more than one to round to bfloat16. */
FNN_INLINE void CELL(put_two)(int n, saved *to, const gate *x)
{
    if (n == 2)
        CELL(put_both)(to, x[0], x[1]);
    else
        CELL(put)(to, x[0]);
}

/* Gates of both kinds are computed side by side, those of two vectors at most, then tanh c for all vectors. */
FNN_INLINE void CELL(lstm_units)(int n, int64_t first, const CELL(cell_row) *s)
{
    enum { PAIR = 2, LANES = NAME(gate_lanes) };
    gate output[FNN_VECTORS], y[FNN_VECTORS];
    FNN_UNROLL
    for (int v = 0; v < n; v += PAIR) {
        const int m = n - v < PAIR ? n - v : PAIR;
        gate x[4 * PAIR]; /* input, forget, output, change */
        FNN_UNROLL
        for (int i = 0; i < m; i++) {
            const real *z = s->z + first + (v + i) * LANES, *b = s->b + first + (v + i) * LANES;
            x[i] = CELL(biased)(z, b);
            x[m + i] = CELL(biased)(z + s->z_line, b + s->line);
            x[2 * m + i] = CELL(biased)(z + 3 * s->z_line, b + 3 * s->line);
            x[3 * m + i] = CELL(biased)(z + 2 * s->z_line, b + 2 * s->line);
        }
        CELL(gates_of)(3 * m, 4 * m, x);
        FNN_UNROLL
        for (int i = 0; i < m; i++) {
            const int64_t j = first + (v + i) * LANES;
            const gate cell = x[m + i] * NAME(take)(s->state + j) + x[i] * x[3 * m + i];
            NAME(put)(s->state + j, cell);
            output[v + i] = x[2 * m + i];
            y[v + i] = cell;
        }
        saved *gates = s->gates + first + v * LANES;
        CELL(put_two)(m, gates, x);
        CELL(put_two)(m, gates + s->line, x + m);
        CELL(put_two)(m, gates + 2 * s->line, x + 3 * m);
        CELL(put_two)(m, gates + 3 * s->line, x + 2 * m);
        CELL(put_two)(m, s->c + first + v * LANES, y + v);
    }
    CELL(gates_of)(0, n, y);
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        const int64_t j = first + v * LANES;
        NAME(put)(s->after + j, output[v] * y[v]);
        NAME(put)(s->h + j, output[v] * y[v]);
    }
}

/* A batch is larger than the caches, and in it the rows of a step are too far apart for the machine to foresee: without
 * being asked for some rows ahead, what is written comes from memory while the next row waits for it (a cell of LSTM
 * takes 1.4 times as long). */
enum { CELL(rows_ahead) = 4 };
FNN_INLINE void CELL(ask_for_row)(const fnn_cell *s, int64_t i, int64_t width)
{
    if (i >= s->rows) return;
    fnn_prefetch_second(FNN_LINE(real, s->h, 1), width * (int64_t)sizeof(real));
    if (s->gates) fnn_prefetch_second(FNN_LINE(saved, s->gates, 4), 4 * width * (int64_t)sizeof(saved));
    if (s->c) fnn_prefetch_second(FNN_LINE(saved, s->c, 1), width * (int64_t)sizeof(saved));
}

static void CELL(lstm_cell)(const fnn_cell *s)
{
    const int64_t width = FNN_WHOLE(s->width), z_line = s->z_line;
    for (int64_t i = 0; i < s->rows; i++) {
        CELL(ask_for_row)(s, i + CELL(rows_ahead), width);
        real *z = (real *)s->z + i * width, *state = (real *)s->state + i * width;
        real *after = (real *)s->after + i * width, *h = FNN_LINE(real, s->h, 1);
        FNN_GATES(z);
        const CELL(cell_row) row = {
            z, s->b, s->d, z_line, line, gates, s->c ? FNN_LINE(saved, s->c, 1) : (saved *)state, state, after, h,
        };
        FNN_EACH_GATE(width, CELL(lstm_units), &row);
    }
}

FNN_INLINE void CELL(gru_units)(int n, int64_t first, const CELL(cell_row) *s)
{
    enum { LANES = NAME(gate_lanes) };
    gate x[2 * FNN_VECTORS], change[FNN_VECTORS]; /* reset, keep */
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        const real *z = s->z + first + v * LANES, *b = s->b + first + v * LANES;
        x[v] = CELL(biased)(z, b);
        x[n + v] = CELL(biased)(z + s->z_line, b + s->line);
    }
    CELL(gates_of)(2 * n, 2 * n, x);
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        const int64_t j = first + v * LANES;
        const gate a = CELL(biased)(s->z + 3 * s->z_line + j, s->d + j);
        change[v] = CELL(biased)(s->z + 2 * s->z_line + j, s->b + 2 * s->line + j) + x[v] * a;
        CELL(put)(s->gates + 3 * s->line + j, a);
    }
    CELL(gates_of)(0, n, change);
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        const int64_t j = first + v * LANES;
        const gate y = change[v] + x[n + v] * (NAME(take)(s->state + j) - change[v]);
        CELL(put)(s->gates + j, x[v]);
        CELL(put)(s->gates + s->line + j, x[n + v]);
        CELL(put)(s->gates + 2 * s->line + j, change[v]);
        NAME(put)(s->after + j, y);
        NAME(put)(s->h + j, y);
    }
}

static void CELL(gru_cell)(const fnn_cell *s)
{
    const int64_t width = FNN_WHOLE(s->width), z_line = s->z_line;
    for (int64_t i = 0; i < s->rows; i++) {
        CELL(ask_for_row)(s, i + CELL(rows_ahead), width);
        real *z = (real *)s->z + i * width, *after = (real *)s->after + i * width;
        FNN_GATES(z);
        const CELL(cell_row) row = {
            z, s->b, s->d, z_line, line, gates, NULL, (real *)s->before + i * width, after, FNN_LINE(real, s->h, 1),
        };
        FNN_EACH_GATE(width, CELL(gru_units), &row);
    }
}
#undef FNN_GATES

#define FNN_BEFORE(type) (s->before ? FNN_LINE(type, s->before, 1) : (type *)zeros)

/* What a row of a cell's gradient reads and writes, in lines; before: c, or h. */
typedef struct {
    const saved *gates, *c;
    const void *before;
    int64_t line;
    real *dh, *dc;
    saved *dgates, *packed;
    int64_t packed_line;
} CELL(grad_row);

/* Of a gate, on its line of dgates and, where that is for products of bfloat16, as their operand. */
FNN_INLINE void CELL(put_gradient)(int n, const CELL(grad_row) *s, int64_t line, int64_t operand, int64_t j,
                                   const gate *x)
{
    CELL(put_two)(n, s->dgates + line * s->line + j, x);
    if (sizeof(saved) < sizeof(real)) CELL(put_two)(n, s->packed + operand * s->packed_line + j, x);
}

FNN_INLINE void CELL(lstm_units_grad)(int n, int64_t first, const CELL(grad_row) *s)
{
    enum { PAIR = 2, LANES = NAME(gate_lanes) };
    static const real zeros[FNN_LANES];
    gate y[FNN_VECTORS];
    FNN_UNROLL
    for (int v = 0; v < n; v++) y[v] = CELL(take)(s->c + first + v * LANES);
    CELL(gates_of)(0, n, y);
    FNN_UNROLL
    for (int v = 0; v < n; v += PAIR) {
        const int m = n - v < PAIR ? n - v : PAIR;
        gate di[PAIR], df[PAIR], dg[PAIR], d_o[PAIR];
        FNN_UNROLL
        for (int i = 0; i < m; i++) {
            const int64_t j = first + (v + i) * LANES;
            const gate input = CELL(take)(s->gates + j), forget = CELL(take)(s->gates + s->line + j);
            const gate change = CELL(take)(s->gates + 2 * s->line + j), output = CELL(take)(s->gates + 3 * s->line + j);
            const gate dy = NAME(take)(s->dh + j), tanh = y[v + i];
            const gate cell = NAME(take)(s->dc + j) + dy * output * (1 - tanh * tanh);
            di[i] = cell * change * input * (1 - input);
            df[i] = cell * CELL(take)((const saved *)s->before + j) * forget * (1 - forget);
            dg[i] = cell * input * (1 - change * change);
            d_o[i] = dy * tanh * output * (1 - output);
            NAME(put)(s->dc + j, cell * forget);
            NAME(put)(s->dh + j, NAME(take)(zeros));
        }
        CELL(put_gradient)(m, s, 0, 0, first + v * LANES, di);
        CELL(put_gradient)(m, s, 1, 1, first + v * LANES, df);
        CELL(put_gradient)(m, s, 2, 2, first + v * LANES, dg);
        CELL(put_gradient)(m, s, 3, 3, first + v * LANES, d_o);
    }
}

static void CELL(lstm_cell_grad)(const fnn_cell_grad *s)
{
    static const real zeros[FNN_PANEL];
    const int64_t width = FNN_WHOLE(s->width);
    for (int64_t i = 0; i < s->rows; i++) {
        const CELL(grad_row) row = {
            FNN_LINE(saved, s->gates, 4), FNN_LINE(saved, s->c, 1), FNN_BEFORE(saved), width,
            (real *)s->dh + i * width, (real *)s->dc + i * width, FNN_LINE(saved, s->dgates, 4),
            (saved *)s->packed + i * s->packed_row, s->packed_line,
        };
        FNN_EACH_GATE(width, CELL(lstm_units_grad), &row);
    }
}

FNN_INLINE void CELL(gru_units_grad)(int n, int64_t first, const CELL(grad_row) *s)
{
    enum { LANES = NAME(gate_lanes) };
    FNN_UNROLL
    for (int v = 0; v < n; v++) {
        const int64_t j = first + v * LANES;
        const gate reset = CELL(take)(s->gates + j), keep = CELL(take)(s->gates + s->line + j);
        const gate change = CELL(take)(s->gates + 2 * s->line + j), a = CELL(take)(s->gates + 3 * s->line + j);
        const gate dh = NAME(take)(s->dh + j), before = NAME(take)((const real *)s->before + j);
        const gate dn = dh * (1 - keep) * (1 - change * change);
        const gate dr = dn * a * reset * (1 - reset), dz = dh * (before - change) * keep * (1 - keep), da = dn * reset;
        CELL(put_gradient)(1, s, 0, 0, j, &dr);
        CELL(put_gradient)(1, s, 1, 1, j, &dz);
        CELL(put)(s->dgates + 2 * s->line + j, dn);
        CELL(put_gradient)(1, s, 3, 2, j, &da);
        NAME(put)(s->dh + j, dh * keep);
    }
}

static void CELL(gru_cell_grad)(const fnn_cell_grad *s)
{
    static const real zeros[FNN_PANEL];
    const int64_t width = FNN_WHOLE(s->width);
    for (int64_t i = 0; i < s->rows; i++) {
        const CELL(grad_row) row = {
            FNN_LINE(saved, s->gates, 4), NULL, FNN_BEFORE(real), width, (real *)s->dh + i * width, NULL,
            FNN_LINE(saved, s->dgates, 4), (saved *)s->packed + i * s->packed_row, s->packed_line,
        };
        FNN_EACH_GATE(width, CELL(gru_units_grad), &row);
    }
}
#undef FNN_BEFORE
#undef FNN_LINE
#undef CELL
#undef saved
