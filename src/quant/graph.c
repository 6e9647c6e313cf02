/* SPDX-License-Identifier: MIT
 * A net as operations on integer tensors. First one operation a layer, then what is one operation is put together: a
 * relu is the clamp of what it follows, a concat's branches write into their places. */
#include "quant/quant.h"

#include "base/memory.h"
#include "net/block.h"
#include "net/geometry.h"
#include "net/normalize.h"

typedef struct builder {
    ek_quantized *q;
    const ek_net *net;
    int *tensor_of; /* by layer: its output */
} builder;

/* ---- One operation a layer ---------------------------------------------------------------------------------- */

static int add_tensor(ek_quantized *q, int layer, ek_dims dims)
{
    const int t = q->tensor_count++;
    q->tensors[t] = (ek_q_tensor){
        .layer = layer, .count = ek_dims_count(dims), .scale = 1, .same_as = t, .part_of = -1, .writer = -1};
    return t;
}

static int input_of(const builder *b, int layer)
{
    return layer < 0 ? 0 : b->tensor_of[layer];
}

/* An operation on what layer `layer` reads, with a tensor for what it gives. */
static ek_q_op *add_op(builder *b, ek_q_kind kind, int layer)
{
    const ek_layer *l = &b->net->layers[layer];
    ek_quantized *q = b->q;
    ek_q_op *op = &q->ops[q->op_count++];
    *op = (ek_q_op){.kind = kind, .layer = layer, .x = input_of(b, l->from), .r = -1, .norm = -1};
    op->y = b->tensor_of[layer] = add_tensor(q, layer, l->out);
    return op;
}

static void add_table(builder *b, int layer, ek_activation activation)
{
    const ek_layer *l = &b->net->layers[layer];
    ek_q_op *op = add_op(b, EK_Q_TABLE, layer);
    op->activation = activation;
    op->negative_slope = activation == EK_LEAKY_RELU ? l->o.leaky_relu.negative_slope : 0;
}

/* A map of one tap, each channel its own. */
static ek_status add_batchnorm(builder *b, int layer)
{
    const ek_layer *l = &b->net->layers[layer];
    char label[EK_LABEL_SIZE];
    if (!l->o.batchnorm.tracking)
        return ek_fail(EK_ERR_UNSUPPORTED,
                       "%s has no moving statistics (tracking=no), and one image has no statistics of its own",
                       ek_layer_label(b->net, layer, label));
    ek_q_op *op = add_op(b, EK_Q_MAP, layer);
    op->g = (ek_conv){.c = l->in.c,
                      .h = l->in.h,
                      .w = l->in.w,
                      .k = l->in.c,
                      .p = l->in.h,
                      .q = l->in.w,
                      .r = 1,
                      .s = 1,
                      .stride_h = 1,
                      .stride_w = 1,
                      .dilation_h = 1,
                      .dilation_w = 1,
                      .groups = l->in.c};
    return EK_OK;
}

/* Sums over a window must fit int32: 2^23 values of 255. Where windows hold different counts there is a multiplier for
 * each, so that they must not be too many. */
static ek_status add_pool(builder *b, int layer)
{
    char label[EK_LABEL_SIZE];
    const ek_pool2d pool = ek_layer_pool(&b->net->layers[layer]);
    const int most = pool.inside && (pool.padding_h || pool.padding_w) ? 4096 : 1 << 23;
    if ((int64_t)pool.kernel_h * pool.kernel_w > most)
        return ek_fail(EK_ERR_UNSUPPORTED, "%s: its window of %dx%d has more than %d values, too many for int8",
                       ek_layer_label(b->net, layer, label), pool.kernel_h, pool.kernel_w, most);
    add_op(b, pool.maximum ? EK_Q_MAXPOOL : EK_Q_AVGPOOL, layer)->pool = pool;
    return EK_OK;
}

static ek_status add_layer(builder *b, int layer)
{
    const ek_layer *l = &b->net->layers[layer];
    char label[EK_LABEL_SIZE];
    switch (l->kind) {
    case EK_LAYER_CONV2D:
    case EK_LAYER_LINEAR:
        add_op(b, EK_Q_MAP, layer)->g = ek_layer_conv(l);
        break;
    case EK_LAYER_BATCHNORM:
        return add_batchnorm(b, layer);
    case EK_LAYER_LAYERNORM:
        return ek_fail(
            EK_ERR_UNSUPPORTED,
            "%s has no form in integers: its statistics are each sample's own; leave int8 out for this net",
            ek_layer_label(b->net, layer, label));
    case EK_LAYER_RELU:
        add_table(b, layer, EK_RELU);
        break;
    case EK_LAYER_LEAKY_RELU:
        add_table(b, layer, EK_LEAKY_RELU);
        break;
    case EK_LAYER_SIGMOID:
        add_table(b, layer, EK_SIGMOID);
        break;
    case EK_LAYER_TANH:
        add_table(b, layer, EK_TANH);
        break;
    case EK_LAYER_GELU:
        add_table(b, layer, l->o.gelu.by_tanh ? EK_GELU_TANH : EK_GELU);
        break;
    case EK_LAYER_MAXPOOL2D:
    case EK_LAYER_AVGPOOL2D:
    case EK_LAYER_GLOBALAVGPOOL:
        return add_pool(b, layer);
    case EK_LAYER_FLATTEN:
    case EK_LAYER_DROPOUT:
        b->tensor_of[layer] = input_of(b, l->from);
        break;
    case EK_LAYER_RESIDUAL: /* add_block */
    case EK_LAYER_CONCAT:
        break;
    }
    return EK_OK;
}

/* What part `part` of block `layer` ends in (ek_block_part_end). */
static int end_of_part(const builder *b, int layer, int part, int *next)
{
    return input_of(b, ek_block_part_end(b->net, layer, part, next));
}

static void add_sum(builder *b, int layer)
{
    const ek_layer *l = &b->net->layers[layer];
    int next = layer + 1;
    const int body = end_of_part(b, layer, 0, &next);
    const int shortcut = l->parts == 2 ? end_of_part(b, layer, 1, &next) : input_of(b, l->from);
    ek_q_op *op = add_op(b, EK_Q_ADD, layer);
    op->x = body;
    op->r = shortcut;
    op->join = (ek_join){
        .c = l->out.c, .h = l->out.h, .w = l->out.w, .stride = 1, .rc = l->out.c, .rh = l->out.h, .rw = l->out.w};
    if (l->parts == 1 && l->o.residual.pad) {
        op->join.stride = l->o.residual.stride;
        op->join.rc = l->in.c;
        op->join.rh = l->in.h;
        op->join.rw = l->in.w;
    }
}

/* For each branch an operation that brings it to the concat's scale; where the branch can be written with that scale
 * at once, fuse_parts takes it out again. */
static void add_concat(builder *b, int layer)
{
    const ek_layer *l = &b->net->layers[layer];
    ek_quantized *q = b->q;
    const int whole = b->tensor_of[layer] = add_tensor(q, layer, l->out);
    int next = layer + 1;
    int64_t at = 0;
    for (int part = 0; part < l->parts; part++) {
        ek_q_op *op = &q->ops[q->op_count++];
        *op = (ek_q_op){.kind = EK_Q_RESCALE, .layer = layer, .x = end_of_part(b, layer, part, &next), .r = -1};
        op->y = q->tensor_count++;
        q->tensors[op->y] = q->tensors[op->x];
        q->tensors[op->y].same_as = q->tensors[op->y].part_of = whole;
        q->tensors[op->y].part_at = at;
        at += q->tensors[op->y].count;
    }
}

/* Layers begin..end-1, which stand in one sequence or in the parts of one block. Recursion ends at EK_DEPTH_MAX. */
static ek_status add_layers(builder *b, int begin, int end)
{
    for (int i = begin; i < end; i = b->net->layers[i].end) {
        const ek_layer *l = &b->net->layers[i];
        if (!ek_is_block(l->kind)) {
            EK_TRY(add_layer(b, i));
            continue;
        }
        EK_TRY(add_layers(b, i + 1, l->end));
        if (l->kind == EK_LAYER_RESIDUAL)
            add_sum(b, i);
        else
            add_concat(b, i);
    }
    return EK_OK;
}

/* ---- Who reads and writes what ------------------------------------------------------------------------------ */

static void link_ops(ek_quantized *q)
{
    for (int t = 0; t < q->tensor_count; t++) {
        q->tensors[t].readers = t == q->output;
        q->tensors[t].writer = -1;
    }
    for (int i = 0; i < q->op_count; i++) {
        const ek_q_op *op = &q->ops[i];
        q->tensors[op->x].readers++;
        if (op->r >= 0)
            q->tensors[op->r].readers++;
        q->tensors[op->y].writer = i;
    }
}

/* Takes out the operations that have been emptied (x is -1). */
static void compact(ek_quantized *q)
{
    int count = 0;
    for (int i = 0; i < q->op_count; i++)
        if (q->ops[i].x >= 0)
            q->ops[count++] = q->ops[i];
    q->op_count = count;
    link_ops(q);
}

static bool rounds(ek_q_kind kind)
{
    return kind == EK_Q_MAP || kind == EK_Q_ADD || kind == EK_Q_AVGPOOL;
}

/* What x's writer gives is written to the operation's y by it at once. */
static void take_over(ek_quantized *q, ek_q_op *op)
{
    const int writer = q->tensors[op->x].writer;
    q->ops[writer].y = op->y;
    q->tensors[op->y].writer = writer;
    op->x = -1;
}

/* A batch norm behind a map is folded into its weights. (Behind what a flatten made of channels it stays.) */
static void fuse_norms(ek_quantized *q)
{
    for (int i = 0; i < q->op_count; i++) {
        ek_q_op *op = &q->ops[i];
        const ek_q_tensor *x = &q->tensors[op->x];
        ek_q_op *map = x->writer < 0 ? NULL : &q->ops[x->writer];
        if (op->kind != EK_Q_MAP || q->net->layers[op->layer].kind != EK_LAYER_BATCHNORM || x->readers != 1 || !map ||
            map->kind != EK_Q_MAP || map->norm >= 0 || q->net->layers[map->layer].kind == EK_LAYER_BATCHNORM ||
            map->g.k != op->g.k)
            continue;
        map->norm = op->layer;
        take_over(q, op);
    }
    compact(q);
}

/* A relu behind an operation that rounds and clamps anyway is its clamp. */
static void fuse_relus(ek_quantized *q)
{
    for (int i = 0; i < q->op_count; i++) {
        ek_q_op *op = &q->ops[i];
        const ek_q_tensor *x = &q->tensors[op->x];
        if (op->kind != EK_Q_TABLE || op->activation != EK_RELU || x->readers != 1 || x->writer < 0 ||
            !rounds(q->ops[x->writer].kind))
            continue;
        q->ops[x->writer].relu = true;
        take_over(q, op);
    }
    compact(q);
}

/* What is read by a concat alone is written into its place, with its scale. */
static void fuse_parts(ek_quantized *q)
{
    for (int i = 0; i < q->op_count; i++) {
        ek_q_op *op = &q->ops[i];
        ek_q_tensor *x = &q->tensors[op->x], *y = &q->tensors[op->y];
        const bool is_part = y->part_of >= 0 && op->kind == EK_Q_RESCALE;
        const bool is_whole = x->writer < 0 && op->x != 0; /* a concat's own output, its parts follow it */
        if (!is_part || x->readers != 1 || x->part_of >= 0 || (x->writer < 0 && !is_whole) || op->x == 0)
            continue;
        x->part_of = y->part_of;
        x->part_at = y->part_at;
        x->same_as = y->part_of;
        op->x = -1;
    }
    compact(q);
}

/* A maximum is one of the values it is taken of. */
static void share_scales(ek_quantized *q)
{
    for (int i = 0; i < q->op_count; i++) {
        const ek_q_op *op = &q->ops[i];
        if (op->kind != EK_Q_MAXPOOL)
            continue;
        const int x = ek_q_root(q, op->x), y = ek_q_root(q, op->y);
        q->tensors[x].same_as = y;
    }
}

/* ---- Both ends ---------------------------------------------------------------------------------------------- */

/* The output, which classes are compared by, is int16: where what writes it has a rounding of its own, by that, else by
 * another operation. */
static void widen_output(ek_quantized *q)
{
    const ek_q_tensor *last = &q->tensors[q->output];
    const int writer = last->writer;
    if (writer < 0 || last->readers != 1 || last->part_of >= 0 || q->ops[writer].kind == EK_Q_MAXPOOL ||
        q->ops[writer].kind == EK_Q_INPUT) {
        const int t = q->tensor_count++;
        q->tensors[t] = *last;
        q->tensors[t].same_as = t;
        q->tensors[t].part_of = -1;
        q->ops[q->op_count++] =
            (ek_q_op){.kind = EK_Q_RESCALE, .layer = last->layer, .x = q->output, .r = -1, .y = t};
        q->output = t;
        link_ops(q);
    }
    q->tensors[q->output].type = EK_Q_INT16;
}

/* Maps take the image's bytes as they are: byte/255 has scale 1/255 and zero point 0. What else reads it, and a net
 * that normalises its images, needs them as int8 first. */
static void read_image(ek_quantized *q, bool normalized, int channels)
{
    bool maps = !normalized && q->output != 0;
    for (int i = 0; i < q->op_count; i++)
        if ((q->ops[i].x == 0 && q->ops[i].kind != EK_Q_MAP) || q->ops[i].r == 0)
            maps = false;
    const int bytes = maps ? 0 : q->tensor_count++;
    if (!maps) {
        q->tensors[bytes] = q->tensors[0];
        q->tensors[bytes].same_as = bytes;
        for (int i = q->op_count++; i > 0; i--)
            q->ops[i] = q->ops[i - 1];
        q->ops[0] = (ek_q_op){.kind = EK_Q_INPUT, .layer = -1, .x = bytes, .r = -1, .y = 0};
        q->ops[0].tables = normalized ? channels : 1;
    }
    q->tensors[bytes].type = EK_Q_BYTE;
    q->tensors[bytes].scale = 1 / 255.0;
    q->tensors[bytes].zero = 0;
    link_ops(q);
}

ek_status ek_q_graph(ek_quantized *q)
{
    const ek_net *net = q->net;
    ek_normal *normal = NULL;
    EK_TRY(ek_normal_new(&normal, net));
    const bool normalized = normal != NULL;
    ek_normal_free(normal);
    /* One a layer or branch; an input that is converted, an output that is widened. */
    const size_t most = (size_t)net->layer_count + (size_t)net->part_count + 4;
    builder b = {.q = q, .net = net, .tensor_of = ek_calloc((size_t)net->layer_count, sizeof(int))};
    q->tensors = ek_calloc(most, sizeof *q->tensors);
    q->ops = ek_calloc(most, sizeof *q->ops);
    ek_status status = b.tensor_of && q->tensors && q->ops ? EK_OK : EK_ERR_MEMORY;
    if (!status) {
        add_tensor(q, -1, net->input);
        status = add_layers(&b, 0, net->layer_count);
    }
    if (!status) {
        q->output = input_of(&b, net->tail);
        link_ops(q);
        fuse_norms(q);
        fuse_relus(q);
        fuse_parts(q);
        share_scales(q);
        widen_output(q);
        read_image(q, normalized, net->input.c);
    }
    ek_free(b.tensor_of);
    return status;
}
