/* SPDX-License-Identifier: MIT
 * What the batch norms have learned: gamma, beta and the moving statistics of every layer, each quantity on one axis
 * for all layers, so that they can be compared. */
#include "html.h"
#include "page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Values that have their number under the pointer, of all layers of a quantity; channels that the tables hold. */
enum { TITLES_MAX = 4096, ROWS_MAX = 2048 };

static const double strip = 300;

typedef struct quantity {
    ek_role role;
    const char *name, *text;
    bool logarithmic;
    double mark; /* where a line stands: what the value is at the beginning; NaN: none */
} quantity;

static const quantity quantities[] = {
    {EK_ROLE_GAMMA, "gamma", "the scale of each channel; 1 at the beginning", false, 1},
    {EK_ROLE_BETA, "beta", "the shift of each channel; 0 at the beginning", false, 0},
    {EK_ROLE_MOVING_MEAN, "moving mean", "of what comes in; 0 at the beginning", false, 0},
    {EK_ROLE_MOVING_VAR, "moving variance", "of what comes in; 1 at the beginning. The axis is logarithmic", true,
     NAN},
};
enum { QUANTITIES = sizeof quantities / sizeof *quantities };

typedef struct axis {
    double low, high;
    bool titles;
    int decimals; /* of numbers on it: its length has three digits with them */
} axis;

static bool belongs(const ek_net *net, const ek_tensor *tensor, const quantity *q, ek_layer_info *layer)
{
    return tensor->role == q->role && tensor->data && !ek_net_layer(net, tensor->layer, layer) &&
           !strcmp(layer->kind, "batchnorm");
}

/* Where a value stands on its axis; a variance of 0 is far below every other. */
static double scaled(const quantity *q, double value)
{
    const double least = 1e-12;
    return q->logarithmic ? log10(fmax(value, least)) : value;
}

static bool find_axis(ek_net *net, const quantity *q, axis *a)
{
    ek_layer_info layer;
    int64_t count = 0;
    *a = (axis){.low = INFINITY, .high = -INFINITY};
    if (isfinite(q->mark))
        a->low = a->high = q->mark;
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        if (!belongs(net, t, q, &layer))
            continue;
        count += t->count;
        for (int64_t k = 0; k < t->count; k++) {
            const double at = scaled(q, (double)t->data[k]);
            a->low = isfinite(at) ? fmin(a->low, at) : a->low;
            a->high = isfinite(at) ? fmax(a->high, at) : a->high;
        }
    }
    if (!isfinite(a->low))
        a->low = a->high = 0;
    if (!(a->high > a->low)) {
        a->low -= 0.5;
        a->high += 0.5;
    }
    a->titles = count <= TITLES_MAX;
    a->decimals = (int)fmin(fmax(2 - floor(log10(a->high - a->low)), 0), 9);
    return count > 0;
}

static double place(const axis *a, double at)
{
    return 2 + (at - a->low) / (a->high - a->low) * (strip - 4);
}

/* ---- A quantity ------------------------------------------------------------------------------------------------ */

static void put_strip(FILE *to, const quantity *q, const axis *a, const ek_tensor *t)
{
    cli_html_put(to,
                 "<td class=\"w\"><svg viewBox=\"0 0 %.0f 16\" preserveAspectRatio=\"none\" height=\"16\" "
                 "aria-hidden=\"true\"><path class=\"grid\" d=\"M0 15.5H%.0f\"/>",
                 strip, strip);
    if (isfinite(q->mark))
        cli_html_put(to, "<path class=\"zero\" d=\"M%.1f 0V16\"/>", place(a, q->mark));
    if (!a->titles)
        cli_html_put(to, "<path class=\"tick\" d=\"");
    for (int64_t i = 0; i < t->count; i++) {
        const double value = (double)t->data[i], x = place(a, scaled(q, value));
        if (!isfinite(x))
            continue;
        if (a->titles)
            cli_html_put(to, "<path class=\"tick\" d=\"M%.1f 2V14\"><title>channel %jd: %.6g</title></path>", x,
                         (intmax_t)i, value);
        else
            cli_html_put(to, "M%.1f 2V14", x);
    }
    cli_html_put(to, a->titles ? "</svg></td>" : "\"/></svg></td>");
}

/* A number beside an axis; variances have three digits each. */
static void put_number(FILE *to, const quantity *q, const axis *a, double value)
{
    char text[64];
    if (q->logarithmic)
        snprintf(text, sizeof text, "%.3g", value);
    else
        snprintf(text, sizeof text, "%.*f", a->decimals, fabs(value) < 0.5 * pow(10, -a->decimals) ? 0 : value);
    cli_html_put(to, "%s", text);
}

static void put_layer(FILE *to, const quantity *q, const axis *a, const ek_tensor *t, const ek_layer_info *layer)
{
    double number[3] = {INFINITY, 0, -INFINITY}; /* least, mean, greatest */
    for (int64_t i = 0; i < t->count; i++) {
        const double value = (double)t->data[i];
        number[0] = fmin(number[0], value);
        number[1] += value / (double)t->count;
        number[2] = fmax(number[2], value);
    }
    cli_html_put(to, "<tr><th scope=\"row\">%s</th><td class=\"n less\">%jd</td>", layer->path, (intmax_t)t->count);
    put_strip(to, q, a, t);
    for (int k = 0; k < 3; k++) {
        cli_html_put(to, "<td class=\"n\">");
        put_number(to, q, a, number[k]);
        cli_html_put(to, "</td>");
    }
    cli_html_put(to, "</tr>\n");
}

static void put_quantity(FILE *to, ek_net *net, const quantity *q)
{
    axis a;
    ek_layer_info layer;
    if (!find_axis(net, q, &a))
        return;
    cli_html_put(to,
                 "<h3>%s <small>%s</small></h3>\n<div class=\"box\" tabindex=\"0\" role=\"region\" "
                 "aria-label=\"%s\"><table class=\"strips\">\n<thead><tr><th scope=\"col\">layer</th>"
                 "<th scope=\"col\" class=\"n less\">channels</th><th scope=\"col\"><span class=\"ends\"><span>",
                 q->name, q->text, q->name);
    put_number(to, q, &a, q->logarithmic ? pow(10, a.low) : a.low);
    cli_html_put(to, "</span> <span>");
    put_number(to, q, &a, q->logarithmic ? pow(10, a.high) : a.high);
    cli_html_put(to,
                 "</span></span></th><th scope=\"col\" class=\"n\">least</th><th scope=\"col\" class=\"n\">mean</th>"
                 "<th scope=\"col\" class=\"n\">greatest</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        if (belongs(net, t, q, &layer))
            put_layer(to, q, &a, t, &layer);
    }
    cli_html_put(to, "</tbody></table></div>\n");
}

/* ---- Every channel --------------------------------------------------------------------------------------------- */

static void put_channels(FILE *to, ek_net *net, int number)
{
    const ek_tensor *column[QUANTITIES] = {NULL};
    ek_layer_info layer;
    int64_t rows = 0;
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        for (int k = 0; k < QUANTITIES; k++)
            if (t->layer == number && belongs(net, t, &quantities[k], &layer)) {
                column[k] = t;
                rows = t->count;
            }
    }
    if (rows == 0 || ek_net_layer(net, number, &layer))
        return;
    cli_html_put(to,
                 "<details><summary>Layer %s, channel by channel</summary>\n<div class=\"box\" tabindex=\"0\" "
                 "role=\"region\" aria-label=\"Channels of layer %s\"><table><thead><tr>"
                 "<th scope=\"col\" class=\"n\">channel</th>",
                 layer.path, layer.path);
    for (int k = 0; k < QUANTITIES; k++)
        if (column[k])
            cli_html_put(to, "<th scope=\"col\" class=\"n\">%s</th>", quantities[k].name);
    cli_html_put(to, "</tr></thead>\n<tbody>\n");
    for (int64_t row = 0; row < rows; row++) {
        cli_html_put(to, "<tr><th scope=\"row\" class=\"n\">%jd</th>", (intmax_t)row);
        for (int k = 0; k < QUANTITIES; k++)
            if (column[k])
                cli_html_put(to, "<td class=\"n\">%.6g</td>", (double)column[k]->data[row]);
        cli_html_put(to, "</tr>\n");
    }
    cli_html_put(to, "</tbody></table></div></details>\n");
}

void cli_page_norms(FILE *to, ek_net *net)
{
    ek_layer_info layer;
    int64_t channels = 0;
    int layers = 0;
    for (int i = 0; i < ek_net_layer_count(net); i++) {
        if (ek_net_layer(net, i, &layer) || strcmp(layer.kind, "batchnorm") != 0)
            continue;
        layers++;
        channels += layer.c;
    }
    if (layers == 0)
        return;
    cli_html_put(to,
                 "<section id=\"norms\"><h2>Batch normalisation</h2>\n<p class=\"soft\">A stroke for each channel, "
                 "one axis for all layers.</p>\n");
    for (int k = 0; k < QUANTITIES; k++)
        put_quantity(to, net, &quantities[k]);
    if (channels <= ROWS_MAX)
        for (int i = 0; i < ek_net_layer_count(net); i++)
            put_channels(to, net, i);
    else
        cli_html_put(to,
                     "<p class=\"soft\"><code>evenkeel inspect MODEL --layer PATH</code> lists every channel of a "
                     "layer.</p>\n");
    cli_html_put(to, "</section>\n");
}
