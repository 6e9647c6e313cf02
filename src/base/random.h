/* SPDX-License-Identifier: MIT
 * Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
 * A number is a function of its key and counter alone: no state, no order, the same on every machine. */
#ifndef EK_BASE_RANDOM_H
#define EK_BASE_RANDOM_H

#include <stdint.h>

/* What a stream of numbers is for; part of the counter, so that streams of one seed never meet. */
typedef enum ek_random_use {
    EK_RANDOM_INIT = 1,    /* a: tensor, b: element/4 */
    EK_RANDOM_SHUFFLE = 2, /* a: epoch from 1, or 0 for a validation split; b: position/2 */
    EK_RANDOM_AUGMENT = 3, /* a: epoch, b: sample << 32 | number of the draw */
    EK_RANDOM_DROPOUT = 4, /* plus 256*layer; a: epoch, b: sample << 32 | value/4 */
} ek_random_use;

/* Four independent 32-bit numbers for (seed, use, a, b). */
void ek_random4(uint64_t seed, ek_random_use use, uint32_t a, uint64_t b, uint32_t out[4]);

/* A number of [0,1) with 24 bits from one of them, exactly representable. */
static inline float ek_random_unit(uint32_t bits)
{
    return (float)(bits >> 8) * 0x1p-24f;
}

/* Fills order[0..n) with the permutation of 0..n-1 keyed by (seed, epoch): Fisher and Yates's shuffle. n < 2^31. */
void ek_random_permutation(uint64_t seed, uint32_t epoch, int32_t *order, int64_t n);

#endif
