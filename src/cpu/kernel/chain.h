/* SPDX-License-Identifier: MIT
 * What the backward passes to weights share that have sixteen input channels in the lanes and sum over samples, one by
 * one: x turned so, and the products. Instances are those of each file that includes this. */
#ifndef EK_CPU_KERNEL_CHAIN_H
#define EK_CPU_KERNEL_CHAIN_H

#include "cpu/kernel/simd.h"

/* Positions whose products are summed, sixteen samples each. Strides in floats. */
typedef struct ek_run {
    bool add; /* to what stands in sums */
    int rows, columns;
    size_t dy_row, dy_channel;
    size_t x_row, x_position;
    size_t sums_channel;
} ek_run;

/* sums[t] (+)= the chain over the run's positions and samples of dy[t, sample] * x[sample, 16 channels]. */
EK_INLINE void ek_chain(const int T, const ek_run *n, const float *dy, const float *x, float *sums)
{
    /* clang-format off */
    ek_v16 t0, t1, t2, t3, t4, t5, t6, t7;
    t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = ek_zero();
    for (int p = 0; p < n->rows; p++) {
        const float *a = dy + (size_t)p * n->dy_row, *b = x + (size_t)p * n->x_row;
        for (int q = 0; q < n->columns; q++, a += EK_LANES, b += n->x_position) {
#pragma GCC unroll 2
            for (size_t i = 0; i < EK_LANES; i++) {
                const ek_v16 xi = ek_load(b + i * EK_LANES);
                t0 = ek_fma(ek_set(a[i]), xi, t0);
                if (T > 1) t1 = ek_fma(ek_set(a[n->dy_channel + i]), xi, t1);
                if (T > 2) t2 = ek_fma(ek_set(a[2 * n->dy_channel + i]), xi, t2);
                if (T > 3) t3 = ek_fma(ek_set(a[3 * n->dy_channel + i]), xi, t3);
                if (T > 4) t4 = ek_fma(ek_set(a[4 * n->dy_channel + i]), xi, t4);
                if (T > 5) t5 = ek_fma(ek_set(a[5 * n->dy_channel + i]), xi, t5);
                if (T > 6) t6 = ek_fma(ek_set(a[6 * n->dy_channel + i]), xi, t6);
                if (T > 7) t7 = ek_fma(ek_set(a[7 * n->dy_channel + i]), xi, t7);
            }
        }
    }
#define END(j)                                                                                                       \
    if (T > j) {                                                                                                     \
        float *sum = sums + j * n->sums_channel;                                                                     \
        ek_store(sum, n->add ? ek_add(ek_load(sum), t##j) : t##j);                                                   \
    }
    END(0)
    END(1)
    END(2)
    END(3)
    END(4)
    END(5)
    END(6)
    END(7)
#undef END
    /* clang-format on */
}

typedef void ek_chain_function(const ek_run *n, const float *dy, const float *x, float *sums);

#define EK_CHAIN(T, name)                                                                                            \
    static void name##_##T(const ek_run *n, const float *dy, const float *x, float *sums)                            \
    {                                                                                                                \
        ek_chain(T, n, dy, x, sums);                                                                                 \
    }
EK_FOR_TILES(EK_CHAIN, ek_chain)

#define EK_CHAIN_NAME(T, name) name##_##T,
static ek_chain_function *const ek_chains[EK_TILE] = {EK_FOR_TILES(EK_CHAIN_NAME, ek_chain)};

/* Sixteen channels, `plane` floats apart, of `positions` positions in a row: to [position][sample][channel]. Channels
 * from `live` on are zeros. */
EK_INLINE void ek_turn(const float *x, size_t plane, int live, size_t positions, float *to)
{
    for (size_t i = 0; i < positions; i++, x += EK_LANES, to += EK_LANES * EK_LANES) {
        if (live == EK_LANES) {
            ek_transpose(x, plane, to);
            continue;
        }
        memset(to, 0, EK_LANES * EK_LANES * sizeof *to);
        for (size_t c = 0; c < (size_t)live; c++)
            for (size_t n = 0; n < EK_LANES; n++)
                to[n * EK_LANES + c] = x[c * plane + n];
    }
}

#endif
