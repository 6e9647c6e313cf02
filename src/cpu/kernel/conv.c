/* SPDX-License-Identifier: MIT
 *
 * Convolution forward and backward to data on a block of sixteen samples; linear layers are the 1x1 case.
 *
 * One micro-kernel does all the arithmetic: for one position of the output, T output channels at once,
 *     acc[t] += weight[tap][t] * window[tap]         t < T, sixteen lanes each
 * T accumulators of EK_PARTS registers stay in registers over all taps, each tap's window vector is loaded once for T
 * products, and the T weights stand side by side. T is a constant of each instance; channels are cut evenly into
 * tiles of at most EK_TILE (16 is 6+5+5, not 6+6+4). Positions are the outer loop, tiles the inner one, so that the
 * window stays in the first-level cache. At the border a position loops over its valid taps alone.
 * Each output is one chain of additions over c, r, s: its bits do not depend on T.
 */
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"

/* How the taps of one position lie: `channels` x `rows` x `columns` of them. */
typedef struct taps {
    int channels, rows, columns;
    ptrdiff_t weight_channel, weight_row, weight_column; /* strides in floats */
    ptrdiff_t window_channel, window_row, window_column;
} taps;

/* y[t*y_stride .. +16) = bias[t] + the sum over taps. S > 0 is the constant number of columns, their weights then
 * being T apart and the windows' vectors neighbours; neighbour is +16 or -16 (backward runs through dy as the kernel
 * runs through dx, mirrored). */
EK_INLINE void point(const int T, const int S, const int neighbour, const taps *n, const float *weight,
                     const float *window, const float *bias, float *y, size_t y_stride)
{
    const int columns = S > 0 ? S : n->columns;
    const ptrdiff_t weight_column = S > 0 ? T : n->weight_column;
    const ptrdiff_t window_column = S > 0 ? neighbour : n->window_column;
    /* clang-format off */
    ek_v16 t0, t1, t2, t3, t4, t5, t6, t7;
    t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = ek_zero();
    if (bias) {
        t0 = ek_set(bias[0]);
        if (T > 1) t1 = ek_set(bias[1]);
        if (T > 2) t2 = ek_set(bias[2]);
        if (T > 3) t3 = ek_set(bias[3]);
        if (T > 4) t4 = ek_set(bias[4]);
        if (T > 5) t5 = ek_set(bias[5]);
        if (T > 6) t6 = ek_set(bias[6]);
        if (T > 7) t7 = ek_set(bias[7]);
    }
    for (int c = 0; c < n->channels; c++) {
        const float *weight_row = weight + c * n->weight_channel;
        const float *window_row = window + c * n->window_channel;
        for (int r = 0; r < n->rows; r++) {
            const float *a = weight_row, *b = window_row;
#pragma GCC unroll 8
            for (int s = 0; s < columns; s++) {
                const ek_v16 x = ek_load(b);
                t0 = ek_fma(ek_set(a[0]), x, t0);
                if (T > 1) t1 = ek_fma(ek_set(a[1]), x, t1);
                if (T > 2) t2 = ek_fma(ek_set(a[2]), x, t2);
                if (T > 3) t3 = ek_fma(ek_set(a[3]), x, t3);
                if (T > 4) t4 = ek_fma(ek_set(a[4]), x, t4);
                if (T > 5) t5 = ek_fma(ek_set(a[5]), x, t5);
                if (T > 6) t6 = ek_fma(ek_set(a[6]), x, t6);
                if (T > 7) t7 = ek_fma(ek_set(a[7]), x, t7);
                a += weight_column;
                b += window_column;
            }
            weight_row += n->weight_row;
            window_row += n->window_row;
        }
    }
    ek_store(y, t0);
    if (T > 1) ek_store(y + y_stride, t1);
    if (T > 2) ek_store(y + 2 * y_stride, t2);
    if (T > 3) ek_store(y + 3 * y_stride, t3);
    if (T > 4) ek_store(y + 4 * y_stride, t4);
    if (T > 5) ek_store(y + 5 * y_stride, t5);
    if (T > 6) ek_store(y + 6 * y_stride, t6);
    if (T > 7) ek_store(y + 7 * y_stride, t7);
    /* clang-format on */
}

typedef void point_function(const taps *n, const float *weight, const float *window, const float *bias, float *y,
                            size_t y_stride);

/* Instances: for each direction and each constant number of columns (0: any), T from 1 to EK_TILE. */
#define POINT(T, name, S, column)                                                                                    \
    static void name##_##S##_##T(const taps *n, const float *weight, const float *window, const float *bias,         \
                                 float *y, size_t y_stride)                                                          \
    {                                                                                                                \
        point(T, S, column, n, weight, window, bias, y, y_stride);                                                   \
    }
#define FOR_COLUMNS(M, name, column)                                                                                 \
    EK_FOR_TILES(M, name, 0, column)                                                                                 \
    EK_FOR_TILES(M, name, 1, column)                                                                                 \
    EK_FOR_TILES(M, name, 2, column)                                                                                 \
    EK_FOR_TILES(M, name, 3, column)                                                                                 \
    EK_FOR_TILES(M, name, 4, column)                                                                                 \
    EK_FOR_TILES(M, name, 5, column)
FOR_COLUMNS(POINT, forward, 16)
FOR_COLUMNS(POINT, backward, -16)

enum { COLUMNS = 5 }; /* the most that there are instances for */

#define NAME(T, name, S) name##_##S##_##T,
#define POINTS(name, S)                                                                                              \
    {                                                                                                                \
        EK_FOR_TILES(NAME, name, S)                                                                                  \
    }
#define TABLE(name)                                                                                                  \
    {                                                                                                                \
        POINTS(name, 0), POINTS(name, 1), POINTS(name, 2), POINTS(name, 3), POINTS(name, 4), POINTS(name, 5)         \
    }
static point_function *const forward_points[COLUMNS + 1][EK_TILE] = TABLE(forward);
static point_function *const backward_points[COLUMNS + 1][EK_TILE] = TABLE(backward);

/* Channels cut evenly into tiles of at most EK_TILE: `count` tiles, of `least` channels or, the first `larger` of
 * them, of one more. */
typedef struct tiling {
    int count, least, larger;
} tiling;

static tiling tiles_of(int channels)
{
    const int count = (channels + EK_TILE - 1) / EK_TILE;
    return (tiling){count, channels / count, channels % count};
}

static int tile_size(tiling t, int tile)
{
    return t.least + (tile < t.larger);
}

/* packed[tile][c][r][s][t] */
static void pack_forward_group(const ek_conv *g, const float *weight, float *packed)
{
    const size_t area = (size_t)g->c * (size_t)g->r * (size_t)g->s;
    const tiling tiles = tiles_of(g->k);
    for (int tile = 0; tile < tiles.count; tile++) {
        const int T = tile_size(tiles, tile);
        for (size_t tap = 0; tap < area; tap++)
            for (int t = 0; t < T; t++)
                *packed++ = weight[(size_t)t * area + tap];
        weight += (size_t)T * area;
    }
}

/* packed[tile][k][r][s][t], tiles of input channels */
static void pack_backward_group(const ek_conv *g, const float *weight, float *packed)
{
    const size_t area = (size_t)g->r * (size_t)g->s;
    const tiling tiles = tiles_of(g->c);
    for (int tile = 0; tile < tiles.count; tile++) {
        const int T = tile_size(tiles, tile);
        for (int k = 0; k < g->k; k++) {
            const float *row = weight + (size_t)k * (size_t)g->c * area;
            for (size_t tap = 0; tap < area; tap++)
                for (int t = 0; t < T; t++)
                    *packed++ = row[(size_t)t * area + tap];
        }
        weight += (size_t)T * area;
    }
}

static void pack_forward(const ek_conv *g, const float *weight, float *packed)
{
    const ek_conv one = ek_conv_group(g);
    for (int64_t i = 0; i < g->groups; i++)
        pack_forward_group(&one, weight + i * ek_conv_weights(&one), packed + i * ek_conv_weights(&one));
}

static void pack_backward(const ek_conv *g, const float *weight, float *packed)
{
    const ek_conv one = ek_conv_group(g);
    for (int64_t i = 0; i < g->groups; i++)
        pack_backward_group(&one, weight + i * ek_conv_weights(&one), packed + i * ek_conv_weights(&one));
}

/* The taps of one row or column: kernel index `first`, `count` of them; the first meets row or column
 * `at` of the window's array. All zero where none is valid. */
typedef struct reach {
    int first, count, at;
} reach;

/* Forward: what output `position` reads of an image of `extent`; taps follow each other, `dilation` apart in it. */
static reach reach_forward(int position, int stride, int padding, int dilation, int kernel, int extent)
{
    const int origin = position * stride - padding;
    const int first = origin < 0 ? (-origin + dilation - 1) / dilation : 0;
    const int end = extent > origin ? min(kernel, (extent - origin + dilation - 1) / dilation) : 0;
    return first < end ? (reach){first, end - first, origin + first * dilation} : (reach){0, 0, 0};
}

static void forward_group(const ek_conv *g, const float *packed, const float *bias, const float *x, float *y, int p0,
                          int p1)
{
    const tiling tiles = tiles_of(g->k);
    const size_t tap_floats = (size_t)g->c * (size_t)g->r * (size_t)g->s;
    const size_t y_channel = (size_t)g->p * (size_t)g->q * EK_LANES;
    const ptrdiff_t x_row = (ptrdiff_t)g->w * EK_LANES;
    for (int p = p0; p < p1; p++) {
        const reach rows = reach_forward(p, g->stride_h, g->padding_h, g->dilation_h, g->r, g->h);
        for (int q = 0; q < g->q; q++) {
            const reach columns = reach_forward(q, g->stride_w, g->padding_w, g->dilation_w, g->s, g->w);
            const float *window = x + rows.at * x_row + (ptrdiff_t)columns.at * EK_LANES;
            const bool constant = columns.count <= COLUMNS && (g->dilation_w == 1 || columns.count <= 1);
            point_function *const *points = forward_points[constant ? columns.count : 0];
            float *out = y + ((size_t)p * (size_t)g->q + (size_t)q) * EK_LANES;
            for (int tile = 0, k0 = 0, T; tile < tiles.count; tile++, k0 += T) {
                T = tile_size(tiles, tile);
                const taps n = {.channels = columns.count ? g->c : 0,
                                .rows = rows.count,
                                .columns = columns.count,
                                .weight_channel = (ptrdiff_t)g->r * g->s * T,
                                .weight_row = (ptrdiff_t)g->s * T,
                                .weight_column = T,
                                .window_channel = g->h * x_row,
                                .window_row = g->dilation_h * x_row,
                                .window_column = (ptrdiff_t)g->dilation_w * EK_LANES};
                const float *weight = packed + (size_t)k0 * tap_floats +
                                      ((size_t)rows.first * (size_t)g->s + (size_t)columns.first) * (size_t)T;
                points[T - 1](&n, weight, window, bias ? bias + k0 : NULL, out + (size_t)k0 * y_channel, y_channel);
            }
        }
    }
}

static void conv_forward(const ek_conv *g, const float *packed, const float *bias, const float *x, float *y, int p0,
                         int p1)
{
    const ek_conv one = ek_conv_group(g);
    const size_t in = (size_t)one.c * (size_t)g->h * (size_t)g->w * EK_LANES;
    const size_t out = (size_t)one.k * (size_t)g->p * (size_t)g->q * EK_LANES;
    for (int i = 0; i < g->groups; i++, packed += ek_conv_weights(&one), x += in, y += out)
        forward_group(&one, packed, bias ? bias + (size_t)i * (size_t)one.k : NULL, x, y, p0, p1);
}

/* Backward: taps `step` apart meet outputs that are `move` one before the other: the least tap*dilation that the stride
 * divides. */
typedef struct pace {
    int step, move;
} pace;

static pace pace_of(int stride, int dilation)
{
    int a = stride, b = dilation; /* a becomes their greatest common divisor */
    while (b > 0) {
        const int rest = a % b;
        a = b;
        b = rest;
    }
    return (pace){stride / a, dilation / a};
}

/* Which of `outputs` read position `position` of dx. A tap meets output (position + padding - tap*dilation)/stride
 * where the stride divides it. */
static reach reach_backward(int position, int stride, int padding, int dilation, pace by, int kernel, int outputs)
{
    const int origin = position + padding;
    const int beyond = origin - (outputs - 1) * stride; /* taps must reach at least so far back */
    int first = beyond > 0 ? (beyond + dilation - 1) / dilation : 0;
    const int last = min(kernel - 1, origin / dilation), end = min(last, first + by.step - 1);
    while (first <= end && (origin - first * dilation) % stride != 0)
        first++;
    return first <= end ? (reach){first, (last - first) / by.step + 1, (origin - first * dilation) / stride}
                        : (reach){0, 0, 0};
}

static void backward_group(const ek_conv *g, const float *packed, const float *dy, float *dx, int h0, int h1)
{
    const pace by_rows = pace_of(g->stride_h, g->dilation_h), by_columns = pace_of(g->stride_w, g->dilation_w);
    const tiling tiles = tiles_of(g->c);
    const size_t tap_floats = (size_t)g->k * (size_t)g->r * (size_t)g->s;
    const size_t dx_channel = (size_t)g->h * (size_t)g->w * EK_LANES;
    const ptrdiff_t dy_row = (ptrdiff_t)g->q * EK_LANES;
    for (int h = h0; h < h1; h++) {
        const reach rows = reach_backward(h, g->stride_h, g->padding_h, g->dilation_h, by_rows, g->r, g->p);
        for (int w = 0; w < g->w; w++) {
            const reach columns = reach_backward(w, g->stride_w, g->padding_w, g->dilation_w, by_columns, g->s, g->q);
            const bool constant =
                columns.count <= COLUMNS && (columns.count <= 1 || (by_columns.step == 1 && by_columns.move == 1));
            point_function *const *points = backward_points[constant ? columns.count : 0];
            const float *window = dy + rows.at * dy_row + (ptrdiff_t)columns.at * EK_LANES;
            float *out = dx + ((size_t)h * (size_t)g->w + (size_t)w) * EK_LANES;
            for (int tile = 0, c0 = 0, T; tile < tiles.count; tile++, c0 += T) {
                T = tile_size(tiles, tile);
                const taps n = {.channels = columns.count ? g->k : 0,
                                .rows = rows.count,
                                .columns = columns.count,
                                .weight_channel = (ptrdiff_t)g->r * g->s * T,
                                .weight_row = (ptrdiff_t)by_rows.step * g->s * T,
                                .weight_column = (ptrdiff_t)by_columns.step * T,
                                .window_channel = g->p * dy_row,
                                .window_row = -by_rows.move * dy_row,
                                .window_column = -(ptrdiff_t)by_columns.move * EK_LANES};
                const float *weight = packed + (size_t)c0 * tap_floats +
                                      ((size_t)rows.first * (size_t)g->s + (size_t)columns.first) * (size_t)T;
                points[T - 1](&n, weight, window, NULL, out + (size_t)c0 * dx_channel, dx_channel);
            }
        }
    }
}

static void conv_backward_data(const ek_conv *g, const float *packed, const float *dy, float *dx, int h0, int h1)
{
    const ek_conv one = ek_conv_group(g);
    const size_t in = (size_t)one.c * (size_t)g->h * (size_t)g->w * EK_LANES;
    const size_t out = (size_t)one.k * (size_t)g->p * (size_t)g->q * EK_LANES;
    for (int i = 0; i < g->groups; i++, packed += ek_conv_weights(&one), dy += out, dx += in)
        backward_group(&one, packed, dy, dx, h0, h1);
}

void EK_KERNEL(fill_conv)(ek_blocked_kernels *table);

void EK_KERNEL(fill_conv)(ek_blocked_kernels *table)
{
    table->pack_forward = pack_forward;
    table->pack_backward = pack_backward;
    table->conv_forward = conv_forward;
    table->conv_backward_data = conv_backward_data;
}
