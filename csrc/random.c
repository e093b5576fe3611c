/* Philox4x32-10 one counter at a time (kernels/random.h has the vector form), and the shuffle made from it. */
#include "fastnn.h"
#include "kernels/philox.h"

void fnn_philox(uint64_t seed, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t out[4])
{
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++, key0 += FNN_PHILOX_KEY0, key1 += FNN_PHILOX_KEY1) {
        const uint64_t product0 = (uint64_t)FNN_PHILOX_FACTOR0 * c0, product1 = (uint64_t)FNN_PHILOX_FACTOR1 * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ key0;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ key1;
        c1 = (uint32_t)product1;
        c3 = (uint32_t)product0;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* Fisher and Yates' shuffle from the top: position i swaps with (word i * (i + 1)) >> 32. */
void fnn_shuffle(int64_t n, uint64_t seed, uint32_t epoch, int64_t *order)
{
    uint32_t words[4];
    int64_t drawn = -1;
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t counter = i / 4;
        if (counter != drawn) fnn_philox(seed, (uint32_t)counter, (uint32_t)(counter >> 32), epoch, 0, words);
        drawn = counter;
        const int64_t j = (int64_t)(((uint64_t)words[i % 4] * (uint64_t)(i + 1)) >> 32);
        const int64_t other = order[j];
        order[j] = order[i];
        order[i] = other;
    }
}
