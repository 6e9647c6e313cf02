/* SPDX-License-Identifier: MIT */
#include "data/image.h"

#include "base/memory.h"

#include <string.h>

ek_status ek_image_check(int64_t height, int64_t width, const char *name)
{
    if (height < 1 || width < 1)
        return ek_fail(EK_ERR_FORMAT, "%s: an image %lld pixels wide and %lld high", name, (long long)width,
                       (long long)height);
    if (height > EK_IMAGE_EXTENT || width > EK_IMAGE_EXTENT || height * width > EK_IMAGE_PIXELS)
        return ek_fail(EK_ERR_UNSUPPORTED,
                       "%s: %lld pixels wide and %lld high; up to %d on a side and %d in all are decoded", name,
                       (long long)width, (long long)height, EK_IMAGE_EXTENT, EK_IMAGE_PIXELS);
    return EK_OK;
}

/* alpha: where not NULL, transparency of PNG is kept, as ek_image_png says. */
static ek_status read(ek_image *image, const uint8_t *data, size_t size, const char *name, bool whole, bool *alpha)
{
    static const uint8_t png[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, jpeg[3] = {0xff, 0xd8, 0xff};
    *image = (ek_image){0};
    if (size >= sizeof png && memcmp(data, png, sizeof png) == 0)
        return ek_image_png(image, data, size, name, whole, alpha);
    if (size >= sizeof jpeg && memcmp(data, jpeg, sizeof jpeg) == 0)
        return ek_image_jpeg(image, data, size, name, whole);
    if (size >= 2 && data[0] == 'P' && data[1] >= '1' && data[1] <= '7')
        return ek_image_pnm(image, data, size, name, whole);
    if (size == 0)
        return ek_fail(EK_ERR_FORMAT, "%s: an empty file", name);
    if (size < 3)
        return ek_fail(EK_ERR_FORMAT, "%s: %zu byte%s, which are no image", name, size, size == 1 ? "" : "s");
    return ek_fail(EK_ERR_FORMAT, "%s: neither PNG, JPEG, PGM nor PPM: it begins %02x %02x %02x", name, data[0],
                   data[1], data[2]);
}

ek_status ek_image_decode(ek_image *image, const uint8_t *data, size_t size, const char *name)
{
    return read(image, data, size, name, true, NULL);
}

ek_status ek_image_probe(ek_image *image, const uint8_t *data, size_t size, const char *name)
{
    return read(image, data, size, name, false, NULL);
}

/* Lays pixels of C channels and alpha on the background, in place: C is 3, or the background is grey. */
static void flatten(ek_image *image, const uint8_t *background)
{
    const size_t pixels = (size_t)image->height * (size_t)image->width, channels = (size_t)image->channels;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *from = image->pixels + i * (channels + 1);
        const unsigned alpha = from[channels];
        image->transparent = image->transparent || alpha < 255;
        for (size_t c = 0; c < channels; c++) {
            const unsigned behind = background ? background[c] : 0, over = background ? alpha : 255;
            image->pixels[i * channels + c] = (uint8_t)((over * from[c] + (255 - over) * behind + 127) / 255);
        }
    }
}

/* Grey and alpha to RGB and alpha. */
static ek_status colour_with_alpha(ek_image *image)
{
    const size_t pixels = (size_t)image->height * (size_t)image->width;
    uint8_t *coloured = ek_calloc(pixels, 4);
    if (!coloured)
        return EK_ERR_MEMORY;
    for (size_t i = 0; i < pixels; i++) {
        memset(coloured + 4 * i, image->pixels[2 * i], 3);
        coloured[4 * i + 3] = image->pixels[2 * i + 1];
    }
    ek_free(image->pixels);
    image->pixels = coloured;
    image->channels = 3;
    return EK_OK;
}

ek_status ek_image_decode_over(ek_image *image, const uint8_t *data, size_t size, const char *name,
                               const uint8_t *background)
{
    bool alpha = false;
    EK_TRY(read(image, data, size, name, true, &alpha));
    if (!alpha)
        return EK_OK;
    const bool colour = background && (background[0] != background[1] || background[0] != background[2]);
    const ek_status status = colour && image->channels == 1 ? colour_with_alpha(image) : EK_OK;
    if (status)
        ek_image_free(image);
    else
        flatten(image, background);
    return status;
}

void ek_image_free(ek_image *image)
{
    ek_free(image->pixels);
    image->pixels = NULL;
}

ek_status ek_image_convert(ek_image *image, int channels)
{
    const size_t pixels = (size_t)image->height * (size_t)image->width;
    if (image->channels == channels)
        return EK_OK;
    uint8_t *converted = ek_calloc(pixels, (size_t)channels);
    if (!converted)
        return EK_ERR_MEMORY;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *from = image->pixels + i * (size_t)image->channels;
        if (channels == 1)
            converted[i] = (uint8_t)((19595u * from[0] + 38470u * from[1] + 7471u * from[2] + 32768u) >> 16);
        else
            memset(converted + 3 * i, from[0], 3);
    }
    ek_free(image->pixels);
    image->pixels = converted;
    image->channels = channels;
    return EK_OK;
}
