/* SPDX-License-Identifier: MIT
 * evenkeel export --to c: a model as C text without dependencies, in 8-bit integers. */
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
    ek_quantized_size size;
} exporting;

/* The images that the model was trained on, and those that it was validated on, which may have been a part of them. */
static int open_data(const cli_command *self, exporting *e)
{
    const char *share = ek_net_note(e->net, "data.val_split"), *seed = ek_net_note(e->net, "train.seed");
    cli_data_like(&e->images, e->net, e->model);
    int status = cli_data_open(self, &e->train, e->data, EK_SPLIT_TRAIN, &e->images);
    if (status != CLI_GO)
        return status;
    if (!share) {
        cli_data_options test = e->images;
        test.may_lack = true;
        return cli_data_open(self, &e->val, e->data, EK_SPLIT_TEST, &test);
    }
    ek_dataset *whole = e->train;
    e->train = NULL;
    if (ek_dataset_split(whole, strtod(share, NULL), seed ? strtoull(seed, NULL, 10) : 0, &e->train, &e->val))
        status = cli_fail(self, "%s: its note data.val_split is '%s': %s", e->model, share, ek_error());
    ek_dataset_free(whole);
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

static int export(const cli_command *self, exporting *e)
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
    printf("calibrated on %jd training images\n", (intmax_t)info.samples);
    status = measure(self, e);
    if (status != CLI_GO)
        return status;
    cli_signals_hold();
    const ek_status saved = ek_quantized_export_c(e->quantized, e->out, e->val ? e->val : e->train, &e->size);
    cli_signals_release();
    if (saved)
        return cli_fail(self, "%s", ek_error());
    printf("constants %jd bytes, memory %jd bytes beside the image and the outputs\nsaved ",
           (intmax_t)e->size.constants, (intmax_t)e->size.memory);
    cli_put_text(e->out);
    fputs(".c and ", stdout);
    cli_put_text(e->out);
    puts(".h");
    return CLI_DONE;
}

int cli_export_c(const cli_command *self, int argc, char **argv)
{
    exporting e = {.data = CLI_DATA_DEFAULT, .threads = ek_cpu_count()};
    const cli_option options[] = {
        {"MODEL", .text = &e.model, .required = true, .help = "a file that 'evenkeel train --out' wrote"},
        {"--out", .letter = 'o', .value = "PATH", .text = &e.out, .required = true,
         .help = "write PATH.c and PATH.h; names in them begin with the last part of it"},
        {"--int8", .flag = &e.int8,
         .help = "8-bit weights and activations, calibrated on training images; needed so far"},
        {"--data", .value = "NAME|DIR", .text = &e.data, .help = "data set or folder (fashion-mnist)"},
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
    if (!e.int8)
        return cli_usage(self, "--int8 is missing: C text is in 8-bit integers, and they are asked for by name");
    status = export(self, &e);
    ek_quantized_free(e.quantized);
    ek_dataset_free(e.train);
    ek_dataset_free(e.val);
    ek_net_free(e.net);
    return cli_finish(self, status);
}
