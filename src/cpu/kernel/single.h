/* SPDX-License-Identifier: MIT
 *
 * Kernels on the values of a single sample; what they compute stands in op/op.h, and a result has the very bits that
 * the kernels on blocks of sixteen samples (blocked.h) give it, since every sum runs in their order.
 *
 * A value is [C][H][W] in one of two layouts, in both with zeros around the image, as many as its readers need:
 *   channels  [H][W][C], a position's channels side by side and filled up to whole registers: output channels in the
 *             lanes. What fills up is any finite number, which no result depends on.
 *   planar    [C][H][W], columns side by side. A value that is written so, and not loaded, has rows as long as whole
 *             registers; behind them and behind its last row some floats may be read and are no one's.
 * Kernels keep no state and may run on many threads at once. */
#ifndef EK_CPU_KERNEL_SINGLE_H
#define EK_CPU_KERNEL_SINGLE_H

#include "op/input.h"
#include "op/op.h"

#include <stddef.h>

/* A convolution from positions of x, whatever its layout, to y in channels; of one group. A tap's weight meets the
 * value at offsets[tap] from the position's first; taps are ordered as the sum is: channels, rows, columns. */
typedef struct ek_single_conv {
    int outputs; /* channels of y, in parts = (outputs + part - 1)/part registers */
    int p, q;
    int taps;
    ptrdiff_t x_row, x_column; /* floats from a position of y to the next, in x; in y */
    ptrdiff_t y_row, y_column;
    ptrdiff_t y_channel; /* of `columns` alone */
} ek_single_conv;

/* Floats behind a planar value that kernels may read. */
enum { EK_SINGLE_SLACK = 2 * EK_LANES };

/* A value's place in channels: its first position, floats from row to row and from position to position, which are the
 * channels with what fills them up. */
typedef struct ek_single_channels {
    float *at;
    ptrdiff_t row, column;
} ek_single_channels;

/* Norm's numbers for the channels of a value, filled up with zeros as the value is. */
typedef struct ek_single_norm {
    const float *mean, *mean_low, *scale, *shift;
} ek_single_norm;

typedef struct ek_single_kernels {
    int part; /* floats of a register */

    /* weight [outputs][taps] and bias [outputs] or NULL, for `conv`: to parts*part*(taps + 1) floats. */
    void (*pack)(const ek_single_conv *g, const float *weight, const float *bias, float *packed);
    void (*conv)(const ek_single_conv *g, const float *packed, const int32_t *offsets, const float *x, float *y);

    /* A convolution from planar to planar, columns in the lanes: x_column and y_column are 1. Writes whole registers.
     * packed takes outputs*(taps + 1) floats. `columns_cost` and `conv_cost` say about how long the two ways take. */
    void (*columns_pack)(const ek_single_conv *g, const float *weight, const float *bias, float *packed);
    void (*columns)(const ek_single_conv *g, const float *packed, const int32_t *offsets, const float *x, float *y);
    double (*columns_cost)(const ek_single_conv *g);
    double (*conv_cost)(const ek_single_conv *g);

    /* A depthwise convolution, from channels to channels: packed [parts][1 + taps][part], the bias first. */
    void (*depthwise_pack)(const ek_single_conv *g, const float *weight, const float *bias, float *packed);
    void (*depthwise)(const ek_single_conv *g, const float *packed, const int32_t *offsets, const float *x, float *y);

    /* What ek_winograd_fits, from channels to channels; x is the position (-padding_h, -padding_w). packed takes
     * parts*part*16*(c + 1) floats, scratch winograd_scratch(g); counting holds 0..c-1. */
    void (*winograd_pack)(const ek_conv *g, const float *weight, const float *bias, float *packed);
    size_t (*winograd_scratch)(const ek_conv *g);
    void (*winograd)(const ek_conv *g, const float *packed, const int32_t *counting, ek_single_channels x,
                     float *scratch, ek_single_channels y);

    /* x to y, both in channels. norm: NULL without. scratch: two rows for each of pool's: 2*pool*w*column floats. */
    void (*unit)(const ek_unit *u, const ek_single_norm *norm, ek_single_channels x, float *scratch,
                 ek_single_channels y);
    /* One channel, planar: windows of 2x2 of h rows of w columns, x_row and y_row apart. Writes whole registers. */
    void (*pool_planar)(bool maximum, int h, int w, const float *x, ptrdiff_t x_row, float *y, ptrdiff_t y_row);
    /* `count` values, one for one; y may be x. */
    void (*activate)(ek_activation activation, float negative_slope, size_t count, const float *x, float *y);
    /* x and r to y, in channels; y may be x. */
    void (*join)(const ek_join *j, const ek_single_norm *norm, ek_single_channels x, ek_single_channels r,
                 ek_single_channels y);
    /* x to y, in channels. */
    void (*pool)(const ek_pool2d *g, ek_single_channels x, ek_single_channels y);
    /* m values in the order of gamma. */
    void (*layer_norm)(int64_t m, float eps, const float *gamma, const float *beta, const float *x, float *y);

    /* `count` bytes of one channel as floats: byte/255, with `normal` minus mean[c] and divided by std[c]; likewise
     * floats. */
    void (*bytes)(const ek_normal *normal, int c, int count, const uint8_t *x, float *y);
    void (*floats)(const ek_normal *normal, int c, int count, const float *x, float *y);

    /* p[i] = exp(z[i] - the largest)/their sum, k of them. p may be z. */
    void (*softmax)(int k, const float *z, float *p);
} ek_single_kernels;

#endif
