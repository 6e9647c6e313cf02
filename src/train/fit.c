/* SPDX-License-Identifier: MIT
 * The trainer: epochs of shuffled batches, a step of the optimiser on each, validation after each epoch, checkpoints to
 * go on from. */
#define _POSIX_C_SOURCE 200809L
#include "base/random.h"
#include "net/net.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static ek_status stopped(const ek_trainer *t)
{
    const ek_progress *p = &t->progress;
    const bool between = p->done == 0 && p->epoch > 1;
    return ek_fail(EK_ERR_STOPPED, "stopped in epoch %d after step %lld, as asked", between ? p->epoch - 1 : p->epoch,
                   (long long)(between ? t->steps : p->done));
}

static ek_status tell(const ek_trainer *t, const ek_fit_event *event)
{
    return t->o.on_event && t->o.on_event(t->o.user, event) ? stopped(t) : EK_OK;
}

/* What every event says. */
static ek_fit_event new_event(const ek_trainer *t, ek_fit_event_kind kind, int epoch)
{
    return (ek_fit_event){.kind = kind,
                          .epoch = epoch,
                          .epochs = t->o.epochs,
                          .steps = t->steps,
                          .total_steps = t->progress.total,
                          .message = ""};
}

/* ---- A step --------------------------------------------------------------------------------------------------- */

/* Samples at..at+count-1 of the step's `total`: all of them, or one of its micro-batches. */
static ek_status run_part(ek_trainer *t, int epoch, int64_t at, int64_t count, int64_t total, const ek_update *update)
{
    const ek_batch_arrays *a = &t->arrays;
    const ek_batch batch = {.samples = count,
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
                            .norm = &t->gradient_norm};
    ek_status status = ek_backend_run(t->backend, t->program, &batch);
    if (status == EK_ERR_NUMERIC)
        status = ek_trainer_blame(t, &batch, at);
    if (!status || count == total)
        return status;
    char where[64];
    snprintf(where, sizeof where, "micro-batch %lld", (long long)(at / ek_trainer_group(t) + 1));
    return ek_fail_in(status, where);
}

/* Sums over the samples of a step. */
typedef struct totals {
    double loss;
    int64_t correct, count;
} totals;

/* One optimiser step, the next of the epoch. The epoch's sums are of its samples in their order. After EK_ERR_NUMERIC
 * nothing has changed. */
static ek_status train_step(ek_trainer *t, totals *own)
{
    ek_progress *p = &t->progress;
    ek_batch_arrays *a = &t->arrays;
    const int64_t rest = t->count - p->done * t->o.batch_size, group = ek_trainer_group(t);
    const int64_t count = rest < t->o.batch_size ? rest : t->o.batch_size;
    EK_TRY(ek_feed_next(t->feed, count, a->images, a->labels, a->ids));
    t->rate = ek_schedule_rate(&t->o, t->steps, p->total);
    const ek_update update = ek_optimizer_update(&t->o, p->updates + 1, t->rate);
    for (int64_t at = 0; at < count; at += group)
        EK_TRY(run_part(t, p->epoch, at, count - at < group ? count - at : group, count, &update));
    *own = (totals){.count = count};
    for (int64_t i = 0; i < count; i++) {
        own->loss += a->loss[i];
        own->correct += a->predicted[i] == a->labels[i];
    }
    p->loss += own->loss;
    p->correct += own->correct;
    p->count += count;
    p->updates++;
    p->skipped = 0;
    p->done++;
    p->total++;
    return EK_OK;
}

static ek_status tell_step(const ek_trainer *t, const totals *own)
{
    if (!t->o.on_event)
        return EK_OK;
    ek_fit_event event = new_event(t, EK_EVENT_STEP, t->progress.epoch);
    event.step = t->progress.done;
    event.batch_size = (int)own->count;
    event.loss = own->loss / (double)own->count;
    event.accuracy = (double)own->correct / (double)own->count;
    event.seconds = t->progress.seconds;
    event.lr = t->rate;
    event.gradient_norm = t->gradient_norm;
    return tell(t, &event);
}

/* The step failed with EK_ERR_NUMERIC and is left out, unless there were too many of them, or nothing would be left of
 * the epoch. Its place in the schedule is gone. */
static ek_status skip_step(ek_trainer *t)
{
    /* One such step may be a sample's fault, whole rows of them seldom are. */
    static const char advice[] = "a lower learning rate may help where the samples are as they should be";
    ek_progress *p = &t->progress;
    const int64_t rest = t->count - p->done * t->o.batch_size;
    if (p->skipped >= t->o.max_skipped) {
        if (p->skipped == 0)
            return EK_ERR_NUMERIC;
        return ek_fail(EK_ERR_NUMERIC, "%s; %d step%s before it %s left out, as many as may be; %s (it is %g)",
                       ek_error(), p->skipped, p->skipped == 1 ? "" : "s", p->skipped == 1 ? "was" : "were", advice,
                       t->rate);
    }
    if (p->omitted + 1 == t->steps)
        return ek_fail(EK_ERR_NUMERIC, "%s; no step of the epoch was finite; %s (it is %g)", ek_error(), advice,
                       t->rate);
    p->skipped++;
    p->omitted++;
    p->done++;
    p->total++;
    ek_fit_event event = new_event(t, EK_EVENT_SKIPPED, p->epoch);
    event.step = p->done;
    event.batch_size = (int)(rest < t->o.batch_size ? rest : t->o.batch_size);
    event.seconds = p->seconds;
    event.lr = t->rate;
    event.status = EK_ERR_NUMERIC;
    event.message = ek_error();
    event.skipped = p->skipped;
    event.layer = t->blame.path;
    event.channel = t->blame.channel;
    event.sample = t->blame.sample;
    return tell(t, &event);
}

/* ---- Checkpoints ---------------------------------------------------------------------------------------------- */

/* One that cannot be written is told, and the next is tried. */
static ek_status keep(ek_trainer *t)
{
    ek_fit_event event = new_event(t, EK_EVENT_CHECKPOINT, t->progress.epoch);
    event.step = t->progress.done;
    event.status = ek_checkpoints_write(t->checkpoints, &t->progress);
    event.message = event.status ? ek_error() : "";
    event.path = ek_checkpoints_path(t->checkpoints);
    t->kept = t->progress.total;
    t->owed = false;
    return tell(t, &event);
}

/* Behind a step that was left out there is nothing new to keep, and older checkpoints, from before the trouble, would
 * have to go: the next good step makes up for it, or the training's end. */
static ek_status keep_if(ek_trainer *t, bool due, bool last)
{
    t->owed = t->owed || due;
    return t->checkpoints && t->owed && (last || t->progress.skipped == 0) ? keep(t) : EK_OK;
}

/* After a step within an epoch. */
static ek_status keep_when_due(ek_trainer *t)
{
    const int every = t->o.checkpoint_every;
    return keep_if(t, every && t->progress.total % every == 0, false);
}

static ek_status tell_broken(void *user, const char *path, ek_status status, int left)
{
    const ek_trainer *t = user;
    ek_fit_event event = new_event(t, EK_EVENT_BROKEN, 0);
    event.status = status;
    event.message = ek_error();
    event.path = path;
    event.older = left;
    return tell(t, &event)
               ? ek_fail(EK_ERR_STOPPED, "stopped behind checkpoint %s, which cannot be used, as asked", path)
               : EK_OK;
}

/* The event of finished epoch `epoch`. */
static ek_status tell_epoch(const ek_trainer *t, int epoch, int best, bool again)
{
    const ek_epoch_record *r = &t->progress.history[epoch - 1];
    ek_fit_event event = new_event(t, EK_EVENT_EPOCH, epoch);
    event.step = t->steps;
    event.total_steps = epoch * t->steps;
    event.loss = r->loss;
    event.accuracy = r->accuracy;
    event.seconds = r->seconds;
    event.has_val = t->evaluator != NULL;
    event.val_loss = r->val_loss;
    event.val_accuracy = r->val_accuracy;
    event.val_seconds = r->val_seconds;
    const bool broken = r->moving_loss == EK_MOVING_BROKEN;
    event.has_moving = broken || r->moving_loss >= 0;
    event.moving_loss = broken ? NAN : event.has_moving ? r->moving_loss : 0;
    event.moving_accuracy = broken ? NAN : r->moving_accuracy;
    event.lr = r->lr;
    event.best_epoch = best;
    event.skipped = (int)r->skipped;
    event.again = again;
    return tell(t, &event);
}

/* Tells what had been up to the checkpoint that was read. */
static ek_status tell_resumed(ek_trainer *t)
{
    t->kept = t->progress.total;
    if (t->progress.total)
        t->rate = ek_schedule_rate(&t->o, t->steps, t->progress.total - 1);
    ek_fit_event event = new_event(t, EK_EVENT_RESUME, t->progress.epoch);
    event.step = t->progress.done;
    event.seconds = t->progress.seconds;
    event.path = ek_checkpoints_path(t->checkpoints);
    EK_TRY(tell(t, &event));
    for (int epoch = 1, best = 0; epoch < t->progress.epoch; epoch++) {
        const ek_epoch_record *h = t->progress.history;
        if (t->evaluator && (!best || h[epoch - 1].val_accuracy > h[best - 1].val_accuracy))
            best = epoch;
        EK_TRY(tell_epoch(t, epoch, best, true));
    }
    return EK_OK;
}

/* Takes up where the newest checkpoint ends, if that is asked for. Nothing can be refused any more then: the net is
 * about to become another, of which its notes would be wrong. */
static ek_status begin(ek_trainer *t)
{
    ek_dataset_info info;
    ek_dataset_get_info(t->train, &info);
    if (t->o.resume)
        EK_TRY(ek_checkpoints_resume(t->checkpoints, &t->progress, tell_broken, t));
    EK_TRY(ek_net_set_note(t->net, "data.digest", *info.digest ? info.digest : NULL));
    EK_TRY(ek_net_set_note(t->net, "statistics", NULL));
    return t->o.resume ? tell_resumed(t) : EK_OK;
}

/* ---- The best epoch ------------------------------------------------------------------------------------------- */

static int best_epoch(const ek_trainer *t)
{
    return t->evaluator ? ek_progress_best(&t->progress) : 0;
}

/* Copies the net's values and counters to where the best are kept, or back. */
static void copy_best(ek_trainer *t, bool back)
{
    ek_net *net = t->net;
    const size_t size = net->value_count * sizeof *t->best;
    memcpy(back ? net->values : t->best, back ? t->best : net->values, size);
    for (int i = 0; i < net->tensor_count; i++) {
        int64_t *counter = net->tensors[i].counter;
        if (counter && back)
            *counter = t->best_counters[counter - net->counters];
        else if (counter)
            t->best_counters[counter - net->counters] = *counter;
    }
}

/* The net as it is, with its exact statistics where there are some. */
static void keep_best(ek_trainer *t)
{
    if (t->calibrator)
        ek_calibrator_swap(t->calibrator);
    copy_best(t, false);
    if (t->calibrator)
        ek_calibrator_swap(t->calibrator);
}

/* Whether patience, or the number of epochs, ends the training. */
static bool is_over(const ek_trainer *t)
{
    const int finished = t->progress.epoch - 1;
    return finished >= t->o.epochs || (t->o.patience && finished && finished - best_epoch(t) >= t->o.patience);
}

/* ---- An epoch ------------------------------------------------------------------------------------------------- */

/* From here on images of the epoch that stream are decoded, from step `done` on, whoever works meanwhile. */
static void begin_epoch(ek_trainer *t, int epoch, int64_t done)
{
    if (t->fed == epoch || done == t->steps)
        return;
    t->fed = epoch;
    if (t->order)
        ek_random_permutation(t->o.seed, (uint32_t)epoch, t->order, t->count);
    ek_feed_begin(t->feed, t->order, done * t->o.batch_size);
}

/* The rest of the epoch's steps. */
static ek_status train_steps(ek_trainer *t)
{
    ek_progress *p = &t->progress;
    const double since = seconds_now() - p->seconds;
    begin_epoch(t, p->epoch, p->done);
    while (p->done < t->steps) {
        totals own;
        const ek_status status = train_step(t, &own);
        p->seconds = seconds_now() - since;
        if (status) {
            char where[64];
            snprintf(where, sizeof where, "epoch %d, step %lld", p->epoch, (long long)p->done + 1);
            ek_fail_in(status, where);
        }
        if (status && status != EK_ERR_NUMERIC)
            return status;
        EK_TRY(status ? skip_step(t) : tell_step(t, &own));
        if (p->done < t->steps)
            EK_TRY(keep_when_due(t));
    }
    if (p->epoch < t->o.epochs)
        begin_epoch(t, p->epoch + 1, 0); /* before validation */
    return EK_OK;
}

static ek_status train_epoch(ek_trainer *t)
{
    ek_progress *p = &t->progress;
    EK_TRY(train_steps(t));
    ek_epoch_record record = {.loss = p->loss / (double)p->count,
                              .accuracy = (double)p->correct / (double)p->count,
                              .lr = t->rate,
                              .seconds = p->seconds,
                              .skipped = (double)p->omitted,
                              .moving_loss = EK_MOVING_NONE};
    const double begin = seconds_now();
    EK_TRY(ek_trainer_validate(t, &record));
    record.val_seconds = seconds_now() - begin;
    EK_TRY(ek_progress_finish_epoch(p, &record));
    const int finished = p->epoch - 1, best = best_epoch(t);
    if (t->best && best == finished)
        keep_best(t);
    EK_TRY(tell_epoch(t, finished, best, false));
    const bool due = !t->o.checkpoint_every || p->total % t->o.checkpoint_every == 0 || is_over(t);
    return keep_if(t, due, is_over(t));
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

/* A training that has come to its end is not lost for its statistics. */
static void install(ek_trainer *t)
{
    ek_fit_event event = new_event(t, EK_EVENT_STATISTICS, t->progress.epoch - 1);
    event.step = t->steps;
    event.status = ek_trainer_install(t);
    event.message = ek_error();
    if (event.status && t->o.on_event)
        t->o.on_event(t->o.user, &event);
}

static ek_status train_all(ek_trainer *t)
{
    ek_status status = begin(t);
    const bool begun = !status;
    while (!status && !is_over(t))
        status = train_epoch(t);
    if (status == EK_ERR_STOPPED && begun && t->checkpoints && t->kept != t->progress.total) {
        keep(t);
        return stopped(t);
    }
    const char *newest = status == EK_ERR_NUMERIC && t->checkpoints ? ek_checkpoints_newest(t->checkpoints) : NULL;
    if (newest)
        ek_fail(status, "%s; the last good checkpoint is %s", ek_error(), newest);
    if (status)
        return status;
    if (t->best)
        copy_best(t, true);
    install(t);
    return EK_OK;
}

ek_status ek_fit_check(const ek_fit_options *options)
{
    ek_fit_options filled = options ? *options : (ek_fit_options){.epochs = 0};
    return ek_trainer_fill_options(&filled);
}

ek_status ek_fit(ek_net *net, const ek_dataset *train, const ek_dataset *val, const ek_fit_options *options)
{
    if (!net || !train)
        return ek_fail(EK_ERR_ARGUMENT, "ek_fit: net and train must not be NULL");
    ek_trainer t = {.net = net, .train = train};
    if (options)
        t.o = *options;
    ek_status status = ek_trainer_open(&t, val);
    if (!status)
        status = train_all(&t);
    ek_trainer_close(&t);
    return status;
}
