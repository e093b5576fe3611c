/* Philox4x32-10 one counter at a time (kernels/random.h has the vector form), the shuffle made from it, and NumPy's
 * generator for what must be drawn as NumPy draws it. */
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

/* Mersenne Twister MT19937, Matsumoto and Nishimura (1998): the next 624 words of its state. Three loops without a
 * dependence shorter than a vector. */
enum { FNN_TWISTER = 624, FNN_TWISTER_AHEAD = 397 };

static inline uint32_t fnn_twist(uint32_t word, uint32_t next, uint32_t ahead)
{
    return ahead ^ ((word & 0x80000000u) | (next & 0x7fffffffu)) >> 1 ^ ((0u - (next & 1)) & 0x9908b0dfu);
}

static void fnn_twist_all(uint32_t *key)
{
    const int early = FNN_TWISTER - FNN_TWISTER_AHEAD, last = FNN_TWISTER - 1;
    for (int i = 0; i < early; i++) key[i] = fnn_twist(key[i], key[i + 1], key[i + FNN_TWISTER_AHEAD]);
    for (int i = early; i < last; i++) key[i] = fnn_twist(key[i], key[i + 1], key[i - early]);
    key[last] = fnn_twist(key[last], key[0], key[last - early]);
}

int fnn_twister_uniform(uint32_t *key, int position, double low, double range, int64_t n, double *x)
{
    uint32_t words[FNN_TWISTER + 1];
    int held = 0; /* a number takes two words, of which the first may be the last of a round */
    while (n > 0) {
        if (position == FNN_TWISTER) {
            fnn_twist_all(key);
            position = 0;
        }
        const int64_t wanted = 2 * n - held;
        const int count = wanted < FNN_TWISTER - position ? (int)wanted : FNN_TWISTER - position;
        for (int i = 0; i < count; i++) {
            uint32_t word = key[position + i];
            word ^= word >> 11;
            word ^= word << 7 & 0x9d2c5680u;
            word ^= word << 15 & 0xefc60000u;
            words[held + i] = word ^ word >> 18;
        }
        const int pairs = (held + count) / 2;
        for (int i = 0; i < pairs; i++) {
            const double high = (int32_t)(words[2 * i] >> 5), rest = (int32_t)(words[2 * i + 1] >> 6);
            x[i] = low + range * ((high * 67108864.0 + rest) * 0x1p-53);
        }
        held = (held + count) % 2;
        if (held) words[0] = words[2 * pairs];
        position += count;
        x += pairs;
        n -= pairs;
    }
    return position;
}
