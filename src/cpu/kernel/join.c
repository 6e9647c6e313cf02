/* SPDX-License-Identifier: MIT
 *
 * Residual sums on a block of sixteen samples: normalise, add the shortcut, activate, in one pass over memory; backward
 * the gradient of what was added, with the norm's sums where there is one. Then the rest that adds gradients.
 */
#include "cpu/kernel/activation.h"
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"

/* Calls PASS with each activation that goes by its output as a constant. */
#define FOR_ACTIVATIONS(PASS, activation)                                                                            \
    do {                                                                                                             \
        if ((activation) == EK_SIGMOID)                                                                              \
            PASS(EK_SIGMOID);                                                                                        \
        else if ((activation) == EK_RELU)                                                                            \
            PASS(EK_RELU);                                                                                           \
        else if ((activation) == EK_LEAKY_RELU)                                                                      \
            PASS(EK_LEAKY_RELU);                                                                                     \
        else if ((activation) == EK_TANH)                                                                            \
            PASS(EK_TANH);                                                                                           \
        else                                                                                                         \
            PASS(EK_IDENTITY);                                                                                       \
    } while (0)

/* ---- Forward ---- */

/* One channel. r: its plane of the shortcut, NULL for zeros; r_row, r_column: floats from row to row and from column to
 * column of what is taken of it. */
EK_INLINE void forward_plane(const bool norm, const ek_activation activation, const ek_join *j,
                             const ek_norm_channel *n, const float *x, const float *r, size_t r_row, size_t r_column,
                             float *y)
{
    ek_v16 mean = ek_zero(), mean_low = ek_zero(), scale = ek_zero(), shift = ek_zero();
    if (norm) {
        mean = ek_set(n->mean);
        mean_low = ek_set(n->mean_low);
        scale = ek_set(n->scale);
        shift = ek_set(n->shift);
    }
    for (int h = 0; h < j->h; h++) {
        const float *in = r ? r + (size_t)h * r_row : NULL;
        for (int w = 0; w < j->w; w++, x += EK_LANES, y += EK_LANES) {
            ek_v16 z = ek_load(x);
            if (norm)
                z = ek_fma(ek_sub(ek_sub(z, mean), mean_low), scale, shift);
            if (in) {
                z = ek_add(z, ek_load(in));
                in += r_column;
            }
            ek_store(y, ek_activate(activation, j->negative_slope, z));
        }
    }
}

static void join_forward(const ek_join *j, const ek_norm_channel *norm, const float *x, const float *r, float *y)
{
    const size_t plane = (size_t)j->h * (size_t)j->w * EK_LANES;
    const size_t r_plane = (size_t)j->rh * (size_t)j->rw * EK_LANES;
    const size_t column = (size_t)j->stride * EK_LANES, row = column * (size_t)j->rw;
    for (int c = 0; c < j->c; c++, x += plane, y += plane) {
        const float *in = c < j->rc ? r + (size_t)c * r_plane : NULL;
        const ek_norm_channel *n = j->norm ? norm + c : NULL;
#define WITH_NORM(f) forward_plane(true, f, j, n, x, in, row, column, y)
#define WITHOUT_NORM(f) forward_plane(false, f, j, n, x, in, row, column, y)
        if (j->norm)
            FOR_ACTIVATIONS(WITH_NORM, j->activation);
        else
            FOR_ACTIVATIONS(WITHOUT_NORM, j->activation);
#undef WITH_NORM
#undef WITHOUT_NORM
    }
}

/* ---- Backward ---- */

/* The sum of the live lanes in double. */
static double sum_live(ek_v16 x, int live)
{
    if (live < EK_LANES) {
        float lanes[EK_LANES];
        ek_store(lanes, x);
        x = ek_load_part(lanes, live);
    }
    return ek_sum_double(x);
}

/* One channel. Sums run as a unit's do: a short chain of additions for each row, then one for the rows. */
EK_INLINE void sums_plane(const bool norm, const ek_activation activation, const bool two, const ek_join *j,
                          const ek_norm_gradient *n, const float *x, const float *y, const float *dy,
                          const float *more, int live, float *dz, ek_norm_sums *sums)
{
    ek_v16 mean = ek_zero(), mean_low = ek_zero(), total = ek_zero(), total_x = ek_zero();
    if (norm) {
        mean = ek_set(n->mean);
        mean_low = ek_set(n->mean_low);
    }
    size_t at = 0;
    for (int h = 0; h < j->h; h++) {
        ek_v16 row = ek_zero(), row_x = ek_zero();
        for (int w = 0; w < j->w; w++, at += EK_LANES) {
            ek_v16 d = ek_load(dy + at);
            if (two)
                d = ek_add(d, ek_load(more + at));
            if (activation != EK_IDENTITY)
                d = ek_activation_gradient(activation, j->negative_slope, ek_load(y + at), d);
            if (norm) {
                row = ek_add(row, d);
                row_x = ek_fma(d, ek_sub(ek_sub(ek_load(x + at), mean), mean_low), row_x);
            }
            ek_store(dz + at, d);
        }
        total = ek_add(total, row);
        total_x = ek_add(total_x, row_x);
    }
    if (norm)
        *sums = (ek_norm_sums){sum_live(total, live), sum_live(total_x, live)};
}

EK_INLINE void sums_of(const bool norm, const ek_activation activation, const ek_join *j, const ek_norm_gradient *n,
                       const float *x, const float *y, const float *dy, const float *more, int live, float *dz,
                       ek_norm_sums *sums)
{
    if (more)
        sums_plane(norm, activation, true, j, n, x, y, dy, more, live, dz, sums);
    else
        sums_plane(norm, activation, false, j, n, x, y, dy, more, live, dz, sums);
}

static void join_sums(const ek_join *j, const ek_norm_gradient *norm, const float *x, const float *y, const float *dy,
                      const float *more, int live, float *dz, ek_norm_sums *sums)
{
    const size_t plane = (size_t)j->h * (size_t)j->w * EK_LANES;
    for (int c = 0; c < j->c; c++, dy += plane, dz += plane) {
        const size_t begin = (size_t)c * plane;
        const float *xc = x ? x + begin : NULL, *yc = y ? y + begin : NULL, *mc = more ? more + begin : NULL;
        const ek_norm_gradient *n = j->norm ? norm + c : NULL;
        ek_norm_sums *s = j->norm ? sums + c : NULL;
#define WITH_NORM(f) sums_of(true, f, j, n, xc, yc, dy, mc, live, dz, s)
#define WITHOUT_NORM(f) sums_of(false, f, j, n, xc, yc, dy, mc, live, dz, s)
        if (j->norm)
            FOR_ACTIVATIONS(WITH_NORM, j->activation);
        else
            FOR_ACTIVATIONS(WITHOUT_NORM, j->activation);
#undef WITH_NORM
#undef WITHOUT_NORM
    }
}

static void shortcut_backward(const ek_join *j, const float *dz, float *dr)
{
    const size_t plane = (size_t)j->h * (size_t)j->w * EK_LANES;
    for (int c = 0; c < j->rc; c++, dz += plane) {
        for (int h = 0; h < j->rh; h++) {
            const float *row = dz + (size_t)(h / j->stride) * (size_t)j->w * EK_LANES;
            for (int w = 0; w < j->rw; w++, dr += EK_LANES) {
                const bool taken = h % j->stride == 0 && w % j->stride == 0;
                ek_store(dr, taken ? ek_load(row + (size_t)(w / j->stride) * EK_LANES) : ek_zero());
            }
        }
    }
}

static void add(size_t count, const float *a, const float *b, float *sum)
{
    for (size_t i = 0; i < count; i += EK_LANES)
        ek_store(sum + i, ek_add(ek_load(a + i), ek_load(b + i)));
}

void EK_KERNEL(fill_join)(ek_blocked_kernels *table);

void EK_KERNEL(fill_join)(ek_blocked_kernels *table)
{
    table->join_forward = join_forward;
    table->join_sums = join_sums;
    table->shortcut_backward = shortcut_backward;
    table->add = add;
}
