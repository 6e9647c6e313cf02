/* SPDX-License-Identifier: MIT
 *
 * 3x3 convolutions at stride 1 backward to weights, by the adjoint of Winograd's F(2x2,3x3) (formulas in winograd.h):
 * 16 products in place of 36 for a tile, summed over tiles and lanes, and one transform back at the end.
 *
 * The plane's tiles are taken in bands that fit in the second-level cache, and in each band the four rows of points one
 * after the other. A row of points of all channels is transformed to scratch, as the register tiles read it,
 *     b[point][tile of c][part][tile][c], and a[point][tile of k][part][tile][k] likewise from dy
 * and each register tile runs over the band's tiles. Its lanes are added up at once, and the bands' sums one after the
 * other: each value is added up in one order, which depends on the shape alone. */
#include "cpu/kernel/winograd.h"

#include "cpu/kernel/blocked.h"
#include "cpu/kernel/name.h"

typedef void lanes_function(int count, const float *a, const float *b, float *out);

/* out is [R][N][16]. */
#define MATRIX(R, N, name)                                                                                           \
    static void name##_##R##_##N(int count, const float *a, const float *b, float *out)                              \
    {                                                                                                                \
        ek_matrix(false, R, N, count, a, b, NULL, out, N *EK_LANES, EK_LANES);                                       \
    }
EK_FOR_MATRICES(MATRIX, lanes)

#define MATRIX_NAME(R, N, name) [R][N] = name##_##R##_##N,
static lanes_function *const matrices[EK_MATRIX_ROWS + 1][EK_MATRIX_COLUMNS + 1] = {
    EK_FOR_MATRICES(MATRIX_NAME, lanes)};

/* Where transformed values go: `count` tiles of channels cut by `cuts`. */
typedef struct target {
    float *at;
    size_t point; /* floats from point to point */
    ek_cuts cuts;
    int count;
} target;

static target new_target(float *at, int channels, int most, int count)
{
    const size_t values = (size_t)channels * (size_t)count * EK_LANES;
    /* A cache line more than there is: see v_point in winograd.c. */
    return (target){at, values + EK_LANES, ek_cuts_of(channels, most), count};
}

/* Row i of B'xB of one register's worth of a tile. */
EK_INLINE void input_row(const int i, const ek_tile *tile, const bool whole, const float *x, float *out, size_t point)
{
#define VALUE(j)                                                                                                     \
    (i == 1 ? ek_part_add(ek_tile_value(tile, whole, x, 1, j), ek_tile_value(tile, whole, x, 2, j))                  \
            : ek_part_sub(ek_tile_value(tile, whole, x,                                                              \
                                        i == 0   ? 0                                                                 \
                                        : i == 2 ? 2                                                                 \
                                                 : 3,                                                                \
                                        j),                                                                          \
                          ek_tile_value(tile, whole, x, i == 0 ? 2 : 1, j)))
    ek_tile_columns(VALUE(0), VALUE(1), VALUE(2), VALUE(3), out, point);
#undef VALUE
}

enum { TILE_OF_OUTPUT = 0x33 }; /* the bits of the first two rows' first two columns */

/* Row i of A dy A' likewise. */
EK_INLINE void gradient_row(const int i, const ek_tile *tile, const bool whole, const float *dy, float *out,
                            size_t point)
{
#define ROW(r, j) ek_tile_value(tile, whole, dy, r, j)
#define VALUE(j)                                                                                                     \
    (i == 0   ? ROW(0, j)                                                                                            \
     : i == 1 ? ek_part_add(ROW(0, j), ROW(1, j))                                                                    \
     : i == 2 ? ek_part_sub(ROW(0, j), ROW(1, j))                                                                    \
              : ROW(1, j))
    const ek_part d0 = VALUE(0), d1 = VALUE(1);
#undef VALUE
#undef ROW
    ek_part_store(out, d0);
    ek_part_store(out + point, ek_part_add(d0, d1));
    ek_part_store(out + 2 * point, ek_part_sub(d0, d1));
    ek_part_store(out + 3 * point, d1);
}

/* Row i of points of all tiles and channels: of x (input), or of dy. Planes are `plane` floats. */
EK_INLINE void transform(const bool input, const int i, const ek_tile *tiles, const float *x, size_t plane,
                         const target *to)
{
    for (int cut = 0; cut < to->cuts.count; cut++) {
        const int c0 = ek_cut(to->cuts, cut), width = ek_cut(to->cuts, cut + 1) - c0;
        for (int c = 0; c < width; c++, x += plane)
            for (int t = 0; t < to->count; t++)
                for (int part = 0; part < EK_PARTS; part++) {
                    float *out = to->at + (size_t)c0 * (size_t)to->count * EK_LANES +
                                 (size_t)((part * to->count + t) * width + c) * EK_PART;
                    const float *lanes = x + part * EK_PART;
                    if (input && tiles[t].inside == EK_TILE_WHOLE)
                        input_row(i, &tiles[t], true, lanes, out, to->point);
                    else if (input)
                        input_row(i, &tiles[t], false, lanes, out, to->point);
                    else if ((tiles[t].inside & TILE_OF_OUTPUT) == TILE_OF_OUTPUT)
                        gradient_row(i, &tiles[t], true, lanes, out, to->point);
                    else
                        gradient_row(i, &tiles[t], false, lanes, out, to->point);
                }
    }
}

typedef void transform_function(const ek_tile *tiles, const float *x, size_t plane, const target *to);

#define TRANSFORM(name, input, i)                                                                                    \
    static void name##_##i(const ek_tile *tiles, const float *x, size_t plane, const target *to)                     \
    {                                                                                                                \
        transform(input, i, tiles, x, plane, to);                                                                    \
    }
TRANSFORM(inputs, true, 0)
TRANSFORM(inputs, true, 1)
TRANSFORM(inputs, true, 2)
TRANSFORM(inputs, true, 3)
TRANSFORM(gradients, false, 0)
TRANSFORM(gradients, false, 1)
TRANSFORM(gradients, false, 2)
TRANSFORM(gradients, false, 3)

static transform_function *const input_rows[4] = {inputs_0, inputs_1, inputs_2, inputs_3};
static transform_function *const gradient_rows[4] = {gradients_0, gradients_1, gradients_2, gradients_3};

/* sums[k][c] += the sum over the band's tiles and lanes of a[k]*b[c], one point's. */
static void multiply(const target *a, const target *b, int j, float *sums)
{
    const size_t tile_floats = (size_t)a->count * EK_LANES;
    const float *from_a = a->at + (size_t)j * a->point, *from_b = b->at + (size_t)j * b->point;
    enum { BLOCK = 16 / EK_MATRIX_ROWS }; /* tiles of a that rest in the first-level cache */
    for (int block = 0; block < a->cuts.count; block += BLOCK)
        for (int column = 0; column < b->cuts.count; column++) {
            const int c = ek_cut(b->cuts, column), columns = ek_cut(b->cuts, column + 1) - c;
            for (int row = block; row < min(block + BLOCK, a->cuts.count); row++) {
                const int k = ek_cut(a->cuts, row), rows = ek_cut(a->cuts, row + 1) - k;
                float lanes[EK_MATRIX_ROWS * EK_MATRIX_COLUMNS * EK_LANES], sum[EK_MATRIX_ROWS * EK_MATRIX_COLUMNS];
                for (int part = 0; part < EK_PARTS; part++)
                    matrices[rows][columns](
                        a->count, from_a + (size_t)k * tile_floats + (size_t)(part * a->count * rows) * EK_PART,
                        from_b + (size_t)c * tile_floats + (size_t)(part * a->count * columns) * EK_PART,
                        lanes + part * EK_PART);
                ek_sum_rows((size_t)(rows * columns), lanes, sum);
                float *out = sums + (size_t)k * (size_t)b->cuts.total + (size_t)c;
                for (int r = 0; r < rows; r++, out += b->cuts.total)
                    for (int n = 0; n < columns; n++)
                        out[n] += sum[r * columns + n];
            }
        }
}

/* G' of four values. */
EK_INLINE void transform_back(const float *u, ptrdiff_t stride, float *w)
{
    const float even = 0.5f * (u[stride] + u[2 * stride]);
    w[0] = u[0] + even;
    w[1] = 0.5f * (u[stride] - u[2 * stride]);
    w[2] = even + u[3 * stride];
}

/* sums [16][pairs] to G'[]G, [pairs][9]. */
static void transform_sums(size_t pairs, const float *sums, float *dweight)
{
    for (size_t pair = 0; pair < pairs; pair++, dweight += 9) {
        float half[4][3], w[3];
        for (int i = 0; i < 4; i++)
            transform_back(sums + (size_t)(4 * i) * pairs + pair, (ptrdiff_t)pairs, half[i]);
        for (int s = 0; s < 3; s++) {
            transform_back(&half[0][s], 3, w);
            for (int r = 0; r < 3; r++)
                dweight[3 * r + s] = w[r];
        }
    }
}

static void backward_weight(const ek_conv *g, const float *x, const float *dy, float *scratch, float *dweight,
                            float *dbias)
{
    const int across = (g->q + 1) / 2, total = ek_winograd_tiles(g->p, g->q);
    const ek_cuts bands = ek_cuts_of(total, ek_winograd_band(g));
    const size_t pairs = (size_t)g->k * (size_t)g->c, plane = (size_t)g->p * (size_t)g->q;
    const ek_conv image = {.h = g->p, .w = g->q}; /* dy's tiles, for ek_tile_at */
    float *const transformed = scratch + 16 * pairs;
    memset(scratch, 0, 16 * pairs * sizeof *scratch);
    for (int band = 0; band < bands.count; band++) {
        ek_tile inputs[EK_WINOGRAD_BAND], gradients[EK_WINOGRAD_BAND];
        const int begin = ek_cut(bands, band), count = ek_cut(bands, band + 1) - begin;
        for (int t = 0; t < count; t++) {
            const int p = (begin + t) / across * 2, q = (begin + t) % across * 2;
            inputs[t] = ek_tile_at(g, p, q);
            gradients[t] = ek_tile_at(&image, p, q);
        }
        const target b = new_target(transformed, g->c, EK_MATRIX_COLUMNS, count);
        const target a = new_target(transformed + 4 * b.point, g->k, EK_MATRIX_ROWS, count);
        for (int i = 0; i < 4; i++) {
            input_rows[i](inputs, x, (size_t)g->h * (size_t)g->w * EK_LANES, &b);
            gradient_rows[i](gradients, dy, plane * EK_LANES, &a);
            for (int j = 0; j < 4; j++)
                multiply(&a, &b, j, scratch + (size_t)(4 * i + j) * pairs);
        }
    }
    transform_sums(pairs, scratch, dweight);
    for (int k = 0; dbias && k < g->k; k++)
        dbias[k] = ek_sum_plane(dy + (size_t)k * plane * EK_LANES, plane);
}

void EK_KERNEL(fill_winograd_weight)(ek_blocked_kernels *table);

void EK_KERNEL(fill_winograd_weight)(ek_blocked_kernels *table)
{
    table->winograd_backward_weight = backward_weight;
}
