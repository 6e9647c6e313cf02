/* SPDX-License-Identifier: MIT
 * The lighter kernels on a block of sixteen samples: layer norm, softmax cross-entropy, bytes to floats, and sums of
 * blocks' shares. */
#include "cpu/kernel/blocked.h"
#include "cpu/kernel/name.h"
#include "cpu/kernel/simd.h"

#include <math.h>

/* ---- Layer norm: lanes are samples, so nothing crosses them ---- */

/* Each lane's centre in two floats, high + low: rounding the mean to one would shift the whole sample by up to
 * 2^-24*|mean|, which counts when the mean is 10^4 deviations. */
typedef struct centre {
    ek_v16 high, low;
} centre;

EK_INLINE ek_v16 centred(const float *x, int64_t i, centre c)
{
    return ek_sub(ek_sub(ek_load(x + (size_t)i * EK_LANES), c.high), c.low);
}

typedef enum term {
    TERM_VALUE,
    TERM_SQUARE,
} term;

/* Per lane: the sum over m values of x - centre, or of its square, in short chains. */
EK_INLINE ek_v16 lane_sum(const term what, int64_t m, const float *x, centre c)
{
    ek_v16 total = ek_zero();
    for (int64_t i = 0; i < m;) {
        ek_v16 chain = ek_zero();
        for (const int64_t end = i + 32 < m ? i + 32 : m; i < end; i++) {
            const ek_v16 d = centred(x, i, c);
            chain = what == TERM_SQUARE ? ek_fma(d, d, chain) : ek_add(chain, d);
        }
        total = ek_add(total, chain);
    }
    return total;
}

/* The mean whose nearest float, or nearly, is `high`. */
EK_INLINE centre centre_at(ek_v16 high, int64_t m, const float *x)
{
    const ek_v16 sum = lane_sum(TERM_VALUE, m, x, (centre){high, ek_zero()});
    return (centre){high, ek_div(sum, ek_set((float)m))};
}

/* sqrt is exact on every machine; a lane at a time, once per sample. A constant sample with eps 0 has nothing to
 * scale: 0, so that y is beta and not 0/0. A variance beyond float's range (values from about 1e19) becomes NaN,
 * which the loss shows, and not silently 0. */
static ek_v16 rstd_of(ek_v16 variance, float eps)
{
    float lanes[EK_LANES];
    ek_store(lanes, variance);
    for (int i = 0; i < EK_LANES; i++) {
        const double spread = (double)lanes[i] + (double)eps;
        lanes[i] = !isfinite(spread) ? NAN : spread == 0 ? 0.0f : (float)(1.0 / sqrt(spread));
    }
    return ek_load(lanes);
}

static void layer_norm_forward(int64_t m, float eps, const float *gamma, const float *beta, const float *x, float *y,
                               float *mean, float *rstd)
{
    const ek_v16 count = ek_set((float)m);
    const ek_v16 first = ek_div(lane_sum(TERM_VALUE, m, x, (centre){ek_zero(), ek_zero()}), count);
    const centre c = centre_at(first, m, x);
    const ek_v16 scale = rstd_of(ek_div(lane_sum(TERM_SQUARE, m, x, c), count), eps);
    ek_store(mean, ek_add(c.high, c.low));
    ek_store(rstd, scale);
    for (int64_t i = 0; i < m; i++) {
        ek_v16 xhat = ek_mul(centred(x, i, c), scale);
        if (gamma)
            xhat = ek_fma(xhat, ek_set(gamma[i]), beta ? ek_set(beta[i]) : ek_zero());
        ek_store(y + (size_t)i * EK_LANES, xhat);
    }
}

static void layer_norm_backward(int64_t m, const float *gamma, const float *mean, const float *rstd, const float *x,
                                const float *dy, float *dx, float *dgamma, float *dbeta)
{
    const ek_v16 count = ek_set((float)m), scale = ek_load(rstd);
    const centre c = centre_at(ek_load(mean), m, x);
    ek_v16 sum = ek_zero(), sum_x = ek_zero();
    for (int64_t i = 0; i < m;) {
        ek_v16 chain = ek_zero(), chain_x = ek_zero();
        for (const int64_t end = i + 32 < m ? i + 32 : m; i < end; i++) {
            const ek_v16 d = ek_load(dy + (size_t)i * EK_LANES), xhat = ek_mul(centred(x, i, c), scale);
            const ek_v16 g = gamma ? ek_mul(d, ek_set(gamma[i])) : d;
            chain = ek_add(chain, g);
            chain_x = ek_fma(g, xhat, chain_x);
            if (dgamma) {
                dgamma[i] = ek_sum(ek_mul(d, xhat));
                dbeta[i] = ek_sum(d);
            }
        }
        sum = ek_add(sum, chain);
        sum_x = ek_add(sum_x, chain_x);
    }
    const ek_v16 offset = ek_div(sum, count), slope = ek_div(sum_x, count);
    for (int64_t i = 0; i < m; i++) {
        const ek_v16 d = ek_load(dy + (size_t)i * EK_LANES), xhat = ek_mul(centred(x, i, c), scale);
        const ek_v16 g = gamma ? ek_mul(d, ek_set(gamma[i])) : d;
        ek_store(dx + (size_t)i * EK_LANES, ek_mul(scale, ek_fnma(slope, xhat, ek_sub(g, offset))));
    }
}

/* ---- Softmax cross-entropy ---- */

static void softmax_cross_entropy(int k, const float *logits, const uint8_t *labels, int live, float weight,
                                  float smoothing, double *loss, int *predicted, float *dlogits)
{
    ek_v16 largest = ek_load(logits);
    for (int i = 1; i < k; i++)
        largest = ek_max(largest, ek_load(logits + (size_t)i * EK_LANES));
    ek_v16 sum = ek_zero();
    for (int i = 0; i < k; i++)
        sum = ek_add(sum, ek_exp(ek_sub(ek_load(logits + (size_t)i * EK_LANES), largest)));
    float top[EK_LANES], sums[EK_LANES], lanes[EK_LANES];
    ek_store(top, largest);
    ek_store(sums, sum);
    for (int n = 0; n < live; n++) {
        int best = 0;
        while (best < k - 1 && logits[(size_t)best * EK_LANES + (size_t)n] != top[n])
            best++;
        predicted[n] = best;
        const float *z = logits + n;
        double target = (double)z[(size_t)labels[n] * EK_LANES];
        if (smoothing > 0) {
            double sum_z = 0;
            for (int i = 0; i < k; i++)
                sum_z += (double)z[(size_t)i * EK_LANES];
            target += (double)smoothing * (sum_z / k - target);
        }
        loss[n] = log((double)sums[n]) + (double)top[n] - target;
    }
    if (!dlogits)
        return;
    for (int n = 0; n < EK_LANES; n++)
        lanes[n] = n < live ? weight : 0.0f;
    const float other = smoothing / (float)k, own = 1.0f - smoothing + other;
    const ek_v16 alive = ek_load(lanes), share = ek_div(alive, sum);
    for (int i = 0; i < k; i++) {
        const size_t at = (size_t)i * EK_LANES;
        for (int n = 0; n < EK_LANES; n++)
            lanes[n] = n < live && labels[n] == i ? own : other;
        const ek_v16 e = ek_exp(ek_sub(ek_load(logits + at), largest));
        ek_store(dlogits + at, ek_fnma(alive, ek_load(lanes), ek_mul(e, share)));
    }
}

/* ---- Bytes to a block ---- */

/* Turns [16 images][16 bytes] into [16 bytes][16 images]: four rounds that each interleave row i with row i + 8. */
static void transpose_bytes(const uint8_t *const *images, int64_t at, uint8_t out[EK_LANES][EK_LANES])
{
    typedef uint8_t row __attribute__((vector_size(16)));
    row a[EK_LANES], b[EK_LANES];
    for (int i = 0; i < EK_LANES; i++)
        memcpy(&a[i], images[i] + at, sizeof a[i]);
#define INTERLEAVE_LOW                                                                                               \
    (row)                                                                                                            \
    {                                                                                                                \
        0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23                                                       \
    }
#define INTERLEAVE_HIGH                                                                                              \
    (row)                                                                                                            \
    {                                                                                                                \
        8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31                                                 \
    }
#if defined(__clang__)
#define SHUFFLE_LOW(x, y) __builtin_shufflevector(x, y, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define SHUFFLE_HIGH(x, y) __builtin_shufflevector(x, y, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#else
#define SHUFFLE_LOW(x, y) __builtin_shuffle(x, y, INTERLEAVE_LOW)
#define SHUFFLE_HIGH(x, y) __builtin_shuffle(x, y, INTERLEAVE_HIGH)
#endif
#pragma GCC unroll 4
    for (int round = 0; round < 4; round++) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            b[2 * i] = SHUFFLE_LOW(a[i], a[i + 8]);
            b[2 * i + 1] = SHUFFLE_HIGH(a[i], a[i + 8]);
        }
        memcpy(a, b, sizeof a);
    }
    memcpy(out, a, sizeof a);
}

EK_INLINE ek_v16 pixels(const bool normal, const uint8_t *bytes, float mean, float std)
{
    const ek_v16 x = ek_div(ek_bytes(bytes), ek_set(255.0f));
    return normal ? ek_div(ek_sub(x, ek_set(mean)), ek_set(std)) : x;
}

/* One channel of the sixteen images; what is not to be normalised is spared a second division. */
EK_INLINE void gather_plane(const bool normal, const uint8_t *const all[EK_LANES], int64_t size, float mean,
                            float std, float *x)
{
    uint8_t bytes[EK_LANES][EK_LANES];
    int64_t i = 0;
    for (; i + EK_LANES <= size; i += EK_LANES) {
        transpose_bytes(all, i, bytes);
        for (int j = 0; j < EK_LANES; j++)
            ek_store(x + (size_t)(i + j) * EK_LANES, pixels(normal, bytes[j], mean, std));
    }
    for (; i < size; i++) {
        for (int j = 0; j < EK_LANES; j++)
            bytes[0][j] = all[j][i];
        ek_store(x + (size_t)i * EK_LANES, pixels(normal, bytes[0], mean, std));
    }
}

static void gather(const uint8_t *const *images, int live, int64_t size, const ek_normal *normal, float *x)
{
    const int channels = normal ? normal->c : 1;
    const int64_t plane = size / channels;
    for (int c = 0; c < channels; c++) {
        const uint8_t *all[EK_LANES]; /* dead lanes repeat the first image */
        for (int i = 0; i < EK_LANES; i++)
            all[i] = images[i < live ? i : 0] + c * plane;
        float *to = x + (size_t)(c * plane) * EK_LANES;
        if (normal)
            gather_plane(true, all, plane, normal->mean[c], normal->std[c], to);
        else
            gather_plane(false, all, plane, 0, 1, to);
    }
}

/* Sixteen values of each sample at a time, turned by way of a square where there are fewer, or fewer samples. */
static void load(const float *values, int live, int64_t size, const ek_normal *normal, float *x)
{
    for (int64_t i = 0; i < size; i += EK_LANES) {
        const int64_t count = size - i < EK_LANES ? size - i : EK_LANES;
        if (live == EK_LANES && count == EK_LANES) {
            ek_transpose(values + i, (size_t)size, x + i * EK_LANES);
            continue;
        }
        float square[EK_LANES * EK_LANES] = {0}, turned[EK_LANES * EK_LANES];
        for (int n = 0; n < EK_LANES; n++) /* dead lanes repeat the first sample */
            memcpy(square + n * EK_LANES, values + (n < live ? n : 0) * size + i, (size_t)count * sizeof *square);
        ek_transpose(square, EK_LANES, turned);
        memcpy(x + i * EK_LANES, turned, (size_t)count * EK_LANES * sizeof *x);
    }
    for (int c = 0; normal && c < normal->c; c++, x += size / normal->c * EK_LANES)
        for (int64_t i = 0; i < size / normal->c; i++)
            ek_store(x + i * EK_LANES,
                     ek_div(ek_sub(ek_load(x + i * EK_LANES), ek_set(normal->mean[c])), ek_set(normal->std[c])));
}

/* ---- Flat loops ---- */

static void sum_parts(size_t count, int parts, size_t stride, const float *part, float *sum)
{
    size_t i = 0;
    for (; i + EK_LANES <= count; i += EK_LANES) {
        ek_v16 total = ek_load(part + i);
        for (int j = 1; j < parts; j++)
            total = ek_add(total, ek_load(part + (size_t)j * stride + i));
        ek_store(sum + i, total);
    }
    for (; i < count; i++) {
        float total = part[i];
        for (int j = 1; j < parts; j++)
            total += part[(size_t)j * stride + i];
        sum[i] = total;
    }
}

void EK_KERNEL(fill_layer)(ek_blocked_kernels *table);

void EK_KERNEL(fill_layer)(ek_blocked_kernels *table)
{
    table->layer_norm_forward = layer_norm_forward;
    table->layer_norm_backward = layer_norm_backward;
    table->softmax_cross_entropy = softmax_cross_entropy;
    table->gather = gather;
    table->load = load;
    table->sum_parts = sum_parts;
}
