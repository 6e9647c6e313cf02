/* SPDX-License-Identifier: MIT */
#include "net/geometry.h"

ek_conv ek_layer_conv(const ek_layer *layer)
{
    const ek_dims in = layer->in, out = layer->out;
    ek_conv g = {.c = in.c, .h = in.h, .w = in.w, .k = out.c, .p = out.h, .q = out.w};
    g.r = g.s = g.stride_h = g.stride_w = g.dilation_h = g.dilation_w = g.groups = 1;
    if (layer->kind != EK_LAYER_CONV2D)
        return g;
    g.r = layer->o.conv.kernel[0];
    g.s = layer->o.conv.kernel[1];
    g.stride_h = layer->o.conv.stride[0];
    g.stride_w = layer->o.conv.stride[1];
    g.padding_h = layer->o.conv.padding[0];
    g.padding_w = layer->o.conv.padding[1];
    g.dilation_h = layer->o.conv.dilation[0];
    g.dilation_w = layer->o.conv.dilation[1];
    g.groups = layer->o.conv.groups;
    return g;
}

ek_pool2d ek_layer_pool(const ek_layer *layer)
{
    const ek_dims in = layer->in, out = layer->out;
    ek_pool2d g = {.c = in.c, .h = in.h, .w = in.w, .p = out.h, .q = out.w};
    if (layer->kind == EK_LAYER_GLOBALAVGPOOL) {
        g.kernel_h = g.stride_h = g.h;
        g.kernel_w = g.stride_w = g.w;
        return g;
    }
    g.kernel_h = layer->o.pool.kernel[0];
    g.kernel_w = layer->o.pool.kernel[1];
    g.stride_h = layer->o.pool.stride[0];
    g.stride_w = layer->o.pool.stride[1];
    g.padding_h = layer->o.pool.padding[0];
    g.padding_w = layer->o.pool.padding[1];
    g.maximum = layer->kind == EK_LAYER_MAXPOOL2D;
    g.inside = layer->kind == EK_LAYER_AVGPOOL2D && !layer->o.pool.count_padding;
    return g;
}
