/* SPDX-License-Identifier: MIT
 * The CPU's backend: runs a program's phases on a pool of threads. */
#include "base/help.h"
#include "base/memory.h"
#include "base/thread.h"
#include "cpu/dispatch.h"
#include "cpu/map.h"
#include "op/backend.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Neighbouring steps of one scope. */
typedef struct phase {
    int begin, end; /* steps */
    ek_scope scope;
} phase;

/* Where something was not finite; the first in the program's order of steps and then of channels wins, so that the
 * message does not depend on threads. */
typedef struct fault {
    int step, channel;
} fault;

struct ek_backend {
    ek_pool *pool;
    ek_share *share;
    ek_help *help;
    int threads;
    const ek_kernels *kernels;
    /* The run at hand. */
    ek_program *program;
    const ek_batch *batch;
    phase *phases;
    int phase_count, phase_capacity;
    int phase;                 /* the one at hand */
    atomic_llong unfinished;   /* items of it */
    fault fault;               /* step -1: none */
    float scale;               /* of the gradients, by clipping */
    atomic_int gradient_fault; /* least step + 1 whose gradient was not finite, 0: none */
};

ek_status ek_backend_new_cpu(ek_backend **out, int threads)
{
    *out = NULL;
    const ek_kernels *kernels = ek_kernels_get();
    if (!kernels)
        return EK_ERR_UNSUPPORTED;
    ek_backend *b = ek_calloc(1, sizeof *b);
    if (!b)
        return EK_ERR_MEMORY;
    b->kernels = kernels;
    b->threads = threads ? threads : ek_processors();
    ek_status status = ek_pool_new(&b->pool, b->threads);
    if (!status && (!(b->share = ek_share_new(b->threads)) || !(b->help = ek_help_new(b->threads))))
        status = EK_ERR_MEMORY;
    if (status) {
        ek_backend_free(b);
        return status;
    }
    *out = b;
    return EK_OK;
}

void ek_backend_free(ek_backend *b)
{
    if (!b)
        return;
    ek_pool_free(b->pool);
    ek_share_free(b->share);
    ek_help_free(b->help);
    ek_free(b->phases);
    ek_free(b);
}

int ek_backend_threads(const ek_backend *b)
{
    return b->threads;
}

static int64_t block_count(const ek_batch *batch)
{
    return batch ? (batch->samples + EK_LANES - 1) / EK_LANES : 0;
}

/* Samples of a block: EK_LANES but for the last. */
static int live_samples(const ek_batch *batch, int64_t block)
{
    const int64_t rest = batch->samples - block * EK_LANES;
    return rest < EK_LANES ? (int)rest : EK_LANES;
}

static bool finite_values(const float *x, size_t count)
{
    /* Largest exponent: NaN or infinite. In integers, so that the compiler may vectorise the search. */
    int bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return !bad;
}

/* A gradient that was just written. */
static void check_gradient(ek_backend *b, const ek_step *s, const float *x, size_t count)
{
    if (finite_values(x, count))
        return;
    const int at = (int)(s - b->program->steps) + 1;
    int seen = atomic_load(&b->gradient_fault);
    while ((seen == 0 || at < seen) && !atomic_compare_exchange_weak(&b->gradient_fault, &seen, at)) {}
}

/* ---- Steps of a block ---- */

/* A block that is at hand, and the slot it has: that of the thread that has taken it. */
typedef struct spot {
    int64_t block;
    int slot;
} spot;

/* Where a buffer of a block is. */
static float *at(const ek_backend *b, ek_buffer buffer, spot on)
{
    const ek_program *p = b->program;
    const ek_place *place = &p->places[buffer.room];
    const size_t region = place->local ? p->local_at + (size_t)on.slot * p->local_stride
                                       : p->region_at + (size_t)on.block * p->region_stride;
    return p->arena + region + place->offset + buffer.shift;
}

/* NULL where there is none. */
static float *at_if(const ek_backend *b, ek_buffer buffer, spot on)
{
    return buffer.size > 0 ? at(b, buffer, on) : NULL;
}

static float *scratch(const ek_backend *b, int thread)
{
    return b->program->arena + b->program->scratch_at + (size_t)thread * b->program->scratch_stride;
}

static void load_values(const ek_backend *b, const ek_step *s, int64_t block, int live, float *y)
{
    const size_t size = (size_t)s->u.pass.size;
    const ek_normal *normal = b->batch->normal;
    for (int n = 0; n < EK_LANES; n++) { /* dead lanes repeat the block's first sample */
        const float *x = b->batch->values + ((size_t)block * EK_LANES + (size_t)(n < live ? n : 0)) * size;
        for (size_t i = 0; i < size; i++)
            y[i * EK_LANES + (size_t)n] = x[i];
    }
    if (!normal)
        return;
    const size_t plane = size / (size_t)normal->c * EK_LANES;
    for (int c = 0; c < normal->c; c++)
        for (size_t i = 0; i < plane; i++) {
            float *value = y + (size_t)c * plane + i;
            *value = (*value - normal->mean[c]) / normal->std[c];
        }
}

/* Bytes of a block's images, changed on the way where the batch asks for it. */
static void gather(const ek_backend *b, const ek_step *s, int64_t block, int live, int thread, float *y)
{
    const ek_batch *batch = b->batch;
    const int64_t size = s->u.pass.size, first = block * EK_LANES;
    const uint8_t *const *images = batch->images + first;
    const uint8_t *changed[EK_LANES];
    for (int i = 0; batch->augmentation && i < live; i++) {
        uint8_t *to = batch->scratch + (size_t)(thread * EK_LANES + i) * (size_t)size;
        const ek_augment_key key = {batch->seed, batch->epoch, batch->ids[first + i]};
        ek_augment(batch->augmentation, key, images[i], to);
        changed[i] = to;
    }
    b->kernels->blocked.gather(batch->augmentation ? changed : images, live, size, batch->normal, y);
}

static void store_logits(const ek_backend *b, const ek_step *s, int64_t block, int live, const float *x)
{
    const size_t size = (size_t)s->u.pass.size;
    for (int n = 0; n < live; n++) {
        float *out = b->batch->logits + ((size_t)block * EK_LANES + (size_t)n) * size;
        for (size_t i = 0; i < size; i++)
            out[i] = x[i * EK_LANES + (size_t)n];
    }
}

static void run_layernorm(ek_backend *b, const ek_step *s, spot on)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    float *saved = at(b, s->u.layernorm.saved, on);
    const int64_t m = s->u.layernorm.m;
    if (s->kind == EK_STEP_LAYERNORM) {
        k->layer_norm_forward(m, s->u.layernorm.eps, s->u.layernorm.gamma, s->u.layernorm.beta, at(b, s->x, on),
                              at(b, s->y, on), saved, saved + EK_LANES);
        return;
    }
    float *parts = at_if(b, s->u.layernorm.parts, on);
    k->layer_norm_backward(m, s->u.layernorm.gamma, saved, saved + EK_LANES, at(b, s->x, on), at(b, s->dy, on),
                           at(b, s->dx, on), parts, parts ? parts + m : NULL);
}

/* ---- Pieces of a step ---- */

/* The heavy steps of a block are cut into pieces of some ten microseconds along one extent of what they write, so that
 * a thread without a block of its own can help with another's. The cut depends on the shapes alone. */
typedef struct range {
    int begin, end;
} range;

enum { PIECE_WORK = 30000 }; /* multiply-adds of a sample, about as many cycles for sixteen of them on AVX2 */

/* The extent of a step that is cut, and its work; 1: whole. */
static int extent_of(const ek_step *s, double *work)
{
    const ek_conv *g = &s->u.map.g;
    const ek_unit *u = &s->u.unit.u;
    switch (s->kind) {
    case EK_STEP_MAP:
    case EK_STEP_MAP_BACKWARD:
    case EK_STEP_WEIGHT_PARTS:
        *work = (double)ek_conv_weights(g) * g->p * g->q;
        return ek_map_extent(s);
    case EK_STEP_UNIT:
    case EK_STEP_UNIT_SUMS:
    case EK_STEP_UNIT_BACKWARD:
        *work = (s->kind == EK_STEP_UNIT ? 24.0 : 8.0) * u->c * u->h * u->w; /* measured, with a sigmoid */
        return u->c;
    case EK_STEP_JOIN:
    case EK_STEP_JOIN_SUMS:
        *work = 8.0 * s->u.join.g.c * s->u.join.g.h * s->u.join.g.w;
        return s->u.join.g.c;
    case EK_STEP_STATS:
        *work = 4.0 * s->u.norm.norm->c * (double)s->u.norm.norm->plane;
        return s->u.norm.norm->c;
    default:
        *work = 0;
        return 1;
    }
}

static int pieces_of(const ek_step *s)
{
    double work;
    const int extent = extent_of(s, &work), most = extent < EK_HELP_PIECES ? extent : EK_HELP_PIECES;
    const double wanted = work / PIECE_WORK;
    return wanted < 1 ? 1 : wanted < most ? (int)wanted : most;
}

static range piece_range(const ek_step *s, int piece)
{
    double work;
    const int64_t extent = extent_of(s, &work), pieces = pieces_of(s);
    return (range){(int)(extent * piece / pieces), (int)(extent * (piece + 1) / pieces)};
}

static void run_map(ek_backend *b, const ek_step *s, spot on, range r, int thread)
{
    const float *arena = b->program->arena;
    const ek_map_data data = {.packed = arena + s->u.map.packed,
                              .bias = s->u.map.folded < 0 ? s->u.map.bias : arena + s->u.map.bias_at,
                              .x = at(b, s->x, on),
                              .dy = at(b, s->dy, on),
                              .y = at(b, s->y, on),
                              .dx = at(b, s->dx, on),
                              .parts = at(b, s->u.map.parts, on),
                              .scratch = scratch(b, thread)};
    ek_map_run(&b->kernels->blocked, s, &data, r.begin, r.end);
}

static void run_unit(ek_backend *b, const ek_step *s, spot on, range r, int live)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    ek_unit u = s->u.unit.u; /* channels r alone */
    const size_t x_at = (size_t)r.begin * (size_t)u.h * (size_t)u.w * EK_LANES;
    const size_t y_at = x_at / (size_t)(u.pool * u.pool);
    u.c = r.end - r.begin;
    ek_batchnorm *norm = s->u.unit.norm;
    float *activated = s->u.unit.keep ? at(b, s->u.unit.activated, on) + x_at : NULL;
    const float *x = at(b, s->x, on) + x_at;
    const ek_norm_gradient *gradients = norm ? norm->gradients + r.begin : NULL;
    if (s->kind == EK_STEP_UNIT)
        k->unit_forward(&u, norm ? norm->channels + r.begin : NULL, x, activated, at(b, s->y, on) + y_at);
    else if (s->kind == EK_STEP_UNIT_SUMS)
        k->unit_sums(&u, gradients, x, activated, at(b, s->dy, on) + y_at, live,
                     norm->block_sums + on.block * norm->c + r.begin);
    else
        k->unit_backward(&u, gradients, x, activated, at(b, s->dy, on) + y_at, live, at(b, s->dx, on) + x_at);
}

static void run_stats(ek_backend *b, const ek_step *s, spot on, range r, int live)
{
    ek_batchnorm *norm = s->u.norm.norm;
    const size_t first = (size_t)(on.block * norm->c + r.begin);
    const float *x = at(b, s->x, on) + (size_t)r.begin * (size_t)norm->plane * EK_LANES;
    b->kernels->blocked.channel_stats(r.end - r.begin, (int)norm->plane, x, live, norm->block_mean + first,
                                      norm->block_deviations + first);
}

static const float *from_channel(const float *x, size_t begin)
{
    return x ? x + begin : NULL;
}

static void run_join(ek_backend *b, const ek_step *s, spot on, range r, int live)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    ek_join j = s->u.join.g; /* channels r alone */
    ek_batchnorm *norm = s->u.join.norm;
    const size_t begin = (size_t)r.begin * (size_t)j.h * (size_t)j.w * EK_LANES;
    const size_t r_begin = (size_t)r.begin * (size_t)j.rh * (size_t)j.rw * EK_LANES;
    j.c = r.end - r.begin;
    j.rc = j.rc <= r.begin ? 0 : j.rc < r.end ? j.rc - r.begin : j.c;
    if (s->kind == EK_STEP_JOIN)
        k->join_forward(&j, norm ? norm->channels + r.begin : NULL, at(b, s->x, on) + begin,
                        j.rc ? at(b, s->r, on) + r_begin : NULL, at(b, s->y, on) + begin);
    else if (s->kind == EK_STEP_JOIN_SUMS)
        k->join_sums(&j, norm ? norm->gradients + r.begin : NULL, from_channel(at_if(b, s->x, on), begin),
                     from_channel(at_if(b, s->y, on), begin), at(b, s->dy, on) + begin,
                     from_channel(at_if(b, s->more, on), begin), live, at(b, s->dx, on) + begin,
                     norm ? norm->block_sums + on.block * norm->c + r.begin : NULL);
    else
        k->shortcut_backward(&s->u.join.g, at(b, s->dy, on), at(b, s->dx, on));
}

/* One piece of a step of the block that thread `owner` has taken, by `thread`. */
static void run_piece(ek_backend *b, const ek_step *s, int64_t block, int piece, int owner, int thread)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    const ek_batch *batch = b->batch;
    const int live = live_samples(batch, block);
    const spot on = {block, owner};
    const range r = piece_range(s, piece);
    switch (s->kind) {
    case EK_STEP_GATHER:
        gather(b, s, block, live, thread, at(b, s->y, on));
        break;
    case EK_STEP_LOAD:
        load_values(b, s, block, live, at(b, s->y, on));
        break;
    case EK_STEP_STORE:
        store_logits(b, s, block, live, at(b, s->x, on));
        break;
    case EK_STEP_MAP:
    case EK_STEP_MAP_BACKWARD:
    case EK_STEP_WEIGHT_PARTS:
        run_map(b, s, on, r, thread);
        break;
    case EK_STEP_STATS:
        run_stats(b, s, on, r, live);
        break;
    case EK_STEP_UNIT:
    case EK_STEP_UNIT_SUMS:
    case EK_STEP_UNIT_BACKWARD:
        run_unit(b, s, on, r, live);
        break;
    case EK_STEP_JOIN:
    case EK_STEP_JOIN_SUMS:
    case EK_STEP_SHORTCUT_BACKWARD:
        run_join(b, s, on, r, live);
        break;
    case EK_STEP_COPY:
        memcpy(at(b, s->y, on), at(b, s->x, on), (size_t)s->u.pass.size * EK_LANES * sizeof(float));
        break;
    case EK_STEP_ADD:
        k->add((size_t)s->u.pass.size * EK_LANES, at(b, s->dy, on), at(b, s->more, on), at(b, s->dx, on));
        break;
    case EK_STEP_POOL:
        (s->u.pool.g.maximum ? k->maxpool_forward : k->avgpool_forward)(&s->u.pool.g, at(b, s->x, on),
                                                                        at(b, s->y, on));
        break;
    case EK_STEP_POOL_BACKWARD:
        if (s->u.pool.g.maximum)
            k->maxpool_backward(&s->u.pool.g, at(b, s->x, on), at(b, s->dy, on), at(b, s->dx, on));
        else
            k->avgpool_backward(&s->u.pool.g, at(b, s->dy, on), at(b, s->dx, on));
        break;
    case EK_STEP_LAYERNORM:
    case EK_STEP_LAYERNORM_BACKWARD:
        run_layernorm(b, s, on);
        break;
    case EK_STEP_ROWS:
        k->rows_from_block(s->u.rows.features, at(b, s->x, on), block_count(batch) * EK_LANES, block * EK_LANES,
                           b->program->arena + s->u.rows.rows);
        break;
    case EK_STEP_LOSS:
        k->softmax_cross_entropy((int)s->u.pass.size, at(b, s->x, on), batch->labels + block * EK_LANES, live,
                                 1.0f / (float)batch->samples, s->u.pass.smoothing, batch->loss + block * EK_LANES,
                                 batch->predicted + block * EK_LANES, b->program->training ? at(b, s->dx, on) : NULL);
        break;
    default: /* of another scope */
        break;
    }
}

/* A piece by its number, step << BLOCK_BITS | block, for those who help. */
enum { BLOCK_BITS = 22 };

static void run_numbered(void *argument, int owner, uint64_t what, int piece, int thread)
{
    ek_backend *b = argument;
    const int64_t block = (int64_t)(what & ((1 << BLOCK_BITS) - 1));
    run_piece(b, &b->program->steps[what >> BLOCK_BITS], block, piece, owner, thread);
}

static void run_on_block(ek_backend *b, int step, int64_t block, int thread)
{
    const ek_step *s = &b->program->steps[step];
    const int pieces = pieces_of(s);
    if (pieces > 1 && b->threads > 1 && block >> BLOCK_BITS == 0)
        ek_help_open(b->help, thread, (uint64_t)step << BLOCK_BITS | (uint64_t)block, pieces, run_numbered, b);
    else
        for (int piece = 0; piece < pieces; piece++)
            run_piece(b, s, block, piece, thread, thread);
}

/* ---- Steps of items ---- */

static void run_linear_weight(ek_backend *b, const ek_step *s, int item)
{
    const int k0 = item * EK_ROWS_ITEM, outputs = s->u.rows.outputs, features = s->u.rows.features;
    const int count = outputs - k0 < EK_ROWS_ITEM ? outputs - k0 : EK_ROWS_ITEM;
    b->kernels->blocked.linear_backward_weight(features, k0, count, (int)block_count(b->batch),
                                               b->program->arena + s->u.rows.rows, at(b, s->dy, (spot){0}),
                                               b->program->region_stride, s->u.rows.dweight, s->u.rows.dbias);
    check_gradient(b, s, s->u.rows.dweight + (size_t)k0 * (size_t)features, (size_t)count * (size_t)features);
    if (s->u.rows.dbias)
        check_gradient(b, s, s->u.rows.dbias + k0, (size_t)count);
}

static void run_update(ek_backend *b, const ek_span *span, float *values)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    const ek_program *p = b->program;
    const ek_update *u = b->batch->update;
    const float *gradient = p->gradients + span->begin;
    float *first = p->state_count > 0 ? p->states + span->begin : NULL;
    if (u->kind == EK_SGD)
        k->sgd(span->count, u, span->decays, b->scale, gradient, first, values + span->begin);
    else
        k->adam(span->count, u, span->decays, b->scale, gradient, first, first + p->gradient_count,
                values + span->begin);
}

static void run_item(ek_backend *b, const ek_step *s, int item)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    float *arena = b->program->arena;
    const size_t begin = (size_t)item * EK_FLAT_ITEM;
    switch (s->kind) {
    case EK_STEP_PACK_FORWARD:
    case EK_STEP_PACK_BACKWARD:
        ek_map_pack(k, s, s->u.map.weight ? s->u.map.weight : arena + s->u.map.weight_at, arena + s->u.map.packed);
        break;
    case EK_STEP_SUM_PARTS: {
        const size_t rest = s->u.sum.count - begin, count = rest < EK_FLAT_ITEM ? rest : EK_FLAT_ITEM;
        k->sum_parts(count, (int)block_count(b->batch), b->program->region_stride,
                     at(b, s->u.sum.parts, (spot){0}) + begin, s->u.sum.sum + begin);
        check_gradient(b, s, s->u.sum.sum + begin, count);
        break;
    }
    case EK_STEP_LINEAR_WEIGHT:
        run_linear_weight(b, s, item);
        break;
    case EK_STEP_SQUARES: {
        const ek_span *span = &b->program->spans[item];
        b->program->squares[item] = k->sum_squares(span->count, b->program->gradients + span->begin);
        break;
    }
    case EK_STEP_UPDATE:
        if (b->fault.step < 0 && b->batch->update)
            run_update(b, &b->program->spans[item], s->u.update.value);
        break;
    default:
        break;
    }
}

/* ---- Steps that run once ---- */

static void note_fault(ek_backend *b, const ek_step *s, int channel)
{
    if (b->fault.step < 0)
        b->fault = (fault){(int)(s - b->program->steps), channel};
}

static void run_check(ek_backend *b, const ek_step *s)
{
    double loss = 0;
    for (int64_t i = 0; i < b->batch->samples; i++)
        loss += b->batch->loss[i];
    /* Gradients that are not finite follow from the loss, and say less than it does. */
    if (!isfinite(loss) && (b->fault.step < 0 || b->program->steps[b->fault.step].kind == EK_STEP_NORM_BACKWARD))
        b->fault = (fault){(int)(s - b->program->steps), -1};
    const int gradient = atomic_load(&b->gradient_fault);
    if (gradient)
        note_fault(b, &b->program->steps[gradient - 1], -1);
}

/* The spans' squares are added in their order, whoever has summed them up. */
static void find_scale(ek_backend *b)
{
    const ek_program *p = b->program;
    double squares = 0, norm;
    for (int i = 0; p->squares && i < p->span_count; i++)
        squares += p->squares[i];
    b->scale = (float)ek_clip_scale(b->batch->update ? b->batch->update->clip : 0, squares, &norm);
    if (p->squares && b->batch->norm)
        *b->batch->norm = norm;
}

static void run_commit(ek_backend *b)
{
    if (b->fault.step >= 0)
        return;
    find_scale(b);
    for (int i = 0; i < b->program->norm_count; i++)
        ek_batchnorm_commit(&b->program->norms[i], b->batch->samples);
}

static void run_once(ek_backend *b, const ek_step *s)
{
    int channel = -1;
    if (s->kind == EK_STEP_NORM_FORWARD)
        channel = ek_batchnorm_forward(s->u.norm.norm, b->batch->samples);
    else if (s->kind == EK_STEP_NORM_BACKWARD)
        channel = ek_batchnorm_backward(s->u.norm.norm, b->batch->samples);
    else if (s->kind == EK_STEP_CHECK)
        run_check(b, s);
    else
        run_commit(b);
    if (channel >= 0)
        note_fault(b, s, channel);
}

/* ---- Phases ---- */

static int64_t phase_items(const ek_backend *b, const phase *p)
{
    if (p->scope == EK_PER_BLOCK)
        return block_count(b->batch);
    int64_t items = 0;
    for (int i = p->begin; i < p->end; i++)
        items += b->program->steps[i].items;
    return items;
}

static void run_phase_item(ek_backend *b, const phase *p, int64_t item, int thread)
{
    const ek_step *steps = b->program->steps;
    if (p->scope == EK_PER_BLOCK) {
        for (int i = p->begin; i < p->end; i++)
            run_on_block(b, i, item, thread);
        return;
    }
    int i = p->begin;
    while (item >= steps[i].items)
        item -= steps[i++].items;
    run_item(b, &steps[i], (int)item);
}

/* Goes on to the next phase that has items to share, running what comes once on the way. Alone. */
static void next_phase(void *argument)
{
    ek_backend *b = argument;
    while (++b->phase < b->phase_count && b->phases[b->phase].scope == EK_ONCE) {
        const phase *p = &b->phases[b->phase];
        for (int i = p->begin; i < p->end; i++)
            run_once(b, &b->program->steps[i]);
    }
    if (b->phase < b->phase_count) {
        const int64_t items = phase_items(b, &b->phases[b->phase]);
        atomic_store_explicit(&b->unfinished, items, memory_order_relaxed);
        ek_share_start(b->share, b->threads, items);
    }
}

/* A thread without an item: helps those that have one, and gives up when there was nothing to help with for EK_SPINS
 * turns. */
static void help_others(ek_backend *b, int thread)
{
    for (int i = 0; i < EK_SPINS && atomic_load_explicit(&b->unfinished, memory_order_relaxed) > 0; i++) {
        if (ek_help_other(b->help, b->threads, thread, run_numbered, b))
            i = 0;
        else
            ek_relax();
    }
}

static void run_thread(void *argument, ek_pool *pool, int thread)
{
    ek_backend *b = argument;
    while (b->phase < b->phase_count) {
        const phase *p = &b->phases[b->phase];
        for (int64_t item; (item = ek_share_next(b->share, b->threads, thread)) >= 0;) {
            run_phase_item(b, p, item, thread);
            atomic_fetch_sub_explicit(&b->unfinished, 1, memory_order_relaxed);
        }
        if (p->scope == EK_PER_BLOCK)
            help_others(b, thread);
        ek_pool_barrier(pool, next_phase, b);
    }
}

/* Cuts steps begin..end-1 into phases. */
static ek_status find_phases(ek_backend *b, int begin, int end)
{
    const ek_step *steps = b->program->steps;
    b->phase_count = 0;
    for (int i = begin; i < end; i++) {
        if (b->phase_count && b->phases[b->phase_count - 1].scope == steps[i].scope) {
            b->phases[b->phase_count - 1].end = i + 1;
            continue;
        }
        if (b->phase_count == b->phase_capacity) {
            const int capacity = b->phase_capacity ? 2 * b->phase_capacity : 32;
            phase *grown = ek_realloc(b->phases, (size_t)capacity, sizeof *grown);
            if (!grown)
                return EK_ERR_MEMORY;
            b->phases = grown;
            b->phase_capacity = capacity;
        }
        b->phases[b->phase_count++] = (phase){i, i + 1, steps[i].scope};
    }
    return EK_OK;
}

static ek_status report_fault(const ek_backend *b)
{
    if (b->fault.step < 0)
        return EK_OK;
    const ek_step *s = &b->program->steps[b->fault.step];
    const char *path = s->layer >= 0 ? b->program->paths[s->layer] : "";
    if (s->kind == EK_STEP_NORM_FORWARD)
        return ek_fail(EK_ERR_NUMERIC, "layer %s (batchnorm), channel %d: the batch's statistics are not finite",
                       path, b->fault.channel);
    if (s->kind == EK_STEP_NORM_BACKWARD)
        return ek_fail(EK_ERR_NUMERIC, "layer %s (batchnorm), channel %d: the gradient is not finite", path,
                       b->fault.channel);
    if (s->kind == EK_STEP_CHECK)
        return ek_fail(EK_ERR_NUMERIC, "the loss is not finite");
    return ek_fail(EK_ERR_NUMERIC, "layer %s: the gradient of its weights is not finite", path);
}

static ek_status run_steps(ek_backend *b, ek_program *program, const ek_batch *batch, int begin, int end)
{
    b->program = program;
    b->batch = batch;
    b->fault = (fault){-1, -1};
    atomic_store(&b->gradient_fault, 0);
    EK_TRY(find_phases(b, begin, end));
    b->phase = -1;
    next_phase(b);
    ek_pool_run(b->pool, run_thread, b);
    return report_fault(b);
}

/* Steps of a prediction program before its first block-wise one. */
static int preparation(const ek_program *program)
{
    int i = 0;
    while (!program->training && i < program->count && program->steps[i].scope == EK_PER_ITEM)
        i++;
    return i;
}

ek_status ek_backend_prepare(ek_backend *b, ek_program *program)
{
    return run_steps(b, program, NULL, 0, preparation(program));
}

ek_status ek_backend_run(ek_backend *b, ek_program *program, const ek_batch *batch)
{
    if (batch->samples < 1 || batch->samples > program->max_samples)
        return ek_fail(EK_ERR_ARGUMENT, "a batch of %lld samples for a program of at most %lld",
                       (long long)batch->samples, (long long)program->max_samples);
    return run_steps(b, program, batch, preparation(program), program->count);
}
