/* SPDX-License-Identifier: MIT
 * Drawing runs with cairo. Units are pixels of a screen; y runs down. */
#define _GNU_SOURCE
#include "plot.h"

#ifdef EK_HAVE_CAIRO
#include "scale.h"

#include <cairo-svg.h>
#include <cairo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[RUN_CURVES] = {"train loss", "val loss", "val accuracy"};

static const double width = 1200, margin = 28, between = 34, ticks_room = 40, plot_height = 250;
static const double row_height = 22, text_size = 13, small_size = 12;

/* Curves, after Okabe and Ito 2008: apart for colour-blind eyes too. Beyond them dashes tell runs apart. */
static const uint32_t colours[] = {0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x000000};
enum { COLOURS = sizeof colours / sizeof *colours, DOTS_UNTIL = 30 };
static const uint32_t ink = 0x222222, faint = 0x6b6b6b, axis = 0x9a9a9a, grid = 0xe4e4e4;

typedef struct picture {
    cairo_t *to;
    const cli_runs *runs;
    int last_epoch;
    double top; /* of the panels */
} picture;

/* ---- Words ----------------------------------------------------------------------------------------------------- */

static void set_colour(cairo_t *to, uint32_t rgb)
{
    cairo_set_source_rgb(to, (rgb >> 16) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0);
}

static double text_width(cairo_t *to, const char *text)
{
    cairo_text_extents_t extents;
    cairo_text_extents(to, text, &extents);
    return extents.x_advance;
}

/* Text whose base line begins at (x, y), or which `align` puts with its middle (0.5) or its end (1) there. */
static void put_text(cairo_t *to, double x, double y, double align, double size, uint32_t colour, const char *text)
{
    cairo_set_font_size(to, size);
    set_colour(to, colour);
    cairo_move_to(to, x - align * text_width(to, text), y);
    cairo_show_text(to, text);
}

/* The same at its left end, any bytes as text, cut off with an ellipsis where it is wider than `room`. */
static void put_cut(cairo_t *to, double x, double y, double room, double size, uint32_t colour, const char *text)
{
    static const char ellipsis[] = "…";
    char cut[512];
    size_t length = cli_copy_text(cut, sizeof cut - sizeof ellipsis, text, strlen(text));
    cairo_set_font_size(to, size);
    while (length > 0 && text_width(to, cut) > room) {
        do
            length--;
        while (length > 0 && ((unsigned char)cut[length] & 0xc0) == 0x80);
        memcpy(cut + length, ellipsis, sizeof ellipsis);
    }
    put_text(to, x, y, 0, size, colour, cut);
}

/* ---- Panels ---------------------------------------------------------------------------------------------------- */

typedef struct panel {
    cli_curve curve;
    double left, right, top, bottom; /* where curves go */
    cli_scale x, y;
} panel;

static double place_x(const panel *p, double value)
{
    return p->left + (value - p->x.low) / (p->x.high - p->x.low) * (p->right - p->left);
}

static double place_y(const panel *p, double value)
{
    return p->bottom - (value - p->y.low) / (p->y.high - p->y.low) * (p->bottom - p->top);
}

static void draw_line(cairo_t *to, double x0, double y0, double x1, double y1, uint32_t colour)
{
    set_colour(to, colour);
    cairo_set_line_width(to, 1);
    cairo_move_to(to, floor(x0) + 0.5, floor(y0) + 0.5);
    cairo_line_to(to, floor(x1) + 0.5, floor(y1) + 0.5);
    cairo_stroke(to);
}

static void draw_axes(const picture *pic, const panel *p)
{
    char text[32];
    cairo_t *to = pic->to;
    for (int i = 0; i < p->y.marks; i++) {
        const double y = place_y(p, p->y.mark[i]);
        draw_line(to, p->left, y, p->right, y, grid);
        cli_scale_text(&p->y, i, text, sizeof text);
        put_text(to, p->left - 8, y + 4, 1, small_size, faint, text);
    }
    draw_line(to, p->left, p->bottom, p->right, p->bottom, axis);
    for (int i = 0; i < p->x.marks; i++) {
        const double x = place_x(p, p->x.mark[i]);
        draw_line(to, x, p->bottom, x, p->bottom + 4, axis);
        cli_scale_text(&p->x, i, text, sizeof text);
        put_text(to, x, p->bottom + 18, 0.5, small_size, faint, text);
    }
    put_text(to, p->right, p->bottom + 34, 1, small_size, faint, "epoch");
    put_text(to, p->left - ticks_room, p->top - 16, 0, text_size + 1, ink, names[p->curve]);
}

static void set_pen(cairo_t *to, int run)
{
    static const double dashes[3][2] = {{0, 0}, {6, 3.5}, {1.5, 3}};
    const double *dash = dashes[run / COLOURS % 3];
    set_colour(to, colours[run % COLOURS]);
    cairo_set_line_width(to, 1.9);
    cairo_set_line_join(to, CAIRO_LINE_JOIN_ROUND);
    cairo_set_dash(to, dash, dash[0] > 0 ? 2 : 0, 0);
}

/* A value that is not finite leaves a gap; what stands alone, and where there are few epochs each, is a dot. */
static void draw_curve(const picture *pic, const panel *p, int index)
{
    const cli_run *run = &pic->runs->run[index];
    cairo_t *to = pic->to;
    set_pen(to, index);
    for (int i = 0; i < run->epochs; i++) {
        const double value = run->epoch[i].value[p->curve];
        if (!isfinite(value))
            cairo_new_sub_path(to);
        else if (i == 0 || !isfinite(run->epoch[i - 1].value[p->curve]))
            cairo_move_to(to, place_x(p, run->epoch[i].epoch), place_y(p, value));
        else
            cairo_line_to(to, place_x(p, run->epoch[i].epoch), place_y(p, value));
    }
    cairo_stroke(to);
    cairo_set_dash(to, NULL, 0, 0);
    for (int i = 0; i < run->epochs && pic->last_epoch <= DOTS_UNTIL; i++) {
        const double value = run->epoch[i].value[p->curve];
        if (!isfinite(value))
            continue;
        cairo_arc(to, place_x(p, run->epoch[i].epoch), place_y(p, value), 2.4, 0, 2 * acos(-1));
        cairo_fill(to);
    }
}

static void draw_panel(const picture *pic, cli_curve curve)
{
    const double each = (width - 2 * margin - 2 * between) / RUN_CURVES;
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < pic->runs->count; i++) {
        for (int e = 0; e < pic->runs->run[i].epochs; e++) {
            const double value = pic->runs->run[i].epoch[e].value[curve];
            low = isfinite(value) ? fmin(low, value) : low;
            high = isfinite(value) ? fmax(high, value) : high;
        }
    }
    panel p = {.curve = curve, .left = margin + (int)curve * (each + between) + ticks_room, .top = pic->top};
    p.right = p.left - ticks_room + each;
    p.bottom = p.top + plot_height;
    p.y = cli_scale_of(low, high, 4, 0, true);
    p.x = cli_scale_of(pic->last_epoch > 1 ? 1 : 0, pic->last_epoch > 1 ? pic->last_epoch : 2, 4, 1, false);
    draw_axes(pic, &p);
    for (int i = 0; i < pic->runs->count; i++)
        draw_curve(pic, &p, i);
}

/* ---- Legend ---------------------------------------------------------------------------------------------------- */

/* "val accuracy 0.8592, best 0.8693 in epoch 9; 10 epochs of bn-lenet" */
static void describe(const cli_run *run, char *text, size_t size)
{
    double best = -INFINITY, last = NAN;
    int best_epoch = 0;
    for (int i = 0; i < run->epochs; i++) {
        const double value = run->epoch[i].value[CURVE_VAL_ACCURACY];
        last = value;
        if (value > best) {
            best = value;
            best_epoch = run->epoch[i].epoch;
        }
    }
    size_t length = (size_t)snprintf(text, size, "%s%s%d epoch%s", run->net, *run->net ? ", " : "", run->epochs,
                                     run->epochs == 1 ? "" : "s");
    if (isfinite(last) && length < size)
        length += (size_t)snprintf(text + length, size - length, ", val accuracy %.4f", last);
    if (best_epoch > 0 && length < size)
        snprintf(text + length, size - length, ", best %.4f in epoch %d", best, best_epoch);
}

/* A row a run, in order of a list that is read downwards; two columns where there are many. */
static int legend_columns(const cli_runs *runs)
{
    return runs->count > 5 ? 2 : 1;
}

static int legend_rows(const cli_runs *runs)
{
    return (runs->count + legend_columns(runs) - 1) / legend_columns(runs);
}

static void draw_legend(const picture *pic, double top)
{
    const int rows = legend_rows(pic->runs);
    const double column = (width - 2 * margin) / legend_columns(pic->runs), swatch = 28;
    cairo_t *to = pic->to;
    double widest = 0;
    cairo_set_font_size(to, text_size);
    for (int i = 0; i < pic->runs->count; i++)
        widest = fmax(widest, text_width(to, pic->runs->run[i].label));
    widest = fmin(widest, column * 0.35);
    for (int i = 0; i < pic->runs->count; i++) {
        const double x = margin + i / rows * column, y = top + i % rows * row_height;
        char text[160];
        set_pen(to, i);
        cairo_move_to(to, x, y - 4.5);
        cairo_line_to(to, x + swatch, y - 4.5);
        cairo_stroke(to);
        cairo_set_dash(to, NULL, 0, 0);
        put_cut(to, x + swatch + 8, y, widest + 1, text_size, ink, pic->runs->run[i].label);
        describe(&pic->runs->run[i], text, sizeof text);
        const double begin = swatch + widest + 26;
        put_cut(to, x + begin, y, column - begin - 12, text_size, faint, text);
    }
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

typedef struct sink {
    char *data;
    size_t size;
    FILE *to;
} sink;

static cairo_status_t take_bytes(void *user, const unsigned char *data, unsigned size)
{
    return fwrite(data, 1, size, user) == size ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

static void draw_all(const cli_plot_style *style, picture *pic, double height)
{
    cairo_t *to = pic->to;
    if (!style->transparent) {
        cairo_set_source_rgb(to, 1, 1, 1);
        cairo_rectangle(to, 0, 0, width, height);
        cairo_fill(to);
    }
    cairo_select_font_face(to, "sans-serif", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_NORMAL);
    if (style->title)
        put_cut(to, margin, margin + 14, width - 2 * margin, 18, ink, style->title);
    for (int curve = 0; curve < RUN_CURVES; curve++)
        draw_panel(pic, (cli_curve)curve);
    draw_legend(pic, pic->top + plot_height + 66);
}

int cli_plot_draw(const cli_command *self, const cli_plot_style *style, const cli_runs *runs, char **data,
                  size_t *size)
{
    const double scale = style->svg ? 1 : 2;
    picture pic = {.runs = runs, .top = style->title ? 100 : 58};
    const double height = pic.top + plot_height + 66 + (legend_rows(runs) - 1) * row_height + margin - 8;
    sink s = {.to = NULL};
    for (int i = 0; i < runs->count; i++)
        if (runs->run[i].epochs && runs->run[i].epoch[runs->run[i].epochs - 1].epoch > pic.last_epoch)
            pic.last_epoch = runs->run[i].epoch[runs->run[i].epochs - 1].epoch;
    if (pic.last_epoch == 0)
        return cli_fail(self, "no run has a finished epoch yet");
    if (!(s.to = open_memstream(&s.data, &s.size)))
        return cli_fail(self, "out of memory");
    cairo_surface_t *surface =
        style->svg ? cairo_svg_surface_create_for_stream(take_bytes, s.to, width, height)
                   : cairo_image_surface_create(CAIRO_FORMAT_ARGB32, (int)(width * scale), (int)(height * scale));
    pic.to = cairo_create(surface);
    cairo_scale(pic.to, scale, scale);
    draw_all(style, &pic, height);
    cairo_status_t status = cairo_status(pic.to);
    cairo_destroy(pic.to);
    if (!status && !style->svg)
        status = cairo_surface_write_to_png_stream(surface, take_bytes, s.to);
    cairo_surface_finish(surface); /* writes the end of an SVG */
    status = status ? status : cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    if (fclose(s.to) && !status)
        status = CAIRO_STATUS_NO_MEMORY;
    *data = s.data;
    *size = s.size;
    if (status) {
        free(s.data);
        return cli_fail(self, "drawing: %s", cairo_status_to_string(status));
    }
    return CLI_GO;
}

#else

int cli_plot_draw(const cli_command *self, const cli_plot_style *style, const cli_runs *runs, char **data,
                  size_t *size)
{
    (void)style, (void)runs, (void)data, (void)size;
    return cli_fail(self, "this build is without cairo: build with -DEVENKEEL_CAIRO=ON");
}

#endif
