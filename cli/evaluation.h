/* SPDX-License-Identifier: MIT
 * A model evaluated on a data set, for the commands that tell of it. */
#ifndef EVALUATION_H
#define EVALUATION_H

#include "cli.h"

/* A confusion matrix is counted for nets of up to so many outputs. */
enum { CLI_OUTPUTS_MAX = 1024 };

typedef struct cli_evaluation {
    const char *model, *split, *net_name; /* as typed; net_name NULL: the model file tells it */
    const char *data;                     /* likewise, or of the model's notes, once it is open */
    const char *share;                    /* of the training images, which stand for test images; NULL: none do */
    cli_data_options images;
    int threads;
    bool proof;    /* without --data, images that are not there or do not fit are no error: there is no dataset */
    bool unfolded; /* batch norms as layers of their own (ek_eval_options) */
    ek_net *net;
    ek_dataset *dataset;
    ek_dataset_info info;
    cli_labels labels; /* the model's own */
    ek_metrics metrics;
    double seconds;     /* that it took */
    int classes;        /* outputs of the net */
    int64_t *confusion; /* [classes, classes]; NULL: too many */
    float *logits;      /* [samples, classes]; NULL: not asked for */
} cli_evaluation;

/* The options that say what is evaluated, as rows of a command's table: from MODEL to --threads. */
/* clang-format off */
#define CLI_EVALUATION_ROWS(e)                                                                                       \
    {"MODEL", .text = &(e).model, .required = true, .help = "a file that 'evenkeel train --out' wrote"},             \
    {"--data", .value = "NAME|DIR", .text = &(e).data, .help = "data set or folder (the model's)"},                  \
    {"--split", .value = "train|test", .text = &(e).split, .help = "which of its images (test)"},                    \
    CLI_DATA_ROWS((e).images),                                                                                       \
    {"--net", .value = "NAME|FILE", .text = &(e).net_name,                                                           \
     .help = "for weights alone, as PyTorch saves them: the net they belong to"},                                    \
    {"--threads", .value = "N", .integer = &(e).threads, .low = 1, .high = CLI_THREADS_MAX,                          \
     .help = "the result does not depend on it (all processors)"}
/* clang-format on */

/* Their defaults, before they are parsed; and whether they go together, after. */
void cli_evaluation_defaults(cli_evaluation *e);
int cli_evaluation_check(const cli_command *self, const cli_evaluation *e);

/* Opens model and data; a warning tells when the model was trained on others. CLI_GO, or CLI_FAILED after a message. */
int cli_evaluation_open(const cli_command *self, cli_evaluation *e);

/* The warning alone: `model` is the file that the net is from. */
void cli_compare_data(const cli_command *self, const ek_net *net, const char *model, const ek_dataset *dataset);

/* Evaluates e->net on e->dataset, which `info` describes: metrics, confusion and, where asked for, logits. NULL, or why
 * it cannot be had. */
const char *cli_evaluation_run(cli_evaluation *e, bool logits);

/* The arrays alone; then net and data set, too. */
void cli_evaluation_clear(cli_evaluation *e);
void cli_evaluation_free(cli_evaluation *e);

/* Of the confusion matrix: samples of a class, samples that the net took for it, and one cell. */
int64_t cli_evaluation_row(const cli_evaluation *e, int truth);
int64_t cli_evaluation_column(const cli_evaluation *e, int said);
int64_t cli_evaluation_cell(const cli_evaluation *e, int truth, int said);

/* The word for output i of the net: the data's, where they have none the model's own, or its number. */
const char *cli_evaluation_label(const cli_evaluation *e, int i, char number[16]);

#endif
