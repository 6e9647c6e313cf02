/* SPDX-License-Identifier: MIT
 * Image files that stay on disk: a list of them, and reading one as the trainer wants it. */
#ifndef EK_DATA_FILES_H
#define EK_DATA_FILES_H

#include "data/image.h"
#include "data/resize.h"

/* Makes decoded images ones of channels x height x width. Of one thread at a time. */
typedef struct ek_shaper {
    int channels, height, width;
    ek_resizer *resizer; /* for images of from_height x from_width */
    int from_height, from_width;
} ek_shaper;

/* Into place, [C,H,W]; the image's channels may change. EK_ERR_MEMORY. */
ek_status ek_shaper_put(ek_shaper *shaper, ek_image *image, uint8_t *to);
void ek_shaper_free(ek_shaper *shaper);

typedef struct ek_image_file {
    char *name;            /* "CLASS/FILE" */
    int64_t size, changed; /* bytes; when it was last written, nanoseconds */
} ek_image_file;

typedef struct ek_image_files {
    char *root;
    int channels, height, width; /* of the images to be */
    int64_t memory_limit;        /* for images that are held, > 0 */
    int64_t n;
    ek_image_file *file;
} ek_image_files;

/* Notes size and time of file i, whose name is set. EK_ERR_NOT_FOUND and EK_ERR_IO name the file. */
ek_status ek_image_files_note(ek_image_files *files, int64_t i);

/* SHA-256 of the text "files CxHxW", then a line "SIZE NAME" for each file; "" in a build without digests. */
ek_status ek_image_files_digest(const ek_image_files *files, char text[EK_DIGEST_TEXT]);

/* Reads and decodes file i. A file that changed since it was noted is EK_ERR_FORMAT, one that vanished
 * EK_ERR_NOT_FOUND; others as ek_file_read and ek_image_decode. The shaper is of this list's extents. Any number of
 * threads at once, each with its shaper. */
ek_status ek_image_files_load(const ek_image_files *files, int64_t i, ek_shaper *shaper, uint8_t *to);

size_t ek_image_files_pixels(const ek_image_files *files); /* bytes of an image */
void ek_image_files_free(ek_image_files *files);           /* NULL is fine */

#endif
