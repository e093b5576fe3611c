/* Which kernel table this CPU gets, and the floating-point mode of a thread. Compiled with baseline flags. */
#include <stdlib.h>
#include <string.h>

#include "fastnn.h"

#if defined(__x86_64__) || defined(_M_X64)
#define FNN_X86
#include <xmmintrin.h>
#endif

#if defined(FNN_X86) && defined(_MSC_VER) && !defined(__clang__)
#include <immintrin.h>
#include <intrin.h>

static int fnn_bit(int word, int bit) { return (word >> bit) & 1; }

/* Leaf 7 of cpuid, if the operating system saves the registers named by `state` (bits of XCR0). */
static int fnn_extended_features(unsigned long long state, int leaf7[4], int leaf1[4])
{
    __cpuid(leaf1, 0);
    if (leaf1[0] < 7) return 0;
    __cpuid(leaf1, 1);
    __cpuidex(leaf7, 7, 0);
    return fnn_bit(leaf1[2], 27) && (_xgetbv(0) & state) == state;
}
static int fnn_cpu_has_avx2(void)
{
    int leaf7[4], leaf1[4];
    return fnn_extended_features(0x6, leaf7, leaf1) && fnn_bit(leaf1[2], 12) && fnn_bit(leaf7[1], 5);
}
static int fnn_cpu_has_avx512(void)
{
    int leaf7[4], leaf1[4];
    return fnn_cpu_has_avx2() && fnn_extended_features(0xe6, leaf7, leaf1) && fnn_bit(leaf7[1], 16) &&
           fnn_bit(leaf7[1], 17) && fnn_bit(leaf7[1], 30) && fnn_bit(leaf7[1], 31);
}
#elif defined(FNN_X86)
static int fnn_cpu_has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int fnn_cpu_has_avx512(void)
{
    return fnn_cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

#define FNN_ISA(name, available) extern const fnn_kernels fnn_##name##_f32, fnn_##name##_f64;
#include "isa.def"
#undef FNN_ISA

/* The table of an available instruction set by name, or of the i-th available one if the name is NULL. */
static const fnn_kernels *fnn_find(const char *isa, int i, int64_t itemsize)
{
#define FNN_ISA(name, available) \
    if ((available) && (isa ? strcmp(isa, #name) == 0 : i-- == 0)) \
        return itemsize == 4 ? &fnn_##name##_f32 : &fnn_##name##_f64;
#include "isa.def"
#undef FNN_ISA
    return NULL;
}

const char *fnn_isa_name(int i)
{
    const fnn_kernels *kernels = i < 0 ? NULL : fnn_find(NULL, i, 4);
    return kernels ? kernels->isa : NULL;
}

const fnn_kernels *fnn_kernels_for(const char *isa, int64_t itemsize)
{
    if (itemsize != 4 && itemsize != 8) return NULL;
    if (!isa) {
        isa = getenv("FASTNN_ISA");
        if (isa && !*isa) isa = NULL;
    }
    if (isa) return fnn_find(isa, 0, itemsize);
    int count = 0;
    while (fnn_isa_name(count)) count++;
    return fnn_find(NULL, count - 1, itemsize);
}

/* Subnormal numbers cost a hundred times a normal one, and Adam's moments of rarely lit inputs decay into them. */
#if defined(FNN_X86)
enum { FNN_FLUSH = 0x8040 }; /* MXCSR: flush to zero, denormals are zero */

uint64_t fnn_flush_denormals(void)
{
    const unsigned state = _mm_getcsr();
    _mm_setcsr(state | FNN_FLUSH);
    return state;
}
void fnn_restore_float_mode(uint64_t state) { _mm_setcsr((unsigned)state); }
#elif defined(__aarch64__)
uint64_t fnn_flush_denormals(void)
{
    uint64_t state;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(state));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(state | (UINT64_C(1) << 24)));
    return state;
}
void fnn_restore_float_mode(uint64_t state) { __asm__ __volatile__("msr fpcr, %0" : : "r"(state)); }
#else
uint64_t fnn_flush_denormals(void) { return 0; }
void fnn_restore_float_mode(uint64_t state) { (void)state; }
#endif

#define FNN_STRING_(x) #x
#define FNN_STRING(x) FNN_STRING_(x)
const char *fnn_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#elif defined(_MSC_VER)
    return "msvc " FNN_STRING(_MSC_VER);
#else
    return "unknown";
#endif
}
