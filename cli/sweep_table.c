/* SPDX-License-Identifier: MIT
 * What a sweep has found: a table, a picture of text, JSON. */
#define _GNU_SOURCE
#include "json.h"
#include "scale.h"
#include "status.h"
#include "sweep.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Rows ------------------------------------------------------------------------------------------------------ */

static cli_spread spread_of(const double *value, int n)
{
    cli_spread s = {.n = n, .mean = NAN, .sd = NAN, .min = NAN, .max = NAN};
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        sum += value[i];
        s.min = i ? fmin(s.min, value[i]) : value[i];
        s.max = i ? fmax(s.max, value[i]) : value[i];
    }
    s.mean = n ? sum / n : NAN;
    for (int i = 0; i < n; i++)
        squares += (value[i] - s.mean) * (value[i] - s.mean);
    s.sd = n > 1 ? sqrt(squares / (n - 1)) : NAN;
    return s;
}

int cli_sweep_rows(const cli_sweep *s)
{
    return s->runs / s->seeds;
}

cli_sweep_row cli_sweep_row_of(const cli_sweep *s, int index)
{
    cli_sweep_row row = {.first = index * s->seeds};
    double value[4][SWEEP_VALUES];
    for (int i = row.first; i < row.first + s->seeds; i++) {
        const cli_result *r = &s->run[i].result;
        row.failed += r->state == RUN_FAILED;
        row.pending += r->state != RUN_FAILED && r->state != RUN_DONE;
        if (r->state != RUN_DONE)
            continue;
        value[0][row.done] = r->val_accuracy;
        value[1][row.done] = r->val_loss;
        value[2][row.done] = r->train_loss;
        value[3][row.done++] = r->seconds;
    }
    row.val_accuracy = spread_of(value[0], row.done);
    row.val_loss = spread_of(value[1], row.done);
    row.train_loss = spread_of(value[2], row.done);
    row.seconds = spread_of(value[3], row.done);
    return row;
}

void cli_sweep_label(const cli_sweep *s, int row, char *text, size_t size)
{
    size_t length = 0;
    *text = 0;
    for (int a = 0; a < s->axes - 1 && length < size; a++)
        if (s->axis[a].values > 1)
            length += (size_t)snprintf(text + length, size - length, "%s%s %s", length ? ", " : "",
                                       s->axis[a].option + 2, cli_sweep_short(s, row * s->seeds, a));
}

/* ---- The table ------------------------------------------------------------------------------------------------- */

/* Columns of the axes that vary; all of them, and the options' names, fit. */
static int width_of(const cli_sweep *s, int axis)
{
    int width = cli_columns(s->axis[axis].option + 2);
    for (int i = 0; i < cli_sweep_rows(s); i++) {
        const int columns = cli_columns(cli_sweep_short(s, i * s->seeds, axis));
        width = columns > width ? columns : width;
    }
    return width;
}

static void put_padded(const char *text, int width)
{
    cli_put_text(text);
    printf("%*s", width - cli_columns(text) + 2, "");
}

static void put_number(double value, int width, int digits)
{
    if (isfinite(value) && fabs(value) >= 1e5)
        printf("  %*.1e", width, value);
    else if (isfinite(value))
        printf("  %*.*f", width, digits, value);
    else
        printf("  %*s", width, "-");
}

static void put_spread(const cli_spread *spread, bool unicode)
{
    put_number(spread->mean, 7, 4);
    if (isfinite(spread->sd))
        printf(" %s %.4f", unicode ? "±" : "+-", spread->sd);
    else
        printf("  %s       ", unicode ? "" : " ");
}

static void print_rows(const cli_sweep *s, bool unicode)
{
    bool failed = false, pending = false;
    int width[TRAIN_OPTIONS];
    for (int i = 0; i < s->runs; i++) {
        failed = failed || s->run[i].result.state == RUN_FAILED;
        pending = pending || s->run[i].result.state == RUN_PENDING;
    }
    for (int a = 0; a < s->axes - 1; a++)
        if (s->axis[a].values > 1)
            put_padded(s->axis[a].option + 2, width[a] = width_of(s, a));
    printf("%4s   %-*s  %7s  %7s  %8s  %10s  %7s%s%s\n", "n", unicode ? 15 : 16, "val_accuracy", "min", "max",
           "val_loss", "train_loss", "seconds", failed ? "  failed" : "", pending ? "  to do" : "");
    for (int i = 0; i < cli_sweep_rows(s); i++) {
        const cli_sweep_row row = cli_sweep_row_of(s, i);
        for (int a = 0; a < s->axes - 1; a++)
            if (s->axis[a].values > 1)
                put_padded(cli_sweep_short(s, row.first, a), width[a]);
        printf("%4d", row.done);
        put_spread(&row.val_accuracy, unicode);
        put_number(row.val_accuracy.min, 7, 4);
        put_number(row.val_accuracy.max, 7, 4);
        put_number(row.val_loss.mean, 8, 4);
        put_number(row.train_loss.mean, 10, 4);
        put_number(row.seconds.mean, 7, 1);
        if (failed)
            printf("  %6d", row.failed);
        if (pending)
            printf("  %5d", row.pending);
        putchar('\n');
    }
}

/* ---- The picture ----------------------------------------------------------------------------------------------- */

enum { LABEL_MAX = 36, PLOT = 56 };

/* Where a value is on the line, from 0. */
static int place(const cli_scale *scale, double value, int columns)
{
    return (int)lround((value - scale->low) / (scale->high - scale->low) * (columns - 1));
}

static void print_axis(const cli_scale *scale, int indent, int columns, bool unicode)
{
    char line[2 * PLOT] = "", text[32];
    int end = 0;
    for (int i = 0; i < scale->marks; i++) {
        cli_scale_text(scale, i, text, sizeof text);
        const int at = place(scale, scale->mark[i], columns), begin = at - (int)strlen(text) / 2 + 8;
        if (begin < end)
            continue;
        end += snprintf(line + end, sizeof line - (size_t)end, "%*s%s", begin - end, "", text) + 0;
        end = (int)strlen(line) + 1;
        strcat(line, " ");
    }
    printf("%*s", indent, "");
    for (int i = 0; i < columns; i++) {
        bool mark = false;
        for (int k = 0; k < scale->marks; k++)
            mark = mark || place(scale, scale->mark[k], columns) == i;
        fputs(unicode ? (mark ? "┬" : "─") : (mark ? "+" : "-"), stdout);
    }
    printf("\n%*s%s\n", indent - 8, "", line);
}

/* Every seed a dot, more of them a larger one; their mean an upright line. */
static void print_strip(const cli_sweep *s, const cli_sweep_row *row, const cli_scale *scale, bool unicode)
{
    static const char *const dots[2][4] = {{" ", ".", "o", "O"}, {" ", "·", "•", "●"}};
    int seeds[PLOT] = {0};
    const int mean = isfinite(row->val_accuracy.mean) ? place(scale, row->val_accuracy.mean, PLOT) : -1;
    for (int i = row->first; i < row->first + s->seeds; i++)
        if (s->run[i].result.state == RUN_DONE && isfinite(s->run[i].result.val_accuracy))
            seeds[place(scale, s->run[i].result.val_accuracy, PLOT)]++;
    int last = mean;
    for (int i = 0; i < PLOT; i++)
        last = seeds[i] && i > last ? i : last;
    for (int i = 0; i <= last; i++)
        fputs(i == mean ? (unicode ? "┃" : "|") : dots[unicode][seeds[i] > 3 ? 3 : seeds[i]], stdout);
    putchar('\n');
}

static void print_picture(const cli_sweep *s, bool unicode)
{
    double low = INFINITY, high = -INFINITY;
    int widest = 0;
    char label[256];
    for (int i = 0; i < s->runs; i++) {
        const cli_result *r = &s->run[i].result;
        if (r->state == RUN_DONE && isfinite(r->val_accuracy)) {
            low = fmin(low, r->val_accuracy);
            high = fmax(high, r->val_accuracy);
        }
    }
    if (!(low <= high))
        return;
    const cli_scale scale = cli_scale_of(low, high, 4, 0, true);
    for (int i = 0; i < cli_sweep_rows(s); i++) {
        cli_sweep_label(s, i, label, sizeof label);
        widest = cli_columns(label) > widest ? cli_columns(label) : widest;
    }
    widest = widest > LABEL_MAX ? LABEL_MAX : widest < 6 ? 6 : widest;
    printf("\n%*sval_accuracy, a dot a seed, %s their mean\n", widest + 2, "", unicode ? "┃" : "|");
    for (int i = 0; i < cli_sweep_rows(s); i++) {
        const cli_sweep_row row = cli_sweep_row_of(s, i);
        char cut[4 * LABEL_MAX + 1];
        size_t length = 0;
        cli_sweep_label(s, i, label, sizeof label);
        cli_copy_text(cut, sizeof cut, label, strlen(label));
        for (int columns = 0; cut[length]; length++) {
            columns += ((unsigned char)cut[length] & 0xc0) != 0x80;
            if (columns > widest)
                break;
        }
        cut[length] = 0;
        put_padded(cut, widest);
        print_strip(s, &row, &scale, unicode);
    }
    print_axis(&scale, widest + 2, PLOT, unicode);
}

void cli_sweep_print(const cli_sweep *s)
{
    const bool unicode = cli_utf8_locale();
    putchar('\n');
    print_rows(s, unicode);
    print_picture(s, unicode);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------ */

static void put_json_spread(cli_json *j, const char *key, const cli_spread *spread)
{
    cli_json_open(j, key);
    cli_json_real(j, "mean", spread->mean);
    cli_json_real(j, "sd", spread->sd);
    cli_json_real(j, "min", spread->min);
    cli_json_real(j, "max", spread->max);
    cli_json_close(j);
}

static void put_json_run(cli_json *j, const cli_sweep *s, int index)
{
    static const char *const states[] = {"to do", "to do", "done", "failed"};
    const cli_result *r = &s->run[index].result;
    cli_json_open(j, NULL);
    cli_json_text(j, "name", s->run[index].name);
    cli_json_text(j, "seed", cli_sweep_value(s, index, s->axes - 1));
    cli_json_text(j, "state", states[r->state]);
    cli_json_given_text(j, "message", r->message);
    cli_json_whole(j, "epochs", r->epochs);
    cli_json_given_real(j, "epoch", r->epoch);
    cli_json_real(j, "val_accuracy", r->val_accuracy);
    cli_json_real(j, "val_loss", r->val_loss);
    cli_json_real(j, "train_loss", r->train_loss);
    cli_json_real(j, "seconds", r->seconds);
    cli_json_close(j);
}

void cli_sweep_print_json(const cli_sweep *s)
{
    cli_json j = {.to = stdout};
    cli_json_open(&j, NULL);
    cli_json_text(&j, "sweep", s->dir);
    cli_json_whole(&j, "runs", s->runs);
    cli_json_list(&j, "rows");
    for (int i = 0; i < cli_sweep_rows(s); i++) {
        const cli_sweep_row row = cli_sweep_row_of(s, i);
        cli_json_open(&j, NULL);
        cli_json_open(&j, "options");
        for (int a = 0; a < s->axes - 1; a++)
            cli_json_text(&j, s->axis[a].option + 2, cli_sweep_value(s, row.first, a));
        cli_json_close(&j);
        cli_json_whole(&j, "done", row.done);
        cli_json_whole(&j, "failed", row.failed);
        cli_json_whole(&j, "to_do", row.pending);
        put_json_spread(&j, "val_accuracy", &row.val_accuracy);
        put_json_spread(&j, "val_loss", &row.val_loss);
        put_json_spread(&j, "train_loss", &row.train_loss);
        put_json_spread(&j, "seconds", &row.seconds);
        cli_json_list(&j, "runs");
        for (int k = row.first; k < row.first + s->seeds; k++)
            put_json_run(&j, s, k);
        cli_json_list_end(&j);
        cli_json_close(&j);
    }
    cli_json_list_end(&j);
    cli_json_close(&j);
    putchar('\n');
}
