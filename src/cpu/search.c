/* SPDX-License-Identifier: MIT
 * Where a batch stopped being finite: its steps once more, one after the other, each result looked at. A result that
 * is overwritten by a later step of its phase is looked at in time, and what the whole batch has decided (a norm's
 * statistics, say) stands from the run that failed. */
#include "cpu/run.h"

#include <math.h>

/* What a step writes for each sample of a block: [values][16], of `channels` alike. values 0: nothing of a sample. */
typedef struct result {
    ek_buffer at;
    int64_t values;
    int channels;
} result;

/* Something not finite, the first of a block. */
typedef struct finding {
    int step; /* INT_MAX: nothing */
    int64_t row;
    int channel;
} finding;

static result result_of_map(const ek_step *s)
{
    const ek_conv *g = &s->u.map.g;
    if (s->kind == EK_STEP_MAP)
        return (result){s->y, (int64_t)g->k * g->p * g->q, g->k};
    return (result){s->dx, (int64_t)g->c * g->h * g->w, g->c};
}

static result result_of_unit(const ek_step *s)
{
    const ek_unit *u = &s->u.unit.u;
    const int64_t values = (int64_t)u->c * u->h * u->w;
    return s->kind == EK_STEP_UNIT ? (result){s->y, (int64_t)u->c * (u->h / u->pool) * (u->w / u->pool), u->c}
                                   : (result){s->dx, values, u->c};
}

static result result_of_join(const ek_step *s)
{
    const ek_join *j = &s->u.join.g;
    if (s->kind == EK_STEP_SHORTCUT_BACKWARD)
        return (result){s->dx, (int64_t)j->rc * j->rh * j->rw, j->rc};
    return (result){s->kind == EK_STEP_JOIN ? s->y : s->dx, (int64_t)j->c * j->h * j->w, j->c};
}

static result result_of_pool(const ek_step *s)
{
    const ek_pool2d *g = &s->u.pool.g;
    return s->kind == EK_STEP_POOL ? (result){s->y, (int64_t)g->c * g->p * g->q, g->c}
                                   : (result){s->dx, (int64_t)g->c * g->h * g->w, g->c};
}

/* Channels of 0: they cannot be told here. */
static result result_of(const ek_step *s)
{
    switch (s->kind) {
    case EK_STEP_MAP:
    case EK_STEP_MAP_BACKWARD:
        return result_of_map(s);
    case EK_STEP_UNIT:
    case EK_STEP_UNIT_BACKWARD:
        return result_of_unit(s);
    case EK_STEP_JOIN:
    case EK_STEP_JOIN_SUMS:
    case EK_STEP_SHORTCUT_BACKWARD:
        return result_of_join(s);
    case EK_STEP_POOL:
    case EK_STEP_POOL_BACKWARD:
        return result_of_pool(s);
    case EK_STEP_LAYERNORM:
        return (result){s->y, s->u.layernorm.m, 0};
    case EK_STEP_LAYERNORM_BACKWARD:
        return (result){s->dx, s->u.layernorm.m, 0};
    case EK_STEP_DROPOUT:
        return (result){s->y, s->u.dropout.size, 0};
    case EK_STEP_DROPOUT_BACKWARD:
        return (result){s->dx, s->u.dropout.size, 0};
    case EK_STEP_GATHER:
    case EK_STEP_LOAD:
    case EK_STEP_COPY:
        return (result){s->y, s->u.pass.size, 0};
    case EK_STEP_ADD:
    case EK_STEP_LOSS:
        return (result){s->dx, s->u.pass.size, 0};
    default: /* sums over samples, and what is not of a block */
        return (result){.values = 0};
    }
}

/* The first sample of the block whose result is not finite, and its first channel. */
static bool look_at(const ek_backend *b, int step, ek_spot on, finding *f)
{
    const ek_step *s = &b->program->steps[step];
    const result r = result_of(s);
    const int live = ek_live_samples(b->batch, on.block);
    const float *x = ek_at_if(b, r.at, on);
    for (int n = 0; x && n < live; n++) {
        for (int64_t i = 0; i < r.values; i++) {
            if (isfinite(x[i * EK_LANES + n]))
                continue;
            f->step = step;
            f->row = on.block * EK_LANES + n;
            f->channel = r.channels ? (int)(i * r.channels / r.values) : -1;
            return true;
        }
    }
    return false;
}

/* The sample whose channel of the norm's input lies farthest from the mean, of a block; *distance: so far. */
static void look_for_farthest(const ek_backend *b, const ek_step *stats, ek_spot on, double *distance, ek_origin *o)
{
    const ek_batchnorm *norm = stats->u.norm.norm;
    const int live = ek_live_samples(b->batch, on.block);
    const float *x = ek_at(b, stats->x, on) + (int64_t)o->channel * norm->plane * EK_LANES;
    for (int n = 0; n < live; n++) {
        for (int64_t i = 0; i < norm->plane; i++) {
            const double d = fabs((double)x[i * EK_LANES + n] - norm->mean[o->channel]);
            if (d > *distance) {
                *distance = d;
                o->row = on.block * EK_LANES + n;
            }
        }
    }
}

/* Steps begin..end-1 of a block, up to the first result that is not finite or is behind one that was found. */
static void search_block(ek_backend *b, int begin, int end, ek_spot on, finding *f, double *distance, ek_origin *o)
{
    for (int i = begin; i < end && i < f->step; i++) {
        const ek_step *s = &b->program->steps[i];
        const int pieces = ek_step_pieces(s);
        for (int piece = 0; piece < pieces; piece++)
            ek_run_piece(b, s, on.block, piece, on.slot, 0);
        const bool blamed = s->kind == EK_STEP_STATS && s->layer == o->layer && o->channel >= 0;
        if (blamed)
            look_for_farthest(b, s, on, distance, o);
        if (look_at(b, i, on, f))
            return;
    }
}

/* Weights are packed again, since backward may have packed its own in their place. */
static void pack(ek_backend *b, const ek_step *s)
{
    for (int item = 0; item < s->items && (s->kind == EK_STEP_PACK_FORWARD || s->kind == EK_STEP_PACK_BACKWARD);
         item++)
        ek_run_item(b, s, item);
}

/* The first loss that is not finite although all before it is: none, but for what no one has thought of. */
static void look_at_losses(const ek_batch *batch, ek_origin *o)
{
    for (int64_t i = 0; i < batch->samples && o->row < 0; i++)
        if (!isfinite(batch->loss[i])) {
            o->row = i;
            o->value = true;
        }
}

void ek_backend_search(ek_backend *b, ek_program *program, const ek_batch *batch, ek_origin *o)
{
    const ek_step *steps = program->steps;
    const ek_fault fault = b->fault;
    finding f = {.step = INT32_MAX};
    double distance = -1;
    *o = (ek_origin){.layer = fault.step < 0 ? -1 : steps[fault.step].layer, .channel = fault.channel, .row = -1};
    b->program = program;
    b->batch = batch;
    for (int i = 0, end; i < program->count && i <= fault.step && f.step == INT32_MAX; i = end) {
        end = i + 1;
        if (steps[i].scope == EK_PER_ITEM)
            pack(b, &steps[i]);
        if (steps[i].scope != EK_PER_BLOCK)
            continue;
        while (end < program->count && steps[end].scope == EK_PER_BLOCK)
            end++;
        for (int64_t block = 0; block < ek_block_count(batch); block++)
            search_block(b, i, end, (ek_spot){block, 0}, &f, &distance, o);
    }
    if (f.step < INT32_MAX)
        *o =
            (ek_origin){.layer = steps[f.step].layer,
                        .channel = f.channel,
                        .row = f.row,
                        .value = true,
                        .backward = steps[f.step].kind >= EK_STEP_MAP_BACKWARD || steps[f.step].kind == EK_STEP_LOSS};
    else if (fault.step >= 0 && steps[fault.step].kind == EK_STEP_CHECK)
        look_at_losses(batch, o);
}
