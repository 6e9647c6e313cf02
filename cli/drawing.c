/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "drawing.h"

#ifdef EK_HAVE_CAIRO
#include <cairo-svg.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const uint32_t cli_colours[CLI_COLOURS] = {0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x000000};

void cli_set_colour(cairo_t *to, uint32_t rgb)
{
    cairo_set_source_rgb(to, (rgb >> 16) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0);
}

double cli_text_width(cairo_t *to, const char *text)
{
    cairo_text_extents_t extents;
    cairo_text_extents(to, text, &extents);
    return extents.x_advance;
}

void cli_draw_text(cairo_t *to, double x, double y, double align, double size, uint32_t colour, const char *text)
{
    cairo_set_font_size(to, size);
    cli_set_colour(to, colour);
    cairo_move_to(to, x - align * cli_text_width(to, text), y);
    cairo_show_text(to, text);
}

void cli_draw_cut(cairo_t *to, double x, double y, double room, double size, uint32_t colour, const char *text)
{
    static const char ellipsis[] = "…";
    char cut[512];
    size_t length = cli_copy_text(cut, sizeof cut - sizeof ellipsis, text, strlen(text));
    cairo_set_font_size(to, size);
    while (length > 0 && cli_text_width(to, cut) > room) {
        do
            length--;
        while (length > 0 && ((unsigned char)cut[length] & 0xc0) == 0x80);
        memcpy(cut + length, ellipsis, sizeof ellipsis);
    }
    cli_draw_text(to, x, y, 0, size, colour, cut);
}

void cli_draw_line(cairo_t *to, double x0, double y0, double x1, double y1, uint32_t colour)
{
    cli_set_colour(to, colour);
    cairo_set_line_width(to, 1);
    cairo_move_to(to, floor(x0) + 0.5, floor(y0) + 0.5);
    cairo_line_to(to, floor(x1) + 0.5, floor(y1) + 0.5);
    cairo_stroke(to);
}

static cairo_status_t take_bytes(void *user, const unsigned char *data, unsigned size)
{
    return fwrite(data, 1, size, user) == size ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

int cli_picture_make(const cli_command *self, const cli_picture *p, void (*draw)(cairo_t *to, const void *user),
                     const void *user, char **data, size_t *size)
{
    const double scale = p->svg ? 1 : 2;
    FILE *file = open_memstream(data, size);
    if (!file)
        return cli_fail(self, "out of memory");
    cairo_surface_t *surface =
        p->svg ? cairo_svg_surface_create_for_stream(take_bytes, file, p->width, p->height)
               : cairo_image_surface_create(CAIRO_FORMAT_ARGB32, (int)(p->width * scale), (int)(p->height * scale));
    cairo_t *to = cairo_create(surface);
    cairo_scale(to, scale, scale);
    if (!p->transparent) {
        cairo_set_source_rgb(to, 1, 1, 1);
        cairo_rectangle(to, 0, 0, p->width, p->height);
        cairo_fill(to);
    }
    cairo_select_font_face(to, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    draw(to, user);
    cairo_status_t status = cairo_status(to);
    cairo_destroy(to);
    if (!status && !p->svg)
        status = cairo_surface_write_to_png_stream(surface, take_bytes, file);
    cairo_surface_finish(surface); /* writes the end of an SVG */
    status = status ? status : cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (fclose(file) && !status)
        status = CAIRO_STATUS_NO_MEMORY;
    if (status) {
        free(*data);
        return cli_fail(self, "drawing: %s", cairo_status_to_string(status));
    }
    return CLI_GO;
}
#endif
