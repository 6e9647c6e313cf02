/* SPDX-License-Identifier: MIT
 * A picture of character cells, drawn with text, lines of braille dots or of letters, and colours. */
#ifndef CANVAS_H
#define CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CANVAS_COLUMNS = 120, CANVAS_ROWS = 24 };

/* Colours of curves are apart for colour-blind eyes too (after Okabe and Ito 2008), on light and on dark. */
typedef enum cli_ink { INK_PLAIN, INK_FAINT, INK_BLUE, INK_ORANGE, INK_GREEN, INK_BOLD } cli_ink;

typedef struct cli_cell {
    uint16_t code; /* Unicode; 0: blank */
    uint8_t ink;
} cli_cell;

typedef struct cli_canvas {
    int columns, rows;
    bool unicode; /* else ASCII alone */
    cli_cell cell[CANVAS_ROWS][CANVAS_COLUMNS];
} cli_canvas;

/* Blank; extents are cut to the limits. */
void cli_canvas_clear(cli_canvas *canvas, int columns, int rows, bool unicode);

/* Text from a cell on, cut off at the right edge; it may hold ASCII and characters up to U+FFFF. Returns the column
 * behind it. */
int cli_canvas_text(cli_canvas *canvas, int column, int row, cli_ink ink, const char *text);

/* How a curve is drawn. */
typedef struct cli_pen {
    cli_ink ink;
    char letter; /* in ASCII */
    int on, off; /* dots drawn and left out in turn, by column; off 0: a solid line */
} cli_pen;

/* The part of a canvas that is a curve's. */
typedef struct cli_area {
    int column, row, columns, rows;
} cli_area;

/* A straight line between two points of the area, in fractions of its width from the left and its height from the
 * bottom; what lies outside is cut off. Dots are added to those of other lines. */
void cli_canvas_line(cli_canvas *canvas, cli_area area, const cli_pen *pen, double x0, double y0, double x1,
                     double y1);

/* Row `row` to `to`, without blanks at its end; `colours` 0, 8 or 256. Returns how many columns it takes. */
int cli_canvas_write(const cli_canvas *canvas, int row, int colours, FILE *to);

#endif
