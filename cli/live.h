/* SPDX-License-Identifier: MIT
 * A training on a terminal: below the lines of its table, a chart and a line that tells how far it is, drawn anew in
 * place at most ten times a second. */
#ifndef LIVE_H
#define LIVE_H

#include "chart.h"
#include "cli.h"
#include "status.h"
#include "terminal.h"

typedef struct cli_live cli_live;

/* NULL where there is no terminal to draw on (terminal.h), or no memory. */
cli_live *cli_live_new(cli_drawing drawing, int epochs, int64_t samples);

void cli_live_step(cli_live *live, const ek_fit_event *event);

/* `line`, with its newline, is put above the picture to stay. */
void cli_live_epoch(cli_live *live, const ek_fit_event *event, const char *line);

/* Takes the picture away, for a message to be printed; it comes back below. */
void cli_live_pause(cli_live *live);

/* Leaves the chart and the cursor below it; a terminal that takes nothing is waited for for a second. close, which may
 * wait longer, writes what is left then, and frees. */
void cli_live_end(cli_live *live);
void cli_live_close(cli_live *live);

/* The terminal's descriptor. */
int cli_live_terminal(const cli_live *live);

#endif
