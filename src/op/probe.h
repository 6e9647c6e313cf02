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

/* Bins of a histogram, side by side from the least to the greatest value. */
enum { EK_BINS = 2048 };

typedef struct ek_probe_point {
    int layer; /* whose output it is */
    int c;
    int64_t plane;         /* values of a channel in one sample */
    float low, high;       /* flat: x <= low or x >= high */
    ek_probe_sums *blocks; /* [blocks][c], of the batch at hand */
    ek_probe_sums *all;    /* [c], of the batches so far */
    int64_t samples;       /* in `all` */
    /* When `all` is complete: not NULL, the values are counted here from now on, [EK_BINS] for all channels together,
     * bin (x - bin_low)*bins_per_unit, and `all` stays as it is. Counts do not depend on who adds them. */
    _Atomic int64_t *bins;
    float bin_low, bins_per_unit;
} ek_probe_point;

ek_status ek_probe_point_alloc(ek_probe_point *point, int64_t blocks);
void ek_probe_point_free(ek_probe_point *point);

/* From now on values are counted in bins. Statistics must be finite. */
ek_status ek_probe_point_begin_bins(ek_probe_point *point);

/* Channels begin..end-1 of a block's x [c][plane][16], whose first `live` lanes count. */
void ek_probe_block(ek_probe_point *point, int64_t block, int begin, int end, const float *x, int live);

/* Takes the blocks of a batch of `samples` into `all`, when every one of them is there. Nothing to do where values are
 * counted in bins. */
void ek_probe_merge(ek_probe_point *point, int64_t samples);

#endif
