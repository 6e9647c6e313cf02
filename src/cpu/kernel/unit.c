/* SPDX-License-Identifier: MIT
 *
 * Units (normalise, activate, pool) on a block of sixteen samples, in one pass over memory forward and two backward:
 * one for the sums, one for dx, with what crosses samples (statistics, sums) computed in between.
 *
 * Each function's text takes what of the unit is common as constants; FOR_SHAPES chooses the instance.
 */
#include "cpu/kernel/activation.h"
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

/* What a pass takes as constants. */
typedef struct shape {
    ek_activation activation;
    int pool;
    bool maximum;
    float negative_slope;
} shape;

EK_INLINE size_t place(const ek_unit *u, int h, int w)
{
    return ((size_t)h * (size_t)u->w + (size_t)w) * EK_LANES;
}

/* Calls PASS(shape) with constants for the windows that are common, and with the unit's own numbers for others; then
 * the same for the activations that are common. The rest share two instances, which look up the activation for each
 * sixteen values: beside what these compute it does not count. */
#define FOR_POOLS(PASS, u, f)                                                                                        \
    do {                                                                                                             \
        if ((u)->pool == 1)                                                                                          \
            PASS(((shape){f, 1, false, 0}));                                                                         \
        else if ((u)->pool == 2 && !(u)->maximum)                                                                    \
            PASS(((shape){f, 2, false, 0}));                                                                         \
        else if ((u)->pool == 2)                                                                                     \
            PASS(((shape){f, 2, true, 0}));                                                                          \
        else                                                                                                         \
            PASS(((shape){f, (u)->pool, (u)->maximum, 0}));                                                          \
    } while (0)
#define FOR_SHAPES(PASS, u)                                                                                          \
    do {                                                                                                             \
        if ((u)->activation == EK_SIGMOID)                                                                           \
            FOR_POOLS(PASS, u, EK_SIGMOID);                                                                          \
        else if ((u)->activation == EK_RELU)                                                                         \
            FOR_POOLS(PASS, u, EK_RELU);                                                                             \
        else if ((u)->activation == EK_IDENTITY)                                                                     \
            FOR_POOLS(PASS, u, EK_IDENTITY);                                                                         \
        else if ((u)->pool == 1)                                                                                     \
            PASS(((shape){(u)->activation, 1, false, (u)->negative_slope}));                                         \
        else                                                                                                         \
            PASS(((shape){(u)->activation, (u)->pool, (u)->maximum, (u)->negative_slope}));                          \
    } while (0)

/* ---- Forward ---- */

EK_INLINE void forward_plane(const bool norm, const shape s, const ek_unit *u, const ek_norm_channel *n,
                             const float *x, float *activated, float *y)
{
    channel c = {ek_zero(), ek_zero(), ek_zero(), ek_zero()};
    if (norm)
        c = (channel){ek_set(n->mean), ek_set(n->mean_low), ek_set(n->scale), ek_set(n->shift)};
    const ek_v16 share = ek_set((float)(s.pool * s.pool));
    for (int p = 0; p < u->h; p += s.pool) {
        for (int q = 0; q < u->w; q += s.pool, y += EK_LANES) {
            ek_v16 pooled = ek_zero();
            for (int i = 0; i < s.pool; i++) {
                for (int j = 0; j < s.pool; j++) {
                    const size_t at = place(u, p + i, q + j);
                    ek_v16 z = ek_load(x + at);
                    if (norm)
                        z = ek_fma(centred(z, c.mean, c.mean_low), c.scale, c.shift);
                    const ek_v16 a = ek_activate(s.activation, s.negative_slope, z);
                    if (activated)
                        ek_store(activated + at, a);
                    pooled = i + j == 0 ? a : s.maximum ? ek_larger(a, pooled) : ek_add(pooled, a);
                }
            }
            /* For pool 2 the division is a multiplication by 0.25, exactly. */
            if (s.pool > 1 && !s.maximum)
                pooled = s.pool == 2 ? ek_mul(pooled, ek_set(0.25f)) : ek_div(pooled, share);
            ek_store(y, pooled);
        }
    }
}

static void unit_forward(const ek_unit *u, const ek_norm_channel *norm, const float *x, float *activated, float *y)
{
    const size_t x_plane = (size_t)u->h * (size_t)u->w * EK_LANES;
    const size_t y_plane = x_plane / (size_t)(u->pool * u->pool);
    for (int c = 0; c < u->c; c++, x += x_plane, y += y_plane) {
        const ek_norm_channel *n = u->norm ? norm + c : NULL;
        float *a = activated ? activated + (size_t)c * x_plane : NULL;
#define WITH_NORM(s) forward_plane(true, s, u, n, x, a, y)
#define WITHOUT_NORM(s) forward_plane(false, s, u, n, x, a, y)
        if (u->norm)
            FOR_SHAPES(WITH_NORM, u);
        else
            FOR_SHAPES(WITHOUT_NORM, u);
#undef WITH_NORM
#undef WITHOUT_NORM
    }
}

/* ---- Backward ---- */

/* Both passes of backward read what lies in the last-level cache at best, rows of several streams; a row is often less
 * than half a page, and processors' own prefetching starts anew with each page. A window's height ahead. */
EK_INLINE void fetch_ahead(const float *x, size_t at, const int pool, int w)
{
    __builtin_prefetch(x + at + (size_t)pool * (size_t)w * EK_LANES);
}

/* Where backward has the activation from: the plane that forward kept of it or, where it does not go by its output,
 * the plane of x again, with a norm through `norm`. */
typedef struct source {
    const float *x, *activated;
    bool norm;
    channel c;
} source;

EK_INLINE source source_of(const bool norm, const ek_norm_gradient *n, const float *x, const float *activated)
{
    source from = {x, activated, norm, {ek_zero(), ek_zero(), ek_zero(), ek_zero()}};
    if (norm)
        from.c = (channel){ek_set(n->mean), ek_set(n->mean_low), ek_set(n->scale), ek_set(n->shift)};
    return from;
}

/* What ek_activation_gradient goes by: a, or z. */
EK_INLINE ek_v16 known_at(const shape s, const source *from, size_t at)
{
    if (ek_activation_by_output(s.activation))
        return ek_load(from->activated + at);
    const ek_v16 x = ek_load(from->x + at);
    return from->norm ? ek_fma(centred(x, from->c.mean, from->c.mean_low), from->c.scale, from->c.shift) : x;
}

EK_INLINE ek_v16 activated_of(const shape s, ek_v16 known)
{
    return ek_activation_by_output(s.activation) ? known : ek_activate(s.activation, s.negative_slope, known);
}

/* What backward knows of one window: da, the share of each position in an average, or what is left of dy for the
 * positions of a maximum that are still to come. */
typedef struct window {
    ek_v16 da, maximum;
} window;

EK_INLINE window window_of(const shape s, const ek_unit *u, int p, int q, const source *from, const float *dy)
{
    window at = {ek_load(dy), ek_zero()};
    if (s.maximum) {
        for (int i = 0; i < s.pool; i++)
            for (int j = 0; j < s.pool; j++) {
                const ek_v16 a = activated_of(s, known_at(s, from, place(u, p + i, q + j)));
                at.maximum = i + j == 0 ? a : ek_larger(a, at.maximum);
            }
    } else if (s.pool > 1) {
        at.da = s.pool == 2 ? ek_mul(at.da, ek_set(0.25f)) : ek_div(at.da, ek_set((float)(s.pool * s.pool)));
    }
    return at;
}

/* dz of the window's next position, in row order. */
EK_INLINE ek_v16 dz_at(const shape s, const source *from, size_t at, window *in)
{
    if (s.activation == EK_IDENTITY)
        return in->da;
    const ek_v16 known = known_at(s, from, at);
    const ek_v16 da = s.maximum ? ek_take_at_maximum(in->maximum, activated_of(s, known), &in->da) : in->da;
    return ek_activation_gradient(s.activation, s.negative_slope, known, da);
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
EK_INLINE void sums_plane(const shape s, const ek_unit *u, const ek_norm_gradient *n, const float *x,
                          const float *activated, const float *dy, int live, ek_norm_sums *sums)
{
    const source from = source_of(true, n, x, activated);
    const bool keeps = s.activation != EK_IDENTITY && ek_activation_by_output(s.activation);
    ek_v16 total = ek_zero(), total_x = ek_zero();
    for (int p = 0; p < u->h; p += s.pool) {
        ek_v16 row = ek_zero(), row_x = ek_zero();
        for (int q = 0; q < u->w; q += s.pool, dy += EK_LANES) {
            window in = window_of(s, u, p, q, &from, dy);
            for (int i = 0; i < s.pool; i++) {
                for (int j = 0; j < s.pool; j++) {
                    const size_t at = place(u, p + i, q + j);
                    fetch_ahead(x, at, s.pool, u->w);
                    if (keeps)
                        fetch_ahead(activated, at, s.pool, u->w);
                    const ek_v16 dz = dz_at(s, &from, at, &in);
                    row = ek_add(row, dz);
                    row_x = ek_fma(dz, centred(ek_load(x + at), from.c.mean, from.c.mean_low), row_x);
                }
            }
        }
        total = ek_add(total, row);
        total_x = ek_add(total_x, row_x);
    }
    *sums = (ek_norm_sums){sum_live(total, live), sum_live(total_x, live)};
}

static void unit_sums(const ek_unit *u, const ek_norm_gradient *norm, const float *x, const float *activated,
                      const float *dy, int live, ek_norm_sums *sums)
{
    const size_t x_plane = (size_t)u->h * (size_t)u->w * EK_LANES;
    const size_t y_plane = x_plane / (size_t)(u->pool * u->pool);
    for (int c = 0; c < u->c; c++, x += x_plane, dy += y_plane) {
        const float *a = activated ? activated + (size_t)c * x_plane : NULL;
#define SUMS(s) sums_plane(s, u, norm + c, x, a, dy, live, sums + c)
        FOR_SHAPES(SUMS, u);
#undef SUMS
    }
}

EK_INLINE void backward_plane(const bool norm, const shape s, const ek_unit *u, const ek_norm_gradient *n,
                              const float *x, const float *activated, const float *dy, ek_v16 alive, float *dx)
{
    const source from = source_of(norm, n, x, activated);
    const bool keeps = s.activation != EK_IDENTITY && ek_activation_by_output(s.activation);
    ek_v16 scale = ek_zero(), offset = ek_zero(), slope = ek_zero();
    if (norm) {
        scale = ek_mul(ek_set(n->scale), alive);
        offset = ek_mul(ek_set(n->offset), alive);
        slope = ek_mul(ek_set(n->slope), alive);
    }
    for (int p = 0; p < u->h; p += s.pool) {
        for (int q = 0; q < u->w; q += s.pool, dy += EK_LANES) {
            window in = window_of(s, u, p, q, &from, dy);
            for (int i = 0; i < s.pool; i++) {
                for (int j = 0; j < s.pool; j++) {
                    const size_t at = place(u, p + i, q + j);
                    if (norm)
                        fetch_ahead(x, at, s.pool, u->w);
                    if (keeps)
                        fetch_ahead(activated, at, s.pool, u->w);
                    ek_v16 d = dz_at(s, &from, at, &in);
                    if (norm)
                        d = ek_fnma(slope, centred(ek_load(x + at), from.c.mean, from.c.mean_low),
                                    ek_sub(ek_mul(scale, d), offset));
                    ek_store(dx + at, d);
                }
            }
        }
    }
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
    for (int c = 0; c < u->c; c++, dy += y_plane, dx += x_plane) {
        const ek_norm_gradient *n = u->norm ? norm + c : NULL;
        const float *xc = x ? x + (size_t)c * x_plane : NULL;
        const float *a = activated ? activated + (size_t)c * x_plane : NULL;
#define WITH_NORM(s) backward_plane(true, s, u, n, xc, a, dy, alive, dx)
#define WITHOUT_NORM(s) backward_plane(false, s, u, n, xc, a, dy, alive, dx)
        if (u->norm)
            FOR_SHAPES(WITH_NORM, u);
        else
            FOR_SHAPES(WITHOUT_NORM, u);
#undef WITH_NORM
#undef WITHOUT_NORM
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
