/* SPDX-License-Identifier: MIT
 * Layers are gathered into stages: what runs in one pass over memory together is one stage, and stages read each
 * other's outputs. A residual becomes a join, which takes in the batch norm at its body's end and the activation
 * behind it; flattening is nothing, since memory stays as it is. */
#include "net/block.h"
#include "net/geometry.h"
#include "net/plan.h"

static ek_stage *add_stage(ek_plan *plan, ek_stage_kind kind, int layer)
{
    const ek_layer *l = &plan->net->layers[layer];
    ek_stage *s = &plan->stages[plan->stage_count++];
    *s = (ek_stage){.kind = kind,
                    .layer = layer,
                    .x = l->from < 0 ? 0 : plan->stage_of[l->from],
                    .r = -1,
                    .folded = -1,
                    .concat = -1,
                    .in = ek_dims_count(l->in),
                    .out = ek_dims_count(l->out)};
    s->y = s->activated = s->saved = s->parts = (ek_value){-1, 0};
    s->u = (ek_unit){.c = l->in.c, .h = l->in.h, .w = l->in.w, .pool = 1};
    plan->stage_of[layer] = plan->stage_count - 1;
    return s;
}

/* Whether a layer hands on what it reads as it lies in memory. */
static bool is_nothing(const ek_plan *plan, const ek_layer *l)
{
    return l->kind == EK_LAYER_FLATTEN ||
           (l->kind == EK_LAYER_DROPOUT && (plan->request->mode != EK_TRAINING || l->o.dropout.p == 0));
}

static void add_map(ek_plan *plan, int layer)
{
    const ek_layer *l = &plan->net->layers[layer];
    ek_stage *s = add_stage(plan, EK_STAGE_MAP, layer);
    s->g = ek_layer_conv(l);
    s->linear = ek_conv_is_linear(&s->g); /* then p = q = 1 */
    s->grad_bias = l->bias >= 0;
}

/* ---- Units -------------------------------------------------------------------------------------------------- */

bool ek_plan_uses_batch(const ek_plan *plan, const ek_layer *l)
{
    const bool frozen = l->o.batchnorm.use_moving && l->o.batchnorm.hold_moving;
    return !l->o.batchnorm.tracking || (plan->request->mode == EK_TRAINING && !frozen);
}

static void bind_norm(ek_plan *plan, ek_stage *s, int layer)
{
    const ek_net *net = plan->net;
    const ek_layer *l = &net->layers[layer];
    ek_program *p = plan->program;
    ek_batchnorm *b = &p->norms[p->norm_count++];
    *b = (ek_batchnorm){.layer = layer,
                        .c = l->in.c,
                        .plane = (int64_t)l->in.h * l->in.w,
                        .eps = l->o.batchnorm.eps,
                        .momentum = l->o.batchnorm.momentum,
                        .population = l->o.batchnorm.moving_variance == EK_MOVING_POPULATION,
                        .normalize = l->o.batchnorm.normalize,
                        .use_moving = l->o.batchnorm.use_moving && l->o.batchnorm.tracking,
                        .hold_moving = l->o.batchnorm.hold_moving,
                        .gamma = ek_plan_tensor(plan, l->weight),
                        .beta = ek_plan_tensor(plan, l->bias)};
    if (l->moving_mean >= 0) {
        b->moving_mean = net->tensors[l->moving_mean].data;
        b->moving_var = net->tensors[l->moving_var].data;
        b->num_batches = net->tensors[l->num_batches].counter;
    }
    b->trains = plan->request->mode == EK_TRAINING && (b->gamma || b->beta) && !l->o.batchnorm.hold_affine;
    if (b->trains && p->gradients) {
        b->dgamma = b->gamma ? p->gradients + (b->gamma - net->values) : NULL;
        b->dbeta = b->beta ? p->gradients + (b->beta - net->values) : NULL;
    }
    s->norm = b;
    s->u.norm = true;
}

/* The stage whose output layer l reads, if nothing else reads it, and no probe: the two may become one. Else NULL. */
static ek_stage *only_source(ek_plan *plan, const ek_layer *l)
{
    if (l->from < 0 || plan->consumers[l->from] != 1 || plan->request->probe)
        return NULL;
    return &plan->stages[plan->stage_of[l->from]];
}

/* True when pooling `g` can run in the pass of a unit: square windows side by side that cover the plane. */
static bool fits_unit(const ek_pool2d *g)
{
    const int k = g->kernel_h;
    return g->kernel_w == k && g->stride_h == k && g->stride_w == k && !g->padding_h && !g->padding_w &&
           g->h % k == 0 && g->w % k == 0;
}

static void add_batchnorm(ek_plan *plan, int layer)
{
    const ek_layer *l = &plan->net->layers[layer];
    ek_stage *s = only_source(plan, l);
    const bool folds = plan->request->mode == EK_PREDICTION && l->o.batchnorm.tracking && !plan->request->exact &&
                       !plan->request->unfolded;
    int from = l->from; /* the layer whose channels these are: no flatten may be between */
    while (from >= 0 && plan->net->layers[from].kind == EK_LAYER_DROPOUT &&
           is_nothing(plan, &plan->net->layers[from]))
        from = plan->net->layers[from].from;
    if (folds && s && s->kind == EK_STAGE_MAP && s->layer == from) {
        s->folded = layer;
        plan->stage_of[layer] = plan->stage_of[l->from];
        return;
    }
    bind_norm(plan, add_stage(plan, EK_STAGE_UNIT, layer), layer);
}

/* Joins the unit or the sum before it, or starts a unit; the order within a unit is norm, activation, pool. */
static void add_activation(ek_plan *plan, int layer, ek_activation activation)
{
    const ek_layer *l = &plan->net->layers[layer];
    ek_stage *s = only_source(plan, l);
    const float negative_slope = activation == EK_LEAKY_RELU ? l->o.leaky_relu.negative_slope : 0;
    const bool by_output = ek_activation_by_output(activation); /* all that a sum's backward keeps */
    if (s && s->kind == EK_STAGE_JOIN && s->join.activation == EK_IDENTITY && by_output) {
        s->join.activation = activation;
        s->join.negative_slope = negative_slope;
        plan->stage_of[layer] = plan->stage_of[l->from];
        return;
    }
    if (s && s->kind == EK_STAGE_UNIT && s->u.pool == 1 && s->u.activation == EK_IDENTITY)
        plan->stage_of[layer] = plan->stage_of[l->from];
    else
        s = add_stage(plan, EK_STAGE_UNIT, layer);
    s->u.activation = activation;
    s->u.negative_slope = negative_slope;
}

/* Joins the unit before it, where that is open and keeps what a maximum's backward needs; else starts a unit, or
 * a stage of its own. */
static void add_pool(ek_plan *plan, int layer)
{
    const ek_layer *l = &plan->net->layers[layer];
    const ek_pool2d g = ek_layer_pool(l);
    ek_stage *s = only_source(plan, l);
    const bool open = s && s->kind == EK_STAGE_UNIT && s->u.pool == 1;
    if (!fits_unit(&g) || (g.maximum && (!open || s->u.activation == EK_IDENTITY))) {
        add_stage(plan, EK_STAGE_POOL, layer)->pool = g;
        return;
    }
    if (open)
        plan->stage_of[layer] = plan->stage_of[l->from];
    else
        s = add_stage(plan, EK_STAGE_UNIT, layer);
    s->u.pool = g.kernel_h;
    s->u.maximum = g.maximum;
    s->out = ek_dims_count(l->out);
}

static void add_layer(ek_plan *plan, int layer)
{
    const ek_layer *l = &plan->net->layers[layer];
    if (is_nothing(plan, l)) {
        plan->stage_of[layer] = l->from < 0 ? 0 : plan->stage_of[l->from];
        return;
    }
    switch (l->kind) {
    case EK_LAYER_CONV2D:
    case EK_LAYER_LINEAR:
        add_map(plan, layer);
        break;
    case EK_LAYER_LAYERNORM:
        add_stage(plan, EK_STAGE_LAYERNORM, layer);
        break;
    case EK_LAYER_DROPOUT:
        add_stage(plan, EK_STAGE_DROPOUT, layer);
        break;
    case EK_LAYER_BATCHNORM:
        add_batchnorm(plan, layer);
        break;
    case EK_LAYER_SIGMOID:
        add_activation(plan, layer, EK_SIGMOID);
        break;
    case EK_LAYER_RELU:
        add_activation(plan, layer, EK_RELU);
        break;
    case EK_LAYER_LEAKY_RELU:
        add_activation(plan, layer, EK_LEAKY_RELU);
        break;
    case EK_LAYER_TANH:
        add_activation(plan, layer, EK_TANH);
        break;
    case EK_LAYER_GELU:
        add_activation(plan, layer, l->o.gelu.by_tanh ? EK_GELU_TANH : EK_GELU);
        break;
    case EK_LAYER_MAXPOOL2D:
    case EK_LAYER_AVGPOOL2D:
    case EK_LAYER_GLOBALAVGPOOL:
        add_pool(plan, layer);
        break;
    case EK_LAYER_FLATTEN:  /* nothing */
    case EK_LAYER_RESIDUAL: /* add_block */
    case EK_LAYER_CONCAT:
        break;
    }
}

/* ---- Blocks ------------------------------------------------------------------------------------------------- */

static int stage_of_end(const ek_plan *plan, int end)
{
    return end < 0 ? 0 : plan->stage_of[end];
}

static void add_join(ek_plan *plan, int layer)
{
    const ek_layer *l = &plan->net->layers[layer];
    int next = layer + 1;
    const int body_end = ek_block_part_end(plan->net, layer, 0, &next);
    const int body = stage_of_end(plan, body_end);
    const int shortcut = l->parts == 2 ? stage_of_end(plan, ek_block_part_end(plan->net, layer, 1, &next))
                                       : stage_of_end(plan, l->from);
    ek_stage *s = add_stage(plan, EK_STAGE_JOIN, layer), *b = &plan->stages[body];
    s->in = s->out;
    s->x = body;
    s->r = shortcut;
    s->join = (ek_join){
        .c = l->out.c, .h = l->out.h, .w = l->out.w, .stride = 1, .rc = l->out.c, .rh = l->out.h, .rw = l->out.w};
    if (l->parts == 1 && l->o.residual.pad) {
        s->join.stride = l->o.residual.stride;
        s->join.rc = l->in.c;
        s->join.rh = l->in.h;
        s->join.rw = l->in.w;
    }
    const bool only = plan->consumers[body_end] == 1 && !plan->request->probe;
    if (only && b->kind == EK_STAGE_UNIT && b->norm && b->u.activation == EK_IDENTITY && b->u.pool == 1 &&
        b->u.c == l->out.c) { /* what a flatten has made of channels is no channel */
        s->norm = b->norm;
        s->layer = b->layer;
        s->x = b->x;
        s->join.norm = true;
        b->kind = EK_STAGE_NONE;
    }
}

static void add_concat(ek_plan *plan, int layer)
{
    const ek_layer *l = &plan->net->layers[layer];
    int next = layer + 1;
    ek_stage *s = add_stage(plan, EK_STAGE_CONCAT, layer);
    s->x = -1;
    s->source = plan->source_count;
    s->sources = l->parts;
    for (int part = 0; part < l->parts; part++)
        plan->sources[plan->source_count++] = stage_of_end(plan, ek_block_part_end(plan->net, layer, part, &next));
}

/* Layers begin..end-1, which stand in one sequence or in the parts of one block. Recursion ends at EK_DEPTH_MAX. */
static void add_layers(ek_plan *plan, int begin, int end)
{
    for (int i = begin; i < end; i = plan->net->layers[i].end) {
        const ek_layer *l = &plan->net->layers[i];
        if (!ek_is_block(l->kind)) {
            add_layer(plan, i);
            continue;
        }
        add_layers(plan, i + 1, l->end);
        if (l->kind == EK_LAYER_RESIDUAL)
            add_join(plan, i);
        else
            add_concat(plan, i);
    }
}

/* ---- Who reads what ----------------------------------------------------------------------------------------- */

/* Readers of each layer's output, those of flattens counted for what they flatten. */
static void count_readers(ek_plan *plan)
{
    const ek_net *net = plan->net;
    ek_block_count_readers(net, plan->consumers);
    /* The output of nothing is its input: its readers are counted there in its own place, and their sum holds for
     * both. */
    for (int i = net->layer_count - 1; i >= 0; i--)
        if (is_nothing(plan, &net->layers[i]) && net->layers[i].from >= 0)
            plan->consumers[net->layers[i].from] += plan->consumers[i] - 1;
    for (int i = 0; i < net->layer_count; i++)
        if (is_nothing(plan, &net->layers[i])) {
            const int source = net->layers[i].from;
            plan->consumers[i] = source < 0 ? 0 : plan->consumers[source];
        }
}

/* An output that a concat alone reads is written in its place at once. */
static void place_in_concats(ek_plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++) {
        const ek_stage *s = &plan->stages[i];
        int64_t at = 0;
        for (int j = 0; s->kind == EK_STAGE_CONCAT && j < s->sources; j++) {
            ek_stage *source = &plan->stages[plan->sources[s->source + j]];
            if (source->consumers == 1 && source->kind != EK_STAGE_INPUT) {
                source->concat = i;
                source->concat_at = at;
            }
            at += source->out;
        }
    }
}

static void count_consumers(ek_plan *plan)
{
    for (int i = 1; i < plan->stage_count; i++) {
        const ek_stage *s = &plan->stages[i];
        if (s->kind == EK_STAGE_NONE)
            continue;
        if (s->kind == EK_STAGE_CONCAT)
            for (int j = 0; j < s->sources; j++)
                plan->stages[plan->sources[s->source + j]].consumers++;
        else
            plan->stages[s->x].consumers++;
        if (s->r >= 0)
            plan->stages[s->r].consumers++;
    }
    if (!plan->request->exact)
        plan->stages[stage_of_end(plan, plan->net->tail)].consumers++; /* the loss */
}

void ek_plan_gather(ek_plan *plan)
{
    plan->stages[plan->stage_count++] = (ek_stage){.kind = EK_STAGE_INPUT,
                                                   .layer = -1,
                                                   .x = -1,
                                                   .r = -1,
                                                   .concat = -1,
                                                   .out = ek_dims_count(plan->net->input),
                                                   .y = {-1, 0}};
    count_readers(plan);
    add_layers(plan, 0, plan->net->layer_count);
    if (plan->request->exact)
        ek_plan_exact(plan);
    count_consumers(plan);
    place_in_concats(plan);
}
