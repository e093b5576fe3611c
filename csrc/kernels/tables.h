/* The tables of an instruction set: of float, of double, of bfloat16. An isa file defines FNN_ISA, includes a header
 * of simd/ and then this; with FNN_ONLY_BFLOAT16 only the last one is made. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "../fastnn.h"
#include "../simd/compiler.h"
#include "philox.h"

/* Independent sums of the peak probe, side-by-side random counters, and rows summed before going over to double: in
 * general, and where a block of them is read twice. */
enum { FNN_CHAINS = 12, FNN_GROUPS = 32, FNN_SUM_ROWS = 32, FNN_BLOCK_ROWS = 64 };

#ifndef FNN_ONLY_BFLOAT16
#include "words.h"
#endif

#define FNN_TABLE_(isa, suffix) fnn_##isa##_##suffix
#define FNN_TABLE(isa, suffix) FNN_TABLE_(isa, suffix)
#define NAME(name) FNN_JOIN(name, FNN_SUFFIX)
/* n, shown to the compiler to be a multiple of the lanes: no scalar tail, hence no second rounding of any element. */
#define FNN_WHOLE(n) ((n) & -(int64_t)FNN_LANES)
#define FNN_PANEL (FNN_VECTORS * FNN_LANES)
/* n = 2 to the power of this many; n up to 64. */
#define FNN_BITS(n) ((n) > 32 ? 6 : (n) > 16 ? 5 : (n) > 8 ? 4 : (n) > 4 ? 3 : (n) > 2 ? 2 : 1)
/* Calls an inline function with a number up to 2 or 4 first, as a constant: loops over so many vectors vanish. */
#define FNN_UP_TO_2(n, FUNCTION, ...) \
    switch (n) { \
    case 1: FUNCTION(1, __VA_ARGS__); break; \
    default: FUNCTION(2, __VA_ARGS__); \
    }
#define FNN_UP_TO_4(n, FUNCTION, ...) \
    switch (n) { \
    case 1: FUNCTION(1, __VA_ARGS__); break; \
    case 2: FUNCTION(2, __VA_ARGS__); break; \
    case 3: FUNCTION(3, __VA_ARGS__); break; \
    default: FUNCTION(4, __VA_ARGS__); \
    }
/* With the number of vectors in a panel's row. */
#if FNN_VECTORS > 2
#define FNN_BY_VECTORS(width, ...) FNN_UP_TO_4((width) / FNN_LANES, __VA_ARGS__)
#else
#define FNN_BY_VECTORS(width, ...) FNN_UP_TO_2((width) / FNN_LANES, __VA_ARGS__)
#endif

/* X(1) X(2) ... up to the vectors of two panels. */
#if FNN_VECTORS > 2
#define FNN_MASKED(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#else
#define FNN_MASKED(X) X(1) X(2) X(3) X(4)
#endif

/* A loop over one vector's lanes that becomes one vector's operations. */
#define FNN_EACH_LANE FNN_LANE_LOOP for (signed_bits lane = 0; lane < FNN_LANES; lane++)
#define FNN_EACH_DOUBLE FNN_WIDE_LANE_LOOP for (signed_bits lane = 0; lane < FNN_LANES; lane++)

#define FNN_REAL_BITS 32
#define FNN_SUFFIX f32
#define FNN_LANES (FNN_VECTOR_BYTES / 4)
#define real float
#define bits uint32_t
#define signed_bits int32_t
#define real_abs fabsf
#define real_sqrt sqrtf
#define real_copysign copysignf
#ifdef FNN_ONLY_BFLOAT16
#include "../simd/vector.h"
#include "math.h"
#include "bfloat16.h"
#else
#include "table.h"
#undef FNN_REAL_BITS
#undef FNN_SUFFIX
#undef FNN_LANES
#undef real
#undef bits
#undef signed_bits
#undef real_abs
#undef real_sqrt
#undef real_copysign
#undef vec
#undef strip

#define FNN_REAL_BITS 64
#define FNN_SUFFIX f64
#define FNN_LANES (FNN_VECTOR_BYTES / 8)
#define real double
#define bits uint64_t
#define signed_bits int64_t
#define real_abs fabs
#define real_sqrt sqrt
#define real_copysign copysign
#include "table.h"
#endif
