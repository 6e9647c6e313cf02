/* SPDX-License-Identifier: MIT
 * Resizing images of bytes, with antialiasing. */
#ifndef EK_DATA_RESIZE_H
#define EK_DATA_RESIZE_H

#include "data/idx.h"

/* A triangle filter, as wide as the source's pixels or, where that is wider, the target's: bilinear interpolation when
 * an image grows, a weighted mean over all that a pixel covers when it shrinks; PyTorch's interpolate(mode="bilinear",
 * antialias=True, align_corners=False), torchvision's Resize. Along one axis of n to m pixels, with scale = n/m and
 * support = max(scale, 1):
 *   centre = (i + 1/2)*scale    y[i] = sum over j of w(j)*x[j] / sum of w(j)
 *   w(j) = max(0, 1 - |j + 1/2 - centre|/support)
 *   j from floor(centre - support + 1/2) to floor(centre + support + 1/2) - 1, within the image
 * Columns first, then rows, in double; the result is rounded to the nearest byte, halves up. */
typedef struct ek_resizer ek_resizer;

/* From images of height x width to out_height x out_width, each 1 .. EK_IDX_EXTENT. */
ek_status ek_resizer_new(ek_resizer **resizer, int height, int width, int out_height, int out_width);
void ek_resizer_free(ek_resizer *resizer);

/* One plane of pixels: those of x stand `step` bytes apart in rows of `row_bytes`, y [out_height,out_width] is
 * contiguous. */
void ek_resizer_run(ek_resizer *resizer, const uint8_t *x, size_t step, size_t row_bytes, uint8_t *y);

/* All images of a set; images already of that size are left alone. The digest is taken anew. */
ek_status ek_resize_images(ek_idx *images, int height, int width);

#endif
