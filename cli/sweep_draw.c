/* SPDX-License-Identifier: MIT
 * A sweep as a picture: a strip a point of the grid, every seed a dot, their mean with a bar of a deviation to each
 * side, and in numbers. The last option that varies has a colour a value; the ones before it make groups. */
#define _GNU_SOURCE
#include "drawing.h"
#include "scale.h"
#include "sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef EK_HAVE_CAIRO

static const double width = 1000, margin = 28, row_height = 30, group_gap = 14, numbers = 190, label_most = 330;
static const double text_size = 13, small_size = 12, title_size = 16;

typedef struct picture {
    const cli_sweep *sweep;
    cli_scale scale;
    double left, right, top, bottom; /* of the strips */
    double shift;                    /* of labels of the colour's option */
    int last;                        /* axis that has colours; -1: none varies */
} picture;

/* The axis that varies and comes last before the seeds. */
static int last_varying(const cli_sweep *s)
{
    int last = -1;
    for (int a = 0; a < s->axes - 1; a++)
        last = s->axis[a].values > 1 ? a : last;
    return last;
}

static int rows_in_group(const picture *pic)
{
    return pic->last < 0 ? 1 : pic->sweep->axis[pic->last].values;
}

static double row_y(const picture *pic, int row)
{
    return pic->top + (row + 0.5) * row_height + row / rows_in_group(pic) * group_gap;
}

static double place(const picture *pic, double value)
{
    return pic->left + (value - pic->scale.low) / (pic->scale.high - pic->scale.low) * (pic->right - pic->left);
}

/* "lr 0.1": the row's values of the axes from `first` to before `end` that vary. */
static void label_part(const picture *pic, int row, int first, int end, char *text, size_t size)
{
    const cli_sweep *s = pic->sweep;
    size_t length = 0;
    *text = 0;
    for (int a = first; a < end && length < size; a++)
        if (s->axis[a].values > 1)
            length += (size_t)snprintf(text + length, size - length, "%s%s %s", length ? ", " : "",
                                       s->axis[a].option + 2, cli_sweep_short(s, row * s->seeds, a));
}

static void draw_labels(cairo_t *to, const picture *pic, int row)
{
    char text[256];
    const double y = row_y(pic, row) + 4.5;
    if (pic->last < 0)
        return;
    if (row % rows_in_group(pic) == 0) {
        label_part(pic, row, 0, pic->last, text, sizeof text);
        cli_draw_cut(to, margin, y, pic->shift - 12, text_size, CLI_INK, text);
    }
    label_part(pic, row, pic->last, pic->last + 1, text, sizeof text);
    cli_draw_cut(to, margin + pic->shift, y, pic->left - margin - pic->shift - 14, text_size, CLI_INK, text);
}

static void draw_bar(cairo_t *to, const picture *pic, double low, double high, double y)
{
    const double end[2] = {low, high};
    cairo_set_line_width(to, 2);
    cairo_move_to(to, place(pic, low), y);
    cairo_line_to(to, place(pic, high), y);
    for (int i = 0; i < 2; i++) {
        cairo_move_to(to, place(pic, end[i]), y - 5);
        cairo_line_to(to, place(pic, end[i]), y + 5);
    }
    cairo_stroke(to);
}

static void draw_row(cairo_t *to, const picture *pic, int index)
{
    const cli_sweep *s = pic->sweep;
    const cli_sweep_row row = cli_sweep_row_of(s, index);
    const cli_spread *v = &row.val_accuracy;
    const uint32_t colour = cli_colours[index % rows_in_group(pic) % CLI_COLOURS];
    const double y = row_y(pic, index), full = 2 * acos(-1);
    char text[96] = "";
    draw_labels(to, pic, index);
    for (int i = row.first; i < row.first + s->seeds; i++) {
        const cli_result *r = &s->run[i].result;
        if (r->state != RUN_DONE || !isfinite(r->val_accuracy))
            continue;
        cairo_set_source_rgba(to, (colour >> 16) / 255.0, (colour >> 8 & 255) / 255.0, (colour & 255) / 255.0, 0.4);
        cairo_arc(to, place(pic, r->val_accuracy), y, 4, 0, full);
        cairo_fill(to);
    }
    size_t length = 0;
    if (isfinite(v->mean)) {
        cli_set_colour(to, colour);
        if (isfinite(v->sd))
            draw_bar(to, pic, v->mean - v->sd, v->mean + v->sd, y);
        cairo_arc(to, place(pic, v->mean), y, 5.5, 0, full);
        cairo_fill_preserve(to);
        cairo_set_source_rgb(to, 1, 1, 1);
        cairo_set_line_width(to, 1.2);
        cairo_stroke(to);
        length = (size_t)snprintf(text, sizeof text, isfinite(v->sd) ? "%.4f ± %.4f" : "%.4f", v->mean, v->sd);
    }
    if (row.failed || row.pending)
        snprintf(text + length, sizeof text - length, "  %d %s", row.failed ? row.failed : row.pending,
                 row.failed ? "failed" : "to do");
    cli_draw_text(to, pic->right + 22, y + 4.5, 0, small_size, CLI_FAINT, text);
}

static void draw_all(cairo_t *to, const void *user)
{
    const picture *pic = user;
    const cli_sweep *s = pic->sweep;
    char text[128];
    snprintf(text, sizeof text, "validation accuracy, %d seed%s", s->seeds, s->seeds == 1 ? "" : "s");
    cli_draw_text(to, margin, margin + 10, 0, title_size, CLI_INK, text);
    cli_draw_text(to, width - margin, margin + 10, 1, small_size, CLI_FAINT,
                  "dots: seeds; bars: mean ± a standard deviation");
    for (int i = 0; i < pic->scale.marks; i++) {
        const double x = place(pic, pic->scale.mark[i]);
        cli_draw_line(to, x, pic->top, x, pic->bottom, CLI_GRID);
        cli_scale_text(&pic->scale, i, text, sizeof text);
        cli_draw_text(to, x, pic->bottom + 18, 0.5, small_size, CLI_FAINT, text);
    }
    cli_draw_line(to, pic->left, pic->bottom, pic->right, pic->bottom, CLI_AXIS);
    for (int i = 0; i < cli_sweep_rows(s); i++)
        draw_row(to, pic, i);
}

/* Widths are those of the very text, and so are measured on a surface that nobody sees. */
static void measure(cairo_t *to, picture *pic)
{
    char text[256];
    double shift = 0, label = 0;
    cairo_set_font_size(to, text_size);
    for (int i = 0; i < cli_sweep_rows(pic->sweep) && pic->last >= 0; i++) {
        label_part(pic, i, 0, pic->last, text, sizeof text);
        shift = fmax(shift, cli_text_width(to, text));
        label_part(pic, i, pic->last, pic->last + 1, text, sizeof text);
        label = fmax(label, cli_text_width(to, text));
    }
    pic->shift = shift > 0 ? fmin(shift, label_most / 2) + 18 : 0;
    pic->left = margin + pic->shift + fmin(label, label_most / 2) + 20;
}

int cli_sweep_draw(const cli_sweep *s, const char *path)
{
    picture pic = {.sweep = s, .right = width - numbers, .top = margin + 34, .last = last_varying(s)};
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < s->runs; i++) {
        const cli_result *r = &s->run[i].result;
        if (r->state == RUN_DONE && isfinite(r->val_accuracy)) {
            low = fmin(low, r->val_accuracy);
            high = fmax(high, r->val_accuracy);
        }
    }
    for (int i = 0; i < cli_sweep_rows(s); i++) { /* bars reach beyond the dots, of two by 0.2 of their distance */
        const cli_spread v = cli_sweep_row_of(s, i).val_accuracy;
        low = isfinite(v.mean - v.sd) ? fmin(low, v.mean - v.sd) : low;
        high = isfinite(v.mean + v.sd) ? fmax(high, v.mean + v.sd) : high;
    }
    if (!(low <= high))
        return cli_fail(s->self, "there is nothing to draw yet: no run is done");
    if (cli_sweep_rows(s) > 500)
        return cli_fail(s->self, "%d rows are more than a picture is readable with, 500", cli_sweep_rows(s));
    pic.scale = cli_scale_of(low, high, 5, 0, true);
    cairo_surface_t *probe = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    cairo_t *to = cairo_create(probe);
    cairo_select_font_face(to, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    measure(to, &pic);
    cairo_destroy(to);
    cairo_surface_destroy(probe);
    pic.bottom = row_y(&pic, cli_sweep_rows(s) - 1) + row_height / 2 + 6;
    const size_t length = strlen(path);
    const cli_picture page = {
        .width = width, .height = pic.bottom + margin + 12, .svg = !strcmp(path + length - 4, ".svg")};
    char *data;
    size_t size;
    const int status = cli_picture_make(s->self, &page, draw_all, &pic, &data, &size);
    if (status != CLI_GO)
        return status;
    const int error = cli_write_file(path, data, size);
    free(data);
    return error ? cli_fail(s->self, "%s: cannot be written: %s", path, strerror(error)) : CLI_GO;
}

#else

int cli_sweep_draw(const cli_sweep *s, const char *path)
{
    (void)path;
    return cli_fail(s->self, "this build is without cairo: build with -DEVENKEEL_CAIRO=ON");
}

#endif
