/* SPDX-License-Identifier: MIT
 * A training set up: options checked and filled in, everything allocated before the first step. */
#include "train/trainer.h"

#include "base/memory.h"
#include "net/plan.h"
#include "train/optimizer.h"
#include "train/schedule.h"

ek_status ek_trainer_fill_options(ek_fit_options *o)
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
    if (o->checkpoint_every < 0 || o->checkpoint_keep < 0 || o->patience < 0)
        return ek_fail(EK_ERR_ARGUMENT,
                       "ek_fit: checkpoint_every (%d), checkpoint_keep (%d) and patience (%d) must not "
                       "be negative",
                       o->checkpoint_every, o->checkpoint_keep, o->patience);
    if (!o->checkpoint && (o->checkpoint_every || o->checkpoint_keep || o->resume))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: %s needs a folder of checkpoints; set checkpoint too",
                       o->resume             ? "resume"
                       : o->checkpoint_every ? "checkpoint_every"
                                             : "checkpoint_keep");
    if (o->max_skipped < -1)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: max_skipped is %d; the least is -1, no step", o->max_skipped);
    o->max_skipped = o->max_skipped ? o->max_skipped : 3;
    if (o->exact_samples < 0)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: exact_samples is %lld, but it cannot be negative",
                       (long long)o->exact_samples);
    if (!o->exact_stats && (o->exact_samples || o->exact_final || o->exact_compare))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: %s is about exact statistics; set exact_stats too",
                       o->exact_final     ? "exact_final"
                       : o->exact_compare ? "exact_compare"
                                          : "exact_samples");
    o->checkpoint_keep = o->checkpoint_keep ? o->checkpoint_keep : 3;
    o->epochs = o->epochs ? o->epochs : 10;
    o->batch_size = o->batch_size ? o->batch_size : 128;
    EK_TRY(ek_optimizer_check(o));
    return ek_schedule_check(o);
}

int64_t ek_trainer_group(const ek_trainer *t)
{
    return t->o.ghost && t->o.micro_batch < t->o.batch_size ? t->o.micro_batch : t->o.batch_size;
}

/* The smallest number of samples that share statistics in an epoch: the last of a batch cut into groups. */
static int64_t smallest_group(const ek_trainer *t)
{
    const int64_t batch = t->o.batch_size, group = ek_trainer_group(t), rest = t->count % batch;
    int64_t smallest = group;
    if (t->count >= batch && batch % group)
        smallest = batch % group;
    if (rest && rest % group && rest % group < smallest)
        smallest = rest % group;
    return smallest;
}

/* Every batch norm that takes statistics from the batch needs two values per channel, in the last batch too. */
static ek_status check_batch_norms(const ek_trainer *t)
{
    const int64_t smallest = smallest_group(t);
    for (int i = 0; i < t->net->layer_count && smallest == 1; i++) {
        const ek_layer *l = &t->net->layers[i];
        if (l->kind != EK_LAYER_BATCHNORM || (int64_t)l->in.h * l->in.w > 1 ||
            (l->o.batchnorm.use_moving && l->o.batchnorm.hold_moving))
            continue;
        char label[EK_LABEL_SIZE];
        const bool ghost = ek_trainer_group(t) < t->o.batch_size;
        const char *const size = ghost ? "micro-batch" : "batch size";
        if (ek_trainer_group(t) == 1)
            return ek_fail(EK_ERR_SHAPE,
                           "%s: with %s of one sample it sees one value per channel, which has no "
                           "variance; choose a %s of 2 or more",
                           ek_layer_label(t->net, i, label), ghost ? "micro-batches" : "batches", size);
        return ek_fail(
            EK_ERR_SHAPE,
            "%s: the last of the %s of %lld leaves one of %lld samples, and one value per "
            "channel has no variance; choose a %s that leaves none or more",
            ek_layer_label(t->net, i, label), ghost ? "micro-batches" : "batches", (long long)ek_trainer_group(t),
            (long long)(ghost && t->o.batch_size % ek_trainer_group(t) == 1 ? t->o.batch_size : t->count), size);
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
static ek_status open_input(ek_trainer *t, const ek_dataset_info *info)
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
static ek_status make_program(ek_trainer *t, int64_t most)
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

/* No more memory than a step has, so that the option does not ask for much more where memory is short. */
static ek_status open_exact(ek_trainer *t)
{
    const size_t step = ek_size_mul(t->program->arena_size, sizeof(float)), least = (size_t)64 << 20;
    if (!t->o.exact_stats)
        return EK_OK;
    t->o.exact_samples = t->o.exact_samples ? t->o.exact_samples : ek_exact_samples(t->train);
    t->o.exact_samples = t->o.exact_samples < t->count ? t->o.exact_samples : t->count;
    t->exact_memory = (int64_t)(step > least ? step : least);
    return ek_calibrator_new(&t->calibrator, t->net, t->train, t->backend,
                             &(ek_calibrate_options){.samples = t->o.exact_samples, .memory = t->exact_memory});
}

/* Room for the best epoch's values, and what checkpoints need. */
static ek_status open_keeping(ek_trainer *t, const ek_dataset *val)
{
    t->kept = -1;
    t->progress.epoch = 1;
    if (t->o.keep_best) {
        t->best = ek_calloc(t->net->value_count, sizeof *t->best);
        t->best_counters = ek_calloc((size_t)t->net->tensor_count, sizeof *t->best_counters);
        if (!t->best || !t->best_counters)
            return EK_ERR_MEMORY;
    }
    if (!t->o.checkpoint)
        return EK_OK;
    t->state = (ek_checkpoint_state){.net = t->net,
                                     .program = t->program,
                                     .best = t->best,
                                     .best_counters = t->best_counters,
                                     .steps = t->steps,
                                     .epochs = t->o.epochs};
    EK_TRY(ek_config_make(&t->config, &t->o, t->net, t->train, val));
    return ek_checkpoints_open(&t->checkpoints, t->o.checkpoint, t->o.checkpoint_keep, t->o.resume, &t->state,
                               &t->config);
}

ek_status ek_trainer_open(ek_trainer *t, const ek_dataset *val)
{
    ek_dataset_info info;
    EK_TRY(ek_trainer_fill_options(&t->o));
    if (!val && (t->o.keep_best || t->o.patience))
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: %s goes by the validation accuracy; give validation data",
                       t->o.keep_best ? "keep_best" : "patience");
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
    EK_TRY(ek_feed_new(&t->feed, t->train, most, ek_backend_threads(t->backend)));
    EK_TRY(open_input(t, &info));
    EK_TRY(make_program(t, most));
    EK_TRY(open_exact(t));
    if (val)
        EK_TRY(ek_evaluator_new(&t->evaluator, t->net, val, t->backend, &(ek_eval_options){0}));
    if (!t->o.no_shuffle && !(t->order = ek_calloc((size_t)t->count, sizeof *t->order)))
        return EK_ERR_MEMORY;
    return open_keeping(t, val);
}

void ek_trainer_close(ek_trainer *t)
{
    ek_evaluator_free(t->evaluator);
    ek_calibrator_free(t->calibrator);
    ek_program_free(t->program);
    ek_feed_free(t->feed);
    ek_batch_arrays_free(&t->arrays);
    ek_normal_free(t->normal);
    ek_free(t->scratch);
    ek_backend_free(t->backend);
    ek_free(t->order);
    ek_free(t->best);
    ek_free(t->best_counters);
    ek_checkpoints_free(t->checkpoints);
    ek_config_free(&t->config);
    ek_progress_free(&t->progress);
}
