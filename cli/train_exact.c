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

ek_status cli_exact_note(cli_training *t)
{
    ek_metrics metrics;
    if (!t->set->exact_final)
        return EK_OK;
    const ek_status status = ek_evaluate(t->net, t->val, &(ek_eval_options){.threads = t->set->threads}, &metrics);
    if (!status) {
        t->last.val_loss = metrics.loss;
        t->last.val_accuracy = metrics.accuracy;
    }
    return status;
}

/* Copies the net's moving statistics to `copy`, or back. Their number; 0 for a net without. */
static int64_t copy_moving(ek_net *net, float *copy, bool back)
{
    int64_t count = 0;
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        if (tensor->role != EK_ROLE_MOVING_MEAN && tensor->role != EK_ROLE_MOVING_VAR)
            continue;
        for (int64_t j = 0; copy && j < tensor->count; j++)
            *(back ? &tensor->data[j] : &copy[count + j]) = back ? copy[count + j] : tensor->data[j];
        count += tensor->count;
    }
    return count;
}

/* What cannot be measured is not told. */
void cli_exact_compare(cli_training *t)
{
    const int64_t count = copy_moving(t->net, NULL, false);
    if (t->set->exact || t->set->quiet || !count)
        return;
    float *moving = malloc((size_t)count * sizeof *moving);
    ek_calibrate_report report = {0};
    ek_metrics metrics = {0};
    if (!moving)
        return;
    copy_moving(t->net, moving, false);
    const ek_status status =
        ek_calibrate(t->net, t->train,
                     &(ek_calibrate_options){
                         .samples = ek_exact_samples(t->train), .threads = t->set->threads, .report = &report}) ||
        ek_evaluate(t->net, t->val, &(ek_eval_options){.threads = t->set->threads}, &metrics);
    copy_moving(t->net, moving, true);
    ek_net_set_note(t->net, "statistics", NULL);
    free(moving);
    const double p = t->last.val_accuracy, error = sqrt(p * (1 - p) / (double)t->val_info.count);
    if (status || !report.layers || !(fabs(metrics.accuracy - p) > error))
        return;
    printf("val acc %.4f with moving, %.4f with exact statistics: see --exact-stats\n", p, metrics.accuracy);
}
