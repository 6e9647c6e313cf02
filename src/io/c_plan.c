/* SPDX-License-Identifier: MIT
 * From layers to operations on one sample, and where each value lives while it is needed. */
#include "io/c_source.h"

#include "base/memory.h"
#include "base/place.h"
#include "net/block.h"
#include "net/geometry.h"

/* Places are multiples of so many floats, for the sake of vectors. */
enum { ALIGNMENT = 4 };

/* ---- Operations --------------------------------------------------------------------------------------------- */

static int new_value(ek_c_plan *p, int64_t count)
{
    p->values[p->value_count] =
        (ek_c_value){.count = count, .first = p->op_count, .last = p->op_count, .root = p->value_count};
    return p->value_count++;
}

static void read_value(ek_c_plan *p, int value)
{
    if (value >= 0)
        p->values[value].last = p->op_count;
}

/* The next operation, which reads x and r (-1: none); y is new. */
static ek_c_op *add_op(ek_c_plan *p, ek_c_kind kind, int layer, int x, int r)
{
    const int y = new_value(p, ek_dims_count(p->net->layers[layer].out));
    ek_c_op *op = &p->ops[p->op_count];
    *op = (ek_c_op){.kind = kind, .layer = layer, .x = x, .r = r, .y = y, .plane = -1};
    read_value(p, x);
    read_value(p, r);
    p->value_of[layer] = y;
    p->op_count++;
    return op;
}

static int value_of(const ek_c_plan *p, int layer)
{
    return layer < 0 ? 0 : p->value_of[layer];
}

static bool is_padded(const ek_layer *l)
{
    return l->o.conv.padding[0] > 0 || l->o.conv.padding[1] > 0;
}

static void add_conv(ek_c_plan *p, int layer)
{
    const ek_layer *l = &p->net->layers[layer];
    const int from = value_of(p, l->from);
    const ek_conv g = ek_layer_conv(l);
    if (ek_conv_is_linear(&g)) {
        add_op(p, EK_C_LINEAR, layer, from, -1);
    } else if (is_padded(l)) { /* before the operation: it lives during it alone */
        const int64_t h = (int64_t)l->in.h + 2 * (int64_t)l->o.conv.padding[0];
        const int plane = new_value(p, h * ((int64_t)l->in.w + 2 * (int64_t)l->o.conv.padding[1]));
        add_op(p, EK_C_CONV, layer, from, -1)->plane = plane;
    } else {
        add_op(p, EK_C_CONV, layer, from, -1);
    }
}

static ek_status add_layer(ek_c_plan *p, int layer)
{
    static const ek_c_kind kinds[EK_LAYER_KINDS] = {
        [EK_LAYER_LINEAR] = EK_C_LINEAR,
        [EK_LAYER_BATCHNORM] = EK_C_SCALE,
        [EK_LAYER_LAYERNORM] = EK_C_LAYERNORM,
        [EK_LAYER_RELU] = EK_C_RELU,
        [EK_LAYER_LEAKY_RELU] = EK_C_LEAKY_RELU,
        [EK_LAYER_SIGMOID] = EK_C_SIGMOID,
        [EK_LAYER_TANH] = EK_C_TANH,
        [EK_LAYER_GELU] = EK_C_GELU,
        [EK_LAYER_MAXPOOL2D] = EK_C_MAXPOOL,
        [EK_LAYER_AVGPOOL2D] = EK_C_AVGPOOL,
        [EK_LAYER_GLOBALAVGPOOL] = EK_C_AVGPOOL,
    };
    const ek_layer *l = &p->net->layers[layer];
    char label[EK_LABEL_SIZE];
    switch (l->kind) {
    case EK_LAYER_FLATTEN:
    case EK_LAYER_DROPOUT:
        p->value_of[layer] = value_of(p, l->from);
        return EK_OK;
    case EK_LAYER_CONV2D:
        add_conv(p, layer);
        return EK_OK;
    case EK_LAYER_BATCHNORM:
        if (!l->o.batchnorm.tracking)
            return ek_fail(
                EK_ERR_UNSUPPORTED,
                "%s has no moving statistics: its outputs depend on which images are together, and C takes "
                "them one by one; train it with tracking",
                ek_layer_label(p->net, layer, label));
        add_op(p, EK_C_SCALE, layer, value_of(p, l->from), -1);
        return EK_OK;
    default:
        add_op(p, l->kind == EK_LAYER_GELU && l->o.gelu.by_tanh ? EK_C_GELU_TANH : kinds[l->kind], layer,
               value_of(p, l->from), -1);
        return EK_OK;
    }
}

static void add_residual(ek_c_plan *p, int layer)
{
    const ek_layer *l = &p->net->layers[layer];
    int next = layer + 1;
    const int body = value_of(p, ek_block_part_end(p->net, layer, 0, &next));
    const int other = l->parts == 2 ? ek_block_part_end(p->net, layer, 1, &next) : l->from;
    add_op(p, l->parts == 1 && l->o.residual.pad ? EK_C_ADD_PAD : EK_C_ADD, layer, body, value_of(p, other));
}

static void add_concat(ek_c_plan *p, int layer)
{
    const ek_layer *l = &p->net->layers[layer];
    const int y = new_value(p, ek_dims_count(l->out));
    int next = layer + 1;
    int64_t at = 0;
    for (int part = 0; part < l->parts; part++) {
        const int x = value_of(p, ek_block_part_end(p->net, layer, part, &next));
        read_value(p, x);
        read_value(p, y);
        p->ops[p->op_count++] =
            (ek_c_op){.kind = EK_C_COPY, .layer = layer, .x = x, .r = -1, .y = y, .plane = -1, .at = at};
        at += p->values[x].count;
    }
    p->value_of[layer] = y;
}

/* Layers begin..end-1, which stand in one sequence or in the parts of one block. Recursion ends at EK_DEPTH_MAX. */
static ek_status add_layers(ek_c_plan *p, int begin, int end)
{
    for (int i = begin; i < end; i = p->net->layers[i].end) {
        const ek_layer *l = &p->net->layers[i];
        if (!ek_is_block(l->kind)) {
            EK_TRY(add_layer(p, i));
            continue;
        }
        EK_TRY(add_layers(p, i + 1, l->end));
        if (l->kind == EK_LAYER_RESIDUAL)
            add_residual(p, i);
        else
            add_concat(p, i);
    }
    return EK_OK;
}

/* ---- Places ------------------------------------------------------------------------------------------------- */

static int root_of(const ek_c_plan *p, int value)
{
    while (p->values[value].root != value)
        value = p->values[value].root;
    return value;
}

/* y takes the place of an x that nothing reads after operation i. */
static bool take_place(ek_c_plan *p, int i, int x)
{
    const int root = root_of(p, x), y = p->ops[i].y;
    if (p->values[root].last > i || p->values[root].count != p->values[y].count)
        return false;
    p->values[y].root = root;
    p->values[root].last = p->values[y].last;
    return true;
}

/* What is added to itself (a residual whose body is nothing) is read as two values, one of which is a copy. */
static void share_places(ek_c_plan *p)
{
    for (int i = 0; i < p->op_count; i++) {
        ek_c_op *op = &p->ops[i];
        if (!ek_c_in_place(op) || op->x == op->r || take_place(p, i, op->x))
            continue;
        if (op->kind == EK_C_ADD && take_place(p, i, op->r)) { /* a sum is the same the other way round */
            const int x = op->x;
            op->x = op->r;
            op->r = x;
        }
    }
}

static ek_status place_all(ek_c_plan *p)
{
    ek_piece *pieces = ek_calloc((size_t)p->value_count, sizeof *pieces);
    if (!pieces)
        return EK_ERR_MEMORY;
    for (int v = 0; v < p->value_count; v++) {
        const ek_c_value *value = &p->values[v];
        pieces[v] = (ek_piece){value->root == v ? value->count : 0, value->first, value->last, -1};
    }
    p->memory = ek_place_pieces(pieces, p->value_count, ALIGNMENT);
    for (int v = 0; v < p->value_count; v++)
        if (p->values[v].root == v)
            p->values[v].place = pieces[v].at;
    ek_free(pieces);
    return EK_OK;
}

int64_t ek_c_place(const ek_c_plan *plan, int value)
{
    return plan->values[root_of(plan, value)].place;
}

/* ---- The whole ---------------------------------------------------------------------------------------------- */

/* Everything is counted by an int in the C text. */
static ek_status check_sizes(const ek_c_plan *p)
{
    char label[EK_LABEL_SIZE];
    for (int i = 0; i < p->op_count; i++) {
        const ek_layer *l = &p->net->layers[p->ops[i].layer];
        const int plane = p->ops[i].plane;
        if ((plane >= 0 && p->values[plane].count > INT32_MAX) ||
            (l->weight >= 0 && p->net->tensors[l->weight].count > INT32_MAX))
            return ek_fail(
                EK_ERR_UNSUPPORTED,
                "%s has more than %d weights or padded pixels of a channel, beyond what an int of the C text "
                "counts",
                ek_layer_label(p->net, p->ops[i].layer, label), INT32_MAX);
    }
    if (p->memory > INT32_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "the C text would need an array of %lld floats, beyond what an int counts",
                       (long long)p->memory);
    return EK_OK;
}

static ek_status fill(ek_c_plan *p)
{
    const size_t most = (size_t)p->net->layer_count + (size_t)p->net->part_count + 1;
    p->ops = ek_calloc(most, sizeof *p->ops);
    p->values = ek_calloc(most, 2 * sizeof *p->values);
    p->value_of = ek_calloc(most, sizeof *p->value_of);
    if (!p->ops || !p->values || !p->value_of)
        return EK_ERR_MEMORY;
    new_value(p, ek_dims_count(p->net->input));
    EK_TRY(add_layers(p, 0, p->net->layer_count));
    p->output = value_of(p, p->net->tail);
    read_value(p, p->output);
    share_places(p);
    EK_TRY(place_all(p));
    return check_sizes(p);
}

ek_status ek_c_plan_new(ek_c_plan *plan, const ek_net *net)
{
    *plan = (ek_c_plan){.net = net};
    const ek_status status = fill(plan);
    if (status)
        ek_c_plan_free(plan);
    return status;
}

void ek_c_plan_free(ek_c_plan *plan)
{
    ek_free(plan->ops);
    ek_free(plan->values);
    ek_free(plan->value_of);
    *plan = (ek_c_plan){0};
}
