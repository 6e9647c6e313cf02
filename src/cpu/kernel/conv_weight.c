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
#undef LOADED
    for (int p = 0; p < n->rows; p++) {
        const float *d = dy + p * n->dy_row, *b = x + p * n->x_row;
        for (int q = 0; q < n->columns; q++) {
            const ek_part d0 = ek_part_load(d);
            const ek_part d1 = K > 1 ? ek_part_load(d + n->dy_channel) : d0;
            const ek_part d2 = K > 2 ? ek_part_load(d + 2 * n->dy_channel) : d0;
#define COLUMN(j)                                                                                                    \
    if (J > j) {                                                                                                     \
        const ek_part xj = ek_part_keep(ek_part_load(b + j * n->x_column));                                          \
        a0##j = ek_part_fma(d0, xj, a0##j);                                                                          \
        if (K > 1) a1##j = ek_part_fma(d1, xj, a1##j);                                                               \
        if (K > 2 && j < 3) THIRD(j, xj);                                                                            \
    }
#define THIRD(j, xj) a2##j = ek_part_fma(d2, xj, a2##j)
            COLUMN(0)
            COLUMN(1)
            COLUMN(2)
#undef THIRD
#define THIRD(j, xj) (void)0
            COLUMN(3)
            COLUMN(4)
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

/* Ten accumulators hide the latency of two multiply-adds a cycle: 2 x 5 and 3 x 3 are the full shapes. */
static products_function *const table_of_products[4][6] = {
    [1] = {NULL, products_1_1, products_1_2, products_1_3, products_1_4, products_1_5},
    [2] = {NULL, products_2_1, products_2_2, products_2_3, products_2_4, products_2_5},
    [3] = {NULL, products_3_1, products_3_2, products_3_3, NULL, NULL},
};

/* The plane's positions for which tap `tap` of a row or column of the kernel meets the image: [begin, end). */
typedef struct range {
    int begin, end;
} range;

static range valid_positions(int tap, int stride, int padding, int extent, int outputs)
{
    const int low = padding - tap; /* position*stride >= low, position*stride <= extent - 1 + low */
    const int high = extent - 1 + low;
    if (high < 0)
        return (range){0, 0};
    if (stride == 1)
        return (range){max(low, 0), min(outputs, high + 1)};
    return (range){low > 0 ? (low + stride - 1) / stride : 0, min(outputs, high / stride + 1)};
}

/* Adds the band p0..p1 of output channels k0..k0+K-1 and taps (c, r, s0..s0+J-1) to acc: the interior all columns at
 * once, at the left and right border column by column. Each accumulator still runs over q in order. */
static void taps_of_row(const ek_conv *g, int K, int J, int c, int r, int s0, int p0, int p1, const float *x,
                        const float *dy, ptrdiff_t acc_row, float *acc)
{
    const range rows = valid_positions(r, g->stride, g->padding, g->h, g->p);
    p0 = max(p0, rows.begin);
    p1 = min(p1, rows.end);
    const range first = valid_positions(s0, g->stride, g->padding, g->w, g->q);
    const range last = valid_positions(s0 + J - 1, g->stride, g->padding, g->w, g->q);
    const ptrdiff_t image_row = (ptrdiff_t)g->w * EK_LANES;
    run n = {.rows = p1 - p0,
             .dy_row = (ptrdiff_t)g->q * EK_LANES,
             .dy_channel = (ptrdiff_t)g->p * g->q * EK_LANES,
             .x_row = g->stride * image_row,
             .x_position = (ptrdiff_t)g->stride * EK_LANES,
             .x_column = EK_LANES,
             .acc_row = acc_row};
    if (n.rows <= 0)
        return;
    const float *d = dy + p0 * n.dy_row;
    const float *b = x + c * g->h * image_row + (p0 * g->stride - g->padding + r) * image_row;
    /* Column j is valid in [begin_j, end_j), both falling with j: all are valid in [first.begin, last.end). */
    const int inner_begin = first.begin, inner_end = max(last.end, first.begin);
    const bool no_border = first.begin == last.begin && first.end == last.end;
    for (int part = 0; part < EK_PARTS; part++) {
        const ptrdiff_t lane = (ptrdiff_t)part * EK_PART;
        for (int side = no_border; side < 3 - no_border; side++) {
            const bool inner = side == 1;
            for (int j = 0; j < (inner ? 1 : J); j++) {
                const range own = valid_positions(s0 + j, g->stride, g->padding, g->w, g->q);
                const int q0 = side == 0 ? own.begin : inner ? inner_begin : max(own.begin, inner_end);
                const int q1 = side == 0 ? min(own.end, inner_begin) : inner ? inner_end : own.end;
                n.columns = q1 - q0;
                if (n.columns <= 0)
                    continue;
                const ptrdiff_t column = (ptrdiff_t)(q0 * g->stride - g->padding + s0 + j) * EK_LANES;
                table_of_products[K][inner ? J : 1](&n, d + (ptrdiff_t)q0 * EK_LANES + lane, b + column + lane,
                                                    acc + j * EK_LANES + lane);
            }
        }
    }
}

/* The same for kernels one tap large: columns are input channels c..c+J-1. */
static void channels_of_tap(const ek_conv *g, int K, int J, int c, int p0, int p1, const float *x, const float *dy,
                            ptrdiff_t acc_row, float *acc)
{
    const range rows = valid_positions(0, g->stride, g->padding, g->h, g->p);
    const range columns = valid_positions(0, g->stride, g->padding, g->w, g->q);
    p0 = max(p0, rows.begin);
    p1 = min(p1, rows.end);
    const ptrdiff_t image_row = (ptrdiff_t)g->w * EK_LANES;
    const run n = {.rows = p1 - p0,
                   .columns = columns.end - columns.begin,
                   .dy_row = (ptrdiff_t)g->q * EK_LANES,
                   .dy_channel = (ptrdiff_t)g->p * g->q * EK_LANES,
                   .x_row = g->stride * image_row,
                   .x_position = (ptrdiff_t)g->stride * EK_LANES,
                   .x_column = g->h * image_row,
                   .acc_row = acc_row};
    if (n.rows <= 0 || n.columns <= 0)
        return;
    const float *d = dy + p0 * n.dy_row + (ptrdiff_t)columns.begin * EK_LANES;
    const float *b = x + c * n.x_column + (p0 * g->stride - g->padding) * image_row +
                     (ptrdiff_t)(columns.begin * g->stride - g->padding) * EK_LANES;
    for (int part = 0; part < EK_PARTS; part++)
        table_of_products[K][J](&n, d + part * EK_PART, b + part * EK_PART, acc + part * EK_PART);
}

/* Sum of a channel's gradient over plane and lanes. */
static float sum_of_plane(const float *dy, size_t positions)
{
    ek_v16 even = ek_zero(), odd = ek_zero();
    size_t i = 0;
    for (; i + 2 <= positions; i += 2) {
        even = ek_add(even, ek_load(dy + i * EK_LANES));
        odd = ek_add(odd, ek_load(dy + (i + 1) * EK_LANES));
    }
    if (i < positions)
        even = ek_add(even, ek_load(dy + i * EK_LANES));
    return ek_sum(ek_add(even, odd));
}

static void conv_backward_weight(const ek_conv *g, const float *x, const float *dy, float *scratch, float *dweight,
                                 float *dbias)
{
    const bool pointwise = g->r == 1 && g->s == 1;
    const int J = pointwise ? min(g->c, 3) : min(g->s, 5);
    const int K = J > 3 ? 2 : 3;
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
    for (int k = 0; dbias && k < g->k; k++)
        dbias[k] = sum_of_plane(dy + (size_t)k * plane * EK_LANES, plane);
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
