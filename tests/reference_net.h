/* SPDX-License-Identifier: MIT
 * A net computed by the scalar reference: forward, loss and backward in double, layer by layer, on plain arrays. What
 * programs are compared with. Include cmocka.h before. */
#ifndef EK_TESTS_REFERENCE_NET_H
#define EK_TESTS_REFERENCE_NET_H

#include "net/geometry.h"
#include "net/net.h"
#include "op/dropout.h"
#include "op/norm.h"
#include "op/reference.h"

#include <stdlib.h>
#include <string.h>

typedef struct reference_layer {
    double *y, *dy, *dx;            /* [N, out]; dy the sum over its readers; [N, in] */
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
    uint64_t seed;  /* of dropout, in epoch 0; samples are numbered */
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
                                        .dy = reference_doubles(n * ek_dims_count(l->out)),
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
        double *all[] = {s->y, s->dy, s->dx, s->mean, s->var, s->rstd, s->batch_mean, s->batch_var};
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

static inline ek_activation reference_activation_of(const ek_layer *l)
{
    switch (l->kind) {
    case EK_LAYER_RELU:
        return EK_RELU;
    case EK_LAYER_LEAKY_RELU:
        return EK_LEAKY_RELU;
    case EK_LAYER_SIGMOID:
        return EK_SIGMOID;
    case EK_LAYER_TANH:
        return EK_TANH;
    case EK_LAYER_GELU:
        return l->o.gelu.by_tanh ? EK_GELU_TANH : EK_GELU;
    default:
        return EK_IDENTITY;
    }
}

static inline double reference_negative_slope(const ek_layer *l)
{
    return l->kind == EK_LAYER_LEAKY_RELU ? (double)l->o.leaky_relu.negative_slope : 0;
}

/* What dropout multiplies value i of a batch with. */
static inline double reference_factor(const reference_net *r, int layer, ek_mode mode, int64_t i)
{
    const ek_layer *l = &r->net->layers[layer];
    const ek_dropout d = {.p = l->o.dropout.p, .layer = layer};
    const int64_t size = ek_dims_count(l->in);
    return mode == EK_TRAINING ? ek_reference_dropout(&d, r->seed, 0, (uint32_t)(i / size), i % size) : 1;
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
        s->rstd[c] = ek_norm_factor(l->o.batchnorm.normalize, var[c], (double)l->o.batchnorm.eps);
    }
    ek_reference_batch_norm(l->o.batchnorm.normalize, reference_shape(l, r->n), x,
                            reference_part(r, r->values, l->weight), reference_part(r, r->values, l->bias), s->mean,
                            s->rstd, s->y);
}

/* ---- Blocks: the ends of their parts, copied and added channel by channel ---- */

/* The layer at whose output part `part` of a block ends; the block's own input where it is empty. */
static inline int reference_part_end(const ek_net *net, int block, int part)
{
    int end = net->layers[block].from;
    for (int i = block + 1; i < net->layers[block].end; i = net->layers[i].end)
        if (net->layers[i].part == part)
            end = i;
    return end;
}

/* Where a residual's padded shortcut takes value i of its output from: an index of the input, -1: zero. */
static inline int64_t reference_padded(const ek_layer *l, int64_t i)
{
    const int64_t w = i % l->out.w, h = i / l->out.w % l->out.h, c = i / l->out.w / l->out.h;
    const int64_t s = l->o.residual.stride;
    return c < l->in.c ? (c * l->in.h + h * s) * l->in.w + w * s : -1;
}

/* y of a block; backward: every part's end gets its share of dy, added to what is there. */
static inline void reference_block(reference_net *r, int block, const double *x, bool backward)
{
    const ek_layer *l = &r->net->layers[block];
    reference_layer *s = &r->layers[block];
    const int64_t out = ek_dims_count(l->out);
    const int parts = l->kind == EK_LAYER_RESIDUAL ? 2 : l->parts;
    int64_t at = 0;
    if (!backward)
        memset(s->y, 0, (size_t)(r->n * out) * sizeof *s->y);
    for (int part = 0; part < parts; part++) {
        const int end = part < l->parts ? reference_part_end(r->net, block, part) : l->from;
        const ek_dims dims = end < 0 ? r->net->input : r->net->layers[end].out;
        const bool padded = l->kind == EK_LAYER_RESIDUAL && part == l->parts && l->o.residual.pad;
        const int64_t count = ek_dims_count(dims), all = padded ? out : count;
        const double *y = end < 0 ? x : r->layers[end].y;
        for (int64_t n = 0; n < r->n; n++)
            for (int64_t i = 0; i < all; i++) {
                const int64_t from = padded ? reference_padded(l, i) : i;
                if (from >= 0 && !backward)
                    s->y[n * out + at + i] += y[n * count + from];
                else if (from >= 0 && end >= 0)
                    r->layers[end].dy[n * count + from] += s->dy[n * out + at + i];
            }
        at += l->kind == EK_LAYER_CONCAT ? count : 0;
    }
}

static inline void reference_forward_layer(reference_net *r, int i, ek_mode mode, const double *x);

static inline void reference_forward_range(reference_net *r, int begin, int end, ek_mode mode, const double *x)
{
    for (int i = begin; i < end; i = r->net->layers[i].end) {
        if (ek_is_block(r->net->layers[i].kind)) {
            reference_forward_range(r, i + 1, r->net->layers[i].end, mode, x);
            reference_block(r, i, x, false);
        } else {
            const int from = r->net->layers[i].from;
            reference_forward_layer(r, i, mode, from < 0 ? x : r->layers[from].y);
        }
    }
}

/* All layers' outputs for x [N,C,H,W]; the last one's are the logits, which are returned. */
static inline const double *reference_forward(reference_net *r, ek_mode mode, const double *x)
{
    reference_forward_range(r, 0, r->net->layer_count, mode, x);
    return r->layers[r->net->tail].y;
}

static inline void reference_forward_layer(reference_net *r, int i, ek_mode mode, const double *x)
{
    {
        const ek_layer *l = &r->net->layers[i];
        reference_layer *s = &r->layers[i];
        const ek_conv conv = ek_layer_conv(l);
        const ek_pool2d pool = ek_layer_pool(l);
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
        case EK_LAYER_LEAKY_RELU:
        case EK_LAYER_SIGMOID:
        case EK_LAYER_TANH:
        case EK_LAYER_GELU:
            for (int64_t j = 0; j < count; j++)
                s->y[j] = ek_reference_activation(reference_activation_of(l), reference_negative_slope(l), x[j]);
            break;
        case EK_LAYER_MAXPOOL2D:
        case EK_LAYER_AVGPOOL2D:
        case EK_LAYER_GLOBALAVGPOOL:
            ek_reference_pool(&pool, r->n, x, s->y);
            break;
        case EK_LAYER_DROPOUT:
            for (int64_t j = 0; j < count; j++)
                s->y[j] = x[j] * reference_factor(r, i, mode, j);
            break;
        case EK_LAYER_FLATTEN:
            memcpy(s->y, x, (size_t)count * sizeof *x);
            break;
        case EK_LAYER_RESIDUAL:
        case EK_LAYER_CONCAT:
            break;
        }
    }
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

static inline void reference_backward_layer(reference_net *r, int i, const double *x);

static inline void reference_backward_range(reference_net *r, int begin, int end, const double *x)
{
    int *order = calloc((size_t)(end - begin) + 1, sizeof *order), count = 0;
    assert_non_null(order);
    for (int i = begin; i < end; i = r->net->layers[i].end)
        order[count++] = i;
    while (count-- > 0) {
        const int i = order[count];
        if (ek_is_block(r->net->layers[i].kind)) {
            reference_block(r, i, x, true);
            reference_backward_range(r, i + 1, r->net->layers[i].end, x);
        } else {
            reference_backward_layer(r, i, x);
        }
    }
    free(order);
}

/* After reference_forward of the same batch in training: every gradient, where that of the outputs is dlogits. */
static inline void reference_backward_from(reference_net *r, const double *x, const double *dlogits)
{
    const ek_net *net = r->net;
    for (int i = 0; i < net->layer_count; i++)
        memset(r->layers[i].dy, 0, (size_t)(r->n * ek_dims_count(net->layers[i].out)) * sizeof(double));
    memcpy(r->layers[net->tail].dy, dlogits, (size_t)(r->n * ek_dims_count(ek_net_output(net))) * sizeof(double));
    reference_backward_range(r, 0, net->layer_count, x);
}

static inline void reference_backward_layer(reference_net *r, int i, const double *x)
{
    {
        const ek_layer *l = &r->net->layers[i];
        reference_layer *s = &r->layers[i];
        const ek_conv conv = ek_layer_conv(l);
        const ek_pool2d pool = ek_layer_pool(l);
        const ek_shape shape = reference_shape(l, r->n);
        const double *in = l->from < 0 ? x : r->layers[l->from].y, *dy = s->dy;
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
            ek_reference_batch_norm_backward(l->o.batchnorm.normalize, reference_by_batch(l, EK_TRAINING), shape, in,
                                             dy, weight, s->mean, s->rstd, s->dx, dweight, dbias);
            break;
        case EK_LAYER_LAYERNORM:
            ek_reference_layer_norm_backward(shape, in, dy, weight, s->mean, s->rstd, s->dx, dweight, dbias);
            break;
        case EK_LAYER_RELU:
        case EK_LAYER_LEAKY_RELU:
        case EK_LAYER_SIGMOID:
        case EK_LAYER_TANH:
        case EK_LAYER_GELU:
            for (int64_t j = 0; j < count; j++)
                s->dx[j] = dy[j] * ek_reference_activation_slope(reference_activation_of(l),
                                                                 reference_negative_slope(l), in[j]);
            break;
        case EK_LAYER_MAXPOOL2D:
        case EK_LAYER_AVGPOOL2D:
        case EK_LAYER_GLOBALAVGPOOL:
            ek_reference_pool_backward(&pool, r->n, in, dy, s->dx);
            break;
        case EK_LAYER_DROPOUT:
            for (int64_t j = 0; j < count; j++)
                s->dx[j] = dy[j] * reference_factor(r, i, EK_TRAINING, j);
            break;
        case EK_LAYER_FLATTEN:
            memcpy(s->dx, dy, (size_t)count * sizeof *dy);
            break;
        case EK_LAYER_RESIDUAL:
        case EK_LAYER_CONCAT:
            break;
        }
        for (int64_t j = 0; l->from >= 0 && j < count; j++)
            r->layers[l->from].dy[j] += s->dx[j];
    }
}

/* After reference_loss of the same batch: every gradient. */
static inline void reference_backward(reference_net *r, const double *x, const uint8_t *labels)
{
    const int k = ek_net_output(r->net).c;
    const double *logits = r->layers[r->net->tail].y;
    double *dlogits = reference_doubles(r->n * k);
    for (int64_t n = 0; n < r->n; n++)
        ek_reference_cross_entropy(k, logits + n * k, labels[n], 1 / (double)r->n, dlogits + n * k);
    reference_backward_from(r, x, dlogits);
    free(dlogits);
}

#endif
