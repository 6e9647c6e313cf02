/* SPDX-License-Identifier: MIT
 * What `evenkeel import` reads: a kind of file in a file of its own. */
#ifndef CLI_IMPORT_H
#define CLI_IMPORT_H

#include "cli.h"

/* Weights alone, and the net they belong to. */
typedef struct cli_weights {
    const char *file, *net; /* net: as --net everywhere */
    cli_values renames, leave;
} cli_weights;

/* Rows of a table of options that fill the last two. */
/* clang-format off */
#define CLI_WEIGHTS_ROWS(o)                                                                                          \
    {"--rename", .value = "FROM=TO", .values = &(o).renames,                                                         \
     .help = "rename tensors of the weights, as module.= or '*.bn1=*.1': docs/pytorch.md; may be repeated"},         \
    {"--leave", .value = "NAME", .values = &(o).leave,                                                               \
     .help = "leave tensors with such names aside, those of the net stay as they start; may be repeated"}
/* clang-format on */

/* Gives `net` the weights of a safetensors file. CLI_GO, or the exit status after a message; tensors that do not fit
 * are listed on standard output then, all of them. */
int cli_weights_load(const cli_command *self, ek_net *net, const cli_weights *weights);

/* An ONNX file: a net with its weights. */
typedef struct cli_onnx {
    const char *output;
    bool bytes, graph_alone;
} cli_onnx;

/* Rows that fill it. */
/* clang-format off */
#define CLI_ONNX_ROWS(o)                                                                                             \
    {"--bytes", .flag = &(o).bytes, .help = "ONNX: the graph takes pixels from 0 to 255 (from 0 to 1)"},             \
    {"--output", .value = "NAME", .text = &(o).output, .help = "ONNX: the output to take, where there are several"}, \
    {"--graph-alone", .flag = &(o).graph_alone,                                                                      \
     .help = "ONNX: leave aside what the file says of an Evenkeel net beside its graph"}
/* clang-format on */

/* Reads the file as a net: *net, and lines about it for free(). `shape`: the input's
 * where the file leaves it open. CLI_GO, or the exit status after a message. */
int cli_onnx_load(const cli_command *self, const char *file, const cli_onnx *onnx, const ek_dataset_info *shape,
                  ek_net **net, char **report);

#endif
