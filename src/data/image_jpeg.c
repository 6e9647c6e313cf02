/* SPDX-License-Identifier: MIT
 * JPEG files by libjpeg-turbo. */
#include "data/image.h"

#ifdef EK_HAVE_JPEG

#include "base/memory.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

/* A failure is a jump: nothing is kept in local variables across it. libjpeg takes its own working memory by malloc,
 * within the limit that is set. */
typedef struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    const char *name;
    ek_image *image;
    uint8_t *line; /* of CMYK */
    ek_status status;
    jmp_buf failed;
} decoder;

static void fail_with(decoder *d, ek_status status)
{
    d->status = status;
    longjmp(d->failed, 1);
}

/* What libjpeg says of files that are whole, and of a kind that it does not decode: lossless and hierarchical ones, of
 * other than 8 bits, of colours that it does not know. */
static bool is_other_kind(int code)
{
    return code == JERR_BAD_PRECISION || code == JERR_CONVERSION_NOTIMPL || code == JERR_SOF_UNSUPPORTED ||
           code == JERR_ARITH_NOTIMPL || code == JERR_CCIR601_NOTIMPL || code == JERR_FRACT_SAMPLE_NOTIMPL ||
           code == JERR_NOT_COMPILED;
}

static void on_error(j_common_ptr common)
{
    decoder *d = common->client_data;
    char text[JMSG_LENGTH_MAX];
    common->err->format_message(common, text);
    if (common->err->msg_code == JERR_OUT_OF_MEMORY || common->err->msg_code == JERR_NO_BACKING_STORE)
        fail_with(d, ek_fail(EK_ERR_MEMORY, "%s: out of memory for the JPEG", d->name));
    if (common->err->msg_code == JERR_IMAGE_TOO_BIG)
        fail_with(d, ek_fail(EK_ERR_UNSUPPORTED, "%s: JPEGs are decoded up to %ld pixels on a side", d->name,
                             (long)JPEG_MAX_DIMENSION));
    if (is_other_kind(common->err->msg_code))
        fail_with(d, ek_fail(EK_ERR_UNSUPPORTED,
                             "%s: a JPEG of a kind that is not decoded; save it as one of 8 bits, grey or RGB (%s)",
                             d->name, text));
    fail_with(d, ek_fail(EK_ERR_FORMAT, "%s: damaged JPEG: %s", d->name, text));
}

/* Warnings are of damage, but for bytes between segments and odd markers of applications. */
static void on_message(j_common_ptr common, int level)
{
    const int code = common->err->msg_code;
    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR)
        on_error(common);
}

/* A small file may ask for thousands of passes over a large image. */
static void on_progress(j_common_ptr common)
{
    decoder *d = common->client_data;
    if (d->jpeg.input_scan_number > EK_IMAGE_SCANS)
        fail_with(d, ek_fail(EK_ERR_UNSUPPORTED, "%s: a JPEG of more than %d scans", d->name, EK_IMAGE_SCANS));
}

static void read_header(decoder *d, const uint8_t *data, size_t size)
{
    struct jpeg_decompress_struct *jpeg = &d->jpeg;
    jpeg_create_decompress(jpeg);
    jpeg->client_data = d; /* which creating has cleared in old versions */
    jpeg->mem->max_memory_to_use = 1L << 30;
    d->progress.progress_monitor = on_progress;
    jpeg->progress = &d->progress;
    jpeg_mem_src(jpeg, data, (unsigned long)size);
    jpeg_read_header(jpeg, TRUE);
    const ek_status status = ek_image_check(jpeg->image_height, jpeg->image_width, d->name);
    if (status)
        fail_with(d, status);
    const bool ink = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    const bool grey = jpeg->jpeg_color_space == JCS_GRAYSCALE;
    jpeg->out_color_space = ink ? JCS_CMYK : grey ? JCS_GRAYSCALE : JCS_RGB;
    d->image->height = (int)jpeg->image_height;
    d->image->width = (int)jpeg->image_width;
    d->image->channels = grey ? 1 : 3;
}

/* Adobe's files hold ink inverted: 255 is none. */
static void from_ink(const decoder *d, uint8_t *rgb)
{
    const unsigned invert = d->jpeg.saw_Adobe_marker ? 0 : 255;
    for (int x = 0; x < d->image->width; x++) {
        const uint8_t *ink = d->line + 4 * (size_t)x;
        for (int c = 0; c < 3; c++)
            rgb[3 * (size_t)x + (size_t)c] = (uint8_t)(((ink[c] ^ invert) * (ink[3] ^ invert) + 127) / 255);
    }
}

static void read_pixels(decoder *d)
{
    ek_image *image = d->image;
    const size_t row = (size_t)image->width * (size_t)image->channels;
    const bool ink = d->jpeg.out_color_space == JCS_CMYK;
    jpeg_start_decompress(&d->jpeg);
    image->pixels = ek_calloc((size_t)image->height, row);
    if (image->pixels && ink)
        d->line = ek_calloc((size_t)image->width, 4);
    if (!image->pixels || (ink && !d->line))
        fail_with(d, EK_ERR_MEMORY);
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        uint8_t *to = image->pixels + (size_t)d->jpeg.output_scanline * row;
        JSAMPROW line = ink ? d->line : to;
        jpeg_read_scanlines(&d->jpeg, &line, 1);
        if (ink)
            from_ink(d, to);
    }
    jpeg_finish_decompress(&d->jpeg);
}

static ek_status decode(decoder *d, const uint8_t *data, size_t size, bool whole)
{
    if (setjmp(d->failed))
        return d->status;
    read_header(d, data, size);
    if (whole)
        read_pixels(d);
    return EK_OK;
}

ek_status ek_image_jpeg(ek_image *image, const uint8_t *data, size_t size, const char *name, bool whole)
{
    decoder d = {.name = name, .image = image};
    d.jpeg.err = jpeg_std_error(&d.errors);
    d.errors.error_exit = on_error;
    d.errors.emit_message = on_message;
    d.jpeg.client_data = &d;
    const ek_status status = decode(&d, data, size, whole);
    jpeg_destroy_decompress(&d.jpeg);
    ek_free(d.line);
    if (status)
        ek_image_free(image);
    return status;
}

#else

ek_status ek_image_jpeg(ek_image *image, const uint8_t *data, size_t size, const char *name, bool whole)
{
    (void)image, (void)data, (void)size, (void)whole;
    return ek_fail(EK_ERR_UNSUPPORTED, "%s: a JPEG file, and this build is without libjpeg", name);
}

#endif
