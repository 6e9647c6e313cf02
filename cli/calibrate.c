/* SPDX-License-Identifier: MIT
 * evenkeel calibrate: exact statistics in place of a model's moving ones. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct calibration {
    const char *model, *data, *out, *net_name;
    cli_data_options images;
    int64_t samples; /* 0: all */
    int threads;
    ek_net *net;
    ek_dataset *train, *val; /* val NULL: the data have no test images */
    float *moving;           /* what they were (cli_net_copy_moving) */
    ek_calibrate_report report;
} calibration;

/* ---- Before --------------------------------------------------------------------------------------------------- */

/* The images that the model was trained on, and those that it was validated on. */
static int open_data(const cli_command *self, calibration *c)
{
    cli_model_data of = {.net = c->net, .model = c->model, .name = c->data, .images = c->images};
    const int status = cli_model_data_name(self, &of);
    return status == CLI_GO ? cli_model_data_both(self, &of, &c->train, &c->val) : status;
}

static int open_all(const cli_command *self, calibration *c)
{
    ek_dataset_info info = {0};
    int status = c->net_name ? open_data(self, c) : CLI_GO; /* a built-in net is made for the data */
    if (status != CLI_GO)
        return status;
    if (c->train)
        ek_dataset_get_info(c->train, &info);
    c->net = cli_model_open(self, c->model, c->net_name, &info);
    if (!c->net)
        return CLI_FAILED;
    status = c->train ? CLI_GO : open_data(self, c);
    if (status != CLI_GO)
        return status;
    if (cli_model_data_differs(c->net, c->train))
        cli_warn(self, "%s was trained on other images; its statistics become those of the ones at hand", c->model);
    return CLI_GO;
}

/* ---- Drift ---------------------------------------------------------------------------------------------------- */

static int keep_moving(const cli_command *self, calibration *c)
{
    c->moving = calloc((size_t)cli_net_copy_moving(c->net, NULL, false) + 1, sizeof *c->moving);
    if (!c->moving)
        return cli_fail(self, "out of memory");
    cli_net_copy_moving(c->net, c->moving, false);
    return CLI_GO;
}

/* A line for the norm whose moving mean is tensor `i`, which was `old`; its moving variance is the next. */
static void print_drift(const calibration *c, int i, const float *old)
{
    const ek_tensor *mean = ek_net_tensor(c->net, i), *var = ek_net_tensor(c->net, i + 1);
    ek_layer_info layer;
    double shift = 0, factor = 1;
    int shifted = 0, scaled = 0;
    if (ek_net_layer(c->net, mean->layer, &layer))
        return;
    const double eps = layer.eps;
    for (int k = 0; k < mean->count; k++) {
        const double deviation = sqrt((double)var->data[k] + eps);
        const double d = fabs((double)old[k] - (double)mean->data[k]) / deviation;
        const double f = sqrt((double)old[mean->count + k] + eps) / deviation;
        if (d > shift) {
            shift = d;
            shifted = k;
        }
        if (fabs(log(f)) > fabs(log(factor))) {
            factor = f;
            scaled = k;
        }
    }
    printf("%-20s  %8jd  %10.3f  %7d  %10.3f  %7d\n", layer.path, (intmax_t)mean->count, shift, shifted, factor,
           scaled);
}

static void print_drifts(const calibration *c)
{
    printf("largest drift of the moving mean, in standard deviations, and of the moving deviation, as a factor\n"
           "%-20s  %8s  %10s  %7s  %10s  %7s\n",
           "layer", "channels", "mean", "channel", "deviation", "channel");
    const float *old = c->moving;
    for (int i = 0; i < ek_net_tensor_count(c->net); i++) {
        if (ek_net_tensor(c->net, i)->role != EK_ROLE_MOVING_MEAN)
            continue;
        print_drift(c, i, old);
        old += 2 * ek_net_tensor(c->net, i)->count;
    }
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

/* Where the model tells how right it is, that is what it is now. */
static ek_status note_metrics(ek_net *net, const ek_metrics *m)
{
    char loss[32], accuracy[32];
    if (!ek_net_note(net, "val.accuracy"))
        return EK_OK;
    snprintf(loss, sizeof loss, "%.9g", m->loss);
    snprintf(accuracy, sizeof accuracy, "%.9g", m->accuracy);
    const ek_status status = ek_net_set_note(net, "val.loss", loss);
    return status ? status : ek_net_set_note(net, "val.accuracy", accuracy);
}

/* With the old statistics a loss may be what it is: the new ones are there to cure it. */
static int evaluate(const cli_command *self, calibration *c, const char *when, bool new)
{
    ek_metrics metrics;
    if (!c->val)
        return CLI_GO;
    const ek_status status = ek_evaluate(c->net, c->val, &(ek_eval_options){.threads = c->threads}, &metrics);
    if (status == EK_ERR_NUMERIC && !new) {
        printf("%s: loss -, accuracy - (the net's outputs are NaN or infinite)\n", when);
        return CLI_GO;
    }
    if (status || (new &&note_metrics(c->net, &metrics)))
        return cli_fail(self, "%s", ek_error());
    printf("%s: loss %.4f, accuracy %.4f (%jd of %jd images)\n", when, metrics.loss, metrics.accuracy,
           (intmax_t)metrics.correct, (intmax_t)metrics.count);
    return CLI_GO;
}

static int calibrate(const cli_command *self, calibration *c)
{
    int status = open_all(self, c);
    if (status == CLI_GO)
        status = keep_moving(self, c);
    if (status == CLI_GO)
        status = cli_probe_output(self, c->out, cli_net_file_size(c->net));
    if (status == CLI_GO)
        status = evaluate(
            self, c, ek_net_note(c->net, "statistics") ? "with the saved statistics" : "with the moving statistics",
            false);
    if (status != CLI_GO)
        return status;
    const ek_calibrate_options options = {.samples = c->samples, .threads = c->threads, .report = &c->report};
    if (ek_calibrate(c->net, c->train, &options))
        return cli_fail(self, "%s", ek_error());
    if (!c->report.layers)
        return cli_fail(self,
                        "%s: has no batch norm whose moving statistics may change; there is nothing to calibrate",
                        c->model);
    char when[96];
    snprintf(when, sizeof when, "with exact ones of %jd training images", (intmax_t)c->report.samples);
    status = evaluate(self, c, when, true);
    if (status != CLI_GO)
        return status;
    print_drifts(c);
    cli_signals_hold();
    const ek_status saved = ek_net_save(c->net, c->out);
    cli_signals_release();
    if (saved)
        return cli_fail(self, "%s", ek_error());
    cli_put_saved(c->out);
    return CLI_DONE;
}

int cli_calibrate(const cli_command *self, int argc, char **argv)
{
    calibration c = {.threads = ek_cpu_count()};
    const cli_option options[] = {
        {"MODEL", .text = &c.model, .required = true, .help = "a file that 'evenkeel train --out' wrote"},
        {"--out", .letter = 'o', .value = "FILE", .text = &c.out, .required = true,
         .help = "save the model with exact statistics here"},
        {"--data", .value = "NAME|DIR", .text = &c.data, .help = "data set or folder (the model's)"},
        {"--samples", .value = "N", .count = &c.samples, .low = 1, .high = 2147483647,
         .help = "training images that are measured, chosen at random (all)"},
        CLI_DATA_ROWS(c.images),
        {"--net", .value = "NAME|FILE", .text = &c.net_name,
         .help = "for weights alone, as PyTorch saves them: the net they belong to"},
        {"--threads", .value = "N", .integer = &c.threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "the result does not depend on it (all processors)"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    /* The model itself may be replaced: it stays a model that can be trained on. */
    status = cli_check_files(
        self,
        (const cli_file[]){{"--net", cli_net_file(c.net_name), false}, {"--out", c.out, true}, {.called = NULL}});
    if (status == CLI_GO)
        status = calibrate(self, &c);
    free(c.moving);
    ek_dataset_free(c.train);
    ek_dataset_free(c.val);
    ek_net_free(c.net);
    return cli_finish(self, status);
}
