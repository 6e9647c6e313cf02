/* SPDX-License-Identifier: MIT
 * Drawing runs with cairo. Units are pixels of a screen; y runs down. */
#define _GNU_SOURCE
#include "plot.h"

#ifdef EK_HAVE_CAIRO
#include "drawing.h"
#include "scale.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[RUN_CURVES] = {"train loss", "val loss", "val accuracy"};

static const double width = 1200, margin = 28, between = 34, ticks_room = 40, plot_height = 250;
static const double row_height = 22, text_size = 13, small_size = 12;

/* Beyond the colours, dashes tell runs apart. */
enum { DOTS_UNTIL = 30 };

typedef struct picture {
    cairo_t *to;
    const cli_runs *runs;
    const cli_plot_style *style;
    int last_epoch;
    double top; /* of the panels */
} picture;

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

static void draw_axes(const picture *pic, const panel *p)
{
    char text[32];
    cairo_t *to = pic->to;
    for (int i = 0; i < p->y.marks; i++) {
        const double y = place_y(p, p->y.mark[i]);
        cli_draw_line(to, p->left, y, p->right, y, CLI_GRID);
        cli_scale_text(&p->y, i, text, sizeof text);
        cli_draw_text(to, p->left - 8, y + 4, 1, small_size, CLI_FAINT, text);
    }
    cli_draw_line(to, p->left, p->bottom, p->right, p->bottom, CLI_AXIS);
    for (int i = 0; i < p->x.marks; i++) {
        const double x = place_x(p, p->x.mark[i]);
        cli_draw_line(to, x, p->bottom, x, p->bottom + 4, CLI_AXIS);
        cli_scale_text(&p->x, i, text, sizeof text);
        cli_draw_text(to, x, p->bottom + 18, 0.5, small_size, CLI_FAINT, text);
    }
    cli_draw_text(to, p->right, p->bottom + 34, 1, small_size, CLI_FAINT, "epoch");
    cli_draw_text(to, p->left - ticks_room, p->top - 16, 0, text_size + 1, CLI_INK, names[p->curve]);
}

static void set_pen(cairo_t *to, int run)
{
    static const double dashes[3][2] = {{0, 0}, {6, 3.5}, {1.5, 3}};
    const double *dash = dashes[run / CLI_COLOURS % 3];
    cli_set_colour(to, cli_colours[run % CLI_COLOURS]);
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

/* "bn-lenet, 10 epochs, val accuracy 0.8592, best 0.8693 in epoch 9"; brief: from the accuracy on, if there is one. */
static void describe(const cli_run *run, bool brief, char *text, size_t size)
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
    size_t length = 0;
    if (!brief || !isfinite(last))
        length = (size_t)snprintf(text, size, "%s%s%d epoch%s%s", run->net, *run->net ? ", " : "", run->epochs,
                                  run->epochs == 1 ? "" : "s", isfinite(last) ? ", " : "");
    if (isfinite(last) && length < size)
        length += (size_t)snprintf(text + length, size - length, "val accuracy %.4f", last);
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
        widest = fmax(widest, cli_text_width(to, pic->runs->run[i].label));
    widest = fmin(widest, column * 0.35);
    for (int i = 0; i < pic->runs->count; i++) {
        const double x = margin + i / rows * column, y = top + i % rows * row_height;
        char text[160];
        set_pen(to, i);
        cairo_move_to(to, x, y - 4.5);
        cairo_line_to(to, x + swatch, y - 4.5);
        cairo_stroke(to);
        cairo_set_dash(to, NULL, 0, 0);
        cli_draw_cut(to, x + swatch + 8, y, widest + 1, text_size, CLI_INK, pic->runs->run[i].label);
        describe(&pic->runs->run[i], legend_columns(pic->runs) > 1, text, sizeof text);
        const double begin = swatch + widest + 26;
        cli_draw_cut(to, x + begin, y, column - begin - 12, text_size, CLI_FAINT, text);
    }
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

static void draw_all(cairo_t *to, const void *user)
{
    const picture *whole = user;
    picture pic = *whole;
    pic.to = to;
    if (pic.style->title)
        cli_draw_cut(to, margin, margin + 14, width - 2 * margin, 18, CLI_INK, pic.style->title);
    for (int curve = 0; curve < RUN_CURVES; curve++)
        draw_panel(&pic, (cli_curve)curve);
    draw_legend(&pic, pic.top + plot_height + 66);
}

int cli_plot_draw(const cli_command *self, const cli_plot_style *style, const cli_runs *runs, char **data,
                  size_t *size)
{
    picture pic = {.runs = runs, .style = style, .top = style->title ? 100 : 58};
    for (int i = 0; i < runs->count; i++)
        if (runs->run[i].epochs && runs->run[i].epoch[runs->run[i].epochs - 1].epoch > pic.last_epoch)
            pic.last_epoch = runs->run[i].epoch[runs->run[i].epochs - 1].epoch;
    if (pic.last_epoch == 0)
        return cli_fail(self, "no run has a finished epoch yet");
    const cli_picture page = {.width = width,
                              .height =
                                  pic.top + plot_height + 66 + (legend_rows(runs) - 1) * row_height + margin - 8,
                              .svg = style->svg,
                              .transparent = style->transparent};
    return cli_picture_make(self, &page, draw_all, &pic, data, size);
}

#else

int cli_plot_draw(const cli_command *self, const cli_plot_style *style, const cli_runs *runs, char **data,
                  size_t *size)
{
    (void)style, (void)runs, (void)data, (void)size;
    return cli_fail(self, "this build is without cairo: build with -DEVENKEEL_CAIRO=ON");
}

#endif
