/* SPDX-License-Identifier: MIT
 * The second half of a training program: gradients, stage by stage from the last. The update is in plan_update.c.
 *
 * Gradients of activations flow block by block, like the activations. An output that several stages read gets an addend
 * from each, the last reader's first; two are kept apart as long as one step can take both, and are added when a third
 * comes or a step takes one alone. A residual's sum hands its own gradient on to both of its addends, as it is.
 *
 * Gradients of weights cross samples: a convolution writes a share for each block, added up later in the order of the
 * blocks; a linear layer's is taken over the whole batch at once, a few rows of the weight an item. That is done at the
 * end, or sooner where the shares grow large. */
#include "net/plan.h"

#include <stdlib.h>

/* Floats of a block's shares that wait: from here on they are added up at the next barrier, from there on at once. */
enum { PENDING_SOON = 1 << 17, PENDING_MOST = 1 << 19 };

static float *gradient_of(const ek_plan *plan, int tensor)
{
    float *gradients = plan->program->gradients; /* NULL in a dry plan */
    return tensor < 0 || !gradients ? NULL : gradients + (plan->net->tensors[tensor].data - plan->net->values);
}

/* ---- Gradients of outputs ----------------------------------------------------------------------------------- */

/* The sum of both addends, in the place of one of them where nobody else reads it. Takes both, gives one. */
static ek_value add_addends(ek_plan *plan, const ek_stage *s)
{
    const ek_value a = s->gradient[0], b = s->gradient[1];
    ek_value sum = a;
    if (ek_plan_alone(plan, a))
        ek_plan_hold(plan, a);
    else if (ek_plan_alone(plan, b))
        ek_plan_hold(plan, sum = b);
    else
        sum = ek_plan_values(plan, s->out);
    ek_step *step = ek_plan_add(plan, EK_STEP_ADD, EK_PER_BLOCK, s->layer);
    step->dy = ek_plan_buffer(plan, a);
    step->more = ek_plan_buffer(plan, b);
    step->dx = ek_plan_buffer(plan, sum);
    step->u.pass.size = s->out;
    ek_plan_drop(plan, a);
    ek_plan_drop(plan, b);
    return sum;
}

/* An addend of the gradient of stage `to`'s output; takes the holder over. */
static void give(ek_plan *plan, int to, ek_value addend)
{
    ek_stage *s = &plan->stages[to];
    if (!s->wanted) {
        ek_plan_drop(plan, addend);
        return;
    }
    if (s->gradients == 2) {
        s->gradient[0] = add_addends(plan, s);
        s->gradients = 1;
    }
    s->gradient[s->gradients++] = addend;
}

/* The gradient of a stage's output as one value, which the caller drops. */
static ek_value take_gradient(ek_plan *plan, ek_stage *s)
{
    const ek_value dy = s->gradients == 2 ? add_addends(plan, s) : s->gradient[0];
    s->gradients = 0;
    return dy;
}

/* ---- Gradients of weights ----------------------------------------------------------------------------------- */

static void add_sum(ek_plan *plan, const ek_stage *s, size_t begin, size_t count, float *sum)
{
    ek_step *step = ek_plan_add(plan, EK_STEP_SUM_PARTS, EK_PER_ITEM, s->layer);
    step->items = (int)((count + EK_FLAT_ITEM - 1) / EK_FLAT_ITEM);
    step->u.sum.parts = ek_plan_buffer(plan, (ek_value){s->parts.room, s->parts.shift + begin});
    step->u.sum.count = count;
    step->u.sum.sum = sum;
}

/* A linear layer's, whose dy waits in `parts`. */
static void add_linear_weight(ek_plan *plan, const ek_stage *s, float *dweight, float *dbias)
{
    ek_step *step = ek_plan_add(plan, EK_STEP_LINEAR_WEIGHT, EK_PER_ITEM, s->layer);
    step->items = (s->g.k + EK_ROWS_ITEM - 1) / EK_ROWS_ITEM;
    step->dy = ek_plan_buffer(plan, s->parts);
    step->u.rows.features = s->g.c;
    step->u.rows.outputs = s->g.k;
    step->u.rows.rows = s->rows;
    step->u.rows.dweight = dweight;
    step->u.rows.dbias = dbias;
}

static void add_weight_gradient(ek_plan *plan, const ek_stage *s)
{
    const ek_layer *l = &plan->net->layers[s->layer];
    float *dweight = gradient_of(plan, l->weight), *dbias = gradient_of(plan, l->bias);
    const bool bias = s->kind == EK_STAGE_LAYERNORM || s->grad_bias;
    const size_t weights = s->kind == EK_STAGE_LAYERNORM ? (size_t)s->in : (size_t)ek_conv_weights(&s->g);
    const size_t biases = s->kind == EK_STAGE_LAYERNORM ? (size_t)s->in : (size_t)s->g.k;
    if (s->linear) {
        add_linear_weight(plan, s, dweight, bias ? dbias : NULL);
        return;
    }
    add_sum(plan, s, 0, weights, dweight);
    if (bias)
        add_sum(plan, s, weights, biases, dbias);
}

static int compare_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Adds up what waits, in the order of the layers. */
static void flush(ek_plan *plan)
{
    qsort(plan->pending, (size_t)plan->pending_count, sizeof *plan->pending, compare_ints);
    for (int i = 0; i < plan->pending_count; i++)
        add_weight_gradient(plan, &plan->stages[plan->pending[i]]);
    for (int i = 0; i < plan->pending_count; i++)
        ek_plan_drop(plan, plan->stages[plan->pending[i]].parts);
    plan->pending_count = 0;
    plan->pending_floats = 0;
}

static void flush_if(ek_plan *plan, size_t limit)
{
    if (plan->pending_floats >= limit)
        flush(plan);
}

/* The stage's `parts` wait; they are held until they are added up. */
static void wait_for_sums(ek_plan *plan, const ek_stage *s)
{
    plan->pending[plan->pending_count++] = (int)(s - plan->stages);
    plan->pending_floats += ek_plan_buffer(plan, s->parts).size;
}

/* ---- Stages ------------------------------------------------------------------------------------------------- */

static void add_map(ek_plan *plan, ek_stage *s)
{
    const ek_value dy = take_gradient(plan, s);
    if (s->linear) {
        s->parts = dy;
        ek_plan_hold(plan, dy);
    } else {
        s->parts = ek_plan_floats(plan, (size_t)ek_conv_weights(&s->g) + (size_t)s->g.k);
        ek_step *step = ek_plan_add(plan, EK_STEP_WEIGHT_PARTS, EK_PER_BLOCK, s->layer);
        step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
        step->dy = ek_plan_buffer(plan, dy);
        step->u.map.g = s->g;
        step->u.map.parts = ek_plan_buffer(plan, s->parts);
        step->u.map.has_bias = s->grad_bias;
        ek_plan_used(plan, s->x);
    }
    wait_for_sums(plan, s);
    if (plan->stages[s->x].wanted) {
        const ek_value dx = ek_plan_values(plan, s->in);
        ek_step *step = ek_plan_add(plan, EK_STEP_MAP_BACKWARD, EK_PER_BLOCK, s->layer);
        step->dy = ek_plan_buffer(plan, dy);
        step->dx = ek_plan_buffer(plan, dx);
        step->u.map.g = s->g;
        step->u.map.packed = s->packed_backward;
        give(plan, s->x, dx);
    }
    ek_plan_drop(plan, dy);
    flush_if(plan, PENDING_MOST);
}

/* The sums of the batch, for the norm's gradients: a barrier. */
static void add_norm_backward(ek_plan *plan, const ek_stage *s)
{
    flush_if(plan, PENDING_SOON);
    ek_plan_add(plan, EK_STEP_NORM_BACKWARD, EK_ONCE, s->layer)->u.norm.norm = s->norm;
}

static void add_unit_step(ek_plan *plan, const ek_stage *s, ek_step_kind kind, ek_value dy, ek_value dx)
{
    ek_step *step = ek_plan_add(plan, kind, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
    step->dy = ek_plan_buffer(plan, dy);
    step->dx = ek_plan_buffer(plan, dx);
    step->u.unit.u = s->u;
    step->u.unit.norm = s->norm;
    step->u.unit.keep = s->keep;
    step->u.unit.activated = ek_plan_buffer(plan, s->u.pool > 1 ? s->activated : s->y);
}

/* dx takes the place of the activation that backward reads last, of x likewise where that is read in its stead, or of
 * dy; else it gets its own. One more holder. */
static ek_value place_unit_dx(ek_plan *plan, const ek_stage *s, ek_value dy)
{
    const int self = (int)(s - plan->stages);
    ek_value dx = dy;
    if (s->keep && s->u.pool > 1)
        dx = s->activated;
    else if (s->keep && ek_plan_last(plan, self))
        dx = s->y;
    else if (!ek_activation_by_output(s->u.activation) && ek_plan_last(plan, s->x))
        dx = plan->stages[s->x].y;
    else if (s->u.pool > 1 || !ek_plan_alone(plan, dy))
        return ek_plan_values(plan, s->in);
    ek_plan_hold(plan, dx);
    return dx;
}

static void add_unit(ek_plan *plan, ek_stage *s)
{
    const ek_value dy = take_gradient(plan, s);
    if (s->norm) {
        add_unit_step(plan, s, EK_STEP_UNIT_SUMS, dy, dy);
        add_norm_backward(plan, s);
    }
    if (plan->stages[s->x].wanted) {
        const ek_value dx = place_unit_dx(plan, s, dy);
        add_unit_step(plan, s, EK_STEP_UNIT_BACKWARD, dy, dx);
        give(plan, s->x, dx);
    }
    if (ek_plan_unit_reads_x(s))
        ek_plan_used(plan, s->x);
    if (s->keep && s->u.pool == 1)
        ek_plan_used(plan, (int)(s - plan->stages));
    ek_plan_drop(plan, s->activated);
    ek_plan_drop(plan, dy);
}

/* dz of a join, in the place of an addend of dy, or of y at its last use. Takes the addends, gives dz. */
static ek_value add_join_sums(ek_plan *plan, ek_stage *s)
{
    const int self = (int)(s - plan->stages);
    const bool reads_y = s->join.activation != EK_IDENTITY;
    const ek_value dy = s->gradient[0], none = {-1, 0}, more = s->gradients == 2 ? s->gradient[1] : none;
    ek_value dz = dy;
    if (ek_plan_alone(plan, dy))
        ek_plan_hold(plan, dz);
    else if (ek_plan_alone(plan, more))
        ek_plan_hold(plan, dz = more);
    else if (reads_y && ek_plan_last(plan, self))
        ek_plan_hold(plan, dz = s->y);
    else
        dz = ek_plan_values(plan, s->out);
    ek_step *step = ek_plan_add(plan, EK_STEP_JOIN_SUMS, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, s->norm ? plan->stages[s->x].y : none);
    step->y = ek_plan_buffer(plan, reads_y ? s->y : none);
    step->dy = ek_plan_buffer(plan, dy);
    step->more = ek_plan_buffer(plan, more);
    step->dx = ek_plan_buffer(plan, dz);
    step->u.join.g = s->join;
    step->u.join.norm = s->norm;
    ek_plan_drop(plan, dy);
    ek_plan_drop(plan, more);
    s->gradients = 0;
    return dz;
}

/* The gradient that goes on through the shortcut. */
static void give_to_shortcut(ek_plan *plan, const ek_stage *s, ek_value dz)
{
    if (!plan->stages[s->r].wanted)
        return;
    ek_value dr = dz;
    if (ek_join_is_plain(&s->join)) {
        ek_plan_hold(plan, dz);
    } else {
        dr = ek_plan_values(plan, plan->stages[s->r].out);
        ek_step *step = ek_plan_add(plan, EK_STEP_SHORTCUT_BACKWARD, EK_PER_BLOCK, s->layer);
        step->dy = ek_plan_buffer(plan, dz);
        step->dx = ek_plan_buffer(plan, dr);
        step->u.join.g = s->join;
    }
    give(plan, s->r, dr);
}

/* dx of a join's norm from dz, in the place of x, which is read for the last time, or of dz. */
static void add_join_norm(ek_plan *plan, ek_stage *s, ek_value dz)
{
    ek_value dx = dz;
    if (ek_plan_last(plan, s->x))
        ek_plan_hold(plan, dx = plan->stages[s->x].y);
    else if (ek_plan_alone(plan, dz))
        ek_plan_hold(plan, dz);
    else
        dx = ek_plan_values(plan, s->in);
    ek_step *step = ek_plan_add(plan, EK_STEP_UNIT_BACKWARD, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
    step->dy = ek_plan_buffer(plan, dz);
    step->dx = ek_plan_buffer(plan, dx);
    step->u.unit.u = (ek_unit){.c = s->join.c, .h = s->join.h, .w = s->join.w, .norm = true, .pool = 1};
    step->u.unit.norm = s->norm;
    give(plan, s->x, dx);
}

static void add_join(ek_plan *plan, ek_stage *s)
{
    const bool reads_y = s->join.activation != EK_IDENTITY;
    const ek_value dz = s->norm || reads_y ? add_join_sums(plan, s) : take_gradient(plan, s);
    if (s->norm)
        add_norm_backward(plan, s);
    give_to_shortcut(plan, s, dz);
    if (s->norm && plan->stages[s->x].wanted) {
        add_join_norm(plan, s, dz);
    } else if (!s->norm) {
        ek_plan_hold(plan, dz);
        give(plan, s->x, dz);
    }
    if (s->norm)
        ek_plan_used(plan, s->x);
    if (reads_y)
        ek_plan_used(plan, (int)(s - plan->stages));
    ek_plan_drop(plan, dz);
}

static void add_concat(ek_plan *plan, ek_stage *s)
{
    const ek_value dy = take_gradient(plan, s);
    size_t at = 0;
    for (int i = 0; i < s->sources; i++) {
        const int source = plan->sources[s->source + i];
        ek_plan_hold(plan, dy);
        give(plan, source, (ek_value){dy.room, dy.shift + at});
        at += (size_t)plan->stages[source].out * EK_LANES;
    }
    ek_plan_drop(plan, dy);
}

/* In the place of dy. */
static void add_dropout(ek_plan *plan, ek_stage *s)
{
    const ek_value dy = take_gradient(plan, s);
    ek_value dx = dy;
    if (ek_plan_alone(plan, dy))
        ek_plan_hold(plan, dx);
    else
        dx = ek_plan_values(plan, s->in);
    ek_step *step = ek_plan_add(plan, EK_STEP_DROPOUT_BACKWARD, EK_PER_BLOCK, s->layer);
    step->dy = ek_plan_buffer(plan, dy);
    step->dx = ek_plan_buffer(plan, dx);
    step->u.dropout.d = ek_plan_dropout(plan, s);
    step->u.dropout.size = s->in;
    give(plan, s->x, dx);
    ek_plan_drop(plan, dy);
}

static void add_pool(ek_plan *plan, ek_stage *s)
{
    const ek_value dy = take_gradient(plan, s), dx = ek_plan_values(plan, s->in);
    ek_step *step = ek_plan_add(plan, EK_STEP_POOL_BACKWARD, EK_PER_BLOCK, s->layer);
    if (s->pool.maximum)
        step->x = ek_plan_buffer(plan, plan->stages[s->x].y); /* where they were */
    step->dy = ek_plan_buffer(plan, dy);
    step->dx = ek_plan_buffer(plan, dx);
    step->u.pool.g = s->pool;
    give(plan, s->x, dx);
    if (s->pool.maximum)
        ek_plan_used(plan, s->x);
    ek_plan_drop(plan, dy);
}

static void add_layernorm(ek_plan *plan, ek_stage *s)
{
    const ek_layer *l = &plan->net->layers[s->layer];
    const ek_value dy = take_gradient(plan, s), dx = ek_plan_values(plan, s->in);
    if (l->weight >= 0)
        s->parts = ek_plan_values(plan, (2 * s->in + EK_LANES - 1) / EK_LANES);
    ek_step *step = ek_plan_add(plan, EK_STEP_LAYERNORM_BACKWARD, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, plan->stages[s->x].y);
    step->dy = ek_plan_buffer(plan, dy);
    step->dx = ek_plan_buffer(plan, dx);
    step->u.layernorm.m = s->in;
    step->u.layernorm.gamma = ek_plan_tensor(plan, l->weight);
    step->u.layernorm.saved = ek_plan_buffer(plan, s->saved);
    step->u.layernorm.parts = ek_plan_buffer(plan, s->parts);
    if (l->weight >= 0)
        wait_for_sums(plan, s);
    ek_plan_used(plan, s->x);
    ek_plan_drop(plan, s->saved);
    ek_plan_drop(plan, dy);
    give(plan, s->x, dx);
    flush_if(plan, PENDING_MOST);
}

static void add_backward(ek_plan *plan, ek_stage *s)
{
    switch (s->kind) {
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
    case EK_STAGE_JOIN:
        add_join(plan, s);
        break;
    case EK_STAGE_DROPOUT:
        add_dropout(plan, s);
        break;
    case EK_STAGE_CONCAT:
        add_concat(plan, s);
        break;
    case EK_STAGE_NONE:
    case EK_STAGE_INPUT:
    case EK_STAGE_MEASURE:
        break;
    }
}

ek_status ek_plan_backward(ek_plan *plan)
{
    int segment = plan->last_segment + 1;
    for (int i = plan->stage_count - 1; i > 0; i--) {
        ek_stage *s = &plan->stages[i];
        if (!s->wanted)
            continue;
        if (s->segment < segment)
            ek_plan_again(plan, i);
        segment = s->segment;
        add_backward(plan, s);
    }
    flush(plan);
    return plan->failed ? EK_ERR_MEMORY : EK_OK;
}
