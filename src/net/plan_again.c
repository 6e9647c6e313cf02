/* SPDX-License-Identifier: MIT
 * Which values backward finds kept, and which are computed again for it.
 *
 * Most of a training step's memory is values that wait for backward. With a micro-batch, the stages are cut into
 * segments where one value alone goes from the stages before to those behind (Chen et al. 2016, arXiv:1604.06174). What
 * a segment reads of earlier ones is kept. What stays within it is dropped after forward and computed again, from what
 * is kept, before the segment's backward: all but the statistics of batch norms, which are those of forward, so that
 * every value has the same bits as before. The last segment's backward follows its forward; nothing of it is computed
 * twice. Without micro-batches there is one segment: all is kept. */
#include "net/plan.h"

#include "base/memory.h"

static bool fresh(const ek_plan *plan, const ek_stage *s)
{
    return s->segment == plan->last_segment;
}

/* ---- Segments ----------------------------------------------------------------------------------------------- */

static void last_read(int *last, int reader, int stage)
{
    if (stage >= 0)
        last[stage] = reader;
}

static bool keeps_activation(const ek_unit *u)
{
    return u->activation != EK_IDENTITY && ek_activation_by_output(u->activation);
}

/* Values of a sample that a stage writes and backward may read. */
static size_t size_of(const ek_stage *s)
{
    if (s->kind == EK_STAGE_NONE)
        return 0;
    const bool apart = s->kind == EK_STAGE_UNIT && s->u.pool > 1 && keeps_activation(&s->u);
    return ek_size_add((size_t)s->out, apart ? (size_t)s->in : 0);
}

/* Stages stand in an order in which each reads earlier ones. A segment ends before stage i when it is large enough and
 * one value alone is written before i and read from i on. */
static ek_status cut(ek_plan *plan)
{
    int *last = ek_calloc((size_t)plan->stage_count, sizeof *last), alive = 0, segment = 0;
    int *ends = ek_calloc((size_t)plan->stage_count + 1, sizeof *ends); /* values that are read for the last time */
    size_t size = 0;
    for (int i = 1; last && ends && i < plan->stage_count; i++) {
        const ek_stage *s = &plan->stages[i];
        last_read(last, i, s->kind == EK_STAGE_NONE ? -1 : s->x);
        last_read(last, i, s->r);
        for (int j = 0; j < s->sources; j++)
            last_read(last, i, plan->sources[s->source + j]);
    }
    for (int i = 0; last && ends && i < plan->stage_count; i++)
        if (last[i] > 0)
            ends[last[i]]++;
    for (int i = 0; last && ends && i < plan->stage_count; i++) {
        ek_stage *s = &plan->stages[i];
        if (alive == 1 && size > 0 && size >= plan->segment_size) {
            segment++;
            size = 0;
        }
        s->segment = segment;
        size = ek_size_add(size, size_of(s));
        alive += (last[i] > 0) - ends[i];
    }
    plan->last_segment = segment;
    const bool done = last && ends;
    ek_free(last);
    ek_free(ends);
    return done ? EK_OK : EK_ERR_MEMORY;
}

/* ---- Uses --------------------------------------------------------------------------------------------------- */

/* Whether backward reads the stage's x again, and its own y. */
static bool backward_reads_x(const ek_stage *s)
{
    switch (s->kind) {
    case EK_STAGE_MAP:
        return !s->linear; /* whose x is kept as rows */
    case EK_STAGE_UNIT:
        return s->wanted && ek_plan_unit_reads_x(s);
    case EK_STAGE_JOIN:
        return s->wanted && s->norm;
    case EK_STAGE_LAYERNORM:
        return s->wanted;
    case EK_STAGE_POOL:
        return s->wanted && s->pool.maximum;
    case EK_STAGE_NONE:
    case EK_STAGE_INPUT:
    case EK_STAGE_DROPOUT:
    case EK_STAGE_CONCAT:
    case EK_STAGE_MEASURE:
        break;
    }
    return false;
}

static bool backward_reads_y(const ek_stage *s)
{
    return s->wanted && ((s->kind == EK_STAGE_UNIT && s->keep && s->u.pool == 1) ||
                         (s->kind == EK_STAGE_JOIN && s->join.activation != EK_IDENTITY));
}

/* The backward of `s`, or `s` when it runs again, reads stage v's output. */
static void read_later(ek_plan *plan, const ek_stage *s, int v)
{
    ek_stage *read = &plan->stages[v];
    if (read->segment == s->segment && !fresh(plan, s)) {
        read->again = true;
        read->uses_again++;
    } else {
        read->kept = true;
        read->uses++;
    }
}

/* What backward reads of a stage, all of whose readers are counted: it is kept, if a later segment reads it or a kept
 * concat holds it, or computed again. */
static void count_backward(ek_plan *plan, int i)
{
    ek_stage *s = &plan->stages[i];
    s->keep = s->kind == EK_STAGE_UNIT && s->wanted && keeps_activation(&s->u);
    if (backward_reads_y(s))
        read_later(plan, s, i);
    s->kept = s->kept || (s->concat >= 0 && plan->stages[s->concat].kept);
    if (s->kept) {
        s->again = false;
        s->uses += s->uses_again;
    }
    if (s->keep && s->u.pool > 1 && !fresh(plan, s))
        s->again = true; /* for what it has before it pools */
    if (backward_reads_x(s))
        read_later(plan, s, s->x);
    if (!s->again)
        return;
    for (int j = 0; j < s->sources; j++)
        read_later(plan, s, plan->sources[s->source + j]);
    if (s->sources == 0 && s->x >= 0)
        read_later(plan, s, s->x);
    if (s->r >= 0)
        read_later(plan, s, s->r);
}

ek_status ek_plan_count_uses(ek_plan *plan)
{
    for (int i = 0; i < plan->stage_count; i++)
        plan->stages[i].uses = plan->stages[i].consumers;
    if (plan->request->mode != EK_TRAINING)
        return EK_OK;
    EK_TRY(cut(plan));
    for (int i = plan->stage_count - 1; i >= 0; i--)
        if (plan->stages[i].kind != EK_STAGE_NONE)
            count_backward(plan, i);
    return EK_OK;
}

/* ---- Steps -------------------------------------------------------------------------------------------------- */

/* Stages begin..end-1. */
typedef struct range {
    int begin, end;
} range;

/* The segment of stage i. */
static range segment_of(const ek_plan *plan, int i)
{
    range r = {i, i + 1};
    while (r.begin > 0 && plan->stages[r.begin - 1].segment == plan->stages[i].segment)
        r.begin--;
    while (r.end < plan->stage_count && plan->stages[r.end].segment == plan->stages[i].segment)
        r.end++;
    return r;
}

static void run_again(ek_plan *plan, range r)
{
    for (int i = r.begin; i < r.end; i++) {
        ek_stage *s = &plan->stages[i];
        if (!s->again || s->y.room >= 0) /* that one stands, and is written once more */
            continue;
        s->uses = (s->kept ? 0 : s->uses_again) + 1; /* one more, while it runs */
        s->kept = false;
    }
    plan->again = true;
    for (int i = r.begin; i < r.end; i++) {
        ek_stage *s = &plan->stages[i];
        if (!s->again)
            continue;
        ek_plan_forward(plan, s);
        if (!s->kept)
            ek_plan_used(plan, i);
    }
    plan->again = false;
}

void ek_plan_again(ek_plan *plan, int i)
{
    const range r = segment_of(plan, i);
    if (!fresh(plan, &plan->stages[i]))
        run_again(plan, r);
    for (int j = r.begin; j < r.end && plan->late_packing; j++) {
        const ek_stage *s = &plan->stages[j];
        if (s->kind == EK_STAGE_MAP && plan->stages[s->x].wanted)
            ek_plan_pack(plan, s, true);
    }
}
