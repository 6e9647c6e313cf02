/* SPDX-License-Identifier: MIT */
#include "net/kind.h"

#include <float.h>
#include <string.h>

/* ---- The list ----------------------------------------------------------------------------------------------- */

/* clang-format off */
#define NUMBER(name, field, low, range) \
    {name, EK_OPTION_NUMBER, offsetof(ek_layer, field), low, EK_EXTENT_MAX, range, {NULL, NULL}, NULL}
#define PAIR(name, field, low, range) \
    {name, EK_OPTION_PAIR, offsetof(ek_layer, field), low, EK_EXTENT_MAX, range, {NULL, NULL}, NULL}
#define SWITCH(name, field) \
    {name, EK_OPTION_SWITCH, offsetof(ek_layer, field), 0, 1, "yes or no", {"no", "yes"}, NULL}
#define EPS(field) \
    {"eps", EK_OPTION_FLOAT, offsetof(ek_layer, field), 0, FLT_MAX, "0 or more", {NULL, NULL}, NULL}

const ek_kind ek_kinds[EK_LAYER_KINDS] = {
    [EK_LAYER_CONV2D] = {"conv2d", true, 7, {
        NUMBER("out_channels", out.c, 1, "1 to 65536"),
        PAIR("kernel", o.conv.kernel, 1, "1 to 65536"),
        PAIR("padding", o.conv.padding, 0, "0 to 65536"),
        PAIR("stride", o.conv.stride, 1, "1 to 65536"),
        PAIR("dilation", o.conv.dilation, 1, "1 to 65536"),
        NUMBER("groups", o.conv.groups, 1, "1 to 65536"),
        SWITCH("bias", o.conv.bias),
    }},
    [EK_LAYER_LINEAR] = {"linear", true, 2, {
        NUMBER("out_features", out.c, 1, "1 to 65536"),
        SWITCH("bias", o.linear.bias),
    }},
    [EK_LAYER_BATCHNORM] = {"batchnorm", false, 11, {
        EPS(o.batchnorm.eps),
        {"momentum", EK_OPTION_FLOAT, offsetof(ek_layer, o.batchnorm.momentum), FLT_TRUE_MIN, 1,
         "above 0 and at most 1, or cumulative", {NULL, NULL}, "cumulative"},
        {"moving_variance", EK_OPTION_VARIANCE, offsetof(ek_layer, o.batchnorm.moving_variance), 0, 1,
         "unbiased or population", {"unbiased", "population"}, NULL},
        {"normalize", EK_OPTION_NORMALIZE, offsetof(ek_layer, o.batchnorm.normalize), 0, 2,
         "both, mean or deviation", {"both", "mean", "deviation"}, NULL},
        SWITCH("affine", o.batchnorm.affine),
        SWITCH("scale", o.batchnorm.scale),
        SWITCH("center", o.batchnorm.center),
        SWITCH("tracking", o.batchnorm.tracking),
        SWITCH("use_moving", o.batchnorm.use_moving),
        SWITCH("hold_moving", o.batchnorm.hold_moving),
        SWITCH("hold_affine", o.batchnorm.hold_affine),
    }},
    [EK_LAYER_LAYERNORM] = {"layernorm", false, 2, {
        EPS(o.layernorm.eps),
        SWITCH("affine", o.layernorm.affine),
    }},
    [EK_LAYER_RELU] = {"relu", false, 0, {{0}}},
    [EK_LAYER_LEAKY_RELU] = {"leaky_relu", false, 1, {
        {"negative_slope", EK_OPTION_FLOAT, offsetof(ek_layer, o.leaky_relu.negative_slope), 0, FLT_MAX, "0 or more",
         {NULL, NULL}, NULL},
    }},
    [EK_LAYER_SIGMOID] = {"sigmoid", false, 0, {{0}}},
    [EK_LAYER_TANH] = {"tanh", false, 0, {{0}}},
    [EK_LAYER_GELU] = {"gelu", false, 1, {
        {"approximate", EK_OPTION_SWITCH, offsetof(ek_layer, o.gelu.by_tanh), 0, 1, "none or tanh", {"none", "tanh"},
         NULL},
    }},
    [EK_LAYER_MAXPOOL2D] = {"maxpool", true, 3, {
        PAIR("kernel", o.pool.kernel, 1, "1 to 65536"),
        PAIR("stride", o.pool.stride, 1, "1 to 65536"),
        PAIR("padding", o.pool.padding, 0, "0 to 65536"),
    }},
    [EK_LAYER_AVGPOOL2D] = {"avgpool", true, 4, {
        PAIR("kernel", o.pool.kernel, 1, "1 to 65536"),
        PAIR("stride", o.pool.stride, 1, "1 to 65536"),
        PAIR("padding", o.pool.padding, 0, "0 to 65536"),
        SWITCH("count_include_pad", o.pool.count_padding),
    }},
    [EK_LAYER_GLOBALAVGPOOL] = {"globalavgpool", false, 0, {{0}}},
    [EK_LAYER_FLATTEN] = {"flatten", false, 0, {{0}}},
    [EK_LAYER_DROPOUT] = {"dropout", false, 1, {
        {"p", EK_OPTION_FLOAT, offsetof(ek_layer, o.dropout.p), 0, 1, "0 to 1", {NULL, NULL}, NULL},
    }},
    [EK_LAYER_RESIDUAL] = {"residual", false, 2, {
        {"shortcut", EK_OPTION_SWITCH, offsetof(ek_layer, o.residual.pad), 0, 1, "identity or pad",
         {"identity", "pad"}, NULL},
        NUMBER("stride", o.residual.stride, 1, "1 to 65536"),
    }},
    [EK_LAYER_CONCAT] = {"concat", false, 0, {{0}}},
};
/* clang-format on */

ek_layer ek_layer_new(ek_layer_kind kind, int size)
{
    ek_layer layer = {.kind = kind, .weight = -1, .bias = -1, .moving_mean = -1, .moving_var = -1, .num_batches = -1};
    switch (kind) {
    case EK_LAYER_CONV2D:
        for (int i = 0; i < 2; i++)
            layer.o.conv.kernel[i] = layer.o.conv.stride[i] = layer.o.conv.dilation[i] = 1;
        layer.o.conv.groups = 1;
        layer.o.conv.bias = true;
        break;
    case EK_LAYER_LINEAR:
        layer.o.linear.bias = true;
        break;
    case EK_LAYER_BATCHNORM:
        layer.o.batchnorm.eps = 1e-5f;
        layer.o.batchnorm.momentum = 0.1f;
        layer.o.batchnorm.affine = layer.o.batchnorm.scale = layer.o.batchnorm.center = true;
        layer.o.batchnorm.tracking = true;
        break;
    case EK_LAYER_LAYERNORM:
        layer.o.layernorm.eps = 1e-5f;
        layer.o.layernorm.affine = true;
        break;
    case EK_LAYER_LEAKY_RELU:
        layer.o.leaky_relu.negative_slope = 0.01f;
        break;
    case EK_LAYER_DROPOUT:
        layer.o.dropout.p = 0.5f;
        break;
    case EK_LAYER_AVGPOOL2D:
        layer.o.pool.count_padding = true;
        break;
    case EK_LAYER_RESIDUAL:
        layer.o.residual.stride = 1;
        break;
    case EK_LAYER_MAXPOOL2D:
    case EK_LAYER_RELU:
    case EK_LAYER_SIGMOID:
    case EK_LAYER_TANH:
    case EK_LAYER_GELU:
    case EK_LAYER_GLOBALAVGPOOL:
    case EK_LAYER_FLATTEN:
    case EK_LAYER_CONCAT:
        break;
    }
    const ek_option *first = &ek_kinds[kind].options[0];
    for (int part = 0; ek_kinds[kind].sized && part < ek_option_parts(first); part++)
        ek_option_set(first, &layer, part, size);
    ek_layer_follow_size(&layer);
    return layer;
}

void ek_layer_follow_size(ek_layer *layer)
{
    if (layer->kind == EK_LAYER_MAXPOOL2D || layer->kind == EK_LAYER_AVGPOOL2D)
        memcpy(layer->o.pool.stride, layer->o.pool.kernel, sizeof layer->o.pool.stride);
}

/* ---- Values of options -------------------------------------------------------------------------------------- */

double ek_option_get(const ek_option *option, const ek_layer *layer, int part)
{
    const void *field = (const char *)layer + option->offset;
    switch (option->type) {
    case EK_OPTION_NUMBER:
    case EK_OPTION_PAIR:
        return ((const int *)field)[part];
    case EK_OPTION_FLOAT:
        return (double)*(const float *)field;
    case EK_OPTION_SWITCH:
        return *(const bool *)field;
    case EK_OPTION_VARIANCE:
        return *(const ek_moving_variance *)field;
    case EK_OPTION_NORMALIZE:
        return *(const ek_normalize *)field;
    }
    return 0;
}

void ek_option_set(const ek_option *option, ek_layer *layer, int part, double value)
{
    void *field = (char *)layer + option->offset;
    switch (option->type) {
    case EK_OPTION_NUMBER:
    case EK_OPTION_PAIR:
        ((int *)field)[part] = (int)value;
        break;
    case EK_OPTION_FLOAT:
        *(float *)field = (float)value;
        break;
    case EK_OPTION_SWITCH:
        *(bool *)field = value != 0;
        break;
    case EK_OPTION_VARIANCE:
        *(ek_moving_variance *)field = (ek_moving_variance)value;
        break;
    case EK_OPTION_NORMALIZE:
        *(ek_normalize *)field = (ek_normalize)value;
        break;
    }
}

bool ek_option_allows(const ek_option *option, double value)
{
    return (value >= option->low && value <= option->high) || (option->minus && value == -1);
}
