/* SPDX-License-Identifier: MIT
 * The tensors of the net that a graph became. */
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "io/model.h"

/* A short graph can describe a net of any size, by one constant that many nodes read: none gets memory that its file
 * does not come near to fill. */
static ek_status check_size(const onnx_reader *r)
{
    const int64_t wants = ek_net_float_count(r->net), has = 4 * (int64_t)(r->file_size + r->side.total) + (1 << 24);
    if (wants <= has)
        return EK_OK;
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its net takes %jd numbers, far more than the file holds",
                        (intmax_t)wants);
}

static ek_status set(const onnx_reader *r, const ek_tensor *tensor, int64_t i, double value)
{
    const char *fault = ek_value_fault(tensor->role, (float)value);
    if (fault)
        return ek_onnx_fail(r, EK_ERR_NUMERIC, "element %jd of %s %s (%g)", (intmax_t)i, tensor->name, fault, value);
    tensor->data[i] = (float)value;
    return EK_OK;
}

/* Element i from element i of the constant, or its only one, times `scale`; `otherwise` without a constant. */
static ek_status fill_tensor(const onnx_reader *r, int row, const ek_onnx_array *from, double scale, double otherwise)
{
    if (row < 0)
        return EK_OK;
    const ek_tensor *tensor = &r->net->tensors[row];
    for (int64_t i = 0; i < tensor->count; i++) {
        const double value = from ? ek_onnx_number(from, from->count == 1 ? 0 : i) : otherwise;
        EK_TRY(set(r, tensor, i, scale == 1 ? value : value * scale));
    }
    return EK_OK;
}

/* The weight [out, in] from one that is [in, out]. */
static ek_status fill_by_columns(const onnx_reader *r, int row, const ek_onnx_array *from, double scale)
{
    const ek_tensor *tensor = &r->net->tensors[row];
    const int64_t in = tensor->dim[1], out = tensor->dim[0];
    for (int64_t i = 0; i < tensor->count; i++) {
        const double value = ek_onnx_number(from, i % in * out + i / in);
        EK_TRY(set(r, tensor, i, scale == 1 ? value : value * scale));
    }
    return EK_OK;
}

static ek_status fill_slopes(const onnx_reader *r, const onnx_op *op, const ek_layer *layer)
{
    const ek_tensor *gamma = &r->net->tensors[layer->weight], *beta = &r->net->tensors[layer->bias];
    for (int64_t c = 0; c < gamma->count; c++) {
        EK_TRY(set(r, gamma, c, op->slope[op->channels == 1 ? 0 : c]));
        EK_TRY(set(r, beta, c, op->offset[op->channels == 1 ? 0 : c]));
    }
    EK_TRY(fill_tensor(r, layer->moving_mean, NULL, 1, 0));
    return fill_tensor(r, layer->moving_var, NULL, 1, 1);
}

static ek_status fill_layer(const onnx_reader *r, const onnx_op *op)
{
    const ek_layer *layer = &r->net->layers[op->net_layer];
    switch (layer->kind) {
    case EK_LAYER_CONV2D:
    case EK_LAYER_LINEAR:
        if (op->by_columns)
            EK_TRY(fill_by_columns(r, layer->weight, op->tensors[0], op->scale[0]));
        else
            EK_TRY(fill_tensor(r, layer->weight, op->tensors[0], op->scale[0], 0));
        return fill_tensor(r, layer->bias, op->tensors[1], op->scale[1], 0);
    case EK_LAYER_BATCHNORM:
        if (op->kind == ONNX_ARITH)
            return fill_slopes(r, op, layer);
        EK_TRY(fill_tensor(r, layer->moving_mean, op->tensors[2], 1, 0));
        EK_TRY(fill_tensor(r, layer->moving_var, op->tensors[3], 1, 1));
        break;
    case EK_LAYER_LAYERNORM:
        break;
    default:
        return EK_OK;
    }
    EK_TRY(fill_tensor(r, layer->weight, op->tensors[0], 1, 1));
    return fill_tensor(r, layer->bias, op->tensors[1], 1, 0);
}

ek_status ek_onnx_fill(onnx_reader *r)
{
    EK_TRY(check_size(r));
    EK_TRY(ek_onnx_fail_in(r, ek_net_finish(r->net)));
    for (int i = 0; i < r->op_count; i++) {
        r->node = r->ops[i].node;
        if (r->ops[i].net_layer >= 0)
            EK_TRY(fill_layer(r, &r->ops[i]));
    }
    r->node = -1;
    return EK_OK;
}

#endif
