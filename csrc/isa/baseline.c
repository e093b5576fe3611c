#define FNN_ISA baseline
#include "../simd/baseline.h"
#include "../kernels/tables.h"
