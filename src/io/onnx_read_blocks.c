/* SPDX-License-Identifier: MIT
 * The graph as a net: sequences of layers, residuals and branches.
 *
 * over[op] is the last operation through which every way from the input to `op` goes. Where an operation reads one
 * other, that is it; where a sum or a concatenation reads several, it is the value that their branches begin at. So a
 * sequence is found from its end, by going to over[op] again and again; each operation has its place in one sequence,
 * or the graph is no composition of such blocks. */
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "net/kind.h"

#include <string.h>

typedef struct builder {
    onnx_reader *r;
    bool *placed;
    int *stack; /* operations of the sequences that are being written, each from its end */
    int top;
} builder;

static ek_status write_sequence(builder *b, int begin, int end);

/* ---- One operation -------------------------------------------------------------------------------------------- */

/* Builder errors name the net's layer; the node says where it comes from. */
static ek_status added(builder *b, ek_status status)
{
    return ek_onnx_fail_in(b->r, status);
}

static ek_status write_layer(builder *b, onnx_op *op)
{
    ek_layer layer = op->layer;
    EK_TRY(added(b, ek_net_add(b->r->net, &layer)));
    op->net_layer = b->r->net->layer_count - 1;
    return EK_OK;
}

/* A map y = slope*x + offset: a batch norm whose statistics take nothing out. */
static ek_status write_slopes(builder *b, onnx_op *op)
{
    char node[ONNX_NODE_TEXT];
    ek_layer layer = ek_layer_new(EK_LAYER_BATCHNORM, 0);
    layer.o.batchnorm.eps = 0;
    EK_TRY(added(b, ek_net_add(b->r->net, &layer)));
    op->net_layer = b->r->net->layer_count - 1;
    return ek_onnx_tell(b->r,
                        "changed: %s, a product and sum by channels, is the batchnorm %s, of mean 0 and variance 1",
                        ek_onnx_node_text(b->r, op->node, node), b->r->net->layers[op->net_layer].path);
}

/* ---- Residuals ------------------------------------------------------------------------------------------------ */

/* Whether the way from `begin` to `end` is x[:, :, ::s, ::s] and zeros behind its channels: a padded shortcut. */
static bool is_padded(builder *b, int begin, int end, int *stride)
{
    const onnx_reader *r = b->r;
    int64_t step = 1;
    if (end == begin)
        return false;
    for (; end != begin; end = r->over[end]) {
        const onnx_op *op = &r->ops[end];
        if (op->kind != ONNX_STRIDE && op->kind != ONNX_PAD)
            return false;
        for (int d = 0; d < 6 && op->kind == ONNX_PAD; d++)
            if (d != 3 && op->pads[d])
                return false;
        if (op->kind == ONNX_STRIDE) { /* of one row or column any stride takes the same */
            const ek_dims in = r->ops[ek_onnx_read(r, op, 0)].out;
            const int64_t rows = op->pads[0], columns = op->pads[1], s = in.h > 1 ? rows : columns;
            if ((in.h > 1 && in.w > 1 && rows != columns) || s < 1 || s > EK_EXTENT_MAX || step > EK_EXTENT_MAX)
                return false;
            step *= s;
        }
    }
    *stride = step > EK_EXTENT_MAX ? EK_EXTENT_MAX + 1 : (int)step;
    return true;
}

/* Where operations leave a net's layers, they are placed all the same. */
static ek_status place(builder *b, int op)
{
    onnx_reader *r = b->r;
    r->node = r->ops[op].node;
    if (b->placed[op])
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "ways part here that do not meet again: the graph is no sequence of "
                            "layers, residuals and branches");
    b->placed[op] = true;
    return EK_OK;
}

static ek_status place_way(builder *b, int begin, int end)
{
    for (; end != begin; end = b->r->over[end])
        EK_TRY(place(b, end));
    return EK_OK;
}

static ek_status write_residual(builder *b, int op)
{
    onnx_reader *r = b->r;
    const int begin = r->over[op], a = ek_onnx_read(r, &r->ops[op], 0), c = ek_onnx_read(r, &r->ops[op], 1);
    int stride = 1;
    const bool first_is_short = a == begin || (c != begin && is_padded(b, begin, a, &stride));
    const int body = first_is_short ? c : a, shortcut = first_is_short ? a : c;
    const bool padded = shortcut != begin && is_padded(b, begin, shortcut, &stride);
    EK_TRY(added(b, ek_net_residual_begin(r->net, &(ek_net_residual_options){
                                                      .shortcut = padded ? EK_SHORTCUT_PAD : EK_SHORTCUT_IDENTITY,
                                                      .stride = padded ? stride : 0})));
    if (body == begin) /* x + x: bodies have a layer at least */
        EK_TRY(added(b, ek_net_dropout(r->net, 0)));
    EK_TRY(write_sequence(b, begin, body));
    if (padded)
        EK_TRY(place_way(b, begin, shortcut));
    r->node = r->ops[op].node;
    if (!padded && shortcut != begin) {
        EK_TRY(added(b, ek_net_shortcut(r->net)));
        EK_TRY(write_sequence(b, begin, shortcut));
    }
    r->node = r->ops[op].node;
    return added(b, ek_net_block_end(r->net));
}

static ek_status write_concat(builder *b, int op)
{
    onnx_reader *r = b->r;
    const int begin = r->over[op];
    EK_TRY(added(b, ek_net_concat_begin(r->net)));
    for (int i = 0; i < r->ops[op].count; i++) {
        r->node = r->ops[op].node;
        EK_TRY(added(b, ek_net_branch(r->net)));
        EK_TRY(write_sequence(b, begin, ek_onnx_read(r, &r->ops[op], i)));
    }
    r->node = r->ops[op].node;
    return added(b, ek_net_block_end(r->net));
}

/* ---- Sequences ------------------------------------------------------------------------------------------------ */

static ek_status write_op(builder *b, int index)
{
    onnx_reader *r = b->r;
    onnx_op *op = &r->ops[index];
    r->node = op->node;
    switch (op->kind) {
    case ONNX_LAYER:
        return write_layer(b, op);
    case ONNX_ADD:
        return write_residual(b, index);
    case ONNX_CONCAT:
        return write_concat(b, index);
    case ONNX_ARITH:
        return write_slopes(b, op);
    case ONNX_PAD:
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "zeros are read around the images of convolutions and averages, and "
                            "behind a shortcut's channels; not here");
    case ONNX_STRIDE:
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "x[:, :, ::S, ::S] is read in shortcuts alone");
    case ONNX_MEAN:
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "a mean over whole samples is read in layer norms alone");
    case ONNX_VIEW:
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it gives values another shape; a net does that by flatten alone");
    case ONNX_BINARY:
    case ONNX_FUNCTION:
    case ONNX_INPUT:
        break;
    }
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                        "it is part of no layer that is read: the arithmetic of relu, leaky_relu, "
                        "sigmoid, tanh, gelu and layernorm is");
}

/* The layers behind operation `begin`, up to `end`. */
static ek_status write_sequence(builder *b, int begin, int end)
{
    const int bottom = b->top;
    for (int op = end; op != begin; op = b->r->over[op]) {
        EK_TRY(place(b, op));
        b->stack[b->top++] = op;
    }
    while (b->top > bottom)
        EK_TRY(write_op(b, b->stack[--b->top]));
    return EK_OK;
}

/* Arithmetic on the input alone is its normalisation, (x - mean)/std; -1 where it is something else. */
static ek_status read_normalization(onnx_reader *r, int op)
{
    const onnx_op *o = &r->ops[op];
    const double scale = r->options->bytes ? 1 / 255.0 : 1;
    float *values = ek_calloc(2 * (size_t)o->channels, sizeof *values);
    if (!values)
        return EK_ERR_MEMORY;
    for (int c = 0; c < o->channels; c++) {
        values[c] = (float)(-o->offset[c] / o->slope[c] * scale + 0.0); /* no -0 */
        values[o->channels + c] = (float)(1 / o->slope[c] * scale);
    }
    const ek_status status = ek_net_set_normalization(r->net, o->channels, values, values + o->channels);
    ek_free(values);
    EK_TRY(ek_onnx_fail_in(r, status));
    return ek_onnx_tell(r, "changed: the arithmetic on the input is the net's normalisation");
}

/* Deviations are above 0; another map of the input is a layer. */
static bool is_normalization(const onnx_reader *r, int op)
{
    const onnx_op *o = &r->ops[op];
    bool fine = o->kind == ONNX_ARITH && r->ops[ek_onnx_read(r, o, 0)].kind == ONNX_INPUT;
    for (int c = 0; fine && c < o->channels; c++)
        fine = o->slope[c] > 1e-6 && o->slope[c] < 1e6 && o->offset[c] > -1e6 && o->offset[c] < 1e6;
    return fine && r->ops[0].uses == 1;
}

/* Bytes as the graph takes them, divided by 255 as the net does: they are multiplied again. */
static ek_status normalize_bytes(onnx_reader *r)
{
    const float mean = 0, std = 1 / 255.0f;
    return r->options->bytes ? ek_net_set_normalization(r->net, 1, &mean, &std) : EK_OK;
}

static ek_status build(onnx_reader *r, builder *b)
{
    const ek_dims in = r->ops[0].out;
    int first = 0;
    r->net = ek_net_new(in.c, in.h, in.w);
    if (!r->net)
        return EK_ERR_MEMORY;
    EK_TRY(ek_onnx_fail_in(r, ek_net_check(r->net)));
    if (in.flat)
        EK_TRY(ek_onnx_fail_in(r, ek_net_flatten(r->net)));
    for (int i = 1; i < r->op_count && !first; i++)
        first = r->ops[i].uses && is_normalization(r, i) ? i : 0;
    if (first) {
        EK_TRY(read_normalization(r, first));
        EK_TRY(place(b, first));
    } else {
        EK_TRY(ek_onnx_fail_in(r, normalize_bytes(r)));
    }
    r->node = -1;
    EK_TRY(write_sequence(b, first, r->output));
    r->node = -1;
    if (r->net->layer_count == 0)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its graph has no layers");
    return EK_OK;
}

ek_status ek_onnx_build(onnx_reader *r)
{
    builder b = {.r = r,
                 .placed = ek_calloc((size_t)r->op_count, sizeof *b.placed),
                 .stack = ek_calloc((size_t)r->op_count, sizeof *b.stack)};
    const ek_status status = b.placed && b.stack ? build(r, &b) : EK_ERR_MEMORY;
    ek_free(b.placed);
    ek_free(b.stack);
    return status;
}

#endif
