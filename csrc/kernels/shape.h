/* The sum where two branches meet. (Another shape is a store and a gather: see fastnn/native/_shape.pyx.) */

static void NAME(add_arrays)(int64_t n, const void *a_, const void *b_, void *y_)
{
    const real *a = a_, *b = b_;
    real *y = y_;
    FNN_INDEPENDENT
    for (int64_t i = 0; i < FNN_WHOLE(n); i++) y[i] = a[i] + b[i];
}
