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

/* Windows of `kernel` every `stride` along an extent. */
static int windows(int extent, int padding, int kernel, int stride)
{
    return (extent + 2 * padding - kernel) / stride + 1;
}

static ek_status infer_windows(ek_layer *layer, int kernel, int padding, int stride)
{
    char input[40], padded[40] = "";
    const ek_dims in = layer->in;
    int smaller = in.h < in.w ? in.h : in.w;
    if (padding > 0)
        snprintf(padded, sizeof padded, " padded by %d", padding);
    if (kernel > smaller + 2 * padding)
        return ek_fail(EK_ERR_SHAPE, "kernel %d does not fit its input of %s%s; make the kernel smaller%s", kernel,
                       ek_dims_text(in, input), padded,
                       layer->kind == EK_LAYER_CONV2D ? " or add padding" : ", or leave the layer out");
    layer->out.h = windows(in.h, padding, kernel, stride);
    layer->out.w = windows(in.w, padding, kernel, stride);
    return EK_OK;
}

static ek_status check_weights(size_t count)
{
    if (count <= EK_TENSOR_MAX)
        return EK_OK;
    return ek_fail(EK_ERR_SHAPE, "its weight would have more than %d values; make the layer smaller", EK_TENSOR_MAX);
}

static ek_status infer_conv2d(ek_layer *layer)
{
    size_t kernel = (size_t)layer->o.conv.kernel;
    EK_TRY(needs_image(layer));
    EK_TRY(infer_windows(layer, layer->o.conv.kernel, layer->o.conv.padding, layer->o.conv.stride));
    return check_weights(ek_size_mul((size_t)layer->in.c * (size_t)layer->out.c, kernel * kernel));
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
    EK_TRY(needs_image(layer));
    layer->out.c = layer->in.c;
    if (2 * layer->o.pool.padding > layer->o.pool.kernel)
        return ek_fail(EK_ERR_ARGUMENT, "padding %d is more than half of kernel %d: windows would miss the image",
                       layer->o.pool.padding, layer->o.pool.kernel);
    return infer_windows(layer, layer->o.pool.kernel, layer->o.pool.padding, layer->o.pool.stride);
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
    case EK_LAYER_SIGMOID:
    case EK_LAYER_RESIDUAL: /* known when the block ends */
    case EK_LAYER_CONCAT:
        layer->out = layer->in;
        break;
    }
    char output[40];
    bool fits = layer->out.h <= EK_EXTENT_MAX && layer->out.w <= EK_EXTENT_MAX;
    if (!fits || ek_dims_count(layer->out) > EK_SAMPLE_MAX)
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
        double value = ek_option_get(option, layer);
        if (!ek_option_allows(option, value))
            return ek_fail(EK_ERR_ARGUMENT, "%s is %.*g; it must be %s", option->name,
                           option->type == EK_OPTION_FLOAT ? 9 : 10, value, option->range);
    }
    return EK_OK;
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
    EK_TRY(check_options(layer));
    EK_TRY(infer_shape(layer));
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

ek_status ek_net_conv2d(ek_net *net, int out_channels, const ek_net_conv2d_options *options)
{
    ek_layer layer = ek_layer_new(EK_LAYER_CONV2D, out_channels);
    if (options) {
        layer.o.conv.kernel = options->kernel ? options->kernel : layer.o.conv.kernel;
        layer.o.conv.padding = options->padding;
        layer.o.conv.stride = options->stride ? options->stride : layer.o.conv.stride;
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
        layer.o.batchnorm.affine = !options->no_affine;
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

ek_status ek_net_sigmoid(ek_net *net)
{
    ek_layer layer = ek_layer_new(EK_LAYER_SIGMOID, 0);
    return ek_net_add(net, &layer);
}

ek_status ek_net_maxpool2d(ek_net *net, int kernel, int stride, int padding)
{
    ek_layer layer = ek_layer_new(EK_LAYER_MAXPOOL2D, kernel);
    if (stride)
        layer.o.pool.stride = stride;
    layer.o.pool.padding = padding;
    return ek_net_add(net, &layer);
}

ek_status ek_net_avgpool2d(ek_net *net, int kernel, int stride)
{
    ek_layer layer = ek_layer_new(EK_LAYER_AVGPOOL2D, kernel);
    if (stride)
        layer.o.pool.stride = stride;
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
