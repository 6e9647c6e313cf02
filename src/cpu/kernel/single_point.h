/* SPDX-License-Identifier: MIT
 *
 * The micro-kernel of single samples: sums at T positions for N registers of output channels,
 *     acc[t][n] += broadcast(x[t][offset of the tap]) * weight[tap][n]        t < T, n < N
 * with T*N accumulators in registers over all taps. Each sum is one chain over the taps: its bits do not depend on T
 * and N. Instances are those of each file that includes this. */
#ifndef EK_CPU_KERNEL_SINGLE_POINT_H
#define EK_CPU_KERNEL_SINGLE_POINT_H

#include "cpu/kernel/simd.h"

enum { EK_POINTS = 8, EK_POINT_PARTS = 3 };

/* Positions at a time for so many registers of channels: 12 accumulators of 16 registers, where one of them is a weight
 * and one a value; as many as there are names for where there are 32. */
#if EK_PARTS == 1 || (defined(__aarch64__) && !defined(EK_GENERIC))
static const int ek_points_of[EK_POINT_PARTS + 1] = {0, 8, 8, 8};
#elif EK_PARTS == 2
static const int ek_points_of[EK_POINT_PARTS + 1] = {0, 8, 6, 4};
#else
static const int ek_points_of[EK_POINT_PARTS + 1] = {0, 8, 5, 4};
#endif

/* weight: N parts to begin with, then N for each tap. */
EK_INLINE void ek_points(const int T, const int N, int taps, const int32_t *offsets, const float *weight,
                         const float *const *x, float *const *y)
{
    /* clang-format off */
    const ek_part start0 = ek_part_load(weight);
    const ek_part start1 = N > 1 ? ek_part_load(weight + EK_PART) : start0;
    const ek_part start2 = N > 2 ? ek_part_load(weight + 2 * EK_PART) : start0;
#define BEGIN(t)                                                                                                     \
    ek_part s##t##0 = start0, s##t##1 = start1, s##t##2 = start2;                                                    \
    const float *x##t = T > t ? x[t] : NULL;
    BEGIN(0) BEGIN(1) BEGIN(2) BEGIN(3) BEGIN(4) BEGIN(5) BEGIN(6) BEGIN(7)
#undef BEGIN
#pragma GCC unroll 2
    for (int i = 0; i < taps; i++) {
        const ptrdiff_t at = offsets[i];
        weight += N * EK_PART;
        const ek_part w0 = ek_part_keep(ek_part_load(weight));
        const ek_part w1 = N > 1 ? ek_part_keep(ek_part_load(weight + EK_PART)) : w0;
        const ek_part w2 = N > 2 ? ek_part_keep(ek_part_load(weight + 2 * EK_PART)) : w0;
#define ROW(t)                                                                                                       \
    if (T > t) {                                                                                                     \
        const ek_part v = ek_part_keep(ek_part_set(x##t[at]));                                                       \
        s##t##0 = ek_part_fma(w0, v, s##t##0);                                                                       \
        if (N > 1) s##t##1 = ek_part_fma(w1, v, s##t##1);                                                            \
        if (N > 2) s##t##2 = ek_part_fma(w2, v, s##t##2);                                                            \
    }
        ROW(0) ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7)
#undef ROW
    }
#define END(t)                                                                                                       \
    if (T > t) {                                                                                                     \
        ek_part_store(y[t], s##t##0);                                                                                \
        if (N > 1) ek_part_store(y[t] + EK_PART, s##t##1);                                                           \
        if (N > 2) ek_part_store(y[t] + 2 * EK_PART, s##t##2);                                                       \
    }
    END(0) END(1) END(2) END(3) END(4) END(5) END(6) END(7)
#undef END
    /* clang-format on */
}

typedef void ek_points_function(int taps, const int32_t *offsets, const float *weight, const float *const *x,
                                float *const *y);

#define EK_POINTS_INSTANCE(T, N)                                                                                     \
    static void points_##T##_##N(int taps, const int32_t *offsets, const float *weight, const float *const *x,       \
                                 float *const *y)                                                                    \
    {                                                                                                                \
        ek_points(T, N, taps, offsets, weight, x, y);                                                                \
    }
#define EK_FOR_POINTS(M, N) M(1, N) M(2, N) M(3, N) M(4, N) M(5, N) M(6, N) M(7, N) M(8, N)
EK_FOR_POINTS(EK_POINTS_INSTANCE, 1)
EK_FOR_POINTS(EK_POINTS_INSTANCE, 2)
EK_FOR_POINTS(EK_POINTS_INSTANCE, 3)

#define EK_POINTS_NAME(T, N) points_##T##_##N,
/* clang-format off */
static ek_points_function *const ek_points_functions[EK_POINT_PARTS][EK_POINTS] = {
    {EK_FOR_POINTS(EK_POINTS_NAME, 1)}, {EK_FOR_POINTS(EK_POINTS_NAME, 2)}, {EK_FOR_POINTS(EK_POINTS_NAME, 3)}};
/* clang-format on */

#endif
