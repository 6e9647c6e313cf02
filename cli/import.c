/* SPDX-License-Identifier: MIT
 * evenkeel import: a model from what other programs wrote. */
#include "import.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct imported {
    const char *out, *input, *labels, *normalize;
    cli_weights weights;
    cli_onnx onnx;
    char *report;          /* of an ONNX file */
    ek_dataset_info shape; /* --input and --classes; 0: the net's own */
    ek_net *net;
} imported;

/* "3x32x32" */
static int read_shape(const cli_command *self, imported *in)
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

static bool is_onnx(const char *file)
{
    const size_t length = strlen(file);
    return length >= 5 && !strcasecmp(file + length - 5, ".onnx");
}

/* Options are of one kind of file. */
static int check_options(const cli_command *self, const imported *in)
{
    const cli_weights *w = &in->weights;
    const cli_onnx *o = &in->onnx;
    const bool of_weights = w->net || w->renames.count || w->leave.count || in->shape.classes;
    const bool of_onnx = o->bytes || o->output || o->graph_alone;
    if (is_onnx(w->file))
        return of_weights
                   ? cli_usage(self, "--net, --classes, --rename and --leave are for weights; an ONNX file has "
                                     "its net")
                   : CLI_GO;
    if (of_onnx)
        return cli_usage(self, "--bytes, --output and --graph-alone are for ONNX files, whose names end in .onnx");
    return w->net ? CLI_GO
                  : cli_usage(self, "--net is missing: weights belong to a net (an ONNX file's name ends in .onnx)");
}

static int load(const cli_command *self, imported *in)
{
    if (is_onnx(in->weights.file))
        return cli_onnx_load(self, in->weights.file, &in->onnx, &in->shape, &in->net, &in->report);
    in->net = cli_net_open(self, in->weights.net, &in->shape);
    return in->net ? cli_weights_load(self, in->net, &in->weights) : CLI_FAILED;
}

/* What a file does not say of the pixels: weights never, a graph unless it normalises them itself. */
static int normalize(const cli_command *self, imported *in)
{
    bool has = false;
    if (!in->normalize)
        return CLI_GO;
    if (!strcmp(in->normalize, "data"))
        return cli_usage(self, "--normalize: there is no data to measure; give means and deviations as M,M,M/S,S,S");
    if (ek_net_normalization(in->net, &has, NULL, NULL))
        return cli_fail(self, "%s", ek_error());
    if (has && is_onnx(in->weights.file))
        return cli_fail(self, "--normalize: the graph of %s normalises its input itself", in->weights.file);
    return cli_normalize(self, in->normalize, NULL, in->net);
}

/* Nor of the classes. */
static int set_labels(const cli_command *self, imported *in)
{
    char *text = in->labels ? cli_labels_read(self, in->labels, in->net) : NULL;
    const bool failed = text && ek_net_set_note(in->net, "labels", text);
    free(text);
    return failed ? cli_fail(self, "%s", ek_error()) : in->labels && !text ? CLI_FAILED : CLI_GO;
}

static int import_file(const cli_command *self, imported *in)
{
    int status = load(self, in);
    if (status == CLI_GO)
        status = normalize(self, in);
    if (status == CLI_GO)
        status = set_labels(self, in);
    if (status != CLI_GO)
        return status;
    cli_signals_hold();
    const ek_status saved = ek_net_save(in->net, in->out);
    cli_signals_release();
    if (saved)
        return cli_fail(self, "%s", ek_error());
    if (in->report)
        cli_net_print(in->net);
    for (char *line = in->report, *end; line && *line; line = end + 1) { /* each ends with a newline */
        end = strchr(line, '\n');
        if (line == in->report)
            putchar('\n');
        cli_put(line, (size_t)(end - line));
        putchar('\n');
    }
    fputs("saved ", stdout);
    cli_put_text(in->out);
    putchar('\n');
    return CLI_DONE;
}

int cli_import(const cli_command *self, int argc, char **argv)
{
    imported in = {.out = NULL};
    const cli_option options[] = {
        {"FILE", .text = &in.weights.file, .required = true,
         .help = "FILE.onnx; or weights: a safetensors file, PyTorch's state_dict"},
        {"--out", .letter = 'o', .value = "MODEL", .text = &in.out, .required = true,
         .help = "the model file to write"},
        {"--net", .value = "NAME|FILE", .text = &in.weights.net, .help = "weights: the net they belong to"},
        {"--input", .value = "CxHxW", .text = &in.input,
         .help = "for images of this shape (the built-in net's own, the ONNX file's)"},
        {"--classes", .value = "N", .integer = &in.shape.classes, .low = 1, .high = 65536,
         .help = "weights: so many classes (the built-in net's own)"},
        {"--labels", .value = "FILE", .text = &in.labels, .help = "names of the classes, one a line (none)"},
        {"--normalize", .value = "M,M,M/S,S,S", .text = &in.normalize,
         .help = "means and deviations that pixels were normalised with before (none)"},
        CLI_WEIGHTS_ROWS(in.weights),
        CLI_ONNX_ROWS(in.onnx),
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO)
        status = read_shape(self, &in);
    if (status == CLI_GO)
        status = check_options(self, &in);
    if (status == CLI_GO)
        status = cli_check_files(self, (const cli_file[]){{"FILE", in.weights.file, false},
                                                          {"--net", cli_net_file(in.weights.net), false},
                                                          {"--labels", in.labels, false},
                                                          {"--out", in.out, true},
                                                          {.called = NULL}});
    if (status != CLI_GO)
        return status;
    status = import_file(self, &in);
    free(in.report);
    ek_net_free(in.net);
    return cli_finish(self, status);
}
