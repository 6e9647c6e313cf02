/* SPDX-License-Identifier: MIT
 * evenkeel import: a model from what other programs wrote. */
#include "import.h"

typedef struct import {
    const char *out, *input;
    cli_weights weights;
    ek_dataset_info shape; /* --input and --classes; 0: the net's own */
    ek_net *net;
} import;

/* "3x32x32" */
static int read_shape(const cli_command *self, import *in)
{
    int end = 0;
    ek_dataset_info *s = &in->shape;
    if (!in->input)
        return CLI_GO;
    if (sscanf(in->input, "%5dx%5dx%5d%n", &s->channels, &s->height, &s->width, &end) == 3 && !in->input[end] &&
        s->channels > 0 && s->height > 0 && s->width > 0)
        return CLI_GO;
    return cli_usage(self, "--input: '%s' is no shape; write CHANNELSxHEIGHTxWIDTH, as in 3x32x32", in->input);
}

static int import_file(const cli_command *self, import *in)
{
    in->net = cli_net_open(self, in->weights.net, &in->shape);
    if (!in->net)
        return CLI_FAILED;
    const int status = cli_weights_load(self, in->net, &in->weights);
    if (status != CLI_GO)
        return status;
    if (ek_net_save(in->net, in->out))
        return cli_fail(self, "%s", ek_error());
    fputs("saved ", stdout);
    cli_put_text(in->out);
    putchar('\n');
    return CLI_DONE;
}

int cli_import(const cli_command *self, int argc, char **argv)
{
import in = {.out = NULL };
    const cli_option options[] = {
        {"FILE", .text = &in.weights.file, .required = true,
         .help = "weights: a safetensors file, PyTorch's state_dict"},
        {"--out", .letter = 'o', .value = "MODEL", .text = &in.out, .required = true,
         .help = "the model file to write"},
        {"--net", .value = "NAME|FILE", .text = &in.weights.net, .required = true,
         .help = "weights: the net they belong to"},
        {"--input", .value = "CxHxW", .text = &in.input, .help = "for images of this shape (the built-in net's own)"},
        {"--classes", .value = "N", .integer = &in.shape.classes, .low = 1, .high = 65536,
         .help = "so many classes (the built-in net's own)"},
        CLI_WEIGHTS_ROWS(in.weights),
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO)
        status = read_shape(self, &in);
    if (status != CLI_GO)
        return status;
    status = import_file(self, &in);
    ek_net_free(in.net);
    return cli_finish(self, status);
}
