/* SPDX-License-Identifier: MIT
 * What pictures have in common: colours, text, thin lines, and a surface that becomes SVG or PNG. Units are pixels of a
 * screen; y runs down. In builds with cairo alone. */
#ifndef DRAWING_H
#define DRAWING_H

#include "cli.h"

#ifdef EK_HAVE_CAIRO
#include <cairo.h>

/* Curves, after Okabe and Ito 2008: apart for colour-blind eyes too. */
extern const uint32_t cli_colours[];
enum { CLI_COLOURS = 7 };

enum { CLI_INK = 0x222222, CLI_FAINT = 0x6b6b6b, CLI_AXIS = 0x9a9a9a, CLI_GRID = 0xe4e4e4 };

void cli_set_colour(cairo_t *to, uint32_t rgb);
double cli_text_width(cairo_t *to, const char *text);

/* Text whose base line begins at (x, y), or which `align` puts with its middle (0.5) or its end (1) there. */
void cli_draw_text(cairo_t *to, double x, double y, double align, double size, uint32_t colour, const char *text);

/* The same at its left end, any bytes as text, cut off with an ellipsis where it is wider than `room`. */
void cli_draw_cut(cairo_t *to, double x, double y, double room, double size, uint32_t colour, const char *text);

/* One pixel wide. */
void cli_draw_line(cairo_t *to, double x0, double y0, double x1, double y1, uint32_t colour);

/* A picture in the making; `draw` is called once. *data is the file's content, for free(). CLI_GO, or CLI_FAILED after
 * a message. */
typedef struct cli_picture {
    double width, height;
    bool svg;         /* else PNG, two pixels for each unit */
    bool transparent; /* no background; else white */
} cli_picture;
int cli_picture_make(const cli_command *self, const cli_picture *picture, void (*draw)(cairo_t *to, const void *user),
                     const void *user, char **data, size_t *size);

#endif
#endif
