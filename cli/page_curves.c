/* SPDX-License-Identifier: MIT
 * A training by epoch: two charts, each of the training data's curve and the validation data's, with moving statistics
 * as well where exact ones were taken; and the table. */
#include "html.h"
#include "page.h"
#include "scale.h"

#include <math.h>
#include <string.h>

/* Of a chart, in units of its own that are about a pixel. */
static const double width = 420, height = 236, left = 40, right = 322, top = 10, bottom = 206;

/* Points of a curve beyond which every n-th is drawn, and from which on points show under the pointer alone. */
enum { POINTS_MAX = 500, DOTS_MAX = 40 };

enum { CURVES = 3 };

typedef struct curve {
    const char *name; /* "train": its class, too */
    const char *what; /* "train loss" */
    double (*value)(const cli_epoch *epoch);
} curve;

typedef struct chart {
    FILE *to;
    const cli_run *run;
    const char *title;
    curve curves[CURVES];
    bool best; /* the greatest value of "val" is marked */
    cli_scale x, y;
    int every;
} chart;

static double train_loss(const cli_epoch *e)
{
    return e->value[CURVE_TRAIN_LOSS];
}

static double val_loss(const cli_epoch *e)
{
    return e->value[CURVE_VAL_LOSS];
}

static double train_accuracy(const cli_epoch *e)
{
    return e->train_accuracy;
}

static double val_accuracy(const cli_epoch *e)
{
    return e->value[CURVE_VAL_ACCURACY];
}

static double moving_loss(const cli_epoch *e)
{
    return e->has_moving ? e->moving_loss : NAN;
}

static double moving_accuracy(const cli_epoch *e)
{
    return e->has_moving ? e->moving_accuracy : NAN;
}

static bool has_moving(const cli_run *run)
{
    for (int i = 0; i < run->epochs; i++)
        if (run->epoch[i].has_moving)
            return true;
    return false;
}

/* ---- Places ---------------------------------------------------------------------------------------------------- */

static double place_x(const chart *c, double epoch)
{
    return left + (epoch - c->x.low) / (c->x.high - c->x.low) * (right - left);
}

static double place_y(const chart *c, double value)
{
    return bottom - (value - c->y.low) / (c->y.high - c->y.low) * (bottom - top);
}

/* Every n-th epoch is drawn, and the last. */
static bool is_drawn(const chart *c, int i)
{
    return i % c->every == 0 || i == c->run->epochs - 1;
}

static void find_scales(chart *c)
{
    const cli_run *run = c->run;
    double low = INFINITY, high = -INFINITY;
    for (int i = 0; i < run->epochs; i++) {
        for (int k = 0; k < CURVES; k++) {
            const double value = c->curves[k].value(&run->epoch[i]);
            low = isfinite(value) ? fmin(low, value) : low;
            high = isfinite(value) ? fmax(high, value) : high;
        }
    }
    const int first = run->epoch[0].epoch, last = run->epoch[run->epochs - 1].epoch;
    c->y = cli_scale_of(low, high, 4, 0, true);
    c->x = cli_scale_of(last > first ? first : first - 1, last > first ? last : last + 1, 4, 1, false);
    c->every = (run->epochs + POINTS_MAX - 1) / POINTS_MAX;
}

/* ---- Lines ----------------------------------------------------------------------------------------------------- */

static void draw_axes(const chart *c)
{
    char text[32];
    for (int i = 0; i < c->y.marks; i++) {
        const double y = place_y(c, c->y.mark[i]);
        cli_scale_text(&c->y, i, text, sizeof text);
        cli_html_put(c->to,
                     "<path class=\"grid\" d=\"M%.0f %.1fH%.0f\"/>"
                     "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                     left, y, right, left - 7, y + 4, text);
    }
    cli_html_put(c->to, "<path class=\"axis\" d=\"M%.0f %.1fH%.0f\"/>\n", left, bottom, right);
    for (int i = 0; i < c->x.marks; i++) {
        cli_scale_text(&c->x, i, text, sizeof text);
        cli_html_put(c->to, "<text x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">%s</text>\n",
                     place_x(c, c->x.mark[i]), bottom + 17, text);
    }
    cli_html_put(c->to, "<text x=\"%.0f\" y=\"%.0f\">epoch</text>\n", right + 20, bottom + 17);
}

/* A value that is not finite leaves a gap. */
static void draw_curve(const chart *c, const curve *k)
{
    bool open = false, any = false;
    for (int i = 0; i < c->run->epochs; i++) {
        const cli_epoch *e = &c->run->epoch[i];
        const double value = k->value(e);
        if (!is_drawn(c, i))
            continue;
        if (!isfinite(value)) {
            open = false;
            continue;
        }
        cli_html_put(c->to, any ? "" : "<path class=\"curve\" d=\"");
        cli_html_put(c->to, open ? "L%.1f %.1f" : "M%.1f %.1f", place_x(c, e->epoch), place_y(c, value));
        open = any = true;
    }
    cli_html_put(c->to, any ? "\"/>\n" : "");
}

static void draw_points(const chart *c, const curve *k)
{
    const bool few = c->run->epochs <= DOTS_MAX;
    for (int i = 0; i < c->run->epochs; i++) {
        const cli_epoch *e = &c->run->epoch[i];
        const double value = k->value(e);
        if (is_drawn(c, i) && isfinite(value))
            cli_html_put(
                c->to,
                "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>epoch %d: %s %.4f</title></circle>\n",
                few ? "dot" : "hit", place_x(c, e->epoch), place_y(c, value), few ? "2.6" : "4", e->epoch, k->what,
                value);
    }
}

/* NULL where no value is finite. */
static const cli_epoch *find_best(const cli_run *run, const curve *k)
{
    const cli_epoch *best = NULL;
    for (int i = 0; i < run->epochs; i++)
        if (isfinite(k->value(&run->epoch[i])) && (!best || k->value(&run->epoch[i]) > k->value(best)))
            best = &run->epoch[i];
    return best;
}

static void draw_best(const chart *c, const curve *k, const cli_epoch *best)
{
    cli_html_put(
        c->to,
        "<circle class=\"ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"><title>best: %.4f in epoch %d</title></circle>",
        place_x(c, best->epoch), place_y(c, k->value(best)), k->value(best), best->epoch);
}

/* The curves' names and last values stand at their ends, from the top down and apart from each other. */
static void draw_names(const chart *c)
{
    const cli_epoch *last = &c->run->epoch[c->run->epochs - 1];
    const double apart = 15;
    const curve *order[CURVES] = {NULL};
    double y[CURVES] = {0};
    int count = 0;
    for (int k = 0; k < CURVES; k++) {
        const double value = c->curves[k].value(last);
        if (!isfinite(value))
            continue;
        int at = count++;
        for (; at > 0 && y[at - 1] > place_y(c, value); at--) {
            y[at] = y[at - 1];
            order[at] = order[at - 1];
        }
        y[at] = place_y(c, value);
        order[at] = &c->curves[k];
    }
    for (int i = 1; i < count; i++)
        y[i] = fmax(y[i], y[i - 1] + apart);
    for (int i = count - 1; i >= 0; i--) /* what that has pushed too far down pushes back */
        y[i] = fmin(y[i], bottom - apart * (count - 1 - i));
    for (int i = 0; i < count; i++)
        cli_html_put(c->to, "<g class=\"%s\"><text class=\"name\" x=\"%.1f\" y=\"%.1f\">%s %.4f</text></g>\n",
                     order[i]->name, right + 9, y[i] + 4, order[i]->name, order[i]->value(last));
}

static void draw(chart *c)
{
    const cli_run *run = c->run;
    const cli_epoch *best = c->best ? find_best(run, &c->curves[1]) : NULL;
    find_scales(c);
    cli_html_put(c->to, "<figure><figcaption>%s", c->title);
    if (best)
        cli_html_put(c->to, "; val’s best %.4f, epoch %d", c->curves[1].value(best), best->epoch);
    cli_html_put(c->to,
                 "</figcaption>\n<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
                 "aria-label=\"%s by epoch, from %d to %d; the table below has the numbers\">\n",
                 width, height, c->title, run->epoch[0].epoch, run->epoch[run->epochs - 1].epoch);
    draw_axes(c);
    for (int k = 0; k < CURVES; k++) {
        if (!find_best(run, &c->curves[k])) /* there is no such curve */
            continue;
        cli_html_put(c->to, "<g class=\"%s\">", c->curves[k].name);
        draw_curve(c, &c->curves[k]);
        draw_points(c, &c->curves[k]);
        if (k == 1 && best)
            draw_best(c, &c->curves[k], best);
        cli_html_put(c->to, "</g>\n");
    }
    draw_names(c);
    cli_html_put(c->to, "</svg></figure>\n");
}

/* ---- The table ------------------------------------------------------------------------------------------------- */

static void put_cell(FILE *to, double value, int decimals)
{
    char text[32];
    snprintf(text, sizeof text, "%.*f", decimals, value);
    cli_html_put(to, "<td class=\"n\">%s</td>", isfinite(value) ? text : "–");
}

static void put_table(const chart *c)
{
    FILE *to = c->to;
    const bool moving = has_moving(c->run);
    cli_html_put(to, "<details><summary>The numbers</summary>\n<div class=\"box\" tabindex=\"0\" role=\"region\" "
                     "aria-label=\"Numbers by epoch\"><table>\n<thead><tr>"
                     "<th scope=\"col\" class=\"n\">epoch</th><th scope=\"col\" class=\"n\">train loss</th>"
                     "<th scope=\"col\" class=\"n\">train accuracy</th><th scope=\"col\" class=\"n\">val loss</th>"
                     "<th scope=\"col\" class=\"n\">val accuracy</th>");
    if (moving)
        cli_html_put(to, "<th scope=\"col\" class=\"n\">loss, moving</th>"
                         "<th scope=\"col\" class=\"n\">accuracy, moving</th>");
    cli_html_put(to, "<th scope=\"col\" class=\"n\">seconds</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < c->run->epochs; i++) {
        const cli_epoch *e = &c->run->epoch[i];
        if (!is_drawn(c, i))
            continue;
        cli_html_put(to, "<tr><th scope=\"row\" class=\"n\">%d</th>", e->epoch);
        const double values[] = {train_loss(e),   train_accuracy(e), val_loss(e),
                                 val_accuracy(e), moving_loss(e),    moving_accuracy(e)};
        for (int k = 0; k < (moving ? 6 : 4); k++)
            put_cell(to, values[k], 4);
        put_cell(to, e->train_seconds, 2);
        cli_html_put(to, "</tr>\n");
    }
    cli_html_put(to, "</tbody></table></div></details>\n");
}

void cli_page_curves(FILE *to, const cli_run *run)
{
    if (run->epochs == 0)
        return;
    chart loss = {.to = to,
                  .run = run,
                  .title = "Loss",
                  .curves = {{"train", "train loss", train_loss},
                             {"val", "val loss", val_loss},
                             {"moving", "val loss with moving statistics", moving_loss}}};
    chart accuracy = {.to = to,
                      .run = run,
                      .title = "Accuracy",
                      .curves = {{"train", "train accuracy", train_accuracy},
                                 {"val", "val accuracy", val_accuracy},
                                 {"moving", "val accuracy with moving statistics", moving_accuracy}},
                      .best = true};
    cli_html_put(to, "<section id=\"curves\"><h2>Curves</h2>\n<div class=\"charts\">\n");
    draw(&loss);
    draw(&accuracy);
    cli_html_put(to, "</div>\n");
    if (has_moving(run))
        cli_html_put(to, "<p class=\"soft\">Val is with exact statistics of the batch norms, moving with the moving "
                         "ones.</p>\n");
    if (loss.every > 1)
        cli_html_put(to, "<p class=\"soft\">One of %d epochs is shown, and the last.</p>\n", loss.every);
    put_table(&loss);
    cli_html_put(to, "</section>\n");
}
