/* SPDX-License-Identifier: MIT
 *
 * What the files of Winograd's kernels share. F(2x2,3x3) of Lavin and Gray (2015, arXiv:1509.09308): an output tile
 * of 2x2 comes from an input tile of 4x4 by 16 products in place of 36,
 *     y = A' [ (G w G') * (B' x B) ] A            * elementwise, summed over channels
 *          | 1  0 -1  0 |          | 1    0    0  |          | 1  0 |
 *     B' = | 0  1  1  0 |      G = | 1/2  1/2 1/2 |      A = | 1  1 |
 *          | 0 -1  1  0 |          | 1/2 -1/2 1/2 |          | 1 -1 |
 *          | 0 -1  0  1 |          | 0    0    1  |          | 0  1 |
 * (the last rows of B' and A with the sign turned, which spares negations). The map is bilinear, so its adjoint in w
 * is the gradient: dw = G' [ sum over tiles of (A dy A') * (B' x B) ] G.
 *
 * In the blocked layout a value is sixteen samples, so B and A are plain vector additions. What is left are, for each
 * of the 16 points of the transform, products of small matrices.
 *
 * Rounding. Let |M| be the magnitudes' bound of a result: the same formulas with absolute values throughout, |A'|,
 * |G|, |w|, ... The values of B'xB have been rounded twice, those of GwG' at most four times, a sum over n terms n
 * times, A'[]A four times; so the result errs by at most (n + 10)*2^-24*|M| to first order, and by about the square
 * root of that where roundings are independent. |M| is at most 64/9 times the direct sum's bound; but sums are nine
 * times shorter, and for data of random sign forward and backward to data err less than the direct kernels do. */
#ifndef EK_CPU_KERNEL_WINOGRAD_H
#define EK_CPU_KERNEL_WINOGRAD_H

#include "cpu/kernel/cut.h"
#include "cpu/kernel/simd.h"

/* Rows of a register tile; its columns are native registers. 4 x 3 accumulators with one operand's three and one of
 * the other fill sixteen registers, 8 x 3 what is there beyond. */
#if EK_PARTS == 1 || (defined(__aarch64__) && !defined(EK_GENERIC))
#define EK_MATRIX_ROWS 8
#else
#define EK_MATRIX_ROWS 4
#endif
enum { EK_MATRIX_COLUMNS = 3 };

/* M(R, N, ...) for every size of a register tile. */
#define EK_FOR_COLUMNS(M, R, ...) M(R, 1, __VA_ARGS__) M(R, 2, __VA_ARGS__) M(R, 3, __VA_ARGS__)
#define EK_FOR_FOUR_ROWS(M, ...)                                                                                     \
    EK_FOR_COLUMNS(M, 1, __VA_ARGS__)                                                                                \
    EK_FOR_COLUMNS(M, 2, __VA_ARGS__)                                                                                \
    EK_FOR_COLUMNS(M, 3, __VA_ARGS__)                                                                                \
    EK_FOR_COLUMNS(M, 4, __VA_ARGS__)
#if EK_MATRIX_ROWS == 4
#define EK_FOR_MATRICES(M, ...) EK_FOR_FOUR_ROWS(M, __VA_ARGS__)
#else
#define EK_FOR_MATRICES(M, ...)                                                                                      \
    EK_FOR_FOUR_ROWS(M, __VA_ARGS__)                                                                                 \
    EK_FOR_COLUMNS(M, 5, __VA_ARGS__)                                                                                \
    EK_FOR_COLUMNS(M, 6, __VA_ARGS__)                                                                                \
    EK_FOR_COLUMNS(M, 7, __VA_ARGS__)                                                                                \
    EK_FOR_COLUMNS(M, 8, __VA_ARGS__)
#endif

/* out[r*row + n*column ..] = start[r] + the sum over i < count of a[i][r] * b[i][n], R rows by N registers; start
 * NULL for zeros. a is [count][R] scalars to broadcast, or registers too; b is [count][N] registers. Each value is
 * one chain of additions over i: its bits do not depend on R and N. */
EK_INLINE void ek_matrix(const bool broadcast, const int R, const int N, int count, const float *a, const float *b,
                         const float *start, float *out, size_t row, size_t column)
{
    /* clang-format off */
#define START(r) (start && R > (r) ? ek_part_set(start[r]) : ek_part_set(0.0f))
#define BEGIN(r) ek_part s##r##0 = START(r), s##r##1 = s##r##0, s##r##2 = s##r##0;
    BEGIN(0) BEGIN(1) BEGIN(2) BEGIN(3) BEGIN(4) BEGIN(5) BEGIN(6) BEGIN(7)
#undef BEGIN
#undef START
#pragma GCC unroll 2
    for (int i = 0; i < count; i++) {
        const ek_part x0 = ek_part_keep(ek_part_load(b));
        const ek_part x1 = N > 1 ? ek_part_keep(ek_part_load(b + EK_PART)) : x0;
        const ek_part x2 = N > 2 ? ek_part_keep(ek_part_load(b + 2 * EK_PART)) : x0;
#define ROW(r)                                                                                                       \
    if (R > r) {                                                                                                     \
        const ek_part w = ek_part_keep(broadcast ? ek_part_set(a[r]) : ek_part_load(a + r * EK_PART));               \
        s##r##0 = ek_part_fma(w, x0, s##r##0);                                                                       \
        if (N > 1) s##r##1 = ek_part_fma(w, x1, s##r##1);                                                            \
        if (N > 2) s##r##2 = ek_part_fma(w, x2, s##r##2);                                                            \
    }
        ROW(0) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7)
#undef ROW
        a += broadcast ? R : R * EK_PART;
        b += N * EK_PART;
    }
#define END(r)                                                                                                       \
    if (R > r) {                                                                                                     \
        ek_part_store(out + r * row, s##r##0);                                                                       \
        if (N > 1) ek_part_store(out + r * row + column, s##r##1);                                                   \
        if (N > 2) ek_part_store(out + r * row + 2 * column, s##r##2);                                               \
    }
    END(0) END(1) END(2) END(3) END(4) END(5) END(6) END(7)
#undef END
    /* clang-format on */
}

/* G of three values. */
EK_INLINE void ek_winograd_half(const float *w, ptrdiff_t stride, float *u)
{
    const float even = 0.5f * (w[0] + w[2 * stride]), odd = 0.5f * w[stride];
    u[0] = w[0];
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = w[2 * stride];
}

/* GwG' of one kernel, whose nine values are `step` apart: its 16 points, `point` floats apart. */
EK_INLINE void ek_winograd_weight(const float *w, ptrdiff_t step, float *points, size_t point)
{
    float half[3][4], u[4];
    for (int r = 0; r < 3; r++)
        ek_winograd_half(w + r * 3 * step, step, half[r]);
    for (int j = 0; j < 4; j++) {
        ek_winograd_half(&half[0][j], 4, u);
        for (int i = 0; i < 4; i++)
            points[(size_t)(4 * i + j) * point] = u[i];
    }
}

/* A tile of the input, 4x4: where its rows begin in a channel's plane (in floats, possibly outside), and which of its
 * values are inside: bit 4*i + j for row i, column j. */
typedef struct ek_tile {
    ptrdiff_t at[4];
    unsigned inside;
} ek_tile;

enum { EK_TILE_WHOLE = 0xffff };

/* The tile whose output's first row and column are p and q. */
EK_INLINE ek_tile ek_tile_at(const ek_conv *g, int p, int q)
{
    ek_tile tile = {.inside = 0};
    const int h = p - g->padding_h, w = q - g->padding_w;
    for (int i = 0; i < 4; i++) {
        tile.at[i] = ((ptrdiff_t)(h + i) * g->w + w) * EK_LANES;
        for (int j = 0; j < 4; j++)
            if (h + i >= 0 && h + i < g->h && w + j >= 0 && w + j < g->w)
                tile.inside |= 1u << (4 * i + j);
    }
    return tile;
}

/* Row i, column j of a tile of plane x. */
EK_INLINE ek_part ek_tile_value(const ek_tile *tile, const bool whole, const float *x, const int i, const int j)
{
    return whole || tile->inside >> (4 * i + j) & 1 ? ek_part_load(x + (tile->at[i] + j * EK_LANES))
                                                    : ek_part_set(0.0f);
}

/* A row of B'x, four values, times B: to points v[0], v[point], v[2*point], v[3*point]. */
EK_INLINE void ek_tile_columns(ek_part x0, ek_part x1, ek_part x2, ek_part x3, float *v, size_t point)
{
    ek_part_store(v, ek_part_sub(x0, x2));
    ek_part_store(v + point, ek_part_add(x1, x2));
    ek_part_store(v + 2 * point, ek_part_sub(x2, x1));
    ek_part_store(v + 3 * point, ek_part_sub(x3, x1));
}

/* One register's worth of A'mA of a tile's products, points `point` floats apart: the 2x2 outputs, of which `rows` and
 * `columns` lie in the plane. */
EK_INLINE void ek_tile_output(const float *m, size_t point, float *y, ptrdiff_t row, ptrdiff_t column, int rows,
                              int columns)
{
#define M(i, j) ek_part_load(m + (size_t)(4 * (i) + (j)) * point)
#define COLUMN(j)                                                                                                    \
    const ek_part sum##j = ek_part_add(M(1, j), M(2, j)), difference##j = ek_part_sub(M(1, j), M(2, j));             \
    const ek_part a##j = ek_part_add(M(0, j), sum##j), b##j = ek_part_add(M(3, j), difference##j)
    COLUMN(0);
    COLUMN(1);
    COLUMN(2);
    COLUMN(3);
#undef COLUMN
#undef M
    ek_part_store(y, ek_part_add(a0, ek_part_add(a1, a2)));
    if (columns > 1)
        ek_part_store(y + column, ek_part_add(a3, ek_part_sub(a1, a2)));
    if (rows > 1) {
        ek_part_store(y + row, ek_part_add(b0, ek_part_add(b1, b2)));
        if (columns > 1)
            ek_part_store(y + row + column, ek_part_add(b3, ek_part_sub(b1, b2)));
    }
}

#endif
