/* SPDX-License-Identifier: MIT
 * Several operations that are one layer. Passes go through the operations in order, so that what an operation reads is
 * final when its turn comes: alias[op] is the operation that stands for it from then on. */
#define _GNU_SOURCE
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "net/kind.h"

#include <string.h>

static onnx_op *source(const onnx_reader *r, const onnx_op *op, int i)
{
    return &r->ops[ek_onnx_read(r, op, i)];
}

static bool is_layer(const onnx_op *op, ek_layer_kind kind)
{
    return op->kind == ONNX_LAYER && op->layer.kind == kind;
}

/* ---- Order ---------------------------------------------------------------------------------------------------- */

enum { STEPS_MAX = 1 << 27 }; /* of the walks below, which take the square of a hostile graph's length */

/* Where the ways from the input to two operations part for the last time. */
static int meet(const onnx_reader *r, int a, int b, int64_t *steps)
{
    while (a != b && ++*steps < STEPS_MAX)
        if (a > b)
            a = r->over[a];
        else
            b = r->over[b];
    return a;
}

ek_status ek_onnx_order(onnx_reader *r)
{
    int64_t steps = 0;
    if (!r->over) {
        r->over = ek_calloc((size_t)r->op_count, sizeof *r->over);
        r->alias = r->over ? ek_calloc((size_t)r->op_count, sizeof *r->alias) : NULL;
        if (!r->alias)
            return EK_ERR_MEMORY;
    }
    for (int i = 0; i < r->op_count; i++) {
        r->ops[i].uses = 0;
        r->alias[i] = i;
    }
    r->ops[r->output].uses = 1;
    for (int i = r->op_count - 1; i >= 0; i--)
        for (int k = 0; r->ops[i].uses && k < r->ops[i].count; k++)
            source(r, &r->ops[i], k)->uses++;
    for (int i = 0; i < r->op_count; i++) {
        const onnx_op *op = &r->ops[i];
        r->over[i] = op->count ? ek_onnx_read(r, op, 0) : -1;
        for (int k = 1; op->uses && k < op->count; k++)
            r->over[i] = meet(r, r->over[i], ek_onnx_read(r, op, k), &steps);
    }
    if (steps >= STEPS_MAX)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its graph is too entangled to be read as residuals and branches");
    return EK_OK;
}

/* Runs a pass over what counts, and orders anew. */
static ek_status run(onnx_reader *r, ek_status (*pass)(onnx_reader *r, int i))
{
    for (int i = 0; i < r->op_count; i++) {
        const onnx_op *op = &r->ops[i];
        for (int k = 0; k < op->count; k++)
            r->edges[op->in + k] = r->alias[r->edges[op->in + k]];
        if (op->uses == 0)
            continue;
        r->node = op->node;
        EK_TRY(pass(r, i));
    }
    r->node = -1;
    r->output = r->alias[r->output];
    return ek_onnx_order(r);
}

ek_status ek_onnx_become_layer(onnx_reader *r, onnx_op *op, ek_layer layer, int from)
{
    layer.in = r->ops[from].out;
    EK_TRY(ek_onnx_fail_in(r, ek_layer_infer(&layer)));
    op->kind = ONNX_LAYER;
    op->layer = layer;
    op->count = 1;
    r->edges[op->in] = from;
    r->over[op - r->ops] = from;
    return EK_OK;
}

/* ---- Views ---------------------------------------------------------------------------------------------------- */

/* What flattening takes may have had any shape before. */
static ek_status drop_views(onnx_reader *r, int i)
{
    onnx_op *op = &r->ops[i];
    const bool flatten = is_layer(op, EK_LAYER_FLATTEN);
    if (!flatten && op->kind != ONNX_VIEW)
        return EK_OK;
    while (source(r, op, 0)->kind == ONNX_VIEW)
        r->edges[op->in] = ek_onnx_read(r, source(r, op, 0), 0);
    const onnx_op *from = source(r, op, 0);
    const bool back = !flatten && !from->out.flat && from->out.c == op->out.c && from->out.h == op->out.h;
    if ((flatten && from->out.flat && op->layer.in.flat == false) || back)
        r->alias[i] = ek_onnx_read(r, op, 0);
    else if (flatten)
        op->layer.in = from->out;
    return EK_OK;
}

/* ---- Layer norm in parts -------------------------------------------------------------------------------------- */

static bool is_binary(const onnx_op *op, onnx_function function)
{
    return op->kind == ONNX_BINARY && op->function == function;
}

static bool is_square(const onnx_reader *r, const onnx_op *op, int *of)
{
    *of = ek_onnx_read(r, op, 0);
    if (op->kind == ONNX_ARITH && op->function == ONNX_F_POW)
        return !op->constant_first && op->constant->count == 1 && ek_onnx_number(op->constant, 0) == 2;
    return is_binary(op, ONNX_F_MUL) && ek_onnx_read(r, op, 1) == *of;
}

/* (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps), as PyTorch writes it below opset 17. */
static ek_status match_layernorm(onnx_reader *r, int i)
{
    onnx_op *op = &r->ops[i];
    int squared;
    if (!is_binary(op, ONNX_F_DIV))
        return EK_OK;
    const onnx_op *centred = source(r, op, 0), *root = source(r, op, 1);
    if (!is_binary(centred, ONNX_F_SUB) || root->kind != ONNX_FUNCTION || root->function != ONNX_F_SQRT)
        return EK_OK;
    const int x = ek_onnx_read(r, centred, 0);
    const onnx_op *mean = source(r, centred, 1), *sum = source(r, root, 0);
    if (mean->kind != ONNX_MEAN || ek_onnx_read(r, mean, 0) != x || sum->kind != ONNX_ARITH ||
        sum->function != ONNX_F_ADD || sum->constant->count != 1)
        return EK_OK;
    const onnx_op *variance = source(r, sum, 0);
    if (variance->kind != ONNX_MEAN || !is_square(r, source(r, variance, 0), &squared) || &r->ops[squared] != centred)
        return EK_OK;
    ek_layer layer = ek_layer_new(EK_LAYER_LAYERNORM, 0);
    layer.o.layernorm.eps = (float)ek_onnx_number(sum->constant, 0);
    layer.o.layernorm.affine = false;
    return ek_onnx_become_layer(r, op, layer, x);
}

static ek_status match_groups(onnx_reader *r, int i)
{
    EK_TRY(match_layernorm(r, i));
    return ek_onnx_match_activation(r, i);
}

/* ---- Arithmetic by channels ----------------------------------------------------------------------------------- */

/* Numbers of a constant that is one number, or one a channel: [C] of features, [C,1,1] of images, ones before. 0:
 * none. */
static int channels_of(const ek_onnx_array *constant, ek_dims dims)
{
    const int behind = dims.flat ? 0 : 2, at = constant->ndim - 1 - behind;
    if (constant->count == 1)
        return 1;
    return constant->count == dims.c && at >= 0 && constant->dim[at] == dims.c &&
                   constant->ndim <= (dims.flat ? 2 : 4)
               ? dims.c
               : 0;
}

/* gamma and beta of a layer norm stand behind it. */
static bool join_layernorm(onnx_op *norm, const onnx_op *op)
{
    if (!is_layer(norm, EK_LAYER_LAYERNORM) || norm->uses != 1 || op->constant->count != ek_dims_count(norm->out) ||
        (op->constant->ndim != (norm->out.flat ? 1 : 3)))
        return false;
    if (op->function == ONNX_F_MUL && !norm->layer.o.layernorm.affine)
        norm->tensors[0] = op->constant;
    else if (op->function == ONNX_F_ADD && !norm->tensors[1])
        norm->tensors[1] = op->constant;
    else
        return false;
    norm->layer.o.layernorm.affine = true;
    return true;
}

/* A sum behind a convolution or linear layer without a bias is its bias. */
static bool join_bias(onnx_op *map, const onnx_op *op, int channels)
{
    const bool conv = is_layer(map, EK_LAYER_CONV2D) && !map->layer.o.conv.bias;
    const bool linear = is_layer(map, EK_LAYER_LINEAR) && !map->layer.o.linear.bias;
    if ((!conv && !linear) || map->uses != 1 || op->function != ONNX_F_ADD || !channels)
        return false;
    map->tensors[1] = op->constant;
    map->scale[1] = 1;
    if (conv)
        map->layer.o.conv.bias = true;
    else
        map->layer.o.linear.bias = true;
    return true;
}

/* y = slope*x + offset of channel c. */
static bool slope_of(const onnx_op *op, int64_t c, double *slope, double *offset)
{
    if (op->kind == ONNX_FUNCTION) {
        *slope = -1;
        *offset = 0;
        return op->function == ONNX_F_NEG;
    }
    const double k = ek_onnx_number(op->constant, op->constant->count == 1 ? 0 : c);
    *slope = op->function == ONNX_F_MUL                         ? k
             : op->function == ONNX_F_DIV                       ? 1 / k
             : op->function == ONNX_F_SUB && op->constant_first ? -1
                                                                : 1;
    *offset = op->function == ONNX_F_ADD ? k : op->function == ONNX_F_SUB ? (op->constant_first ? k : -k) : 0;
    return op->function == ONNX_F_ADD || op->function == ONNX_F_SUB || op->function == ONNX_F_MUL ||
           (op->function == ONNX_F_DIV && !op->constant_first);
}

static const char *cannot_stand(const onnx_op *op)
{
    return op->kind == ONNX_ARITH && (op->function == ONNX_F_MAX || op->function == ONNX_F_MIN)
               ? "it limits values, and is no layer: max(x, 0), which is relu, and leaky_relu's arithmetic are"
               : "alone it is no layer: sums and products with constants are";
}

/* Of the operation, with those before it that are of the same kind and that nothing else reads. */
static ek_status set_slopes(onnx_reader *r, onnx_op *op, int channels)
{
    const onnx_op *before = source(r, op, 0);
    const bool joined = before->kind == ONNX_ARITH && before->slope && before->uses == 1;
    op->channels = joined && before->channels > channels ? before->channels : channels;
    r->folded += 2 * op->channels;
    if (r->folded > ONNX_FOLDED_MAX)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "there is more arithmetic with constants than is read");
    op->slope = ek_calloc(2 * (size_t)op->channels, sizeof *op->slope);
    if (!op->slope)
        return EK_ERR_MEMORY;
    op->offset = op->slope + op->channels;
    for (int c = 0; c < op->channels; c++) {
        if (!slope_of(op, c, &op->slope[c], &op->offset[c]))
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "%s", cannot_stand(op));
        const int b = joined && before->channels > 1 ? c : 0;
        if (joined) {
            op->offset[c] += op->slope[c] * before->offset[b];
            op->slope[c] *= before->slope[b];
        }
    }
    op->kind = ONNX_ARITH;
    if (joined)
        r->edges[op->in] = ek_onnx_read(r, before, 0);
    return EK_OK;
}

static ek_status join_arithmetic(onnx_reader *r, int i)
{
    char shape[ONNX_SHAPE_TEXT], dims[40];
    onnx_op *op = &r->ops[i], *before;
    if (op->kind != ONNX_ARITH && op->kind != ONNX_FUNCTION)
        return EK_OK;
    before = source(r, op, 0);
    const int channels = op->kind == ONNX_ARITH ? channels_of(op->constant, op->out) : 1;
    if (op->kind == ONNX_ARITH && (join_layernorm(before, op) || join_bias(before, op, channels))) {
        r->alias[i] = ek_onnx_read(r, op, 0);
        return EK_OK;
    }
    if (channels)
        return set_slopes(r, op, channels);
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                        "its constant is %s, and its input %s: one number, or one a channel, is read",
                        ek_onnx_shape_text(op->constant, shape), ek_dims_text(op->out, dims));
}

/* ---- Borders -------------------------------------------------------------------------------------------------- */

static bool pads_space(const onnx_op *op)
{
    return op->kind == ONNX_PAD && op->pads[0] == 0 && op->pads[3] == 0;
}

/* Zeros around the image of a convolution or an average are its padding. */
static ek_status join_borders(onnx_reader *r, int i)
{
    onnx_op *op = &r->ops[i];
    const bool conv = is_layer(op, EK_LAYER_CONV2D), pool = is_layer(op, EK_LAYER_AVGPOOL2D);
    if ((!conv && !pool) || !pads_space(source(r, op, 0)))
        return EK_OK;
    const onnx_op *pad = source(r, op, 0), *from = source(r, pad, 0);
    ek_layer layer = op->layer;
    int *padding = conv ? layer.o.conv.padding : layer.o.pool.padding;
    if (pool && (padding[0] || padding[1]))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its image is padded twice");
    for (int d = 0; d < 2; d++) {
        const int64_t span =
            conv ? (int64_t)layer.o.conv.dilation[d] * (layer.o.conv.kernel[d] - 1) + 1 : layer.o.pool.kernel[d];
        const int64_t stride = conv ? layer.o.conv.stride[d] : layer.o.pool.stride[d];
        EK_TRY(ek_onnx_even_padding(r, d ? from->out.w : from->out.h, padding[d] + pad->pads[1 + d],
                                    padding[d] + pad->pads[4 + d], span, stride, false, &padding[d]));
    }
    if (pool)
        layer.o.pool.count_padding = true;
    return ek_onnx_become_layer(r, op, layer, ek_onnx_read(r, pad, 0));
}

/* Slices of rows, then of columns. */
static ek_status join_strides(onnx_reader *r, int i)
{
    onnx_op *op = &r->ops[i];
    if (op->kind == ONNX_STRIDE && source(r, op, 0)->kind == ONNX_STRIDE && source(r, op, 0)->uses == 1) {
        const onnx_op *before = source(r, op, 0);
        for (int d = 0; d < 2; d++)
            if (__builtin_mul_overflow(op->pads[d], before->pads[d], &op->pads[d]))
                op->pads[d] = 0;
        r->edges[op->in] = ek_onnx_read(r, before, 0);
    }
    return join_borders(r, i);
}

ek_status ek_onnx_match(onnx_reader *r)
{
    EK_TRY(ek_onnx_order(r));
    EK_TRY(run(r, drop_views));
    EK_TRY(run(r, match_groups));
    EK_TRY(run(r, join_arithmetic));
    return run(r, join_strides);
}

#endif
