/* SPDX-License-Identifier: MIT
 * Fuzz target: any bytes as a PNG, JPEG, PGM or PPM file. What is accepted is used: every pixel read, grey made of it
 * or colours, its transparency laid on colours, and its header alone says the same shape. */
#include "data/image.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const ek_image *image)
{
    volatile uint8_t last = 0;
    const size_t count = (size_t)image->height * (size_t)image->width * (size_t)image->channels;
    for (size_t i = 0; i < count; i++)
        last = image->pixels[i];
    (void)last;
}

/* What can be decoded can be so on any background, unless memory is short: the same pixels, where none is seen through
 * and where transparency is dropped. */
static void use_over(const ek_image *plain, const uint8_t *data, size_t size, const uint8_t *background)
{
    ek_image image;
    const ek_status status = ek_image_decode_over(&image, data, size, "the input", background);
    if (status == EK_ERR_MEMORY)
        return;
    if (status || image.height != plain->height || image.width != plain->width || image.channels < plain->channels)
        abort();
    use(&image);
    const size_t count = (size_t)image.height * (size_t)image.width * (size_t)image.channels;
    if ((!background || !image.transparent) && image.channels == plain->channels &&
        memcmp(image.pixels, plain->pixels, count) != 0)
        abort();
    ek_image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ek_image image, header;
    const ek_status probed = ek_image_probe(&header, data, size, "the input");
    if (header.pixels || (probed && !*ek_error()))
        abort();
    if (!probed && (int64_t)header.height * header.width > 1 << 20)
        return 0; /* allowed, and slow to fuzz */
    const ek_status status = ek_image_decode(&image, data, size, "the input");
    if (status && (image.pixels || !*ek_error()))
        abort();
    if (status)
        return 0;
    if (probed || header.height != image.height || header.width != image.width || header.channels != image.channels)
        abort();
    use(&image);
    use_over(&image, data, size, NULL);
    use_over(&image, data, size, (const uint8_t[3]){255, 255, 255});
    use_over(&image, data, size, (const uint8_t[3]){1, 2, 3});
    if (ek_image_convert(&image, image.channels == 1 ? 3 : 1) == EK_OK)
        use(&image);
    ek_image_free(&image);
    return 0;
}
