/* SPDX-License-Identifier: MIT
 * Netpbm's grey and colour images: PGM (P2 as text, P5 as bytes) and PPM (P3, P6), of up to 65535 levels.
 *
 * A header of words with blanks and comments between them: the letter and digit, width, height, the greatest level;
 * then one blank and the samples, of one byte each or, where the greatest level is above 255, two, the higher first. In
 * text samples are words like those of the header. A comment goes from # to the end of its line. */
#include "data/image.h"

#include "base/memory.h"

enum { LEVELS_MAX = 65535, NUMBER_MAX = 100000000 };

typedef struct reader {
    const uint8_t *data;
    size_t size, at;
    const char *name, *kind; /* the file; "PGM" or "PPM" */
    bool text;
    unsigned most; /* the greatest level */
} reader;

static bool is_blank(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_blanks(reader *r)
{
    while (r->at < r->size && (is_blank(r->data[r->at]) || r->data[r->at] == '#'))
        if (r->data[r->at++] == '#')
            while (r->at < r->size && r->data[r->at] != '\n' && r->data[r->at] != '\r')
                r->at++;
}

static ek_status cut_short(const reader *r)
{
    return ek_fail(EK_ERR_FORMAT, "%s: the %s is cut short", r->name, r->kind);
}

/* The next word, which must be a number of at most `most`, and end at a blank, a comment or the end of the file. */
static ek_status read_number(reader *r, const char *what, unsigned most, unsigned *value)
{
    skip_blanks(r);
    if (r->at == r->size)
        return cut_short(r);
    const size_t first = r->at;
    for (*value = 0; r->at < r->size && r->data[r->at] >= '0' && r->data[r->at] <= '9' && *value <= most; r->at++)
        *value = 10 * *value + (unsigned)(r->data[r->at] - '0');
    if (*value > most)
        return ek_fail(EK_ERR_FORMAT, "%s: damaged %s: the %s at byte %zu is more than %u", r->name, r->kind, what,
                       first, most);
    if (r->at == first || (r->at < r->size && !is_blank(r->data[r->at]) && r->data[r->at] != '#'))
        return ek_fail(EK_ERR_FORMAT, "%s: damaged %s: the %s at byte %zu is no whole number", r->name, r->kind, what,
                       first);
    return EK_OK;
}

static ek_status read_header(reader *r, ek_image *image)
{
    unsigned width, height;
    EK_TRY(read_number(r, "width", NUMBER_MAX, &width));
    EK_TRY(read_number(r, "height", NUMBER_MAX, &height));
    EK_TRY(read_number(r, "greatest level", LEVELS_MAX, &r->most));
    EK_TRY(ek_image_check(height, width, r->name));
    if (r->most == 0)
        return ek_fail(EK_ERR_FORMAT, "%s: damaged %s: the greatest level is 0", r->name, r->kind);
    if (r->at == r->size)
        return cut_short(r);
    if (!r->text && !is_blank(r->data[r->at]))
        return ek_fail(EK_ERR_FORMAT, "%s: damaged %s: no blank behind the greatest level", r->name, r->kind);
    r->at += !r->text;
    image->height = (int)height;
    image->width = (int)width;
    return EK_OK;
}

/* One level as a byte, rounded to the nearest, halves up. */
static uint8_t to_byte(const reader *r, unsigned level)
{
    return (uint8_t)((level * 255u + r->most / 2) / r->most);
}

static ek_status read_text(reader *r, uint8_t *pixels, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned level;
        EK_TRY(read_number(r, "sample", r->most, &level));
        pixels[i] = to_byte(r, level);
    }
    return EK_OK;
}

static ek_status read_binary(reader *r, uint8_t *pixels, size_t count)
{
    const size_t step = r->most > 255 ? 2 : 1;
    for (size_t i = 0; i < count; i++, r->at += step) {
        const unsigned first = r->data[r->at], level = step == 1 ? first : first << 8 | r->data[r->at + 1];
        if (level > r->most)
            return ek_fail(EK_ERR_FORMAT,
                           "%s: damaged %s: the sample at byte %zu is %u, more than the greatest level %u", r->name,
                           r->kind, r->at, level, r->most);
        pixels[i] = to_byte(r, level);
    }
    return EK_OK;
}

/* Before anything is allocated: the samples must be there. As text each has a digit and, but for the last, a blank. */
static ek_status read_pixels(reader *r, ek_image *image)
{
    const size_t count = (size_t)image->height * (size_t)image->width * (size_t)image->channels;
    const size_t left = r->size - r->at, need = r->text ? 2 * count - 1 : r->most > 255 ? 2 * count : count;
    if (left < need)
        return cut_short(r);
    image->pixels = ek_calloc(count, 1);
    if (!image->pixels)
        return EK_ERR_MEMORY;
    EK_TRY(r->text ? read_text(r, image->pixels, count) : read_binary(r, image->pixels, count));
    skip_blanks(r);
    if (r->at == r->size)
        return EK_OK;
    const bool more =
        r->size - r->at > 1 && r->data[r->at] == 'P' && r->data[r->at + 1] >= '1' && r->data[r->at + 1] <= '7';
    return ek_fail(EK_ERR_FORMAT, "%s: %zu byte%s behind the %s%s", r->name, r->size - r->at,
                   r->size - r->at == 1 ? "" : "s", r->kind,
                   more ? "; a file of several images has to be split" : "");
}

ek_status ek_image_pnm(ek_image *image, const uint8_t *data, size_t size, const char *name, bool whole)
{
    const char digit = (char)data[1];
    reader r = {.data = data, .size = size, .at = 2, .name = name, .text = digit < '5'};
    if (digit != '2' && digit != '3' && digit != '5' && digit != '6')
        return ek_fail(EK_ERR_UNSUPPORTED,
                       "%s: of Netpbm's formats PGM and PPM are read, not P%c; convert it to one of them, or to PNG",
                       name, digit);
    image->channels = digit == '3' || digit == '6' ? 3 : 1;
    r.kind = image->channels == 3 ? "PPM" : "PGM";
    ek_status status = read_header(&r, image);
    if (!status && whole)
        status = read_pixels(&r, image);
    if (status)
        ek_image_free(image);
    return status;
}
