/* SPDX-License-Identifier: MIT */
#include "chart.h"
#include "scale.h"

#include <math.h>
#include <string.h>

enum { TWO_PANELS = 78, NARROWEST = 48, LOWEST = 7, BETWEEN = 4, GAP = 2 };

/* ---- Curves ---------------------------------------------------------------------------------------------------- */

static void put_point(cli_series *s, double x, double y)
{
    s->x[s->count] = x;
    s->y[s->count++] = y;
    if (s->count < SERIES_POINTS)
        return;
    s->count /= 2;
    for (int i = 0; i < s->count; i++) {
        s->x[i] = (s->x[2 * i] + s->x[2 * i + 1]) / 2;
        s->y[i] = (s->y[2 * i] + s->y[2 * i + 1]) / 2;
    }
    s->stride *= 2;
}

void cli_series_add(cli_series *s, double x, double y)
{
    s->stride = s->stride ? s->stride : 1;
    s->last = y;
    s->sum_x += x;
    s->sum_y += y;
    if (++s->taken < s->stride)
        return;
    const double taken = (double)s->taken;
    put_point(s, s->sum_x / taken, s->sum_y / taken);
    s->taken = 0;
    s->sum_x = s->sum_y = 0;
}

/* ---- Panels ---------------------------------------------------------------------------------------------------- */

typedef struct curve {
    const cli_series *series;
    const char *name;
    cli_pen pen;
} curve;

typedef struct panel {
    curve curve[3];
    int curves;
    cli_area area; /* of the whole panel */
    cli_scale x, y;
    double furthest; /* x of the last point of all */
    cli_area inner;  /* where the curves go */
} panel;

/* The range of y. The first tenth of what has been seen is left to be cut off at the top: a loss begins so high that
 * the rest would be a flat line. */
static void range(const panel *p, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (int c = 0; c < p->curves; c++) {
        const cli_series *s = p->curve[c].series;
        for (int i = 0; i < s->count; i++) {
            if (!isfinite(s->y[i]))
                continue;
            *low = fmin(*low, s->y[i]);
            if (s->x[i] >= p->furthest / 10 || s->count < 4)
                *high = fmax(*high, s->y[i]);
        }
    }
}

/* An axis for values from low to high on so many rows: it begins at a mark, marks stand whole rows apart, two at least,
 * and of the distances that can be had the one is taken that leaves the least room unused. */
static cli_scale scale_rows(double low, double high, int rows)
{
    cli_scale best = {.marks = 0};
    double best_fill = 0;
    for (int wanted = 1; wanted <= rows / 2; wanted++) {
        cli_scale s = cli_scale_of(low, high, wanted, 0, true);
        const double step = s.mark[1] - s.mark[0];
        const double top = high > low ? high : s.high;
        const int apart = (int)fmin((rows - 1) * step / (top - s.low), rows - 1);
        const double fill = apart / step;
        if (best.marks && (apart < 2 || fill <= best_fill))
            continue;
        s.high = s.low + step * (rows - 1) / (apart > 0 ? apart : 1);
        while (s.marks > 1 && s.mark[s.marks - 1] > s.high)
            s.marks--;
        best = s;
        best_fill = fill;
    }
    return best;
}

static void draw_axes(const panel *p, cli_canvas *canvas, cli_area inner)
{
    const bool u = canvas->unicode;
    char text[32];
    const int base = inner.row + inner.rows;
    for (int i = 0; i < inner.rows; i++)
        cli_canvas_text(canvas, inner.column - 1, inner.row + i, INK_FAINT, u ? "│" : "|");
    cli_canvas_text(canvas, inner.column - 1, base, INK_FAINT, u ? "└" : "+");
    for (int i = 0; i < inner.columns; i++)
        cli_canvas_text(canvas, inner.column + i, base, INK_FAINT, u ? "─" : "-");
    for (int i = 0; i < p->y.marks; i++) {
        const double share = (p->y.mark[i] - p->y.low) / (p->y.high - p->y.low);
        const int row = base - 1 - (int)lround(share * (inner.rows - 1));
        cli_scale_text(&p->y, i, text, sizeof text);
        cli_canvas_text(canvas, inner.column - 2 - (int)strlen(text), row, INK_FAINT, text);
        cli_canvas_text(canvas, inner.column - 1, row, INK_FAINT, u ? "┤" : "+");
    }
    int free_from = 0;
    for (int i = 0; i < p->x.marks; i++) {
        const double share = (p->x.mark[i] - p->x.low) / (p->x.high - p->x.low);
        const int column = inner.column + (int)lround(share * (inner.columns - 1));
        cli_canvas_text(canvas, column, base, INK_FAINT, u ? "┬" : "+");
        cli_scale_text(&p->x, i, text, sizeof text);
        int begin = column - (int)strlen(text) / 2;
        if (begin + (int)strlen(text) > p->area.column + p->area.columns)
            begin = p->area.column + p->area.columns - (int)strlen(text);
        if (begin >= free_from)
            free_from = 2 + cli_canvas_text(canvas, begin, base + 1, INK_FAINT, text);
    }
}

/* Where a value is between the ends of an axis of `cells` cells, as a fraction of their `dots` dots each: the ends are
 * the middles of the first and the last cell, where their marks are. */
static double place(const cli_scale *s, double value, int cells, int dots)
{
    const double share = (value - s->low) / (s->high - s->low);
    const double dot = (dots - 1) / 2.0 + share * dots * (cells - 1);
    return dot / (cells * dots - 1);
}

/* The curve, from point to point; a single one is a dot. */
static void draw_curve(const panel *p, cli_canvas *canvas, const curve *c)
{
    const cli_series *s = c->series;
    double x = 0, y = 0;
    for (int i = 0; i < s->count; i++) {
        const double to_x = place(&p->x, s->x[i], p->inner.columns, canvas->unicode ? 2 : 1);
        const double to_y = place(&p->y, s->y[i], p->inner.rows, canvas->unicode ? 4 : 1);
        cli_canvas_line(canvas, p->inner, &c->pen, i ? x : to_x, i ? y : to_y, to_x, to_y);
        x = to_x;
        y = to_y;
    }
}

/* A curve's name with a piece of it and, where `value`, its last value: "━━ train_loss 0.301". */
static int draw_name(cli_canvas *canvas, int column, int row, const curve *c, bool value)
{
    char text[64], piece[8] = {c->pen.letter, c->pen.letter, 0};
    const char *line = !canvas->unicode ? piece : c->pen.off == 0 ? "━━" : c->pen.on > 1 ? "╍╍" : "┅┅";
    column = cli_canvas_text(canvas, column, row, c->pen.ink, line);
    snprintf(text, sizeof text, value && c->series->count ? " %s %.3f" : " %s", c->name, c->series->last);
    return cli_canvas_text(canvas, column, row, INK_PLAIN, text);
}

/* Names of all curves in the first row, with values where there is room. Returns the column behind them. */
static int draw_names(const panel *p, cli_canvas *canvas)
{
    int width = 0, column = p->area.column;
    for (int c = 0; c < p->curves; c++)
        width += GAP + (int)strlen("-- 0.000 ") + (int)strlen(p->curve[c].name);
    const bool values = width - GAP <= p->area.columns + GAP;
    for (int c = 0; c < p->curves; c++)
        column = GAP + draw_name(canvas, column, p->area.row, &p->curve[c], values);
    return column - GAP;
}

/* Returns the column behind the names. */
static int draw_panel(panel *p, cli_canvas *canvas, int epochs)
{
    double low, high;
    char text[32];
    size_t widest = 1;
    for (int c = 0; c < p->curves; c++) {
        const cli_series *s = p->curve[c].series;
        p->furthest = s->count ? fmax(p->furthest, s->x[s->count - 1]) : p->furthest;
    }
    range(p, &low, &high);
    const int plot_rows = p->area.rows - 3; /* names above, the axis and its numbers below */
    p->y = scale_rows(low, high, plot_rows);
    p->x = cli_scale_of(0, epochs, p->area.columns < 50 ? 4 : 5, 1, false);
    for (int i = 0; i < p->y.marks; i++) {
        cli_scale_text(&p->y, i, text, sizeof text);
        widest = strlen(text) > widest ? strlen(text) : widest;
    }
    const int left = (int)widest + 2;
    p->inner = (cli_area){p->area.column + left, p->area.row + 1, p->area.columns - left, plot_rows};
    draw_axes(p, canvas, p->inner);
    for (int c = 0; c < p->curves; c++)
        draw_curve(p, canvas, &p->curve[c]);
    return draw_names(p, canvas);
}

bool cli_chart_draw(const cli_chart *chart, cli_canvas *canvas, int columns, int rows, bool unicode, bool colour)
{
    const curve train_loss = {&chart->train_loss, "train_loss", {INK_BLUE, '.', 1, 0}};
    const curve val_loss = {&chart->val_loss, "val_loss", {INK_ORANGE, 'o', 4, colour ? 0 : 3}};
    const curve val_acc = {&chart->val_acc, "val_acc", {INK_GREEN, '*', 1, 0}};
    cli_canvas_clear(canvas, columns, rows, unicode);
    columns = canvas->columns;
    rows = canvas->rows;
    if (columns < NARROWEST || rows < LOWEST)
        return false;
    if (columns >= TWO_PANELS) {
        const int half = (columns - BETWEEN) / 2;
        panel loss = {.curve = {train_loss, val_loss}, .curves = 2, .area = {0, 0, half, rows}};
        panel accuracy = {.curve = {val_acc}, .curves = 1, .area = {half + BETWEEN, 0, half, rows}};
        draw_panel(&loss, canvas, chart->epochs);
        const int end = draw_panel(&accuracy, canvas, chart->epochs);
        char text[64];
        snprintf(text, sizeof text, "best %.3f in epoch %d", chart->best, chart->best_epoch);
        const int begin = columns - (int)strlen(text);
        if (chart->best_epoch > 0 && begin >= end + 2)
            cli_canvas_text(canvas, begin, 0, INK_FAINT, text);
    } else {
        panel all = {.curve = {train_loss, val_loss, val_acc}, .curves = 3, .area = {0, 0, columns, rows}};
        all.curve[2].pen.on = 1;
        all.curve[2].pen.off = colour ? 0 : 2;
        draw_panel(&all, canvas, chart->epochs);
    }
    return true;
}
