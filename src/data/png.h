/* SPDX-License-Identifier: MIT
 * Writing a PNG file row by row; it gets its name at the end, or not at all. */
#ifndef EK_DATA_PNG_H
#define EK_DATA_PNG_H

#include "base/status.h"

typedef struct ek_png ek_png;

/* 8 bits a channel; channels 1 (grey) or 3 (red, green, blue). EK_ERR_UNSUPPORTED in a build without libpng; errors
 * as ek_file_create. *png is NULL then. */
ek_status ek_png_begin(ek_png **png, const char *path, int width, int height, int channels);

/* The next `count` rows, [count,width,channels]. */
ek_status ek_png_rows(ek_png *png, const uint8_t *rows, int count);

/* After the last row: the file gets its name. Frees png, after a failure too. */
ek_status ek_png_commit(ek_png *png);

/* Leaves no file, frees png. NULL is fine. */
void ek_png_abandon(ek_png *png);

#endif
