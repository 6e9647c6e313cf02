/* SPDX-License-Identifier: MIT
 * Nodes on data: each becomes an operation, a layer where it is one alone. */
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "net/kind.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Inputs and results --------------------------------------------------------------------------------------- */

/* Input i, which is data. */
ek_status ek_onnx_data(const onnx_reader *r, size_t i, int *op)
{
    const onnx_value *value = ek_onnx_input(r, i);
    *op = value ? value->op : -1;
    if (*op >= 0)
        return EK_OK;
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its input %zu is %s; data are what is read there", i,
                        value ? "a constant" : "missing");
}

ek_status ek_onnx_image(const onnx_reader *r, size_t i, int *op)
{
    EK_TRY(ek_onnx_data(r, i, op));
    if (r->ops[*op].out.flat)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its input is %d features; images are what is read there",
                            r->ops[*op].out.c);
    return EK_OK;
}

/* A layer on operation `from`: its shape is inferred, and it is the node's value. */
ek_status ek_onnx_add_layer(onnx_reader *r, onnx_op op, int from)
{
    int index;
    op.kind = ONNX_LAYER;
    op.layer.in = r->ops[from].out;
    EK_TRY(ek_onnx_fail_in(r, ek_layer_infer(&op.layer)));
    op.out = op.layer.out;
    EK_TRY(ek_onnx_add(r, op, 1, &from, &index));
    return ek_onnx_bind(r, index);
}

ek_status ek_onnx_add_plain(onnx_reader *r, ek_layer_kind kind, int from)
{
    return ek_onnx_add_layer(r, (onnx_op){.layer = ek_layer_new(kind, 1)}, from);
}

ek_status ek_onnx_add_other(onnx_reader *r, onnx_op op, int count, const int *from)
{
    int index;
    EK_TRY(ek_onnx_add(r, op, count, from, &index));
    return ek_onnx_bind(r, index);
}

/* A constant of a shape that it must have, or none where it may be left out. */
ek_status ek_onnx_tensor(const onnx_reader *r, size_t i, const char *what, const ek_onnx_array **array)
{
    EK_TRY(ek_onnx_constant(r, i, array));
    if (*array && !ek_onnx_is_float(*array))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its %s holds no floating-point numbers", what);
    return EK_OK;
}

static ek_status needs(const onnx_reader *r, const ek_onnx_array *array, const char *what, int ndim, int64_t count)
{
    char shape[ONNX_SHAPE_TEXT];
    if (!array)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "it lacks its %s", what);
    if (array->ndim == ndim && array->count == count)
        return EK_OK;
    return ek_onnx_fail(r, EK_ERR_SHAPE, "its %s is %s, where %jd values in %d dimensions fit", what,
                        ek_onnx_shape_text(array, shape), (intmax_t)count, ndim);
}

/* An integer that an option of a layer holds; its own check says what it may be. */
static int as_int(int64_t value)
{
    return value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : (int)value;
}

/* ---- Windows -------------------------------------------------------------------------------------------------- */

static int64_t window_count(int64_t extent, int64_t before, int64_t behind, int64_t span, int64_t stride)
{
    const int64_t room = extent + before + behind - span;
    return room < 0 ? 0 : room / stride + 1;
}

/* Padding of one dimension: a layer pads alike on both sides. What no window reads does not count. */
ek_status ek_onnx_even_padding(const onnx_reader *r, int64_t extent, int64_t before, int64_t behind, int64_t span,
                               int64_t stride, bool ceil, int *padding)
{
    if (before < 0 || behind < 0 || before > EK_EXTENT_MAX || behind > EK_EXTENT_MAX || span > INT32_MAX ||
        stride < 1)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its padding is %jd and %jd, its stride %jd", (intmax_t)before,
                            (intmax_t)behind, (intmax_t)stride);
    int64_t count = window_count(extent, before, behind, span, stride);
    if (ceil && (extent + before + behind - span) % stride != 0)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "with ceil_mode its last window is not whole; make it 0");
    if (window_count(extent, before, before, span, stride) == count)
        *padding = (int)before;
    else if (before < behind && window_count(extent, behind, behind, span, stride) == count && count == 0)
        *padding = (int)behind;
    else
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its padding is %jd before and %jd behind; equal ones are read",
                            (intmax_t)before, (intmax_t)behind);
    return EK_OK;
}

/* SAME: as many windows as the extent has strides; an odd cell of padding stands behind, or before. */
static void same_padding(int64_t extent, int64_t span, int64_t stride, bool upper, int64_t *before, int64_t *behind)
{
    const int64_t windows = (extent + stride - 1) / stride, all = (windows - 1) * stride + span - extent;
    const int64_t half = all > 0 ? all / 2 : 0, rest = all > 0 ? all - half : 0;
    *before = upper ? half : rest;
    *behind = upper ? rest : half;
}

/* pads, strides and dilations of a node whose kernel is known. */
static ek_status read_windows(const onnx_reader *r, ek_dims in, const int kernel[2], bool ceil, int stride[2],
                              int dilation[2], int padding[2])
{
    static const char *const words[] = {"NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", NULL};
    int64_t pads[4], strides[2], dilations[2];
    int automatic;
    EK_TRY(ek_onnx_word(r, "auto_pad", words, &automatic));
    EK_TRY(ek_onnx_ints(r, "pads", 4, 0, pads));
    EK_TRY(ek_onnx_ints(r, "strides", 2, 1, strides));
    EK_TRY(ek_onnx_ints(r, "dilations", 2, 1, dilations));
    for (int d = 0; d < 2; d++) {
        const int64_t extent = d ? in.w : in.h;
        if (strides[d] < 1 || strides[d] > EK_EXTENT_MAX || dilations[d] < 1 || dilations[d] > EK_EXTENT_MAX ||
            kernel[d] < 1 || kernel[d] > EK_EXTENT_MAX)
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                                "its kernel is %d, its stride %jd, its dilation %jd; 1 to %d are "
                                "read",
                                kernel[d], (intmax_t)strides[d], (intmax_t)dilations[d], EK_EXTENT_MAX);
        const int64_t span = dilations[d] * (kernel[d] - 1) + 1;
        int64_t before = automatic ? 0 : pads[d], behind = automatic ? 0 : pads[2 + d];
        if (automatic >= 2)
            same_padding(extent, span, strides[d], automatic == 2, &before, &behind);
        EK_TRY(ek_onnx_even_padding(r, extent, before, behind, span, strides[d], ceil, &padding[d]));
        stride[d] = (int)strides[d];
        dilation[d] = (int)dilations[d];
    }
    return EK_OK;
}

static ek_status read_conv(onnx_reader *r)
{
    int from;
    int64_t groups, kernel[2];
    onnx_op op = {.scale = {1, 1}};
    EK_TRY(ek_onnx_image(r, 0, &from));
    EK_TRY(ek_onnx_tensor(r, 1, "weight", &op.tensors[0]));
    EK_TRY(ek_onnx_tensor(r, 2, "bias", &op.tensors[1]));
    EK_TRY(ek_onnx_int(r, "group", 1, &groups));
    const ek_onnx_array *weight = op.tensors[0];
    if (!weight || weight->ndim != 4)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its weight has %d dimensions; convolutions of images have 4",
                            weight ? weight->ndim : 0);
    for (int d = 0; d < 2; d++)
        kernel[d] = weight->dim[2 + d];
    if (ek_onnx_attribute(r, "kernel_shape"))
        EK_TRY(ek_onnx_ints(r, "kernel_shape", 2, 1, kernel));
    if (kernel[0] != weight->dim[2] || kernel[1] != weight->dim[3])
        return ek_onnx_fail(r, EK_ERR_SHAPE, "its kernel_shape is not its weight's");
    op.layer = ek_layer_new(EK_LAYER_CONV2D, as_int(weight->dim[0]));
    for (int d = 0; d < 2; d++)
        op.layer.o.conv.kernel[d] = as_int(kernel[d]);
    op.layer.o.conv.groups = as_int(groups);
    op.layer.o.conv.bias = op.tensors[1] != NULL;
    EK_TRY(read_windows(r, r->ops[from].out, op.layer.o.conv.kernel, false, op.layer.o.conv.stride,
                        op.layer.o.conv.dilation, op.layer.o.conv.padding));
    EK_TRY(ek_onnx_add_layer(r, op, from));
    if (weight->dim[1] != r->ops[from].out.c / groups)
        return ek_onnx_fail(r, EK_ERR_SHAPE, "its weight takes %jd channels a group, and its input has %d in %jd",
                            (intmax_t)weight->dim[1], r->ops[from].out.c, (intmax_t)groups);
    return op.tensors[1] ? needs(r, op.tensors[1], "bias", 1, weight->dim[0]) : EK_OK;
}

static ek_status read_pool(onnx_reader *r, bool maximum)
{
    int from, dilation[2];
    int64_t kernel[2], ceil, count_padding, order;
    ek_layer layer = ek_layer_new(maximum ? EK_LAYER_MAXPOOL2D : EK_LAYER_AVGPOOL2D, 1);
    EK_TRY(ek_onnx_image(r, 0, &from));
    EK_TRY(ek_onnx_ints(r, "kernel_shape", 2, 0, kernel));
    EK_TRY(ek_onnx_int(r, "ceil_mode", 0, &ceil));
    EK_TRY(ek_onnx_int(r, "storage_order", 0, &order));
    EK_TRY(ek_onnx_int(r, "count_include_pad", 0, &count_padding));
    for (int d = 0; d < 2; d++)
        layer.o.pool.kernel[d] = as_int(kernel[d]);
    EK_TRY(read_windows(r, r->ops[from].out, layer.o.pool.kernel, ceil != 0, layer.o.pool.stride, dilation,
                        layer.o.pool.padding));
    if (dilation[0] != 1 || dilation[1] != 1)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its dilation is %dx%d; 1 is read", dilation[0], dilation[1]);
    const bool padded = layer.o.pool.padding[0] || layer.o.pool.padding[1];
    if (!maximum) /* without padding either way is the same: the default */
        layer.o.pool.count_padding = !padded || count_padding != 0;
    return ek_onnx_add_layer(r, (onnx_op){.layer = layer}, from);
}

static ek_status read_global_pool(onnx_reader *r, bool maximum)
{
    int from;
    EK_TRY(ek_onnx_image(r, 0, &from));
    if (!maximum)
        return ek_onnx_add_plain(r, EK_LAYER_GLOBALAVGPOOL, from);
    ek_layer layer = ek_layer_new(EK_LAYER_MAXPOOL2D, 1);
    layer.o.pool.kernel[0] = layer.o.pool.stride[0] = r->ops[from].out.h;
    layer.o.pool.kernel[1] = layer.o.pool.stride[1] = r->ops[from].out.w;
    return ek_onnx_add_layer(r, (onnx_op){.layer = layer}, from);
}

/* ---- Linear layers and normalisations ------------------------------------------------------------------------- */

static ek_status add_linear(onnx_reader *r, int from, onnx_op op, bool by_rows)
{
    const ek_onnx_array *weight = op.tensors[0];
    if (!r->ops[from].out.flat)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its input is images; a Flatten belongs before it");
    if (!weight || weight->ndim != 2)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its weight has %d dimensions; 2 are read",
                            weight ? weight->ndim : 0);
    const int64_t out = weight->dim[by_rows ? 0 : 1], in = weight->dim[by_rows ? 1 : 0];
    op.by_columns = !by_rows;
    op.layer = ek_layer_new(EK_LAYER_LINEAR, as_int(out));
    op.layer.o.linear.bias = op.tensors[1] != NULL;
    EK_TRY(ek_onnx_add_layer(r, op, from));
    if (in != r->ops[from].out.c)
        return ek_onnx_fail(r, EK_ERR_SHAPE, "its weight takes %jd features, and its input has %d", (intmax_t)in,
                            r->ops[from].out.c);
    return EK_OK;
}

static ek_status read_gemm(onnx_reader *r)
{
    int from;
    int64_t trans_a, trans_b;
    onnx_op op = {.scale = {1, 1}};
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_tensor(r, 1, "weight", &op.tensors[0]));
    EK_TRY(ek_onnx_tensor(r, 2, "bias", &op.tensors[1]));
    EK_TRY(ek_onnx_int(r, "transA", 0, &trans_a));
    EK_TRY(ek_onnx_int(r, "transB", 0, &trans_b));
    EK_TRY(ek_onnx_float(r, "alpha", 1, &op.scale[0]));
    EK_TRY(ek_onnx_float(r, "beta", 1, &op.scale[1]));
    if (trans_a)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it transposes its input");
    EK_TRY(add_linear(r, from, op, trans_b != 0));
    const ek_onnx_array *bias = op.tensors[1];
    if (bias && (bias->count != 1 || bias->ndim > 2) &&
        (bias->count != r->ops[r->op_count - 1].out.c || bias->ndim > 2 || bias->dim[bias->ndim - 1] != bias->count))
        return needs(r, bias, "bias", 1, r->ops[r->op_count - 1].out.c);
    return EK_OK;
}

static ek_status read_matmul(onnx_reader *r)
{
    int from;
    onnx_op op = {.scale = {1, 1}};
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_tensor(r, 1, "weight", &op.tensors[0]));
    return add_linear(r, from, op, false);
}

/* Where this library takes 0 for 1/sqrt(0), ONNX has infinity. */
static ek_status check_variance(const onnx_reader *r, const ek_onnx_array *variance, float eps)
{
    for (int64_t c = 0; c < variance->count && eps == 0; c++)
        if ((float)ek_onnx_number(variance, c) == 0)
            return ek_onnx_fail(r, EK_ERR_NUMERIC,
                                "channel %jd has no variance, and epsilon is 0: it divides by 0 there; give it an "
                                "epsilon, of 1e-5 for example",
                                (intmax_t)c);
    return EK_OK;
}

/* ONNX's momentum is the weight of the old value, a float: the new one's is what people wrote where that gives it. */
static float new_weight(double old)
{
    const double rest = 1 - old, rounded = round(rest * 1e6) / 1e6;
    const float as_written = (float)(1 - rounded);
    return (float)((double)as_written == old ? rounded : rest);
}

static ek_status read_batchnorm(onnx_reader *r)
{
    static const char *const names[] = {"scale", "bias", "mean", "variance"};
    int from;
    double eps, momentum;
    int64_t training, spatial;
    onnx_op op = {.layer = ek_layer_new(EK_LAYER_BATCHNORM, 0)};
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_float(r, "epsilon", (double)1e-5f, &eps));
    EK_TRY(ek_onnx_float(r, "momentum", (double)0.9f, &momentum));
    EK_TRY(ek_onnx_int(r, "training_mode", 0, &training));
    EK_TRY(ek_onnx_int(r, "spatial", 1, &spatial));
    if (training || spatial != 1)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            training ? "it is in training mode; export the model for inference"
                                     : "it normalises each value by itself (spatial is 0)");
    op.layer.o.batchnorm.eps = (float)eps;
    const float weight = new_weight(momentum);
    if (weight > 0 && weight <= 1) /* else of no use: the default */
        op.layer.o.batchnorm.momentum = weight;
    for (size_t i = 0; i < ONNX_TENSORS; i++) {
        EK_TRY(ek_onnx_tensor(r, i + 1, names[i], &op.tensors[i]));
        EK_TRY(needs(r, op.tensors[i], names[i], 1, r->ops[from].out.c));
    }
    EK_TRY(check_variance(r, op.tensors[3], (float)eps));
    return ek_onnx_add_layer(r, op, from);
}

/* Whether axis `axis` of data is the first behind the batch. */
ek_status ek_onnx_whole_sample(const onnx_reader *r, int from, int64_t axis)
{
    const int ndim = r->ops[from].out.flat ? 2 : 4;
    if (axis == 1 || axis == 1 - ndim)
        return EK_OK;
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its axis is %jd; whole samples, from axis 1 on, are read",
                        (intmax_t)axis);
}

static ek_status read_layernorm(onnx_reader *r)
{
    int from;
    double eps;
    int64_t axis;
    onnx_op op = {.layer = ek_layer_new(EK_LAYER_LAYERNORM, 0)};
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_int(r, "axis", -1, &axis));
    EK_TRY(ek_onnx_whole_sample(r, from, axis));
    EK_TRY(ek_onnx_float(r, "epsilon", (double)1e-5f, &eps));
    op.layer.o.layernorm.eps = (float)eps;
    EK_TRY(ek_onnx_tensor(r, 1, "scale", &op.tensors[0]));
    EK_TRY(ek_onnx_tensor(r, 2, "bias", &op.tensors[1]));
    const ek_dims in = r->ops[from].out;
    op.layer.o.layernorm.affine = op.tensors[0] || op.tensors[1]; /* some exporters leave both out */
    for (int i = 0; i < 2; i++)
        if (op.tensors[i])
            EK_TRY(needs(r, op.tensors[i], i ? "bias" : "scale", in.flat ? 1 : 3, ek_dims_count(in)));
    return ek_onnx_add_layer(r, op, from);
}

/* ---- Activations ---------------------------------------------------------------------------------------------- */

static ek_status read_plain(onnx_reader *r, ek_layer_kind kind)
{
    int from;
    EK_TRY(ek_onnx_data(r, 0, &from));
    return ek_onnx_add_plain(r, kind, from);
}

static ek_status add_leaky(onnx_reader *r, int from, double slope)
{
    ek_layer layer = ek_layer_new(EK_LAYER_LEAKY_RELU, 0);
    layer.o.leaky_relu.negative_slope = (float)slope;
    return ek_onnx_add_layer(r, (onnx_op){.layer = layer}, from);
}

static ek_status read_leaky(onnx_reader *r)
{
    int from;
    double slope;
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_float(r, "alpha", (double)0.01f, &slope));
    return add_leaky(r, from, slope);
}

static ek_status read_prelu(onnx_reader *r)
{
    int from;
    const ek_onnx_array *slope;
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_tensor(r, 1, "slope", &slope));
    if (!slope || slope->count != 1)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its slope is not one number for all channels");
    return add_leaky(r, from, ek_onnx_number(slope, 0));
}

static ek_status read_gelu(onnx_reader *r)
{
    static const char *const words[] = {"none", "tanh", NULL};
    int from, which;
    ek_layer layer = ek_layer_new(EK_LAYER_GELU, 0);
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_word(r, "approximate", words, &which));
    layer.o.gelu.by_tanh = which == 1;
    return ek_onnx_add_layer(r, (onnx_op){.layer = layer}, from);
}

/* max(x, 0) written as a clip. */
static ek_status read_clip(onnx_reader *r)
{
    int from;
    double limit[2] = {-INFINITY, INFINITY};
    static const char *const names[] = {"min", "max"};
    EK_TRY(ek_onnx_data(r, 0, &from));
    for (size_t i = 0; i < 2; i++) {
        const ek_onnx_array *array = NULL;
        if (r->opset < 11)
            EK_TRY(ek_onnx_float(r, names[i], limit[i], &limit[i]));
        else
            EK_TRY(ek_onnx_tensor(r, i + 1, names[i], &array));
        if (array && array->count == 1)
            limit[i] = ek_onnx_number(array, 0);
        else if (array)
            return ek_onnx_fail(r, EK_ERR_FORMAT, "its %s is not one number", names[i]);
    }
    if (limit[0] != 0 || limit[1] < 3e38)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it clips to %g and %g; 0 and no upper limit (relu) are read",
                            limit[0], limit[1]);
    return ek_onnx_add_plain(r, EK_LAYER_RELU, from);
}

static ek_status read_dropout(onnx_reader *r)
{
    int from;
    double p = 0.5;
    const ek_onnx_array *ratio = NULL, *training = NULL;
    EK_TRY(ek_onnx_data(r, 0, &from));
    if (r->opset < 12)
        EK_TRY(ek_onnx_float(r, "ratio", 0.5, &p));
    else {
        EK_TRY(ek_onnx_tensor(r, 1, "ratio", &ratio));
        EK_TRY(ek_onnx_constant(r, 2, &training));
    }
    if (ratio && ratio->count == 1)
        p = ek_onnx_number(ratio, 0);
    if (training && !(training->count == 1 && ek_onnx_number(training, 0) == 0))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it is in training mode; export the model for inference");
    ek_layer layer = ek_layer_new(EK_LAYER_DROPOUT, 0);
    layer.o.dropout.p = (float)p;
    return ek_onnx_add_layer(r, (onnx_op){.layer = layer}, from);
}

/* ---- All of them ---------------------------------------------------------------------------------------------- */

/* What softmax gives has the order of what it reads, and a net's loss takes that. */
static ek_status read_softmax(onnx_reader *r)
{
    int from;
    int64_t axis;
    const char *output = r->options->output ? r->options->output : r->graph->output[0]->name;
    EK_TRY(ek_onnx_data(r, 0, &from));
    EK_TRY(ek_onnx_int(r, "axis", -1, &axis)); /* of opsets below 13 it is 1: of features the same */
    if (!output || strcmp(ek_onnx_node(r)->output[0], output) != 0 || !r->ops[from].out.flat)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it stands inside of the graph; at its end it is left out");
    if (axis != 1 && axis != -1)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "its axis is %jd, the batch; along features, axis 1, it is left out", (intmax_t)axis);
    EK_TRY(ek_onnx_tell(r, "left out: the %s at the end: a net gives logits", ek_onnx_node(r)->op_type));
    return ek_onnx_bind(r, from);
}

static const char known[] =
    "Conv, Gemm, MatMul, BatchNormalization, LayerNormalization, Relu, LeakyRelu, Sigmoid, Tanh, Gelu, MaxPool, "
    "AveragePool, GlobalAveragePool, ReduceMean, Flatten, Reshape, Add, Concat, Pad, Slice, Dropout, Softmax at the "
    "end, arithmetic with constants";

ek_status ek_onnx_read_node(onnx_reader *r)
{
    static const struct {
        const char *type;
        ek_status (*read)(onnx_reader *r);
    } readers[] = {
        {"Conv", read_conv},
        {"Gemm", read_gemm},
        {"MatMul", read_matmul},
        {"BatchNormalization", read_batchnorm},
        {"LayerNormalization", read_layernorm},
        {"LeakyRelu", read_leaky},
        {"PRelu", read_prelu},
        {"Gelu", read_gelu},
        {"Clip", read_clip},
        {"Dropout", read_dropout},
        {"Softmax", read_softmax},
        {"LogSoftmax", read_softmax},
    };
    const char *type = ek_onnx_node(r)->op_type ? ek_onnx_node(r)->op_type : "";
    bool done;
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (!strcmp(type, readers[i].type))
            return readers[i].read(r);
    if (!strcmp(type, "Relu"))
        return read_plain(r, EK_LAYER_RELU);
    if (!strcmp(type, "Sigmoid"))
        return read_plain(r, EK_LAYER_SIGMOID);
    if (!strcmp(type, "Tanh"))
        return read_plain(r, EK_LAYER_TANH);
    if (!strcmp(type, "MaxPool") || !strcmp(type, "AveragePool"))
        return read_pool(r, type[0] == 'M');
    if (!strcmp(type, "GlobalMaxPool") || !strcmp(type, "GlobalAveragePool"))
        return read_global_pool(r, type[6] == 'M');
    EK_TRY(ek_onnx_read_shaping(r, type, &done));
    if (done)
        return EK_OK;
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "this operator is not read; those that are: %s", known);
}

#endif
