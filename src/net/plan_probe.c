/* SPDX-License-Identifier: MIT
 * Programs that measure: in them every layer is a stage of its own, whose output is measured as soon as it is there. */
#include "net/plan.h"

#include <math.h>

/* Values in which an activation is flat: its slope is a tenth of its steepest at most. A sigmoid's is y(1 - y), a
 * tanh's 1 - y^2, a relu's 0 below 0. */
static void set_flat(ek_probe_point *p, ek_layer_kind kind)
{
    p->low = -INFINITY;
    p->high = INFINITY;
    if (kind == EK_LAYER_SIGMOID) {
        p->low = (1 - sqrtf(0.9f)) / 2;
        p->high = 1 - p->low;
    } else if (kind == EK_LAYER_TANH) {
        p->high = sqrtf(0.9f);
        p->low = -p->high;
    } else if (kind == EK_LAYER_RELU) {
        p->low = 0;
    }
}

void ek_plan_probe(ek_plan *plan, const ek_stage *s)
{
    const ek_layer *l = &plan->net->layers[s->layer];
    ek_probe_point *point = &plan->program->points[plan->program->point_count++];
    *point = (ek_probe_point){.layer = s->layer, .c = l->out.c, .plane = ek_dims_count(l->out) / l->out.c};
    set_flat(point, l->kind);
    ek_step *step = ek_plan_add(plan, EK_STEP_PROBE, EK_PER_BLOCK, s->layer);
    step->x = ek_plan_buffer(plan, s->y);
    step->u.probe.point = point;
}
