/* SPDX-License-Identifier: MIT
 * Convolutions and linear layers of a single sample, output channels in the lanes; depthwise ones, where these are the
 * input's channels too. A linear layer is a convolution to one position, with more channels at a time. */
#include "cpu/kernel/cut.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/single.h"
#include "cpu/kernel/single_point.h"

enum { ROW_PARTS = EK_PARTS <= 2 ? 12 : 10 }; /* registers of channels at a time at a single position */

/* ---- One position ------------------------------------------------------------------------------------------- */

/* Sums of N registers of channels at one position; weight as ek_points takes it, each read once. */
EK_INLINE void row(const int N, int taps, const int32_t *offsets, const float *weight, const float *x, float *y)
{
    /* clang-format off */
#define FOR_PARTS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11)
#define BEGIN(n) ek_part s##n = N > n ? ek_part_load(weight + n * EK_PART) : ek_part_set(0.0f);
    FOR_PARTS(BEGIN)
#undef BEGIN
#pragma GCC unroll 2
    for (int i = 0; i < taps; i++) {
        const ek_part v = ek_part_keep(ek_part_set(x[offsets[i]]));
        weight += N * EK_PART;
#define STEP(n) if (N > n) s##n = ek_part_fma_at(v, weight + n * EK_PART, s##n);
        FOR_PARTS(STEP)
#undef STEP
    }
#define END(n) if (N > n) ek_part_store(y + n * EK_PART, s##n);
    FOR_PARTS(END)
#undef END
    /* clang-format on */
}

typedef void row_function(int taps, const int32_t *offsets, const float *weight, const float *x, float *y);

#define ROW(N)                                                                                                       \
    static void row_##N(int taps, const int32_t *offsets, const float *weight, const float *x, float *y)             \
    {                                                                                                                \
        row(N, taps, offsets, weight, x, y);                                                                         \
    }
/* clang-format off */
#define FOR_ROWS(M) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12)
FOR_ROWS(ROW)
#define ROW_NAME(N) row_##N,
static row_function *const rows[] = {FOR_ROWS(ROW_NAME)};
/* clang-format on */

/* ---- The whole map ------------------------------------------------------------------------------------------ */

static int parts_of(int outputs)
{
    return (outputs + EK_PART - 1) / EK_PART;
}

/* Registers of output channels, cut into those that are computed at a time. */
static ek_cuts tiles_of(const ek_single_conv *g)
{
    return ek_cuts_of(parts_of(g->outputs), g->p * g->q == 1 ? ROW_PARTS : EK_POINT_PARTS);
}

/* packed[tile][1 + taps][channels of the tile] */
static void pack(const ek_single_conv *g, const float *weight, const float *bias, float *packed)
{
    const ek_cuts tiles = tiles_of(g);
    for (int tile = 0; tile < tiles.count; tile++) {
        const int k0 = ek_cut(tiles, tile) * EK_PART, k1 = ek_cut(tiles, tile + 1) * EK_PART;
        for (int k = k0; k < k1; k++)
            *packed++ = bias && k < g->outputs ? bias[k] : 0.0f;
        for (int tap = 0; tap < g->taps; tap++)
            for (int k = k0; k < k1; k++)
                *packed++ = k < g->outputs ? weight[(size_t)k * (size_t)g->taps + (size_t)tap] : 0.0f;
    }
}

/* The next `count` positions from (*p, *q) on. */
static void next_points(const ek_single_conv *g, int count, int *p, int *q, const float *x, float *y,
                        const float **xs, float **ys)
{
    for (int t = 0; t < count; t++) {
        xs[t] = x + *p * g->x_row + *q * g->x_column;
        ys[t] = y + *p * g->y_row + *q * g->y_column;
        if (++*q == g->q) {
            *q = 0;
            ++*p;
        }
    }
}

static void conv(const ek_single_conv *g, const float *packed, const int32_t *offsets, const float *x, float *y)
{
    const ek_cuts tiles = tiles_of(g);
    for (int tile = 0; tile < tiles.count; tile++) {
        const int part = ek_cut(tiles, tile), parts = ek_cut(tiles, tile + 1) - part;
        float *out = y + part * EK_PART;
        if (g->p * g->q == 1) {
            rows[parts - 1](g->taps, offsets, packed, x, out);
        } else {
            const ek_cuts points = ek_cuts_of(g->p * g->q, ek_points_of[parts]);
            for (int i = 0, p = 0, q = 0; i < points.count; i++) {
                const int count = ek_cut(points, i + 1) - ek_cut(points, i);
                const float *xs[EK_POINTS];
                float *ys[EK_POINTS];
                next_points(g, count, &p, &q, x, out, xs, ys);
                ek_points_functions[parts - 1][count - 1](g->taps, offsets, packed, xs, ys);
            }
        }
        packed += (size_t)parts * EK_PART * ((size_t)g->taps + 1);
    }
}

/* As columns_cost, in cycles of AVX2: beside the multiply-adds the loads of values, and what comes before and after. */
static double conv_cost(const ek_single_conv *g)
{
    const ek_cuts tiles = tiles_of(g);
    double cycles = 0;
    for (int tile = 0; tile < tiles.count; tile++) {
        const int parts = ek_cut(tiles, tile + 1) - ek_cut(tiles, tile),
                  most = ek_points_of[min(parts, EK_POINT_PARTS)];
        const double points = (double)g->p * g->q < most ? (double)g->p * g->q : most;
        const double adds = points * parts / 2, loads = (points + parts) / 2;
        cycles += (double)g->p * g->q / points * (g->taps * (adds > loads ? adds : loads) + 70);
    }
    return cycles;
}

/* ---- Depthwise ---------------------------------------------------------------------------------------------- */

static void depthwise_pack(const ek_single_conv *g, const float *weight, const float *bias, float *packed)
{
    for (int k0 = 0; k0 < g->outputs; k0 += EK_PART) {
        for (int k = k0; k < k0 + EK_PART; k++)
            *packed++ = bias && k < g->outputs ? bias[k] : 0.0f;
        for (int tap = 0; tap < g->taps; tap++)
            for (int k = k0; k < k0 + EK_PART; k++)
                *packed++ = k < g->outputs ? weight[(size_t)k * (size_t)g->taps + (size_t)tap] : 0.0f;
    }
}

/* T positions of one register of channels. */
EK_INLINE void depth(const int T, int taps, const int32_t *offsets, const float *weight, const float *const *x,
                     float *const *y)
{
    /* clang-format off */
    const ek_part start = ek_part_load(weight);
#define FOR_DEPTHS(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7)
#define BEGIN(t) ek_part s##t = start; const float *x##t = T > t ? x[t] : NULL;
    FOR_DEPTHS(BEGIN)
#undef BEGIN
    for (int i = 0; i < taps; i++) {
        const ptrdiff_t at = offsets[i];
        weight += EK_PART;
        const ek_part w = ek_part_keep(ek_part_load(weight));
#define STEP(t) if (T > t) s##t = ek_part_fma_at(w, x##t + at, s##t);
        FOR_DEPTHS(STEP)
#undef STEP
    }
#define END(t) if (T > t) ek_part_store(y[t], s##t);
    FOR_DEPTHS(END)
#undef END
    /* clang-format on */
}

static void depthwise(const ek_single_conv *g, const float *packed, const int32_t *offsets, const float *x, float *y)
{
    const ek_cuts points = ek_cuts_of(g->p * g->q, EK_POINTS);
    const int parts = parts_of(g->outputs);
    const size_t size = (size_t)EK_PART * ((size_t)g->taps + 1);
    for (int i = 0, p = 0, q = 0; i < points.count; i++) {
        const int count = ek_cut(points, i + 1) - ek_cut(points, i);
        const float *xs[EK_POINTS], *weight = packed;
        float *ys[EK_POINTS];
        next_points(g, count, &p, &q, x, y, xs, ys);
        for (int part = 0; part < parts; part++, weight += size) {
            if (count == EK_POINTS)
                depth(EK_POINTS, g->taps, offsets, weight, xs, ys);
            else
                for (int t = 0; t < count; t++)
                    depth(1, g->taps, offsets, weight, xs + t, ys + t);
            for (int t = 0; t < count; t++) {
                xs[t] += EK_PART;
                ys[t] += EK_PART;
            }
        }
    }
}

void EK_KERNEL(fill_single_conv)(ek_single_kernels *table);

void EK_KERNEL(fill_single_conv)(ek_single_kernels *table)
{
    table->part = EK_PART;
    table->pack = pack;
    table->conv = conv;
    table->conv_cost = conv_cost;
    table->depthwise_pack = depthwise_pack;
    table->depthwise = depthwise;
}
