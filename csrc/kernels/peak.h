/* The arithmetic peak: FNN_CHAINS independent multiply-adds in registers, enough to hide a latency of 4 to 5 cycles
 * on two units. The values tend to a fixed point, so nothing overflows or becomes subnormal. */
static double NAME(peak)(int64_t repeats, double *sink)
{
    vec sum[FNN_CHAINS];
    real lanes[FNN_LANES];
    for (int lane = 0; lane < FNN_LANES; lane++) lanes[lane] = (real)*sink + (real)0.25;
    const vec addend = NAME(load)(lanes);
    const real factor = (real)(*sink + 0.5);
    FNN_UNROLL
    for (int i = 0; i < FNN_CHAINS; i++) {
        /* Different starts, or the compiler sees equal chains and runs one of them. */
        lanes[0] = (real)(i * *sink) + (real)(i + 1);
        sum[i] = NAME(load)(lanes);
    }
    for (int64_t repeat = 0; repeat < repeats; repeat++) {
        FNN_UNROLL
        for (int i = 0; i < FNN_CHAINS; i++) sum[i] = NAME(add_scaled)(addend, factor, sum[i]);
    }
    for (int i = 1; i < FNN_CHAINS; i++) sum[0] = NAME(add)(sum[0], sum[i]);
    NAME(store)(lanes, sum[0]);
    *sink = lanes[0];
    return (double)repeats * 2 * FNN_CHAINS * FNN_LANES;
}

/* The bandwidth peak: two streams are read, one is written. The values tend to 2 x, so nothing overflows. */
static void NAME(stream)(int64_t n, const void *x_, void *y_)
{
    const real *x = x_;
    real *y = y_;
    FNN_INDEPENDENT
    for (int64_t i = 0; i < FNN_WHOLE(n); i++) y[i] = (real)0.5 * y[i] + x[i];
}
