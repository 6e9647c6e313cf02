/* SPDX-License-Identifier: MIT
 * The arithmetic of the C text, done here: the plan's operations in its array, sums in the order of the text's loops
 * without vectors. Before there is a file this proves the plan, places included, and tells how far rounding goes. */
#include "io/c_source.h"

#include "net/fold.h"
#include "net/geometry.h"

#include <math.h>
#include <string.h>

static const float *values_of(const ek_net *net, int tensor)
{
    return tensor < 0 ? NULL : net->tensors[tensor].data;
}

/* One channel of x, `plane` with its zeros around it where there are some: added to every output that reads it. */
static void add_channel(const ek_conv *g, int i, const float *image, const float *weight, float *y)
{
    const int channels = g->c / g->groups, outputs = g->k / g->groups, width = g->w + 2 * g->padding_w;
    const int64_t row = (int64_t)g->dilation_h * width;
    for (int o = i / channels * outputs; o < (i / channels + 1) * outputs; o++) {
        const float *const taps = weight + ((int64_t)o * channels + i % channels) * g->r * g->s;
        for (int p = 0; p < g->p; p++)
            for (int q = 0; q < g->q; q++) {
                const float *const from = image + (int64_t)p * g->stride_h * width + (int64_t)q * g->stride_w;
                float sum = y[((int64_t)o * g->p + p) * g->q + q];
                for (int r = 0; r < g->r; r++)
                    for (int s = 0; s < g->s; s++)
                        sum += taps[r * g->s + s] * from[r * row + (int64_t)s * g->dilation_w];
                y[((int64_t)o * g->p + p) * g->q + q] = sum;
            }
    }
}

static void run_conv(const ek_net *net, const ek_layer *l, const float *x, float *y, float *plane)
{
    const ek_conv g = ek_layer_conv(l);
    const float *bias = values_of(net, l->bias), *weight = values_of(net, l->weight);
    const int64_t width = g.w + 2 * (int64_t)g.padding_w;
    for (int o = 0; o < g.k; o++)
        for (int64_t j = 0; j < (int64_t)g.p * g.q; j++)
            y[(int64_t)o * g.p * g.q + j] = bias ? bias[o] : 0;
    if (plane)
        memset(plane, 0, (size_t)((g.h + 2 * (int64_t)g.padding_h) * width) * sizeof *plane);
    for (int i = 0; i < g.c; i++) {
        const float *image = x + (int64_t)i * g.h * g.w;
        for (int j = 0; plane && j < g.h; j++)
            memcpy(plane + (j + g.padding_h) * width + g.padding_w, image + (int64_t)j * g.w,
                   (size_t)g.w * sizeof *plane);
        add_channel(&g, i, plane ? plane : image, weight, y);
    }
}

static void run_linear(const ek_net *net, const ek_layer *l, const float *x, float *y)
{
    const float *bias = values_of(net, l->bias), *weight = values_of(net, l->weight);
    const int c = l->in.c, k = l->out.c;
    for (int o = 0; o < k; o++) {
        const float *const row = weight + (int64_t)o * c;
        float sum = bias ? bias[o] : 0;
        int i = 0;
        for (; i + 4 <= c; i += 4)
            sum += x[i] * row[i] + x[i + 1] * row[i + 1] + x[i + 2] * row[i + 2] + x[i + 3] * row[i + 3];
        for (; i < c; i++)
            sum += x[i] * row[i];
        y[o] = sum;
    }
}

static void run_scale(const ek_net *net, const ek_layer *l, float *y)
{
    const int64_t plane = ek_dims_count(l->in) / l->in.c;
    for (int i = 0; i < l->in.c; i++) {
        const ek_affine a = ek_fold_norm(net, l, i, (ek_affine){1, 0});
        for (int64_t j = 0; j < plane; j++)
            y[i * plane + j] = y[i * plane + j] * (float)a.scale + (float)a.shift;
    }
}

static void run_layernorm(const ek_net *net, const ek_layer *l, float *y)
{
    const float *gamma = values_of(net, l->weight), *beta = values_of(net, l->bias);
    const int64_t count = ek_dims_count(l->in);
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < count; i++)
        mean += (double)y[i];
    mean /= (double)count;
    for (int64_t i = 0; i < count; i++)
        variance += ((double)y[i] - mean) * ((double)y[i] - mean);
    variance = variance / (double)count + (double)l->o.layernorm.eps;
    const float root = variance > 0 ? (float)(1 / sqrt(variance)) : 0;
    for (int64_t i = 0; i < count; i++)
        y[i] = (y[i] - (float)mean) * root * (gamma ? gamma[i] : 1) + (beta ? beta[i] : 0);
}

static float activated(ek_c_kind kind, float slope, float v)
{
    switch (kind) {
    case EK_C_RELU:
        return v < 0 ? 0 : v;
    case EK_C_LEAKY_RELU:
        return v > 0 ? v : v * slope;
    case EK_C_SIGMOID:
        return 1 / (1 + expf(-v));
    case EK_C_TANH:
        return tanhf(v);
    case EK_C_GELU:
        return 0.5f * v * erfcf(v * -0.707106781f);
    default: /* EK_C_GELU_TANH */
        return v / (1 + expf(-1.59576912f * (v + 0.044715f * v * v * v)));
    }
}

static void run_add_pad(const ek_layer *l, float *y, const float *x)
{
    const ek_dims in = l->in, out = l->out;
    const int stride = l->o.residual.stride;
    for (int i = 0; i < in.c; i++)
        for (int j = 0; j < out.h; j++)
            for (int q = 0; q < out.w; q++)
                y[((int64_t)i * out.h + j) * out.w + q] += x[((int64_t)i * in.h + j * stride) * in.w + q * stride];
}

/* The window's value: its mean or its greatest one, NaN where it holds one. */
static float pooled(const ek_pool2d *g, bool maximum, const float *image, int top, int left)
{
    const int bottom = top + g->kernel_h < g->h ? top + g->kernel_h : g->h;
    const int right = left + g->kernel_w < g->w ? left + g->kernel_w : g->w;
    top = top < 0 ? 0 : top;
    left = left < 0 ? 0 : left;
    float sum = 0, most = image[(int64_t)top * g->w + left];
    for (int a = top; a < bottom; a++)
        for (int b = left; b < right; b++) {
            const float value = image[(int64_t)a * g->w + b];
            most = value > most || isnan(value) ? value : most;
            sum += value;
        }
    if (maximum)
        return most;
    return sum /
           (g->inside ? (float)(bottom - top) * (float)(right - left) : (float)g->kernel_h * (float)g->kernel_w);
}

static void run_pool(const ek_layer *l, bool maximum, const float *x, float *y)
{
    const ek_pool2d g = ek_layer_pool(l);
    for (int i = 0; i < g.c; i++)
        for (int p = 0; p < g.p; p++)
            for (int q = 0; q < g.q; q++)
                y[((int64_t)i * g.p + p) * g.q + q] =
                    pooled(&g, maximum, x + (int64_t)i * g.h * g.w, p * g.stride_h - g.padding_h,
                           q * g.stride_w - g.padding_w);
}

static void run_op(const ek_c_plan *plan, const ek_c_op *op, float *memory)
{
    const ek_net *net = plan->net;
    const ek_layer *l = &net->layers[op->layer];
    float *const x = memory + ek_c_place(plan, op->x), *const y = memory + ek_c_place(plan, op->y) + op->at;
    const float *const r = op->r < 0 ? NULL : memory + ek_c_place(plan, op->r);
    const int64_t count = plan->values[op->kind == EK_C_COPY ? op->x : op->y].count;
    if (x != y && (op->kind == EK_C_COPY || ek_c_in_place(op)))
        memcpy(y, x, (size_t)plan->values[op->x].count * sizeof *y);
    switch (op->kind) {
    case EK_C_CONV:
        run_conv(net, l, x, y, op->plane < 0 ? NULL : memory + ek_c_place(plan, op->plane));
        break;
    case EK_C_LINEAR:
        run_linear(net, l, x, y);
        break;
    case EK_C_SCALE:
        run_scale(net, l, y);
        break;
    case EK_C_LAYERNORM:
        run_layernorm(net, l, y);
        break;
    case EK_C_ADD:
        for (int64_t i = 0; i < count; i++)
            y[i] += r[i];
        break;
    case EK_C_ADD_PAD:
        run_add_pad(l, y, r);
        break;
    case EK_C_MAXPOOL:
    case EK_C_AVGPOOL:
        run_pool(l, op->kind == EK_C_MAXPOOL, x, y);
        break;
    case EK_C_COPY:
        break;
    default: /* activations */
        for (int64_t i = 0; i < count; i++)
            y[i] = activated(op->kind, op->kind == EK_C_LEAKY_RELU ? l->o.leaky_relu.negative_slope : 0, y[i]);
        break;
    }
}

void ek_c_run(const ek_c_plan *plan, const float *image, float *memory, float *outputs)
{
    memcpy(memory + ek_c_place(plan, 0), image, (size_t)plan->values[0].count * sizeof *memory);
    for (int i = 0; i < plan->op_count; i++)
        run_op(plan, &plan->ops[i], memory);
    const size_t count = (size_t)plan->values[plan->output].count;
    memcpy(outputs, memory + ek_c_place(plan, plan->output), count * sizeof *outputs);
}
