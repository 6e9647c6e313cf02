/* SPDX-License-Identifier: MIT
 * Programs that measure what batch norms read, with the statistics of the norms before them as they have just been
 * measured (Wu and Johnson 2021, arXiv:2105.07576, section 3). Only what leads to a norm that is measured stays. */
#include "net/plan.h"

static int higher(int a, int b)
{
    return a > b ? a : b;
}

/* Stages stand in an order in which each reads earlier ones. */
static void find_levels(ek_plan *plan)
{
    int *levels = &plan->program->levels;
    for (int i = 1; i < plan->stage_count; i++) {
        ek_stage *s = &plan->stages[i];
        if (s->kind == EK_STAGE_NONE)
            continue;
        for (int j = 0; j < s->sources; j++)
            s->level = higher(s->level, plan->stages[plan->sources[s->source + j]].level);
        if (s->x >= 0)
            s->level = plan->stages[s->x].level;
        if (s->norm && ek_is_measured(&plan->net->layers[s->layer])) {
            s->norm->measures = s->level >= plan->request->first_level && s->level < plan->request->end_level;
            s->level++;
        }
        if (s->r >= 0)
            s->level = higher(s->level, plan->stages[s->r].level);
        *levels = higher(*levels, s->level);
    }
}

/* A norm that is measured needs what it reads; its statistics suffice where nothing needs its output. */
void ek_plan_exact(ek_plan *plan)
{
    find_levels(plan);
    for (int i = plan->stage_count - 1; i > 0; i--) {
        ek_stage *s = &plan->stages[i];
        if (s->kind == EK_STAGE_NONE)
            continue;
        if (!s->needed && s->norm && s->norm->measures) {
            s->kind = EK_STAGE_MEASURE;
            s->r = -1;
        } else if (!s->needed) {
            s->kind = EK_STAGE_NONE;
            continue;
        }
        for (int j = 0; j < s->sources; j++)
            plan->stages[plan->sources[s->source + j]].needed = true;
        if (s->x >= 0)
            plan->stages[s->x].needed = true;
        if (s->r >= 0)
            plan->stages[s->r].needed = true;
    }
}
