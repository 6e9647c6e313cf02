/* SPDX-License-Identifier: MIT */
#include "data/png.h"

#ifdef EK_HAVE_PNG

#include "base/file.h"
#include "base/memory.h"

#include <png.h>
#include <setjmp.h>

/* libpng reports a failure by a jump: every function that calls it sets its own target first, and keeps nothing in
 * local variables across it. */
struct ek_png {
    png_struct *writer;
    png_info *info;
    ek_file_writer *file;
    size_t row_size;
    ek_status status; /* of the callback that failed; its message is set */
    jmp_buf failed;
};

static void on_error(png_struct *writer, const char *text)
{
    ek_png *png = png_get_error_ptr(writer);
    if (!png->status)
        png->status = ek_fail(EK_ERR_IO, "the PNG cannot be written: %s", text);
    longjmp(png->failed, 1);
}

static void on_warning(png_struct *writer, const char *text)
{
    (void)writer, (void)text;
}

static void *on_alloc(png_struct *writer, png_alloc_size_t size)
{
    ek_png *png = png_get_mem_ptr(writer);
    void *memory = ek_calloc(size, 1);
    if (!memory)
        png->status = EK_ERR_MEMORY;
    return memory;
}

static void on_free(png_struct *writer, void *memory)
{
    (void)writer;
    ek_free(memory);
}

static void on_write(png_struct *writer, png_byte *data, size_t size)
{
    ek_png *png = png_get_io_ptr(writer);
    png->status = ek_file_write(png->file, data, size);
    if (png->status)
        png_error(writer, "the file");
}

static void on_flush(png_struct *writer)
{
    (void)writer;
}

/* Enlarged pixels make rows that repeat: without filters deflate finds them best and fastest. */
static ek_status write_header(ek_png *png, int width, int height, int channels)
{
    if (setjmp(png->failed))
        return png->status;
    png->info = png_create_info_struct(png->writer);
    if (!png->info)
        return EK_ERR_MEMORY;
    png_set_write_fn(png->writer, png, on_write, on_flush);
    png_set_user_limits(png->writer, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(png->writer, png->info, (png_uint_32)width, (png_uint_32)height, 8,
                 channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_filter(png->writer, PNG_FILTER_TYPE_BASE, PNG_FILTER_NONE);
    png_write_info(png->writer, png->info);
    return EK_OK;
}

static ek_status create_writer(ek_png *png)
{
    if (setjmp(png->failed))
        return png->status;
    png->writer = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, png, on_error, on_warning, png, on_alloc, on_free);
    if (!png->writer)
        return png->status ? png->status : ek_fail(EK_ERR_UNSUPPORTED, "libpng cannot start");
    return EK_OK;
}

ek_status ek_png_begin(ek_png **png, const char *path, int width, int height, int channels)
{
    *png = NULL;
    ek_png *made = ek_calloc(1, sizeof *made);
    if (!made)
        return EK_ERR_MEMORY;
    made->row_size = (size_t)width * (size_t)channels;
    ek_status status = ek_file_create(&made->file, path);
    if (!status)
        status = create_writer(made);
    if (!status)
        status = write_header(made, width, height, channels);
    if (status) {
        ek_png_abandon(made);
        return status;
    }
    *png = made;
    return EK_OK;
}

ek_status ek_png_rows(ek_png *png, const uint8_t *rows, int count)
{
    if (setjmp(png->failed))
        return png->status;
    for (int i = 0; i < count; i++)
        png_write_row(png->writer, rows + (size_t)i * png->row_size);
    return EK_OK;
}

static ek_status write_end(ek_png *png)
{
    if (setjmp(png->failed))
        return png->status;
    png_write_end(png->writer, png->info);
    return EK_OK;
}

ek_status ek_png_commit(ek_png *png)
{
    ek_status status = write_end(png);
    if (!status) {
        status = ek_file_commit(png->file);
        png->file = NULL;
    }
    ek_png_abandon(png);
    return status;
}

void ek_png_abandon(ek_png *png)
{
    if (!png)
        return;
    if (png->writer)
        png_destroy_write_struct(&png->writer, &png->info);
    ek_file_abandon(png->file);
    ek_free(png);
}

#else

ek_status ek_png_begin(ek_png **png, const char *path, int width, int height, int channels)
{
    (void)width, (void)height, (void)channels;
    *png = NULL;
    return ek_fail(EK_ERR_UNSUPPORTED, "%s: cannot be written: this build is without libpng", path);
}

ek_status ek_png_rows(ek_png *png, const uint8_t *rows, int count)
{
    (void)png, (void)rows, (void)count;
    return EK_OK;
}

ek_status ek_png_commit(ek_png *png)
{
    (void)png;
    return EK_OK;
}

void ek_png_abandon(ek_png *png)
{
    (void)png;
}

#endif
