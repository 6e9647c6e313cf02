/* SPDX-License-Identifier: MIT
 * Kernels on one block of sixteen samples, [C][H][W][16]; what they compute stands in op/op.h. All pointers to
 * blocked data are 64-byte aligned. Kernels keep no state and may run on many threads at once. */
#ifndef EK_CPU_KERNEL_BLOCKED_H
#define EK_CPU_KERNEL_BLOCKED_H

#include "op/batchnorm.h"
#include "op/dropout.h"
#include "op/input.h"
#include "op/op.h"
#include "op/optimizer.h"

#include <stddef.h>

typedef struct ek_blocked_kernels {
    /* Weights [K,C,R,S] rearranged for conv_forward and for conv_backward_data: as many floats, 64-byte aligned. */
    void (*pack_forward)(const ek_conv *g, const float *weight, float *packed);
    void (*pack_backward)(const ek_conv *g, const float *weight, float *packed);

    /* x [C][H][W][16] to rows p0..p1-1 of y [K][P][Q][16]. bias [K] or NULL. */
    void (*conv_forward)(const ek_conv *g, const float *packed, const float *bias, const float *x, float *y, int p0,
                         int p1);
    /* dy [K][P][Q][16] to rows h0..h1-1 of dx [C][H][W][16]. */
    void (*conv_backward_data)(const ek_conv *g, const float *packed, const float *dy, float *dx, int h0, int h1);
    /* This block's share of dweight [K,C,R,S], and of dbias [K] unless NULL.
     * scratch: ek_conv_scratch(g) floats. */
    void (*conv_backward_weight)(const ek_conv *g, const float *x, const float *dy, float *scratch, float *dweight,
                                 float *dbias);

    /* The same of input channels 16*tile0.. to 16*tile1 - 1, dbias with the first, for one group: faster of many
     * channels (ek_weight_way_of). scratch: ek_channels_scratch(g) floats. */
    void (*channels_backward_weight)(const ek_conv *g, const float *x, const float *dy, float *scratch,
                                     float *dweight, float *dbias, int tile0, int tile1);

    /* The same by Winograd's algorithm, for what ek_winograd_fits: packed takes ek_winograd_packed(g) floats, scratch
     * ek_winograd_scratch(g). */
    void (*winograd_pack_forward)(const ek_conv *g, const float *weight, float *packed);
    void (*winograd_pack_backward)(const ek_conv *g, const float *weight, float *packed);
    /* Groups t0..t1-1 of y's tiles, of dx's tiles (ek_winograd_groups). */
    void (*winograd_forward)(const ek_conv *g, const float *packed, const float *bias, const float *x, float *scratch,
                             float *y, int t0, int t1);
    void (*winograd_backward_data)(const ek_conv *g, const float *packed, const float *dy, float *scratch, float *dx,
                                   int t0, int t1);
    void (*winograd_backward_weight)(const ek_conv *g, const float *x, const float *dy, float *scratch,
                                     float *dweight, float *dbias, int tile0, int tile1); /* as above */

    /* One block of features x [F][16] to rows: rows[f/16][n][f%16] for the block's samples n0..n0+15, in an array of
     * `samples` rows each; features past F are zeros. */
    void (*rows_from_block)(int features, const float *x, int64_t samples, int64_t n0, float *rows);
    /* Rows k0..k0+count-1 of a linear layer's dweight [K,F] and, unless NULL, dbias [K], over the whole batch: dy is
     * [blocks][K][16] with dy_stride floats from block to block, rows as above. */
    void (*linear_backward_weight)(int features, int k0, int count, int blocks, const float *rows, const float *dy,
                                   size_t dy_stride, float *dweight, float *dbias);

    /* Mean and sum of squared deviations from it of each channel over the first `live` samples. */
    void (*channel_stats)(int c, int hw, const float *x, int live, double *mean, double *deviations);

    /* x to y, which may be x when pool is 1; `activated` takes a, what backward needs of the activation, unless NULL.
     * norm: [C], NULL without. */
    void (*unit_forward)(const ek_unit *u, const ek_norm_channel *norm, const float *x, float *activated, float *y);
    /* The sums behind dgamma and dbeta, over the first `live` samples: sums [C]. `activated` as forward wrote it; NULL
     * without an activation and where that does not go by its output, which then reads x. */
    void (*unit_sums)(const ek_unit *u, const ek_norm_gradient *norm, const float *x, const float *activated,
                      const float *dy, int live, ek_norm_sums *sums);
    /* dx; may be `activated`, or x, or when pool is 1 dy. x may be NULL without norm where the activation goes by its
     * output. Dead lanes get 0. */
    void (*unit_backward)(const ek_unit *u, const ek_norm_gradient *norm, const float *x, const float *activated,
                          const float *dy, int live, float *dx);

    /* A residual's sum. y may be x, and r where the shortcut is plain. norm: [C], NULL without. */
    void (*join_forward)(const ek_join *j, const ek_norm_channel *norm, const float *x, const float *r, float *y);
    /* dz, which may be dy, more or y; more may be NULL, y without an activation. With a norm its sums [C] over the
     * first `live` samples; without, norm, x and sums are NULL. The norm's dx is unit_backward's from dz. */
    void (*join_sums)(const ek_join *j, const ek_norm_gradient *norm, const float *x, const float *y, const float *dy,
                      const float *more, int live, float *dz, ek_norm_sums *sums);
    /* dz [C][H][W][16] to dr [RC][RH][RW][16]. */
    void (*shortcut_backward)(const ek_join *j, const float *dz, float *dr);

    void (*avgpool_forward)(const ek_pool2d *g, const float *x, float *y);
    void (*avgpool_backward)(const ek_pool2d *g, const float *dy, float *dx);
    void (*maxpool_forward)(const ek_pool2d *g, const float *x, float *y);
    void (*maxpool_backward)(const ek_pool2d *g, const float *x, const float *dy, float *dx);

    /* Values begin..end-1 of a block, x to y = x*f or dy to dx = dy*f, which may be the input: op/dropout.h. begin is a
     * multiple of 4. */
    void (*dropout)(const ek_dropout *d, const ek_dropout_key *key, int64_t begin, int64_t end, const float *x,
                    float *y);

    /* m values a sample. mean and rstd: [16], written forward, read backward. dgamma, dbeta: [m], this block's share,
     * both or neither NULL. Dead lanes: anything finite forward; backward gets dy = 0 there and gives dx = 0. */
    void (*layer_norm_forward)(int64_t m, float eps, const float *gamma, const float *beta, const float *x, float *y,
                               float *mean, float *rstd);
    void (*layer_norm_backward)(int64_t m, const float *gamma, const float *mean, const float *rstd, const float *x,
                                const float *dy, float *dx, float *dgamma, float *dbeta);

    /* Logits [K][16] against labels [16] (live ones valid): per live sample its loss and its predicted class (the
     * first of the largest logits). dlogits [K][16] times weight, NULL in prediction; dead lanes get 0. */
    void (*softmax_cross_entropy)(int k, const float *logits, const uint8_t *labels, int live, float weight,
                                  float smoothing, double *loss, int *predicted, float *dlogits);

    /* Bytes of up to sixteen images (`live` of them; each `size` long) to [size][16] floats: byte/255, normalised as
     * op/input.h says unless `normal` is NULL; size is a multiple of its channels. Dead lanes repeat the first. */
    void (*gather)(const uint8_t *const *images, int live, int64_t size, const ek_normal *normal, float *x);

    /* The same of floats, `size` from sample to sample. */
    void (*load)(const float *values, int live, int64_t size, const ek_normal *normal, float *x);

    /* sum = a + b; sum may be either. count is a multiple of 16. */
    void (*add)(size_t count, const float *a, const float *b, float *sum);

    /* op/optimizer.h. decays: update->decay applies. buffer: NULL without momentum. `adam` is AdamW too. */
    void (*sgd)(size_t count, const ek_update *update, bool decays, float scale, const float *gradient, float *buffer,
                float *value);
    void (*adam)(size_t count, const ek_update *update, bool decays, float scale, const float *gradient, float *mean,
                 float *square, float *value);
    /* The sum of x[i]^2, in double: sixteen chains, then their tree. */
    double (*sum_squares)(size_t count, const float *x);
    /* sum[i] = the sum over j of part[j*stride + i], j = 0.. in order. */
    void (*sum_parts)(size_t count, int parts, size_t stride, const float *part, float *sum);
} ek_blocked_kernels;

#endif
