/* SPDX-License-Identifier: MIT
 * The table of a net's tensors: names and shapes of the same PyTorch nn.Sequential, values in one block. */
#include "net/net.h"

#include "base/memory.h"
#include "net/kind.h"

#include <stdio.h>
#include <string.h>

enum { ALIGNMENT = 16 }; /* floats in 64 bytes */

/* ---- What tensors a layer has ------------------------------------------------------------------------------- */

static int64_t extent_product(const ek_tensor *tensor)
{
    int64_t product = 1;
    for (int d = 0; d < tensor->ndim; d++)
        product *= tensor->dim[d];
    return product;
}

static ek_tensor vector(ek_role role, int64_t count, bool trainable)
{
    return (ek_tensor){.role = role, .trainable = trainable, .ndim = 1, .dim = {count}};
}

static int conv2d_tensors(const ek_layer *layer, ek_tensor *tensors)
{
    const int *kernel = layer->o.conv.kernel;
    int count = 0;
    tensors[count++] = (ek_tensor){.role = EK_ROLE_WEIGHT,
                                   .trainable = true,
                                   .ndim = 4,
                                   .dim = {layer->out.c, layer->in.c / layer->o.conv.groups, kernel[0], kernel[1]}};
    if (layer->o.conv.bias)
        tensors[count++] = vector(EK_ROLE_BIAS, layer->out.c, true);
    return count;
}

static int linear_tensors(const ek_layer *layer, ek_tensor *tensors)
{
    int count = 0;
    tensors[count++] =
        (ek_tensor){.role = EK_ROLE_WEIGHT, .trainable = true, .ndim = 2, .dim = {layer->out.c, layer->in.c}};
    if (layer->o.linear.bias)
        tensors[count++] = vector(EK_ROLE_BIAS, layer->out.c, true);
    return count;
}

static int batchnorm_tensors(const ek_layer *layer, ek_tensor *tensors)
{
    int channels = layer->in.c, count = 0;
    bool trainable = !layer->o.batchnorm.hold_affine;
    if (layer->o.batchnorm.affine && layer->o.batchnorm.scale)
        tensors[count++] = vector(EK_ROLE_GAMMA, channels, trainable);
    if (layer->o.batchnorm.affine && layer->o.batchnorm.center)
        tensors[count++] = vector(EK_ROLE_BETA, channels, trainable);
    if (layer->o.batchnorm.tracking) {
        tensors[count++] = vector(EK_ROLE_MOVING_MEAN, channels, false);
        tensors[count++] = vector(EK_ROLE_MOVING_VAR, channels, false);
        tensors[count++] = (ek_tensor){.role = EK_ROLE_NUM_BATCHES};
    }
    return count;
}

/* gamma and beta per value of a sample, in the sample's own shape */
static int layernorm_tensors(const ek_layer *layer, ek_tensor *tensors)
{
    if (!layer->o.layernorm.affine)
        return 0;
    const ek_dims in = layer->in;
    tensors[0] = vector(EK_ROLE_GAMMA, in.c, true);
    if (!in.flat)
        tensors[0] = (ek_tensor){.role = EK_ROLE_GAMMA, .trainable = true, .ndim = 3, .dim = {in.c, in.h, in.w}};
    tensors[1] = tensors[0];
    tensors[1].role = EK_ROLE_BETA;
    return 2;
}

int ek_layer_tensors(const ek_layer *layer, ek_tensor tensors[EK_LAYER_TENSORS_MAX])
{
    int count = 0;
    switch (layer->kind) {
    case EK_LAYER_CONV2D:
        count = conv2d_tensors(layer, tensors);
        break;
    case EK_LAYER_LINEAR:
        count = linear_tensors(layer, tensors);
        break;
    case EK_LAYER_BATCHNORM:
        count = batchnorm_tensors(layer, tensors);
        break;
    case EK_LAYER_LAYERNORM:
        count = layernorm_tensors(layer, tensors);
        break;
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
    for (int i = 0; i < count; i++)
        tensors[i].count = extent_product(&tensors[i]);
    return count;
}

int64_t ek_net_float_count(const ek_net *net)
{
    int64_t total = 0;
    for (int l = 0; l < net->layer_count; l++) {
        ek_tensor tensors[EK_LAYER_TENSORS_MAX];
        int count = ek_layer_tensors(&net->layers[l], tensors);
        for (int i = 0; i < count; i++)
            total += tensors[i].role == EK_ROLE_NUM_BATCHES ? 0 : tensors[i].count;
    }
    return total;
}

/* ---- Laying out the table ----------------------------------------------------------------------------------- */

static const char *name_of_role(ek_role role)
{
    static const char *const names[] = {
        [EK_ROLE_WEIGHT] = "weight",
        [EK_ROLE_BIAS] = "bias",
        [EK_ROLE_GAMMA] = "weight",
        [EK_ROLE_BETA] = "bias",
        [EK_ROLE_MOVING_MEAN] = "running_mean",
        [EK_ROLE_MOVING_VAR] = "running_var",
        [EK_ROLE_NUM_BATCHES] = "num_batches_tracked",
    };
    return names[role];
}

/* Where a layer keeps the row of its tensor of that role. */
static int *row_of_role(ek_layer *layer, ek_role role)
{
    switch (role) {
    case EK_ROLE_WEIGHT:
    case EK_ROLE_GAMMA:
        return &layer->weight;
    case EK_ROLE_BIAS:
    case EK_ROLE_BETA:
        return &layer->bias;
    case EK_ROLE_MOVING_MEAN:
        return &layer->moving_mean;
    case EK_ROLE_MOVING_VAR:
        return &layer->moving_var;
    case EK_ROLE_NUM_BATCHES:
        break;
    }
    return &layer->num_batches;
}

/* Floats a tensor takes in the block, so that the next one is aligned too. */
static size_t padded_count(const ek_tensor *tensor)
{
    return ((size_t)tensor->count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Bytes of a tensor's name, "3.body.0.weight" and the end. */
static size_t name_size(const ek_layer *layer, ek_role role)
{
    return strlen(layer->path) + 1 + strlen(name_of_role(role)) + 1;
}

static void measure(const ek_net *net, size_t *tensors, size_t *names, size_t *values, size_t *counters)
{
    *tensors = *names = *values = *counters = 0;
    for (int l = 0; l < net->layer_count; l++) {
        ek_tensor of_layer[EK_LAYER_TENSORS_MAX];
        int count = ek_layer_tensors(&net->layers[l], of_layer);
        *tensors += (size_t)count;
        for (int i = 0; i < count; i++) {
            bool counter = of_layer[i].role == EK_ROLE_NUM_BATCHES;
            *names += name_size(&net->layers[l], of_layer[i].role);
            *counters += counter;
            *values += counter ? 0 : padded_count(&of_layer[i]); /* at most 2^30 * 2 * EK_LAYERS_MAX: no overflow */
        }
    }
}

/* Row `row` of the table, for a tensor of layer l; name, values and counter are taken from the pointers on. */
static void fill_row(ek_net *net, int l, int row, char **name, float **value, int64_t **counter)
{
    ek_tensor *tensor = &net->tensors[row];
    const size_t size = name_size(&net->layers[l], tensor->role);
    snprintf(*name, size, "%s.%s", net->layers[l].path, name_of_role(tensor->role));
    tensor->name = *name;
    *name += size;
    tensor->layer = l;
    *row_of_role(&net->layers[l], tensor->role) = row;
    if (tensor->role == EK_ROLE_NUM_BATCHES) {
        tensor->counter = (*counter)++;
        return;
    }
    tensor->data = *value;
    *value += padded_count(tensor);
    if (tensor->role == EK_ROLE_GAMMA || tensor->role == EK_ROLE_MOVING_VAR)
        for (int64_t i = 0; i < tensor->count; i++)
            tensor->data[i] = 1;
}

static void fill_table(ek_net *net)
{
    char *name = net->names;
    float *value = net->values;
    int64_t *counter = net->counters;
    for (int l = 0; l < net->layer_count; l++) {
        ek_tensor tensors[EK_LAYER_TENSORS_MAX];
        int count = ek_layer_tensors(&net->layers[l], tensors);
        for (int i = 0; i < count; i++) {
            net->tensors[net->tensor_count] = tensors[i];
            fill_row(net, l, net->tensor_count++, &name, &value, &counter);
        }
    }
}

static ek_status lay_out(ek_net *net)
{
    size_t tensors, names, values, counters;
    measure(net, &tensors, &names, &values, &counters);
    net->value_count = values;
    net->tensors = ek_calloc(tensors, sizeof *net->tensors);
    net->names = net->tensors ? ek_calloc(names, 1) : NULL;
    net->counters = net->names ? ek_calloc(counters, sizeof *net->counters) : NULL;
    net->values = net->counters ? ek_block_alloc(values * sizeof(float)) : NULL;
    if (net->values) {
        fill_table(net);
        net->finished = true;
        return EK_OK;
    }
    ek_free(net->tensors);
    ek_free(net->names);
    ek_free(net->counters);
    net->tensors = NULL;
    net->names = NULL;
    net->counters = NULL;
    return EK_ERR_MEMORY;
}

ek_status ek_net_finish(ek_net *net)
{
    EK_TRY(ek_net_check(net));
    if (net->finished)
        return EK_OK;
    if (net->layer_count == 0)
        return ek_fail(EK_ERR_STATE, "the net has no layers; add some before using it");
    EK_TRY(ek_net_check_ended(net));
    EK_TRY(lay_out(net));
    return ek_net_init(net, EK_INIT_XAVIER, 0);
}

/* ---- Reading the table -------------------------------------------------------------------------------------- */

int ek_net_tensor_count(ek_net *net)
{
    return ek_net_finish(net) ? 0 : net->tensor_count;
}

const ek_tensor *ek_net_tensor(ek_net *net, int i)
{
    return ek_net_finish(net) || i < 0 || i >= net->tensor_count ? NULL : &net->tensors[i];
}

const ek_tensor *ek_net_tensor_by_name(ek_net *net, const char *name)
{
    if (ek_net_finish(net))
        return NULL;
    for (int i = 0; name && i < net->tensor_count; i++)
        if (!strcmp(net->tensors[i].name, name))
            return &net->tensors[i];
    if (net->tensor_count == 0)
        ek_fail(EK_ERR_NOT_FOUND, "no tensor '%.64s': the net has none", name ? name : "");
    else
        ek_fail(EK_ERR_NOT_FOUND, "no tensor '%.64s' in the net, whose tensors run from %s to %s", name ? name : "",
                net->tensors[0].name, net->tensors[net->tensor_count - 1].name);
    return NULL;
}
