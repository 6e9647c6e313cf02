/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "live.h"
#include "train.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 8 };                 /* points of train_loss in an epoch */
static const double interval = 0.1; /* seconds from picture to picture */

#define HIDE_CURSOR "\033[?25l"
#define SHOW_CURSOR "\033[?25h"

/* Sums over steps. */
typedef struct sums {
    double loss, accuracy;
    int64_t samples;
} sums;

struct cli_live {
    cli_terminal terminal;
    cli_chart chart;
    cli_canvas canvas;
    char *lines; /* of the table, not yet queued */
    size_t lines_size;
    int width[CANVAS_ROWS + 2]; /* columns of each line on the screen: a blank one, the chart, the status */
    int shown;                  /* of them; the cursor is in the last */
    int columns, rows;          /* of the terminal when that was drawn */
    bool changed;               /* the chart, since */
    double next;                /* when a picture is due */
    int64_t samples;            /* of an epoch */
    int parts;
    sums part, recent; /* since the chart's last point, since the last picture */
    double trained, training_seconds,
        val_seconds; /* epochs that are over: images, seconds of them, of a validation */
    cli_status status;
};

/* ---- The picture ----------------------------------------------------------------------------------------------- */

/* A terminal that became narrower may have broken lines in two, and the cursor is so much further down. */
static int rows_up(const cli_live *l)
{
    int rows = 0;
    for (int i = 0; i < l->shown; i++)
        rows += l->width[i] > l->terminal.columns ? (l->width[i] + l->terminal.columns - 1) / l->terminal.columns : 1;
    return rows - 1;
}

/* Rows for the chart, so that some of the table stays in sight; 0 for none. */
static int chart_rows(const cli_live *l)
{
    const int rows = l->terminal.rows - 11;
    return rows > 15 ? 15 : rows < 8 ? 0 : rows;
}

/* A training that has not come to its first point leaves no chart behind. */
static bool is_empty(const cli_chart *chart)
{
    return chart->train_loss.count == 0 && chart->val_loss.count == 0;
}

/* To the first column of the picture's first line, which is then the cursor's. */
static void go_to_top(cli_live *l, FILE *to)
{
    const int up = rows_up(l);
    putc('\r', to);
    if (up > 0)
        fprintf(to, "\033[%dA", up);
}

static void write_status(cli_live *l, FILE *to)
{
    char text[512];
    l->status.loss = l->recent.samples ? l->recent.loss / (double)l->recent.samples : l->status.loss;
    l->recent = (sums){0};
    cli_status_text(&l->status, l->terminal.unicode, l->terminal.columns - 1, text, sizeof text);
    fprintf(to, "%s\033[K", text);
    l->width[l->shown - 1] = cli_columns(text);
}

/* Whether it may draw: in the foreground. Where others have written since, what was drawn is left to itself. */
static bool owns_screen(cli_live *l)
{
    const bool ours = cli_terminal_is_ours(&l->terminal);
    if (cli_interrupt_resumed() || !ours)
        l->shown = 0;
    return ours;
}

/* In the background, where others draw: the lines of the table alone, as plain output. */
static void write_lines(cli_live *l, FILE *to)
{
    if (l->lines_size)
        fwrite(l->lines, 1, l->lines_size, to);
    l->lines_size = 0;
    l->changed = true;
}

/* All of it: lines of the table that are new, the chart, the status unless it is the last picture. */
static void write_picture(cli_live *l, FILE *to, bool last)
{
    const int rows = chart_rows(l);
    fputs(HIDE_CURSOR, to);
    if (l->shown)
        go_to_top(l, to);
    if (l->lines_size) {
        fputs("\033[J", to);
        fwrite(l->lines, 1, l->lines_size, to);
        l->lines_size = 0;
    }
    l->shown = 0;
    if (rows && !(last && is_empty(&l->chart)) &&
        cli_chart_draw(&l->chart, &l->canvas, l->terminal.columns - 1, rows, l->terminal.unicode,
                       l->terminal.colours > 0)) {
        l->width[l->shown++] = 0;
        fputs("\033[K\n", to);
        for (int i = 0; i < l->canvas.rows; i++) {
            l->width[l->shown++] = cli_canvas_write(&l->canvas, i, l->terminal.colours, to);
            fputs("\033[K\n", to);
        }
    }
    l->shown++;
    if (!last)
        write_status(l, to);
    fputs(last ? "\033[J" SHOW_CURSOR : "\033[J", to);
    l->columns = l->terminal.columns;
    l->rows = l->terminal.rows;
    l->changed = false;
}

/* Draws what has changed, or all of it; nothing while the terminal has not taken the picture before. */
static void draw(cli_live *l, bool last)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return;
    cli_terminal_measure(&l->terminal);
    if (!owns_screen(l)) {
        write_lines(l, to);
    } else if (last || l->changed || !l->shown || l->columns != l->terminal.columns || l->rows != l->terminal.rows) {
        write_picture(l, to, last);
    } else {
        putc('\r', to);
        write_status(l, to);
    }
    if (fclose(to) == 0)
        cli_terminal_add(&l->terminal, text, size);
    free(text);
    cli_terminal_send(&l->terminal);
}

static void draw_when_due(cli_live *l)
{
    const double now = cli_now();
    if (now < l->next || !cli_terminal_send(&l->terminal))
        return;
    l->next = now + interval;
    draw(l, false);
}

/* ---- What happens ---------------------------------------------------------------------------------------------- */

cli_live *cli_live_new(cli_drawing drawing, int epochs, int64_t samples)
{
    cli_live *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    if (!cli_terminal_open(&l->terminal, drawing)) {
        free(l);
        return NULL;
    }
    l->samples = samples;
    l->parts = epochs > 2 * CANVAS_COLUMNS ? 1 : PARTS;
    l->chart.epochs = epochs;
    l->status = (cli_status){.epochs = epochs, .left = -1};
    l->changed = true;
    return l;
}

static void add(sums *s, const ek_fit_event *event)
{
    if (event->kind == EK_EVENT_SKIPPED)
        return;
    s->loss += event->loss * event->batch_size;
    s->accuracy += event->accuracy * event->batch_size;
    s->samples += event->batch_size;
}

/* Time to the end, at the speed so far. */
static void take_speed(cli_live *l, const ek_fit_event *event)
{
    cli_status *s = &l->status;
    const double images = s->share * (double)l->samples;
    const double trained = l->trained + images, seconds = l->training_seconds + event->seconds;
    s->images_per_second = event->seconds > 0 ? images / event->seconds : 0;
    if (seconds > 0 && trained > 0) {
        const double rest = (double)l->samples * event->epochs - trained;
        s->left = rest * seconds / trained + l->val_seconds * (event->epochs - event->epoch + 1);
    }
}

void cli_live_step(cli_live *l, const ek_fit_event *event)
{
    cli_status *s = &l->status;
    add(&l->part, event);
    add(&l->recent, event);
    s->epoch = event->epoch;
    s->share = (double)event->step / (double)event->steps;
    if (event->step * l->parts / event->steps > (event->step - 1) * l->parts / event->steps && l->part.samples) {
        const double width = (double)l->part.samples / (double)l->samples;
        cli_series_add(&l->chart.train_loss, event->epoch - 1 + s->share - width / 2,
                       l->part.loss / (double)l->part.samples);
        l->part = (sums){0};
        l->changed = true;
    }
    if (cli_now() < l->next) {
        cli_terminal_send(&l->terminal);
        return;
    }
    take_speed(l, event);
    draw_when_due(l);
}

static void keep_line(cli_live *l, const char *line)
{
    const size_t length = strlen(line);
    char *more = realloc(l->lines, l->lines_size + length + 1);
    if (!more)
        return;
    memcpy(more + l->lines_size, line, length + 1);
    l->lines = more;
    l->lines_size += length;
}

void cli_live_epoch(cli_live *l, const ek_fit_event *event, const char *line)
{
    l->trained += (double)l->samples;
    l->training_seconds += event->seconds;
    if (event->has_val) {
        l->val_seconds = event->val_seconds;
        cli_series_add(&l->chart.val_loss, event->epoch, event->val_loss);
        cli_series_add(&l->chart.val_acc, event->epoch, event->val_accuracy);
        if (event->val_accuracy > l->chart.best) {
            l->chart.best = event->val_accuracy;
            l->chart.best_epoch = event->epoch;
        }
    }
    l->changed = true;
    keep_line(l, line);
    draw_when_due(l);
}

void cli_live_pause(cli_live *l)
{
    cli_terminal_drain(&l->terminal, 1);
    if (!owns_screen(l) || !l->shown)
        return;
    char up[32] = "";
    const int rows = rows_up(l);
    if (rows > 0)
        snprintf(up, sizeof up, "\033[%dA", rows);
    cli_terminal_add(&l->terminal, "\r", 1);
    cli_terminal_add(&l->terminal, up, strlen(up));
    cli_terminal_add(&l->terminal, "\033[J" SHOW_CURSOR, strlen("\033[J" SHOW_CURSOR));
    cli_terminal_drain(&l->terminal, 1);
    l->shown = 0;
}

void cli_live_end(cli_live *l)
{
    draw(l, true);
    cli_terminal_drain(&l->terminal, 1);
}

void cli_live_close(cli_live *l)
{
    while (!cli_terminal_drain(&l->terminal, 60) && !cli_interrupted())
        continue;
    cli_terminal_close(&l->terminal);
    free(l->lines);
    free(l);
}

int cli_live_terminal(const cli_live *l)
{
    return l->terminal.fd;
}
