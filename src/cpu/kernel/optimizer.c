/* SPDX-License-Identifier: MIT
 * The optimisers' flat loops (op/optimizer.h): one pass over values, gradients and state, each element by itself. */
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"

/* Sixteen values, or the `live` last ones of an array. */
EK_INLINE ek_v16 take(const float *p, int live)
{
    return live == EK_LANES ? ek_load(p) : ek_load_part(p, live);
}
EK_INLINE void put(float *p, ek_v16 x, int live)
{
    if (live == EK_LANES)
        ek_store(p, x);
    else
        ek_store_part(p, x, live);
}

/* What of a step is the same for all values. */
typedef struct sgd_numbers {
    ek_v16 scale, decay, rate, momentum;
    bool nesterov;
} sgd_numbers;

EK_INLINE void sgd_values(const sgd_numbers *u, int live, const float *gradient, float *buffer, float *value)
{
    const ek_v16 v = take(value, live);
    ek_v16 g = ek_fma(u->decay, v, ek_mul(u->scale, take(gradient, live)));
    if (buffer) {
        const ek_v16 b = ek_fma(u->momentum, take(buffer, live), g);
        put(buffer, b, live);
        g = u->nesterov ? ek_fma(u->momentum, b, g) : b;
    }
    put(value, ek_fnma(u->rate, g, v), live);
}

static void sgd(size_t count, const ek_update *update, bool decays, float scale, const float *gradient, float *buffer,
                float *value)
{
    const sgd_numbers u = {ek_set(scale), ek_set(decays ? update->decay : 0), ek_set(update->rate),
                           ek_set(update->momentum), update->nesterov};
    size_t i = 0;
    for (; i + EK_LANES <= count; i += EK_LANES)
        sgd_values(&u, EK_LANES, gradient + i, buffer ? buffer + i : NULL, value + i);
    if (i < count)
        sgd_values(&u, (int)(count - i), gradient + i, buffer ? buffer + i : NULL, value + i);
}

typedef struct adam_numbers {
    ek_v16 scale, decay, shrink, rate, beta1, rest1, beta2, rest2, root, eps;
} adam_numbers;

EK_INLINE void adam_values(const adam_numbers *u, int live, const float *gradient, float *mean, float *square,
                           float *value)
{
    ek_v16 v = take(value, live);
    const ek_v16 g = ek_fma(u->decay, v, ek_mul(u->scale, take(gradient, live)));
    const ek_v16 m = ek_fma(u->beta1, take(mean, live), ek_mul(u->rest1, g));
    const ek_v16 s = ek_fma(u->beta2, take(square, live), ek_mul(ek_mul(u->rest2, g), g));
    put(mean, m, live);
    put(square, s, live);
    v = ek_fnma(u->shrink, v, v);
    put(value, ek_fnma(u->rate, ek_div(m, ek_fma(ek_sqrt(s), u->root, u->eps)), v), live);
}

static void adam(size_t count, const ek_update *update, bool decays, float scale, const float *gradient, float *mean,
                 float *square, float *value)
{
    const bool decoupled = update->kind == EK_ADAMW;
    const adam_numbers u = {.scale = ek_set(scale),
                            .decay = ek_set(decays && !decoupled ? update->decay : 0),
                            .shrink = ek_set(decays && decoupled ? update->decay : 0),
                            .rate = ek_set(update->rate),
                            .beta1 = ek_set(update->beta1),
                            .rest1 = ek_set(update->rest1),
                            .beta2 = ek_set(update->beta2),
                            .rest2 = ek_set(update->rest2),
                            .root = ek_set(update->root),
                            .eps = ek_set(update->eps)};
    size_t i = 0;
    for (; i + EK_LANES <= count; i += EK_LANES)
        adam_values(&u, EK_LANES, gradient + i, mean + i, square + i, value + i);
    if (i < count)
        adam_values(&u, (int)(count - i), gradient + i, mean + i, square + i, value + i);
}

/* A square of a float is exact in double, so that fused and plain sums are the same bits. */
static double sum_squares(size_t count, const float *x)
{
    double lanes[EK_LANES] = {0};
    size_t i = 0;
    for (; i + EK_LANES <= count; i += EK_LANES)
        for (size_t j = 0; j < EK_LANES; j++)
            lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t j = 0; i + j < count; j++)
        lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t width = EK_LANES / 2; width > 0; width /= 2)
        for (size_t j = 0; j < width; j++)
            lanes[j] += lanes[j + width];
    return lanes[0];
}

void EK_KERNEL(fill_optimizer)(ek_blocked_kernels *table);

void EK_KERNEL(fill_optimizer)(ek_blocked_kernels *table)
{
    table->sgd = sgd;
    table->adam = adam;
    table->sum_squares = sum_squares;
}
