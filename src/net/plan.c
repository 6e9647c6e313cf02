/* SPDX-License-Identifier: MIT
 * Compiling a net: the stages' forward steps are written down in order, each with the memory of its output. */
#include "net/plan.h"

#include "base/memory.h"

enum { PACK_LIMIT = 1 << 20 }; /* floats of packed weights beyond which forward and backward share their room */

ek_step *ek_plan_add(ek_plan *plan, ek_step_kind kind, ek_scope scope, int layer)
{
    ek_program *p = plan->program;
    ek_step *step = &plan->spare;
    if (p->count == p->capacity) {
        const int capacity = p->capacity ? 2 * p->capacity : 64;
        ek_step *grown = ek_realloc(p->steps, (size_t)capacity, sizeof *grown);
        if (grown) {
            p->steps = grown;
            p->capacity = capacity;
        }
        plan->failed = plan->failed || !grown;
    }
    if (p->count == 0 || p->steps[p->count - 1].scope != scope)
        plan->phase++;
    if (p->count < p->capacity)
        step = &p->steps[p->count++];
    *step = (ek_step){.kind = kind, .scope = scope, .layer = layer, .items = 1};
    return step;
}

const float *ek_plan_tensor(const ek_plan *plan, int tensor)
{
    return tensor < 0 ? NULL : plan->net->tensors[tensor].data;
}

static int64_t blocks_of(const ek_plan *plan)
{
    return (plan->request->max_samples + EK_LANES - 1) / EK_LANES;
}

static bool training(const ek_plan *plan)
{
    return plan->request->mode == EK_TRAINING;
}

/* ---- Who needs what ----------------------------------------------------------------------------------------- */

static bool has_parameters(const ek_plan *plan, const ek_stage *s)
{
    return s->kind == EK_STAGE_MAP || (s->norm && s->norm->trains) ||
           (s->kind == EK_STAGE_LAYERNORM && plan->net->layers[s->layer].o.layernorm.affine);
}

static bool any_wanted(const ek_plan *plan, const ek_stage *s)
{
    for (int i = 0; i < s->sources; i++)
        if (plan->stages[plan->sources[s->source + i]].wanted)
            return true;
    return (s->x >= 0 && plan->stages[s->x].wanted) || (s->r >= 0 && plan->stages[s->r].wanted);
}

/* Which gradients are wanted: an output's if its stage or anything before it has parameters; a bias's unless a batch
 * norm alone reads the output and takes the mean away at once, which makes it exactly zero. (One that divides by the
 * deviation alone does not.) */
static void find_gradients(ek_plan *plan)
{
    for (int i = 1; i < plan->stage_count; i++) {
        ek_stage *s = &plan->stages[i];
        if (s->kind == EK_STAGE_NONE)
            continue;
        s->wanted = any_wanted(plan, s) || has_parameters(plan, s);
        const bool centres = s->norm && !s->norm->use_moving && s->norm->normalize != EK_NORMALIZE_DEVIATION;
        if (centres && plan->stages[s->x].consumers == 1)
            plan->stages[s->x].grad_bias = false;
    }
}

/* ---- Forward ------------------------------------------------------------------------------------------------ */

/* The memory of a stage's output: a part of the concat that alone reads it, or its own. */
static void place_output(ek_plan *plan, ek_stage *s)
{
    if (s->y.room >= 0)
        return;
    ek_stage *concat = s->concat < 0 ? NULL : &plan->stages[s->concat];
    const bool runs = concat && (!plan->again || (concat->again && concat->segment == s->segment));
    if (!runs) {
        s->y = ek_plan_values(plan, s->out);
        return;
    }
    place_output(plan, concat); /* concats in concats: recursion ends at EK_DEPTH_MAX */
    s->y = (ek_value){concat->y.room, concat->y.shift + (size_t)s->concat_at * EK_LANES};
    ek_plan_hold(plan, s->y);
}

/* A map's weights, packed and folded, and what its weight gradient keeps of its input. */
static void place_map(ek_plan *plan, ek_stage *s)
{
    const size_t weights = (size_t)ek_conv_weights(&s->g);
    s->packed = ek_plan_fixed(plan, ek_conv_packed(&s->g));
    if (s->folded >= 0) {
        s->weight_at = ek_plan_fixed(plan, weights);
        s->bias_at = ek_plan_fixed(plan, (size_t)s->g.k);
    }
    if (training(plan) && s->linear)
        s->rows = ek_plan_fixed(plan, ek_size_mul((size_t)(s->g.c + EK_LANES - 1) / EK_LANES * EK_LANES,
                                                  (size_t)blocks_of(plan) * EK_LANES));
    ek_plan_scratch(plan, ek_conv_work(&s->g, training(plan) && !s->linear));
}

static void add_map(ek_plan *plan, ek_stage *s)
{
    const ek_layer *l = &plan->net->layers[s->layer];
    place_output(plan, s);
    ek_step *step = ek_plan_add(plan, EK_STEP_MAP, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
    step->y = ek_plan_buffer(plan, s->y);
    step->u.map.g = s->g;
    step->u.map.packed = s->packed;
    step->u.map.has_bias = s->folded >= 0 || l->bias >= 0;
    step->u.map.bias = s->folded >= 0 ? NULL : ek_plan_tensor(plan, l->bias);
    step->u.map.weight_at = s->weight_at;
    step->u.map.bias_at = s->bias_at;
    step->u.map.folded = s->folded;
    if (training(plan) && s->linear && !plan->again) {
        step = ek_plan_add(plan, EK_STEP_ROWS, EK_PER_BLOCK, s->layer);
        step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
        step->u.rows.features = s->g.c;
        step->u.rows.rows = s->rows;
    }
}

/* Statistics of a norm's input, and what normalises; when the stage runs again they stand. */
static void add_statistics(ek_plan *plan, const ek_stage *s)
{
    if (plan->again)
        return;
    const bool batch = s->norm && (plan->request->exact ? s->norm->measures
                                                        : ek_plan_uses_batch(plan, &plan->net->layers[s->layer]));
    if (batch) {
        ek_step *step = ek_plan_add(plan, EK_STEP_STATS, EK_PER_BLOCK, s->layer);
        step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
        step->u.norm.norm = s->norm;
    }
    if (batch || (s->norm && training(plan)))
        ek_plan_add(plan, EK_STEP_NORM_FORWARD, EK_ONCE, s->layer)->u.norm.norm = s->norm;
}

/* y takes the place of an x that nothing reads any more. */
static void place_over(ek_plan *plan, ek_stage *s, int x)
{
    if (s->y.room < 0 && s->concat < 0 && ek_plan_last(plan, x)) {
        s->y = plan->stages[x].y;
        ek_plan_hold(plan, s->y);
    }
    place_output(plan, s);
}

static void add_unit(ek_plan *plan, ek_stage *s)
{
    add_statistics(plan, s);
    if (s->u.pool == 1)
        place_over(plan, s, s->x);
    else
        place_output(plan, s);
    /* An activation that is not pooled is the output itself. */
    const bool apart = s->keep && s->u.pool > 1 && (plan->again || s->segment == plan->last_segment);
    if (apart)
        s->activated = ek_plan_values(plan, s->in);
    ek_step *step = ek_plan_add(plan, EK_STEP_UNIT, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
    step->y = ek_plan_buffer(plan, s->y);
    step->u.unit.u = s->u;
    step->u.unit.norm = s->norm;
    step->u.unit.keep = apart;
    step->u.unit.activated = ek_plan_buffer(plan, s->activated);
}

static void add_join(ek_plan *plan, ek_stage *s)
{
    const bool over_r = !ek_plan_last(plan, s->x) && ek_join_is_plain(&s->join);
    add_statistics(plan, s);
    place_over(plan, s, over_r ? s->r : s->x);
    ek_step *step = ek_plan_add(plan, EK_STEP_JOIN, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
    step->r = ek_plan_buffer(plan, plan->stages[s->r].y);
    step->y = ek_plan_buffer(plan, s->y);
    step->u.join.g = s->join;
    step->u.join.norm = s->norm;
}

static void add_concat(ek_plan *plan, ek_stage *s)
{
    size_t at = 0;
    place_output(plan, s);
    for (int i = 0; i < s->sources; i++) {
        const ek_stage *source = &plan->stages[plan->sources[s->source + i]];
        if (source->y.room != s->y.room) { /* else it is there */
            ek_step *step = ek_plan_add(plan, EK_STEP_COPY, EK_PER_BLOCK, s->layer);
            step->x = ek_plan_buffer(plan, source->y);
            step->y = ek_plan_buffer(plan, (ek_value){s->y.room, s->y.shift + at});
            step->u.pass.size = source->out;
        }
        at += (size_t)source->out * EK_LANES;
    }
}

static void add_dropout(ek_plan *plan, ek_stage *s)
{
    place_over(plan, s, s->x);
    ek_step *step = ek_plan_add(plan, EK_STEP_DROPOUT, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
    step->y = ek_plan_buffer(plan, s->y);
    step->u.dropout.d = ek_plan_dropout(plan, s);
    step->u.dropout.size = s->out;
}

static void add_pool(ek_plan *plan, ek_stage *s)
{
    place_output(plan, s);
    ek_step *step = ek_plan_add(plan, EK_STEP_POOL, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
    step->y = ek_plan_buffer(plan, s->y);
    step->u.pool.g = s->pool;
}

static void add_layernorm(ek_plan *plan, ek_stage *s)
{
    const ek_layer *l = &plan->net->layers[s->layer];
    place_output(plan, s);
    if (s->saved.room < 0)
        s->saved = ek_plan_values(plan, 2);
    ek_step *step = ek_plan_add(plan, EK_STEP_LAYERNORM, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
    step->y = ek_plan_buffer(plan, s->y);
    step->u.layernorm.m = s->in;
    step->u.layernorm.eps = l->o.layernorm.eps;
    step->u.layernorm.gamma = ek_plan_tensor(plan, l->weight);
    step->u.layernorm.beta = ek_plan_tensor(plan, l->bias);
    step->u.layernorm.saved = ek_plan_buffer(plan, s->saved);
    if (!(training(plan) && s->wanted))
        ek_plan_leave(plan, &s->saved);
}

/* The batch. */
static void add_input(ek_plan *plan, ek_stage *s)
{
    const bool bytes = plan->request->input == EK_INPUT_BYTES;
    place_output(plan, s);
    ek_step *step = ek_plan_add(plan, bytes ? EK_STEP_GATHER : EK_STEP_LOAD, EK_PER_BLOCK, -1);
    step->y = ek_plan_buffer(plan, s->y);
    step->u.pass.size = s->out;
}

void ek_plan_forward(ek_plan *plan, ek_stage *s)
{
    switch (s->kind) {
    case EK_STAGE_NONE:
        return;
    case EK_STAGE_INPUT:
        add_input(plan, s);
        return;
    case EK_STAGE_MAP:
        add_map(plan, s);
        break;
    case EK_STAGE_UNIT:
        add_unit(plan, s);
        break;
    case EK_STAGE_POOL:
        add_pool(plan, s);
        break;
    case EK_STAGE_LAYERNORM:
        add_layernorm(plan, s);
        break;
    case EK_STAGE_DROPOUT:
        add_dropout(plan, s);
        break;
    case EK_STAGE_JOIN:
        add_join(plan, s);
        break;
    case EK_STAGE_MEASURE:
        add_statistics(plan, s);
        break;
    case EK_STAGE_CONCAT:
        add_concat(plan, s);
        for (int i = 0; i < s->sources; i++)
            ek_plan_used(plan, plan->sources[s->source + i]);
        return;
    }
    ek_plan_used(plan, s->x);
    if (s->r >= 0)
        ek_plan_used(plan, s->r);
}

/* ---- Packing ------------------------------------------------------------------------------------------------ */

void ek_plan_pack(ek_plan *plan, const ek_stage *s, bool backward)
{
    ek_step *step = ek_plan_add(plan, backward ? EK_STEP_PACK_BACKWARD : EK_STEP_PACK_FORWARD, EK_PER_ITEM, s->layer);
    step->u.map.g = s->g;
    step->u.map.weight = s->folded >= 0 ? NULL : plan->net->tensors[plan->net->layers[s->layer].weight].data;
    step->u.map.weight_at = s->weight_at;
    step->u.map.packed = backward ? s->packed_backward : s->packed;
}

/* The first phase: all weights as forward takes them and, unless they are large, as backward does. Large ones are
 * packed again between the two, in the same room. */
static void add_first_packing(ek_plan *plan)
{
    size_t all = 0;
    for (int i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].kind == EK_STAGE_MAP)
            all += (size_t)ek_conv_weights(&plan->stages[i].g);
    plan->late_packing = all > PACK_LIMIT;
    for (int i = 0; i < plan->stage_count; i++) {
        ek_stage *s = &plan->stages[i];
        if (s->kind != EK_STAGE_MAP)
            continue;
        place_map(plan, s);
        ek_plan_pack(plan, s, false);
        s->packed_backward = s->packed;
        if (plan->stages[s->x].wanted && !plan->late_packing) {
            s->packed_backward = ek_plan_fixed(plan, ek_conv_packed(&s->g));
            ek_plan_pack(plan, s, true);
        }
    }
}

/* ---- The whole ---------------------------------------------------------------------------------------------- */

static ek_step *add_last(ek_plan *plan, ek_step_kind kind, const ek_stage *s)
{
    ek_step *step = ek_plan_add(plan, kind, EK_PER_BLOCK, -1);
    step->x = ek_plan_buffer(plan, s->y);
    step->u.pass.size = ek_dims_count(ek_net_output(plan->net));
    return step;
}

/* The loss, whose gradient is where backward begins; or the logits for the caller; or both. */
static void add_end(ek_plan *plan)
{
    const int tail = plan->net->tail;
    const int last = tail < 0 ? 0 : plan->stage_of[tail];
    ek_stage *s = &plan->stages[last];
    if (plan->request->loss && plan->request->logits)
        add_last(plan, EK_STEP_STORE, s);
    ek_step *step = add_last(plan, plan->request->loss ? EK_STEP_LOSS : EK_STEP_STORE, s);
    if (training(plan)) {
        step->u.pass.smoothing = plan->request->smoothing;
        s->gradient[s->gradients++] = ek_plan_values(plan, step->u.pass.size);
        step->dx = ek_plan_buffer(plan, s->gradient[0]);
    }
    ek_plan_used(plan, last);
}

static ek_status add_steps(ek_plan *plan)
{
    if (training(plan))
        find_gradients(plan);
    EK_TRY(ek_plan_count_uses(plan));
    add_first_packing(plan);
    for (int i = 0; i < plan->stage_count; i++) {
        ek_plan_forward(plan, &plan->stages[i]);
        if (plan->request->probe && i > 0)
            ek_plan_probe(plan, &plan->stages[i]);
    }
    if (!plan->request->exact)
        add_end(plan);
    if (training(plan)) {
        EK_TRY(ek_plan_backward(plan));
        EK_TRY(ek_plan_update(plan));
    }
    return plan->failed ? EK_ERR_MEMORY : EK_OK;
}

/* Blocks that are at hand at the same time. */
static int slots_of(const ek_plan_request *r)
{
    const int most = (r->micro_batch + EK_LANES - 1) / EK_LANES;
    return most > 0 && most < r->threads ? most : r->threads;
}

static ek_status alloc_program(ek_plan *plan)
{
    ek_program *p = plan->program;
    const ek_net *net = plan->net;
    const size_t layers = (size_t)net->layer_count;
    int norms = 0;
    p->paths = ek_calloc(layers, sizeof *p->paths);
    for (int i = 0; p->paths && i < net->layer_count; i++) {
        p->paths[i] = net->layers[i].path;
        norms += net->layers[i].kind == EK_LAYER_BATCHNORM;
    }
    p->training = training(plan);
    p->max_samples = plan->request->max_samples;
    p->slots = slots_of(plan->request);
    p->norms = ek_calloc((size_t)norms, sizeof *p->norms);
    p->points = ek_calloc(plan->request->probe ? layers : 0, sizeof *p->points);
    plan->stages = ek_calloc(layers + 1, sizeof *plan->stages); /* a layer makes one stage at most */
    plan->stage_of = ek_calloc(layers, sizeof *plan->stage_of);
    plan->consumers = ek_calloc(layers, sizeof *plan->consumers);
    plan->pending = ek_calloc(layers + 1, sizeof *plan->pending);
    plan->sources = ek_calloc((size_t)net->part_count, sizeof *plan->sources);
    if (!p->paths || !p->norms || !p->points || !plan->stages || !plan->stage_of || !plan->consumers ||
        !plan->pending || !plan->sources)
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
    ek_plan_gather(plan);
    ek_program *p = plan->program;
    for (int i = 0; i < p->norm_count; i++)
        if (!plan->request->dry)
            EK_TRY(ek_batchnorm_alloc(&p->norms[i],
                                      plan->request->exact && !p->norms[i].measures ? 0 : blocks_of(plan)));
    EK_TRY(add_steps(plan));
    EK_TRY(ek_plan_lay_out(plan));
    for (int i = 0; i < p->point_count; i++)
        if (!plan->request->dry)
            EK_TRY(ek_probe_point_alloc(&p->points[i], blocks_of(plan)));
    if (plan->request->dry)
        return EK_OK;
    p->arena = ek_block_alloc(ek_size_mul(p->arena_size, sizeof *p->arena));
    return p->arena ? EK_OK : EK_ERR_MEMORY;
}

static void free_plan(ek_plan *plan)
{
    ek_free(plan->stages);
    ek_free(plan->stage_of);
    ek_free(plan->consumers);
    ek_free(plan->pending);
    ek_free(plan->sources);
    ek_free(plan->rooms);
    ek_free(plan->turns);
}

/* The program with segments of `segment_size` or more; SIZE_MAX: all is kept. */
static ek_status make_program(ek_program **out, ek_net *net, const ek_plan_request *request, size_t segment_size)
{
    ek_program *program = ek_calloc(1, sizeof *program);
    if (!program)
        return EK_ERR_MEMORY;
    ek_plan plan = {.net = net, .request = request, .program = program, .segment_size = segment_size};
    const ek_status status = fill_program(&plan);
    free_plan(&plan);
    if (status) {
        ek_program_free(program);
        return status;
    }
    *out = program;
    return EK_OK;
}

/* The size of segments that needs the least memory: tried out, since a plan without arrays is quickly made. */
static ek_status find_segment_size(size_t *best, ek_net *net, const ek_plan_request *request)
{
    ek_plan_request dry = *request;
    size_t least = SIZE_MAX, values = 0;
    dry.dry = true;
    for (int i = 0; i < net->layer_count; i++)
        values = ek_size_add(values, (size_t)ek_dims_count(net->layers[i].out));
    *best = SIZE_MAX;
    for (int shift = -1; shift < 8; shift++) {
        const size_t size = shift < 0 ? SIZE_MAX : shift < 7 ? values >> shift : 0;
        ek_program *program;
        EK_TRY(make_program(&program, net, &dry, size));
        if (program->arena_size < least) {
            least = program->arena_size;
            *best = size;
        }
        ek_program_free(program);
    }
    return EK_OK;
}

ek_status ek_plan_new(ek_program **out, ek_net *net, const ek_plan_request *request)
{
    size_t segment_size = request->micro_batch > 0 ? request->segment_size : SIZE_MAX;
    *out = NULL;
    EK_TRY(ek_net_finish(net));
    if (segment_size == 0)
        EK_TRY(find_segment_size(&segment_size, net, request));
    EK_TRY(make_program(out, net, request, segment_size));
    if (request->mode == EK_PREDICTION && !request->dry)
        ek_plan_refresh(*out, net);
    return EK_OK;
}
