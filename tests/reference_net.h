/* SPDX-License-Identifier: MIT
 * A net computed by the scalar reference: forward, loss and backward in double, layer by layer, on plain arrays. What
 * programs are compared with. Include cmocka.h before. */
#ifndef EK_TESTS_REFERENCE_NET_H
#define EK_TESTS_REFERENCE_NET_H

#include "net/net.h"
#include "op/norm.h"
#include "op/reference.h"

#include <stdlib.h>
#include <string.h>

typedef struct reference_layer {
    double *y, *dx;                 /* [N, out], [N, in] */
    double *mean, *var, *rstd;      /* of what normalises: [C], or [N] of a layer norm */
    double *batch_mean, *batch_var; /* [C] of a batch norm: the batch's */
} reference_layer;

/* values and gradients have the layout of net->values. */
typedef struct reference_net {
    const ek_net *net;
    int64_t n;
    double *values, *gradients;
    reference_layer *layers;
    double *losses; /* of each sample; the loss is their mean */
} reference_net;

static inline double *reference_doubles(int64_t count)
{
    double *memory = calloc((size_t)count + 1, sizeof *memory);
    assert_non_null(memory);
    return memory;
}

/* For batches of up to n samples, with the net's tensors as they are now. The net must be finished. */
static inline reference_net reference_net_new(const ek_net *net, int64_t n)
{
    reference_net r = {.net = net, .n = n};
    r.values = reference_doubles((int64_t)net->value_count);
    r.gradients = reference_doubles((int64_t)net->value_count);
    r.losses = reference_doubles(n);
    r.layers = calloc((size_t)net->layer_count, sizeof *r.layers);
    assert_non_null(r.layers);
    for (size_t i = 0; i < net->value_count; i++)
        r.values[i] = (double)net->values[i];
    for (int i = 0; i < net->layer_count; i++) {
        const ek_layer *l = &net->layers[i];
        const int64_t channels = l->kind == EK_LAYER_LAYERNORM ? n : l->in.c;
        r.layers[i] = (reference_layer){.y = reference_doubles(n * ek_dims_count(l->out)),
                                        .dx = reference_doubles(n * ek_dims_count(l->in)),
                                        .mean = reference_doubles(channels),
                                        .var = reference_doubles(channels),
                                        .rstd = reference_doubles(channels),
                                        .batch_mean = reference_doubles(channels),
                                        .batch_var = reference_doubles(channels)};
    }
    return r;
}

static inline void reference_net_free(reference_net *r)
{
    for (int i = 0; i < r->net->layer_count; i++) {
        reference_layer *s = &r->layers[i];
        double *all[] = {s->y, s->dx, s->mean, s->var, s->rstd, s->batch_mean, s->batch_var};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            free(all[j]);
    }
    free(r->layers);
    free(r->values);
    free(r->gradients);
    free(r->losses);
}

/* Where a tensor's numbers are in an array with the layout of net->values; NULL where a layer has none. */
static inline double *reference_part(const reference_net *r, double *values, int tensor)
{
    return tensor < 0 ? NULL : values + (r->net->tensors[tensor].data - r->net->values);
}

static inline ek_conv reference_conv_of(const ek_layer *l)
{
    const bool conv = l->kind == EK_LAYER_CONV2D;
    return (ek_conv){.c = l->in.c,
                     .h = l->in.h,
                     .w = l->in.w,
                     .k = l->out.c,
                     .p = l->out.h,
                     .q = l->out.w,
                     .r = conv ? l->o.conv.kernel : 1,
                     .s = conv ? l->o.conv.kernel : 1,
                     .stride = conv ? l->o.conv.stride : 1,
                     .padding = conv ? l->o.conv.padding : 0};
}

static inline ek_pool2d reference_pool_of(const ek_layer *l)
{
    ek_pool2d g = {.c = l->in.c, .h = l->in.h, .w = l->in.w, .p = l->out.h, .q = l->out.w};
    const bool whole = l->kind == EK_LAYER_GLOBALAVGPOOL;
    g.kernel_h = whole ? g.h : l->o.pool.kernel;
    g.kernel_w = whole ? g.w : l->o.pool.kernel;
    g.stride_h = g.stride_w = whole ? 1 : l->o.pool.stride;
    g.padding_h = g.padding_w = whole ? 0 : l->o.pool.padding;
    g.maximum = l->kind == EK_LAYER_MAXPOOL2D;
    return g;
}

static inline ek_activation reference_activation_of(const ek_layer *l)
{
    return l->kind == EK_LAYER_RELU ? EK_RELU : EK_SIGMOID;
}

static inline ek_shape reference_shape(const ek_layer *l, int64_t n)
{
    return (ek_shape){.n = n, .c = l->in.c, .h = l->in.h, .w = l->in.w};
}

static inline bool reference_by_batch(const ek_layer *l, ek_mode mode)
{
    return ek_norm_by_batch(mode, l->o.batchnorm.tracking, l->o.batchnorm.use_moving);
}

static inline void reference_batchnorm(reference_net *r, int layer, ek_mode mode, const double *x)
{
    const ek_layer *l = &r->net->layers[layer];
    reference_layer *s = &r->layers[layer];
    ek_reference_batch_statistics(reference_shape(l, r->n), x, s->batch_mean, s->batch_var);
    const bool by_batch = reference_by_batch(l, mode);
    const double *mean = by_batch ? s->batch_mean : reference_part(r, r->values, l->moving_mean);
    const double *var = by_batch ? s->batch_var : reference_part(r, r->values, l->moving_var);
    for (int c = 0; c < l->in.c; c++) {
        s->mean[c] = mean[c];
        s->rstd[c] = ek_norm_rstd(var[c], (double)l->o.batchnorm.eps);
    }
    ek_reference_batch_norm(reference_shape(l, r->n), x, reference_part(r, r->values, l->weight),
                            reference_part(r, r->values, l->bias), s->mean, s->rstd, s->y);
}

/* All layers' outputs for x [N,C,H,W]; the last one's are the logits, which are returned. */
static inline const double *reference_forward(reference_net *r, ek_mode mode, const double *x)
{
    for (int i = 0; i < r->net->layer_count; i++) {
        const ek_layer *l = &r->net->layers[i];
        reference_layer *s = &r->layers[i];
        const ek_conv conv = reference_conv_of(l);
        const ek_pool2d pool = reference_pool_of(l);
        const double *weight = reference_part(r, r->values, l->weight), *bias = reference_part(r, r->values, l->bias);
        const int64_t count = r->n * ek_dims_count(l->in);
        switch (l->kind) {
        case EK_LAYER_CONV2D:
        case EK_LAYER_LINEAR:
            ek_reference_conv(&conv, r->n, weight, bias, x, s->y);
            break;
        case EK_LAYER_BATCHNORM:
            reference_batchnorm(r, i, mode, x);
            break;
        case EK_LAYER_LAYERNORM:
            ek_reference_layer_norm(reference_shape(l, r->n), x, weight, bias, (double)l->o.layernorm.eps, s->y,
                                    s->mean, s->rstd);
            break;
        case EK_LAYER_RELU:
        case EK_LAYER_SIGMOID:
            for (int64_t j = 0; j < count; j++)
                s->y[j] = ek_reference_activation(reference_activation_of(l), x[j]);
            break;
        case EK_LAYER_MAXPOOL2D:
        case EK_LAYER_AVGPOOL2D:
        case EK_LAYER_GLOBALAVGPOOL:
            ek_reference_pool(&pool, r->n, x, s->y);
            break;
        case EK_LAYER_FLATTEN:
            memcpy(s->y, x, (size_t)count * sizeof *x);
            break;
        }
        x = s->y;
    }
    return x;
}

/* The mean cross-entropy of a batch in training mode. */
static inline double reference_loss(reference_net *r, const double *x, const uint8_t *labels)
{
    const int k = ek_net_output(r->net).c;
    const double *logits = reference_forward(r, EK_TRAINING, x);
    double sum = 0;
    for (int64_t n = 0; n < r->n; n++)
        sum += r->losses[n] = ek_reference_cross_entropy(k, logits + n * k, labels[n], 1, NULL);
    return sum / (double)r->n;
}

/* After reference_forward of the same batch in training: every gradient, where that of the outputs is dlogits. */
static inline void reference_backward_from(reference_net *r, const double *x, const double *dlogits)
{
    const int last = r->net->layer_count - 1;
    for (int i = last; i >= 0; i--) {
        const ek_layer *l = &r->net->layers[i];
        reference_layer *s = &r->layers[i];
        const ek_conv conv = reference_conv_of(l);
        const ek_pool2d pool = reference_pool_of(l);
        const ek_shape shape = reference_shape(l, r->n);
        const double *in = i ? r->layers[i - 1].y : x, *dy = i < last ? r->layers[i + 1].dx : dlogits;
        const double *weight = reference_part(r, r->values, l->weight);
        double *dweight = reference_part(r, r->gradients, l->weight),
               *dbias = reference_part(r, r->gradients, l->bias);
        const int64_t count = r->n * ek_dims_count(l->in);
        switch (l->kind) {
        case EK_LAYER_CONV2D:
        case EK_LAYER_LINEAR:
            ek_reference_conv_backward_data(&conv, r->n, weight, dy, s->dx);
            ek_reference_conv_backward_weight(&conv, r->n, in, dy, dweight, dbias);
            break;
        case EK_LAYER_BATCHNORM:
            ek_reference_batch_norm_backward(reference_by_batch(l, EK_TRAINING), shape, in, dy, weight, s->mean,
                                             s->rstd, s->dx, dweight, dbias);
            break;
        case EK_LAYER_LAYERNORM:
            ek_reference_layer_norm_backward(shape, in, dy, weight, s->mean, s->rstd, s->dx, dweight, dbias);
            break;
        case EK_LAYER_RELU:
        case EK_LAYER_SIGMOID:
            for (int64_t j = 0; j < count; j++)
                s->dx[j] = dy[j] * ek_reference_activation_slope(reference_activation_of(l), in[j]);
            break;
        case EK_LAYER_MAXPOOL2D:
        case EK_LAYER_AVGPOOL2D:
        case EK_LAYER_GLOBALAVGPOOL:
            ek_reference_pool_backward(&pool, r->n, in, dy, s->dx);
            break;
        case EK_LAYER_FLATTEN:
            memcpy(s->dx, dy, (size_t)count * sizeof *dy);
            break;
        }
    }
}

/* After reference_loss of the same batch: every gradient. */
static inline void reference_backward(reference_net *r, const double *x, const uint8_t *labels)
{
    const int k = ek_net_output(r->net).c;
    const double *logits = r->layers[r->net->layer_count - 1].y;
    double *dlogits = reference_doubles(r->n * k);
    for (int64_t n = 0; n < r->n; n++)
        ek_reference_cross_entropy(k, logits + n * k, labels[n], 1 / (double)r->n, dlogits + n * k);
    reference_backward_from(r, x, dlogits);
    free(dlogits);
}

#endif
