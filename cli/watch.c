/* SPDX-License-Identifier: MIT
 * A training watched: what the trainer's events tell goes to the screen and into the log. */
#define _GNU_SOURCE
#include "train.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- The screen ----------------------------------------------------------------------------------------------- */

static double images_per_second(const cli_training *t, const ek_fit_event *event)
{
    const double images = event->kind == EK_EVENT_EPOCH
                              ? (double)t->train_info.count
                              : (double)t->train_info.count * (double)event->step / (double)event->steps;
    return event->seconds > 0 ? images / event->seconds : 0;
}

static void show_step(cli_training *t, const ek_fit_event *event)
{
    char text[256];
    if (t->live)
        cli_live_step(t->live, event);
    if (t->live || event->kind == EK_EVENT_SKIPPED || !cli_progress_due(&t->progress))
        return;
    const cli_status status = {.epoch = event->epoch,
                               .epochs = event->epochs,
                               .share = (double)event->step / (double)event->steps,
                               .loss = event->loss,
                               .images_per_second = images_per_second(t, event),
                               .left = -1};
    cli_status_text(&status, false, (int)sizeof text, text, sizeof text);
    cli_progress_show(&t->progress, "%s", text);
}

static void show_epoch(cli_training *t, const ek_fit_event *event)
{
    char line[128];
    cli_progress_clear(&t->progress);
    if (t->set->quiet)
        return;
    snprintf(line, sizeof line, "%5d  %10.4f  %9.4f  %8.4f  %7.4f  %7.2f  %8.0f\n", event->epoch, event->loss,
             event->accuracy, event->val_loss, event->val_accuracy, event->seconds, images_per_second(t, event));
    if (t->live) {
        cli_live_epoch(t->live, event, line);
        return;
    }
    fputs(line, stdout);
    t->output_failed = !cli_flush();
}

void cli_watch_warn(cli_training *t, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cli_progress_clear(&t->progress);
    if (t->live)
        cli_live_pause(t->live);
    cli_warn(t->self, "%s", text);
}

/* ---- Points ---------------------------------------------------------------------------------------------------- */

static bool makes_point(const cli_training *t, const ek_fit_event *event, int64_t step)
{
    const int every = t->set->log_every;
    return every > 0 && (step % every == 0 || event->step == event->steps);
}

/* The step's part in the sums: of one that was left out none. */
static void add_step(cli_training *t, const ek_fit_event *event)
{
    cli_point *open = &t->open;
    open->step++;
    if (event->step == 1) {
        open->samples = 0;
        open->loss = open->accuracy = t->open_seconds = 0;
    }
    if (event->kind == EK_EVENT_SKIPPED)
        return;
    open->samples += event->batch_size;
    open->loss += event->loss * event->batch_size;
    open->accuracy += event->accuracy * event->batch_size;
}

static void take_step(cli_training *t, const ek_fit_event *event)
{
    cli_point *open = &t->open;
    add_step(t, event);
    if (!makes_point(t, event, open->step) || open->samples == 0)
        return;
    const double samples = (double)open->samples, seconds = event->seconds - t->open_seconds;
    const cli_point point = {.event = event,
                             .step = open->step,
                             .seconds = cli_now() - t->since,
                             .samples = open->samples,
                             .loss = open->loss / samples,
                             .accuracy = open->accuracy / samples,
                             .images_per_second = seconds > 0 ? samples / seconds : 0};
    cli_log_step(t, &point);
    cli_board_step(t, &point);
    *open = (cli_point){.step = open->step};
    t->open_seconds = event->seconds;
}

static void take_epoch(cli_training *t, const ek_fit_event *event)
{
    if (!t->set->keep_best || event->best_epoch == event->epoch)
        t->last = *event;
    t->epochs = event->epoch;
    t->skipped += event->skipped;
    cli_report_epoch(t, event);
    if (event->again) /* which the run before has written down */
        return;
    const cli_point point = {.event = event,
                             .step = t->open.step,
                             .seconds = cli_now() - t->since,
                             .samples = t->train_info.count,
                             .loss = event->loss,
                             .accuracy = event->accuracy,
                             .images_per_second = images_per_second(t, event)};
    cli_log_epoch(t, &point);
    cli_board_epoch(t, &point);
}

static void take_skipped(cli_training *t, const ek_fit_event *event)
{
    cli_log_skipped(t, event);
    cli_watch_warn(t, "%s; the step is left out (%d in a row; %d may be)", event->message, event->skipped,
                   t->set->max_skipped);
    take_step(t, event);
}

/* ---- Checkpoints ----------------------------------------------------------------------------------------------- */

static void take_checkpoint(cli_training *t, const ek_fit_event *event)
{
    free(t->not_kept);
    t->not_kept = event->status ? strdup(event->message) : NULL;
    if (event->status) {
        cli_watch_warn(t, "no checkpoint: %s; training goes on", event->message);
        return;
    }
    free(t->kept);
    t->kept = strdup(event->path);
}

static void take_resume(cli_training *t, const ek_fit_event *event)
{
    free(t->kept);
    t->kept = strdup(event->path);
    t->open = (cli_point){.step = event->total_steps};
    t->open_seconds = event->seconds;
    cli_log_resume(t, event);
    cli_board_start(t, event->total_steps);
    if (t->set->quiet)
        return;
    char line[64];
    cli_progress_clear(&t->progress);
    if (t->live)
        cli_live_pause(t->live);
    fputs("going on from ", stdout);
    cli_put_text(event->path);
    snprintf(line, sizeof line, ": epoch %d, %jd of its %jd steps done\n", event->epoch, (intmax_t)event->step,
             (intmax_t)event->steps);
    fputs(event->epoch > event->epochs ? ": all epochs done\n" : line, stdout);
    t->output_failed = !cli_flush();
}

static void take_statistics(cli_training *t, const ek_fit_event *event)
{
    cli_watch_warn(t, "%s; the model has %s statistics", event->message,
                   ek_net_note(t->net, "statistics") ? "the last validation's" : "its moving");
}

/* ---- From the beginning to the end ---------------------------------------------------------------------------- */

int cli_watch_open(cli_training *t)
{
    int status = cli_report_open(t);
    if (status == CLI_GO)
        status = cli_log_open(t);
    return status == CLI_GO ? cli_board_open(t) : status;
}

void cli_watch_begin(cli_training *t)
{
    t->since = cli_now();
    cli_log_start(t);
    if (!t->set->resume) /* else where the checkpoint is known */
        cli_board_start(t, 0);
    if (!t->set->quiet)
        t->live = cli_live_new(t->set->drawing, t->set->epochs, t->train_info.count);
    if (!t->set->quiet && !t->live)
        cli_progress_begin(&t->progress);
    cli_interrupt_begin(t->live ? cli_live_terminal(t->live) : -1);
}

/* A broken standard output ends a training of which nothing would be left; a model that is to be saved, or a folder of
 * checkpoints, is worth more than its table. */
bool cli_watch_event(cli_training *t, const ek_fit_event *event)
{
    switch (event->kind) {
    case EK_EVENT_STEP:
        take_step(t, event);
        show_step(t, event);
        break;
    case EK_EVENT_SKIPPED:
        take_skipped(t, event);
        show_step(t, event);
        break;
    case EK_EVENT_EPOCH:
        take_epoch(t, event);
        show_epoch(t, event);
        break;
    case EK_EVENT_CHECKPOINT:
        take_checkpoint(t, event);
        break;
    case EK_EVENT_BROKEN:
        cli_watch_warn(t, "%s%s", event->message, event->older ? "; trying the checkpoint before it" : "");
        break;
    case EK_EVENT_RESUME:
        take_resume(t, event);
        break;
    case EK_EVENT_STATISTICS:
        take_statistics(t, event);
        break;
    }
    return cli_interrupted() || (t->output_failed && !t->set->out && !cli_checkpoints(t->set));
}

void cli_watch_end(cli_training *t)
{
    cli_progress_clear(&t->progress);
    if (t->live)
        cli_live_end(t->live);
    cli_interrupt_end();
}

void cli_watch_release(cli_training *t)
{
    if (t->live)
        cli_live_close(t->live);
    t->live = NULL;
}

void cli_watch_close(cli_training *t, const char *reason, const char *message)
{
    cli_log_end(t, reason, message);
    cli_board_end(t);
}
