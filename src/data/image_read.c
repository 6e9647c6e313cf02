/* SPDX-License-Identifier: MIT
 * One image file as a net needs it: the same steps as for the files of a data set. */
#include "base/file.h"
#include "base/memory.h"
#include "data/files.h"

static ek_status check(const char *call, const void *source, const void *pixels, int channels, int height, int width)
{
    if (!source || !pixels)
        return ek_fail(EK_ERR_ARGUMENT, "%s: the image and pixels must not be NULL", call);
    if (channels != 1 && channels != 3)
        return ek_fail(EK_ERR_ARGUMENT, "%s: %d channels; image files become ones of 1 (grey) or 3 (RGB)", call,
                       channels);
    if (height < 1 || height > EK_IMAGE_EXTENT || width < 1 || width > EK_IMAGE_EXTENT)
        return ek_fail(EK_ERR_ARGUMENT, "%s: height %d, width %d; both are 1 to %d", call, height, width,
                       EK_IMAGE_EXTENT);
    return EK_OK;
}

static ek_status shape(ek_image *image, ek_shaper *shaper, const ek_image_options *options, uint8_t *pixels)
{
    const size_t count = (size_t)shaper->channels * (size_t)shaper->height * (size_t)shaper->width;
    if (options && options->info)
        *options->info = (ek_image_info){.channels = image->channels,
                                         .height = image->height,
                                         .width = image->width,
                                         .transparent = image->transparent};
    EK_TRY(ek_shaper_put(shaper, image, pixels));
    for (size_t i = 0; options && options->invert && i < count; i++)
        pixels[i] = (uint8_t)(255 - pixels[i]);
    return EK_OK;
}

ek_status ek_image_read_memory(const void *data, size_t size, const char *name, int channels, int height, int width,
                               const ek_image_options *options, uint8_t *pixels)
{
    ek_image image;
    ek_shaper shaper = {.channels = channels, .height = height, .width = width};
    EK_TRY(check("ek_image_read_memory", data, pixels, channels, height, width));
    EK_TRY(ek_image_decode_over(&image, data, size, name ? name : "image", options ? options->background : NULL));
    const ek_status status = shape(&image, &shaper, options, pixels);
    ek_shaper_free(&shaper);
    ek_image_free(&image);
    return status;
}

ek_status ek_image_read(const char *path, int channels, int height, int width, const ek_image_options *options,
                        uint8_t *pixels)
{
    unsigned char *data;
    size_t size;
    EK_TRY(check("ek_image_read", path, pixels, channels, height, width));
    EK_TRY(ek_file_read(path, EK_IMAGE_FILE, &data, &size));
    const ek_status status = ek_image_read_memory(data, size, path, channels, height, width, options, pixels);
    ek_free(data);
    return status;
}
