/* SPDX-License-Identifier: MIT
 *
 * 3x3 convolutions at stride 1 backward to weights, by the adjoint of Winograd's F(2x2,3x3) (formulas in winograd.h):
 * 16 products in place of 36 for a tile, summed over tiles and samples, and one transform back at the end.
 *
 * The plane's tiles are taken in bands. Of a band all of dy is transformed to a[point][k][tile][sample]. Then for
 * sixteen input channels at a time, x is turned to have them in the lanes and is transformed to
 * b[point][tile][sample][c], and chain.h's products run over the band's tiles and samples. The bands' sums are added up
 * one after the other: each value is added up in one order, which depends on the plane alone. */
#include "cpu/kernel/winograd.h"

#include "cpu/kernel/blocked.h"
#include "cpu/kernel/chain.h"
#include "cpu/kernel/name.h"

/* Tiles of a band, and where its values stand in scratch. A point is a cache line longer than it need be: see v_point
 * in winograd.c. */
typedef struct band {
    int p, q;          /* first row and column of the output */
    int rows, columns; /* of tiles */
    float *a, *b, *region;
    size_t a_point, b_point, region_row;
} band;

static size_t tiles_of(const band *n)
{
    return (size_t)n->rows * (size_t)n->columns;
}

/* ---- dy ---- */

/* A dy A' of one register's worth of a tile. */
EK_INLINE void transform_gradient(ek_part d00, ek_part d01, ek_part d10, ek_part d11, float *out, size_t point)
{
#define ROW(i, x, y)                                                                                                 \
    {                                                                                                                \
        const ek_part left = x, right = y;                                                                           \
        ek_part_store(out + (4 * (i)) * point, left);                                                                \
        ek_part_store(out + (4 * (i) + 1) * point, ek_part_add(left, right));                                        \
        ek_part_store(out + (4 * (i) + 2) * point, ek_part_sub(left, right));                                        \
        ek_part_store(out + (4 * (i) + 3) * point, right);                                                           \
    }
    ROW(0, d00, d01)
    ROW(1, ek_part_add(d00, d10), ek_part_add(d01, d11))
    ROW(2, ek_part_sub(d00, d10), ek_part_sub(d01, d11))
    ROW(3, d10, d11)
#undef ROW
}

static void transform_gradients(const ek_conv *g, const band *n, const float *dy)
{
    const ek_part zero = ek_part_set(0.0f);
    float *out = n->a;
    for (int k = 0; k < g->k; k++, dy += (size_t)g->p * (size_t)g->q * EK_LANES)
        for (int i = 0; i < n->rows; i++)
            for (int j = 0; j < n->columns; j++, out += EK_LANES) {
                const int p = n->p + 2 * i, q = n->q + 2 * j;
                const bool below = p + 1 < g->p, right = q + 1 < g->q;
                const float *at = dy + ((size_t)p * (size_t)g->q + (size_t)q) * EK_LANES;
                const float *next = at + (size_t)g->q * EK_LANES;
                for (size_t lane = 0; lane < EK_LANES; lane += EK_PART)
                    transform_gradient(ek_part_load(at + lane), right ? ek_part_load(at + EK_LANES + lane) : zero,
                                       below ? ek_part_load(next + lane) : zero,
                                       below && right ? ek_part_load(next + EK_LANES + lane) : zero, out + lane,
                                       n->a_point);
            }
}

/* ---- x ---- */

/* What the band's tiles read of sixteen channels, turned, zeros outside the image. */
static void turn_region(const ek_conv *g, const band *n, const float *x, int live)
{
    const size_t position = EK_LANES * EK_LANES, plane = (size_t)g->h * (size_t)g->w * EK_LANES;
    const int columns = 2 * n->columns + 2, w = n->q - g->padding_w;
    const int begin = max(0, -w), end = min(columns, g->w - w); /* those that are inside */
    for (int i = 0; i < 2 * n->rows + 2; i++) {
        float *to = n->region + (size_t)i * n->region_row;
        const int h = n->p - g->padding_h + i;
        if (h < 0 || h >= g->h || end <= begin) {
            memset(to, 0, n->region_row * sizeof *to);
            continue;
        }
        memset(to, 0, (size_t)begin * position * sizeof *to);
        ek_turn(x + ((size_t)h * (size_t)g->w + (size_t)(w + begin)) * EK_LANES, plane, live, (size_t)(end - begin),
                to + (size_t)begin * position);
        memset(to + (size_t)end * position, 0, (size_t)(columns - end) * position * sizeof *to);
    }
}

/* B'xB of one register's worth of a tile. */
EK_INLINE void transform_input(const float *x, size_t row, float *out, size_t point)
{
#define X(i, j) ek_part_load(x + (i)*row + (j)*EK_LANES * EK_LANES)
#define ROW(i, op, r, s)                                                                                             \
    ek_tile_columns(op(X(r, 0), X(s, 0)), op(X(r, 1), X(s, 1)), op(X(r, 2), X(s, 2)), op(X(r, 3), X(s, 3)),          \
                    out + (4 * (i)) * point, point);
    ROW(0, ek_part_sub, 0, 2)
    ROW(1, ek_part_add, 1, 2)
    ROW(2, ek_part_sub, 2, 1)
    ROW(3, ek_part_sub, 3, 1)
#undef ROW
#undef X
}

static void transform_inputs(const band *n)
{
    const size_t position = EK_LANES * EK_LANES;
    float *out = n->b;
    for (int i = 0; i < n->rows; i++)
        for (int j = 0; j < n->columns; j++, out += position) {
            const float *x = n->region + (size_t)(2 * i) * n->region_row + (size_t)(2 * j) * position;
            for (size_t at = 0; at < position; at += EK_PART)
                transform_input(x + at, n->region_row, out + at, n->b_point);
        }
}

/* ---- Sums ---- */

/* sums[k][16] (+)= the band's, one point's, of sixteen input channels. */
static void multiply(const band *n, int channels, const float *a, const float *b, bool add, float *sums)
{
    const ek_cuts tiles = ek_cuts_of(channels, EK_TILE);
    const ek_run run = {.add = add,
                        .rows = 1,
                        .columns = (int)tiles_of(n),
                        .dy_channel = tiles_of(n) * EK_LANES,
                        .x_position = EK_LANES * EK_LANES,
                        .sums_channel = EK_LANES};
    for (int tile = 0; tile < tiles.count; tile++) {
        const int k = ek_cut(tiles, tile), T = ek_cut(tiles, tile + 1) - k;
        ek_chains[T - 1](&run, a + (size_t)k * run.dy_channel, b, sums + (size_t)k * EK_LANES);
    }
}

/* G' of four values. */
EK_INLINE void transform_back(const ek_v16 *u, size_t stride, ek_v16 *w, size_t to)
{
    const ek_v16 half = ek_set(0.5f), even = ek_mul(half, ek_add(u[stride], u[2 * stride]));
    w[0] = ek_add(u[0], even);
    w[to] = ek_mul(half, ek_sub(u[stride], u[2 * stride]));
    w[2 * to] = ek_add(even, u[3 * stride]);
}

/* G'[]G of the sums of K x 16 pairs, `point` apart: dweight [K][C][9] of channels c0..c0+live-1. */
static void transform_sums(const ek_conv *g, int c0, int live, const float *sums, size_t point, float *dweight)
{
    for (size_t k = 0; k < (size_t)g->k; k++, sums += EK_LANES) {
        ek_v16 u[16], half[12], w[9];
        float lanes[9][EK_LANES];
        for (size_t i = 0; i < 16; i++)
            u[i] = ek_load(sums + i * point);
        for (size_t i = 0; i < 4; i++)
            transform_back(u + 4 * i, 1, half + 3 * i, 1);
        for (size_t s = 0; s < 3; s++)
            transform_back(half + s, 3, w + s, 3);
        for (size_t tap = 0; tap < 9; tap++)
            ek_store(lanes[tap], w[tap]);
        float *to = dweight + (k * (size_t)g->c + (size_t)c0) * 9;
        for (int c = 0; c < live; c++)
            for (size_t tap = 0; tap < 9; tap++)
                *to++ = lanes[tap][c];
    }
}

/* ---- All of it ---- */

/* Adds a band to the sums [point][tile of channels][k][16]. */
static void add_band(const ek_conv *g, const band *n, const float *x, const float *dy, int tile0, int tile1, bool add,
                     float *sums)
{
    const size_t k = (size_t)g->k, plane = (size_t)g->h * (size_t)g->w * EK_LANES;
    const size_t point = (size_t)(tile1 - tile0) * k * EK_LANES;
    transform_gradients(g, n, dy);
    for (int tile = tile0; tile < tile1; tile++, sums += k * EK_LANES) {
        const int c0 = tile * EK_LANES;
        turn_region(g, n, x + (size_t)c0 * plane, min(EK_LANES, g->c - c0));
        transform_inputs(n);
        for (size_t i = 0; i < 16; i++)
            multiply(n, g->k, n->a + i * n->a_point, n->b + i * n->b_point, add, sums + i * point);
    }
}

static void backward_weight(const ek_conv *g, const float *x, const float *dy, float *scratch, float *dweight,
                            float *dbias, int tile0, int tile1)
{
    const ek_winograd_band most = ek_winograd_band_of(g);
    const ek_cuts down = ek_cuts_of((g->p + 1) / 2, most.rows), across = ek_cuts_of((g->q + 1) / 2, most.columns);
    const size_t k = (size_t)g->k, plane = (size_t)g->p * (size_t)g->q;
    const size_t point = (size_t)(tile1 - tile0) * k * EK_LANES;
    for (int i = 0; i < down.count; i++)
        for (int j = 0; j < across.count; j++) {
            band n = {.p = 2 * ek_cut(down, i), .q = 2 * ek_cut(across, j)};
            n.rows = ek_cut(down, i + 1) - n.p / 2;
            n.columns = ek_cut(across, j + 1) - n.q / 2;
            n.a_point = k * tiles_of(&n) * EK_LANES + EK_LANES;
            n.b_point = tiles_of(&n) * EK_LANES * EK_LANES + EK_LANES;
            n.region_row = (size_t)(2 * n.columns + 2) * EK_LANES * EK_LANES;
            n.a = scratch + 16 * point;
            n.b = n.a + 16 * n.a_point;
            n.region = n.b + 16 * n.b_point;
            add_band(g, &n, x, dy, tile0, tile1, i + j > 0, scratch);
        }
    for (int tile = tile0; tile < tile1; tile++)
        transform_sums(g, tile * EK_LANES, min(EK_LANES, g->c - tile * EK_LANES),
                       scratch + (size_t)(tile - tile0) * k * EK_LANES, point, dweight);
    for (size_t i = 0; dbias && tile0 == 0 && i < k; i++)
        dbias[i] = ek_sum_plane(dy + i * plane * EK_LANES, plane);
}

void EK_KERNEL(fill_winograd_weight)(ek_blocked_kernels *table);

void EK_KERNEL(fill_winograd_weight)(ek_blocked_kernels *table)
{
    table->winograd_backward_weight = backward_weight;
}
