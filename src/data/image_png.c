/* SPDX-License-Identifier: MIT
 * PNG files by libpng. */
#include "data/image.h"

#ifdef EK_HAVE_PNG

#include "base/memory.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

/* As in png.c: a failure is a jump, and nothing is kept in local variables across it. */
typedef struct decoder {
    png_struct *reader;
    png_info *info;
    const uint8_t *data;
    size_t size, at;
    const char *name;
    ek_image *image;
    bool whole;
    bool *alpha;      /* NULL: transparency is dropped */
    ek_status status; /* of the callback that failed; its message is set */
    jmp_buf failed;
} decoder;

static void on_error(png_struct *reader, const char *text)
{
    decoder *d = png_get_error_ptr(reader);
    if (!d->status)
        d->status = ek_fail(EK_ERR_FORMAT, "%s: damaged PNG: %s", d->name, text);
    longjmp(d->failed, 1);
}

static void on_warning(png_struct *reader, const char *text)
{
    (void)reader, (void)text;
}

static void *on_alloc(png_struct *reader, png_alloc_size_t size)
{
    decoder *d = png_get_mem_ptr(reader);
    void *memory = ek_calloc(size, 1);
    if (!memory)
        d->status = EK_ERR_MEMORY;
    return memory;
}

static void on_free(png_struct *reader, void *memory)
{
    (void)reader;
    ek_free(memory);
}

static void on_read(png_struct *reader, png_byte *data, size_t size)
{
    decoder *d = png_get_io_ptr(reader);
    if (size > d->size - d->at) {
        d->status = ek_fail(EK_ERR_FORMAT, "%s: the PNG is cut short", d->name);
        png_error(reader, "short");
    }
    memcpy(data, d->data + d->at, size);
    d->at += size;
}

/* To 8 bits of grey or RGB, whatever the file has. */
static void read_header(decoder *d)
{
    enum { CHUNK_MOST = 8 << 20 }; /* of texts and profiles, which are not looked at */
    png_set_read_fn(d->reader, d, on_read);
    png_set_user_limits(d->reader, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ek_image_check has the say */
    png_set_chunk_malloc_max(d->reader, CHUNK_MOST);
    png_read_info(d->reader, d->info);
    d->status =
        ek_image_check(png_get_image_height(d->reader, d->info), png_get_image_width(d->reader, d->info), d->name);
    if (d->status)
        png_error(d->reader, "limits");
    const int colour = png_get_color_type(d->reader, d->info);
    d->image->height = (int)png_get_image_height(d->reader, d->info);
    d->image->width = (int)png_get_image_width(d->reader, d->info);
    d->image->channels = colour & PNG_COLOR_MASK_COLOR ? 3 : 1;
    if (colour == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(d->reader);
    if (colour == PNG_COLOR_TYPE_GRAY)
        png_set_expand_gray_1_2_4_to_8(d->reader);
    png_set_scale_16(d->reader);
    if (!d->alpha)
        png_set_strip_alpha(d->reader);
    else if (png_get_valid(d->reader, d->info, PNG_INFO_tRNS))
        png_set_tRNS_to_alpha(d->reader);
    if (d->alpha)
        *d->alpha = colour & PNG_COLOR_MASK_ALPHA || png_get_valid(d->reader, d->info, PNG_INFO_tRNS);
}

static void read_pixels(decoder *d)
{
    ek_image *image = d->image;
    const int passes = png_set_interlace_handling(d->reader);
    const size_t row = (size_t)image->width * ((size_t)image->channels + (d->alpha && *d->alpha));
    png_read_update_info(d->reader, d->info);
    if (png_get_rowbytes(d->reader, d->info) != row)
        png_error(d->reader, "rows of another length than expected");
    image->pixels = ek_calloc((size_t)image->height, row);
    if (!image->pixels) {
        d->status = EK_ERR_MEMORY;
        png_error(d->reader, "memory");
    }
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < image->height; y++)
            png_read_row(d->reader, image->pixels + (size_t)y * row, NULL);
    png_read_end(d->reader, NULL);
}

static ek_status decode(decoder *d)
{
    if (setjmp(d->failed))
        return d->status;
    d->reader = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, d, on_error, on_warning, d, on_alloc, on_free);
    if (!d->reader)
        return d->status ? d->status : ek_fail(EK_ERR_UNSUPPORTED, "libpng cannot start");
    d->info = png_create_info_struct(d->reader);
    if (!d->info)
        return EK_ERR_MEMORY;
    read_header(d);
    if (d->whole)
        read_pixels(d);
    return EK_OK;
}

ek_status ek_image_png(ek_image *image, const uint8_t *data, size_t size, const char *name, bool whole, bool *alpha)
{
    decoder d = {.data = data, .size = size, .name = name, .image = image, .whole = whole, .alpha = alpha};
    const ek_status status = decode(&d);
    if (d.reader)
        png_destroy_read_struct(&d.reader, &d.info, NULL);
    if (status)
        ek_image_free(image);
    return status;
}

#else

ek_status ek_image_png(ek_image *image, const uint8_t *data, size_t size, const char *name, bool whole, bool *alpha)
{
    (void)image, (void)data, (void)size, (void)whole, (void)alpha;
    return ek_fail(EK_ERR_UNSUPPORTED, "%s: a PNG file, and this build is without libpng", name);
}

#endif
