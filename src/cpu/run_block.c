/* SPDX-License-Identifier: MIT
 * Steps of a block: passes over the values of sixteen samples, whole or a piece. */
#include "cpu/map.h"
#include "cpu/run.h"

#include <string.h>

static float *scratch(const ek_backend *b, int thread)
{
    return b->program->arena + b->program->scratch_at + (size_t)thread * b->program->scratch_stride;
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

static void run_layernorm(ek_backend *b, const ek_step *s, ek_spot on)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    float *saved = ek_at(b, s->u.layernorm.saved, on);
    const int64_t m = s->u.layernorm.m;
    if (s->kind == EK_STEP_LAYERNORM) {
        k->layer_norm_forward(m, s->u.layernorm.eps, s->u.layernorm.gamma, s->u.layernorm.beta, ek_at(b, s->x, on),
                              ek_at(b, s->y, on), saved, saved + EK_LANES);
        return;
    }
    float *parts = ek_at_if(b, s->u.layernorm.parts, on);
    k->layer_norm_backward(m, s->u.layernorm.gamma, saved, saved + EK_LANES, ek_at(b, s->x, on), ek_at(b, s->dy, on),
                           ek_at(b, s->dx, on), parts, parts ? parts + m : NULL);
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
    case EK_STEP_PROBE:
        *work = 128.0 * s->u.probe.point->c * (double)s->u.probe.point->plane;
        return s->u.probe.point->c;
    case EK_STEP_DROPOUT:
    case EK_STEP_DROPOUT_BACKWARD:
        *work = 32.0 * (double)s->u.dropout.size; /* measured */
        return (int)((s->u.dropout.size + 3) / 4);
    default:
        *work = 0;
        return 1;
    }
}

int ek_step_pieces(const ek_step *s)
{
    double work;
    const int extent = extent_of(s, &work), most = extent < EK_HELP_PIECES ? extent : EK_HELP_PIECES;
    const double wanted = work / PIECE_WORK;
    return wanted < 1 ? 1 : wanted < most ? (int)wanted : most;
}

static range piece_range(const ek_step *s, int piece)
{
    double work;
    const int64_t extent = extent_of(s, &work), pieces = ek_step_pieces(s);
    return (range){(int)(extent * piece / pieces), (int)(extent * (piece + 1) / pieces)};
}

static void run_map(ek_backend *b, const ek_step *s, ek_spot on, range r, int thread)
{
    const float *arena = b->program->arena;
    const ek_map_data data = {.packed = arena + s->u.map.packed,
                              .bias = s->u.map.folded < 0 ? s->u.map.bias : arena + s->u.map.bias_at,
                              .x = ek_at(b, s->x, on),
                              .dy = ek_at(b, s->dy, on),
                              .y = ek_at(b, s->y, on),
                              .dx = ek_at(b, s->dx, on),
                              .parts = ek_at(b, s->u.map.parts, on),
                              .scratch = scratch(b, thread)};
    ek_map_run(&b->kernels->blocked, s, &data, r.begin, r.end);
}

static void run_unit(ek_backend *b, const ek_step *s, ek_spot on, range r, int live)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    ek_unit u = s->u.unit.u; /* channels r alone */
    const size_t x_at = (size_t)r.begin * (size_t)u.h * (size_t)u.w * EK_LANES;
    const size_t y_at = x_at / (size_t)(u.pool * u.pool);
    u.c = r.end - r.begin;
    ek_batchnorm *norm = s->u.unit.norm;
    float *activated = s->u.unit.keep ? ek_at(b, s->u.unit.activated, on) + x_at : NULL;
    const float *x = ek_at(b, s->x, on) + x_at;
    const ek_norm_gradient *gradients = norm ? norm->gradients + r.begin : NULL;
    if (s->kind == EK_STEP_UNIT)
        k->unit_forward(&u, norm ? norm->channels + r.begin : NULL, x, activated, ek_at(b, s->y, on) + y_at);
    else if (s->kind == EK_STEP_UNIT_SUMS)
        k->unit_sums(&u, gradients, x, activated, ek_at(b, s->dy, on) + y_at, live,
                     norm->block_sums + on.block * norm->c + r.begin);
    else
        k->unit_backward(&u, gradients, x, activated, ek_at(b, s->dy, on) + y_at, live, ek_at(b, s->dx, on) + x_at);
}

static void run_stats(ek_backend *b, const ek_step *s, ek_spot on, range r, int live)
{
    ek_batchnorm *norm = s->u.norm.norm;
    const size_t first = (size_t)(on.block * norm->c + r.begin);
    const float *x = ek_at(b, s->x, on) + (size_t)r.begin * (size_t)norm->plane * EK_LANES;
    b->kernels->blocked.channel_stats(r.end - r.begin, (int)norm->plane, x, live, norm->block_mean + first,
                                      norm->block_deviations + first);
}

static const float *from_channel(const float *x, size_t begin)
{
    return x ? x + begin : NULL;
}

static void run_join(ek_backend *b, const ek_step *s, ek_spot on, range r, int live)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    ek_join j = s->u.join.g; /* channels r alone */
    ek_batchnorm *norm = s->u.join.norm;
    const size_t begin = (size_t)r.begin * (size_t)j.h * (size_t)j.w * EK_LANES;
    const size_t r_begin = (size_t)r.begin * (size_t)j.rh * (size_t)j.rw * EK_LANES;
    j.c = r.end - r.begin;
    j.rc = j.rc <= r.begin ? 0 : j.rc < r.end ? j.rc - r.begin : j.c;
    if (s->kind == EK_STEP_JOIN)
        k->join_forward(&j, norm ? norm->channels + r.begin : NULL, ek_at(b, s->x, on) + begin,
                        j.rc ? ek_at(b, s->r, on) + r_begin : NULL, ek_at(b, s->y, on) + begin);
    else if (s->kind == EK_STEP_JOIN_SUMS)
        k->join_sums(&j, norm ? norm->gradients + r.begin : NULL, from_channel(ek_at_if(b, s->x, on), begin),
                     from_channel(ek_at_if(b, s->y, on), begin), ek_at(b, s->dy, on) + begin,
                     from_channel(ek_at_if(b, s->more, on), begin), live, ek_at(b, s->dx, on) + begin,
                     norm ? norm->block_sums + on.block * norm->c + r.begin : NULL);
    else
        k->shortcut_backward(&s->u.join.g, ek_at(b, s->dy, on), ek_at(b, s->dx, on));
}

static void run_dropout(ek_backend *b, const ek_step *s, ek_spot on, range r, int live)
{
    const ek_batch *batch = b->batch;
    const int64_t size = s->u.dropout.size, first = on.block * EK_LANES;
    const int64_t begin = 4 * (int64_t)r.begin, end = 4 * (int64_t)r.end < size ? 4 * (int64_t)r.end : size;
    ek_dropout_key key = {.seed = batch->seed, .epoch = batch->epoch};
    for (int i = 0; i < EK_LANES; i++) {
        const int64_t at = first + (i < live ? i : 0);
        key.samples[i] = batch->ids ? (uint32_t)batch->ids[at] : (uint32_t)(batch->before + at);
    }
    if (s->kind == EK_STEP_DROPOUT)
        b->kernels->blocked.dropout(&s->u.dropout.d, &key, begin, end, ek_at(b, s->x, on), ek_at(b, s->y, on));
    else
        b->kernels->blocked.dropout(&s->u.dropout.d, &key, begin, end, ek_at(b, s->dy, on), ek_at(b, s->dx, on));
}

/* One piece of a step of the block that thread `owner` has taken, by `thread`. */
void ek_run_piece(ek_backend *b, const ek_step *s, int64_t block, int piece, int owner, int thread)
{
    const ek_blocked_kernels *k = &b->kernels->blocked;
    const ek_batch *batch = b->batch;
    const int live = ek_live_samples(batch, block);
    const ek_spot on = {block, owner};
    const range r = piece_range(s, piece);
    switch (s->kind) {
    case EK_STEP_GATHER:
        gather(b, s, block, live, thread, ek_at(b, s->y, on));
        break;
    case EK_STEP_LOAD:
        k->load(batch->values + block * EK_LANES * s->u.pass.size, live, s->u.pass.size, batch->normal,
                ek_at(b, s->y, on));
        break;
    case EK_STEP_STORE:
        store_logits(b, s, block, live, ek_at(b, s->x, on));
        break;
    case EK_STEP_PROBE:
        ek_probe_block(s->u.probe.point, block, r.begin, r.end, ek_at(b, s->x, on), live);
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
    case EK_STEP_DROPOUT:
    case EK_STEP_DROPOUT_BACKWARD:
        run_dropout(b, s, on, r, live);
        break;
    case EK_STEP_COPY:
        memcpy(ek_at(b, s->y, on), ek_at(b, s->x, on), (size_t)s->u.pass.size * EK_LANES * sizeof(float));
        break;
    case EK_STEP_ADD:
        k->add((size_t)s->u.pass.size * EK_LANES, ek_at(b, s->dy, on), ek_at(b, s->more, on), ek_at(b, s->dx, on));
        break;
    case EK_STEP_POOL:
        (s->u.pool.g.maximum ? k->maxpool_forward : k->avgpool_forward)(&s->u.pool.g, ek_at(b, s->x, on),
                                                                        ek_at(b, s->y, on));
        break;
    case EK_STEP_POOL_BACKWARD:
        if (s->u.pool.g.maximum)
            k->maxpool_backward(&s->u.pool.g, ek_at(b, s->x, on), ek_at(b, s->dy, on), ek_at(b, s->dx, on));
        else
            k->avgpool_backward(&s->u.pool.g, ek_at(b, s->dy, on), ek_at(b, s->dx, on));
        break;
    case EK_STEP_LAYERNORM:
    case EK_STEP_LAYERNORM_BACKWARD:
        run_layernorm(b, s, on);
        break;
    case EK_STEP_ROWS:
        k->rows_from_block(s->u.rows.features, ek_at(b, s->x, on), ek_block_count(batch) * EK_LANES, block * EK_LANES,
                           b->program->arena + s->u.rows.rows);
        break;
    case EK_STEP_LOSS:
        k->softmax_cross_entropy((int)s->u.pass.size, ek_at(b, s->x, on), batch->labels + block * EK_LANES, live,
                                 1.0f / (float)ek_step_samples(batch), s->u.pass.smoothing,
                                 batch->loss + block * EK_LANES, batch->predicted + block * EK_LANES,
                                 b->program->training ? ek_at(b, s->dx, on) : NULL);
        break;
    default: /* of another scope */
        break;
    }
}
