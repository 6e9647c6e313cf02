/* SPDX-License-Identifier: MIT
 *
 * 3x3 convolutions of a single sample by Winograd's F(2x2,3x3), channels in the lanes: winograd.h has the formulas.
 * Some tiles at a time, as many as the micro-kernel takes positions: all input channels are transformed,
 *     v[point][tile][c]
 * then, two registers of output channels at a time, each of the 16 points is a convolution of its own, 1x1 on tiles,
 *     m[point][tile][k] = sum over c of u[point][c][k] * v[point][tile][c]
 * and m is transformed to y. The sums are those of the kernels on blocks: over c in order, and the bias begins the sum
 * of point (1,1). */
#include "cpu/kernel/name.h"
#include "cpu/kernel/single.h"
#include "cpu/kernel/single_point.h"
#include "cpu/kernel/winograd.h"

enum { PARTS = 2, TILES = EK_POINTS, M_TILE = PARTS * EK_PART, M_POINT = TILES * M_TILE + EK_LANES };

static int parts_of(int channels)
{
    return (channels + EK_PART - 1) / EK_PART;
}

/* Floats of a tile's channels; from point to point: a cache line more than there is, as in winograd.c. */
static size_t v_tile(const ek_conv *g)
{
    return (size_t)parts_of(g->c) * EK_PART;
}

static size_t v_point(const ek_conv *g)
{
    return TILES * v_tile(g) + EK_LANES;
}

static size_t scratch_of(const ek_conv *g)
{
    return 16 * (v_point(g) + M_POINT);
}

/* packed[tile of channels][point][1 + c][channels]: what each sum begins with, then the weights. */
static void pack(const ek_conv *g, const float *weight, const float *bias, float *packed)
{
    const ek_cuts tiles = ek_cuts_of(parts_of(g->k), PARTS);
    for (int tile = 0; tile < tiles.count; tile++) {
        const int k0 = ek_cut(tiles, tile) * EK_PART, count = ek_cut(tiles, tile + 1) * EK_PART - k0;
        const size_t point = (size_t)count * ((size_t)g->c + 1);
        memset(packed, 0, 16 * point * sizeof *packed);
        for (int k = k0; k < k0 + count && k < g->k; k++) {
            float *out = packed + (k - k0);
            if (bias)
                out[5 * point] = bias[k];
            for (int c = 0; c < g->c; c++)
                ek_winograd_weight(weight + ((size_t)k * (size_t)g->c + (size_t)c) * 9, 1,
                                   out + (size_t)(c + 1) * (size_t)count, point);
        }
        packed += 16 * point;
    }
}

/* One register's worth of an input tile: B'xB to its 16 points. */
EK_INLINE void transform_input(const float *x, ptrdiff_t row, ptrdiff_t column, float *v, size_t point)
{
#define X(i, j) ek_part_load(x + (i)*row + (j)*column)
    const ek_part b0 = X(1, 0), b1 = X(1, 1), b2 = X(1, 2), b3 = X(1, 3);
    const ek_part c0 = X(2, 0), c1 = X(2, 1), c2 = X(2, 2), c3 = X(2, 3);
    ek_tile_columns(ek_part_sub(X(0, 0), c0), ek_part_sub(X(0, 1), c1), ek_part_sub(X(0, 2), c2),
                    ek_part_sub(X(0, 3), c3), v, point);
    ek_tile_columns(ek_part_add(b0, c0), ek_part_add(b1, c1), ek_part_add(b2, c2), ek_part_add(b3, c3), v + 4 * point,
                    point);
    ek_tile_columns(ek_part_sub(c0, b0), ek_part_sub(c1, b1), ek_part_sub(c2, b2), ek_part_sub(c3, b3), v + 8 * point,
                    point);
    ek_tile_columns(ek_part_sub(X(3, 0), b0), ek_part_sub(X(3, 1), b1), ek_part_sub(X(3, 2), b2),
                    ek_part_sub(X(3, 3), b3), v + 12 * point, point);
#undef X
}

/* The 16 products for `parts` registers of output channels. */
static void multiply(const ek_conv *g, int tiles, int parts, const float *packed, const int32_t *counting,
                     const float *v, float *m)
{
    const size_t point = (size_t)parts * EK_PART * ((size_t)g->c + 1);
    for (int i = 0; i < 16; i++, packed += point, v += v_point(g), m += M_POINT) {
        const float *xs[TILES];
        float *ys[TILES];
        for (int t = 0; t < tiles; t++) {
            xs[t] = v + (size_t)t * v_tile(g);
            ys[t] = m + t * M_TILE;
        }
        ek_points_functions[parts - 1][tiles - 1](g->c, counting, packed, xs, ys);
    }
}

static void winograd(const ek_conv *g, const float *packed, const int32_t *counting, ek_single_channels x,
                     float *scratch, ek_single_channels y)
{
    const int across = (g->q + 1) / 2, inputs = parts_of(g->c);
    const ek_cuts cuts = ek_cuts_of(parts_of(g->k), PARTS);
    const ek_cuts groups = ek_cuts_of(ek_winograd_tiles(g->p, g->q), ek_points_of[min(PARTS, parts_of(g->k))]);
    float *m = scratch, *v = scratch + 16 * M_POINT;
    for (int i = 0; i < groups.count; i++) {
        const int first = ek_cut(groups, i), count = ek_cut(groups, i + 1) - first;
        for (int t = 0; t < count; t++) {
            const int p = (first + t) / across * 2, q = (first + t) % across * 2;
            const float *from = x.at + p * x.row + q * x.column;
            for (int part = 0; part < inputs; part++)
                transform_input(from + part * EK_PART, x.row, x.column,
                                v + (size_t)t * v_tile(g) + (size_t)part * EK_PART, v_point(g));
        }
        const float *weights = packed;
        for (int tile = 0; tile < cuts.count; tile++) {
            const int part = ek_cut(cuts, tile), parts = ek_cut(cuts, tile + 1) - part;
            multiply(g, count, parts, weights, counting, v, m);
            weights += 16 * (size_t)parts * EK_PART * ((size_t)g->c + 1);
            for (int t = 0; t < count; t++) {
                const int p = (first + t) / across * 2, q = (first + t) % across * 2;
                float *to = y.at + p * y.row + q * y.column + part * EK_PART;
                for (int n = 0; n < parts; n++)
                    ek_tile_output(m + t * M_TILE + n * EK_PART, M_POINT, to + n * EK_PART, y.row, y.column,
                                   min(2, g->p - p), min(2, g->q - q));
            }
        }
    }
}

void EK_KERNEL(fill_single_winograd)(ek_single_kernels *table);

void EK_KERNEL(fill_single_winograd)(ek_single_kernels *table)
{
    table->winograd_pack = pack;
    table->winograd_scratch = scratch_of;
    table->winograd = winograd;
}
