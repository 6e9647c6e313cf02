/* SPDX-License-Identifier: MIT
 * evenkeel export --to onnx: a model as an ONNX file, proved before it is there. */
#include "export.h"

#include <stdlib.h>
#include <string.h>

typedef struct onnx {
    const char *model, *out, *batch, *data, *split;
    cli_data_options images;
    ek_onnx_options o;
    ek_onnx_report report;
    ek_net *net;
    ek_dataset *dataset;
    const char *name; /* of the data */
} onnx;

static int read_batch(const cli_command *self, onnx *x)
{
    char rest;
    if (!x->batch || !strcmp(x->batch, "dynamic"))
        return CLI_GO;
    if (strspn(x->batch, "0123456789") == strlen(x->batch) && sscanf(x->batch, "%9d%c", &x->o.batch, &rest) == 1 &&
        x->o.batch >= 1)
        return CLI_GO;
    return cli_usage(self, "--batch: '%s' is neither dynamic nor a number of samples from 1", x->batch);
}

static int open_data(const cli_command *self, onnx *x)
{
    const ek_split split = strcmp(x->split, "train") ? EK_SPLIT_TEST : EK_SPLIT_TRAIN;
    cli_model_data of = {.net = x->net, .model = x->model, .name = x->data, .images = x->images};
    const int status = cli_model_data_proof(self, &of, split, false, &x->dataset);
    x->name = of.name;
    x->o.samples = x->dataset;
    return status;
}

static void print_report(const onnx *x)
{
    const ek_onnx_report *r = &x->report;
    printf("opset %d", r->opset);
    if (r->folded)
        printf(", %d batch norm%s folded", r->folded, r->folded == 1 ? "" : "s");
    if (r->kept)
        printf(", %d batch norm%s", r->kept, r->kept == 1 ? " is a node" : "s are nodes");
    printf(", %jd bytes\nread back, on %jd ", (intmax_t)r->bytes, (intmax_t)r->samples);
    if (x->dataset) {
        fputs("images of ", stdout);
        cli_put_text(x->name);
    } else {
        fputs("random images", stdout);
    }
    printf(": largest difference %.2g, %.2g of the largest output; ", r->difference,
           r->scale > 0 ? r->difference / r->scale : 0.0);
    if (r->changed)
        printf("%jd get%s another label\n", (intmax_t)r->changed, r->changed == 1 ? "s" : "");
    else
        puts("no label changes");
    cli_put_saved(x->out);
}

static int export(const cli_command *self, onnx *x)
{
    x->net = cli_export_open(self, x->model, NULL, true);
    if (!x->net)
        return CLI_FAILED;
    const int status = open_data(self, x);
    if (status != CLI_GO)
        return status;
    x->o.report = &x->report;
    cli_signals_hold();
    const ek_status exported = ek_export_onnx(x->net, x->out, &x->o);
    cli_signals_release();
    if (exported)
        return cli_fail(self, "%s", ek_error());
    print_report(x);
    return CLI_DONE;
}

int cli_export_onnx(const cli_command *self, int argc, char **argv)
{
    onnx x = {.split = "test", .o.threads = ek_cpu_count()};
    const cli_option options[] = {
        {"MODEL", .text = &x.model, .required = true, .help = "a file that 'evenkeel train --out' wrote"},
        {"--out", .letter = 'o', .value = "FILE", .text = &x.out, .required = true,
         .help = "write the ONNX file here"},
        {"--keep-batchnorm", .flag = &x.o.keep_batchnorm,
         .help = "batch norms stay nodes (they are folded into the weights before them)"},
        {"--batch", .value = "N|dynamic", .text = &x.batch, .help = "samples of a batch (dynamic: any number)"},
        {"--opset", .value = "N", .integer = &x.o.opset, .low = 11, .high = 22,
         .help = "version of the operators (17)"},
        {"--data", .value = "NAME|DIR", .text = &x.data,
         .help = "prove it on these images (those it was trained on, where they are found, or random ones)"},
        {"--split", .value = "train|test", .text = &x.split, .help = "which of them (test)"},
        {"--samples", .value = "N", .count = &x.o.sample_count, .low = 1, .high = 1e9,
         .help = "how many, evenly spread (256; of random ones 64)"},
        CLI_DATA_ROWS(x.images),
        {"--budget", .value = "X", .number = &x.o.budget, .low = 0, .high = 1,
         .help = "refuse a difference above this share of the largest output (1e-5)"},
        {"--threads", .value = "N", .integer = &x.o.threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "of the proof (all processors)"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO && strcmp(x.split, "train") != 0 && strcmp(x.split, "test") != 0)
        status = cli_usage(self, "--split: '%s' is neither train nor test", x.split);
    if (status == CLI_GO)
        status = read_batch(self, &x);
    if (status == CLI_GO)
        status = cli_check_files(
            self, (const cli_file[]){{"MODEL", x.model, false}, {"--out", x.out, true}, {.called = NULL}});
    if (status != CLI_GO)
        return status;
    status = export(self, &x);
    ek_dataset_free(x.dataset);
    ek_net_free(x.net);
    return cli_finish(self, status);
}
