/* SPDX-License-Identifier: MIT */
#include "op/reference.h"

#include "op/norm.h"

#include <math.h>
#include <string.h>

/* ---- Convolution -------------------------------------------------------------------------------------------- */

/* What meets in one product: an output, a tap of the kernel and the input below it, as indices of their arrays. */
typedef struct meeting {
    int64_t y, weight, x;
    int k;
} meeting;

/* Calls visit for each output and each tap inside the image. */
static inline void for_each_product(const ek_conv *g, int64_t n, void (*visit)(void *sums, meeting m), void *sums)
{
    for (int64_t y = 0; y < n * g->k * g->p * g->q; y++) {
        const int64_t sample = y / g->q / g->p / g->k;
        const int k = (int)(y / g->q / g->p % g->k), p = (int)(y / g->q % g->p), q = (int)(y % g->q);
        const int channels = g->c / g->groups, first = k / (g->k / g->groups) * channels;
        for (int c = 0; c < channels; c++)
            for (int r = 0; r < g->r; r++)
                for (int s = 0; s < g->s; s++) {
                    const int h = p * g->stride_h - g->padding_h + r * g->dilation_h;
                    const int w = q * g->stride_w - g->padding_w + s * g->dilation_w;
                    if (h < 0 || h >= g->h || w < 0 || w >= g->w)
                        continue;
                    visit(sums, (meeting){.y = y,
                                          .weight = (((int64_t)k * channels + c) * g->r + r) * g->s + s,
                                          .x = ((sample * g->c + first + c) * g->h + h) * g->w + w,
                                          .k = k});
                }
    }
}

typedef struct arrays {
    const double *weight, *x, *dy;
    double *out;
} arrays;

static void add_to_y(void *sums, meeting m)
{
    const arrays *a = sums;
    a->out[m.y] += a->weight[m.weight] * a->x[m.x];
}

static void add_to_dx(void *sums, meeting m)
{
    const arrays *a = sums;
    a->out[m.x] += a->weight[m.weight] * a->dy[m.y];
}

static void add_to_dweight(void *sums, meeting m)
{
    const arrays *a = sums;
    a->out[m.weight] += a->dy[m.y] * a->x[m.x];
}

void ek_reference_conv(const ek_conv *g, int64_t n, const double *weight, const double *bias, const double *x,
                       double *y)
{
    for (int64_t i = 0; i < n * g->k * g->p * g->q; i++)
        y[i] = bias ? bias[i / g->q / g->p % g->k] : 0;
    for_each_product(g, n, add_to_y, &(arrays){.weight = weight, .x = x, .out = y});
}

void ek_reference_conv_backward_data(const ek_conv *g, int64_t n, const double *weight, const double *dy, double *dx)
{
    memset(dx, 0, (size_t)(n * g->c * g->h * g->w) * sizeof *dx);
    for_each_product(g, n, add_to_dx, &(arrays){.weight = weight, .dy = dy, .out = dx});
}

void ek_reference_conv_backward_weight(const ek_conv *g, int64_t n, const double *x, const double *dy,
                                       double *dweight, double *dbias)
{
    memset(dweight, 0, (size_t)ek_conv_weights(g) * sizeof *dweight);
    for_each_product(g, n, add_to_dweight, &(arrays){.x = x, .dy = dy, .out = dweight});
    if (!dbias)
        return;
    memset(dbias, 0, (size_t)g->k * sizeof *dbias);
    for (int64_t i = 0; i < n * g->k * g->p * g->q; i++)
        dbias[i / g->q / g->p % g->k] += dy[i];
}

/* ---- Activations and pooling -------------------------------------------------------------------------------- */

/* The normal distribution up to z. */
static double normal_below(double z)
{
    return 0.5 * erfc(-z * sqrt(0.5));
}

/* 2u of EK_GELU_TANH, and 2*du/dz: (1 + tanh(u))/2 = 1/(1 + exp(-2u)). */
static double twice_u(double z)
{
    return 2 * sqrt(2 / acos(-1)) * (z + 0.044715 * z * z * z);
}

static double twice_du(double z)
{
    return 2 * sqrt(2 / acos(-1)) * (1 + 3 * 0.044715 * z * z);
}

double ek_reference_activation(ek_activation f, double negative_slope, double z)
{
    switch (f) {
    case EK_IDENTITY:
        break;
    case EK_SIGMOID:
        return 1 / (1 + exp(-z));
    case EK_RELU:
        return z < 0 ? 0 : z;
    case EK_LEAKY_RELU:
        return z > 0 ? z : negative_slope * z;
    case EK_TANH:
        return tanh(z);
    case EK_GELU:
        return z == -INFINITY ? -0.0 : z * normal_below(z);
    case EK_GELU_TANH:
        return z == -INFINITY ? -0.0 : z / (1 + exp(-twice_u(z)));
    }
    return z;
}

double ek_reference_activation_slope_by_output(ek_activation f, double negative_slope, double a)
{
    switch (f) {
    case EK_SIGMOID:
        return a * (1 - a);
    case EK_RELU:
        return a > 0;
    case EK_LEAKY_RELU:
        return a > 0 ? 1 : negative_slope;
    case EK_TANH:
        return 1 - a * a;
    case EK_IDENTITY:
    case EK_GELU:
    case EK_GELU_TANH:
        break;
    }
    return 1;
}

double ek_reference_activation_slope(ek_activation f, double negative_slope, double z)
{
    if (ek_activation_by_output(f))
        return ek_reference_activation_slope_by_output(f, negative_slope,
                                                       ek_reference_activation(f, negative_slope, z));
    if (isinf(z))
        return z > 0;
    if (f == EK_GELU)
        return normal_below(z) + z * exp(-z * z / 2) / sqrt(2 * acos(-1));
    const double s = 1 / (1 + exp(-twice_u(z)));
    return s + z * s * (1 - s) * twice_du(z);
}

/* A window inside the image, as rows h0..h1-1 and columns w0..w1-1 of a plane, and what its sum is divided by. */
typedef struct window {
    int64_t plane;
    int h0, h1, w0, w1;
    double count;
} window;

/* The window of output i of arrays [N,C,P,Q]. */
static window window_of(const ek_pool2d *g, int64_t i)
{
    window at = {.plane = i / g->q / g->p};
    ek_pool_window((int)(i / g->q % g->p), g->kernel_h, g->stride_h, g->padding_h, g->h, &at.h0, &at.h1);
    ek_pool_window((int)(i % g->q), g->kernel_w, g->stride_w, g->padding_w, g->w, &at.w0, &at.w1);
    at.count = g->inside ? (double)(at.h1 - at.h0) * (at.w1 - at.w0) : (double)g->kernel_h * g->kernel_w;
    return at;
}

static int64_t place(const ek_pool2d *g, const window *at, int h, int w)
{
    return (at->plane * g->h + h) * g->w + w;
}

/* Where the first of a window's largest values is; a NaN is larger than all. */
static int64_t first_largest(const ek_pool2d *g, const window *at, const double *x)
{
    int64_t largest = place(g, at, at->h0, at->w0);
    for (int h = at->h0; h < at->h1; h++)
        for (int w = at->w0; w < at->w1; w++) {
            const int64_t here = place(g, at, h, w);
            if (x[here] > x[largest] || (isnan(x[here]) && !isnan(x[largest])))
                largest = here;
        }
    return largest;
}

void ek_reference_pool(const ek_pool2d *g, int64_t n, const double *x, double *y)
{
    for (int64_t i = 0; i < n * g->c * g->p * g->q; i++) {
        const window at = window_of(g, i);
        double sum = 0;
        for (int h = at.h0; h < at.h1; h++)
            for (int w = at.w0; w < at.w1; w++)
                sum += x[place(g, &at, h, w)];
        y[i] = g->maximum ? x[first_largest(g, &at, x)] : sum / at.count;
    }
}

void ek_reference_pool_backward(const ek_pool2d *g, int64_t n, const double *x, const double *dy, double *dx)
{
    memset(dx, 0, (size_t)(n * g->c * g->h * g->w) * sizeof *dx);
    for (int64_t i = 0; i < n * g->c * g->p * g->q; i++) {
        const window at = window_of(g, i);
        if (g->maximum) {
            dx[first_largest(g, &at, x)] += dy[i];
            continue;
        }
        for (int h = at.h0; h < at.h1; h++)
            for (int w = at.w0; w < at.w1; w++)
                dx[place(g, &at, h, w)] += dy[i] / at.count;
    }
}

/* ---- Units -------------------------------------------------------------------------------------------------- */

static ek_pool2d pool_of(const ek_unit *u)
{
    return (ek_pool2d){.c = u->c,
                       .h = u->h,
                       .w = u->w,
                       .p = u->h / u->pool,
                       .q = u->w / u->pool,
                       .kernel_h = u->pool,
                       .kernel_w = u->pool,
                       .stride_h = u->pool,
                       .stride_w = u->pool,
                       .maximum = u->maximum};
}

static ek_shape shape_of(const ek_unit *u, int64_t n)
{
    return (ek_shape){.n = n, .c = u->c, .h = u->h, .w = u->w};
}

void ek_reference_unit(const ek_unit *u, int64_t n, const ek_reference_norm *norm, const double *x, double *a,
                       double *y)
{
    const int64_t count = n * u->c * u->h * u->w;
    const ek_pool2d pool = pool_of(u);
    if (u->norm)
        ek_reference_batch_norm(norm->normalize, shape_of(u, n), x, norm->gamma, norm->beta, norm->mean, norm->rstd,
                                a);
    else
        memcpy(a, x, (size_t)count * sizeof *a);
    for (int64_t i = 0; i < count; i++)
        a[i] = ek_reference_activation(u->activation, (double)u->negative_slope, a[i]);
    ek_reference_pool(&pool, n, a, y);
}

/* z of value i of x [N,C,H,W]. */
static double z_of(const ek_unit *u, const ek_reference_norm *norm, const double *x, int64_t i)
{
    const int64_t c = i / u->h / u->w % u->c;
    if (!u->norm)
        return x[i];
    const double centre = norm->normalize == EK_NORMALIZE_DEVIATION ? 0 : norm->mean[c];
    return (norm->gamma ? norm->gamma[c] : 1) * (x[i] - centre) * norm->rstd[c] + (norm->beta ? norm->beta[c] : 0);
}

void ek_reference_unit_backward(const ek_unit *u, int64_t n, const ek_reference_norm *norm, const double *x,
                                const double *a, const double *dy, double *dx, double *dgamma, double *dbeta)
{
    const int64_t count = n * u->c * u->h * u->w;
    const ek_pool2d pool = pool_of(u);
    ek_reference_pool_backward(&pool, n, a, dy, dx);
    const double leak = (double)u->negative_slope;
    for (int64_t i = 0; i < count; i++)
        dx[i] *= ek_activation_by_output(u->activation)
                     ? ek_reference_activation_slope_by_output(u->activation, leak, a[i])
                     : ek_reference_activation_slope(u->activation, leak, z_of(u, norm, x, i));
    /* The norm's backward reads a channel's gradients whole before it writes them: dx may be dz. */
    if (u->norm)
        ek_reference_batch_norm_backward(norm->normalize, norm->by_batch, shape_of(u, n), x, dx, norm->gamma,
                                         norm->mean, norm->rstd, dx, dgamma, dbeta);
}

/* ---- Softmax cross-entropy ---------------------------------------------------------------------------------- */

double ek_reference_smoothed_cross_entropy(int k, const double *logits, int label, double smoothing, double weight,
                                           double *dlogits)
{
    double largest = logits[0], target = 0;
    for (int i = 1; i < k; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    double sum = exp(logits[0] - largest);
    for (int i = 1; i < k; i++)
        sum += exp(logits[i] - largest);
    for (int i = 0; i < k; i++) {
        const double t = (1 - smoothing) * (i == label) + smoothing / k;
        target += t * logits[i];
        if (dlogits)
            dlogits[i] = (exp(logits[i] - largest) / sum - t) * weight;
    }
    return log(sum) + largest - target;
}

double ek_reference_cross_entropy(int k, const double *logits, int label, double weight, double *dlogits)
{
    return ek_reference_smoothed_cross_entropy(k, logits, label, 0, weight, dlogits);
}
