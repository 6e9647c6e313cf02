/* SPDX-License-Identifier: MIT
 * Fuzz target: any bytes as a PNG or JPEG file. What is accepted is used: every pixel read, grey made of it or colours,
 * and its header alone says the same shape. */
#include "data/image.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const ek_image *image)
{
    volatile uint8_t last = 0;
    const size_t count = (size_t)image->height * (size_t)image->width * (size_t)image->channels;
    for (size_t i = 0; i < count; i++)
        last = image->pixels[i];
    (void)last;
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
    if (ek_image_convert(&image, image.channels == 1 ? 3 : 1) == EK_OK)
        use(&image);
    ek_image_free(&image);
    return 0;
}
