/* SPDX-License-Identifier: MIT
 *
 * 3x3 convolutions at stride 1, forward and backward to data, by Winograd's F(2x2,3x3): winograd.h has the formulas.
 *
 * Three tiles at a time: all input channels are transformed to scratch,
 *     v[point][panel][c][column]      columns: the tiles' registers, up to three a panel, beside each other
 * then, sixteen output channels at a time, 16 products of matrices, one a point,
 *     m[point][k][tile][16] = sum over c of u[point][k][c] * v[point][c]
 * and m is transformed to y while it is still in the first-level cache. v is read once for every sixteen output
 * channels, u once for every three tiles: some bytes a cycle from the second-level cache.
 *
 * Backward to data is the same map from dy to dx, with kernels mirrored and transposed and padding 2 - padding. */
#include "cpu/kernel/winograd.h"

#include "cpu/kernel/blocked.h"
#include "cpu/kernel/name.h"

enum {
    GROUP = EK_WINOGRAD_GROUP, /* tiles at a time */
    BLOCK_ROWS = 16,           /* output channels at a time */
};

/* Floats from point to point: one cache line more than there is, so that the points of one value do not all fall into
 * one set of the cache. */
static size_t v_point(int channels)
{
    return (size_t)channels * GROUP * EK_LANES + EK_LANES;
}

enum { M_POINT = BLOCK_ROWS * GROUP * EK_LANES + EK_LANES };

typedef void matrix_function(int count, const float *a, const float *b, const float *start, float *out);

#define MATRIX(R, N, name)                                                                                           \
    static void name##_##R##_##N(int count, const float *a, const float *b, const float *start, float *out)          \
    {                                                                                                                \
        ek_matrix(true, R, N, count, a, b, start, out, GROUP *EK_LANES, EK_PART);                                    \
    }
EK_FOR_MATRICES(MATRIX, matrix)

#define MATRIX_NAME(R, N, name) [R][N] = name##_##R##_##N,
static matrix_function *const matrices[EK_MATRIX_ROWS + 1][EK_MATRIX_COLUMNS + 1] = {
    EK_FOR_MATRICES(MATRIX_NAME, matrix)};

/* ---- Weights ------------------------------------------------------------------------------------------------ */

/* To packed[point][tile of rows][column][row]: the matrices u of `rows` x `columns` channels. The kernel of row k and
 * column c is at weight + k*row + c*column, read from its end if mirrored. */
static void pack(int rows, int columns, size_t point, const float *weight, size_t row, size_t column, bool mirrored,
                 float *packed)
{
    const ek_cuts cuts = ek_cuts_of(rows, EK_MATRIX_ROWS);
    const ptrdiff_t step = mirrored ? -1 : 1;
    for (int tile = 0; tile < cuts.count; tile++) {
        const int k0 = ek_cut(cuts, tile), count = ek_cut(cuts, tile + 1) - k0;
        for (int k = 0; k < count; k++)
            for (int c = 0; c < columns; c++) {
                const float *w = weight + (size_t)(k0 + k) * row + (size_t)c * column + (mirrored ? 8 : 0);
                ek_winograd_weight(w, step, packed + (size_t)k0 * (size_t)columns + (size_t)(c * count + k), point);
            }
    }
}

static void pack_forward(const ek_conv *g, const float *weight, float *packed)
{
    pack(g->k, g->c, ek_winograd_point(g), weight, (size_t)g->c * 9, 9, false, packed);
}

static void pack_backward(const ek_conv *g, const float *weight, float *packed)
{
    pack(g->c, g->k, ek_winograd_point(g), weight, 9, (size_t)g->c * 9, true, packed);
}

/* ---- The map ------------------------------------------------------------------------------------------------ */

/* One register's worth of a tile of plane x: B'xB to its 16 points. */
EK_INLINE void transform_input(const ek_tile *tile, const bool whole, const float *x, float *v, size_t point)
{
#define X(i, j) ek_tile_value(tile, whole, x, i, j)
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

/* A group's tiles: how many, and for each its input and its output's place and extent. */
typedef struct group {
    int count;
    ek_tile input[GROUP];
    struct {
        size_t at; /* in a channel's plane of y */
        int rows, columns;
    } output[GROUP];
} group;

static group group_at(const ek_conv *g, int first, int across, int tiles)
{
    group it = {.count = min(GROUP, tiles - first)};
    for (int t = 0; t < it.count; t++) {
        const int p = (first + t) / across * 2, q = (first + t) % across * 2;
        it.input[t] = ek_tile_at(g, p, q);
        it.output[t].at = ((size_t)p * (size_t)g->q + (size_t)q) * EK_LANES;
        it.output[t].rows = min(2, g->p - p);
        it.output[t].columns = min(2, g->q - q);
    }
    return it;
}

static void transform_inputs(const ek_conv *g, const group *it, const float *x, float *v)
{
    const size_t plane = (size_t)g->h * (size_t)g->w * EK_LANES, point = v_point(g->c);
    const int columns = it->count * EK_PARTS;
    for (int c = 0; c < g->c; c++, x += plane)
        for (int column = 0; column < columns; column++) {
            const ek_tile *tile = &it->input[column / EK_PARTS];
            const int panel = column / EK_MATRIX_COLUMNS * EK_MATRIX_COLUMNS;
            const int width = min(EK_MATRIX_COLUMNS, columns - panel);
            float *out = v + (size_t)((panel * g->c) + c * width + column - panel) * EK_PART;
            const float *lanes = x + column % EK_PARTS * EK_PART;
            if (tile->inside == EK_TILE_WHOLE)
                transform_input(tile, true, lanes, out, point);
            else
                transform_input(tile, false, lanes, out, point);
        }
}

static void transform_outputs(const ek_conv *g, const group *it, int rows, const float *m, float *y)
{
    const size_t plane = (size_t)g->p * (size_t)g->q * EK_LANES;
    const ptrdiff_t y_row = (ptrdiff_t)g->q * EK_LANES;
    for (int k = 0; k < rows; k++, y += plane, m += GROUP * EK_LANES)
        for (int column = 0; column < it->count * EK_PARTS; column++) {
            const int t = column / EK_PARTS;
            ek_tile_output(m + column * EK_PART, M_POINT, y + it->output[t].at + column % EK_PARTS * EK_PART, y_row,
                           EK_LANES, it->output[t].rows, it->output[t].columns);
        }
}

/* The 16 matrices' products for the rows of tiles tile0..tile1-1. The bias begins the sums of point (1,1), which enters
 * each of the tile's four values once. */
static void multiply(const ek_conv *g, ek_cuts cuts, int tile0, int tile1, int columns, const float *packed,
                     const float *bias, const float *v, float *m)
{
    const int first = ek_cut(cuts, tile0);
    for (int i = 0; i < 16; i++, v += v_point(g->c), m += M_POINT, packed += ek_winograd_point(g))
        for (int column = 0; column < columns; column += EK_MATRIX_COLUMNS) {
            const int width = min(EK_MATRIX_COLUMNS, columns - column);
            const float *panel = v + (size_t)(column * g->c) * EK_PART;
            for (int tile = tile0; tile < tile1; tile++) {
                const int k = ek_cut(cuts, tile), rows = ek_cut(cuts, tile + 1) - k;
                matrices[rows][width](g->c, packed + (size_t)k * (size_t)g->c, panel,
                                      i == 5 && bias ? bias + k : NULL,
                                      m + (k - first) * GROUP * EK_LANES + column * EK_PART);
            }
        }
}

static void map(const ek_conv *g, const float *packed, const float *bias, const float *x, float *scratch, float *y,
                int t0, int t1)
{
    const int across = (g->q + 1) / 2, tiles = ek_winograd_tiles(g->p, g->q), block = BLOCK_ROWS / EK_MATRIX_ROWS;
    const ek_cuts cuts = ek_cuts_of(g->k, EK_MATRIX_ROWS);
    const size_t plane = (size_t)g->p * (size_t)g->q * EK_LANES;
    float *v = scratch + 16 * M_POINT, *m = scratch;
    for (int t = t0; t < t1; t++) {
        const group it = group_at(g, t * GROUP, across, tiles);
        transform_inputs(g, &it, x, v);
        for (int tile = 0; tile < cuts.count; tile += block) {
            const int end = min(tile + block, cuts.count), k = ek_cut(cuts, tile);
            multiply(g, cuts, tile, end, it.count * EK_PARTS, packed, bias, v, m);
            transform_outputs(g, &it, ek_cut(cuts, end) - k, m, y + (size_t)k * plane);
        }
    }
}

static void backward_data(const ek_conv *g, const float *packed, const float *dy, float *scratch, float *dx, int t0,
                          int t1)
{
    ek_conv mirrored = *g;
    mirrored.c = g->k;
    mirrored.h = g->p;
    mirrored.w = g->q;
    mirrored.k = g->c;
    mirrored.p = g->h;
    mirrored.q = g->w;
    mirrored.padding_h = 2 - g->padding_h;
    mirrored.padding_w = 2 - g->padding_w;
    map(&mirrored, packed, NULL, dy, scratch, dx, t0, t1);
}

void EK_KERNEL(fill_winograd)(ek_blocked_kernels *table);

void EK_KERNEL(fill_winograd)(ek_blocked_kernels *table)
{
    table->winograd_pack_forward = pack_forward;
    table->winograd_pack_backward = pack_backward;
    table->winograd_forward = map;
    table->winograd_backward_data = backward_data;
}
