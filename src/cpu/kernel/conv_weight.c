/* SPDX-License-Identifier: MIT
 *
 * Convolution and linear layers backward to weights.
 *
 * Convolution: lanes are multiplied and summed over the plane, and added up across lanes once at the end:
 *     acc[k][j] += dy[k] * x[column j]      K rows x J columns of accumulators, one native register each
 * Columns are neighbouring taps of a kernel row, or neighbouring input channels where the kernel is 1x1.
 * Sums run over p, q in order for each lane, whatever K, J and the width of a register: same bits everywhere. Rows of
 * the plane are taken in bands that fit in the first-level cache; between bands accumulators rest in scratch.
 *
 * Linear: sample after sample, acc[k][16 features] += dy[k] * x[16 features]; nothing is to be added across lanes.
 */
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/cut.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"

/* A run of positions of one band for K output channels and J columns. Strides in floats. */
typedef struct run {
    int rows, columns; /* positions: of the band, and of a row */
    ptrdiff_t dy_row, dy_channel;
    ptrdiff_t x_row, x_position; /* from position to position */
    ptrdiff_t x_column;          /* from column j to j + 1 */
    ptrdiff_t acc_row;           /* from output channel to output channel in scratch */
} run;

/* acc is [K rows][J][16] in scratch; one part of the sixteen lanes. */
EK_INLINE void products(const int K, const int J, const run *n, const float *dy, const float *x, float *acc)
{
    /* clang-format off */
#define LOADED(k, j) ((k) < K && (j) < J ? ek_part_load(acc + (k) * n->acc_row + (j) * EK_LANES) : ek_part_set(0.0f))
    ek_part a00 = LOADED(0, 0), a01 = LOADED(0, 1), a02 = LOADED(0, 2), a03 = LOADED(0, 3), a04 = LOADED(0, 4);
    ek_part a10 = LOADED(1, 0), a11 = LOADED(1, 1), a12 = LOADED(1, 2), a13 = LOADED(1, 3), a14 = LOADED(1, 4);
    ek_part a20 = LOADED(2, 0), a21 = LOADED(2, 1), a22 = LOADED(2, 2);
    ek_part a30 = LOADED(3, 0), a31 = LOADED(3, 1);
#undef LOADED
    for (int p = 0; p < n->rows; p++) {
        const float *d = dy + p * n->dy_row, *b = x + p * n->x_row;
        for (int q = 0; q < n->columns; q++) {
            const ek_part d0 = ek_part_load(d);
            const ek_part d1 = K > 1 ? ek_part_load(d + n->dy_channel) : d0;
            const ek_part d2 = K > 2 ? ek_part_load(d + 2 * n->dy_channel) : d0;
            const ek_part d3 = K > 3 ? ek_part_load(d + 3 * n->dy_channel) : d0;
#define COLUMN(j)                                                                                                    \
    if (J > j) {                                                                                                     \
        const ek_part xj = ek_part_keep(ek_part_load(b + j * n->x_column));                                          \
        a0##j = ek_part_fma(d0, xj, a0##j);                                                                          \
        if (K > 1) a1##j = ek_part_fma(d1, xj, a1##j);                                                               \
        THIRD(j, xj)                                                                                                 \
        FOURTH(j, xj)                                                                                                \
    }
#define THIRD(j, xj) if (K > 2) a2##j = ek_part_fma(d2, xj, a2##j);
#define FOURTH(j, xj) if (K > 3) a3##j = ek_part_fma(d3, xj, a3##j);
            COLUMN(0)
            COLUMN(1)
#undef FOURTH
#define FOURTH(j, xj)
            COLUMN(2)
#undef THIRD
#define THIRD(j, xj)
            COLUMN(3)
            COLUMN(4)
#undef FOURTH
#undef THIRD
#undef COLUMN
            d += EK_LANES;
            b += n->x_position;
        }
    }
#define KEEP(k, j)                                                                                                   \
    if (k < K && j < J) ek_part_store(acc + k * n->acc_row + j * EK_LANES, a##k##j)
    KEEP(0, 0);
    KEEP(0, 1);
    KEEP(0, 2);
    KEEP(0, 3);
    KEEP(0, 4);
    KEEP(1, 0);
    KEEP(1, 1);
    KEEP(1, 2);
    KEEP(1, 3);
    KEEP(1, 4);
    KEEP(2, 0);
    KEEP(2, 1);
    KEEP(2, 2);
    KEEP(3, 0);
    KEEP(3, 1);
#undef KEEP
    /* clang-format on */
}

/* The same at stride 1, where columns are neighbouring taps: the window of a position is that of the position before
 * moved by one column, so each vector of x is loaded once and stays in its register for J positions, which take turns
 * with the registers' names. For two channels and five columns ten accumulators, five columns and one dy fill sixteen
 * registers, and the second dy is read by the multiply-adds themselves. Twelve instructions for ten multiply-adds,
 * where products() has seventeen: what counts when another hardware thread takes its half of the front end. */
EK_INLINE void sliding_5(const int K, const run *n, const float *dy, const float *x, float *acc)
{
    /* clang-format off */
#define LOADED(k, j) ((k) < K ? ek_part_load(acc + (k) * n->acc_row + (j) * EK_LANES) : ek_part_set(0.0f))
    ek_part a00 = LOADED(0, 0), a01 = LOADED(0, 1), a02 = LOADED(0, 2), a03 = LOADED(0, 3), a04 = LOADED(0, 4);
    ek_part a10 = LOADED(1, 0), a11 = LOADED(1, 1), a12 = LOADED(1, 2), a13 = LOADED(1, 3), a14 = LOADED(1, 4);
#undef LOADED
    const ptrdiff_t second = K > 1 ? n->dy_channel : 0;
    for (int p = 0; p < n->rows; p++) {
        const float *d = dy + p * n->dy_row, *b = x + p * n->x_row;
        int left = n->columns;
        ek_part x0 = ek_part_load(b), x1 = ek_part_load(b + EK_LANES), x2 = ek_part_load(b + 2 * EK_LANES);
        ek_part x3 = ek_part_load(b + 3 * EK_LANES), x4;
#define POSITION(i, v0, v1, v2, v3, v4)                                                                              \
    {                                                                                                                \
        v4 = ek_part_keep(ek_part_load(b + ((i) + 4) * EK_LANES));                                                   \
        const ek_part d0 = ek_part_keep(ek_part_load(d + (i) * EK_LANES));                                           \
        a00 = ek_part_fma(d0, v0, a00);                                                                              \
        a01 = ek_part_fma(d0, v1, a01);                                                                              \
        a02 = ek_part_fma(d0, v2, a02);                                                                              \
        a03 = ek_part_fma(d0, v3, a03);                                                                              \
        a04 = ek_part_fma(d0, v4, a04);                                                                              \
        if (K > 1) {                                                                                                 \
            const float *d1 = d + second + (i) * EK_LANES;                                                           \
            a10 = ek_part_fma_at(v0, d1, a10);                                                                       \
            a11 = ek_part_fma_at(v1, d1, a11);                                                                       \
            a12 = ek_part_fma_at(v2, d1, a12);                                                                       \
            a13 = ek_part_fma_at(v3, d1, a13);                                                                       \
            a14 = ek_part_fma_at(v4, d1, a14);                                                                       \
        }                                                                                                            \
    }
        for (; left >= 5; left -= 5) {
            POSITION(0, x0, x1, x2, x3, x4)
            POSITION(1, x1, x2, x3, x4, x0)
            POSITION(2, x2, x3, x4, x0, x1)
            POSITION(3, x3, x4, x0, x1, x2)
            POSITION(4, x4, x0, x1, x2, x3)
            d += 5 * EK_LANES;
            b += 5 * EK_LANES;
        }
        if (left > 0) POSITION(0, x0, x1, x2, x3, x4)
        if (left > 1) POSITION(1, x1, x2, x3, x4, x0)
        if (left > 2) POSITION(2, x2, x3, x4, x0, x1)
        if (left > 3) POSITION(3, x3, x4, x0, x1, x2)
#undef POSITION
    }
#define KEEP(k, j)                                                                                                   \
    if (k < K) ek_part_store(acc + k * n->acc_row + j * EK_LANES, a##k##j)
    KEEP(0, 0);
    KEEP(0, 1);
    KEEP(0, 2);
    KEEP(0, 3);
    KEEP(0, 4);
    KEEP(1, 0);
    KEEP(1, 1);
    KEEP(1, 2);
    KEEP(1, 3);
    KEEP(1, 4);
#undef KEEP
    /* clang-format on */
}

/* Three columns: four channels fill the registers, the dy take turns with one. */
EK_INLINE void sliding_3(const int K, const run *n, const float *dy, const float *x, float *acc)
{
    /* clang-format off */
#define LOADED(k, j) ((k) < K ? ek_part_load(acc + (k) * n->acc_row + (j) * EK_LANES) : ek_part_set(0.0f))
    ek_part a00 = LOADED(0, 0), a01 = LOADED(0, 1), a02 = LOADED(0, 2);
    ek_part a10 = LOADED(1, 0), a11 = LOADED(1, 1), a12 = LOADED(1, 2);
    ek_part a20 = LOADED(2, 0), a21 = LOADED(2, 1), a22 = LOADED(2, 2);
    ek_part a30 = LOADED(3, 0), a31 = LOADED(3, 1), a32 = LOADED(3, 2);
#undef LOADED
    for (int p = 0; p < n->rows; p++) {
        const float *d = dy + p * n->dy_row, *b = x + p * n->x_row;
        int left = n->columns;
        ek_part x0 = ek_part_load(b), x1 = ek_part_load(b + EK_LANES), x2;
#define CHANNEL(k, i, v0, v1, v2)                                                                                    \
    if (K > k) {                                                                                                     \
        const ek_part dk = ek_part_keep(ek_part_load(d + k * n->dy_channel + (i) * EK_LANES));                       \
        a##k##0 = ek_part_fma(dk, v0, a##k##0);                                                                      \
        a##k##1 = ek_part_fma(dk, v1, a##k##1);                                                                      \
        a##k##2 = ek_part_fma(dk, v2, a##k##2);                                                                      \
    }
#define POSITION(i, v0, v1, v2)                                                                                      \
    {                                                                                                                \
        v2 = ek_part_keep(ek_part_load(b + ((i) + 2) * EK_LANES));                                                   \
        CHANNEL(0, i, v0, v1, v2)                                                                                    \
        CHANNEL(1, i, v0, v1, v2)                                                                                    \
        CHANNEL(2, i, v0, v1, v2)                                                                                    \
        CHANNEL(3, i, v0, v1, v2)                                                                                    \
    }
        for (; left >= 3; left -= 3) {
            POSITION(0, x0, x1, x2)
            POSITION(1, x1, x2, x0)
            POSITION(2, x2, x0, x1)
            d += 3 * EK_LANES;
            b += 3 * EK_LANES;
        }
        if (left > 0) POSITION(0, x0, x1, x2)
        if (left > 1) POSITION(1, x1, x2, x0)
#undef POSITION
#undef CHANNEL
    }
#define KEEP(k, j)                                                                                                   \
    if (k < K) ek_part_store(acc + k * n->acc_row + j * EK_LANES, a##k##j)
    KEEP(0, 0);
    KEEP(0, 1);
    KEEP(0, 2);
    KEEP(1, 0);
    KEEP(1, 1);
    KEEP(1, 2);
    KEEP(2, 0);
    KEEP(2, 1);
    KEEP(2, 2);
    KEEP(3, 0);
    KEEP(3, 1);
    KEEP(3, 2);
#undef KEEP
    /* clang-format on */
}

typedef void products_function(const run *n, const float *dy, const float *x, float *acc);

#define PRODUCTS(K, J)                                                                                               \
    static void products_##K##_##J(const run *n, const float *dy, const float *x, float *acc)                        \
    {                                                                                                                \
        products(K, J, n, dy, x, acc);                                                                               \
    }
PRODUCTS(1, 1)
PRODUCTS(1, 2)
PRODUCTS(1, 3)
PRODUCTS(1, 4)
PRODUCTS(1, 5)
PRODUCTS(2, 1)
PRODUCTS(2, 2)
PRODUCTS(2, 3)
PRODUCTS(2, 4)
PRODUCTS(2, 5)
PRODUCTS(3, 1)
PRODUCTS(3, 2)
PRODUCTS(3, 3)
PRODUCTS(4, 1)
PRODUCTS(4, 2)

#define SLIDING(K, J)                                                                                                \
    static void sliding_##K##_##J(const run *n, const float *dy, const float *x, float *acc)                         \
    {                                                                                                                \
        sliding_##J(K, n, dy, x, acc);                                                                               \
    }
SLIDING(1, 3)
SLIDING(2, 3)
SLIDING(3, 3)
SLIDING(4, 3)
SLIDING(1, 5)
SLIDING(2, 5)

static products_function *const table_of_sliding[5][6] = {
    [1] = {[3] = sliding_1_3, [5] = sliding_1_5},
    [2] = {[3] = sliding_2_3, [5] = sliding_2_5},
    [3] = {[3] = sliding_3_3},
    [4] = {[3] = sliding_4_3},
};

/* Ten accumulators hide the latency of two multiply-adds a cycle: 2 x 5 and 3 x 3 are the full shapes. */
static products_function *const table_of_products[5][6] = {
    [1] = {NULL, products_1_1, products_1_2, products_1_3, products_1_4, products_1_5},
    [2] = {NULL, products_2_1, products_2_2, products_2_3, products_2_4, products_2_5},
    [3] = {NULL, products_3_1, products_3_2, products_3_3, NULL, NULL},
    [4] = {NULL, products_4_1, products_4_2, NULL, NULL, NULL},
};

/* Adds the band p0..p1 of output channels k0..k0+K-1 and taps (c, r, s0..s0+J-1) to acc: the interior all taps at once,
 * at the left and right border position by position those that meet the image. */
static void taps_of_row(const ek_conv *g, int K, int J, int c, int r, int s0, int p0, int p1, const float *x,
                        const float *dy, ptrdiff_t acc_row, float *acc)
{
    const ek_range rows = ek_meets(r * g->dilation_h, g->stride_h, g->padding_h, g->h, g->p);
    p0 = max(p0, rows.begin);
    p1 = min(p1, rows.end);
    const ptrdiff_t image_row = (ptrdiff_t)g->w * EK_LANES;
    run n = {.rows = p1 - p0,
             .dy_row = (ptrdiff_t)g->q * EK_LANES,
             .dy_channel = (ptrdiff_t)g->p * g->q * EK_LANES,
             .x_row = g->stride_h * image_row,
             .x_position = (ptrdiff_t)g->stride_w * EK_LANES,
             .x_column = (ptrdiff_t)g->dilation_w * EK_LANES,
             .acc_row = acc_row};
    if (n.rows <= 0)
        return;
    const float *d = dy + p0 * n.dy_row;
    const float *b = x + c * g->h * image_row + (p0 * g->stride_h - g->padding_h + r * g->dilation_h) * image_row;
    /* Both ends of a tap's valid positions fall from tap to tap. */
    const int apart = g->dilation_w, from = s0 * apart, to = (s0 + J - 1) * apart;
    const int begin = ek_meets(from, g->stride_w, g->padding_w, g->w, g->q).begin;
    const int end = ek_meets(to, g->stride_w, g->padding_w, g->w, g->q).end;
    products_function *interior = g->stride_w == 1 && apart == 1 ? table_of_sliding[K][J] : NULL;
    if (!interior)
        interior = table_of_products[K][J];
    for (int part = 0; part < EK_PARTS; part++) {
        const ptrdiff_t lane = (ptrdiff_t)part * EK_PART;
        for (int q = 0; q < g->q; q += n.columns) {
            const bool inner = q >= begin && q < end;
            const int column = q * g->stride_w - g->padding_w + from; /* of tap s0 in the image */
            const int j0 = column < 0 ? min((-column + apart - 1) / apart, J) : 0;
            const int j1 = column < g->w ? max(min(J, (g->w - column + apart - 1) / apart), j0) : j0;
            n.columns = inner ? end - q : 1;
            products_function *function = inner ? interior : table_of_products[K][j1 - j0];
            if (j1 > j0)
                function(&n, d + (ptrdiff_t)q * EK_LANES + lane,
                         b + (ptrdiff_t)(column + j0 * apart) * EK_LANES + lane, acc + j0 * EK_LANES + lane);
        }
    }
}

/* The same for kernels one tap large: columns are input channels c..c+J-1. */
static void channels_of_tap(const ek_conv *g, int K, int J, int c, int p0, int p1, const float *x, const float *dy,
                            ptrdiff_t acc_row, float *acc)
{
    const ek_range rows = ek_meets(0, g->stride_h, g->padding_h, g->h, g->p);
    const ek_range columns = ek_meets(0, g->stride_w, g->padding_w, g->w, g->q);
    p0 = max(p0, rows.begin);
    p1 = min(p1, rows.end);
    const ptrdiff_t image_row = (ptrdiff_t)g->w * EK_LANES;
    const run n = {.rows = p1 - p0,
                   .columns = columns.end - columns.begin,
                   .dy_row = (ptrdiff_t)g->q * EK_LANES,
                   .dy_channel = (ptrdiff_t)g->p * g->q * EK_LANES,
                   .x_row = g->stride_h * image_row,
                   .x_position = (ptrdiff_t)g->stride_w * EK_LANES,
                   .x_column = g->h * image_row,
                   .acc_row = acc_row};
    if (n.rows <= 0 || n.columns <= 0)
        return;
    const float *d = dy + p0 * n.dy_row + (ptrdiff_t)columns.begin * EK_LANES;
    const float *b = x + c * n.x_column + (p0 * g->stride_h - g->padding_h) * image_row +
                     (ptrdiff_t)(columns.begin * g->stride_w - g->padding_w) * EK_LANES;
    for (int part = 0; part < EK_PARTS; part++)
        table_of_products[K][J](&n, d + part * EK_PART, b + part * EK_PART, acc + part * EK_PART);
}

static void backward_group(const ek_conv *g, const float *x, const float *dy, float *scratch, float *dweight)
{
    const bool pointwise = g->r == 1 && g->s == 1;
    const int J = pointwise ? min(g->c, 3) : min(g->s, 5);
    const int K = J > 3 ? 2 : J == 3 && g->s == 3 && g->stride_w == 1 && g->dilation_w == 1 ? 4 : 3;
    const size_t taps = (size_t)g->c * (size_t)g->r * (size_t)g->s;
    const size_t plane = (size_t)g->p * (size_t)g->q;
    const ptrdiff_t acc_row = (ptrdiff_t)taps * EK_LANES;
    /* A band's gradient rows of K channels should fill about a third of a first-level cache. */
    const int band = max(1, 12 * 1024 / (K * g->q * EK_LANES * (int)sizeof(float)));
    for (int k0 = 0; k0 < g->k; k0 += K) {
        const int kn = min(K, g->k - k0);
        const float *d = dy + (size_t)k0 * plane * EK_LANES;
        memset(scratch, 0, (size_t)kn * taps * EK_LANES * sizeof *scratch);
        for (int p0 = 0; p0 < g->p; p0 += band) {
            const int p1 = min(g->p, p0 + band);
            if (pointwise) {
                for (int c = 0; c < g->c; c += J)
                    channels_of_tap(g, kn, min(J, g->c - c), c, p0, p1, x, d, acc_row,
                                    scratch + (size_t)c * EK_LANES);
                continue;
            }
            float *acc = scratch;
            for (int c = 0; c < g->c; c++)
                for (int r = 0; r < g->r; r++, acc += (size_t)g->s * EK_LANES)
                    for (int s = 0; s < g->s; s += J)
                        taps_of_row(g, kn, min(J, g->s - s), c, r, s, p0, p1, x, d, acc_row, acc + s * EK_LANES);
        }
        ek_sum_rows((size_t)kn * taps, scratch, dweight + (size_t)k0 * taps);
    }
}

static void conv_backward_weight(const ek_conv *g, const float *x, const float *dy, float *scratch, float *dweight,
                                 float *dbias)
{
    const ek_conv one = ek_conv_group(g);
    const size_t image = (size_t)one.c * (size_t)g->h * (size_t)g->w, plane = (size_t)g->p * (size_t)g->q;
    for (size_t i = 0; i < (size_t)g->groups; i++)
        backward_group(&one, x + i * image * EK_LANES, dy + i * (size_t)one.k * plane * EK_LANES, scratch,
                       dweight + i * (size_t)ek_conv_weights(&one));
    for (int k = 0; dbias && k < g->k; k++)
        dbias[k] = ek_sum_plane(dy + (size_t)k * plane * EK_LANES, plane);
}

/* Sixteen features of sixteen samples at a time, from columns to rows. */
static void rows_from_block(int features, const float *x, int64_t samples, int64_t n0, float *rows)
{
    for (int f0 = 0; f0 < features; f0 += EK_LANES) {
        float *out = rows + ((int64_t)(f0 / EK_LANES) * samples + n0) * EK_LANES;
        const float *in = x + (size_t)f0 * EK_LANES;
        const int live = min(EK_LANES, features - f0);
        for (int n = 0; n < EK_LANES; n++)
            for (int f = 0; f < EK_LANES; f++)
                out[n * EK_LANES + f] = f < live ? in[f * EK_LANES + n] : 0.0f;
    }
}

EK_INLINE void add_or_set(float *out, ek_v16 x, bool add)
{
    ek_store(out, add ? ek_add(ek_load(out), x) : x);
}

/* One vector of sixteen features for T output features: over `blocks` blocks of samples. A chain of additions ends
 * every eight blocks, so that rounding grows with 128 samples and not with the batch. */
EK_INLINE void outer(const int T, int blocks, const float *rows, const float *dy, size_t dy_stride, float *out,
                     size_t out_row)
{
    /* clang-format off */
    for (int b0 = 0; b0 < blocks; b0 += 8) {
        ek_v16 t0, t1, t2, t3, t4, t5, t6, t7;
        t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = ek_zero();
        for (int b = b0; b < min(b0 + 8, blocks); b++) {
            const float *d = dy + (size_t)b * dy_stride;
            for (int n = 0; n < EK_LANES; n++, d++) {
                const ek_v16 x = ek_load(rows + ((size_t)b * EK_LANES + (size_t)n) * EK_LANES);
                t0 = ek_fma(ek_set(d[0]), x, t0);
                if (T > 1) t1 = ek_fma(ek_set(d[1 * EK_LANES]), x, t1);
                if (T > 2) t2 = ek_fma(ek_set(d[2 * EK_LANES]), x, t2);
                if (T > 3) t3 = ek_fma(ek_set(d[3 * EK_LANES]), x, t3);
                if (T > 4) t4 = ek_fma(ek_set(d[4 * EK_LANES]), x, t4);
                if (T > 5) t5 = ek_fma(ek_set(d[5 * EK_LANES]), x, t5);
                if (T > 6) t6 = ek_fma(ek_set(d[6 * EK_LANES]), x, t6);
                if (T > 7) t7 = ek_fma(ek_set(d[7 * EK_LANES]), x, t7);
            }
        }
        add_or_set(out, t0, b0 > 0);
        if (T > 1) add_or_set(out + 1 * out_row, t1, b0 > 0);
        if (T > 2) add_or_set(out + 2 * out_row, t2, b0 > 0);
        if (T > 3) add_or_set(out + 3 * out_row, t3, b0 > 0);
        if (T > 4) add_or_set(out + 4 * out_row, t4, b0 > 0);
        if (T > 5) add_or_set(out + 5 * out_row, t5, b0 > 0);
        if (T > 6) add_or_set(out + 6 * out_row, t6, b0 > 0);
        if (T > 7) add_or_set(out + 7 * out_row, t7, b0 > 0);
    }
    /* clang-format on */
}

typedef void outer_function(int blocks, const float *rows, const float *dy, size_t dy_stride, float *out,
                            size_t out_row);

#define OUTER(T, name)                                                                                               \
    static void name##_##T(int blocks, const float *rows, const float *dy, size_t dy_stride, float *out,             \
                           size_t out_row)                                                                           \
    {                                                                                                                \
        outer(T, blocks, rows, dy, dy_stride, out, out_row);                                                         \
    }
EK_FOR_TILES(OUTER, outer)

#define OUTER_NAME(T, name) name##_##T,
static outer_function *const outers[EK_TILE] = {EK_FOR_TILES(OUTER_NAME, outer)};

static void linear_backward_weight(int features, int k0, int count, int blocks, const float *rows, const float *dy,
                                   size_t dy_stride, float *dweight, float *dbias)
{
    const int tiles = (count + EK_TILE - 1) / EK_TILE;
    for (int tile = 0, k = k0; tile < tiles; tile++) {
        const int T = (k0 + count - k + tiles - tile - 1) / (tiles - tile);
        for (int f0 = 0; f0 < features; f0 += EK_LANES) {
            const float *x = rows + (size_t)f0 * (size_t)blocks * EK_LANES;
            float *out = dweight + (size_t)k * (size_t)features + f0;
            if (features - f0 >= EK_LANES) {
                outers[T - 1](blocks, x, dy + (size_t)k * EK_LANES, dy_stride, out, (size_t)features);
                continue;
            }
            float tail[8 * EK_LANES];
            outers[T - 1](blocks, x, dy + (size_t)k * EK_LANES, dy_stride, tail, EK_LANES);
            for (int t = 0; t < T; t++)
                memcpy(out + (size_t)t * (size_t)features, tail + t * EK_LANES,
                       (size_t)(features - f0) * sizeof *out);
        }
        k += T;
    }
    for (int k = k0; dbias && k < k0 + count; k++) {
        ek_v16 sum = ek_zero();
        for (int b = 0; b < blocks; b++)
            sum = ek_add(sum, ek_load(dy + (size_t)b * dy_stride + (size_t)k * EK_LANES));
        dbias[k] = ek_sum(sum);
    }
}

void EK_KERNEL(fill_conv_weight)(ek_blocked_kernels *table);

void EK_KERNEL(fill_conv_weight)(ek_blocked_kernels *table)
{
    table->conv_backward_weight = conv_backward_weight;
    table->rows_from_block = rows_from_block;
    table->linear_backward_weight = linear_backward_weight;
}
