/* SPDX-License-Identifier: MIT
 * The contact sheet of a data set: enlarged samples in rows, each under its label in words. */
#include "base/memory.h"
#include "data/dataset.h"
#include "data/font.h"
#include "data/png.h"

#include <string.h>

enum {
    MARGIN = 24, /* around the sheet */
    GAP = 20,    /* between cells */
    TEXT_SCALE = 2,
    TEXT_HEIGHT = TEXT_SCALE * EK_FONT_HEIGHT,
    TEXT_GAP = 5,     /* between a label and its image */
    IMAGE_SIDE = 112, /* about what a small image is enlarged to */
    PAPER = 255,
    INK = 40,
    WIDEST = 1000000 /* pixels; far beyond any screen */
};

/*  margin |  label   gap  label     | margin     a band of `height` rows is drawn and written at a time
 *         |  image        image     |                                                                      */
typedef struct sheet {
    const ek_dataset *dataset;
    int64_t first, count;
    int columns;
    int channels;      /* of the PNG: 3 for data of three channels, else 1, which shows the first channel */
    int scale;         /* sheet pixels a sample's pixel is wide */
    int cell;          /* width */
    int width, height; /* of a band */
    uint8_t *band;     /* [height,width,channels] */
    uint8_t *pixels;   /* of a sample */
} sheet;

/* ---- Drawing ------------------------------------------------------------------------------------------------ */

static uint8_t *at(const sheet *s, int x, int y)
{
    return s->band + ((size_t)y * (size_t)s->width + (size_t)x) * (size_t)s->channels;
}

/* Ink of a character at twice its size. Where two strokes touch at a corner, the quarters between them are filled,
 * which rounds the steps of slanted lines. */
static bool smooth_ink(char c, int x, int y)
{
    int column = x / TEXT_SCALE, row = y / TEXT_SCALE;
    int side = x % TEXT_SCALE ? 1 : -1, above = y % TEXT_SCALE ? 1 : -1; /* towards the corner of this quarter */
    bool corner = ek_font_ink(c, column + side, row) && ek_font_ink(c, column, row + above) &&
                  !ek_font_ink(c, column + side, row + above);
    return corner || ek_font_ink(c, column, row);
}

static int text_width(const char *text)
{
    int length = (int)strlen(text);
    return TEXT_SCALE * (length * EK_FONT_ADVANCE - (EK_FONT_ADVANCE - EK_FONT_WIDTH));
}

static void draw_text(const sheet *s, const char *text, int left)
{
    for (; *text; text++, left += TEXT_SCALE * EK_FONT_ADVANCE)
        for (int y = 0; y < TEXT_HEIGHT; y++)
            for (int x = 0; x < TEXT_SCALE * EK_FONT_WIDTH; x++)
                if (smooth_ink(*text, x, y))
                    memset(at(s, left + x, y), INK, (size_t)s->channels);
}

static void draw_image(const sheet *s, int left)
{
    const ek_dataset *d = s->dataset;
    size_t plane = (size_t)d->height * (size_t)d->width;
    int top = TEXT_HEIGHT + TEXT_GAP;
    for (int y = 0; y < d->height * s->scale; y++)
        for (int x = 0; x < d->width * s->scale; x++) {
            size_t source = (size_t)(y / s->scale) * (size_t)d->width + (size_t)(x / s->scale);
            for (int c = 0; c < s->channels; c++)
                at(s, left + x, top + y)[c] = s->pixels[(size_t)c * plane + source];
        }
}

static ek_status draw_sample(const sheet *s, int64_t i, int column)
{
    const char *label = ek_dataset_label_text(s->dataset, ek_dataset_label(s->dataset, i));
    int left = MARGIN + column * (s->cell + GAP);
    EK_TRY(ek_dataset_read(s->dataset, i, s->pixels));
    draw_text(s, label, left + (s->cell - text_width(label)) / 2);
    draw_image(s, left + (s->cell - s->dataset->width * s->scale) / 2);
    return EK_OK;
}

/* ---- The sheet ---------------------------------------------------------------------------------------------- */

static ek_status write_blank(const sheet *s, ek_png *png, int rows)
{
    memset(s->band, PAPER, (size_t)s->width * (size_t)s->channels);
    for (int i = 0; i < rows; i++)
        EK_TRY(ek_png_rows(png, s->band, 1));
    return EK_OK;
}

static ek_status write_bands(const sheet *s, ek_png *png)
{
    EK_TRY(write_blank(s, png, MARGIN));
    for (int64_t done = 0; done < s->count; done += s->columns) {
        if (done > 0)
            EK_TRY(write_blank(s, png, GAP));
        memset(s->band, PAPER, (size_t)s->height * (size_t)s->width * (size_t)s->channels);
        for (int column = 0; column < s->columns && done + column < s->count; column++)
            EK_TRY(draw_sample(s, s->first + done + column, column));
        EK_TRY(ek_png_rows(png, s->band, s->height));
    }
    return write_blank(s, png, MARGIN);
}

/* Sizes, from what is to be shown. */
static ek_status lay_out(sheet *s, int64_t *sheet_height)
{
    const ek_dataset *d = s->dataset;
    int side = d->height > d->width ? d->height : d->width;
    s->scale = (IMAGE_SIDE + side / 2) / side;
    s->scale = s->scale > 0 ? s->scale : 1;
    s->channels = d->channels == 3 ? 3 : 1;
    s->cell = d->width * s->scale;
    for (int64_t i = s->first; i < s->first + s->count; i++) {
        int text = text_width(ek_dataset_label_text(d, ek_dataset_label(d, i)));
        s->cell = text > s->cell ? text : s->cell;
    }
    int64_t rows = (s->count + s->columns - 1) / s->columns;
    int64_t width = 2 * MARGIN - GAP + (int64_t)s->columns * (s->cell + GAP);
    s->height = TEXT_HEIGHT + TEXT_GAP + d->height * s->scale;
    *sheet_height = 2 * MARGIN - GAP + rows * (s->height + GAP);
    if (width > WIDEST || *sheet_height > INT32_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "the contact sheet would be %lld x %lld pixels; ask for fewer samples",
                       (long long)width, (long long)*sheet_height);
    s->width = (int)width;
    return EK_OK;
}

static ek_status write_sheet(sheet *s, const char *path)
{
    int64_t height;
    ek_png *png;
    EK_TRY(lay_out(s, &height));
    s->band = ek_calloc(ek_size_mul((size_t)s->height, (size_t)s->width), (size_t)s->channels);
    s->pixels = ek_calloc((size_t)s->dataset->channels, (size_t)s->dataset->height * (size_t)s->dataset->width);
    if (!s->band || !s->pixels)
        return EK_ERR_MEMORY;
    EK_TRY(ek_png_begin(&png, path, s->width, (int)height, s->channels));
    ek_status status = write_bands(s, png);
    if (!status)
        return ek_png_commit(png);
    ek_png_abandon(png);
    return status;
}

ek_status ek_dataset_save_sheet(const ek_dataset *dataset, int64_t first, int count, int columns, const char *path)
{
    if (!path || !*path)
        return ek_fail(EK_ERR_ARGUMENT, "the contact sheet's file has no name");
    if (first < 0 || count < 1 || first > dataset->n - count)
        return ek_fail(EK_ERR_ARGUMENT, "%d samples from %lld on: there are samples 0 .. %lld", count,
                       (long long)first, (long long)dataset->n - 1);
    if (columns < 0)
        return ek_fail(EK_ERR_ARGUMENT, "a contact sheet of %d columns; give 1 or more, or 0 for 8", columns);
    columns = columns ? columns : 8;
    sheet s = {
        .dataset = dataset,
        .first = first,
        .count = count,
        .columns = columns < count ? columns : count,
    };
    ek_status status = write_sheet(&s, path);
    ek_free(s.band);
    ek_free(s.pixels);
    return status;
}
