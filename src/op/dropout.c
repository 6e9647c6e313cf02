/* SPDX-License-Identifier: MIT */
#include "op/dropout.h"

#include "base/random.h"

double ek_reference_dropout(const ek_dropout *d, uint64_t seed, uint32_t epoch, uint32_t sample, int64_t i)
{
    uint32_t words[4];
    const ek_random_use use = (ek_random_use)(EK_RANDOM_DROPOUT + 256u * (uint32_t)d->layer);
    ek_random4(seed, use, epoch, (uint64_t)sample << 32 | (uint64_t)(i / 4), words);
    return words[i % 4] < ek_dropout_below(d) ? 0 : (double)ek_dropout_scale(d);
}
