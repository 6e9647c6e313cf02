/* SPDX-License-Identifier: MIT
 * train --exact-stats, and what is said at the end of a training without it. */
#include "train.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int cli_exact_read(const cli_command *self, cli_settings *set)
{
    char *end;
    if (!set->exact && (set->exact_final || set->exact_compare))
        return cli_usage(self, "--exact-%s is about exact statistics; add --exact-stats",
                         set->exact_final ? "final" : "compare");
    if (!set->exact || !strcmp(set->exact, CLI_EXACT_AUTO))
        return CLI_GO;
    set->exact_samples = INT64_MAX;
    if (!strcmp(set->exact, "all"))
        return CLI_GO;
    errno = 0;
    set->exact_samples = strtoll(set->exact, &end, 10);
    if (set->exact[strspn(set->exact, "0123456789")] || *end || errno || set->exact_samples < 1)
        return cli_usage(self, "--exact-stats: '%s' is neither a number of images from 1 on, nor all nor auto",
                         set->exact);
    return CLI_GO;
}

int64_t cli_exact_samples(const cli_training *t)
{
    const int64_t wanted = t->set->exact_samples ? t->set->exact_samples : ek_exact_samples(t->train);
    return !t->set->exact ? 0 : wanted < t->train_info.count ? wanted : t->train_info.count;
}

void cli_exact_fill(const cli_training *t, ek_fit_options *options)
{
    options->exact_stats = t->set->exact != NULL;
    options->exact_samples = cli_exact_samples(t);
    options->exact_final = t->set->exact_final;
    options->exact_compare = t->set->exact_compare;
}

void cli_exact_note(cli_training *t)
{
    ek_metrics metrics;
    if (!t->set->exact_final)
        return;
    if (ek_evaluate(t->net, t->val, &(ek_eval_options){.threads = t->set->threads}, &metrics)) {
        cli_watch_warn(t, "validation with the statistics of all training images: %s; noted is that of the epoch",
                       ek_error());
        return;
    }
    t->last.val_loss = metrics.loss;
    t->last.val_accuracy = metrics.accuracy;
}

/* No more than a training with exact statistics takes for them. */
static int64_t memory_limit(const cli_training *t)
{
    const cli_settings *set = t->set;
    const int64_t least = (int64_t)64 << 20, most = t->train_info.count;
    const int batch = set->batch_size < most ? set->batch_size : (int)most;
    const int group = set->ghost && set->micro_batch < batch ? set->micro_batch : batch;
    const int micro = !set->ghost && set->micro_batch < batch ? set->micro_batch : 0;
    int64_t step = 0;
    (void)!ek_net_memory(t->net, EK_TRAINING, group, micro, set->threads, &step);
    return step > least ? step : least;
}

/* What cannot be measured is not told. */
void cli_exact_compare(cli_training *t)
{
    const int64_t count = cli_net_copy_moving(t->net, NULL, false);
    if (t->set->exact || t->set->quiet || !count || !cli_flush() || cli_interrupt_saved())
        return;
    float *moving = malloc((size_t)count * sizeof *moving);
    ek_calibrate_report report = {0};
    ek_metrics metrics = {0};
    if (!moving)
        return;
    cli_net_copy_moving(t->net, moving, false);
    cli_progress_begin(&t->progress);
    cli_progress_show(&t->progress, "all is saved; comparing with exact statistics, Ctrl-C skips that");
    const ek_calibrate_options options = {.samples = ek_exact_samples(t->train),
                                          .threads = t->set->threads,
                                          .memory = memory_limit(t),
                                          .report = &report};
    const bool failed = ek_calibrate(t->net, t->train, &options) ||
                        ek_evaluate(t->net, t->val, &(ek_eval_options){.threads = t->set->threads}, &metrics);
    cli_progress_clear(&t->progress);
    cli_net_copy_moving(t->net, moving, true);
    ek_net_set_note(t->net, "statistics", NULL);
    free(moving);
    const double p = t->last.val_accuracy, error = sqrt(p * (1 - p) / (double)t->val_info.count);
    if (failed || !report.layers || !(fabs(metrics.accuracy - p) > error))
        return;
    printf("val acc %.4f with moving, %.4f with exact statistics of %jd images\n", p, metrics.accuracy,
           (intmax_t)report.samples);
    if (metrics.accuracy > p)
        puts("evenkeel calibrate saves the model with those of all training images");
}
