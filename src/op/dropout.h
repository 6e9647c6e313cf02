/* SPDX-License-Identifier: MIT
 *
 * Dropout (Srivastava et al. 2014; d2l section 5.6), inverted as PyTorch's: in training
 *   y = x*f    f = 0 with probability p, else 1/(1 - p); with p = 1 always 0
 *   dx = dy*f
 * and in prediction y = x. f of a value is a function of the seed, the epoch, the sample, the layer and the value's
 * index alone: backward finds it again, and neither threads nor a sample's place in a batch change it. Value i of a
 * sample takes word i%4 of
 *   ek_random4(seed, EK_RANDOM_DROPOUT + 256*layer, epoch, sample << 32 | i/4)
 * and is dropped where that is below p*2^32. */
#ifndef EK_OP_DROPOUT_H
#define EK_OP_DROPOUT_H

#include "op/op.h"

typedef struct ek_dropout {
    float p;   /* 0 to 1 */
    int layer; /* index in the net: each has its own numbers */
} ek_dropout;

/* Of a batch's block: sixteen samples' numbers, dead lanes that of the first. */
typedef struct ek_dropout_key {
    uint64_t seed;
    uint32_t epoch;
    uint32_t samples[EK_LANES];
} ek_dropout_key;

static inline float ek_dropout_scale(const ek_dropout *d)
{
    return d->p < 1 ? (float)(1 / (1 - (double)d->p)) : 0;
}

/* Words below it are dropped. A float below 1 is at most 1 - 2^-24; with 1, the scale is 0. */
static inline uint32_t ek_dropout_below(const ek_dropout *d)
{
    return d->p < 1 ? (uint32_t)((double)d->p * 0x1p32) : 0;
}

/* The reference: f of value i of a sample. */
double ek_reference_dropout(const ek_dropout *d, uint64_t seed, uint32_t epoch, uint32_t sample, int64_t i);

#endif
