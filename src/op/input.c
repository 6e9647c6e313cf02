/* SPDX-License-Identifier: MIT */
#include "op/input.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

/* Numbers of one image: draw 0 for crop, flip and whether to erase, 1 .. TRIES for rectangles, PIXELS .. for what
 * fills them, sixteen bytes a draw. An image has fewer than 2^31 values. */
enum { TRIES = 100, PIXELS = 1 << 10 };

static void draw(ek_augment_key key, uint32_t number, uint32_t bits[4])
{
    ek_random4(key.seed, EK_RANDOM_AUGMENT, key.epoch, (uint64_t)(uint32_t)key.sample << 32 | number, bits);
}

/* Uniform in 0 .. count-1; with count < 2^17 no value is favoured by more than 2^-15 of its share. */
static int below(uint32_t bits, int count)
{
    return (int)((uint64_t)bits * (uint64_t)count >> 32);
}

static void flip_rows(const ek_augmentation *a, uint8_t *y)
{
    const size_t rows = (size_t)a->c * (size_t)a->h;
    for (size_t row = 0; row < rows; row++) {
        uint8_t *line = y + row * (size_t)a->w;
        for (int left = 0, right = a->w - 1; left < right; left++, right--) {
            const uint8_t swap = line[left];
            line[left] = line[right];
            line[right] = swap;
        }
    }
}

/* The window that begins (down, right) of the image's corner, either of them negative too. */
static void shift(const ek_augmentation *a, int down, int right, const uint8_t *x, uint8_t *y)
{
    const size_t plane = (size_t)a->h * (size_t)a->w;
    const int first = right < 0 ? -right : 0;                     /* the first column that the image fills */
    const int end = right < 0 ? a->w : a->w - right;              /* behind the last */
    const size_t width = end > first ? (size_t)(end - first) : 0; /* a crop wider than the image may miss it */
    for (int c = 0; c < a->c; c++)
        for (int h = 0; h < a->h; h++) {
            uint8_t *to = y + (size_t)c * plane + (size_t)h * (size_t)a->w;
            const int row = h + down;
            memset(to, 0, (size_t)a->w);
            if (row >= 0 && row < a->h && width > 0)
                memcpy(to + first, x + (size_t)c * plane + (size_t)row * (size_t)a->w + (size_t)(first + right),
                       width);
        }
}

/* Fills a rectangle with random bytes. */
static void fill(const ek_augmentation *a, ek_augment_key key, int top, int left, int height, int width, uint8_t *y)
{
    const size_t plane = (size_t)a->h * (size_t)a->w;
    uint32_t bits[4] = {0};
    uint32_t count = 0;
    for (int c = 0; c < a->c; c++)
        for (int h = top; h < top + height; h++)
            for (int w = left; w < left + width; w++, count++) {
                if (count % 16 == 0)
                    draw(key, PIXELS + count / 16, bits);
                y[(size_t)c * plane + (size_t)h * (size_t)a->w + (size_t)w] =
                    (uint8_t)(bits[count % 16 / 4] >> (count % 4 * 8));
            }
}

static void erase(const ek_augmentation *a, ek_augment_key key, uint8_t *y)
{
    const double least = 0.02, most = 0.4, narrow = 0.3, wide = 1 / 0.3;
    for (uint32_t try = 1; try <= TRIES; try++) {
        uint32_t bits[4];
        draw(key, try, bits);
        const double area = (least + (most - least) * (double)ek_random_unit(bits[0])) * (double)a->h * (double)a->w;
        const double ratio = narrow + (wide - narrow) * (double)ek_random_unit(bits[1]);
        const int height = (int)(sqrt(area * ratio) + 0.5), width = (int)(sqrt(area / ratio) + 0.5);
        const int top = below(bits[2], a->h), left = below(bits[3], a->w);
        if (height >= 1 && width >= 1 && top + height <= a->h && left + width <= a->w) {
            fill(a, key, top, left, height, width, y);
            return;
        }
    }
}

void ek_augment(const ek_augmentation *a, ek_augment_key key, const uint8_t *x, uint8_t *y)
{
    uint32_t bits[4];
    draw(key, 0, bits);
    const int down = below(bits[0], 2 * a->crop + 1) - a->crop;
    const int right = below(bits[1], 2 * a->crop + 1) - a->crop;
    shift(a, down, right, x, y);
    if (a->flip && bits[2] >> 31)
        flip_rows(a, y);
    if (ek_random_unit(bits[3]) < a->erase)
        erase(a, key, y);
}
