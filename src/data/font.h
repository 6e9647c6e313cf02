/* SPDX-License-Identifier: MIT
 * A small font for the labels of contact sheets: printable ASCII, each character 5 x 9 with the space below. */
#ifndef EK_DATA_FONT_H
#define EK_DATA_FONT_H

#include <stdbool.h>

enum {
    EK_FONT_WIDTH = 5,
    EK_FONT_ADVANCE = 6, /* from a character to the next */
    EK_FONT_HEIGHT = 9   /* seven rows above the line, two below */
};

/* Whether pixel (x, y) of `character` is ink; false outside it. What is not printable ASCII is a box. */
bool ek_font_ink(char character, int x, int y);

#endif
