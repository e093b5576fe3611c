#define FNN_ISA amx
#define FNN_ONLY_BFLOAT16
#include "../simd/avx512.h"
#include "../simd/avx512_bf16.h"
#include "../simd/amx.h"
#include "../kernels/tables.h"
