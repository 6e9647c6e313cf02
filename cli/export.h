/* SPDX-License-Identifier: MIT
 * What the targets of `evenkeel export` share. A target is a subcommand of its own, with its options and its help, in a
 * file of its own (export_TARGET.c); export.c has their table. */
#ifndef CLI_EXPORT_H
#define CLI_EXPORT_H

#include "cli.h"

int cli_export_c(const cli_command *self, int argc, char **argv);
int cli_export_pytorch(const cli_command *self, int argc, char **argv);
int cli_export_onnx(const cli_command *self, int argc, char **argv);

/* The net that MODEL stands for: a model file; or, where weights do not matter, also a built-in net's name or a file
 * with a net's text. net_name: for weights alone the net they belong to (NULL: none). NULL with a message. */
ek_net *cli_export_open(const cli_command *self, const char *model, const char *net_name, bool weights_matter);

/* Writes a text: to the file `path`, the old one or the new one whole, or to
 * standard output where that is NULL or "-". CLI_DONE, or CLI_FAILED with a message. */
int cli_export_write(const cli_command *self, const char *path, const char *text, size_t size);

#endif
