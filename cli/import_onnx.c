/* SPDX-License-Identifier: MIT
 * ONNX files for `evenkeel import`: what the graph does not say of the classes and the pixels. */
#include "import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS_MAX = 1 << 20 };

/* The classes in words, one a line, as many as the net has outputs. */
static int read_labels(const cli_command *self, const char *path, ek_net *net)
{
    ek_layer_info output;
    if (!path)
        return CLI_GO;
    FILE *file = fopen(path, "r");
    if (!file)
        return cli_fail(self, "%s: cannot be opened: %s", path, strerror(errno));
    char *text = calloc(1, LABELS_MAX + 1);
    size_t size = text ? fread(text, 1, LABELS_MAX + 1, file) : 0;
    const bool broken = !text || ferror(file) || size > LABELS_MAX || memchr(text, 0, size);
    fclose(file);
    if (broken) {
        free(text);
        return cli_fail(self, "%s: cannot be read, longer than 1 MiB, or no text", path);
    }
    size_t kept = 0;
    for (size_t i = 0; i < size; i++) /* lines of other systems end with both */
        if (text[i] != '\r')
            text[kept++] = text[i];
    while (kept > 0 && text[kept - 1] == '\n')
        kept--;
    text[kept] = 0;
    int lines = kept > 0;
    for (size_t i = 0; i < kept; i++)
        lines += text[i] == '\n';
    int status = CLI_GO;
    if (cli_net_output(net, &output))
        status = cli_fail(self, "%s", ek_error());
    else if (lines != output.c)
        status =
            cli_fail(self, "%s: it names %d classes, a line each, and the net has %d outputs", path, lines, output.c);
    else if (ek_net_set_note(net, "labels", text))
        status = cli_fail(self, "%s", ek_error());
    free(text);
    return status;
}

static int normalize(const cli_command *self, const char *file, const char *how, ek_net *net)
{
    bool has = false;
    if (!how)
        return CLI_GO;
    if (!strcmp(how, "data"))
        return cli_usage(self, "--normalize: there is no data to measure; give means and deviations as M,M,M/S,S,S");
    if (ek_net_normalization(net, &has, NULL, NULL))
        return cli_fail(self, "%s", ek_error());
    if (has)
        return cli_fail(self, "--normalize: the graph of %s normalises its input itself", file);
    return cli_normalize(self, how, NULL, net);
}

int cli_onnx_load(const cli_command *self, const char *file, const cli_onnx *onnx, const ek_dataset_info *shape,
                  ek_net **net, char **report)
{
    const ek_import_onnx_options options = {.channels = shape->channels,
                                            .height = shape->height,
                                            .width = shape->width,
                                            .output = onnx->output,
                                            .bytes = onnx->bytes,
                                            .ignore_properties = onnx->graph_alone,
                                            .report = report};
    if (ek_import_onnx(net, file, &options))
        return cli_fail(self, "%s", ek_error());
    const int status = normalize(self, file, onnx->normalize, *net);
    return status == CLI_GO ? read_labels(self, onnx->labels, *net) : status;
}
