/* SPDX-License-Identifier: MIT
 * Compiling a net: layers are gathered into stages (what runs in one pass together), stages get their buffers, and
 * the forward steps are written down. Backward is in plan_backward.c. */
#include "net/plan.h"

#include "base/memory.h"
#include "op/norm.h"

/* ---- Writing down ---- */

ek_step *ek_plan_add(ek_plan *plan, ek_step_kind kind, ek_scope scope, int layer)
{
    ek_program *p = plan->program;
    if (p->count == p->capacity) {
        const int capacity = p->capacity ? 2 * p->capacity : 64;
        ek_step *grown = ek_realloc(p->steps, (size_t)capacity, sizeof *grown);
        if (!grown)
            return NULL;
        p->steps = grown;
        p->capacity = capacity;
    }
    ek_step *step = &p->steps[p->count++];
    *step = (ek_step){.kind = kind, .scope = scope, .layer = layer, .items = 1};
    return step;
}

size_t ek_plan_room(ek_plan *plan, size_t floats)
{
    const size_t offset = plan->program->arena_size;
    const size_t padded = ek_size_mul(ek_size_add(floats, EK_LANES - 1) / EK_LANES, EK_LANES);
    plan->program->arena_size = ek_size_add(offset, padded);
    return offset;
}

static int64_t blocks_of(const ek_plan *plan)
{
    return (plan->request->max_samples + EK_LANES - 1) / EK_LANES;
}

/* Room for `count` pieces of `floats` each. */
static ek_buffer pieces(ek_plan *plan, size_t floats, int64_t count)
{
    const size_t stride = ek_size_mul(ek_size_add(floats, EK_LANES - 1) / EK_LANES, EK_LANES);
    return (ek_buffer){ek_plan_room(plan, ek_size_mul(stride, (size_t)count)), stride};
}

ek_buffer ek_plan_buffer(ek_plan *plan, int64_t values)
{
    const int64_t slots = plan->program->by_thread ? plan->request->threads : blocks_of(plan);
    return pieces(plan, ek_size_mul((size_t)values, EK_LANES), slots);
}

static const float *tensor_data(const ek_net *net, int tensor)
{
    return tensor < 0 ? NULL : net->tensors[tensor].data;
}

/* ---- Stages ---- */

static ek_stage *add_stage(ek_plan *plan, ek_stage_kind kind, int layer)
{
    const ek_dims in = plan->net->layers[layer].in;
    ek_stage *s = &plan->stages[plan->stage_count++];
    *s = (ek_stage){.kind = kind, .layer = layer, .folded = -1, .in = ek_dims_count(in), .out = ek_dims_count(in)};
    s->u = (ek_unit){.c = in.c, .h = in.h, .w = in.w, .pool = 1};
    return s;
}

static void add_map(ek_plan *plan, int layer)
{
    const ek_layer *l = &plan->net->layers[layer];
    ek_stage *s = add_stage(plan, EK_STAGE_MAP, layer);
    const bool conv = l->kind == EK_LAYER_CONV2D;
    s->g = (ek_conv){.c = l->in.c,
                     .h = l->in.h,
                     .w = l->in.w,
                     .k = l->out.c,
                     .p = l->out.h,
                     .q = l->out.w,
                     .r = conv ? l->o.conv.kernel : 1,
                     .s = conv ? l->o.conv.kernel : 1,
                     .stride = conv ? l->o.conv.stride : 1,
                     .padding = conv ? l->o.conv.padding : 0};
    s->linear = s->g.h == 1 && s->g.w == 1 && s->g.r == 1 && s->g.s == 1 && s->g.padding == 0; /* then p = q = 1 */
    s->grad_bias = l->bias >= 0;
    s->out = ek_dims_count(l->out);
}

/* Whether a batch norm's forward takes statistics of the batch: to normalise, or for the moving ones. */
static bool uses_batch(const ek_plan *plan, const ek_layer *l)
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
    const bool trains = plan->request->mode == EK_TRAINING && l->o.batchnorm.affine && !l->o.batchnorm.hold_affine;
    *b = (ek_batchnorm){.layer = layer,
                        .c = l->in.c,
                        .plane = (int64_t)l->in.h * l->in.w,
                        .eps = l->o.batchnorm.eps,
                        .momentum = l->o.batchnorm.momentum,
                        .population = l->o.batchnorm.moving_variance == EK_MOVING_POPULATION,
                        .use_moving = l->o.batchnorm.use_moving && l->o.batchnorm.tracking,
                        .hold_moving = l->o.batchnorm.hold_moving,
                        .gamma = tensor_data(net, l->weight),
                        .beta = tensor_data(net, l->bias)};
    if (l->moving_mean >= 0) {
        b->moving_mean = net->tensors[l->moving_mean].data;
        b->moving_var = net->tensors[l->moving_var].data;
        b->num_batches = net->tensors[l->num_batches].counter;
    }
    b->trains = trains;
    if (trains && p->gradients) {
        b->dgamma = p->gradients + (b->gamma - net->values);
        b->dbeta = p->gradients + (b->beta - net->values);
    }
    s->norm = b;
    s->u.norm = true;
}

/* True when pooling `g` can run in the pass of a unit: square windows side by side that cover the plane. */
static bool fits_unit(const ek_pool2d *g)
{
    const int k = g->kernel_h;
    return g->kernel_w == k && g->stride_h == k && g->stride_w == k && !g->padding_h && !g->padding_w &&
           g->h % k == 0 && g->w % k == 0;
}

static ek_pool2d pool_of(const ek_layer *l)
{
    ek_pool2d g = {.c = l->in.c, .h = l->in.h, .w = l->in.w, .p = l->out.h, .q = l->out.w};
    if (l->kind == EK_LAYER_GLOBALAVGPOOL) {
        g.kernel_h = g.stride_h = g.h;
        g.kernel_w = g.stride_w = g.w;
        return g;
    }
    g.kernel_h = g.kernel_w = l->o.pool.kernel;
    g.stride_h = g.stride_w = l->o.pool.stride;
    g.padding_h = g.padding_w = l->o.pool.padding;
    g.maximum = l->kind == EK_LAYER_MAXPOOL2D;
    return g;
}

/* Joins the unit before it, where the unit is open and keeps what a maximum's backward needs; else starts a unit, or a
 * stage of its own. */
static void add_pool(ek_plan *plan, int layer, ek_stage *open)
{
    const ek_layer *l = &plan->net->layers[layer];
    const ek_pool2d g = pool_of(l);
    ek_stage *s = open;
    if (!fits_unit(&g) || (g.maximum && (!open || open->u.activation == EK_IDENTITY))) {
        s = add_stage(plan, EK_STAGE_POOL, layer);
        s->pool = g;
    } else {
        s = open ? open : add_stage(plan, EK_STAGE_UNIT, layer);
        s->u.pool = g.kernel_h;
        s->u.maximum = g.maximum;
    }
    s->out = ek_dims_count(l->out);
}

/* Starts or joins a unit at `layer`; the order within a unit is norm, activation, pool. */
static void add_to_unit(ek_plan *plan, int layer)
{
    const ek_layer *l = &plan->net->layers[layer];
    ek_stage *s = plan->stage_count ? &plan->stages[plan->stage_count - 1] : NULL;
    if (l->kind == EK_LAYER_BATCHNORM) {
        const bool folds = plan->request->mode == EK_PREDICTION && l->o.batchnorm.tracking;
        if (folds && s && s->kind == EK_STAGE_MAP && s->layer == layer - 1) {
            s->folded = layer;
            return;
        }
        s = add_stage(plan, EK_STAGE_UNIT, layer);
        bind_norm(plan, s, layer);
        return;
    }
    const bool open = s && s->kind == EK_STAGE_UNIT && s->u.pool == 1;
    if (l->kind == EK_LAYER_RELU || l->kind == EK_LAYER_SIGMOID) {
        if (!open || s->u.activation != EK_IDENTITY)
            s = add_stage(plan, EK_STAGE_UNIT, layer);
        s->u.activation = l->kind == EK_LAYER_RELU ? EK_RELU : EK_SIGMOID;
        return;
    }
    add_pool(plan, layer, open ? s : NULL);
}

static void gather_stages(ek_plan *plan)
{
    for (int i = 0; i < plan->net->layer_count; i++) {
        switch (plan->net->layers[i].kind) {
        case EK_LAYER_CONV2D:
        case EK_LAYER_LINEAR:
            add_map(plan, i);
            break;
        case EK_LAYER_LAYERNORM:
            add_stage(plan, EK_STAGE_LAYERNORM, i);
            break;
        case EK_LAYER_FLATTEN: /* memory stays as it is */
            break;
        case EK_LAYER_BATCHNORM:
        case EK_LAYER_RELU:
        case EK_LAYER_SIGMOID:
        case EK_LAYER_MAXPOOL2D:
        case EK_LAYER_AVGPOOL2D:
        case EK_LAYER_GLOBALAVGPOOL:
            add_to_unit(plan, i);
            break;
        }
    }
}

/* ---- Forward ---- */

static void place_stage(ek_plan *plan, ek_stage *s, ek_buffer x)
{
    const bool training = plan->request->mode == EK_TRAINING;
    const ek_layer *l = &plan->net->layers[s->layer];
    s->x = x;
    if (s->kind == EK_STAGE_MAP) {
        const size_t weights = (size_t)ek_conv_weights(&s->g);
        s->packed = ek_plan_room(plan, weights);
        if (s->folded >= 0) {
            s->weight_at = ek_plan_room(plan, weights);
            s->bias_at = ek_plan_room(plan, (size_t)s->g.k);
        }
        if (training && s->linear)
            s->rows = ek_plan_room(plan, ek_size_mul((size_t)(s->g.c + EK_LANES - 1) / EK_LANES * EK_LANES,
                                                     (size_t)blocks_of(plan) * EK_LANES));
        else if (training)
            s->parts = pieces(plan, weights + (size_t)s->g.k, blocks_of(plan));
    } else if (s->kind == EK_STAGE_UNIT) {
        s->keep = training && s->u.activation != EK_IDENTITY;
        if (s->keep)
            s->activated = ek_plan_buffer(plan, s->in);
    } else if (s->kind == EK_STAGE_LAYERNORM) {
        s->saved = ek_plan_buffer(plan, 2);
        if (training && l->o.layernorm.affine)
            s->parts = pieces(plan, ek_size_mul(2, (size_t)s->in), blocks_of(plan));
    }
    /* An activation that is kept and not pooled is the unit's output. */
    s->y = s->keep && s->u.pool == 1 ? s->activated : ek_plan_buffer(plan, s->out);
}

static ek_status add_forward_map(ek_plan *plan, const ek_stage *s)
{
    const ek_layer *l = &plan->net->layers[s->layer];
    ek_step *step = ek_plan_add(plan, EK_STEP_MAP, EK_PER_BLOCK, s->layer);
    if (!step)
        return EK_ERR_MEMORY;
    step->x = s->x;
    step->y = s->y;
    step->u.map.g = s->g;
    step->u.map.packed = s->packed;
    step->u.map.has_bias = s->folded >= 0 || l->bias >= 0;
    step->u.map.bias = s->folded >= 0 ? NULL : tensor_data(plan->net, l->bias);
    step->u.map.weight_at = s->weight_at;
    step->u.map.bias_at = s->bias_at;
    step->u.map.folded = s->folded;
    if (plan->request->mode == EK_TRAINING && s->linear) {
        step = ek_plan_add(plan, EK_STEP_ROWS, EK_PER_BLOCK, s->layer);
        if (!step)
            return EK_ERR_MEMORY;
        step->x = s->x;
        step->u.rows.features = s->g.c;
        step->u.rows.rows = s->rows;
    }
    return EK_OK;
}

static ek_status add_forward_unit(ek_plan *plan, const ek_stage *s)
{
    ek_step *step;
    const bool batch = s->norm && uses_batch(plan, &plan->net->layers[s->layer]);
    if (batch) {
        step = ek_plan_add(plan, EK_STEP_STATS, EK_PER_BLOCK, s->layer);
        if (!step)
            return EK_ERR_MEMORY;
        step->x = s->x;
        step->u.norm.norm = s->norm;
    }
    if (batch || (s->norm && plan->request->mode == EK_TRAINING)) {
        step = ek_plan_add(plan, EK_STEP_NORM_FORWARD, EK_ONCE, s->layer);
        if (!step)
            return EK_ERR_MEMORY;
        step->u.norm.norm = s->norm;
    }
    step = ek_plan_add(plan, EK_STEP_UNIT, EK_PER_BLOCK, s->layer);
    if (!step)
        return EK_ERR_MEMORY;
    step->x = s->x;
    step->y = s->y;
    step->u.unit.u = s->u;
    step->u.unit.norm = s->norm;
    step->u.unit.keep = s->keep && s->u.pool > 1;
    step->u.unit.activated = s->activated;
    return EK_OK;
}

static ek_status add_forward(ek_plan *plan, const ek_stage *s)
{
    if (s->kind == EK_STAGE_MAP)
        return add_forward_map(plan, s);
    if (s->kind == EK_STAGE_UNIT)
        return add_forward_unit(plan, s);
    ek_step *step =
        ek_plan_add(plan, s->kind == EK_STAGE_POOL ? EK_STEP_POOL : EK_STEP_LAYERNORM, EK_PER_BLOCK, s->layer);
    if (!step)
        return EK_ERR_MEMORY;
    step->x = s->x;
    step->y = s->y;
    if (s->kind == EK_STAGE_POOL) {
        step->u.pool.g = s->pool;
        return EK_OK;
    }
    const ek_layer *l = &plan->net->layers[s->layer];
    step->u.layernorm.m = s->in;
    step->u.layernorm.eps = l->o.layernorm.eps;
    step->u.layernorm.gamma = tensor_data(plan->net, l->weight);
    step->u.layernorm.beta = tensor_data(plan->net, l->bias);
    step->u.layernorm.saved = s->saved;
    return EK_OK;
}

/* Packing of all weights, the first phase. */
static ek_status add_packing(ek_plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++) {
        ek_stage *s = &plan->stages[i];
        if (s->kind != EK_STAGE_MAP)
            continue;
        for (int backward = 0; backward <= (int)s->grad_input; backward++) {
            ek_step *step =
                ek_plan_add(plan, backward ? EK_STEP_PACK_BACKWARD : EK_STEP_PACK_FORWARD, EK_PER_ITEM, s->layer);
            if (!step)
                return EK_ERR_MEMORY;
            if (backward)
                s->packed_backward = ek_plan_room(plan, (size_t)ek_conv_weights(&s->g));
            step->u.map.g = s->g;
            step->u.map.weight = s->folded >= 0 ? NULL : plan->net->tensors[plan->net->layers[s->layer].weight].data;
            step->u.map.weight_at = s->weight_at;
            step->u.map.packed = backward ? s->packed_backward : s->packed;
        }
    }
    return EK_OK;
}

/* Which gradients are wanted: a stage's input gradient if anything before it has parameters; a bias's unless a batch
 * norm takes the mean away at once, which makes it exactly zero. */
static void find_gradients(ek_plan *plan)
{
    bool parameters = false;
    for (int i = 0; i < plan->stage_count; i++) {
        ek_stage *s = &plan->stages[i];
        const ek_stage *next = i + 1 < plan->stage_count ? &plan->stages[i + 1] : NULL;
        s->grad_input = parameters;
        parameters = parameters || s->kind == EK_STAGE_MAP || (s->norm && s->norm->trains) ||
                     (s->kind == EK_STAGE_LAYERNORM && plan->net->layers[s->layer].o.layernorm.affine);
        if (next && next->norm && !next->norm->use_moving)
            s->grad_bias = false;
    }
}

static ek_status add_steps(ek_plan *plan)
{
    const ek_plan_request *r = plan->request;
    ek_buffer x = ek_plan_buffer(plan, ek_dims_count(plan->net->input));
    const ek_buffer input = x;
    if (r->mode == EK_TRAINING)
        find_gradients(plan);
    for (int i = 0; i < plan->stage_count; i++) {
        place_stage(plan, &plan->stages[i], x);
        x = plan->stages[i].y;
    }
    EK_TRY(add_packing(plan));
    ek_step *step = ek_plan_add(plan, r->input == EK_INPUT_BYTES ? EK_STEP_GATHER : EK_STEP_LOAD, EK_PER_BLOCK, -1);
    if (!step)
        return EK_ERR_MEMORY;
    step->y = input;
    step->u.pass.size = ek_dims_count(plan->net->input);
    for (int i = 0; i < plan->stage_count; i++)
        EK_TRY(add_forward(plan, &plan->stages[i]));
    step = ek_plan_add(plan, r->loss ? EK_STEP_LOSS : EK_STEP_STORE, EK_PER_BLOCK, -1);
    if (!step)
        return EK_ERR_MEMORY;
    step->x = x;
    step->u.pass.size = ek_dims_count(ek_net_output(plan->net));
    if (r->mode == EK_TRAINING) {
        step->dx = ek_plan_buffer(plan, step->u.pass.size);
        step->u.pass.smoothing = r->smoothing;
        EK_TRY(ek_plan_backward(plan));
        return ek_plan_update(plan);
    }
    return EK_OK;
}

/* ---- The whole ---- */

static ek_status alloc_program(ek_plan *plan)
{
    ek_program *p = plan->program;
    const ek_net *net = plan->net;
    int norms = 0;
    bool batch_statistics = false;
    for (int i = 0; i < net->layer_count; i++) {
        if (net->layers[i].kind != EK_LAYER_BATCHNORM)
            continue;
        norms++;
        batch_statistics = batch_statistics || uses_batch(plan, &net->layers[i]);
    }
    p->training = plan->request->mode == EK_TRAINING;
    p->by_thread = !p->training && !batch_statistics;
    p->max_samples = plan->request->max_samples;
    p->norms = ek_calloc((size_t)norms, sizeof *p->norms);
    plan->stages = ek_calloc((size_t)net->layer_count, sizeof *plan->stages);
    if (!p->norms || !plan->stages)
        return EK_ERR_MEMORY;
    if (p->training && !plan->request->dry) {
        p->gradients = ek_block_alloc(ek_size_mul(net->value_count, sizeof *p->gradients));
        p->gradient_count = net->value_count;
        if (!p->gradients)
            return EK_ERR_MEMORY;
    }
    return EK_OK;
}

static ek_status fill_program(ek_plan *plan)
{
    EK_TRY(alloc_program(plan));
    gather_stages(plan);
    ek_program *p = plan->program;
    for (int i = 0; i < p->norm_count; i++)
        if (!plan->request->dry)
            EK_TRY(ek_batchnorm_alloc(&p->norms[i], blocks_of(plan)));
    EK_TRY(add_steps(plan));
    if (plan->request->dry)
        return EK_OK;
    p->arena = ek_block_alloc(ek_size_mul(p->arena_size, sizeof *p->arena));
    return p->arena ? EK_OK : EK_ERR_MEMORY;
}

ek_status ek_plan_new(ek_program **out, ek_net *net, const ek_plan_request *request)
{
    *out = NULL;
    EK_TRY(ek_net_finish(net));
    ek_program *program = ek_calloc(1, sizeof *program);
    if (!program)
        return EK_ERR_MEMORY;
    ek_plan plan = {.net = net, .request = request, .program = program};
    const ek_status status = fill_program(&plan);
    ek_free(plan.stages);
    if (status) {
        ek_program_free(program);
        return status;
    }
    if (request->mode == EK_PREDICTION && !request->dry)
        ek_plan_refresh(program, net);
    *out = program;
    return EK_OK;
}

/* Weights and bias of map layer `l` with batch norm layer `n` folded in, in double:
 *   weight' = weight*scale    bias' = (bias - mean)*scale + beta    scale = gamma/sqrt(var + eps) */
static void fold(const ek_net *net, const ek_layer *l, const ek_layer *n, float *weight, float *bias)
{
    const ek_tensor *w = &net->tensors[l->weight];
    const float *mean = net->tensors[n->moving_mean].data, *var = net->tensors[n->moving_var].data;
    const float *b = tensor_data(net, l->bias), *gamma = tensor_data(net, n->weight),
                *beta = tensor_data(net, n->bias);
    const int64_t outputs = w->dim[0], inputs = w->count / outputs;
    for (int64_t k = 0; k < outputs; k++) {
        const double scale =
            (gamma ? (double)gamma[k] : 1.0) * ek_norm_rstd((double)var[k], (double)n->o.batchnorm.eps);
        for (int64_t i = 0; i < inputs; i++)
            weight[k * inputs + i] = (float)((double)w->data[k * inputs + i] * scale);
        bias[k] = (float)(((b ? (double)b[k] : 0.0) - (double)mean[k]) * scale + (beta ? (double)beta[k] : 0.0));
    }
}

void ek_plan_refresh(ek_program *program, const ek_net *net)
{
    for (int i = 0; i < program->count; i++) {
        const ek_step *s = &program->steps[i];
        if (s->kind == EK_STEP_MAP && s->u.map.folded >= 0)
            fold(net, &net->layers[s->layer], &net->layers[s->u.map.folded], program->arena + s->u.map.weight_at,
                 program->arena + s->u.map.bias_at);
    }
    for (int i = 0; i < program->norm_count; i++)
        if (program->norms[i].moving_mean)
            ek_batchnorm_predict(&program->norms[i]);
}
