/* SPDX-License-Identifier: MIT
 * What there is to look up: layers, notes, data, times. */
#include "html.h"
#include "page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Layers that are shown without being asked for. */
enum { LAYERS_OPEN = 60 };

/* ---- The net --------------------------------------------------------------------------------------------------- */

static void put_layer(FILE *to, const ek_layer_info *layer)
{
    char shape[48], parameters[32], macs[32];
    const bool counts = layer->parameters || layer->macs;
    cli_html_put(to, "<tr><th scope=\"row\">%s</th><td style=\"padding-left:%.1fem\"><code>%s</code></td>",
                 layer->path, 1.2 * layer->depth, layer->text);
    cli_html_put(to, "<td>%s</td><td class=\"n\">%s</td><td class=\"n\">%s</td></tr>\n", cli_shape_text(layer, shape),
                 counts ? cli_html_count(layer->parameters, parameters) : "",
                 counts ? cli_html_count(layer->macs, macs) : "");
}

static void put_table(FILE *to, const ek_net *net)
{
    char text[32];
    ek_layer_info layer;
    int64_t macs = 0;
    cli_html_put(to, "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"Layers\"><table>\n<thead><tr>"
                     "<th scope=\"col\">layer</th><th scope=\"col\"></th><th scope=\"col\">output</th>"
                     "<th scope=\"col\" class=\"n\">parameters</th><th scope=\"col\" class=\"n\">multiply-adds</th>"
                     "</tr></thead>\n<tbody>\n");
    for (int i = 0; i < ek_net_layer_count(net); i++) {
        if (ek_net_layer(net, i, &layer))
            continue;
        put_layer(to, &layer);
        macs += layer.macs;
    }
    cli_html_put(to,
                 "</tbody>\n<tfoot><tr><th scope=\"row\" colspan=\"3\">an image, forward</th><td class=\"n\">%s</td>",
                 cli_html_count(cli_net_parameters(net), text));
    cli_html_put(to, "<td class=\"n\">%s</td></tr></tfoot></table></div>\n", cli_html_count(macs, text));
}

static void put_biases(FILE *to, const ek_net *net)
{
    ek_layer_info layer;
    int count = 0;
    for (int i = 0; i < ek_net_layer_count(net); i++)
        if (!ek_net_layer(net, i, &layer) && layer.bias_without_gradient)
            cli_html_put(
                to, count++ ? ", %s" : "<p class=\"soft\">Biases computed away, by the batch norms behind them: %s",
                layer.path);
    cli_html_put(to, count ? "</p>\n" : "");
}

void cli_page_net(FILE *to, const ek_net *net)
{
    char *text = ek_net_text(net);
    const bool open = ek_net_layer_count(net) <= LAYERS_OPEN;
    cli_html_put(to, "<section id=\"net\"><h2>Net</h2>\n");
    if (!open)
        cli_html_put(to, "<details><summary>%d layers</summary>\n", ek_net_layer_count(net));
    put_table(to, net);
    if (!open)
        cli_html_put(to, "</details>\n");
    put_biases(to, net);
    if (text)
        cli_html_put(to, "<details><summary>As text</summary>\n<pre>%s</pre></details>\n", text);
    cli_html_put(to, "</section>\n");
    free(text);
}

/* ---- Pairs ----------------------------------------------------------------------------------------------------- */

static void begin_pairs(FILE *to, const char *id, const char *title)
{
    cli_html_put(to, "<section id=\"%s\"><h2>%s</h2>\n<table class=\"pairs\"><tbody>\n", id, title);
}

static void end_pairs(FILE *to)
{
    cli_html_put(to, "</tbody></table></section>\n");
}

static void put_pair(FILE *to, const char *key, const char *value)
{
    cli_html_put(to, "<tr><th scope=\"row\">%s</th><td>%s</td></tr>\n", key, value);
}

static void put_digest(FILE *to, const char *key, const char *digest)
{
    if (digest && *digest)
        cli_html_put(to, "<tr><th scope=\"row\">%s</th><td class=\"id\">%s</td></tr>\n", key, digest);
}

/* Notes of the model, by their keys, but for what stands elsewhere on the page. */
static void put_configuration(FILE *to, const ek_net *net)
{
    const char *key;
    if (!ek_net_note_key(net, 0))
        return;
    begin_pairs(to, "configuration", "Configuration");
    for (int i = 0; (key = ek_net_note_key(net, i)) != NULL; i++) {
        const char *value = ek_net_note(net, key);
        if (value && *value && strcmp(key, "labels") != 0 && strcmp(key, "data.digest") != 0)
            cli_html_put(to, "<tr><th scope=\"row\"><code>%s</code></th><td class=\"id\">%s</td></tr>\n", key, value);
    }
    end_pairs(to);
}

static void put_data(FILE *to, const cli_page *page)
{
    const cli_evaluation *e = page->result;
    const ek_dataset_info *info = &e->info;
    char count[32];
    begin_pairs(to, "data", "Data");
    put_pair(to, "data set", cli_data_name(e->dataset, e->data));
    cli_html_put(to, "<tr><th scope=\"row\">%s</th><td>%s of %dx%dx%d, %d classes</td></tr>\n", page->images,
                 cli_html_count(info->count, count), info->channels, info->height, info->width, info->classes);
    put_digest(to, "their digest", info->digest);
    put_digest(to, "digest of the training images", ek_net_note(e->net, "data.digest"));
    end_pairs(to);
}

/* ---- Times ----------------------------------------------------------------------------------------------------- */

static void put_seconds(FILE *to, const char *key, double seconds, double images, const char *more)
{
    if (!(seconds > 0))
        return;
    char rate[32];
    cli_html_put(to, "<tr><th scope=\"row\">%s</th><td>%.2f s%s", key, seconds, more);
    if (images > 0)
        cli_html_put(to, ", %s images/s", cli_html_count((int64_t)(images / seconds), rate));
    cli_html_put(to, "</td></tr>\n");
}

/* Sums over the epochs whose times are known; *count is how many there are. */
static double sum_of(const cli_run *run, bool validation, int *count)
{
    double sum = 0;
    *count = 0;
    for (int i = 0; i < run->epochs; i++) {
        const double seconds = validation ? run->epoch[i].val_seconds : run->epoch[i].train_seconds;
        if (!isfinite(seconds))
            continue;
        sum += seconds;
        (*count)++;
    }
    return sum;
}

static void put_times(FILE *to, const cli_page *page)
{
    const cli_evaluation *e = page->result;
    const cli_run *run = page->run;
    begin_pairs(to, "times", "Times");
    if (run) {
        int epochs;
        char begun[32] = "";
        const char *samples = ek_net_note(e->net, "train.samples");
        const double train = sum_of(run, false, &epochs);
        if (strlen(run->begun) >= 19) /* 2026-11-26T03:40:00.000Z */
            snprintf(begun, sizeof begun, "%.10s %.8s UTC", run->begun, run->begun + 11);
        if (*begun)
            put_pair(to, "training began", begun);
        put_seconds(to, "training, an epoch on average", epochs ? train / epochs : 0, samples ? atof(samples) : 0,
                    "");
        const double val = sum_of(run, true, &epochs);
        put_seconds(to, "validation, likewise", epochs ? val / epochs : 0, 0, "");
        if (run->threads)
            cli_html_put(to, "<tr><th scope=\"row\">it ran on</th><td>%d thread%s%s%s</td></tr>\n", run->threads,
                         run->threads == 1 ? "" : "s", *run->instruction_set ? ", " : "", run->instruction_set);
    }
    if (!page->fault)
        put_seconds(to, "evaluation for this page", e->seconds, (double)e->info.count, "");
    cli_html_put(to, "<tr><th scope=\"row\">which ran on</th><td>%d thread%s, %s</td></tr>\n", e->threads,
                 e->threads == 1 ? "" : "s", ek_cpu());
    end_pairs(to);
}

void cli_page_facts(FILE *to, const cli_page *page)
{
    put_configuration(to, page->result->net);
    put_data(to, page);
    put_times(to, page);
}
