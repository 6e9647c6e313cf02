/* SPDX-License-Identifier: MIT */
#include "base/random.h"

__extension__ typedef unsigned __int128 uint128; /* which ISO C lacks and -Wpedantic would name */

static void philox_round(uint32_t x[4], uint32_t k0, uint32_t k1)
{
    uint64_t p0 = (uint64_t)0xD2511F53u * x[0];
    uint64_t p1 = (uint64_t)0xCD9E8D57u * x[2];
    uint32_t y0 = (uint32_t)(p1 >> 32) ^ x[1] ^ k0;
    uint32_t y2 = (uint32_t)(p0 >> 32) ^ x[3] ^ k1;
    x[0] = y0;
    x[1] = (uint32_t)p1;
    x[2] = y2;
    x[3] = (uint32_t)p0;
}

void ek_random4(uint64_t seed, ek_random_use use, uint32_t a, uint64_t b, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    out[0] = (uint32_t)b;
    out[1] = (uint32_t)(b >> 32);
    out[2] = a;
    out[3] = (uint32_t)use;
    for (int round = 0; round < 10; round++) {
        philox_round(out, k0, k1);
        k0 += 0x9E3779B9u; /* Weyl sequences of the golden ratio and sqrt(3) - 1 */
        k1 += 0xBB67AE85u;
    }
}

void ek_random_permutation(uint64_t seed, uint32_t epoch, int32_t *order, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = (int32_t)i;
    uint32_t bits[4] = {0};
    for (int64_t i = n - 1; i > 0; i--) {
        if (i == n - 1 || i % 2 == 1)
            ek_random4(seed, EK_RANDOM_SHUFFLE, epoch, (uint64_t)i / 2, bits);
        uint64_t wide = (uint64_t)bits[i % 2 * 2] << 32 | bits[i % 2 * 2 + 1];
        /* A 64-bit number scaled to 0..i: with i < 2^31 no value is favoured by more than 2^-33. */
        int64_t j = (int64_t)(((uint128)wide * (uint64_t)(i + 1)) >> 64);
        int32_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}
