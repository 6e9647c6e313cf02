/* SPDX-License-Identifier: MIT
 * Decoding image files, PNG, JPEG, PGM and PPM: every byte is hostile until checked. The first bytes tell which, not
 * the name. */
#ifndef EK_DATA_IMAGE_H
#define EK_DATA_IMAGE_H

#include "base/status.h"

/* Limits of what is decoded: extents, pixels, bytes of a file, scans of a progressive JPEG. */
enum { EK_IMAGE_EXTENT = 65536, EK_IMAGE_PIXELS = 1 << 26, EK_IMAGE_FILE = 1 << 28, EK_IMAGE_SCANS = 100 };

typedef struct ek_image {
    int height, width;
    int channels;     /* 1: grey, 3: red, green, blue */
    uint8_t *pixels;  /* [height,width,channels]; NULL after ek_image_probe */
    bool transparent; /* after ek_image_decode_over: some pixel was not opaque */
} ek_image;

/* Decodes the bytes of a file called `name`. Palettes become colours, alpha is dropped, 16 bits become 8 (rounded),
 * CMYK becomes RGB; gamma, colour profiles and EXIF's orientation are not looked at. What libjpeg only warns about,
 * such as a file that is cut short, is an error here. EK_ERR_FORMAT, EK_ERR_UNSUPPORTED (more than the limits, a build
 * without the library), EK_ERR_MEMORY; the message begins with name, and image->pixels is NULL then. */
ek_status ek_image_decode(ek_image *image, const uint8_t *data, size_t size, const char *name);

/* The same, but pixels that are not opaque (of PNG) lie on `background`, red, green and blue: (alpha*pixel + (255 -
 * alpha)*background)/255, rounded. On a background that is not grey, grey images with transparency become RGB. NULL:
 * alpha is dropped, too, and image->transparent alone tells of it. */
ek_status ek_image_decode_over(ek_image *image, const uint8_t *data, size_t size, const char *name,
                               const uint8_t *background);

/* Shape alone, from the file's header. */
ek_status ek_image_probe(ek_image *image, const uint8_t *data, size_t size, const char *name);

void ek_image_free(ek_image *image);

/* Makes the image one of `channels`, 1 or 3. Grey is (19595 R + 38470 G + 7471 B + 32768)/65536, ITU-R 601's luma as
 * Pillow rounds it. */
ek_status ek_image_convert(ek_image *image, int channels);

/* Whether extents are within the limits; EK_ERR_UNSUPPORTED. */
ek_status ek_image_check(int64_t height, int64_t width, const char *name);

/* The formats. whole false: shape alone. alpha, where it is not NULL, tells whether the file has transparency; then the
 * pixels have a channel more, and it is the last. */
ek_status ek_image_png(ek_image *image, const uint8_t *data, size_t size, const char *name, bool whole, bool *alpha);
ek_status ek_image_jpeg(ek_image *image, const uint8_t *data, size_t size, const char *name, bool whole);
ek_status ek_image_pnm(ek_image *image, const uint8_t *data, size_t size, const char *name,
                       bool whole); /* size >= 2 */

#endif
