/* Which kernel table this CPU gets, and the floating-point mode of a thread. Compiled with baseline flags. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "fastnn.h"

#if defined(__x86_64__) || defined(_M_X64)
#define FNN_X86
#include <xmmintrin.h>
#if !defined(_MSC_VER) || defined(__clang__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
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
/* A virtual machine takes microseconds for each question, and each prediction asks for the sets. */
static int fnn_cpu_has_avx2(void)
{
    static int known = -1;
    if (known < 0) {
        int leaf7[4], leaf1[4];
        known = fnn_extended_features(0x6, leaf7, leaf1) && fnn_bit(leaf1[2], 12) && fnn_bit(leaf7[1], 5);
    }
    return known;
}
static int fnn_cpu_has_avx512(void)
{
    static int known = -1;
    if (known < 0) {
        int leaf7[4], leaf1[4];
        known = fnn_cpu_has_avx2() && fnn_extended_features(0xe6, leaf7, leaf1) && fnn_bit(leaf7[1], 16) &&
                fnn_bit(leaf7[1], 17) && fnn_bit(leaf7[1], 30) && fnn_bit(leaf7[1], 31);
    }
    return known;
}
#elif defined(FNN_X86)
static int fnn_cpu_has_avx2(void) { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
static int fnn_cpu_has_avx512(void)
{
    return fnn_cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* Older compilers do not know the names of the following; a virtual machine takes microseconds for each question. */
static int fnn_cpu_has_avx512_bf16(void)
{
    static int known = -1;
    if (known < 0) {
        unsigned a, b, c, d;
        known = fnn_cpu_has_avx512() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1);
    }
    return known;
}

#if defined(FNN_EMULATE_TILES)
static int fnn_cpu_has_amx(void) { return fnn_cpu_has_avx512_bf16(); } /* all that simd/tiles.h needs */
#elif defined(__linux__)
/* Linux gives a process the tiles' state when it asks (ARCH_REQ_XCOMP_PERM, component 18), and not where a signal
 * stack is too small for it: then the process has no tiles. It is asked once. */
static int fnn_cpu_has_amx(void)
{
    static int granted = -1;
    if (granted < 0) {
        enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
        unsigned a, b, c, d;
        const int is_there = fnn_cpu_has_avx512_bf16() && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
                             (d >> 22 & 1) && (d >> 24 & 1); /* AMX-BF16, AMX-TILE */
        granted = is_there && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
    }
    return granted;
}
#endif
#endif

#define FNN_ISA(name, available) \
    extern const fnn_kernels fnn_##name##_f32, fnn_##name##_f64; \
    extern const fnn_bfloat16 fnn_##name##_bfloat16;
#define FNN_BFLOAT16_ISA(name, set, available) extern const fnn_bfloat16 fnn_##name##_bfloat16;
#include "isa.def"
#undef FNN_ISA
#undef FNN_BFLOAT16_ISA

typedef struct {
    const char *name;
    const fnn_kernels *f32, *f64;
    const fnn_bfloat16 *bfloat16;
} fnn_set;

/* The available instruction set of a name, or the i-th one if that is NULL; its name is NULL where there is none. */
static fnn_set fnn_find(const char *isa, int i, int with_bfloat16)
{
#define FNN_SET(name, set, available, shares) \
    if ((with_bfloat16 || !shares) && (available) && (isa ? strcmp(isa, #name) == 0 : i-- == 0)) \
        return (fnn_set){#name, &fnn_##set##_f32, &fnn_##set##_f64, &fnn_##name##_bfloat16};
#define FNN_ISA(name, available) FNN_SET(name, name, available, 0)
#define FNN_BFLOAT16_ISA(name, set, available) FNN_SET(name, set, available, 1)
#include "isa.def"
#undef FNN_ISA
#undef FNN_BFLOAT16_ISA
    return (fnn_set){NULL, NULL, NULL, NULL};
}

const char *fnn_isa_name(int i, int with_bfloat16) { return i < 0 ? NULL : fnn_find(NULL, i, with_bfloat16).name; }

const char *fnn_isa_in_use(void)
{
    const char *isa = getenv("FASTNN_ISA"), *best = NULL;
    if (isa && *isa) return fnn_find(isa, 0, 1).name;
#define FNN_ISA(name, available) \
    if (available) best = #name;
#define FNN_BFLOAT16_ISA(name, set, available) FNN_ISA(name, available)
#include "isa.def"
#undef FNN_ISA
#undef FNN_BFLOAT16_ISA
    return best;
}

const fnn_kernels *fnn_kernels_for(const char *isa, int64_t itemsize)
{
    if (!isa) isa = fnn_isa_in_use();
    if (!isa || (itemsize != 4 && itemsize != 8)) return NULL;
    const fnn_set set = fnn_find(isa, 0, 1);
    return itemsize == 4 ? set.f32 : set.f64;
}

const fnn_bfloat16 *fnn_bfloat16_for(const char *isa) { return fnn_find(isa, 0, 1).bfloat16; }

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
#if defined(FNN_EMULATE_TILES)
#define FNN_NOT_FOR_USE ", tiles emulated: for tests only"
#else
#define FNN_NOT_FOR_USE ""
#endif
const char *fnn_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__ FNN_NOT_FOR_USE;
#elif defined(__GNUC__)
    return "gcc " __VERSION__ FNN_NOT_FOR_USE;
#elif defined(_MSC_VER)
    return "msvc " FNN_STRING(_MSC_VER);
#else
    return "unknown";
#endif
}
