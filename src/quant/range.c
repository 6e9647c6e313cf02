/* SPDX-License-Identifier: MIT
 * From least to greatest is not the best range: one value in a million would set the step of all others. Of a tensor's
 * histogram, the range [low, high] that makes the mean square error least:
 *     a value inside is off by up to half a step s = (high - low)/255 either way:   s^2/12
 *     a value outside is off by its distance from the range
 * and where an activation alone reads the values, what counts is by how much the activation is off. */
#include "quant/range.h"

#include "base/memory.h"
#include "net/normalize.h"
#include "op/reference.h"

#include <math.h>

/* Ranges below this hold nothing but zeros. Any scale will do; a small one leaves the bias of the next layer exact. */
#define LEAST_RANGE 1e-30
#define SCALE_OF_ZEROS 0x1p-12

/* An end of the range is tried at STEPS places, each CLOSER to 0 than the one before; the two ends in turn. */
enum { STEPS = 64, ROUNDS = 2 };
#define CLOSER 0.95

/* What tensors of one scale hold together. */
typedef struct group {
    const ek_histogram **members;
    int count;
    double low, high; /* of all values, with 0 */
    bool activates;   /* an activation alone reads them */
    ek_activation activation;
    double negative_slope;
} group;

/* Square error of `value` where the range is low..high in steps of `step`. */
static double error_of(const group *g, double value, double low, double high, double step)
{
    const double inside = value < low ? low : value > high ? high : value;
    if (!g->activates) {
        const double d = value - inside;
        return inside == value ? step * step / 12 : d * d;
    }
    if (inside == value) { /* the activation's slope times the step, about */
        const double d = ek_reference_activation(g->activation, g->negative_slope, value + step / 2) -
                         ek_reference_activation(g->activation, g->negative_slope, value - step / 2);
        return d * d / 12;
    }
    const double d = ek_reference_activation(g->activation, g->negative_slope, value) -
                     ek_reference_activation(g->activation, g->negative_slope, inside);
    return d * d;
}

/* The sum over all values, each taken for the middle of its bin. One that holds 0 is mostly zeros, which are exact. */
static double cost(const group *g, double low, double high)
{
    const double step = (high - low) / 255;
    double sum = 0;
    for (int m = 0; m < g->count; m++) {
        const ek_histogram *h = g->members[m];
        const double width = ((double)h->high - (double)h->low) / EK_BINS;
        for (int i = 0; i < EK_BINS; i++) {
            const double from = (double)h->low + i * width;
            if (h->counts[i] && !(from <= 0 && from + width >= 0))
                sum += (double)h->counts[i] * error_of(g, from + width / 2, low, high, step);
        }
    }
    return sum;
}

/* Moves *end to where the cost is least, the other end being as it is. */
static void improve(const group *g, double extreme, double *end, const double *low, const double *high)
{
    double best = *end, least = INFINITY;
    for (int i = 0; i < STEPS; i++) {
        *end = extreme * pow(CLOSER, i);
        const double c = *high - *low < LEAST_RANGE ? INFINITY : cost(g, *low, *high);
        if (c < least) {
            least = c;
            best = *end;
        }
    }
    *end = best;
}

static void set_range(ek_q_tensor *t, double low, double high)
{
    t->scale = high - low < LEAST_RANGE ? SCALE_OF_ZEROS : (high - low) / 255;
    t->zero = ek_clamp(llround(-128 - low / t->scale), -128, 127);
}

static void choose(const group *g, ek_q_tensor *t)
{
    double low = g->low, high = g->high;
    for (int i = 0; i < ROUNDS && high - low >= LEAST_RANGE; i++) {
        if (g->high > 0)
            improve(g, g->high, &high, &low, &high);
        if (g->low < 0)
            improve(g, g->low, &low, &low, &high);
    }
    set_range(t, low, high);
}

/* ---- Tensors ------------------------------------------------------------------------------------------------ */

static ek_status check_finite(const ek_quantized *q, const ek_probe *probe)
{
    char label[EK_LABEL_SIZE];
    for (int l = 0; l < q->net->layer_count; l++) {
        int channels;
        const ek_channel_stats *s = ek_probe_layer(probe, l, &channels);
        for (int c = 0; s && c < channels; c++)
            if (!isfinite(s[c].std))
                return ek_fail(EK_ERR_NUMERIC,
                               "%s: channel %d of its output is NaN or infinite on the calibration data",
                               ek_layer_label(q->net, l, label), c);
    }
    return EK_OK;
}

/* Bytes 0 and 255 as the net sees them. */
static ek_status input_range(const ek_quantized *q, double *low, double *high)
{
    ek_normal *normal;
    EK_TRY(ek_normal_new(&normal, q->net));
    *low = 0;
    *high = normal ? 0 : 1;
    for (int c = 0; normal && c < normal->c; c++) {
        *low = fmin(*low, (0 - (double)normal->mean[c]) / (double)normal->std[c]);
        *high = fmax(*high, (1 - (double)normal->mean[c]) / (double)normal->std[c]);
    }
    ek_normal_free(normal);
    return EK_OK;
}

/* The output has sixteen bits: room for twice what was seen, and 0 in the middle. */
static void set_wide(ek_q_tensor *t, double low, double high)
{
    const double most = fmax(-low, high);
    t->scale = most < LEAST_RANGE ? SCALE_OF_ZEROS : 2 * most / 32767;
    t->zero = 0;
}

/* The table that alone reads tensor t; NULL: there is none. */
static const ek_q_op *table_of(const ek_quantized *q, int t)
{
    if (q->tensors[t].readers != 1 || q->tensors[t].part_of >= 0)
        return NULL;
    for (int i = 0; i < q->op_count; i++)
        if (q->ops[i].x == t || q->ops[i].r == t)
            return q->ops[i].kind == EK_Q_TABLE ? &q->ops[i] : NULL;
    return NULL;
}

/* Every tensor whose root is t. */
static void gather(const ek_quantized *q, const ek_probe *probe, int t, group *g)
{
    int tensors = 0;
    g->count = 0;
    g->low = g->high = 0;
    g->activates = false;
    for (int i = 0; i < q->tensor_count; i++) {
        const int layer = q->tensors[i].layer;
        if (ek_q_root(q, i) != t)
            continue;
        tensors++;
        if (layer < 0)
            continue;
        const ek_histogram *h = g->members[g->count++] = ek_probe_histogram(probe, layer);
        g->low = fmin(g->low, (double)h->low);
        g->high = fmax(g->high, (double)h->high);
    }
    const ek_q_op *table = tensors == 1 ? table_of(q, t) : NULL;
    if (table) {
        g->activates = true;
        g->activation = table->activation;
        g->negative_slope = (double)table->negative_slope;
    }
}

static ek_status set_ranges(ek_quantized *q, const ek_probe *probe, group *g)
{
    double low, high;
    EK_TRY(input_range(q, &low, &high));
    for (int t = 0; t < q->tensor_count; t++) {
        ek_q_tensor *tensor = &q->tensors[t];
        if (tensor->same_as != t || tensor->type == EK_Q_BYTE)
            continue;
        gather(q, probe, t, g);
        if (tensor->type == EK_Q_INT16) {
            set_wide(tensor, tensor->layer < 0 ? low : g->low, tensor->layer < 0 ? high : g->high);
        } else if (ek_q_root(q, 0) == t) { /* the image, and what is the same */
            set_range(tensor, fmin(low, g->low), fmax(high, g->high));
        } else {
            choose(g, tensor);
        }
    }
    for (int t = 0; t < q->tensor_count; t++) {
        q->tensors[t].scale = q->tensors[ek_q_root(q, t)].scale;
        q->tensors[t].zero = q->tensors[ek_q_root(q, t)].zero;
    }
    return EK_OK;
}

ek_status ek_q_ranges(ek_quantized *q, const ek_probe *probe)
{
    EK_TRY(check_finite(q, probe));
    group g = {.members = ek_calloc((size_t)q->tensor_count, sizeof *g.members)};
    const ek_status status = g.members ? set_ranges(q, probe, &g) : EK_ERR_MEMORY;
    ek_free(g.members);
    return status;
}
