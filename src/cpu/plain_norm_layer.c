/* SPDX-License-Identifier: MIT
 * Layer normalisation of plain arrays: the public functions. What they compute stands in op/norm.h. A sample is
 * one run of values, whatever its layout; it is read for its sums and, still in the cache, again for its map. */
#include "cpu/plain_norm.h"

#include "base/memory.h"
#include "cpu/dispatch.h"
#include "op/norm.h"

enum {
    ITEM = 1 << 14,  /* values of an item at least */
    GROUP = 32,      /* samples behind each of an item's sums for gamma and beta, at least */
    GROUPS = 64,     /* items at most */
    CACHED = 1 << 15 /* values of x that are gone through at a time, where that is more than a few samples */
};

typedef struct layer {
    const ek_plain_kernels *kernels;
    int64_t n, m;  /* samples, values of one */
    int64_t items; /* by the shape alone */
    double eps;
    bool stream;
    const float *x, *dy, *gamma, *beta;
    float *save_mean, *save_rstd;         /* forward writes them */
    const float *given_mean, *given_rstd; /* backward reads them */
    float *y;                             /* or dx, NULL when not wanted */
    ek_layer_map *maps;                   /* backward: one per sample */
    double *beta_part, *gamma_part;       /* backward: [items][m]; NULL when not wanted */
} layer;

static ek_status layer_init(layer *l, const char *name, ek_shape *shape, int *threads)
{
    *l = (layer){0};
    EK_TRY(ek_plain_check_shape(name, shape));
    EK_TRY(ek_plain_check_threads(name, threads));
    const ek_kernels *kernels = ek_kernels_get();
    if (!kernels)
        return EK_ERR_UNSUPPORTED;
    l->kernels = &kernels->plain;
    l->n = shape->n;
    l->m = shape->c * shape->h * shape->w;
    l->items = l->n / (GROUP > ITEM / l->m ? GROUP : ITEM / l->m);
    l->items = l->items < 1 ? 1 : l->items > GROUPS ? GROUPS : l->items;
    return EK_OK;
}

static int64_t item_start(const layer *l, int64_t i)
{
    return l->n / l->items * i + l->n % l->items * i / l->items;
}

/* `given`, or an array of `value` in *own, for ek_free. NULL without memory. */
static const float *array_or(const float *given, int64_t count, float value, float **own)
{
    if (given)
        return given;
    *own = ek_calloc((size_t)count, sizeof **own);
    for (int64_t i = 0; *own && i < count; i++)
        (*own)[i] = value;
    return *own;
}

/* The mean of 64 values from all over the sample; as for batch norm, a constant sample's is its constant. */
static float pivot_of(const float *x, int64_t m)
{
    double sum = 0;
    for (int64_t i = 0; i < 64; i++)
        sum += (double)x[m / 64 * i + m % 64 * i / 64];
    return (float)(sum / 64);
}

static void forward_item(const void *argument, int64_t item)
{
    const layer *l = argument;
    for (int64_t n = item_start(l, item); n < item_start(l, item + 1); n++) {
        const float *x = l->x + n * l->m, pivot = pivot_of(x, l->m);
        double sum = 0, square = 0, mean, var;
        l->kernels->plane_sums(x, 1, l->m, l->m, &pivot, &sum, &square);
        if (!ek_plain_moments((double)pivot, sum, square, (double)l->m, l->eps, &mean, &var))
            ek_plain_exact(x, 1, l->m, l->m, &mean, &var);
        const double rstd = ek_norm_rstd(var, l->eps), low = ((double)(float)mean - mean) * rstd;
        const ek_layer_map map = {.mean = (float)mean, .rstd = (float)rstd, .low = (float)low, .stream = l->stream};
        l->kernels->layer_apply(x, l->gamma, l->beta, l->m, &map, l->y + n * l->m);
        if (l->save_mean)
            l->save_mean[n] = (float)mean;
        if (l->save_rstd)
            l->save_rstd[n] = (float)rstd;
    }
}

ek_status ek_layer_norm_forward(ek_shape shape, const float *x, const float *gamma, const float *beta, float eps,
                                int threads, float *y, float *save_mean, float *save_rstd)
{
    static const char name[] = "layer_norm_forward";
    layer l;
    EK_TRY(layer_init(&l, name, &shape, &threads));
    EK_TRY(ek_plain_check_eps(name, eps));
    if (!x || !y)
        return ek_fail(EK_ERR_ARGUMENT, "%s: x and y must not be NULL", name);
    float *ones = NULL, *zeros = NULL;
    l.gamma = array_or(gamma, l.m, 1, &ones);
    l.beta = array_or(beta, l.m, 0, &zeros);
    l.eps = (double)eps;
    l.x = x;
    l.y = y;
    l.save_mean = save_mean;
    l.save_rstd = save_rstd;
    l.stream = y != x && ek_plain_streams(2, l.n * l.m * (int64_t)sizeof *x);
    ek_status status = l.gamma && l.beta ? ek_plain_share(threads, l.items, forward_item, &l) : EK_ERR_MEMORY;
    ek_free(ones);
    ek_free(zeros);
    return status;
}

/* What backward's map of a sample needs. save_mean is the mean rounded to a float; what it lost is sum(x -
 * save_mean)/m. */
static ek_layer_map gradient_map(const layer *l, int64_t n)
{
    const double m = (double)l->m, rstd = (double)l->given_rstd[n];
    double sums[3] = {0, 0, 0};
    l->kernels->layer_gradient_sums(l->x + n * l->m, l->dy + n * l->m, l->gamma, l->m, l->given_mean[n], sums);
    const double lost = sums[2] / m, slope = rstd * rstd * rstd * (sums[1] - lost * sums[0]) / m;
    return (ek_layer_map){.mean = l->given_mean[n],
                          .rstd = l->given_rstd[n],
                          .low = (float)(-lost * rstd),
                          .shift = (float)(slope * lost - rstd * sums[0] / m),
                          .slope = (float)slope,
                          .stream = l->stream};
}

/* A few samples at a time, so that they are read from memory once: their sums, their share of dgamma and dbeta, and
 * then dx, which may take dy's place. */
static void backward_item(const void *argument, int64_t item)
{
    const layer *l = argument;
    const int64_t end = item_start(l, item + 1), step = CACHED / l->m > 4 ? CACHED / l->m : 4;
    for (int64_t first = item_start(l, item); first < end; first += step) {
        const int64_t last = end - first > step ? first + step : end;
        for (int64_t n = first; n < last; n++)
            l->maps[n] = gradient_map(l, n);
        if (l->beta_part)
            l->kernels->layer_parameter_sums(l->x + first * l->m, l->dy + first * l->m, last - first, l->m,
                                             l->maps + first, l->beta_part + item * l->m,
                                             l->gamma_part + item * l->m);
        for (int64_t n = first; l->y && n < last; n++)
            l->kernels->layer_gradient(l->x + n * l->m, l->dy + n * l->m, l->gamma, l->m, &l->maps[n],
                                       l->y + n * l->m);
    }
}

/* The items' parts, added in order into the first. */
static void gather(const layer *l, double *part, float *sum)
{
    for (int64_t i = 1; i < l->items; i++)
        for (int64_t j = 0; j < l->m; j++)
            part[j] += part[i * l->m + j];
    for (int64_t j = 0; j < l->m; j++)
        sum[j] = (float)part[j];
}

ek_status ek_layer_norm_backward(ek_shape shape, const float *x, const float *dy, const float *gamma,
                                 const float *save_mean, const float *save_rstd, int threads, float *dx,
                                 float *dgamma, float *dbeta)
{
    static const char name[] = "layer_norm_backward";
    layer l;
    EK_TRY(layer_init(&l, name, &shape, &threads));
    if (!x || !dy || !save_mean || !save_rstd)
        return ek_fail(EK_ERR_ARGUMENT, "%s: x, dy, save_mean and save_rstd must not be NULL", name);
    const bool parameters = dgamma || dbeta;
    float *ones = NULL;
    l.gamma = array_or(gamma, l.m, 1, &ones);
    l.x = x;
    l.dy = dy;
    l.y = dx;
    l.given_mean = save_mean;
    l.given_rstd = save_rstd;
    l.stream = dx && dx != dy && dx != x && ek_plain_streams(3, l.n * l.m * (int64_t)sizeof *x);
    l.maps = ek_calloc((size_t)l.n, sizeof *l.maps);
    const size_t parts = ek_size_mul((size_t)l.items, (size_t)l.m);
    double *sums = parameters ? ek_calloc(ek_size_mul(parts, 2), sizeof *sums) : NULL;
    ek_status status = EK_ERR_MEMORY;
    if (l.gamma && l.maps && (sums || !parameters)) {
        l.beta_part = sums;
        l.gamma_part = sums ? sums + parts : NULL;
        status = ek_plain_share(threads, l.items, backward_item, &l);
    }
    if (!status && dbeta)
        gather(&l, l.beta_part, dbeta);
    if (!status && dgamma)
        gather(&l, l.gamma_part, dgamma);
    ek_free(sums);
    ek_free(l.maps);
    ek_free(ones);
    return status;
}
