/* SPDX-License-Identifier: MIT
 * Convolutions of a single sample to few channels, and their pooling: a register holds columns of a row, weights are
 * broadcast. What the first layers of a net are made of, where output channels would not fill the lanes.
 *     acc[t][p] += weight[tap][t] * x[row p][columns at the tap]        T output channels, two rows */
#include "cpu/kernel/cut.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/single.h"

enum { CHANNELS = 6, ROWS = 2 };

static ek_cuts tiles_of(const ek_single_conv *g)
{
    return ek_cuts_of(g->outputs, CHANNELS);
}

/* packed[tile][1 + taps][channels of the tile] */
static void pack(const ek_single_conv *g, const float *weight, const float *bias, float *packed)
{
    const ek_cuts tiles = tiles_of(g);
    for (int tile = 0; tile < tiles.count; tile++) {
        const int k0 = ek_cut(tiles, tile), k1 = ek_cut(tiles, tile + 1);
        for (int k = k0; k < k1; k++)
            *packed++ = bias ? bias[k] : 0.0f;
        for (int tap = 0; tap < g->taps; tap++)
            for (int k = k0; k < k1; k++)
                *packed++ = weight[(size_t)k * (size_t)g->taps + (size_t)tap];
    }
}

/* T channels of one register of columns in `rows` rows; two are y_row and x_row apart. */
EK_INLINE void columns_of(const int T, const int rows, const ek_single_conv *g, const int32_t *offsets,
                          const float *weight, const float *x, float *y)
{
    const float *below = x + (rows > 1 ? g->x_row : 0);
    /* clang-format off */
#define FOR_CHANNELS(M) M(0) M(1) M(2) M(3) M(4) M(5)
#define BEGIN(t) ek_part a##t = T > t ? ek_part_set(weight[t]) : ek_part_set(0.0f), b##t = a##t;
    FOR_CHANNELS(BEGIN)
#undef BEGIN
#pragma GCC unroll 2
    for (int i = 0; i < g->taps; i++) {
        const ptrdiff_t at = offsets[i];
        const ek_part u = ek_part_keep(ek_part_load(x + at));
        const ek_part v = rows > 1 ? ek_part_keep(ek_part_load(below + at)) : u;
        weight += T;
#define STEP(t)                                                                                                      \
        if (T > t) {                                                                                                 \
            const ek_part w = ek_part_keep(ek_part_set(weight[t]));                                                  \
            a##t = ek_part_fma(w, u, a##t);                                                                          \
            if (rows > 1) b##t = ek_part_fma(w, v, b##t);                                                            \
        }
        FOR_CHANNELS(STEP)
#undef STEP
    }
#define END(t)                                                                                                       \
    if (T > t) {                                                                                                     \
        ek_part_store(y + t * g->y_channel, a##t);                                                                   \
        if (rows > 1) ek_part_store(y + t * g->y_channel + g->y_row, b##t);                                          \
    }
    FOR_CHANNELS(END)
#undef END
    /* clang-format on */
}

typedef void columns_function(const ek_single_conv *g, const int32_t *offsets, const float *weight, const float *x,
                              float *y);

#define COLUMNS(T, rows)                                                                                             \
    static void columns_##T##_##rows(const ek_single_conv *g, const int32_t *offsets, const float *weight,           \
                                     const float *x, float *y)                                                       \
    {                                                                                                                \
        columns_of(T, rows, g, offsets, weight, x, y);                                                               \
    }
/* clang-format off */
#define FOR_TILES(M, rows) M(1, rows) M(2, rows) M(3, rows) M(4, rows) M(5, rows) M(6, rows)
FOR_TILES(COLUMNS, 1)
FOR_TILES(COLUMNS, 2)
#define COLUMNS_NAME(T, rows) columns_##T##_##rows,
static columns_function *const functions[ROWS][CHANNELS] = {
    {FOR_TILES(COLUMNS_NAME, 1)}, {FOR_TILES(COLUMNS_NAME, 2)}};
/* clang-format on */

static void columns(const ek_single_conv *g, const float *packed, const int32_t *offsets, const float *x, float *y)
{
    const ek_cuts tiles = tiles_of(g);
    for (int tile = 0; tile < tiles.count; tile++) {
        const int k = ek_cut(tiles, tile), channels = ek_cut(tiles, tile + 1) - k;
        for (int p = 0; p < g->p; p += ROWS) {
            columns_function *const run = functions[min(ROWS, g->p - p) - 1][channels - 1];
            for (int q = 0; q < g->q; q += EK_PART)
                run(g, offsets, packed, x + p * g->x_row + q, y + k * g->y_channel + p * g->y_row + q);
        }
        packed += (size_t)channels * ((size_t)g->taps + 1);
    }
}

/* In cycles of AVX2, measured: two multiply-adds a cycle, no chain of additions faster than four, and what comes before
 * and after the taps. */
static double columns_cost(const ek_single_conv *g)
{
    const ek_cuts tiles = tiles_of(g);
    const double registers = (double)((g->p + ROWS - 1) / ROWS) * ((g->q + EK_PART - 1) / EK_PART);
    const double channels = (double)g->outputs / tiles.count;
    return tiles.count * registers * (g->taps * (channels > 4 ? channels : 4) * 1.1 + 30);
}

/* Sums in row order: a b / c d give ((a + b) + c) + d. */
EK_INLINE void pool_rows(const bool maximum, int w, const float *x, ptrdiff_t x_row, float *y)
{
    for (int q = 0; q < w / 2; q += EK_PART, x += 2 * EK_PART, y += EK_PART) {
        const ek_part u0 = ek_part_load(x), u1 = ek_part_load(x + EK_PART);
        const ek_part v0 = ek_part_load(x + x_row), v1 = ek_part_load(x + x_row + EK_PART);
        const ek_part next[] = {ek_part_odds(u0, u1), ek_part_evens(v0, v1), ek_part_odds(v0, v1)};
        ek_part pooled = ek_part_evens(u0, u1);
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++)
            pooled = maximum ? ek_part_if_nan(next[i], ek_part_max(next[i], pooled)) : ek_part_add(pooled, next[i]);
        ek_part_store(y, maximum ? pooled : ek_part_mul(pooled, ek_part_set(0.25f)));
    }
}

static void pool_planar(bool maximum, int h, int w, const float *x, ptrdiff_t x_row, float *y, ptrdiff_t y_row)
{
    for (int p = 0; p < h / 2; p++, x += 2 * x_row, y += y_row)
        if (maximum)
            pool_rows(true, w, x, x_row, y);
        else
            pool_rows(false, w, x, x_row, y);
}

void EK_KERNEL(fill_single_columns)(ek_single_kernels *table);

void EK_KERNEL(fill_single_columns)(ek_single_kernels *table)
{
    table->columns_pack = pack;
    table->columns = columns;
    table->columns_cost = columns_cost;
    table->pool_planar = pool_planar;
}
