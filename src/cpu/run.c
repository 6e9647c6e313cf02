/* SPDX-License-Identifier: MIT
 * The CPU's backend: runs a program's phases on a pool of threads. */
#include "cpu/run.h"

#include "base/memory.h"
#include "cpu/map.h"

#include <math.h>
#include <string.h>

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

/* The first exponent, as it lies in a float's bits, with which a gradient cannot be taken: that of NaN and infinity;
 * with Adam, whose second moment is its square, that of 2^64, unless clipping makes it small before. */
static uint32_t exponent_limit(const ek_backend *b)
{
    const ek_update *u = b->batch->update;
    const bool squared = u && u->kind != EK_SGD && u->clip == 0;
    return squared ? (uint32_t)(127 + 64) << 23 : 0x7f800000u;
}

static bool values_below(uint32_t limit, const float *x, size_t count)
{
    /* In integers, so that the compiler may vectorise the search. */
    int bad = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bad |= (bits & 0x7f800000u) >= limit;
    }
    return !bad;
}

/* A gradient that was just written. */
static void check_gradient(ek_backend *b, const ek_step *s, const float *x, size_t count)
{
    if (values_below(exponent_limit(b), x, count))
        return;
    const unsigned long long key = ek_gradient_key(s, (int)(s - b->program->steps));
    unsigned long long seen = atomic_load(&b->gradient_fault);
    while (key < seen && !atomic_compare_exchange_weak(&b->gradient_fault, &seen, key)) {}
}

/* ---- Steps of a block ---- */

/* A piece by its number, step << BLOCK_BITS | block, for those who help. */
enum { BLOCK_BITS = 22 };

static void run_numbered(void *argument, int owner, uint64_t what, int piece, int thread)
{
    ek_backend *b = argument;
    const int64_t block = (int64_t)(what & ((1 << BLOCK_BITS) - 1));
    ek_run_piece(b, &b->program->steps[what >> BLOCK_BITS], block, piece, owner, thread);
}

static void run_on_block(ek_backend *b, int step, int64_t block, int thread)
{
    const ek_step *s = &b->program->steps[step];
    const int pieces = ek_step_pieces(s);
    if (pieces > 1 && b->threads > 1 && block >> BLOCK_BITS == 0)
        ek_help_open(b->help, thread, (uint64_t)step << BLOCK_BITS | (uint64_t)block, pieces, run_numbered, b);
    else
        for (int piece = 0; piece < pieces; piece++)
            ek_run_piece(b, s, block, piece, thread, thread);
}

/* ---- Steps of items ---- */

static void run_linear_weight(ek_backend *b, const ek_step *s, int item)
{
    const int k0 = item * EK_ROWS_ITEM, outputs = s->u.rows.outputs, features = s->u.rows.features;
    const int count = outputs - k0 < EK_ROWS_ITEM ? outputs - k0 : EK_ROWS_ITEM;
    b->kernels->blocked.linear_backward_weight(features, k0, count, (int)ek_block_count(b->batch),
                                               b->program->arena + s->u.rows.rows, ek_at(b, s->dy, (ek_spot){0}),
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

/* The gradients of the micro-batches so far; with the last one the step's, in their place. */
static void accumulate(ek_backend *b, const ek_step *s, const ek_span *span)
{
    float *gradient = b->program->gradients + span->begin, *sum = b->program->sums + span->begin;
    const bool first = b->batch->before == 0, last = ek_is_last(b->batch);
    if (first && !last)
        memcpy(sum, gradient, span->count * sizeof *sum);
    else if (!first)
        b->kernels->blocked.add(span->count, sum, gradient, last ? gradient : sum);
    check_gradient(b, s, last ? gradient : sum, span->count);
}

void ek_run_item(ek_backend *b, const ek_step *s, int item)
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
        k->sum_parts(count, (int)ek_block_count(b->batch), b->program->region_stride,
                     ek_at(b, s->u.sum.parts, (ek_spot){0}) + begin, s->u.sum.sum + begin);
        check_gradient(b, s, s->u.sum.sum + begin, count);
        break;
    }
    case EK_STEP_LINEAR_WEIGHT:
        run_linear_weight(b, s, item);
        break;
    case EK_STEP_ACCUMULATE:
        accumulate(b, s, &b->program->spans[item]);
        break;
    case EK_STEP_SQUARES: {
        const ek_span *span = &b->program->spans[item];
        if (ek_is_last(b->batch))
            b->program->squares[item] = k->sum_squares(span->count, b->program->gradients + span->begin);
        break;
    }
    case EK_STEP_UPDATE:
        if (b->fault.step < 0 && ek_is_last(b->batch) && b->batch->update)
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
        b->fault = (ek_fault){(int)(s - b->program->steps), channel};
}

static void run_check(ek_backend *b, const ek_step *s)
{
    double loss = 0;
    for (int64_t i = 0; i < b->batch->samples; i++)
        loss += b->batch->loss[i];
    const ek_step *steps = b->program->steps, *known = b->fault.step < 0 ? NULL : &steps[b->fault.step];
    const unsigned long long key = atomic_load(&b->gradient_fault);
    const int gradient = key == EK_NO_GRADIENT ? -1 : (int)(key & 0xffffffffu);
    /* Gradients that are not finite follow from the loss, and say less than it does; of gradients those of the latest
     * layer say most. */
    if (!isfinite(loss) && !(known && known->kind == EK_STEP_NORM_FORWARD))
        b->fault = (ek_fault){(int)(s - steps), -1};
    else if (gradient >= 0 &&
             (!known || (known->kind == EK_STEP_NORM_BACKWARD && steps[gradient].layer > known->layer)))
        b->fault = (ek_fault){gradient, -1};
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
    ek_program *p = b->program;
    if (b->fault.step >= 0)
        return;
    for (int i = 0; i < p->norm_count; i++)
        ek_batchnorm_stage(&p->norms[i], b->batch->samples, b->batch->before == 0);
    if (!ek_is_last(b->batch))
        return;
    find_scale(b);
    for (int i = 0; i < p->norm_count; i++)
        ek_batchnorm_commit(&p->norms[i]);
}

/* The first channel whose finite gradient the optimiser cannot take, or -1. */
static int beyond_optimizer(const ek_backend *b, const ek_batchnorm *norm)
{
    const uint32_t limit = exponent_limit(b);
    for (int c = 0; norm->trains && c < norm->c; c++)
        if ((norm->dgamma && !values_below(limit, norm->dgamma + c, 1)) ||
            (norm->dbeta && !values_below(limit, norm->dbeta + c, 1)))
            return c;
    return -1;
}

static int run_norm_backward(ek_backend *b, ek_batchnorm *norm)
{
    const int channel = ek_batchnorm_backward(norm, b->batch->samples);
    return channel >= 0 ? channel : beyond_optimizer(b, norm);
}

static void run_once(ek_backend *b, const ek_step *s)
{
    int channel = -1;
    if (s->kind == EK_STEP_NORM_FORWARD)
        channel = ek_batchnorm_forward(s->u.norm.norm, b->batch->samples);
    else if (s->kind == EK_STEP_NORM_BACKWARD)
        channel = run_norm_backward(b, s->u.norm.norm);
    else if (s->kind == EK_STEP_CHECK)
        run_check(b, s);
    else
        run_commit(b);
    if (channel >= 0)
        note_fault(b, s, channel);
}

/* ---- Phases ---- */

static int64_t phase_items(const ek_backend *b, const ek_phase *p)
{
    if (p->scope == EK_PER_BLOCK)
        return ek_block_count(b->batch);
    int64_t items = 0;
    for (int i = p->begin; i < p->end; i++)
        items += b->program->steps[i].items;
    return items;
}

/* Threads that take items of the phase: of blocks, one for each slot. */
static int takers(const ek_backend *b, const ek_phase *p)
{
    return p->scope == EK_PER_BLOCK && b->program->slots < b->threads ? b->program->slots : b->threads;
}

static void run_phase_item(ek_backend *b, const ek_phase *p, int64_t item, int thread)
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
    ek_run_item(b, &steps[i], (int)item);
}

/* Goes on to the next phase that has items to share, running what comes once on the way. Alone. */
static void next_phase(void *argument)
{
    ek_backend *b = argument;
    while (++b->phase < b->phase_count && b->phases[b->phase].scope == EK_ONCE) {
        const ek_phase *p = &b->phases[b->phase];
        for (int i = p->begin; i < p->end; i++)
            run_once(b, &b->program->steps[i]);
    }
    if (b->phase < b->phase_count) {
        const int64_t items = phase_items(b, &b->phases[b->phase]);
        atomic_store_explicit(&b->unfinished, items, memory_order_relaxed);
        ek_share_start(b->share, takers(b, &b->phases[b->phase]), items);
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
        const ek_phase *p = &b->phases[b->phase];
        const int most = takers(b, p);
        for (int64_t item; thread < most && (item = ek_share_next(b->share, most, thread)) >= 0;) {
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
            ek_phase *grown = ek_realloc(b->phases, (size_t)capacity, sizeof *grown);
            if (!grown)
                return EK_ERR_MEMORY;
            b->phases = grown;
            b->phase_capacity = capacity;
        }
        b->phases[b->phase_count++] = (ek_phase){i, i + 1, steps[i].scope};
    }
    return EK_OK;
}

static ek_status report_fault(const ek_backend *b)
{
    if (b->fault.step < 0)
        return EK_OK;
    const ek_step *s = &b->program->steps[b->fault.step];
    const char *path = s->layer >= 0 ? b->program->paths[s->layer] : "";
    const char *or_square = exponent_limit(b) < 0x7f800000u ? ", or its square," : "";
    if (s->kind == EK_STEP_NORM_FORWARD)
        return ek_fail(EK_ERR_NUMERIC, "layer %s (batchnorm), channel %d: the batch's statistics are not finite",
                       path, b->fault.channel);
    if (s->kind == EK_STEP_NORM_BACKWARD)
        return ek_fail(EK_ERR_NUMERIC, "layer %s (batchnorm), channel %d: the gradient%s is not finite", path,
                       b->fault.channel, or_square);
    if (s->kind == EK_STEP_CHECK)
        return ek_fail(EK_ERR_NUMERIC, "the loss is not finite");
    if (s->kind == EK_STEP_ACCUMULATE)
        return ek_fail(EK_ERR_NUMERIC, "the gradients' sum over micro-batches is not finite");
    return ek_fail(EK_ERR_NUMERIC, "layer %s: the gradient of its weights%s is not finite", path, or_square);
}

static ek_status run_steps(ek_backend *b, ek_program *program, const ek_batch *batch, int begin, int end)
{
    b->program = program;
    b->batch = batch;
    b->fault = (ek_fault){-1, -1};
    atomic_store(&b->gradient_fault, EK_NO_GRADIENT);
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

void ek_backend_run_block(const ek_program *program, int slot, const ek_batch *batch)
{
    /* Steps of a block read of the program what is not the slot's; none of them writes it. */
    ek_backend b = {.kernels = ek_kernels_get(), .threads = 1, .program = (ek_program *)program, .batch = batch};
    for (int i = preparation(program); i < program->count; i++) {
        ek_step s = program->steps[i];
        if (s.kind == EK_STEP_LOAD || s.kind == EK_STEP_GATHER)
            s.kind = batch->images ? EK_STEP_GATHER : EK_STEP_LOAD;
        const int pieces = ek_step_pieces(&s);
        for (int piece = 0; piece < pieces; piece++)
            ek_run_piece(&b, &s, 0, piece, slot, slot);
    }
}
