/* SPDX-License-Identifier: MIT */
#include "op/reference.h"

#include "op/norm.h"

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
        for (int c = 0; c < g->c; c++)
            for (int r = 0; r < g->r; r++)
                for (int s = 0; s < g->s; s++) {
                    const int h = p * g->stride - g->padding + r, w = q * g->stride - g->padding + s;
                    if (h < 0 || h >= g->h || w < 0 || w >= g->w)
                        continue;
                    visit(sums, (meeting){.y = y,
                                          .weight = (((int64_t)k * g->c + c) * g->r + r) * g->s + s,
                                          .x = ((sample * g->c + c) * g->h + h) * g->w + w,
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

/* ---- Sigmoid and pooling ------------------------------------------------------------------------------------ */

double ek_reference_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

void ek_reference_avgpool(const ek_pool2d *g, int64_t n, const double *x, double *y)
{
    for (int64_t i = 0; i < n * g->c * g->p * g->q; i++) {
        const int64_t plane = i / g->q / g->p, p = i / g->q % g->p, q = i % g->q;
        double sum = 0;
        for (int64_t h = p * g->stride; h < p * g->stride + g->kernel; h++)
            for (int64_t w = q * g->stride; w < q * g->stride + g->kernel; w++)
                sum += x[(plane * g->h + h) * g->w + w];
        y[i] = sum / ((double)g->kernel * g->kernel);
    }
}

void ek_reference_avgpool_backward(const ek_pool2d *g, int64_t n, const double *dy, double *dx)
{
    memset(dx, 0, (size_t)(n * g->c * g->h * g->w) * sizeof *dx);
    for (int64_t i = 0; i < n * g->c * g->p * g->q; i++) {
        const int64_t plane = i / g->q / g->p, p = i / g->q % g->p, q = i % g->q;
        for (int64_t h = p * g->stride; h < p * g->stride + g->kernel; h++)
            for (int64_t w = q * g->stride; w < q * g->stride + g->kernel; w++)
                dx[(plane * g->h + h) * g->w + w] += dy[i] / ((double)g->kernel * g->kernel);
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
                       .kernel = u->pool,
                       .stride = u->pool};
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
        ek_reference_batch_norm(shape_of(u, n), x, norm->gamma, norm->beta, norm->mean, norm->rstd, a);
    else
        memcpy(a, x, (size_t)count * sizeof *a);
    for (int64_t i = 0; i < count && u->activation == EK_SIGMOID; i++)
        a[i] = ek_reference_sigmoid(a[i]);
    ek_reference_avgpool(&pool, n, a, y);
}

void ek_reference_unit_backward(const ek_unit *u, int64_t n, const ek_reference_norm *norm, const double *x,
                                const double *a, const double *dy, double *dx, double *dgamma, double *dbeta)
{
    const int64_t count = n * u->c * u->h * u->w;
    const ek_pool2d pool = pool_of(u);
    ek_reference_avgpool_backward(&pool, n, dy, dx);
    for (int64_t i = 0; i < count && u->activation == EK_SIGMOID; i++)
        dx[i] *= a[i] * (1 - a[i]);
    /* The norm's backward reads a channel's gradients whole before it writes them: dx may be dz. */
    if (u->norm)
        ek_reference_batch_norm_backward(norm->by_batch, shape_of(u, n), x, dx, norm->gamma, norm->mean, norm->rstd,
                                         dx, dgamma, dbeta);
}

/* ---- Softmax cross-entropy ---------------------------------------------------------------------------------- */

double ek_reference_cross_entropy(int k, const double *logits, int label, double weight, double *dlogits)
{
    double largest = logits[0], sum = 0;
    for (int i = 1; i < k; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    for (int i = 0; i < k; i++)
        sum += exp(logits[i] - largest);
    for (int i = 0; dlogits && i < k; i++)
        dlogits[i] = (exp(logits[i] - largest) / sum - (i == label)) * weight;
    return log(sum) + largest - logits[label];
}
