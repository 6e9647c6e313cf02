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

#endif
