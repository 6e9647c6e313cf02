/* SPDX-License-Identifier: MIT
 * evenkeel net: the nets that are built in, and what a net consists of. */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- list ----------------------------------------------------------------------------------------------------- */

static int list(const cli_command *self, int argc, char **argv)
{
    const cli_option options[] = {{.name = NULL}};
    const int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    for (int i = 0; ek_net_builtin_name(i); i++)
        printf("%-18s  %s\n", ek_net_builtin_name(i), ek_net_builtin_text(i));
    return cli_finish(self, CLI_DONE);
}

/* ---- show ----------------------------------------------------------------------------------------------------- */

typedef struct shown {
    const char *name, *input;
    int classes, batch_size, micro_batch, threads;
    bool json, plan, text;
    ek_net *net;
    int64_t parameters, macs, training, prediction; /* the last two in bytes */
} shown;

/* "3x32x32" into the shape of `data`; the exit status CLI_USAGE where it is none. */
static int read_input(const cli_command *self, const shown *s, ek_dataset_info *data)
{
    int end = 0;
    *data = (ek_dataset_info){.classes = s->classes};
    if (!s->input)
        return CLI_GO;
    if (sscanf(s->input, "%5dx%5dx%5d%n", &data->channels, &data->height, &data->width, &end) == 3 &&
        !s->input[end] && data->channels > 0 && data->height > 0 && data->width > 0)
        return CLI_GO;
    return cli_usage(self, "--input: '%s' is no shape; write CHANNELSxHEIGHTxWIDTH, as in 3x32x32", s->input);
}

static int measure(const cli_command *self, shown *s)
{
    ek_layer_info layer;
    for (int i = 0; i < ek_net_layer_count(s->net); i++)
        if (!ek_net_layer(s->net, i, &layer)) {
            s->parameters += layer.parameters;
            s->macs += layer.macs;
        }
    if (ek_net_memory(s->net, EK_TRAINING, s->batch_size, s->micro_batch, s->threads, &s->training) ||
        ek_net_memory(s->net, EK_PREDICTION, s->batch_size, 0, s->threads, &s->prediction))
        return cli_fail(self, "%s", ek_error());
    return CLI_GO;
}

static double mib(int64_t bytes)
{
    return (double)bytes / (1024.0 * 1024.0);
}

static void print_memory(const shown *s)
{
    printf("\nmemory beside the %.1f MiB of the net: training in batches of %d", mib(4 * s->parameters),
           s->batch_size);
    if (s->micro_batch)
        printf(", %d at a time,", s->micro_batch);
    printf(" %.1f MiB, prediction %.1f MiB (%d thread%s)\n", mib(s->training), mib(s->prediction), s->threads,
           s->threads == 1 ? "" : "s");
}

static void print_json(const shown *s)
{
    ek_layer_info layer;
    printf("{\"net\": ");
    cli_json_string(s->name);
    printf(",\n \"parameters\": %jd,\n \"multiply_adds\": %jd,\n \"batch_size\": %d,\n"
           " \"micro_batch\": %d,\n \"threads\": %d,\n"
           " \"training_bytes\": %jd,\n \"prediction_bytes\": %jd,\n \"layers\": [",
           (intmax_t)s->parameters, (intmax_t)s->macs, s->batch_size, s->micro_batch, s->threads,
           (intmax_t)s->training, (intmax_t)s->prediction);
    for (int i = 0; i < ek_net_layer_count(s->net); i++) {
        if (ek_net_layer(s->net, i, &layer))
            continue;
        printf("%s\n  {\"path\": \"%s\", \"depth\": %d, \"kind\": \"%s\", \"text\": ", i ? "," : "", layer.path,
               layer.depth, layer.kind);
        cli_json_string(layer.text);
        printf(layer.h ? ", \"output\": [%d, %d, %d]" : ", \"output\": [%d]", layer.c, layer.h, layer.w);
        printf(", \"parameters\": %jd, \"multiply_adds\": %jd, \"bias_without_gradient\": %s}",
               (intmax_t)layer.parameters, (intmax_t)layer.macs, layer.bias_without_gradient ? "true" : "false");
    }
    printf("]}\n");
}

static int print_plans(const cli_command *self, const shown *s)
{
    char *training = ek_net_plan_text(s->net, EK_TRAINING, s->batch_size, s->micro_batch);
    char *prediction = training ? ek_net_plan_text(s->net, EK_PREDICTION, s->batch_size, 0) : NULL;
    const int status = prediction ? CLI_DONE : cli_fail(self, "%s", ek_error());
    if (prediction)
        printf("\ntraining, batches of %d\n%s\nprediction, batches of %d\n%s", s->batch_size, training, s->batch_size,
               prediction);
    free(training);
    free(prediction);
    return status;
}

static int print_net(const cli_command *self, shown *s)
{
    if (s->text) {
        char *text = ek_net_text(s->net);
        if (!text)
            return cli_fail(self, "%s", ek_error());
        fputs(text, stdout);
        free(text);
        return CLI_DONE;
    }
    const int status = measure(self, s);
    if (status != CLI_GO)
        return status;
    if (s->json)
        print_json(s);
    else {
        cli_net_print(s->net);
        print_memory(s);
    }
    return s->plan ? print_plans(self, s) : CLI_DONE;
}

static int show(const cli_command *self, int argc, char **argv)
{
    shown s = {.batch_size = 128, .threads = ek_cpu_count()};
    ek_dataset_info data;
    const cli_option options[] = {
        {"NAME|FILE", .text = &s.name, .required = true, .help = "a built-in net, a net as text, or a model file"},
        {"--input", .value = "CxHxW", .text = &s.input, .help = "images of this shape (the built-in net's own)"},
        {"--classes", .value = "N", .integer = &s.classes, .low = 1, .high = 65536,
         .help = "so many classes (the built-in net's own)"},
        {"--batch-size", .value = "N", .integer = &s.batch_size, .low = 1, .high = CLI_COUNT_MAX,
         .help = "memory and plan for batches of N (128)"},
        {"--micro-batch", .value = "M", .integer = &s.micro_batch, .low = 1, .high = CLI_COUNT_MAX,
         .help = "of training's batches M at a time, as train --micro-batch does (all)"},
        {"--threads", .value = "N", .integer = &s.threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "memory for so many (all processors)"},
        {"--plan", .flag = &s.plan, .help = "the steps that batches are compiled to, as well"},
        {"--text", .flag = &s.text, .help = "the net's text instead, repeats written out"},
        {"--json", .flag = &s.json, .help = "print JSON"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO)
        status = read_input(self, &s, &data);
    if (status != CLI_GO)
        return status;
    if (s.json + s.plan + s.text > 1)
        return cli_usage(self, "--plan, --text and --json do not go together");
    struct stat file;
    const bool is_model = cli_net_file(s.name) && !stat(s.name, &file) && S_ISREG(file.st_mode) &&
                          file.st_size >= 8 && !cli_is_text(s.name);
    s.net = is_model ? cli_model_open(self, s.name, NULL, NULL) : cli_net_open(self, s.name, &data);
    if (!s.net)
        return CLI_FAILED;
    status = print_net(self, &s);
    ek_net_free(s.net);
    return cli_finish(self, status);
}

/* ---- Both ----------------------------------------------------------------------------------------------------- */

const cli_command cli_net_commands[] = {
    {.name = "net list",
     .summary = "the nets that are built in",
     .text = "Lists the nets that are built in.\n",
     .example = "  evenkeel net list\n",
     .run = list},
    {.name = "net show",
     .summary = "layers of a net: output, parameters, multiply-adds; memory; the plan",
     .text = "Shows a net's layers with their outputs, parameters and multiply-adds, the memory that training and\n"
             "prediction take, and which biases a batch norm makes idle.\n",
     .example = "  evenkeel net show resnet-20 --input 1x28x28\n",
     .run = show},
    {.name = NULL},
};
