/* SPDX-License-Identifier: MIT
 * The second half of a training program: gradients, stage by stage from the last. The update is in plan_update.c.
 *
 * Gradients of activations flow block by block, like the activations. Gradients of weights cross samples: a
 * convolution writes a share for each block, added up at the end in the order of the blocks; a linear layer's is
 * taken over the whole batch at the end, a few rows of the weight an item. */
#include "net/plan.h"

#include "base/memory.h"

static float *gradient_of(const ek_plan *plan, int tensor)
{
    return tensor < 0 ? NULL : plan->program->gradients + (plan->net->tensors[tensor].data - plan->net->values);
}

static ek_status add_map_backward(ek_plan *plan, const ek_stage *s, ek_buffer dy)
{
    ek_step *step;
    if (!s->linear) {
        step = ek_plan_add(plan, EK_STEP_WEIGHT_PARTS, EK_PER_BLOCK, s->layer);
        if (!step)
            return EK_ERR_MEMORY;
        step->x = s->x;
        step->dy = dy;
        step->u.map.g = s->g;
        step->u.map.parts = s->parts;
        step->u.map.scratch = plan->scratch;
        step->u.map.has_bias = s->grad_bias;
    }
    if (s->grad_input) {
        step = ek_plan_add(plan, EK_STEP_MAP_BACKWARD, EK_PER_BLOCK, s->layer);
        if (!step)
            return EK_ERR_MEMORY;
        step->dy = dy;
        step->dx = s->dx;
        step->u.map.g = s->g;
        step->u.map.packed = s->packed_backward;
    }
    return EK_OK;
}

static ek_status add_unit_step(ek_plan *plan, const ek_stage *s, ek_step_kind kind, ek_buffer dy)
{
    ek_step *step = ek_plan_add(plan, kind, EK_PER_BLOCK, s->layer);
    if (!step)
        return EK_ERR_MEMORY;
    step->x = s->x;
    step->dy = dy;
    step->dx = s->dx;
    step->u.unit.u = s->u;
    step->u.unit.norm = s->norm;
    step->u.unit.keep = s->keep;
    step->u.unit.activated = s->activated;
    return EK_OK;
}

static ek_status add_unit_backward(ek_plan *plan, const ek_stage *s, ek_buffer dy)
{
    if (!s->grad_input && !(s->norm && s->norm->trains)) /* nothing before or in it trains: there may be no dy */
        return EK_OK;
    if (s->norm) {
        EK_TRY(add_unit_step(plan, s, EK_STEP_UNIT_SUMS, dy));
        ek_step *step = ek_plan_add(plan, EK_STEP_NORM_BACKWARD, EK_ONCE, s->layer);
        if (!step)
            return EK_ERR_MEMORY;
        step->u.norm.norm = s->norm;
    }
    return s->grad_input ? add_unit_step(plan, s, EK_STEP_UNIT_BACKWARD, dy) : EK_OK;
}

static ek_status add_pool_backward(ek_plan *plan, const ek_stage *s, ek_buffer dy)
{
    if (!s->grad_input)
        return EK_OK;
    ek_step *step = ek_plan_add(plan, EK_STEP_POOL_BACKWARD, EK_PER_BLOCK, s->layer);
    if (!step)
        return EK_ERR_MEMORY;
    if (s->pool.maximum)
        step->x = s->x; /* where they were */
    step->dy = dy;
    step->dx = s->dx;
    step->u.pool.g = s->pool;
    return EK_OK;
}

static ek_status add_layernorm_backward(ek_plan *plan, const ek_stage *s, ek_buffer dy)
{
    const ek_layer *l = &plan->net->layers[s->layer];
    if (!s->grad_input && l->weight < 0)
        return EK_OK;
    ek_step *step = ek_plan_add(plan, EK_STEP_LAYERNORM_BACKWARD, EK_PER_BLOCK, s->layer);
    if (!step)
        return EK_ERR_MEMORY;
    step->x = s->x;
    step->dy = dy;
    step->dx = s->dx;
    step->u.layernorm.m = s->in;
    step->u.layernorm.gamma = l->weight < 0 ? NULL : plan->net->tensors[l->weight].data;
    step->u.layernorm.saved = s->saved;
    step->u.layernorm.parts = s->parts;
    return EK_OK;
}

static ek_status add_backward(ek_plan *plan, ek_stage *s, ek_buffer dy)
{
    /* dx takes the place of the activation that backward reads last, or of dy; else it gets its own. */
    if (s->kind == EK_STAGE_UNIT && s->keep)
        s->dx = s->activated;
    else if (s->kind == EK_STAGE_UNIT && s->u.pool == 1)
        s->dx = dy;
    else if (s->grad_input || s->kind == EK_STAGE_LAYERNORM)
        s->dx = ek_plan_buffer(plan, s->in);
    switch (s->kind) {
    case EK_STAGE_MAP:
        return add_map_backward(plan, s, dy);
    case EK_STAGE_UNIT:
        return add_unit_backward(plan, s, dy);
    case EK_STAGE_POOL:
        return add_pool_backward(plan, s, dy);
    case EK_STAGE_LAYERNORM:
        break;
    }
    return add_layernorm_backward(plan, s, dy);
}

static ek_status add_sum(ek_plan *plan, int layer, ek_buffer parts, size_t begin, size_t count, float *sum)
{
    if (!sum)
        return EK_OK;
    ek_step *step = ek_plan_add(plan, EK_STEP_SUM_PARTS, EK_PER_ITEM, layer);
    if (!step)
        return EK_ERR_MEMORY;
    step->items = (int)((count + EK_FLAT_ITEM - 1) / EK_FLAT_ITEM);
    step->u.sum.parts = (ek_buffer){parts.offset + begin, parts.stride};
    step->u.sum.count = count;
    step->u.sum.sum = sum;
    return EK_OK;
}

/* The gradients of weights of one stage, whose output's gradient is dy. */
static ek_status add_weight_gradient(ek_plan *plan, const ek_stage *s, ek_buffer dy)
{
    const ek_layer *l = &plan->net->layers[s->layer];
    float *dweight = gradient_of(plan, l->weight), *dbias = gradient_of(plan, l->bias);
    if (s->kind == EK_STAGE_LAYERNORM) {
        EK_TRY(add_sum(plan, s->layer, s->parts, 0, (size_t)s->in, dweight));
        return add_sum(plan, s->layer, s->parts, (size_t)s->in, (size_t)s->in, dbias);
    }
    if (s->kind != EK_STAGE_MAP)
        return EK_OK;
    if (!s->grad_bias)
        dbias = NULL;
    if (!s->linear) {
        const size_t weights = (size_t)ek_conv_weights(&s->g);
        EK_TRY(add_sum(plan, s->layer, s->parts, 0, weights, dweight));
        return add_sum(plan, s->layer, s->parts, weights, (size_t)s->g.k, dbias);
    }
    ek_step *step = ek_plan_add(plan, EK_STEP_LINEAR_WEIGHT, EK_PER_ITEM, s->layer);
    if (!step)
        return EK_ERR_MEMORY;
    step->items = (s->g.k + EK_ROWS_ITEM - 1) / EK_ROWS_ITEM;
    step->dy = dy;
    step->u.rows.features = s->g.c;
    step->u.rows.outputs = s->g.k;
    step->u.rows.rows = s->rows;
    step->u.rows.dweight = dweight;
    step->u.rows.dbias = dbias;
    return EK_OK;
}

/* Scratch of the convolutions' weight gradients, for each thread. */
static void place_scratch(ek_plan *plan)
{
    size_t most = 0;
    for (int i = 0; i < plan->stage_count; i++)
        if (plan->stages[i].kind == EK_STAGE_MAP && !plan->stages[i].linear &&
            ek_conv_scratch(&plan->stages[i].g) > most)
            most = ek_conv_scratch(&plan->stages[i].g);
    plan->scratch.stride = most;
    plan->scratch.offset = ek_plan_room(plan, ek_size_mul(most, (size_t)plan->request->threads));
}

ek_status ek_plan_backward(ek_plan *plan)
{
    place_scratch(plan);
    const ek_buffer dlogits = plan->program->steps[plan->program->count - 1].dx;
    ek_buffer dy = dlogits;
    for (int i = plan->stage_count - 1; i >= 0; i--) {
        EK_TRY(add_backward(plan, &plan->stages[i], dy));
        dy = plan->stages[i].dx;
    }
    for (int i = 0; i < plan->stage_count; i++)
        EK_TRY(add_weight_gradient(plan, &plan->stages[i],
                                   i + 1 < plan->stage_count ? plan->stages[i + 1].dx : dlogits));
    return EK_OK;
}
