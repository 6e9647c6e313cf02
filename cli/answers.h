/* SPDX-License-Identifier: MIT
 * Images that wait until there are enough of them for a batch, and a line of output for each, in their order. */
#ifndef ANSWERS_H
#define ANSWERS_H

#include "cli.h"

/* One image's line. */
typedef struct cli_answer {
    char *image;        /* its path; NULL: item `item` of the data set */
    int64_t item;       /* likewise */
    ek_image_info info; /* of a file that could be decoded */
    ek_status status;   /* why there is no answer, with a message that is the answer's own */
    char *message;
} cli_answer;

typedef struct cli_answers {
    const cli_command *self;
    ek_net *net;
    int threads, top;
    bool json;
    ek_image_options images; /* how files are read */
    bool any_size;           /* no hint about images of another size: the net was trained on resized ones */
    const ek_dataset *dataset;
    const char *data, *split; /* the data set's name; "train" or "test" */
    cli_labels labels;        /* classes beyond them have numbers */
    /* From here on cli_answers_begin fills in. */
    int channels, height, width, classes;
    int most, count, ready;       /* a batch; lines that wait; those of them that could be read */
    ek_predictor *predictor;      /* NULL: the net is one that ek_predict alone takes */
    size_t values;                /* of an image */
    uint8_t *pixels;              /* [most, values] */
    float *x, *logits;            /* [most, values], [most, classes] */
    int *order;                   /* [classes] */
    double *probability;          /* likewise */
    cli_answer *answer;           /* [most] */
    int64_t lines, failed;        /* printed; those of them without an answer */
    int64_t resized, transparent; /* files for which there was a hint */
} cli_answers;

/* Shapes and memory. CLI_GO, or CLI_FAILED after a message. */
int cli_answers_begin(cli_answers *answers);

/* Takes one more: a file, item i of the data set, or what cannot even be opened (`message` says why). Where that fills
 * a batch it is read, predicted and printed. CLI_GO, or CLI_FAILED when no more can be had: the output broke. */
int cli_answers_file(cli_answers *answers, const char *path);
int cli_answers_item(cli_answers *answers, int64_t i);
int cli_answers_fault(cli_answers *answers, const char *path, const char *message);

/* Reads, predicts and prints those that wait, down to the reader of the output. Likewise. */
int cli_answers_flush(cli_answers *answers);

/* The exit status: of the last hints, and of how many images there was no answer for. */
int cli_answers_end(cli_answers *answers);

void cli_answers_free(cli_answers *answers);

#endif
