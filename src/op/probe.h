/* SPDX-License-Identifier: MIT
 * What the channels of a layer's output hold, over the samples of a data set: counted block by block and merged in the
 * order of the blocks, so that it does not depend on threads. */
#ifndef EK_OP_PROBE_H
#define EK_OP_PROBE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of one channel. Where a value is NaN or infinite, deviations are not finite. */
typedef struct ek_probe_sums {
    double mean, deviations; /* deviations: sum of (x - mean)^2 */
    float least, greatest;
    int64_t flat; /* values where the activation's slope is next to nothing */
} ek_probe_sums;

typedef struct ek_probe_point {
    int layer; /* whose output it is */
    int c;
    int64_t plane;         /* values of a channel in one sample */
    float low, high;       /* flat: x <= low or x >= high */
    ek_probe_sums *blocks; /* [blocks][c], of the batch at hand */
    ek_probe_sums *all;    /* [c], of the batches so far */
    int64_t samples;       /* in `all` */
} ek_probe_point;

ek_status ek_probe_point_alloc(ek_probe_point *point, int64_t blocks);
void ek_probe_point_free(ek_probe_point *point);

/* Channels begin..end-1 of a block's x [c][plane][16], whose first `live` lanes count. */
void ek_probe_block(ek_probe_point *point, int64_t block, int begin, int end, const float *x, int live);

/* Takes the blocks of a batch of `samples` into `all`, when every one of them is there. */
void ek_probe_merge(ek_probe_point *point, int64_t samples);

#endif
