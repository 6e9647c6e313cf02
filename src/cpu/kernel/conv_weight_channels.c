/* SPDX-License-Identifier: MIT
 *
 * Convolutions of many channels backward to weights. Sums over lanes cost as much as a small plane's products, and a
 * convolution of C to K channels has K*C*R*S of them; so here the samples are what is summed over, one by one, and
 * sixteen input channels stand in the lanes:
 *     acc[k][c] += dy[k, sample] * x[sample, c]      T rows of k, over the samples and positions a tap meets
 * The block's x is turned from [channel][position][sample] to [position][sample][channel] on the way, for sixteen
 * channels and a band of rows at a time.
 *
 * A chain of additions runs over some 16 positions, which are 256 samples; the chains' ends are added up one after the
 * other. Each value is added up in one order, which depends on the shape alone. */
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/chain.h"
#include "cpu/kernel/cut.h"
#include "cpu/kernel/name.h"

enum { CHAIN = 16 }; /* positions */

/* Of T output channels and one tap: the first values it reads, and its sums. */
typedef struct tap {
    const float *dy, *x;
    float *sums;
    int T;
} tap;

/* Adds up rows by columns positions in chains of some 16 positions, so that rounding stays small. */
static void add_chains(const ek_run *whole, const tap *t)
{
    const ek_cuts across = ek_cuts_of(whole->columns, CHAIN);
    const ek_cuts down = ek_cuts_of(whole->rows, max(1, CHAIN / whole->columns));
    ek_run n = *whole;
    for (int i = 0; i < down.count; i++)
        for (int j = 0; j < across.count; j++) {
            const size_t row = (size_t)ek_cut(down, i), column = (size_t)ek_cut(across, j);
            n.rows = ek_cut(down, i + 1) - (int)row;
            n.columns = ek_cut(across, j + 1) - (int)column;
            ek_chains[t->T - 1](&n, t->dy + row * n.dy_row + column * EK_LANES,
                                t->x + row * n.x_row + column * n.x_position, t->sums);
        }
}

/* The band p0..p1-1 of all output channels, from x that is turned from row y0 on. */
static void add_band(const ek_conv *g, int p0, int p1, int y0, const float *x, const float *dy, float *sums)
{
    const size_t taps = (size_t)g->r * (size_t)g->s, column = EK_LANES * EK_LANES, row = (size_t)g->w * column;
    const ek_cuts tiles = ek_cuts_of(g->k, EK_TILE);
    ek_run n = {.add = true,
                .dy_row = (size_t)g->q * EK_LANES,
                .dy_channel = (size_t)g->p * (size_t)g->q * EK_LANES,
                .x_row = (size_t)g->stride_h * row,
                .x_position = (size_t)g->stride_w * column,
                .sums_channel = taps * EK_LANES};
    for (int tile = 0; tile < tiles.count; tile++) {
        const int k = ek_cut(tiles, tile);
        for (int r = 0; r < g->r; r++) {
            ek_range rows = ek_meets(r * g->dilation_h, g->stride_h, g->padding_h, g->h, g->p);
            rows = (ek_range){max(p0, rows.begin), min(p1, rows.end)};
            n.rows = rows.end - rows.begin;
            const int y = rows.begin * g->stride_h - g->padding_h + r * g->dilation_h - y0;
            for (int s = 0; s < g->s && n.rows > 0; s++) {
                const ek_range columns = ek_meets(s * g->dilation_w, g->stride_w, g->padding_w, g->w, g->q);
                n.columns = columns.end - columns.begin;
                if (n.columns <= 0)
                    continue;
                const int at = columns.begin * g->stride_w - g->padding_w + s * g->dilation_w;
                const float *from = dy + (size_t)k * n.dy_channel + (size_t)rows.begin * n.dy_row;
                add_chains(&n, &(tap){.dy = from + (size_t)columns.begin * EK_LANES,
                                      .x = x + (size_t)y * row + (size_t)at * column,
                                      .sums = sums + ((size_t)k * taps + (size_t)(r * g->s + s)) * EK_LANES,
                                      .T = ek_cut(tiles, tile + 1) - k});
            }
        }
    }
}

static void backward_weight(const ek_conv *g, const float *x, const float *dy, float *scratch, float *dweight,
                            float *dbias, int tile0, int tile1)
{
    const size_t taps = (size_t)g->r * (size_t)g->s, k = (size_t)g->k, out = (size_t)g->p * (size_t)g->q;
    const size_t plane = (size_t)g->h * (size_t)g->w * EK_LANES;
    const ek_cuts bands = ek_cuts_of(g->p, ek_channels_band(g));
    float *const sums = scratch, *const turned = scratch + k * taps * EK_LANES;
    for (int tile = tile0; tile < tile1; tile++) {
        const int c0 = tile * EK_LANES, live = min(EK_LANES, g->c - c0);
        memset(sums, 0, k * taps * EK_LANES * sizeof *sums);
        for (int band = 0; band < bands.count; band++) {
            const int p0 = ek_cut(bands, band), p1 = ek_cut(bands, band + 1);
            const int y0 = max(0, p0 * g->stride_h - g->padding_h);
            const int y1 = min(g->h, (p1 - 1) * g->stride_h - g->padding_h + (g->r - 1) * g->dilation_h + 1);
            if (y1 <= y0)
                continue;
            const size_t first = (size_t)(y0 * g->w), positions = (size_t)((y1 - y0) * g->w);
            ek_turn(x + (size_t)c0 * plane + first * EK_LANES, plane, live, positions, turned);
            add_band(g, p0, p1, y0, turned, dy, sums);
        }
        for (size_t i = 0; i < k; i++) {
            float *to = dweight + (i * (size_t)g->c + (size_t)c0) * taps;
            for (size_t c = 0; c < (size_t)live; c++)
                for (size_t j = 0; j < taps; j++)
                    *to++ = sums[(i * taps + j) * EK_LANES + c];
        }
    }
    for (size_t i = 0; dbias && tile0 == 0 && i < k; i++)
        dbias[i] = ek_sum_plane(dy + i * out * EK_LANES, out);
}

void EK_KERNEL(fill_conv_weight_channels)(ek_blocked_kernels *table);

void EK_KERNEL(fill_conv_weight_channels)(ek_blocked_kernels *table)
{
    table->channels_backward_weight = backward_weight;
}
