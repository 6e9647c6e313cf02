/* SPDX-License-Identifier: MIT
 * Runs drawn side by side. */
#ifndef PLOT_H
#define PLOT_H

#include "runs.h"

typedef struct cli_plot_style {
    const char *title; /* NULL: none */
    bool transparent;  /* no background; else white */
    bool svg;          /* else PNG, two pixels for each unit */
} cli_plot_style;

/* Draws three panels, a curve a run, and a legend; *data is the file's content, for free(). CLI_GO, or CLI_FAILED after
 * a message; so in a build without cairo. */
int cli_plot_draw(const cli_command *self, const cli_plot_style *style, const cli_runs *runs, char **data,
                  size_t *size);

#endif
