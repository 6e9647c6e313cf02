/* SPDX-License-Identifier: MIT
 * Small images within a page. */
#ifndef PNG_H
#define PNG_H

#include <stdint.h>
#include <stdio.h>

/* Writes an image of 8 bits a channel as "data:image/png;base64,...": a PNG file (ISO/IEC 15948) whose pixels are not
 * compressed, so that any build writes it. pixels: [height, width, channels], channels 1 (grey) or 3 (red, green,
 * blue); extents from 1 to 65536,
 * less than 2 GiB in all. */
void cli_png_put(FILE *to, const uint8_t *pixels, int width, int height, int channels);

#endif
