/* SPDX-License-Identifier: MIT
 * The integers of each operation: weights by output channel, biases, multipliers and tables. */
#include "quant/quant.h"

#include "base/memory.h"
#include "net/fold.h"
#include "net/normalize.h"
#include "op/reference.h"

#include <math.h>
#include <stdlib.h>

/* Weights are -127..127. Sums fit int32 in any order (quant.h), since 256*sum|weights| + |bias| < 2^31: */
enum { WEIGHT_MOST = 127, SUM_MOST = 6000000, BIAS_MOST = 1 << 29 };

ek_multiplier ek_multiplier_of(double value)
{
    int exponent = 0;
    int64_t factor = llround(ldexp(frexp(value, &exponent), 31));
    if (factor == INT64_C(1) << 31) {
        factor >>= 1;
        exponent++;
    }
    if (factor == 0 || exponent < -31)
        return (ek_multiplier){0, 0};
    if (exponent > 31)
        return (ek_multiplier){INT32_MAX, 0};
    return (ek_multiplier){(int32_t)factor, 31 - exponent};
}

static int round_to(const ek_q_tensor *t, double value)
{
    const double q = floor(value / t->scale + 0.5) + t->zero;
    const int least = ek_q_least(t->type), greatest = ek_q_greatest(t->type);
    return q < least ? least : q > greatest ? greatest : (int)q;
}

/* ---- Maps --------------------------------------------------------------------------------------------------- */

/* Output channel k of a map as real numbers, its batch norm folded in: its weights, returned its bias. */
static double load_channel(const ek_net *net, const ek_q_op *op, int k, double *w, int64_t count)
{
    const ek_layer *l = &net->layers[op->layer];
    ek_affine affine = {1, 0};
    if (l->kind == EK_LAYER_BATCHNORM) {
        affine = ek_fold_norm(net, l, k, affine);
        w[0] = affine.scale;
        return affine.shift;
    }
    affine.shift = l->bias < 0 ? 0 : (double)net->tensors[l->bias].data[k];
    if (op->norm >= 0)
        affine = ek_fold_norm(net, &net->layers[op->norm], k, affine);
    for (int64_t i = 0; i < count; i++)
        w[i] = (double)net->tensors[l->weight].data[k * count + i] * affine.scale;
    return affine.shift;
}

/* Rounds the channel's weights to w/scale. Returns the scale: the least that keeps weights, sum and bias within their
 * limits, or about that. */
static double round_weights(const double *w, int64_t count, double bias, double x_scale, int16_t *rounded)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(w[i]))
            return NAN;
        most = fmax(most, fabs(w[i]));
    }
    double scale = fmax(most / WEIGHT_MOST, fabs(bias) / x_scale / BIAS_MOST);
    if (!(scale > 0) || !isfinite(scale))
        return scale == 0 ? 1 : scale; /* no weight and no bias; or NaN, infinity */
    for (;;) {
        int64_t sum = 0;
        for (int64_t i = 0; i < count; i++) {
            rounded[i] = (int16_t)ek_clamp(llround(w[i] / scale), -WEIGHT_MOST, WEIGHT_MOST);
            sum += abs(rounded[i]);
        }
        if (sum <= SUM_MOST)
            return scale;
        scale *= 1.01 * (double)sum / SUM_MOST; /* thousands of inputs of one size: the limit is not hit at once */
    }
}

/* What rounding the weights of output channel k adds to its sums on average: the sum of (rounded - w) * mean(x). The
 * bias takes it away again (Nagel et al. 2019, arXiv:1906.04721, section 4.2). What a flatten made of channels has its
 * channel's mean; the image's means are not known. */
static double drift(const ek_quantized *q, const ek_q_op *op, const ek_probe *probe, int k, const double *w,
                    int64_t count, double scale)
{
    const ek_conv *g = &op->g;
    int channels;
    const ek_channel_stats *stats = ek_probe_layer(probe, q->tensors[op->x].layer, &channels);
    if (!stats)
        return 0;
    const int64_t first = (int64_t)(k / (g->k / g->groups)) * (g->c / g->groups);
    const int64_t taps = (int64_t)g->r * g->s, plane = (int64_t)g->h * g->w;
    const int64_t channel = q->tensors[op->x].count / channels; /* values of one of `channels` */
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (op->weights[k * count + i] * scale - w[i]) * stats[(first + i / taps) * plane / channel].mean;
    return sum;
}

static ek_status set_map(ek_quantized *q, ek_q_op *op, const ek_probe *probe, double *w, int64_t count)
{
    const ek_q_tensor *x = &q->tensors[op->x], *y = &q->tensors[op->y];
    char label[EK_LABEL_SIZE];
    for (int k = 0; k < op->g.k; k++) {
        const double bias = load_channel(q->net, op, k, w, count);
        const double scale = round_weights(w, count, bias, x->scale, op->weights + k * count);
        if (!isfinite(scale))
            return ek_fail(EK_ERR_NUMERIC, "%s: a weight or the bias of its output channel %d is NaN or infinite",
                           ek_layer_label(q->net, op->layer, label), k);
        const double corrected = bias - drift(q, op, probe, k, w, count, scale);
        op->bias[k] = ek_clamp(llround(corrected / (x->scale * scale)), -BIAS_MOST, BIAS_MOST);
        op->multipliers[k] = ek_multiplier_of(x->scale * scale / y->scale);
    }
    return EK_OK;
}

static ek_status make_map(ek_quantized *q, ek_q_op *op, const ek_probe *probe)
{
    const int64_t count = ek_conv_weights(&op->g) / op->g.k;
    op->multiplier_count = op->g.k;
    op->weights = ek_calloc((size_t)ek_conv_weights(&op->g), sizeof *op->weights);
    op->bias = ek_calloc((size_t)op->g.k, sizeof *op->bias);
    op->multipliers = ek_calloc((size_t)op->g.k, sizeof *op->multipliers);
    double *w = ek_calloc((size_t)count, sizeof *w);
    ek_status status = op->weights && op->bias && op->multipliers && w ? EK_OK : EK_ERR_MEMORY;
    if (!status)
        status = set_map(q, op, probe, w, count);
    ek_free(w);
    return status;
}

/* ---- The others --------------------------------------------------------------------------------------------- */

/* A multiplier for each count of values that a window may have inside the image; of the counts between, too. */
static ek_status make_pool(const ek_quantized *q, ek_q_op *op)
{
    const double scale = q->tensors[op->x].scale / q->tensors[op->y].scale;
    const ek_pool2d *g = &op->pool;
    const int window = g->kernel_h * g->kernel_w;
    op->multiplier_count = g->inside && (g->padding_h || g->padding_w) ? window : 1;
    op->multipliers = ek_calloc((size_t)op->multiplier_count, sizeof *op->multipliers);
    if (!op->multipliers)
        return EK_ERR_MEMORY;
    for (int i = 0; i < op->multiplier_count; i++)
        op->multipliers[i] = ek_multiplier_of(scale / (op->multiplier_count > 1 ? i + 1 : window));
    return EK_OK;
}

static ek_status make_rescale(const ek_quantized *q, ek_q_op *op)
{
    op->multiplier_count = 1;
    op->multipliers = ek_calloc(1, sizeof *op->multipliers);
    if (!op->multipliers)
        return EK_ERR_MEMORY;
    op->multipliers[0] = ek_multiplier_of(q->tensors[op->x].scale / q->tensors[op->y].scale);
    return EK_OK;
}

/* Factors of 21 bits, so that two of them times 255 fit int32. */
static void set_sum(const ek_quantized *q, ek_q_op *op)
{
    const double y = q->tensors[op->y].scale;
    const double x = q->tensors[op->x].scale / y, r = q->tensors[op->r].scale / y;
    int exponent;
    frexp(fmax(x, r), &exponent); /* the larger is below 2^exponent */
    op->shift = ek_clamp(21 - exponent, 1, 30);
    const double most = 1 << 21;
    const double less = ldexp(fmax(x, r), op->shift) > most ? most / fmax(x, r) : 1; /* shift 1: y saturates anyway */
    op->factor_x = (int32_t)llround(ldexp(x * less, op->shift));
    op->factor_r = (int32_t)llround(ldexp(r * less, op->shift));
}

static ek_status make_table(const ek_quantized *q, ek_q_op *op)
{
    const ek_q_tensor *x = &q->tensors[op->x], *y = &q->tensors[op->y];
    op->table = ek_calloc(256, sizeof *op->table);
    if (!op->table)
        return EK_ERR_MEMORY;
    for (int i = 0; i < 256; i++) {
        const double value = x->scale * (i - 128 - x->zero);
        op->table[i] =
            (int16_t)round_to(y, ek_reference_activation(op->activation, (double)op->negative_slope, value));
    }
    return EK_OK;
}

static ek_status make_input(const ek_quantized *q, ek_q_op *op)
{
    ek_normal *normal;
    EK_TRY(ek_normal_new(&normal, q->net));
    op->table = ek_calloc((size_t)op->tables * 256, sizeof *op->table);
    for (int i = 0; op->table && i < op->tables * 256; i++) {
        const double value = (i % 256) / 255.0;
        const int c = i / 256;
        op->table[i] = (int16_t)round_to(&q->tensors[op->y],
                                         normal ? (value - (double)normal->mean[c]) / (double)normal->std[c] : value);
    }
    ek_normal_free(normal);
    return op->table ? EK_OK : EK_ERR_MEMORY;
}

ek_status ek_q_numbers(ek_quantized *q, const ek_probe *probe)
{
    for (int i = 0; i < q->op_count; i++) {
        ek_q_op *op = &q->ops[i];
        const ek_q_tensor *y = &q->tensors[op->y];
        op->low = op->relu ? y->zero : ek_q_least(y->type);
        ek_status status = EK_OK;
        switch (op->kind) {
        case EK_Q_INPUT:
            status = make_input(q, op);
            break;
        case EK_Q_MAP:
            status = make_map(q, op, probe);
            break;
        case EK_Q_TABLE:
            status = make_table(q, op);
            break;
        case EK_Q_AVGPOOL:
            status = make_pool(q, op);
            break;
        case EK_Q_MAXPOOL:
            break;
        case EK_Q_ADD:
            set_sum(q, op);
            break;
        case EK_Q_RESCALE:
            status = make_rescale(q, op);
            break;
        }
        EK_TRY(status);
    }
    return EK_OK;
}
