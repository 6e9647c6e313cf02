/* SPDX-License-Identifier: MIT
 * train --report: the page of a training, written when it is over, however it ended. */
#define _GNU_SOURCE
#include "page.h"
#include "train.h"

#include <string.h>
#include <time.h>

int cli_report_open(cli_training *t)
{
    const time_t now = time(NULL);
    struct tm utc;
    cli_run *run = &t->run;
    if (!t->set->report)
        return CLI_GO;
    snprintf(run->net, sizeof run->net, "%s", t->set->net);
    snprintf(run->instruction_set, sizeof run->instruction_set, "%s", ek_cpu() ? ek_cpu() : "");
    if (gmtime_r(&now, &utc))
        strftime(run->begun, sizeof run->begun, "%Y-%m-%dT%H:%M:%SZ", &utc);
    run->threads = t->set->threads;
    return cli_probe_output(t->self, t->set->report, 1 << 18);
}

void cli_report_epoch(cli_training *t, const ek_fit_event *event)
{
    const cli_epoch epoch = {.epoch = event->epoch,
                             .value = {[CURVE_TRAIN_LOSS] = event->loss,
                                       [CURVE_VAL_LOSS] = event->val_loss,
                                       [CURVE_VAL_ACCURACY] = event->val_accuracy},
                             .train_accuracy = event->accuracy,
                             .train_seconds = event->seconds,
                             .val_seconds = event->val_seconds,
                             .has_moving = event->has_moving,
                             .moving_loss = event->moving_loss,
                             .moving_accuracy = event->moving_accuracy};
    if (t->set->report)
        (void)!cli_run_add(&t->run, &epoch); /* without memory the curve has a gap */
}

int cli_report_write(cli_training *t, bool done, const char *message)
{
    char notice[1200];
    cli_evaluation e = {.model = done ? t->set->out : NULL,
                        .data = t->set->data,
                        .threads = t->set->threads,
                        .net = t->net,
                        .dataset = t->val,
                        .info = t->val_info};
    if (!t->set->report || (!done && t->open.step == 0 && t->run.epochs == 0))
        return CLI_DONE; /* not one step was made */
    snprintf(notice, sizeof notice, "The training did not come to its end: %s. This is the net as it stood then.",
             message && *message ? message : "it was stopped");
    const char *fault = cli_evaluation_run(&e, true);
    const cli_page page = {.net_name = t->set->net,
                           .result = &e,
                           .fault = fault,
                           .images = t->set->val_split > 0 ? "validation images" : "test images",
                           .notice = done ? NULL : notice,
                           .run = &t->run};
    const int status = cli_page_write(t->self, &page, t->set->report);
    cli_evaluation_clear(&e);
    if (status != CLI_GO)
        return status;
    if (!t->set->quiet)
        cli_put_saved(t->set->report);
    return CLI_DONE;
}
