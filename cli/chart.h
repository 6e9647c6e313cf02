/* SPDX-License-Identifier: MIT
 * The chart of a training while it runs: train_loss, val_loss and val_acc by epoch, as the book's ProgressBoard. */
#ifndef CHART_H
#define CHART_H

#include "canvas.h"

enum { SERIES_POINTS = 1024 };

/* A curve. It takes any number of points: when it is full, neighbours become their mean. */
typedef struct cli_series {
    double x[SERIES_POINTS], y[SERIES_POINTS];
    int count;
    int64_t stride;            /* points taken that make one */
    int64_t taken;             /* of them so far, with their sums */
    double sum_x, sum_y, last; /* last: y taken last */
} cli_series;

void cli_series_add(cli_series *series, double x, double y);

typedef struct cli_chart {
    cli_series train_loss, val_loss, val_acc;
    int epochs;
    double best; /* the greatest of val_acc, and its epoch; 0: none so far */
    int best_epoch;
} cli_chart;

/* Draws it into a canvas of the given size: two panels, loss and accuracy, or where that is too narrow one with all
 * three. False when there is no room for either. */
bool cli_chart_draw(const cli_chart *chart, cli_canvas *canvas, int columns, int rows, bool unicode, bool colour);

#endif
