#define FNN_ISA neon
#include "../simd/neon.h"
#include "../kernels/tables.h"
