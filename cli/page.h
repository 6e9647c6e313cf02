/* SPDX-License-Identifier: MIT
 * A model, its training and its mistakes as one page of HTML that needs nothing else. */
#ifndef PAGE_H
#define PAGE_H

#include "evaluation.h"
#include "runs.h"

typedef struct cli_page {
    const char *net_name; /* "bn-lenet"; NULL: not known */
    const cli_evaluation
        *result;        /* of the net that the page is about, with logits; net, dataset and info are always set */
    const char *fault;  /* why there is no evaluation; NULL: there is */
    const char *images; /* what was evaluated on, "test images" */
    const char *notice; /* a sentence to stand above everything; NULL: none */
    const cli_run *run; /* its training; NULL: not known */
} cli_page;

/* Writes the page to `path`, whole or not at all. CLI_GO, or CLI_FAILED after a message. */
int cli_page_write(const cli_command *self, const cli_page *page, const char *path);

/* ---- Its parts, each in a file of its name --------------------------------------------------------------------- */

void cli_page_style(FILE *to);

/* Losses and accuracies by epoch, as charts and as a table. */
void cli_page_curves(FILE *to, const cli_run *run);

/* Accuracy of each class with its interval; what was taken for what. */
void cli_page_classes(FILE *to, const cli_evaluation *e);
void cli_page_confusion(FILE *to, const cli_evaluation *e);

/* The mistakes in which the net was most sure. NULL, or why an image cannot be had. */
const char *cli_page_mistakes(FILE *to, const cli_evaluation *e);

/* gamma, beta and moving statistics of each batch norm, if there is one. */
void cli_page_norms(FILE *to, ek_net *net);

/* Layers; the notes that travel with the model; data; times. */
void cli_page_net(FILE *to, const ek_net *net);
void cli_page_facts(FILE *to, const cli_page *page);

#endif
