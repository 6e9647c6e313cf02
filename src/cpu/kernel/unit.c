/* SPDX-License-Identifier: MIT
 *
 * Units (normalise, activate, pool) on a block of sixteen samples, in one pass over memory forward and two backward:
 * one for the sums, one for dx, with what crosses samples (statistics, sums) computed in between.
 *
 * Each function's text takes the unit's shape as constants; the instances for them are chosen by the switch below it.
 */
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"

/* One channel's numbers of the norm in all lanes. */
typedef struct channel {
    ek_v16 mean, mean_low, scale, shift;
} channel;

EK_INLINE ek_v16 centred(ek_v16 x, ek_v16 mean, ek_v16 mean_low)
{
    return ek_sub(ek_sub(x, mean), mean_low);
}

EK_INLINE ek_v16 activate(const ek_activation activation, ek_v16 z)
{
    return activation == EK_SIGMOID ? ek_logistic(z) : z;
}

/* f'(z) by a = f(z), times da. */
EK_INLINE ek_v16 activation_gradient(const ek_activation activation, ek_v16 a, ek_v16 da)
{
    return activation == EK_SIGMOID ? ek_mul(da, ek_fnma(a, a, a)) : da;
}

/* ---- Forward ---- */

EK_INLINE void forward_plane(const bool norm, const ek_activation activation, const int pool, int h, int w,
                             const ek_norm_channel *n, const float *x, float *activated, float *y)
{
    channel c = {ek_zero(), ek_zero(), ek_zero(), ek_zero()};
    if (norm)
        c = (channel){ek_set(n->mean), ek_set(n->mean_low), ek_set(n->scale), ek_set(n->shift)};
    const ek_v16 share = ek_set((float)(pool * pool));
    for (int p = 0; p < h; p += pool) {
        for (int q = 0; q < w; q += pool, y += EK_LANES) {
            ek_v16 sum = ek_zero();
            for (int i = 0; i < pool; i++) {
                for (int j = 0; j < pool; j++) {
                    const size_t at = ((size_t)(p + i) * (size_t)w + (size_t)(q + j)) * EK_LANES;
                    ek_v16 z = ek_load(x + at);
                    if (norm)
                        z = ek_fma(centred(z, c.mean, c.mean_low), c.scale, c.shift);
                    const ek_v16 a = activate(activation, z);
                    if (activated)
                        ek_store(activated + at, a);
                    sum = i + j == 0 ? a : ek_add(sum, a);
                }
            }
            /* For pool 2 the division is a multiplication by 0.25, exactly. */
            ek_store(y, pool == 1 ? sum : pool == 2 ? ek_mul(sum, ek_set(0.25f)) : ek_div(sum, share));
        }
    }
}

EK_INLINE void forward_pool(const bool norm, const ek_activation activation, int pool, int h, int w,
                            const ek_norm_channel *n, const float *x, float *activated, float *y)
{
    if (pool == 1)
        forward_plane(norm, activation, 1, h, w, n, x, activated, y);
    else if (pool == 2)
        forward_plane(norm, activation, 2, h, w, n, x, activated, y);
    else
        forward_plane(norm, activation, pool, h, w, n, x, activated, y);
}

static void unit_forward(const ek_unit *u, const ek_norm_channel *norm, const float *x, float *activated, float *y)
{
    const size_t x_plane = (size_t)u->h * (size_t)u->w * EK_LANES;
    const size_t y_plane = x_plane / (size_t)(u->pool * u->pool);
    for (int c = 0; c < u->c; c++) {
        const float *xc = x + (size_t)c * x_plane;
        float *ac = activated ? activated + (size_t)c * x_plane : NULL, *yc = y + (size_t)c * y_plane;
        if (u->norm && u->activation == EK_SIGMOID)
            forward_pool(true, EK_SIGMOID, u->pool, u->h, u->w, norm + c, xc, ac, yc);
        else if (u->norm)
            forward_pool(true, EK_IDENTITY, u->pool, u->h, u->w, norm + c, xc, ac, yc);
        else if (u->activation == EK_SIGMOID)
            forward_pool(false, EK_SIGMOID, u->pool, u->h, u->w, NULL, xc, ac, yc);
        else
            forward_pool(false, EK_IDENTITY, u->pool, u->h, u->w, NULL, xc, ac, yc);
    }
}

/* ---- Backward ---- */

/* Both passes of backward read what lies in the last-level cache at best, rows of several streams; a row is often less
 * than half a page, and processors' own prefetching starts anew with each page. A window's height ahead. */
EK_INLINE void fetch_ahead(const float *x, size_t at, const int pool, int w)
{
    __builtin_prefetch(x + at + (size_t)pool * (size_t)w * EK_LANES);
}

EK_INLINE ek_v16 pool_gradient(const int pool, ek_v16 dy)
{
    if (pool == 1)
        return dy;
    return pool == 2 ? ek_mul(dy, ek_set(0.25f)) : ek_div(dy, ek_set((float)(pool * pool)));
}

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

/* Lane sums over a plane, a row at a time: a short chain of additions for each row, then one for the rows, so that
 * rounding grows with rows + columns. Kept in float while they are short, and in double from the lanes on. */
EK_INLINE void sums_plane(const ek_activation activation, const int pool, int h, int w, const ek_norm_gradient *n,
                          const float *x, const float *activated, const float *dy, int live, ek_norm_sums *sums)
{
    const ek_v16 mean = ek_set(n->mean), mean_low = ek_set(n->mean_low);
    ek_v16 total = ek_zero(), total_x = ek_zero();
    for (int p = 0; p < h; p += pool) {
        ek_v16 row = ek_zero(), row_x = ek_zero();
        for (int q = 0; q < w; q += pool, dy += EK_LANES) {
            const ek_v16 da = pool_gradient(pool, ek_load(dy));
            for (int i = 0; i < pool; i++) {
                for (int j = 0; j < pool; j++) {
                    const size_t at = ((size_t)(p + i) * (size_t)w + (size_t)(q + j)) * EK_LANES;
                    fetch_ahead(x, at, pool, w);
                    if (activation != EK_IDENTITY)
                        fetch_ahead(activated, at, pool, w);
                    const ek_v16 a = activation == EK_IDENTITY ? da : ek_load(activated + at);
                    const ek_v16 dz = activation_gradient(activation, a, da);
                    row = ek_add(row, dz);
                    row_x = ek_fma(dz, centred(ek_load(x + at), mean, mean_low), row_x);
                }
            }
        }
        total = ek_add(total, row);
        total_x = ek_add(total_x, row_x);
    }
    *sums = (ek_norm_sums){sum_live(total, live), sum_live(total_x, live)};
}

EK_INLINE void sums_pool(const ek_activation activation, int pool, int h, int w, const ek_norm_gradient *n,
                         const float *x, const float *activated, const float *dy, int live, ek_norm_sums *sums)
{
    if (pool == 1)
        sums_plane(activation, 1, h, w, n, x, activated, dy, live, sums);
    else if (pool == 2)
        sums_plane(activation, 2, h, w, n, x, activated, dy, live, sums);
    else
        sums_plane(activation, pool, h, w, n, x, activated, dy, live, sums);
}

static void unit_sums(const ek_unit *u, const ek_norm_gradient *norm, const float *x, const float *activated,
                      const float *dy, int live, ek_norm_sums *sums)
{
    const size_t x_plane = (size_t)u->h * (size_t)u->w * EK_LANES;
    const size_t y_plane = x_plane / (size_t)(u->pool * u->pool);
    for (int c = 0; c < u->c; c++) {
        const float *xc = x + (size_t)c * x_plane, *dc = dy + (size_t)c * y_plane;
        if (u->activation == EK_SIGMOID)
            sums_pool(EK_SIGMOID, u->pool, u->h, u->w, norm + c, xc, activated + (size_t)c * x_plane, dc, live,
                      sums + c);
        else
            sums_pool(EK_IDENTITY, u->pool, u->h, u->w, norm + c, xc, NULL, dc, live, sums + c);
    }
}

EK_INLINE void backward_plane(const bool norm, const ek_activation activation, const int pool, int h, int w,
                              const ek_norm_gradient *n, const float *x, const float *activated, const float *dy,
                              ek_v16 alive, float *dx)
{
    ek_v16 mean = ek_zero(), mean_low = ek_zero(), scale = ek_zero(), offset = ek_zero(), slope = ek_zero();
    if (norm) {
        mean = ek_set(n->mean);
        mean_low = ek_set(n->mean_low);
        scale = ek_mul(ek_set(n->scale), alive);
        offset = ek_mul(ek_set(n->offset), alive);
        slope = ek_mul(ek_set(n->slope), alive);
    }
    for (int p = 0; p < h; p += pool) {
        for (int q = 0; q < w; q += pool, dy += EK_LANES) {
            const ek_v16 da = pool_gradient(pool, ek_load(dy));
            for (int i = 0; i < pool; i++) {
                for (int j = 0; j < pool; j++) {
                    const size_t at = ((size_t)(p + i) * (size_t)w + (size_t)(q + j)) * EK_LANES;
                    if (norm)
                        fetch_ahead(x, at, pool, w);
                    if (activation != EK_IDENTITY)
                        fetch_ahead(activated, at, pool, w);
                    const ek_v16 a = activation == EK_IDENTITY ? da : ek_load(activated + at);
                    ek_v16 d = activation_gradient(activation, a, da);
                    if (norm)
                        d = ek_fnma(slope, centred(ek_load(x + at), mean, mean_low),
                                    ek_sub(ek_mul(scale, d), offset));
                    ek_store(dx + at, d);
                }
            }
        }
    }
}

EK_INLINE void backward_pool(const bool norm, const ek_activation activation, int pool, int h, int w,
                             const ek_norm_gradient *n, const float *x, const float *activated, const float *dy,
                             ek_v16 alive, float *dx)
{
    if (pool == 1)
        backward_plane(norm, activation, 1, h, w, n, x, activated, dy, alive, dx);
    else if (pool == 2)
        backward_plane(norm, activation, 2, h, w, n, x, activated, dy, alive, dx);
    else
        backward_plane(norm, activation, pool, h, w, n, x, activated, dy, alive, dx);
}

static void unit_backward(const ek_unit *u, const ek_norm_gradient *norm, const float *x, const float *activated,
                          const float *dy, int live, float *dx)
{
    const size_t x_plane = (size_t)u->h * (size_t)u->w * EK_LANES;
    const size_t y_plane = x_plane / (size_t)(u->pool * u->pool);
    float lanes[EK_LANES];
    for (int i = 0; i < EK_LANES; i++)
        lanes[i] = i < live ? 1.0f : 0.0f;
    const ek_v16 alive = ek_load(lanes);
    for (int c = 0; c < u->c; c++) {
        const float *xc = x ? x + (size_t)c * x_plane : NULL, *dc = dy + (size_t)c * y_plane;
        const float *ac = activated ? activated + (size_t)c * x_plane : NULL;
        float *out = dx + (size_t)c * x_plane;
        if (u->norm && u->activation == EK_SIGMOID)
            backward_pool(true, EK_SIGMOID, u->pool, u->h, u->w, norm + c, xc, ac, dc, alive, out);
        else if (u->norm)
            backward_pool(true, EK_IDENTITY, u->pool, u->h, u->w, norm + c, xc, ac, dc, alive, out);
        else if (u->activation == EK_SIGMOID)
            backward_pool(false, EK_SIGMOID, u->pool, u->h, u->w, NULL, xc, ac, dc, alive, out);
        else
            backward_pool(false, EK_IDENTITY, u->pool, u->h, u->w, NULL, xc, ac, dc, alive, out);
    }
}

/* ---- Statistics ---- */

/* Each lane's sums over a plane of d = x - centre and, if `squares`, of d*d. A chain of additions ends every 32
 * positions and the chains' ends are added up, so that rounding grows with positions/32 + 32. */
EK_INLINE void lane_sums(const bool squares, const float *x, int positions, ek_v16 centre, ek_v16 *sum,
                         ek_v16 *square)
{
    *sum = *square = ek_zero();
    for (int i = 0; i < positions; i += 32) {
        const int end = i + 32 < positions ? i + 32 : positions;
        ek_v16 even = ek_zero(), odd = ek_zero(), even2 = ek_zero(), odd2 = ek_zero();
        int j = i;
        for (; j + 2 <= end; j += 2) {
            const ek_v16 a = ek_sub(ek_load(x + (size_t)j * EK_LANES), centre);
            const ek_v16 b = ek_sub(ek_load(x + ((size_t)j + 1) * EK_LANES), centre);
            even = ek_add(even, a);
            odd = ek_add(odd, b);
            if (squares) {
                even2 = ek_fma(a, a, even2);
                odd2 = ek_fma(b, b, odd2);
            }
        }
        if (j < end) {
            const ek_v16 a = ek_sub(ek_load(x + (size_t)j * EK_LANES), centre);
            even = ek_add(even, a);
            if (squares)
                even2 = ek_fma(a, a, even2);
        }
        *sum = ek_add(*sum, ek_add(even, odd));
        if (squares)
            *square = ek_add(*square, ek_add(even2, odd2));
    }
}

/* Two passes over a plane that the producer has just written. The first finds a centre, the block's mean to within
 * float rounding; the second sums d = x - centre and d*d, small numbers whatever the mean is:
 *   mean = centre + sum(d)/n    deviations = sum(d*d) - sum(d)^2/n
 * whose last term is of the order of rounding. Never E[x^2] - E[x]^2. */
static void channel_stats(int c, int hw, const float *x, int live, double *mean, double *deviations)
{
    const double n = (double)hw * live;
    for (int i = 0; i < c; i++, x += (size_t)hw * EK_LANES) {
        ek_v16 sum, square;
        lane_sums(false, x, hw, ek_zero(), &sum, &square);
        const float centre = (float)(sum_live(sum, live) / n);
        lane_sums(true, x, hw, ek_set(centre), &sum, &square);
        const double d = sum_live(sum, live);
        mean[i] = (double)centre + d / n;
        deviations[i] = sum_live(square, live) - d * d / n;
    }
}

void EK_KERNEL(fill_unit)(ek_blocked_kernels *table);

void EK_KERNEL(fill_unit)(ek_blocked_kernels *table)
{
    table->unit_forward = unit_forward;
    table->unit_sums = unit_sums;
    table->unit_backward = unit_backward;
    table->channel_stats = channel_stats;
}
