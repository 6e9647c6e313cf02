/* SPDX-License-Identifier: MIT
 * Layers in the letters of op/op.h. */
#ifndef EK_NET_GEOMETRY_H
#define EK_NET_GEOMETRY_H

#include "net/net.h"
#include "op/op.h"

/* Of a convolution or linear layer. */
ek_conv ek_layer_conv(const ek_layer *layer);

/* Of a pooling layer of any kind. */
ek_pool2d ek_layer_pool(const ek_layer *layer);

#endif
