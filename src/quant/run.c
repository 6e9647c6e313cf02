/* SPDX-License-Identifier: MIT
 * The reference: plain loops over plain arrays, row-major. Maps copy the taps of a row of outputs side by side, zeros
 * for those outside the image, so that the sums are products of contiguous int16: fast enough to measure accuracy on
 * thousands of images. No sum overflows (quant.h), so its order does not matter. */
#include "quant/run.h"

#include "base/memory.h"

#include <string.h>

struct ek_q_work {
    const ek_quantized *q;
    int16_t *values;
    size_t *places; /* by tensor: where it begins in values */
    int16_t *taps;
};

static size_t largest_taps(const ek_quantized *q)
{
    size_t most = 0;
    for (int i = 0; i < q->op_count; i++) {
        const ek_conv *g = &q->ops[i].g;
        if (q->ops[i].kind != EK_Q_MAP)
            continue;
        const size_t taps = ek_size_mul((size_t)(ek_conv_weights(g) / g->k), (size_t)g->q);
        most = taps > most ? taps : most;
    }
    return most;
}

ek_status ek_q_work_new(ek_q_work **out, const ek_quantized *q)
{
    size_t total = 0;
    ek_q_work *w = *out = ek_calloc(1, sizeof *w);
    if (!w)
        return EK_ERR_MEMORY;
    w->q = q;
    w->places = ek_calloc((size_t)q->tensor_count, sizeof *w->places);
    for (int t = 0; w->places && t < q->tensor_count; t++)
        if (q->tensors[t].part_of < 0) {
            w->places[t] = total;
            total = ek_size_add(total, (size_t)q->tensors[t].count);
        }
    for (int t = 0; w->places && t < q->tensor_count; t++) {
        int whole = t;
        size_t at = 0;
        for (; q->tensors[whole].part_of >= 0; whole = q->tensors[whole].part_of)
            at += (size_t)q->tensors[whole].part_at;
        w->places[t] = w->places[whole] + at;
    }
    w->values = w->places ? ek_calloc(total, sizeof *w->values) : NULL;
    w->taps = w->values ? ek_calloc(largest_taps(q), sizeof *w->taps) : NULL;
    if (w->taps)
        return EK_OK;
    ek_q_work_free(w);
    *out = NULL;
    return EK_ERR_MEMORY;
}

void ek_q_work_free(ek_q_work *w)
{
    if (!w)
        return;
    ek_free(w->places);
    ek_free(w->values);
    ek_free(w->taps);
    ek_free(w);
}

const int16_t *ek_q_values(const ek_q_work *w, int t)
{
    return w->values + w->places[t];
}

static int16_t finish(const ek_q_op *op, const ek_q_tensor *y, int64_t value)
{
    return (int16_t)ek_clamp(y->zero + value, op->low, ek_q_greatest(y->type));
}

/* ---- Maps --------------------------------------------------------------------------------------------------- */

static int32_t dot(const int16_t *a, const int16_t *b, int64_t count)
{
    int32_t sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* For each column of output row `p`, its x - zero of the channels from `c` on, [q][channels][r][s]. */
static void gather_taps(const ek_conv *g, int channels, int p, int zero, const int16_t *x, int16_t *taps)
{
    for (int q = 0; q < g->q; q++)
        for (int c = 0; c < channels; c++)
            for (int r = 0; r < g->r; r++) {
                const int h = p * g->stride_h - g->padding_h + r * g->dilation_h;
                const int16_t *row = x + ((int64_t)c * g->h + h) * g->w;
                for (int s = 0; s < g->s; s++) {
                    const int w = q * g->stride_w - g->padding_w + s * g->dilation_w;
                    const bool inside = h >= 0 && h < g->h && w >= 0 && w < g->w;
                    *taps++ = inside ? (int16_t)(row[w] - zero) : 0;
                }
            }
}

static void run_map(const ek_q_work *w, const ek_q_op *op, const int16_t *x, int16_t *y)
{
    const ek_conv *g = &op->g;
    const ek_q_tensor *ty = &w->q->tensors[op->y];
    const int channels = g->c / g->groups, outputs = g->k / g->groups;
    const int64_t count = (int64_t)channels * g->r * g->s;
    for (int group = 0; group < g->groups; group++)
        for (int p = 0; p < g->p; p++) {
            gather_taps(g, channels, p, w->q->tensors[op->x].zero, x + (int64_t)group * channels * g->h * g->w,
                        w->taps);
            for (int k = group * outputs; k < (group + 1) * outputs; k++)
                for (int q = 0; q < g->q; q++) {
                    const int32_t sum = op->bias[k] + dot(op->weights + k * count, w->taps + q * count, count);
                    y[((int64_t)k * g->p + p) * g->q + q] = finish(op, ty, ek_multiply(sum, op->multipliers[k]));
                }
        }
}

/* ---- The others --------------------------------------------------------------------------------------------- */

/* One window of channel x. */
static int16_t pool_window(const ek_q_work *w, const ek_q_op *op, const int16_t *x, int p, int q)
{
    const ek_pool2d *g = &op->pool;
    int top, bottom, left, right;
    ek_pool_window(p, g->kernel_h, g->stride_h, g->padding_h, g->h, &top, &bottom);
    ek_pool_window(q, g->kernel_w, g->stride_w, g->padding_w, g->w, &left, &right);
    int32_t sum = 0;
    int16_t most = INT16_MIN;
    for (int h = top; h < bottom; h++)
        for (int i = left; i < right; i++) {
            const int16_t value = x[(int64_t)h * g->w + i];
            sum += value - w->q->tensors[op->x].zero;
            most = value > most ? value : most;
        }
    if (op->kind == EK_Q_MAXPOOL)
        return most;
    const int index = op->multiplier_count > 1 ? (bottom - top) * (right - left) - 1 : 0;
    return finish(op, &w->q->tensors[op->y], ek_multiply(sum, op->multipliers[index]));
}

static void run_pool(const ek_q_work *w, const ek_q_op *op, const int16_t *x, int16_t *y)
{
    const ek_pool2d *g = &op->pool;
    for (int c = 0; c < g->c; c++)
        for (int p = 0; p < g->p; p++)
            for (int q = 0; q < g->q; q++)
                *y++ = pool_window(w, op, x + (int64_t)c * g->h * g->w, p, q);
}

/* floor((sum + 2^(shift-1)) / 2^shift) without a shift of negative numbers: |sum| <= 2^30, shift 1..30. */
static int32_t shift_sum(int32_t sum, int shift)
{
    const uint32_t lift = UINT32_C(1) << 31, half = (UINT32_C(1) << shift) >> 1;
    return (int32_t)(((uint32_t)sum + lift + half) >> shift) - (int32_t)(lift >> shift);
}

static void run_add(const ek_q_work *w, const ek_q_op *op, const int16_t *x, const int16_t *r, int16_t *y)
{
    const ek_join *j = &op->join;
    const ek_q_tensor *tx = &w->q->tensors[op->x], *tr = &w->q->tensors[op->r], *ty = &w->q->tensors[op->y];
    for (int c = 0; c < j->c; c++)
        for (int h = 0; h < j->h; h++)
            for (int i = 0; i < j->w; i++) {
                int32_t sum = (*x++ - tx->zero) * op->factor_x;
                if (c < j->rc)
                    sum +=
                        (r[((int64_t)c * j->rh + h * j->stride) * j->rw + i * j->stride] - tr->zero) * op->factor_r;
                *y++ = finish(op, ty, shift_sum(sum, op->shift));
            }
}

static void run_elements(const ek_q_work *w, const ek_q_op *op, const int16_t *x, int16_t *y)
{
    const ek_q_tensor *tx = &w->q->tensors[op->x], *ty = &w->q->tensors[op->y];
    const int64_t plane = op->tables > 1 ? tx->count / op->tables : tx->count;
    for (int64_t i = 0; i < tx->count; i++) {
        if (op->kind == EK_Q_INPUT)
            y[i] = op->table[i / plane * 256 + x[i]];
        else if (op->kind == EK_Q_TABLE)
            y[i] = op->table[x[i] + 128];
        else
            y[i] = finish(op, ty, ek_multiply(x[i] - tx->zero, op->multipliers[0]));
    }
}

void ek_q_run(ek_q_work *w, const uint8_t *pixels, int16_t *output)
{
    const ek_quantized *q = w->q;
    for (int t = 0; t < q->tensor_count; t++)
        for (int64_t i = 0; q->tensors[t].type == EK_Q_BYTE && i < q->tensors[t].count; i++)
            w->values[w->places[t] + (size_t)i] = pixels[i];
    for (int i = 0; i < q->op_count; i++) {
        const ek_q_op *op = &q->ops[i];
        const int16_t *x = w->values + w->places[op->x];
        int16_t *y = w->values + w->places[op->y];
        switch (op->kind) {
        case EK_Q_MAP:
            run_map(w, op, x, y);
            break;
        case EK_Q_AVGPOOL:
        case EK_Q_MAXPOOL:
            run_pool(w, op, x, y);
            break;
        case EK_Q_ADD:
            run_add(w, op, x, w->values + w->places[op->r], y);
            break;
        case EK_Q_INPUT:
        case EK_Q_TABLE:
        case EK_Q_RESCALE:
            run_elements(w, op, x, y);
            break;
        }
    }
    memcpy(output, w->values + w->places[q->output], (size_t)q->tensors[q->output].count * sizeof *output);
}
