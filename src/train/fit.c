/* SPDX-License-Identifier: MIT
 * The trainer: epochs of shuffled batches, a step of the optimiser on each, validation after each epoch. */
#define _POSIX_C_SOURCE 200809L
#include "base/memory.h"
#include "base/random.h"
#include "net/normalize.h"
#include "net/plan.h"
#include "train/evaluate.h"
#include "train/optimizer.h"
#include "train/schedule.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

typedef struct trainer {
    ek_fit_options o; /* with defaults filled in */
    ek_net *net;
    const ek_dataset *train;
    int64_t count;              /* training samples */
    int64_t steps;              /* of an epoch */
    int64_t step;               /* taken so far */
    double rate, gradient_norm; /* of the last step */
    ek_backend *backend;
    ek_program *program;
    ek_evaluator *evaluator; /* NULL without validation data */
    ek_batch_arrays arrays;
    ek_normal *normal; /* NULL: none */
    ek_augmentation augmentation;
    uint8_t *scratch; /* for changed images; NULL: images stay as they are */
    int32_t *order;
} trainer;

/* Sums over the samples of an epoch so far. */
typedef struct totals {
    double loss;
    int64_t correct, count;
} totals;

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static ek_status fill_options(ek_fit_options *o)
{
    if (o->epochs < 0 || o->batch_size < 0 || o->threads < 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: epochs (%d), batch_size (%d) and threads (%d) must not be negative",
                       o->epochs, o->batch_size, o->threads);
    if (o->augment.crop < 0 || o->augment.crop > EK_CROP_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: augment.crop is %d, not in 0 .. %d", o->augment.crop, EK_CROP_MAX);
    if (!(o->augment.erase >= 0 && o->augment.erase <= 1))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: augment.erase is %g, no probability", (double)o->augment.erase);
    if (o->micro_batch < 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: micro_batch is %d, but it cannot be negative", o->micro_batch);
    if (o->ghost && !o->micro_batch)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: ghost statistics are those of micro-batches; set micro_batch too");
    o->epochs = o->epochs ? o->epochs : 10;
    o->batch_size = o->batch_size ? o->batch_size : 128;
    EK_TRY(ek_optimizer_check(o));
    return ek_schedule_check(o);
}

/* Samples that go through the net together: their statistics are one. */
static int64_t group_size(const trainer *t)
{
    return t->o.ghost && t->o.micro_batch < t->o.batch_size ? t->o.micro_batch : t->o.batch_size;
}

/* The smallest number of samples that share statistics in an epoch: the last of a batch cut into groups. */
static int64_t smallest_group(const trainer *t)
{
    const int64_t batch = t->o.batch_size, group = group_size(t), rest = t->count % batch;
    int64_t smallest = group;
    if (t->count >= batch && batch % group)
        smallest = batch % group;
    if (rest && rest % group && rest % group < smallest)
        smallest = rest % group;
    return smallest;
}

/* Every batch norm that takes statistics from the batch needs two values per channel, in the last batch too. */
static ek_status check_batch_norms(const trainer *t)
{
    const int64_t smallest = smallest_group(t);
    for (int i = 0; i < t->net->layer_count && smallest == 1; i++) {
        const ek_layer *l = &t->net->layers[i];
        if (l->kind != EK_LAYER_BATCHNORM || (int64_t)l->in.h * l->in.w > 1 ||
            (l->o.batchnorm.use_moving && l->o.batchnorm.hold_moving))
            continue;
        char label[EK_LABEL_SIZE];
        const bool ghost = group_size(t) < t->o.batch_size;
        const char *const size = ghost ? "micro-batch" : "batch size";
        if (group_size(t) == 1)
            return ek_fail(EK_ERR_SHAPE,
                           "%s: with %s of one sample it sees one value per channel, which has no "
                           "variance; choose a %s of 2 or more",
                           ek_layer_label(t->net, i, label), ghost ? "micro-batches" : "batches", size);
        return ek_fail(EK_ERR_SHAPE,
                       "%s: the last of the %s of %lld leaves one of %lld samples, and one value per "
                       "channel has no variance; choose a %s that leaves none or more",
                       ek_layer_label(t->net, i, label), ghost ? "micro-batches" : "batches",
                       (long long)group_size(t),
                       (long long)(ghost && t->o.batch_size % group_size(t) == 1 ? t->o.batch_size : t->count), size);
    }
    return EK_OK;
}

/* Counters are the net's tensors, which anyone may have changed; a cumulative average divides by them. */
static ek_status check_counters(ek_net *net)
{
    for (int i = 0; i < net->tensor_count; i++) {
        const int64_t *counter = net->tensors[i].counter;
        if (counter && (*counter < 0 || *counter > EK_COUNTER_MAX))
            return ek_fail(EK_ERR_ARGUMENT, "%s is %lld, no number of batches", net->tensors[i].name,
                           (long long)*counter);
    }
    return EK_OK;
}

/* What images go through on their way, and room for those that change. */
static ek_status open_input(trainer *t, const ek_dataset_info *info)
{
    const ek_augment_options *o = &t->o.augment;
    const size_t size = (size_t)info->channels * (size_t)info->height * (size_t)info->width;
    t->augmentation = (ek_augmentation){.c = info->channels,
                                        .h = info->height,
                                        .w = info->width,
                                        .crop = o->crop,
                                        .flip = o->flip,
                                        .erase = o->erase};
    if (o->crop || o->flip || o->erase > 0) {
        const size_t images = (size_t)ek_backend_threads(t->backend) * EK_LANES;
        t->scratch = ek_calloc(images, size);
        if (!t->scratch)
            return EK_ERR_MEMORY;
    }
    return ek_normal_new(&t->normal, t->net);
}

/* The program of steps of up to `most` samples. */
static ek_status make_program(trainer *t, int64_t most)
{
    const bool ghost = t->o.ghost && t->o.micro_batch < most;
    const bool again = t->o.micro_batch < most && !ghost;
    const ek_plan_request request = {.mode = EK_TRAINING,
                                     .input = EK_INPUT_BYTES,
                                     .loss = true,
                                     .max_samples = ghost ? t->o.micro_batch : most,
                                     .micro_batch = again ? t->o.micro_batch : 0,
                                     .accumulates = ghost,
                                     .states = ek_update_states(t->o.optimizer, t->o.momentum),
                                     .clips = t->o.clip_norm > 0 || t->o.measure_norm,
                                     .decay = t->o.decay,
                                     .smoothing = (float)t->o.label_smoothing,
                                     .threads = ek_backend_threads(t->backend)};
    return ek_plan_new(&t->program, t->net, &request);
}

static ek_status open_trainer(trainer *t, const ek_dataset *val)
{
    ek_dataset_info info;
    ek_dataset_get_info(t->train, &info);
    t->count = info.count;
    if (t->count > INT32_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "ek_fit: %lld samples are more than %d", (long long)t->count, INT32_MAX);
    EK_TRY(ek_net_finish(t->net));
    EK_TRY(ek_check_dataset(t->net, t->train));
    EK_TRY(check_batch_norms(t));
    EK_TRY(check_counters(t->net));
    t->steps = (t->count + t->o.batch_size - 1) / t->o.batch_size;
    EK_TRY(ek_schedule_check_steps(&t->o, t->steps));
    const int64_t most = t->count < t->o.batch_size ? t->count : t->o.batch_size;
    EK_TRY(ek_backend_new_cpu(&t->backend, ek_useful_threads(t->o.threads, val ? t->count : most)));
    EK_TRY(ek_batch_arrays_new(&t->arrays, most));
    EK_TRY(open_input(t, &info));
    EK_TRY(make_program(t, most));
    if (val)
        EK_TRY(ek_evaluator_new(&t->evaluator, t->net, val, t->backend, 0));
    EK_TRY(ek_net_set_note(t->net, "data.digest", *info.digest ? info.digest : NULL));
    if (!t->o.no_shuffle && !(t->order = ek_calloc((size_t)t->count, sizeof *t->order)))
        return EK_ERR_MEMORY;
    return EK_OK;
}

static void close_trainer(trainer *t)
{
    ek_evaluator_free(t->evaluator);
    ek_program_free(t->program);
    ek_batch_arrays_free(&t->arrays);
    ek_normal_free(t->normal);
    ek_free(t->scratch);
    ek_backend_free(t->backend);
    ek_free(t->order);
}

static ek_status tell(const trainer *t, const ek_fit_event *event)
{
    if (t->o.on_event && t->o.on_event(t->o.user, event))
        return ek_fail(EK_ERR_STOPPED, "stopped in epoch %d after step %lld, as asked", event->epoch,
                       (long long)event->step);
    return EK_OK;
}

/* Samples at..at+count-1 of the step's `total`: all of them, or one of its micro-batches. */
static ek_status run_part(trainer *t, int epoch, int64_t at, int64_t count, int64_t total, const ek_update *update)
{
    const ek_batch_arrays *a = &t->arrays;
    const ek_status status = ek_backend_run(t->backend, t->program,
                                            &(ek_batch){.samples = count,
                                                        .before = at,
                                                        .total = total,
                                                        .images = a->images + at,
                                                        .normal = t->normal,
                                                        .augmentation = t->scratch ? &t->augmentation : NULL,
                                                        .scratch = t->scratch,
                                                        .seed = t->o.seed,
                                                        .epoch = (uint32_t)epoch,
                                                        .ids = a->ids + at,
                                                        .labels = a->labels + at,
                                                        .loss = a->loss + at,
                                                        .predicted = a->predicted + at,
                                                        .update = update,
                                                        .norm = &t->gradient_norm});
    if (!status || count == total)
        return status;
    char where[64];
    snprintf(where, sizeof where, "micro-batch %lld", (long long)(at / group_size(t) + 1));
    return ek_fail_in(status, where);
}

/* One optimiser step on samples begin.. of the order; adds its samples to the sums, and gives its own. */
static ek_status train_step(trainer *t, int epoch, int64_t begin, int64_t count, totals *sums, totals *own)
{
    ek_batch_arrays *a = &t->arrays;
    const int64_t group = group_size(t);
    ek_batch_arrays_fill(a, t->train, t->order, begin, count);
    t->rate = ek_schedule_rate(&t->o, t->steps, t->step);
    const ek_update update = ek_optimizer_update(&t->o, ++t->step, t->rate);
    for (int64_t at = 0; at < count; at += group)
        EK_TRY(run_part(t, epoch, at, count - at < group ? count - at : group, count, &update));
    *own = (totals){.count = count};
    for (int64_t i = 0; i < count; i++) {
        own->loss += a->loss[i];
        own->correct += a->predicted[i] == a->labels[i];
    }
    sums->loss += own->loss;
    sums->correct += own->correct;
    sums->count += count;
    return EK_OK;
}

static ek_fit_event event_of(const trainer *t, int epoch, double since, totals sums)
{
    return (ek_fit_event){.epoch = epoch,
                          .epochs = t->o.epochs,
                          .steps = t->steps,
                          .loss = sums.loss / (double)sums.count,
                          .accuracy = (double)sums.correct / (double)sums.count,
                          .seconds = seconds_now() - since,
                          .lr = t->rate};
}

static ek_status train_epoch(trainer *t, int epoch)
{
    const double since = seconds_now();
    if (t->order)
        ek_random_permutation(t->o.seed, (uint32_t)epoch, t->order, t->count);
    totals sums = {0}, own;
    int64_t step = 0;
    for (int64_t begin = 0; begin < t->count; begin += t->o.batch_size) {
        const int64_t rest = t->count - begin, count = rest < t->o.batch_size ? rest : t->o.batch_size;
        const ek_status status = train_step(t, epoch, begin, count, &sums, &own);
        step++;
        if (status) {
            char where[64];
            snprintf(where, sizeof where, "epoch %d, step %lld", epoch, (long long)step);
            return ek_fail_in(status, where);
        }
        if (!t->o.on_event)
            continue;
        ek_fit_event event = event_of(t, epoch, since, own);
        event.step = step;
        event.batch_size = (int)count;
        event.gradient_norm = t->gradient_norm;
        EK_TRY(tell(t, &event));
    }
    ek_fit_event event = event_of(t, epoch, since, sums);
    event.kind = EK_EVENT_EPOCH;
    event.step = step;
    if (t->evaluator) {
        const double begin = seconds_now();
        ek_metrics metrics = {0};
        EK_TRY(ek_evaluator_run(t->evaluator, NULL, &metrics));
        event.has_val = true;
        event.val_loss = metrics.loss;
        event.val_accuracy = metrics.accuracy;
        event.val_seconds = seconds_now() - begin;
    }
    return tell(t, &event);
}

ek_status ek_fit(ek_net *net, const ek_dataset *train, const ek_dataset *val, const ek_fit_options *options)
{
    if (!net || !train)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: net and train must not be NULL");
    trainer t = {.net = net, .train = train};
    if (options)
        t.o = *options;
    EK_TRY(fill_options(&t.o));
    ek_status status = open_trainer(&t, val);
    for (int epoch = 1; epoch <= t.o.epochs && !status; epoch++)
        status = train_epoch(&t, epoch);
    close_trainer(&t);
    return status;
}
