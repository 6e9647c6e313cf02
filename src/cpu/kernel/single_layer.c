/* SPDX-License-Identifier: MIT
 * What stands between the linear maps of a single sample: norm, activation, pooling, residual sums, layer norm; and
 * what comes before the first of them and behind the last. A row at a time, in passes that find it in the first-level
 * cache. */
#include "cpu/kernel/activation.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"
#include "cpu/kernel/single.h"

#include <math.h>

/* ---- Rows --------------------------------------------------------------------------------------------------- */

EK_INLINE void activate_all(const ek_activation activation, float negative_slope, size_t count, const float *x,
                            float *y)
{
    size_t i = 0;
    for (; i + EK_LANES <= count; i += EK_LANES)
        ek_store(y + i, ek_activate(activation, negative_slope, ek_load(x + i)));
    const int rest = (int)(count - i);
    if (rest > 0)
        ek_store_part(y + i, ek_activate(activation, negative_slope, ek_load_part(x + i, rest)), rest);
}

static void activate(ek_activation activation, float negative_slope, size_t count, const float *x, float *y)
{
    switch (activation) {
    case EK_IDENTITY:
        if (x != y)
            memcpy(y, x, count * sizeof *y);
        break;
    case EK_SIGMOID:
        activate_all(EK_SIGMOID, 0, count, x, y);
        break;
    case EK_RELU:
        activate_all(EK_RELU, 0, count, x, y);
        break;
    case EK_LEAKY_RELU:
        activate_all(EK_LEAKY_RELU, negative_slope, count, x, y);
        break;
    case EK_TANH:
        activate_all(EK_TANH, 0, count, x, y);
        break;
    case EK_GELU:
        activate_all(EK_GELU, 0, count, x, y);
        break;
    case EK_GELU_TANH:
        activate_all(EK_GELU_TANH, 0, count, x, y);
        break;
    }
}

/* Registers of `channels` channels, in floats. */
static int whole_parts(int channels)
{
    return (channels + EK_PART - 1) / EK_PART * EK_PART;
}

/* Norm of `positions` positions side by side. */
static void norm_row(const ek_single_norm *n, int channels, int positions, ptrdiff_t column, const float *x, float *y)
{
    for (int i = 0; i < positions; i++, x += column, y += column) {
        for (int c = 0; c < channels; c += EK_PART) {
            const ek_part d = ek_part_sub(ek_part_load(x + c), ek_part_load(n->mean + c));
            const ek_part centred = ek_part_sub(d, ek_part_load(n->mean_low + c));
            ek_part_store(y + c, ek_part_fma(centred, ek_part_load(n->scale + c), ek_part_load(n->shift + c)));
        }
    }
}

/* ---- Units -------------------------------------------------------------------------------------------------- */

/* Windows of pool x pool in a band of rows, which lie one behind the other; summed up in row order. */
EK_INLINE void pool_band(const int pool, const bool maximum, int w, int channels, ptrdiff_t column, const float *band,
                         float *y)
{
    for (int q = 0; q < w; q += pool, band += pool * column, y += column) {
        for (int c = 0; c < channels; c += EK_PART) {
            ek_part pooled = ek_part_set(0.0f);
            for (int i = 0; i < pool; i++) {
                for (int j = 0; j < pool; j++) {
                    const ek_part a = ek_part_load(band + (i * w + j) * column + c);
                    pooled = i + j == 0 ? a
                             : maximum  ? ek_part_if_nan(a, ek_part_max(a, pooled))
                                        : ek_part_add(pooled, a);
                }
            }
            if (!maximum)
                pooled = pool == 2 ? ek_part_mul(pooled, ek_part_set(0.25f))
                                   : ek_part_div(pooled, ek_part_set((float)(pool * pool)));
            ek_part_store(y + c, pooled);
        }
    }
}

static void unit(const ek_unit *u, const ek_single_norm *norm, ek_single_channels x, float *scratch,
                 ek_single_channels y)
{
    const int channels = whole_parts(u->c);
    const size_t row = (size_t)u->w * (size_t)x.column;
    for (int h = 0; h < u->h; h++, x.at += x.row) {
        const int in_band = h % u->pool;
        float *to = u->pool == 1 ? y.at + h * y.row : scratch + (size_t)in_band * row;
        if (norm)
            norm_row(norm, channels, u->w, x.column, x.at, to);
        activate(u->activation, u->negative_slope, row, norm ? to : x.at, to);
        if (u->pool == 1 || in_band < u->pool - 1)
            continue;
        float *out = y.at + h / u->pool * y.row;
        if (u->pool == 2 && !u->maximum)
            pool_band(2, false, u->w, channels, x.column, scratch, out);
        else if (u->pool == 2)
            pool_band(2, true, u->w, channels, x.column, scratch, out);
        else
            pool_band(u->pool, u->maximum, u->w, channels, x.column, scratch, out);
    }
}

/* ---- Residual sums ------------------------------------------------------------------------------------------ */

/* Adds the shortcut's channels to a row of y. -0 changes no value, so it stands for channels that there are not. */
static void add_shortcut(const ek_join *j, const float *r, ptrdiff_t r_column, float *y, ptrdiff_t y_column)
{
    const int whole = j->rc / EK_PART * EK_PART, rest = j->rc - whole;
    for (int w = 0; w < j->w; w++, r += r_column, y += y_column) {
        for (int c = 0; c < whole; c += EK_PART)
            ek_part_store(y + c, ek_part_add(ek_part_load(y + c), ek_part_load(r + c)));
        if (rest > 0) {
            float lanes[EK_PART];
            for (int i = 0; i < EK_PART; i++)
                lanes[i] = i < rest ? r[whole + i] : -0.0f;
            ek_part_store(y + whole, ek_part_add(ek_part_load(y + whole), ek_part_load(lanes)));
        }
    }
}

/* A plain shortcut without norm: x + r over a row, activated. */
static void add_rows(size_t count, const float *x, const float *r, float *y)
{
    for (size_t i = 0; i < count; i += EK_PART)
        ek_part_store(y + i, ek_part_add(ek_part_load(x + i), ek_part_load(r + i)));
}

static void join(const ek_join *j, const ek_single_norm *norm, ek_single_channels x, ek_single_channels r,
                 ek_single_channels y)
{
    const size_t row = (size_t)j->w * (size_t)x.column;
    for (int h = 0; h < j->h; h++, x.at += x.row, r.at += j->stride * r.row, y.at += y.row) {
        if (!norm && ek_join_is_plain(j) && r.column == x.column) {
            add_rows(row, x.at, r.at, y.at);
        } else {
            if (norm)
                norm_row(norm, whole_parts(j->c), j->w, x.column, x.at, y.at);
            else if (x.at != y.at)
                memcpy(y.at, x.at, row * sizeof(float));
            add_shortcut(j, r.at, j->stride * r.column, y.at, y.column);
        }
        activate(j->activation, j->negative_slope, row, y.at, y.at);
    }
}

/* ---- Pooling ------------------------------------------------------------------------------------------------ */

/* One register of channels of one window; sums as those of blocks: a chain for each row, then one of the rows. */
EK_INLINE ek_part pool_window(const bool maximum, const float *x, ptrdiff_t row, ptrdiff_t column, int rows,
                              int columns)
{
    ek_part all = ek_part_load(x);
    for (int h = 0; h < rows; h++, x += row) {
        ek_part line = ek_part_load(x);
        if (maximum)
            all = ek_part_if_nan(line, ek_part_max(line, all));
        for (int w = 1; w < columns; w++) {
            const ek_part v = ek_part_load(x + w * column);
            if (maximum)
                all = ek_part_if_nan(v, ek_part_max(v, all));
            else
                line = ek_part_add(line, v);
        }
        if (!maximum)
            all = h == 0 ? line : ek_part_add(all, line);
    }
    return all;
}

static void pool(const ek_pool2d *g, ek_single_channels x, ek_single_channels y)
{
    for (int p = 0; p < g->p; p++) {
        for (int q = 0; q < g->q; q++) {
            int h0, h1, w0, w1;
            ek_pool_window(p, g->kernel_h, g->stride_h, g->padding_h, g->h, &h0, &h1);
            ek_pool_window(q, g->kernel_w, g->stride_w, g->padding_w, g->w, &w0, &w1);
            const float count =
                g->inside ? (float)(h1 - h0) * (float)(w1 - w0) : (float)g->kernel_h * (float)g->kernel_w;
            const float *from = x.at + h0 * x.row + w0 * x.column;
            float *to = y.at + p * y.row + q * y.column;
            for (int c = 0; c < g->c; c += EK_PART)
                if (g->maximum)
                    ek_part_store(to + c, pool_window(true, from + c, x.row, x.column, h1 - h0, w1 - w0));
                else
                    ek_part_store(to + c, ek_part_div(pool_window(false, from + c, x.row, x.column, h1 - h0, w1 - w0),
                                                      ek_part_set(count)));
        }
    }
}

/* ---- Layer norm --------------------------------------------------------------------------------------------- */

typedef struct centre {
    float high, low;
} centre;

enum { CHAIN = 32 };

/* The sum over the values of x - centre, or of its square: chains of 32 in order, then one of the chains, as the kernel
 * on blocks has it; sixteen chains at a time in the lanes. */
EK_INLINE float sum_chains(const bool square, int64_t m, const float *x, centre at)
{
    const ek_v16 high = ek_set(at.high), low = ek_set(at.low);
    float total = 0;
    int64_t i = 0;
    for (; i + CHAIN * EK_LANES <= m; i += CHAIN * EK_LANES) {
        float turned[EK_LANES * EK_LANES], ends[EK_LANES];
        ek_v16 chains = ek_zero();
        for (int half = 0; half < CHAIN; half += EK_LANES) {
            ek_transpose(x + i + half, CHAIN, turned);
            for (int j = 0; j < EK_LANES; j++) {
                const ek_v16 d = ek_sub(ek_sub(ek_load(turned + j * EK_LANES), high), low);
                chains = square ? ek_fma(d, d, chains) : ek_add(chains, d);
            }
        }
        ek_store(ends, chains);
        for (int j = 0; j < EK_LANES; j++)
            total += ends[j];
    }
    while (i < m) {
        /* One chain, in the first lane: ek_fma is then what it is above. */
        ek_v16 chain = ek_zero();
        for (const int64_t end = i + CHAIN < m ? i + CHAIN : m; i < end; i++) {
            const ek_v16 d = ek_sub(ek_sub(ek_set(x[i]), high), low);
            chain = square ? ek_fma(d, d, chain) : ek_add(chain, d);
        }
        float lanes[EK_LANES];
        ek_store(lanes, chain);
        total += lanes[0];
    }
    return total;
}

/* As layer.c has it: 0 for a constant sample with eps 0, NaN beyond float's range. */
static float rstd_of(float variance, float eps)
{
    const double spread = (double)variance + (double)eps;
    return !isfinite(spread) ? NAN : spread == 0 ? 0.0f : (float)(1.0 / sqrt(spread));
}

static void layer_norm(int64_t m, float eps, const float *gamma, const float *beta, const float *x, float *y)
{
    const float count = (float)m;
    centre c = {sum_chains(false, m, x, (centre){0, 0}) / count, 0};
    c.low = sum_chains(false, m, x, c) / count;
    const ek_v16 scale = ek_set(rstd_of(sum_chains(true, m, x, c) / count, eps));
    const ek_v16 high = ek_set(c.high), low = ek_set(c.low);
    for (int64_t i = 0; i < m; i += EK_LANES) {
        const int live = m - i < EK_LANES ? (int)(m - i) : EK_LANES;
        ek_v16 xhat = ek_mul(ek_sub(ek_sub(ek_load_part(x + i, live), high), low), scale);
        if (gamma)
            xhat = ek_fma(xhat, ek_load_part(gamma + i, live), beta ? ek_load_part(beta + i, live) : ek_zero());
        ek_store_part(y + i, xhat, live);
    }
}

/* ---- The input, and probabilities --------------------------------------------------------------------------- */

EK_INLINE ek_v16 normalised(const ek_normal *normal, int c, ek_v16 x)
{
    return normal ? ek_div(ek_sub(x, ek_set(normal->mean[c])), ek_set(normal->std[c])) : x;
}

static void bytes(const ek_normal *normal, int c, int count, const uint8_t *x, float *y)
{
    int i = 0;
    for (; i + EK_LANES <= count; i += EK_LANES)
        ek_store(y + i, normalised(normal, c, ek_div(ek_bytes(x + i), ek_set(255.0f))));
    if (i < count) {
        uint8_t lanes[EK_LANES] = {0};
        memcpy(lanes, x + i, (size_t)(count - i));
        ek_store_part(y + i, normalised(normal, c, ek_div(ek_bytes(lanes), ek_set(255.0f))), count - i);
    }
}

static void floats(const ek_normal *normal, int c, int count, const float *x, float *y)
{
    if (!normal) {
        memcpy(y, x, (size_t)count * sizeof *y);
        return;
    }
    int i = 0;
    for (; i + EK_LANES <= count; i += EK_LANES)
        ek_store(y + i, normalised(normal, c, ek_load(x + i)));
    if (i < count)
        ek_store_part(y + i, normalised(normal, c, ek_load_part(x + i, count - i)), count - i);
}

static void softmax(int k, const float *z, float *p)
{
    float largest = z[0];
    for (int i = 1; i < k; i++)
        largest = z[i] > largest ? z[i] : largest;
    double sum = 0;
    for (int i = 0; i < k; i += EK_LANES) {
        const int live = min(k - i, EK_LANES);
        ek_store_part(p + i, ek_exp(ek_sub(ek_load_part(z + i, live), ek_set(largest))), live);
        for (int j = i; j < i + live; j++)
            sum += (double)p[j];
    }
    for (int i = 0; i < k; i++)
        p[i] = (float)((double)p[i] / sum);
}

void EK_KERNEL(fill_single_layer)(ek_single_kernels *table);

void EK_KERNEL(fill_single_layer)(ek_single_kernels *table)
{
    table->unit = unit;
    table->activate = activate;
    table->join = join;
    table->pool = pool;
    table->layer_norm = layer_norm;
    table->bytes = bytes;
    table->floats = floats;
    table->softmax = softmax;
}
