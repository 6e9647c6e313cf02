/* SPDX-License-Identifier: MIT
 * What a net tells of itself and its layers, and the notes it carries. Built by builder.c. */
#include "net/net.h"

#include "base/memory.h"
#include "net/kind.h"

#include <stdio.h>
#include <string.h>

ek_status ek_net_check(const ek_net *net)
{
    if (!net)
        return *ek_error()
                   ? ek_fail_in(EK_ERR_ARGUMENT, "the net is NULL, made by a call that failed? The last failure")
                   : ek_fail(EK_ERR_ARGUMENT, "the net is NULL");
    if (net->status)
        return ek_fail(net->status, "%s", net->message);
    return EK_OK;
}

void ek_net_free(ek_net *net)
{
    if (!net)
        return;
    for (int i = 0; i < net->layer_count; i++) {
        ek_free(net->layers[i].text);
        ek_free(net->layers[i].path);
    }
    for (int i = 0; i < net->note_count; i++) {
        ek_free(net->notes[i].key);
        ek_free(net->notes[i].value);
    }
    ek_free(net->layers);
    ek_free(net->tensors);
    ek_free(net->names);
    ek_free(net->counters);
    ek_free(net->notes);
    ek_block_free(net->values);
    ek_free(net);
}

ek_dims ek_net_output(const ek_net *net)
{
    return net->tail >= 0 ? net->layers[net->tail].out : net->input;
}

const char *ek_layer_label(const ek_net *net, int layer, char buffer[EK_LABEL_SIZE])
{
    snprintf(buffer, EK_LABEL_SIZE, "layer %s (%s)", net->layers[layer].path, ek_kinds[net->layers[layer].kind].name);
    return buffer;
}

ek_status ek_net_check_ended(const ek_net *net)
{
    char label[EK_LABEL_SIZE];
    if (net->open < 0)
        return EK_OK;
    return ek_fail(EK_ERR_STATE, "%s has not ended: ek_net_block_end ends it", ek_layer_label(net, net->open, label));
}

const char *ek_dims_text(ek_dims dims, char buffer[40])
{
    if (dims.flat)
        snprintf(buffer, 40, "%d features", dims.c);
    else
        snprintf(buffer, 40, "%dx%dx%d", dims.c, dims.h, dims.w);
    return buffer;
}

ek_status ek_net_input(const ek_net *net, int *channels, int *height, int *width)
{
    const ek_status status = ek_net_check(net);
    if (channels)
        *channels = status ? 0 : net->input.c;
    if (height)
        *height = status ? 0 : net->input.h;
    if (width)
        *width = status ? 0 : net->input.w;
    return status;
}

/* ---- Layers ------------------------------------------------------------------------------------------------- */

int ek_net_layer_count(const ek_net *net)
{
    return ek_net_check(net) ? 0 : net->layer_count;
}

/* Multiply-adds of one sample: every output value of a linear map is a sum over its part of the input. */
static int64_t layer_macs(const ek_layer *layer)
{
    switch (layer->kind) {
    case EK_LAYER_CONV2D:
        return ek_dims_count(layer->out) * (layer->in.c / layer->o.conv.groups) * layer->o.conv.kernel[0] *
               layer->o.conv.kernel[1];
    case EK_LAYER_LINEAR:
        return (int64_t)layer->out.c * layer->in.c;
    case EK_LAYER_BATCHNORM:
    case EK_LAYER_LAYERNORM:
    case EK_LAYER_RELU:
    case EK_LAYER_LEAKY_RELU:
    case EK_LAYER_SIGMOID:
    case EK_LAYER_TANH:
    case EK_LAYER_GELU:
    case EK_LAYER_MAXPOOL2D:
    case EK_LAYER_AVGPOOL2D:
    case EK_LAYER_GLOBALAVGPOOL:
    case EK_LAYER_FLATTEN:
    case EK_LAYER_DROPOUT:
    case EK_LAYER_RESIDUAL:
    case EK_LAYER_CONCAT:
        break;
    }
    return 0;
}

/* A batch norm alone reads what layer `layer` adds its bias to, and takes away the batch's mean. Layers of a sequence
 * read one another; its last is read by what stands around. */
static bool bias_without_gradient(const ek_net *net, int layer)
{
    const ek_layer *l = &net->layers[layer];
    if (!(l->kind == EK_LAYER_CONV2D && l->o.conv.bias) && !(l->kind == EK_LAYER_LINEAR && l->o.linear.bias))
        return false;
    int next = layer + 1;
    while (next < net->layer_count && net->layers[next].kind == EK_LAYER_FLATTEN)
        next++;
    if (next == net->layer_count || net->layers[next].kind != EK_LAYER_BATCHNORM)
        return false;
    const ek_layer *n = &net->layers[next];
    const bool moving = n->o.batchnorm.use_moving && n->o.batchnorm.tracking;
    const bool centres = n->o.batchnorm.normalize != EK_NORMALIZE_DEVIATION;
    return n->parent == l->parent && n->part == l->part && !moving && centres;
}

ek_status ek_net_layer(const ek_net *net, int layer, ek_layer_info *info)
{
    EK_TRY(ek_net_check(net));
    if (!info)
        return ek_fail(EK_ERR_ARGUMENT, "ek_net_layer: info is NULL");
    if (layer < 0 || layer >= net->layer_count)
        return ek_fail(EK_ERR_ARGUMENT, "there is no layer %d: the net has %d, counted from 0", layer,
                       net->layer_count);
    const ek_layer *l = &net->layers[layer];
    *info = (ek_layer_info){.kind = ek_kinds[l->kind].name,
                            .text = l->text,
                            .c = l->out.c,
                            .macs = layer_macs(l),
                            .path = l->path,
                            .depth = l->depth,
                            .bias_without_gradient = bias_without_gradient(net, layer)};
    if (l->kind == EK_LAYER_BATCHNORM)
        info->eps = (double)l->o.batchnorm.eps;
    else if (l->kind == EK_LAYER_LAYERNORM)
        info->eps = (double)l->o.layernorm.eps;
    if (!l->out.flat) {
        info->h = l->out.h;
        info->w = l->out.w;
    }
    ek_tensor tensors[EK_LAYER_TENSORS_MAX];
    int count = ek_layer_tensors(l, tensors);
    for (int i = 0; i < count; i++)
        info->parameters += tensors[i].trainable ? tensors[i].count : 0;
    return EK_OK;
}

/* ---- Notes -------------------------------------------------------------------------------------------------- */

static int find_note(const ek_net *net, const char *key)
{
    for (int i = 0; i < net->note_count; i++)
        if (!strcmp(net->notes[i].key, key))
            return i;
    return -1;
}

static ek_status append_note(ek_net *net, const char *key, char *value)
{
    ek_note *notes = ek_realloc(net->notes, (size_t)net->note_count + 1, sizeof *notes);
    if (!notes)
        return EK_ERR_MEMORY;
    net->notes = notes;
    char *own_key = ek_strdup(key);
    if (!own_key)
        return EK_ERR_MEMORY;
    notes[net->note_count++] = (ek_note){own_key, value};
    return EK_OK;
}

static void remove_note(ek_net *net, int i)
{
    ek_free(net->notes[i].key);
    ek_free(net->notes[i].value);
    net->note_count--;
    memmove(&net->notes[i], &net->notes[i + 1], (size_t)(net->note_count - i) * sizeof *net->notes);
}

ek_status ek_net_set_note(ek_net *net, const char *key, const char *value)
{
    EK_TRY(ek_net_check(net));
    if (!key || !*key)
        return ek_fail(EK_ERR_ARGUMENT, "a note needs a key");
    int i = find_note(net, key);
    if (!value) {
        if (i >= 0)
            remove_note(net, i);
        return EK_OK;
    }
    char *own_value = ek_strdup(value);
    if (!own_value)
        return EK_ERR_MEMORY;
    if (i >= 0) {
        ek_free(net->notes[i].value);
        net->notes[i].value = own_value;
        return EK_OK;
    }
    ek_status status = append_note(net, key, own_value);
    if (status)
        ek_free(own_value);
    return status;
}

const char *ek_net_note(const ek_net *net, const char *key)
{
    int i = net && key ? find_note(net, key) : -1;
    return i >= 0 ? net->notes[i].value : NULL;
}

const char *ek_net_note_key(const ek_net *net, int i)
{
    return net && i >= 0 && i < net->note_count ? net->notes[i].key : NULL;
}
