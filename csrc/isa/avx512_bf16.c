#define FNN_ISA avx512_bf16
#define FNN_ONLY_BFLOAT16
#include "../simd/avx512.h"
#include "../simd/avx512_bf16.h"
#include "../kernels/tables.h"
