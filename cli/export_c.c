/* SPDX-License-Identifier: MIT
 * evenkeel export --to c: a model as C text without dependencies, in float or in 8-bit integers. */
#include "evaluation.h"
#include "export.h"

#include <stdlib.h>
#include <string.h>

typedef struct exporting {
    const char *model, *data, *out, *net_name;
    cli_data_options images;
    int64_t samples; /* 0: the library's choice */
    int threads;
    bool int8;
    ek_net *net;
    ek_dataset *train, *val; /* val NULL: the data have no test images */
    ek_quantized *quantized;
    ek_export_c_options o;
    ek_export_c_report report;
} exporting;

/* A path that ends in ".c" is taken without it. `tests`: whose images the self-test has, NULL for random ones. */
static void print_written(const exporting *e, const ek_dataset *tests)
{
    printf("constants %jd bytes, memory %jd bytes beside the image and the outputs\nself-test of %d ",
           (intmax_t)e->report.constants, (intmax_t)e->report.memory, e->report.tests);
    fputs(tests ? "images of " : "random images", stdout);
    if (tests)
        cli_put_text(cli_data_name(tests, e->data));
    putchar('\n');
    const size_t length = strlen(e->out), cut = length > 2 && !strcmp(e->out + length - 2, ".c") ? 2 : 0;
    fputs("saved ", stdout);
    cli_put(e->out, length - cut);
    fputs(".c and ", stdout);
    cli_put(e->out, length - cut);
    puts(".h");
}

/* ---- In 8-bit integers ---------------------------------------------------------------------------------------- */

/* The images that the model was trained on, and those that it was validated on. */
static int open_data(const cli_command *self, exporting *e)
{
    cli_model_data of = {.net = e->net, .model = e->model, .name = e->data, .images = e->images};
    int status = cli_model_data_name(self, &of);
    e->data = of.name;
    if (status == CLI_GO)
        status = cli_model_data_both(self, &of, &e->train, &e->val);
    if (status == CLI_GO)
        cli_compare_data(self, e->net, e->model, e->train);
    return status;
}

static void print_metrics(const char *of, const ek_metrics *m)
{
    printf("%s: loss %.4f, accuracy %.4f (%jd of %jd images)\n", of, m->loss, m->accuracy, (intmax_t)m->correct,
           (intmax_t)m->count);
}

/* Accuracy in float and in integers. */
static int measure(const cli_command *self, const exporting *e)
{
    const ek_eval_options options = {.threads = e->threads};
    ek_metrics before, after;
    if (!e->val)
        return CLI_GO;
    if (ek_evaluate(e->net, e->val, &options, &before))
        return cli_fail(self, "%s", ek_error());
    print_metrics("in float", &before);
    cli_flush();
    if (ek_quantized_evaluate(e->quantized, e->val, &options, &after))
        return cli_fail(self, "%s", ek_error());
    print_metrics("in 8-bit integers", &after);
    return CLI_GO;
}

static int export_int8(const cli_command *self, exporting *e)
{
    e->net = cli_export_open(self, e->model, e->net_name, true);
    if (!e->net)
        return CLI_FAILED;
    int status = open_data(self, e);
    if (status != CLI_GO)
        return status;
    const ek_quantize_options options = {.samples = e->samples, .threads = e->threads};
    if (ek_quantize(&e->quantized, e->net, e->train, &options))
        return cli_fail(self, "%s", ek_error());
    ek_quantized_info info;
    ek_quantized_get_info(e->quantized, &info);
    printf("calibrated on %jd training images of ", (intmax_t)info.samples);
    cli_put_text(cli_data_name(e->train, e->data));
    putchar('\n');
    status = measure(self, e);
    if (status != CLI_GO)
        return status;
    e->o.samples = e->val ? e->val : e->train;
    cli_signals_hold();
    const ek_status saved = ek_quantized_export_c(e->quantized, e->out, &e->o);
    cli_signals_release();
    if (saved)
        return cli_fail(self, "%s", ek_error());
    print_written(e, e->o.samples);
    return CLI_DONE;
}

/* ---- In float ------------------------------------------------------------------------------------------------- */

/* The self-test's images: test images, of a set that has none training images. */
static int open_tests(const cli_command *self, exporting *e)
{
    cli_model_data of = {.net = e->net, .model = e->model, .name = e->data, .images = e->images};
    const int status = cli_model_data_proof(self, &of, EK_SPLIT_TEST, true, &e->val);
    e->data = of.name;
    e->o.samples = e->val;
    return status;
}

static int export_float(const cli_command *self, exporting *e)
{
    e->net = cli_export_open(self, e->model, e->net_name, true);
    if (!e->net)
        return CLI_FAILED;
    const int status = open_tests(self, e);
    if (status != CLI_GO)
        return status;
    cli_signals_hold();
    const ek_status exported = ek_export_c(e->net, e->out, &e->o);
    cli_signals_release();
    if (exported)
        return cli_fail(self, "%s", ek_error());
    print_written(e, e->val);
    return CLI_DONE;
}

/* ---- The options ---------------------------------------------------------------------------------------------- */

/* Options that belong to the other kind of numbers. */
static int check(const cli_command *self, exporting *e)
{
    if (!e->int8 && e->samples)
        return cli_usage(self, "--samples are for the calibration of --int8; C in float needs none");
    return CLI_GO;
}

int cli_export_c(const cli_command *self, int argc, char **argv)
{
    exporting e = {.threads = ek_cpu_count()};
    const cli_option options[] = {
        {"MODEL", .text = &e.model, .required = true, .help = "a file that 'evenkeel train --out' wrote"},
        {"--out", .letter = 'o', .value = "PATH", .text = &e.out, .required = true,
         .help = "write PATH.c and PATH.h; names in them begin with the last part of it"},
        {"--int8", .flag = &e.int8, .help = "8-bit weights and activations, calibrated on training images (float)"},
        {"--prefix", .value = "WORD", .text = &e.o.prefix, .help = "what names begin with (PATH's last part)"},
        {"--tests", .value = "N", .integer = &e.o.tests, .low = 1, .high = 1000,
         .help = "images of the self-test (2)"},
        {"--data", .value = "NAME|DIR", .text = &e.data,
         .help = "data set or folder (the model's; in float it is for the self-test alone)"},
        {"--samples", .value = "N", .count = &e.samples, .low = 1, .high = 2147483647,
         .help = "training images to calibrate on, evenly spread (1024)"},
        CLI_DATA_ROWS(e.images),
        {"--net", .value = "NAME|FILE", .text = &e.net_name,
         .help = "for weights alone, as PyTorch saves them: the net they belong to"},
        {"--threads", .value = "N", .integer = &e.threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "the result does not depend on it (all processors)"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    e.o.report = &e.report;
    status = check(self, &e);
    if (status == CLI_GO)
        status = e.int8 ? export_int8(self, &e) : export_float(self, &e);
    ek_quantized_free(e.quantized);
    ek_dataset_free(e.train);
    ek_dataset_free(e.val);
    ek_net_free(e.net);
    return cli_finish(self, status);
}
