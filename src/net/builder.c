/* SPDX-License-Identifier: MIT
 * Building a net: layers one by one, every option checked, every shape inferred. A failing call marks the net. */
#include "net/net.h"

#include "base/memory.h"
#include "net/block.h"
#include "net/kind.h"

#include <stdio.h>

ek_status ek_net_mark(ek_net *net, ek_status status)
{
    if (!status)
        return EK_OK;
    net->status = status;
    snprintf(net->message, sizeof net->message, "%s", ek_error());
    return status;
}

static bool is_extent(int extent)
{
    return extent >= 1 && extent <= EK_EXTENT_MAX;
}

ek_net *ek_net_new(int channels, int height, int width)
{
    ek_net *net = ek_calloc(1, sizeof *net);
    if (!net)
        return NULL;
    net->input = (ek_dims){.c = channels, .h = height, .w = width};
    net->open = net->tail = -1;
    if (!is_extent(channels) || !is_extent(height) || !is_extent(width))
        ek_net_mark(net, ek_fail(EK_ERR_ARGUMENT, "input %d %d %d: every extent must be 1 to %d", channels, height,
                                 width, EK_EXTENT_MAX));
    else if (ek_dims_count(net->input) > EK_SAMPLE_MAX)
        ek_net_mark(net, ek_fail(EK_ERR_ARGUMENT, "input %d %d %d: more than %d values in a sample", channels, height,
                                 width, EK_SAMPLE_MAX));
    return net;
}

/* ---- Shapes ------------------------------------------------------------------------------------------------- */

/* The failures below say what is wrong, add_layer puts the layer's name before it. */
static ek_status needs_image(const ek_layer *layer)
{
    if (!layer->in.flat)
        return EK_OK;
    return ek_fail(EK_ERR_SHAPE, "needs images, but its input is %d features; put it before flatten", layer->in.c);
}

/* "3x5", or "3" for twice the same. */
static const char *pair_text(const int pair[2], char buffer[32])
{
    if (pair[0] == pair[1])
        snprintf(buffer, 32, "%d", pair[0]);
    else
        snprintf(buffer, 32, "%dx%d", pair[0], pair[1]);
    return buffer;
}

/* Windows of `kernel` taps, `dilation` apart, every `stride` along an extent; 0: not one fits. */
static int windows(int extent, int padding, int kernel, int stride, int dilation)
{
    const int64_t room = (int64_t)extent + 2 * (int64_t)padding - ((int64_t)dilation * (kernel - 1) + 1);
    return room < 0 ? 0 : (int)(room / stride + 1);
}

static ek_status infer_windows(ek_layer *layer, const int kernel[2], const int padding[2], const int stride[2],
                               const int dilation[2])
{
    char input[40], text[32], padded[48] = "", dilated[48] = "";
    const ek_dims in = layer->in;
    layer->out.h = windows(in.h, padding[0], kernel[0], stride[0], dilation[0]);
    layer->out.w = windows(in.w, padding[1], kernel[1], stride[1], dilation[1]);
    if (layer->out.h > 0 && layer->out.w > 0)
        return EK_OK;
    if (padding[0] > 0 || padding[1] > 0)
        snprintf(padded, sizeof padded, " padded by %s", pair_text(padding, text));
    if (dilation[0] > 1 || dilation[1] > 1)
        snprintf(dilated, sizeof dilated, " dilated by %s", pair_text(dilation, text));
    return ek_fail(EK_ERR_SHAPE, "kernel %s%s does not fit its input of %s%s; make the kernel smaller%s",
                   pair_text(kernel, text), dilated, ek_dims_text(in, input), padded,
                   layer->kind == EK_LAYER_CONV2D ? " or add padding" : ", or leave the layer out");
}

static ek_status check_weights(size_t count)
{
    if (count <= EK_TENSOR_MAX)
        return EK_OK;
    return ek_fail(EK_ERR_SHAPE, "its weight would have more than %d values; make the layer smaller", EK_TENSOR_MAX);
}

static ek_status infer_conv2d(ek_layer *layer)
{
    const int *kernel = layer->o.conv.kernel, groups = layer->o.conv.groups;
    EK_TRY(needs_image(layer));
    if (layer->in.c % groups || layer->out.c % groups)
        return ek_fail(EK_ERR_SHAPE,
                       "groups must divide the %d channels of its input and the %d of its output; %d do not",
                       layer->in.c, layer->out.c, groups);
    EK_TRY(infer_windows(layer, kernel, layer->o.conv.padding, layer->o.conv.stride, layer->o.conv.dilation));
    return check_weights(
        ek_size_mul((size_t)(layer->in.c / groups) * (size_t)layer->out.c, (size_t)kernel[0] * (size_t)kernel[1]));
}

static ek_status infer_linear(ek_layer *layer)
{
    char input[40];
    if (!layer->in.flat)
        return ek_fail(EK_ERR_SHAPE, "needs features, but its input is images of %s; put a flatten before it",
                       ek_dims_text(layer->in, input));
    layer->out = (ek_dims){.c = layer->out.c, .h = 1, .w = 1, .flat = true};
    return check_weights((size_t)layer->in.c * (size_t)layer->out.c);
}

static ek_status infer_pool2d(ek_layer *layer)
{
    const int *kernel = layer->o.pool.kernel, *padding = layer->o.pool.padding;
    char padding_text[32], kernel_text[32];
    EK_TRY(needs_image(layer));
    layer->out.c = layer->in.c;
    if (2 * padding[0] > kernel[0] || 2 * padding[1] > kernel[1])
        return ek_fail(EK_ERR_ARGUMENT, "padding %s is more than half of kernel %s: windows would miss the image",
                       pair_text(padding, padding_text), pair_text(kernel, kernel_text));
    return infer_windows(layer, kernel, padding, layer->o.pool.stride, (const int[]){1, 1});
}

static ek_status infer_globalavgpool(ek_layer *layer)
{
    EK_TRY(needs_image(layer));
    layer->out = (ek_dims){.c = layer->in.c, .h = 1, .w = 1};
    return EK_OK;
}

static ek_status check_batchnorm(const ek_layer *layer)
{
    if (layer->o.batchnorm.use_moving && !layer->o.batchnorm.tracking)
        return ek_fail(EK_ERR_ARGUMENT, "use_moving needs moving statistics, and tracking is switched off");
    return EK_OK;
}

/* Sets `out` of a layer whose `in` and options are set. */
static ek_status infer_shape(ek_layer *layer)
{
    switch (layer->kind) {
    case EK_LAYER_CONV2D:
        EK_TRY(infer_conv2d(layer));
        break;
    case EK_LAYER_LINEAR:
        EK_TRY(infer_linear(layer));
        break;
    case EK_LAYER_MAXPOOL2D:
    case EK_LAYER_AVGPOOL2D:
        EK_TRY(infer_pool2d(layer));
        break;
    case EK_LAYER_GLOBALAVGPOOL:
        EK_TRY(infer_globalavgpool(layer));
        break;
    case EK_LAYER_FLATTEN:
        layer->out = (ek_dims){.c = (int)ek_dims_count(layer->in), .h = 1, .w = 1, .flat = true};
        break;
    case EK_LAYER_BATCHNORM:
        EK_TRY(check_batchnorm(layer));
        layer->out = layer->in;
        break;
    case EK_LAYER_LAYERNORM:
    case EK_LAYER_RELU:
    case EK_LAYER_LEAKY_RELU:
    case EK_LAYER_SIGMOID:
    case EK_LAYER_TANH:
    case EK_LAYER_GELU:
    case EK_LAYER_DROPOUT:
    case EK_LAYER_RESIDUAL: /* known when the block ends */
    case EK_LAYER_CONCAT:
        layer->out = layer->in;
        break;
    }
    char output[40];
    if (layer->out.h > EK_EXTENT_MAX || layer->out.w > EK_EXTENT_MAX)
        return ek_fail(EK_ERR_SHAPE, "its output of %s is too large; rows and columns are at most %d",
                       ek_dims_text(layer->out, output), EK_EXTENT_MAX);
    if (ek_dims_count(layer->out) > EK_SAMPLE_MAX)
        return ek_fail(EK_ERR_SHAPE, "its output of %s is too large; a sample has at most %d values",
                       ek_dims_text(layer->out, output), EK_SAMPLE_MAX);
    return EK_OK;
}

/* ---- Adding a layer ----------------------------------------------------------------------------------------- */

static ek_status check_options(const ek_layer *layer)
{
    const ek_kind *kind = &ek_kinds[layer->kind];
    for (int i = 0; i < kind->option_count; i++) {
        const ek_option *option = &kind->options[i];
        for (int part = 0; part < ek_option_parts(option); part++) {
            double value = ek_option_get(option, layer, part);
            if (!ek_option_allows(option, value))
                return ek_fail(EK_ERR_ARGUMENT, "%s is %.*g; it must be %s", option->name,
                               option->type == EK_OPTION_FLOAT ? 9 : 10, value, option->range);
        }
    }
    return EK_OK;
}

ek_status ek_layer_infer(ek_layer *layer)
{
    EK_TRY(check_options(layer));
    return infer_shape(layer);
}

static ek_status reserve_layer(ek_net *net)
{
    if (net->layer_count == EK_LAYERS_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "one layer too many: a net has at most %d", EK_LAYERS_MAX);
    if (net->layer_count < net->layer_room)
        return EK_OK;
    int room = net->layer_room ? 2 * net->layer_room : 16;
    ek_layer *layers = ek_realloc(net->layers, (size_t)room, sizeof *layers);
    if (!layers)
        return EK_ERR_MEMORY;
    net->layers = layers;
    net->layer_room = room;
    return EK_OK;
}

/* Where the layer stands, and what it reads. */
static ek_status place_layer(ek_net *net, ek_layer *layer)
{
    layer->parent = net->open;
    layer->from = net->tail;
    layer->position = net->position;
    layer->in = ek_net_output(net);
    layer->end = net->layer_count + 1;
    char path[EK_PATH_SIZE];
    if (net->open < 0) {
        snprintf(path, sizeof path, "%d", layer->position);
    } else {
        const ek_layer *block = &net->layers[net->open];
        layer->part = block->parts - 1;
        layer->depth = block->depth + 1;
        if (block->kind == EK_LAYER_CONCAT)
            snprintf(path, sizeof path, "%s.branches.%d.%d", block->path, layer->part, layer->position);
        else
            snprintf(path, sizeof path, "%s.%s.%d", block->path, layer->part ? "shortcut" : "body", layer->position);
    }
    layer->path = ek_strdup(path);
    return layer->path ? EK_OK : EK_ERR_MEMORY;
}

static ek_status check_layer(ek_net *net, ek_layer *layer)
{
    if (layer->depth == EK_DEPTH_MAX && ek_is_block(layer->kind))
        return ek_fail(EK_ERR_ARGUMENT, "blocks stand more than %d deep in each other", EK_DEPTH_MAX);
    EK_TRY(ek_layer_infer(layer));
    return reserve_layer(net);
}

static ek_status add_layer(ek_net *net, ek_layer layer)
{
    const char *name = ek_kinds[layer.kind].name;
    if (net->finished)
        return ek_fail(EK_ERR_STATE,
                       "layer %d (%s): the net is in use; layers must be added before its tensors are looked at",
                       net->position, name);
    if (net->open >= 0 && net->layers[net->open].parts == 0)
        return ek_fail(EK_ERR_STATE,
                       "layer %s (concat): a %s cannot stand outside its branches; ek_net_branch begins one",
                       net->layers[net->open].path, name);
    EK_TRY(place_layer(net, &layer));
    ek_status status = check_layer(net, &layer);
    if (status) {
        char label[EK_LABEL_SIZE];
        snprintf(label, sizeof label, "layer %s (%s)", layer.path, name);
        status = ek_fail_in(status, label);
    } else {
        layer.text = ek_layer_text(&layer);
        status = layer.text ? EK_OK : EK_ERR_MEMORY;
    }
    if (status) {
        ek_free(layer.path);
        return status;
    }
    net->tail = net->layer_count;
    net->position++;
    net->layers[net->layer_count++] = layer;
    if (ek_is_block(layer.kind))
        ek_block_enter(net);
    return EK_OK;
}

ek_status ek_net_add(ek_net *net, const ek_layer *layer)
{
    EK_TRY(ek_net_check(net));
    return ek_net_mark(net, add_layer(net, *layer));
}

/* ---- The public calls: options with defaults filled in ------------------------------------------------------ */

/* An option of rows and columns: each its own where it is given, else what is given for both, else as it is. */
static void set_pair(int pair[2], int both, int rows, int columns)
{
    if (rows || both)
        pair[0] = rows ? rows : both;
    if (columns || both)
        pair[1] = columns ? columns : both;
}

ek_status ek_net_conv2d(ek_net *net, int out_channels, const ek_net_conv2d_options *options)
{
    ek_layer layer = ek_layer_new(EK_LAYER_CONV2D, out_channels);
    if (options) {
        set_pair(layer.o.conv.kernel, options->kernel, options->kernel_h, options->kernel_w);
        set_pair(layer.o.conv.padding, options->padding, options->padding_h, options->padding_w);
        set_pair(layer.o.conv.stride, options->stride, options->stride_h, options->stride_w);
        set_pair(layer.o.conv.dilation, options->dilation, options->dilation_h, options->dilation_w);
        if (options->groups)
            layer.o.conv.groups = options->groups;
        layer.o.conv.bias = !options->no_bias;
    }
    return ek_net_add(net, &layer);
}

ek_status ek_net_linear(ek_net *net, int out_features, const ek_net_linear_options *options)
{
    ek_layer layer = ek_layer_new(EK_LAYER_LINEAR, out_features);
    if (options)
        layer.o.linear.bias = !options->no_bias;
    return ek_net_add(net, &layer);
}

static float eps_option(float eps, float default_eps)
{
    return eps == 0 ? default_eps : eps == EK_EPS_ZERO ? 0 : eps;
}

ek_status ek_net_batchnorm(ek_net *net, const ek_net_batchnorm_options *options)
{
    ek_layer layer = ek_layer_new(EK_LAYER_BATCHNORM, 0);
    if (options) {
        layer.o.batchnorm.eps = eps_option(options->eps, layer.o.batchnorm.eps);
        if (options->momentum != 0)
            layer.o.batchnorm.momentum = options->momentum;
        layer.o.batchnorm.moving_variance = options->moving_variance;
        layer.o.batchnorm.normalize = options->normalize;
        layer.o.batchnorm.affine = !options->no_affine;
        layer.o.batchnorm.scale = !options->no_scale;
        layer.o.batchnorm.center = !options->no_center;
        layer.o.batchnorm.tracking = !options->no_tracking;
        layer.o.batchnorm.use_moving = options->use_moving;
        layer.o.batchnorm.hold_moving = options->hold_moving;
        layer.o.batchnorm.hold_affine = options->hold_affine;
    }
    return ek_net_add(net, &layer);
}

ek_status ek_net_layernorm(ek_net *net, const ek_net_layernorm_options *options)
{
    ek_layer layer = ek_layer_new(EK_LAYER_LAYERNORM, 0);
    if (options) {
        layer.o.layernorm.eps = eps_option(options->eps, layer.o.layernorm.eps);
        layer.o.layernorm.affine = !options->no_affine;
    }
    return ek_net_add(net, &layer);
}

ek_status ek_net_relu(ek_net *net)
{
    ek_layer layer = ek_layer_new(EK_LAYER_RELU, 0);
    return ek_net_add(net, &layer);
}

ek_status ek_net_leaky_relu(ek_net *net, float negative_slope)
{
    ek_layer layer = ek_layer_new(EK_LAYER_LEAKY_RELU, 0);
    layer.o.leaky_relu.negative_slope = negative_slope;
    return ek_net_add(net, &layer);
}

ek_status ek_net_sigmoid(ek_net *net)
{
    ek_layer layer = ek_layer_new(EK_LAYER_SIGMOID, 0);
    return ek_net_add(net, &layer);
}

ek_status ek_net_tanh(ek_net *net)
{
    ek_layer layer = ek_layer_new(EK_LAYER_TANH, 0);
    return ek_net_add(net, &layer);
}

ek_status ek_net_gelu(ek_net *net, ek_gelu how)
{
    EK_TRY(ek_net_check(net));
    if (how != EK_GELU_EXACT && how != EK_GELU_BY_TANH)
        return ek_net_mark(net, ek_fail(EK_ERR_ARGUMENT, "ek_net_gelu: %d is no way to compute it", (int)how));
    ek_layer layer = ek_layer_new(EK_LAYER_GELU, 0);
    layer.o.gelu.by_tanh = how == EK_GELU_BY_TANH;
    return ek_net_add(net, &layer);
}

ek_status ek_net_maxpool2d(ek_net *net, int kernel, int stride, int padding)
{
    ek_layer layer = ek_layer_new(EK_LAYER_MAXPOOL2D, kernel);
    set_pair(layer.o.pool.stride, stride, 0, 0);
    set_pair(layer.o.pool.padding, padding, 0, 0);
    return ek_net_add(net, &layer);
}

ek_status ek_net_avgpool2d(ek_net *net, int kernel, int stride)
{
    ek_layer layer = ek_layer_new(EK_LAYER_AVGPOOL2D, kernel);
    set_pair(layer.o.pool.stride, stride, 0, 0);
    return ek_net_add(net, &layer);
}

ek_status ek_net_pool2d(ek_net *net, ek_pooling how, const ek_net_pool2d_options *options)
{
    EK_TRY(ek_net_check(net));
    if (how != EK_POOLING_MAX && how != EK_POOLING_AVG)
        return ek_net_mark(net, ek_fail(EK_ERR_ARGUMENT, "ek_net_pool2d: %d is no way to pool", (int)how));
    ek_layer layer = ek_layer_new(how == EK_POOLING_MAX ? EK_LAYER_MAXPOOL2D : EK_LAYER_AVGPOOL2D, 1);
    if (options) {
        set_pair(layer.o.pool.kernel, options->kernel, options->kernel_h, options->kernel_w);
        ek_layer_follow_size(&layer);
        set_pair(layer.o.pool.stride, options->stride, options->stride_h, options->stride_w);
        set_pair(layer.o.pool.padding, options->padding, options->padding_h, options->padding_w);
        layer.o.pool.count_padding = how == EK_POOLING_AVG && !options->exclude_padding;
    }
    return ek_net_add(net, &layer);
}

ek_status ek_net_globalavgpool(ek_net *net)
{
    ek_layer layer = ek_layer_new(EK_LAYER_GLOBALAVGPOOL, 0);
    return ek_net_add(net, &layer);
}

ek_status ek_net_flatten(ek_net *net)
{
    ek_layer layer = ek_layer_new(EK_LAYER_FLATTEN, 0);
    return ek_net_add(net, &layer);
}

ek_status ek_net_dropout(ek_net *net, float p)
{
    ek_layer layer = ek_layer_new(EK_LAYER_DROPOUT, 0);
    layer.o.dropout.p = p;
    return ek_net_add(net, &layer);
}
