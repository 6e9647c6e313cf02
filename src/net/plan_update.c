/* SPDX-License-Identifier: MIT
 * The end of a training program: clipping's norm, the commit, and the optimiser on the spans of values that train. */
#include "net/plan.h"

#include "base/memory.h"

/* Values of tensor `i` with the zeros that pad it: up to the next tensor's begin, or the block's end. Counters have no
 * place in the block. */
static size_t end_of(const ek_net *net, int i)
{
    for (int next = i + 1; next < net->tensor_count; next++)
        if (net->tensors[next].data)
            return (size_t)(net->tensors[next].data - net->values);
    return net->value_count;
}

/* Cuts what trains into spans, or counts them where `spans` is NULL. Neighbouring tensors join where weight decay by
 * role treats them alike, so that a norm's gamma and beta are one span; where they are cut does not depend on `decay`,
 * and so neither do a norm's bits. */
static int cut_spans(const ek_net *net, ek_decay decay, ek_span *spans)
{
    int count = 0;
    for (int i = 0, next; i < net->tensor_count; i = next) {
        const ek_tensor *t = &net->tensors[i];
        const bool weight = t->role == EK_ROLE_WEIGHT;
        next = i + 1;
        if (!t->trainable)
            continue;
        while (next < net->tensor_count && net->tensors[next].trainable &&
               (net->tensors[next].role == EK_ROLE_WEIGHT) == weight)
            next++;
        const size_t begin = (size_t)(t->data - net->values), end = end_of(net, next - 1);
        for (size_t at = begin; at < end; at += EK_FLAT_ITEM, count++)
            if (spans)
                spans[count] = (ek_span){.begin = at,
                                         .count = end - at < EK_FLAT_ITEM ? end - at : EK_FLAT_ITEM,
                                         .decays = weight || decay == EK_DECAY_ALL};
    }
    return count;
}

static ek_status alloc_update(ek_plan *plan)
{
    ek_program *p = plan->program;
    const ek_plan_request *r = plan->request;
    p->state_count = r->states;
    p->span_count = cut_spans(plan->net, r->decay, NULL);
    p->spans = ek_calloc((size_t)p->span_count, sizeof *p->spans);
    if (!p->spans)
        return EK_ERR_MEMORY;
    cut_spans(plan->net, r->decay, p->spans);
    if (r->clips && !(p->squares = ek_calloc((size_t)p->span_count, sizeof *p->squares)))
        return EK_ERR_MEMORY;
    if (r->dry)
        return EK_OK;
    const size_t values = ek_size_mul(plan->net->value_count, sizeof *p->states);
    if (r->states > 0 && !(p->states = ek_block_alloc(ek_size_mul(values, (size_t)r->states))))
        return EK_ERR_MEMORY;
    if (r->accumulates && !(p->sums = ek_block_alloc(values)))
        return EK_ERR_MEMORY;
    return EK_OK;
}

static void add_on_spans(ek_plan *plan, ek_step_kind kind)
{
    ek_step *step = ek_plan_add(plan, kind, EK_PER_ITEM, -1);
    step->items = plan->program->span_count;
    step->u.update.value = plan->net->values;
}

ek_status ek_plan_update(ek_plan *plan)
{
    EK_TRY(alloc_update(plan));
    ek_plan_add(plan, EK_STEP_CHECK, EK_ONCE, -1);
    if (plan->request->accumulates) {
        add_on_spans(plan, EK_STEP_ACCUMULATE);
        ek_plan_add(plan, EK_STEP_CHECK, EK_ONCE, -1);
    }
    if (plan->request->clips)
        add_on_spans(plan, EK_STEP_SQUARES);
    ek_plan_add(plan, EK_STEP_COMMIT, EK_ONCE, -1);
    add_on_spans(plan, EK_STEP_UPDATE);
    return EK_OK;
}
