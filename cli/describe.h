/* SPDX-License-Identifier: MIT
 * What the tables of commands and options say to others than a person at a prompt: candidates for a shell's completion
 * (complete.c), pages of the manual (manual.c). Both have a command parse nothing: cli_parse hands its table to them,
 * and the command ends as after --help. So neither can drift from what is parsed. */
#ifndef DESCRIBE_H
#define DESCRIBE_H

#include "cli.h"

typedef enum cli_asked {
    ASKED_WORK = 0,   /* the command itself */
    ASKED_COMPLETION, /* evenkeel --complete WORD... */
    ASKED_MANUAL      /* evenkeel --manual [COMMAND] */
} cli_asked;

extern cli_asked cli_is_asked;

/* The option that `word` of `length` letters, "--name" or "-o", is; NULL for none. */
const cli_option *cli_find_option(const cli_option *options, const char *word, size_t length);

bool cli_is_operand(const cli_option *option);

/* Candidates for the last of the words, a line each: "CANDIDATE<tab>what it is"; a line that begins with a tab asks the
 * shell for files or folders of its own: "<tab>files<tab>WHAT STANDS BEFORE THEM", or "<tab>folders<tab>...". Words
 * that do not begin as the last one does are for the shell to leave out. `before` stands before the commands' names in
 * the word. */
int cli_complete_options(const cli_option *options, int argc, char **argv);
int cli_complete_commands(const char *before, const cli_command *commands);
void cli_candidate(const char *word, const char *what);

/* The page of a command in mdoc (mandoc's mdoc(7)), from .Dt on: what the tables say. The build adds date and sections
 * of docs/man. Of a command with commands of its own one page tells of all. */
int cli_manual_options(const cli_command *self, const cli_option *options);
int cli_manual(const cli_command *commands, int argc, char **argv);

#endif
