/* What differs between compilers, so that no kernel needs an #ifdef. */
#ifndef FNN_COMPILER_H
#define FNN_COMPILER_H

#include <stdint.h>

#if defined(__clang__)
#define FNN_GNU_VECTORS
#define FNN_INLINE static inline __attribute__((always_inline, unused))
#define FNN_UNROLL _Pragma("clang loop unroll(full)")
#define FNN_UNROLL_DEPTH _Pragma("clang loop unroll_count(2)")
#define FNN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#define FNN_LANE_LOOP _Pragma("clang loop vectorize(assume_safety) unroll(disable)")
/* On loops over lanes that fill several vectors: clang would leave a loop over these, and sums in memory. */
#define FNN_WIDE_LANE_LOOP FNN_UNROLL
#elif defined(__GNUC__)
#define FNN_GNU_VECTORS
#define FNN_INLINE static inline __attribute__((always_inline, unused))
#define FNN_UNROLL _Pragma("GCC unroll 32")
#define FNN_UNROLL_DEPTH _Pragma("GCC unroll 4")
#define FNN_INDEPENDENT _Pragma("GCC ivdep")
/* On loops over the lanes of one vector: compilers unroll them before they vectorise, and then cannot. */
#define FNN_LANE_LOOP _Pragma("GCC ivdep") _Pragma("GCC unroll 1")
#define FNN_WIDE_LANE_LOOP FNN_LANE_LOOP
#elif defined(_MSC_VER)
#define FNN_INLINE static __forceinline
#define FNN_UNROLL
#define FNN_UNROLL_DEPTH
#define FNN_INDEPENDENT __pragma(loop(ivdep))
#define FNN_LANE_LOOP __pragma(loop(ivdep))
#define FNN_WIDE_LANE_LOOP FNN_LANE_LOOP
#else
#define FNN_INLINE static inline
#define FNN_UNROLL
#define FNN_UNROLL_DEPTH
#define FNN_INDEPENDENT
#define FNN_LANE_LOOP
#define FNN_WIDE_LANE_LOOP FNN_LANE_LOOP
#endif

#ifdef FNN_GNU_VECTORS
#define FNN_PREFETCH(address) __builtin_prefetch(address)
#define FNN_PREFETCH_SECOND(address) __builtin_prefetch(address, 0, 2) /* into the second cache */
#define FNN_PREFETCH_TO_WRITE(address) __builtin_prefetch(address, 1)
#else
#define FNN_PREFETCH(address) (void)(address)
#define FNN_PREFETCH_SECOND(address) (void)(address)
#define FNN_PREFETCH_TO_WRITE(address) (void)(address)
#endif
/* So many bytes from an address on, line by line. */
FNN_INLINE void fnn_prefetch_second(const void *memory, int64_t bytes)
{
    for (int64_t i = 0; i < bytes; i += 64) FNN_PREFETCH_SECOND((const char *)memory + i);
}

/* The number of the lowest bit that is set; there has to be one. */
#ifdef FNN_GNU_VECTORS
#define FNN_LOWEST_BIT(word) __builtin_ctzll(word)
#elif defined(_MSC_VER)
#include <intrin.h>
FNN_INLINE int fnn_lowest_bit(uint64_t word)
{
    unsigned long number;
    _BitScanForward64(&number, word);
    return (int)number;
}
#define FNN_LOWEST_BIT(word) fnn_lowest_bit(word)
#else
FNN_INLINE int fnn_lowest_bit(uint64_t word)
{
    int number = 0;
    for (; !(word & 1); word >>= 1) number++;
    return number;
}
#define FNN_LOWEST_BIT(word) fnn_lowest_bit(word)
#endif

#if defined(FNN_GNU_VECTORS) && defined(__has_builtin)
/* gcc 12 and every clang in use */
#if __has_builtin(__builtin_shufflevector)
#define FNN_SHUFFLES
#endif
/* clang 17, which leaves a loop over lanes in memory */
#if __has_builtin(__builtin_elementwise_sqrt)
#define FNN_ROOTS(x) __builtin_elementwise_sqrt(x)
#endif
#endif

#define FNN_JOIN_(a, b) a##_##b
#define FNN_JOIN(a, b) FNN_JOIN_(a, b)

/* FNN_ROWS_n(X, v): X(v, 1) X(v, 2) ... X(v, n). */
#define FNN_ROWS_1(X, v) X(v, 1)
#define FNN_ROWS_2(X, v) FNN_ROWS_1(X, v) X(v, 2)
#define FNN_ROWS_3(X, v) FNN_ROWS_2(X, v) X(v, 3)
#define FNN_ROWS_4(X, v) FNN_ROWS_3(X, v) X(v, 4)
#define FNN_ROWS_5(X, v) FNN_ROWS_4(X, v) X(v, 5)
#define FNN_ROWS_6(X, v) FNN_ROWS_5(X, v) X(v, 6)
#define FNN_ROWS_7(X, v) FNN_ROWS_6(X, v) X(v, 7)
#define FNN_ROWS_8(X, v) FNN_ROWS_7(X, v) X(v, 8)
#define FNN_ROWS_9(X, v) FNN_ROWS_8(X, v) X(v, 9)
#define FNN_ROWS_10(X, v) FNN_ROWS_9(X, v) X(v, 10)
#define FNN_ROWS_11(X, v) FNN_ROWS_10(X, v) X(v, 11)
#define FNN_ROWS_12(X, v) FNN_ROWS_11(X, v) X(v, 12)
#define FNN_ROWS_13(X, v) FNN_ROWS_12(X, v) X(v, 13)
#define FNN_ROWS_14(X, v) FNN_ROWS_13(X, v) X(v, 14)
#define FNN_ROWS_15(X, v) FNN_ROWS_14(X, v) X(v, 15)
#define FNN_ROWS_16(X, v) FNN_ROWS_15(X, v) X(v, 16)

/* The same up to the number of windows of 4 places that n rows are. */
#define FNN_WINDOWS_6 FNN_ROWS_1
#define FNN_WINDOWS_8 FNN_ROWS_2
#define FNN_WINDOWS_9 FNN_ROWS_2
#define FNN_WINDOWS_12 FNN_ROWS_3

#endif
