/* SPDX-License-Identifier: MIT
 * Batch normalisation of plain arrays: the public functions. What they compute stands in op/norm.h.
 *
 * Forward reads x twice and writes y once, backward reads x and dy twice and writes dx once: the least there is for
 * arrays larger than the caches. One reading suffices for mean and variance because sums are taken of x - pivot, the
 * pivot being the mean of a few values from all over the channel: nothing cancels while the pivot is within a
 * deviation or two of the mean, which is checked; a channel whose pivot was ill-chosen is done again in double. */
#include "cpu/plain_norm.h"

#include "base/memory.h"
#include "cpu/dispatch.h"
#include "op/norm.h"

#include <math.h>
#include <string.h>

/* A call of either direction, its options resolved. */
typedef struct call {
    const char *name;
    ek_shape shape;
    ek_plain_cut cut;
    const ek_kernels *kernels;
    double m;             /* values of a channel */
    int64_t bytes;        /* of x */
    double eps, momentum; /* momentum < 0: cumulative */
    bool population;
    ek_normalize normalize;
    bool by_batch; /* batch statistics normalise */
    bool update;   /* and they enter the moving ones */
    int threads;
} call;

/* What a call works out per channel. */
typedef struct channels {
    double *mean, *var, *rest; /* of the batch; rest is backward's alone */
    double *norm_mean, *rstd;  /* what normalises */
    float *numbers[4];         /* of the pass at hand */
    double *part[3];           /* of sums */
} channels;

static ek_status channels_alloc(channels *ch, const call *f, int parts)
{
    const size_t c = (size_t)f->shape.c, part = ek_size_mul((size_t)f->cut.parts, (size_t)f->cut.slots);
    double *sums = ek_calloc(ek_size_mul(c, 5), sizeof *sums);
    float *numbers = ek_calloc(ek_size_mul(c, 4), sizeof *numbers);
    double *part_sums = ek_calloc(ek_size_mul(part, (size_t)parts), sizeof *part_sums);
    *ch = (channels){.mean = sums, .numbers = {numbers}, .part = {part_sums}};
    if (!sums || !numbers || !part_sums)
        return EK_ERR_MEMORY;
    ch->var = sums + c;
    ch->rest = sums + 2 * c;
    ch->norm_mean = sums + 3 * c;
    ch->rstd = sums + 4 * c;
    for (size_t i = 0; i < 4; i++)
        ch->numbers[i] = numbers + i * c;
    for (int i = 0; i < parts; i++)
        ch->part[i] = part_sums + part * (size_t)i;
    return EK_OK;
}

static void channels_free(channels *ch)
{
    ek_free(ch->mean);
    ek_free(ch->numbers[0]);
    ek_free(ch->part[0]);
}

/* One pass by the numbers in ch, spread to tables. */
static ek_status run(const call *f, ek_plain_work work, bool stream, const float *x, const float *dy,
                     const channels *ch, float *y)
{
    const ek_plain_cut cut = stream ? ek_plain_cut_streaming(f->shape, y) : f->cut;
    const size_t count = work == EK_PLAIN_APPLY ? 3 : work == EK_PLAIN_GRADIENT ? 4 : 1;
    /* Tables begin on lines of their own: a vector across two lines loads at half the speed. */
    const size_t room = ek_size_add((size_t)cut.slots, 15) / 16 * 16;
    const size_t size = ek_size_mul(ek_size_mul(room, count), sizeof(float));
    float *tables = ek_block_alloc(size);
    if (!tables)
        return EK_ERR_MEMORY;
    const float *table[4] = {tables, tables, tables, tables};
    for (size_t i = 0; i < count; i++) {
        ek_plain_spread(&cut, ch->numbers[i], tables + i * room);
        table[i] = tables + i * room;
    }
    const ek_plain_pass pass = {.kernels = &f->kernels->plain,
                                .cut = &cut,
                                .work = work,
                                .x = x,
                                .dy = dy,
                                .y = y,
                                .map = {table[0], table[1], table[2], table[3], stream},
                                .part = {ch->part[0], ch->part[1], ch->part[2]}};
    const ek_status status = ek_plain_run(&pass, f->threads);
    ek_block_free(tables);
    return status;
}

/* How a channel's values lie: `outer` runs of `inner`, `stride` apart, from `first` on. */
typedef struct lie {
    int64_t first, outer, stride, inner;
} lie;

static lie lie_of(ek_shape s, int64_t c)
{
    const int64_t hw = s.h * s.w;
    return s.layout == EK_NHWC ? (lie){c, s.n * hw, s.c, 1} : (lie){c * hw, s.n, s.c * hw, hw};
}

/* Each channel's mean of 64 values: 8 neighbours at 8 places all over it. They are a power of two and added in
 * double, so that the pivot of a constant channel is its constant. */
static void find_pivots(ek_shape s, const float *x, double *sum, float *pivot)
{
    enum { PLACES = 8, NEIGHBOURS = 8 };
    const lie l = lie_of(s, 0);
    const int64_t next = lie_of(s, 1).first, room = l.inner > NEIGHBOURS ? l.inner - NEIGHBOURS : 0;
    for (int64_t c = 0; c < s.c; c++)
        sum[c] = 0;
    for (int64_t p = 0; p < PLACES; p++) {
        const int64_t o = l.outer / PLACES * p + l.outer % PLACES * p / PLACES;
        const int64_t place = room / (PLACES - 1) * p + room % (PLACES - 1) * p / (PLACES - 1);
        const int64_t i = place / NEIGHBOURS * NEIGHBOURS;
        for (int64_t j = 0; j < NEIGHBOURS; j++) {
            /* Where runs are short the neighbours go on in the next run, and from the last in the first. */
            const float *from = x + (o + j / l.inner) % l.outer * l.stride + i + j % l.inner;
            for (int64_t c = 0; c < s.c; c++)
                sum[c] += (double)from[c * next];
        }
    }
    for (int64_t c = 0; c < s.c; c++)
        pivot[c] = (float)(sum[c] / (PLACES * NEIGHBOURS));
}

/* ch->mean and ch->var of the batch. */
static ek_status batch_statistics(const call *f, const float *x, channels *ch)
{
    const int64_t c = f->shape.c;
    float *pivot = ch->numbers[0];
    find_pivots(f->shape, x, ch->mean, pivot);
    EK_TRY(run(f, EK_PLAIN_SUMS, false, x, NULL, ch, NULL));
    ek_plain_gather(&f->cut, ch->part[0], ch->mean);
    ek_plain_gather(&f->cut, ch->part[1], ch->var);
    for (int64_t i = 0; i < c; i++) {
        if (ek_plain_moments((double)pivot[i], ch->mean[i], ch->var[i], f->m, f->eps, &ch->mean[i], &ch->var[i]))
            continue;
        const lie l = lie_of(f->shape, i);
        ek_plain_exact(x + l.first, l.outer, l.stride, l.inner, &ch->mean[i], &ch->var[i]);
    }
    return EK_OK;
}

/* y = (x - mean)*scale + shift with the mean's first 24 bits as mean, the others in shift; a mean of 0 where nothing is
 * centred. */
static ek_status apply(const call *f, const float *x, const float *gamma, const float *beta, channels *ch, float *y)
{
    float **t = ch->numbers;
    for (int64_t c = 0; c < f->shape.c; c++) {
        const double mean = f->normalize == EK_NORMALIZE_DEVIATION ? 0 : ch->norm_mean[c];
        t[0][c] = (float)mean;
        const double scale = (gamma ? (double)gamma[c] : 1) * ch->rstd[c], low = mean - (double)t[0][c];
        const double b = beta ? (double)beta[c] : 0;
        t[1][c] = (float)scale;
        t[2][c] = (float)(low == 0 ? b : b - low * scale);
    }
    return run(f, EK_PLAIN_APPLY, y != x && ek_plain_streams(2, f->bytes), x, x, ch, y);
}

/* The variance that enters the moving one. */
static double entering(const call *f, double var)
{
    return f->population ? var : var * (f->m / (f->m - 1));
}

static ek_status check_finite(const call *f, const channels *ch)
{
    for (int64_t c = 0; c < f->shape.c; c++)
        if (!isfinite((float)ch->mean[c]) || !isfinite((float)(f->update ? entering(f, ch->var[c]) : ch->var[c])))
            return ek_fail(
                EK_ERR_NUMERIC,
                "%s: channel %lld (from 0): mean %g and variance %g of the batch are not finite; look for NaN, "
                "infinity and overflow in x",
                f->name, (long long)c, ch->mean[c], ch->var[c]);
    return EK_OK;
}

static void update_moving(const call *f, const channels *ch, float *moving_mean, float *moving_var,
                          int64_t *num_batches)
{
    if (num_batches)
        ++*num_batches;
    const double momentum = f->momentum < 0 ? 1 / (double)*num_batches : f->momentum;
    for (int64_t c = 0; c < f->shape.c; c++) {
        moving_mean[c] = ek_moving_average(moving_mean[c], ch->mean[c], momentum);
        moving_var[c] = ek_moving_average(moving_var[c], entering(f, ch->var[c]), momentum);
    }
}

/* Forward, everything checked. */
static ek_status forward(const call *f, const float *x, const float *gamma, const float *beta, float *moving_mean,
                         float *moving_var, int64_t *num_batches, float *y, float *save_mean, float *save_rstd)
{
    channels ch;
    const int64_t c = f->shape.c;
    ek_status status = channels_alloc(&ch, f, 2);
    if (!status && (f->by_batch || f->update))
        status = batch_statistics(f, x, &ch);
    for (int64_t i = 0; !status && i < c; i++) {
        ch.norm_mean[i] = f->by_batch || !moving_mean ? ch.mean[i] : (double)moving_mean[i];
        ch.rstd[i] =
            ek_norm_factor(f->normalize, f->by_batch || !moving_var ? ch.var[i] : (double)moving_var[i], f->eps);
    }
    if (!status)
        status = apply(f, x, gamma, beta, &ch, y);
    for (int64_t i = 0; !status && save_mean && i < c; i++)
        save_mean[i] = (float)ch.norm_mean[i];
    for (int64_t i = 0; !status && save_rstd && i < c; i++)
        save_rstd[i] = (float)ch.rstd[i];
    if (!status && (f->by_batch || f->update))
        status = check_finite(f, &ch);
    if (!status && f->update)
        update_moving(f, &ch, moving_mean, moving_var, num_batches);
    channels_free(&ch);
    return status;
}

/* The parts of a call that both directions and all options share. */
static ek_status call_init(call *f, const char *name, ek_mode mode, ek_shape shape)
{
    *f = (call){.name = name, .shape = shape, .threads = 1};
    if (mode != EK_TRAINING && mode != EK_PREDICTION)
        return ek_fail(EK_ERR_ARGUMENT, "%s: mode %d is neither EK_TRAINING nor EK_PREDICTION", name, (int)mode);
    EK_TRY(ek_plain_check_shape(name, &f->shape));
    f->kernels = ek_kernels_get();
    if (!f->kernels)
        return EK_ERR_UNSUPPORTED;
    f->cut = ek_plain_cut_of(f->shape);
    f->m = (double)ek_norm_count(f->shape);
    f->bytes = f->shape.c * ek_norm_count(f->shape) * (int64_t)sizeof(float);
    return EK_OK;
}

static ek_status check_moving(const char *name, const float *moving_mean, const float *moving_var, bool needed)
{
    if (!moving_mean != !moving_var)
        return ek_fail(EK_ERR_ARGUMENT, "%s: moving_mean and moving_var must both be there, or both be NULL", name);
    if (needed && !moving_mean)
        return ek_fail(EK_ERR_ARGUMENT, "%s: moving_mean and moving_var are to normalise, and are NULL", name);
    return EK_OK;
}

static ek_status check_count(const call *f, bool matters)
{
    if (matters && f->m == 1)
        return ek_fail(EK_ERR_SHAPE,
                       "%s: one value per channel has no variance; training needs at least two (N*H*W > 1)", f->name);
    return EK_OK;
}

static ek_status check_arrays(const char *name, const float *x, const float *y)
{
    return x && y ? EK_OK : ek_fail(EK_ERR_ARGUMENT, "%s: x and y must not be NULL", name);
}

ek_status ek_batch_norm(ek_mode mode, ek_shape shape, const float *x, const float *gamma, const float *beta,
                        float *moving_mean, float *moving_var, float eps, float momentum, float *y)
{
    call f;
    EK_TRY(call_init(&f, "batch_norm", mode, shape));
    EK_TRY(check_arrays(f.name, x, y));
    EK_TRY(check_moving(f.name, moving_mean, moving_var, mode == EK_PREDICTION));
    EK_TRY(ek_plain_check_eps(f.name, eps));
    if (!(momentum >= 0 && momentum <= 1))
        return ek_fail(EK_ERR_ARGUMENT, "%s: momentum %g is not within 0 to 1", f.name, (double)momentum);
    f.by_batch = mode == EK_TRAINING;
    f.update = f.by_batch && moving_mean;
    f.population = true;
    f.eps = (double)eps;
    f.momentum = (double)momentum;
    EK_TRY(check_count(&f, f.by_batch));
    return forward(&f, x, gamma, beta, moving_mean, moving_var, NULL, y, NULL, NULL);
}

ek_status ek_batch_norm_simplified(ek_shape shape, const float *x, const float *gamma, const float *beta, float eps,
                                   float *y)
{
    call f;
    EK_TRY(call_init(&f, "batch_norm_simplified", EK_TRAINING, shape));
    EK_TRY(check_arrays(f.name, x, y));
    EK_TRY(ek_plain_check_eps(f.name, eps));
    f.by_batch = true;
    f.eps = (double)eps;
    return forward(&f, x, gamma, beta, NULL, NULL, NULL, y, NULL, NULL);
}

static ek_status take_options(call *f, ek_mode mode, bool tracked, const ek_batch_norm_options *options)
{
    const ek_batch_norm_options o = options ? *options : (ek_batch_norm_options){0};
    const float eps = o.eps == EK_EPS_ZERO ? 0.0f : o.eps == 0 ? 1e-5f : o.eps;
    const float momentum = o.momentum == 0 ? 0.1f : o.momentum;
    EK_TRY(ek_plain_check_eps(f->name, eps));
    if (momentum != EK_MOMENTUM_CUMULATIVE && !(momentum > 0 && momentum <= 1))
        return ek_fail(EK_ERR_ARGUMENT, "%s: momentum %g is neither within 0 to 1 nor EK_MOMENTUM_CUMULATIVE",
                       f->name, (double)momentum);
    if (o.moving_variance != EK_MOVING_UNBIASED && o.moving_variance != EK_MOVING_POPULATION)
        return ek_fail(EK_ERR_ARGUMENT, "%s: moving_variance %d is no kind of variance", f->name,
                       (int)o.moving_variance);
    if (o.normalize < EK_NORMALIZE_BOTH || o.normalize > EK_NORMALIZE_DEVIATION)
        return ek_fail(EK_ERR_ARGUMENT, "%s: normalize %d is none of EK_NORMALIZE_BOTH, _MEAN and _DEVIATION",
                       f->name, (int)o.normalize);
    f->normalize = o.normalize;
    f->threads = o.threads;
    EK_TRY(ek_plain_check_threads(f->name, &f->threads));
    f->by_batch = ek_norm_by_batch(mode, tracked, o.use_moving);
    f->update = mode == EK_TRAINING && tracked && !o.hold_moving;
    f->population = o.moving_variance == EK_MOVING_POPULATION;
    f->eps = (double)eps;
    f->momentum = (double)momentum;
    return EK_OK;
}

ek_status ek_batch_norm_forward(ek_mode mode, ek_shape shape, const float *x, const float *gamma, const float *beta,
                                float *moving_mean, float *moving_var, int64_t *num_batches,
                                const ek_batch_norm_options *options, float *y, float *save_mean, float *save_rstd)
{
    call f;
    EK_TRY(call_init(&f, "batch_norm_forward", mode, shape));
    EK_TRY(check_arrays(f.name, x, y));
    EK_TRY(take_options(&f, mode, moving_mean != NULL, options));
    EK_TRY(check_moving(f.name, moving_mean, moving_var, !f.by_batch));
    EK_TRY(check_count(&f, f.update || (mode == EK_TRAINING && f.by_batch)));
    if (f.update && f.momentum < 0 && !num_batches)
        return ek_fail(EK_ERR_ARGUMENT, "%s: a cumulative momentum counts batches, and num_batches is NULL", f.name);
    if (f.update && num_batches && (*num_batches < 0 || *num_batches == INT64_MAX))
        return ek_fail(EK_ERR_ARGUMENT, "%s: num_batches is %lld", f.name, (long long)*num_batches);
    return forward(&f, x, gamma, beta, moving_mean, moving_var, num_batches, y, save_mean, save_rstd);
}

/* dbeta into ch->mean, dgamma into ch->var; ch->rest is how far the batch's mean lies from save_mean. */
static ek_status gradient_sums(const call *f, const float *x, const float *dy, const float *save_mean,
                               const float *save_rstd, channels *ch)
{
    memcpy(ch->numbers[0], save_mean, (size_t)f->shape.c * sizeof *save_mean);
    EK_TRY(run(f, EK_PLAIN_GRADIENT_SUMS, false, x, dy, ch, NULL));
    ek_plain_gather(&f->cut, ch->part[0], ch->mean);
    ek_plain_gather(&f->cut, ch->part[1], ch->var);
    ek_plain_gather(&f->cut, ch->part[2], ch->rest);
    for (int64_t c = 0; c < f->shape.c; c++) {
        ch->rest[c] = f->by_batch ? ch->rest[c] / f->m : 0;
        /* The sum is of dy*(x - save_mean); dgamma's is about the mean, or about 0 where nothing is centred. */
        const double about = f->normalize == EK_NORMALIZE_DEVIATION ? -(double)save_mean[c] : ch->rest[c];
        ch->var[c] = (double)save_rstd[c] * (ch->var[c] - about * ch->mean[c]);
    }
    return EK_OK;
}

/* dx = scale*dy + shift - slope*(x - save_mean). */
static ek_status gradient(const call *f, const float *x, const float *dy, const float *gamma, const float *save_mean,
                          const float *save_rstd, channels *ch, float *dx)
{
    float **t = ch->numbers;
    for (int64_t c = 0; c < f->shape.c; c++) {
        const double rstd = (double)save_rstd[c], scale = (gamma ? (double)gamma[c] : 1) * rstd;
        const double slope = f->normalize == EK_NORMALIZE_MEAN ? 0 : scale * rstd * ch->var[c] / f->m;
        const double offset = f->normalize == EK_NORMALIZE_DEVIATION ? 0 : scale * ch->mean[c] / f->m;
        t[0][c] = f->by_batch ? save_mean[c] : 0;
        t[1][c] = (float)scale;
        t[2][c] = f->by_batch ? (float)(slope * ch->rest[c] - offset) : 0;
        t[3][c] = (float)slope;
    }
    const bool stream = dx != dy && dx != x && ek_plain_streams(3, f->bytes);
    /* With moving statistics dx is scale*dy, a map of dy alone. */
    return f->by_batch ? run(f, EK_PLAIN_GRADIENT, stream, x, dy, ch, dx)
                       : run(f, EK_PLAIN_APPLY, stream, dy, dy, ch, dx);
}

ek_status ek_batch_norm_backward(ek_mode mode, bool tracked, ek_shape shape, const float *x, const float *dy,
                                 const float *gamma, const float *save_mean, const float *save_rstd,
                                 const ek_batch_norm_options *options, float *dx, float *dgamma, float *dbeta)
{
    call f;
    EK_TRY(call_init(&f, "batch_norm_backward", mode, shape));
    if (!x || !dy || !save_mean || !save_rstd)
        return ek_fail(EK_ERR_ARGUMENT, "%s: x, dy, save_mean and save_rstd must not be NULL", f.name);
    EK_TRY(take_options(&f, mode, tracked, options));
    if (!f.by_batch && !tracked)
        return ek_fail(EK_ERR_ARGUMENT, "%s: use_moving wants moving statistics, and tracked is false", f.name);
    channels ch;
    ek_status status = channels_alloc(&ch, &f, 3);
    if (!status && (dgamma || dbeta || (dx && f.by_batch)))
        status = gradient_sums(&f, x, dy, save_mean, save_rstd, &ch);
    if (!status && dx)
        status = gradient(&f, x, dy, gamma, save_mean, save_rstd, &ch, dx);
    for (int64_t c = 0; !status && dgamma && c < f.shape.c; c++)
        dgamma[c] = (float)ch.var[c];
    for (int64_t c = 0; !status && dbeta && c < f.shape.c; c++)
        dbeta[c] = (float)ch.mean[c];
    channels_free(&ch);
    return status;
}
