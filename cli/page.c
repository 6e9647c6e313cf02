/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "page.h"
#include "html.h"
#include "interval.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- What stands above ----------------------------------------------------------------------------------------- */

static void put_fact(FILE *to, const char *name, const char *value, const char *more)
{
    cli_html_put(to, "<li>%s <span class=\"value\">%s</span> <span class=\"more\">%s</span></li>\n", name, value,
                 more);
}

static void put_accuracy(FILE *to, const cli_page *page)
{
    char value[32], more[96], count[32];
    const ek_metrics *m = &page->result->metrics;
    const cli_interval i = cli_wilson(m->correct, m->count);
    snprintf(value, sizeof value, "%.4f", m->accuracy);
    snprintf(more, sizeof more, "95 %% interval %.4f to %.4f; %s %s", i.low, i.high, cli_html_count(m->count, count),
             page->images);
    put_fact(to, "Accuracy", value, more);
    snprintf(value, sizeof value, "%.4f", m->loss);
    put_fact(to, "Loss", value, "mean cross-entropy");
}

/* Where exact statistics were taken: what the moving ones gave in the epoch that the net is of. */
static void put_moving(FILE *to, const cli_page *page)
{
    const char *best = ek_net_note(page->result->net, "train.best_epoch");
    const cli_run *run = page->run;
    for (int i = run->epochs - 1; i >= 0; i--) {
        const cli_epoch *e = &run->epoch[i];
        char value[32];
        if (best && e->epoch != atoi(best))
            continue;
        snprintf(value, sizeof value, "%.4f", e->moving_accuracy);
        if (e->has_moving)
            put_fact(to, "With moving statistics", isfinite(e->moving_accuracy) ? value : "not finite",
                     "the accuracy is with exact ones");
        return;
    }
}

static void put_epochs(FILE *to, const cli_page *page)
{
    const char *planned = ek_net_note(page->result->net, "train.epochs");
    const char *best = ek_net_note(page->result->net, "train.best_epoch");
    char value[32], more[64] = "";
    if (page->run)
        snprintf(value, sizeof value, "%d", page->run->epochs ? page->run->epoch[page->run->epochs - 1].epoch : 0);
    else if (planned)
        snprintf(value, sizeof value, "%.20s", planned);
    else
        return;
    if (best)
        snprintf(more, sizeof more, "the net of epoch %.20s, the best", best);
    else if (planned)
        snprintf(more, sizeof more, "of %.20s", planned);
    put_fact(to, "Epochs", value, more);
}

/* "1 h 02 min", "2 min 05 s", "14.2 s" */
static void put_time(FILE *to, const cli_run *run)
{
    double seconds = 0;
    char value[32], more[48];
    for (int i = 0; i < run->epochs; i++) {
        seconds += isfinite(run->epoch[i].train_seconds) ? run->epoch[i].train_seconds : 0;
        seconds += isfinite(run->epoch[i].val_seconds) ? run->epoch[i].val_seconds : 0;
    }
    if (!(seconds > 0))
        return;
    const int64_t whole = (int64_t)(fmin(seconds, 1e15) + 0.5); /* a log may say anything */
    if (whole >= 3600)
        snprintf(value, sizeof value, "%jd h %02d min", (intmax_t)(whole / 3600), (int)(whole % 3600 / 60));
    else if (whole >= 60)
        snprintf(value, sizeof value, "%d min %02d s", (int)(whole / 60), (int)(whole % 60));
    else
        snprintf(value, sizeof value, "%.1f s", seconds);
    snprintf(more, sizeof more, "%d thread%s", run->threads, run->threads == 1 ? "" : "s");
    put_fact(to, "Time", value, run->threads ? more : "");
}

static void put_facts(FILE *to, const cli_page *page)
{
    char parameters[32], more[48];
    const ek_net *net = page->result->net;
    cli_html_put(to, "<ul class=\"facts\">\n");
    if (!page->fault)
        put_accuracy(to, page);
    put_epochs(to, page);
    if (page->run) {
        if (!page->notice) /* else the net has the moving ones still */
            put_moving(to, page);
        put_time(to, page->run);
    }
    snprintf(more, sizeof more, "%d layers", ek_net_layer_count(net));
    put_fact(to, "Parameters", cli_html_count(cli_net_parameters(net), parameters), more);
    cli_html_put(to, "</ul>\n");
}

static void put_head(FILE *to, const cli_page *page)
{
    const cli_evaluation *e = page->result;
    const char *name = page->net_name && *page->net_name ? page->net_name : e->model ? e->model : "A net";
    cli_html_put(to,
                 "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<title>%s on %s – Evenkeel</title>\n",
                 name, cli_data_name(e->dataset, e->data));
    cli_page_style(to);
    cli_html_put(to,
                 "</head>\n<body>\n<header>\n<p class=\"above\">Evenkeel report</p>\n<h1><bdi>%s</bdi> on "
                 "<bdi>%s</bdi></h1>\n",
                 name, cli_data_name(e->dataset, e->data));
    if (e->model && name != e->model)
        cli_html_put(to, "<p class=\"above\"><bdi>%s</bdi></p>\n", e->model);
    if (page->notice)
        cli_html_put(to, "<p class=\"notice\">%s</p>\n", page->notice);
    if (page->fault)
        cli_html_put(to, "<p class=\"notice\">Not evaluated: %s</p>\n", page->fault);
    put_facts(to, page);
    cli_html_put(to, "</header>\n");
}

/* ---- All of it ------------------------------------------------------------------------------------------------- */

static void put_foot(FILE *to)
{
    char date[32] = "";
    const time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc))
        strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &utc);
    cli_html_put(to, "<footer><p>Written by evenkeel %s, %s.</p></footer>\n</body>\n</html>\n", ek_version(), date);
}

/* NULL, or what of it cannot be had. */
static const char *put_page(FILE *to, const cli_page *page)
{
    const cli_evaluation *e = page->result;
    const char *fault = NULL;
    put_head(to, page);
    cli_html_put(to, "<main>\n");
    if (page->run)
        cli_page_curves(to, page->run);
    if (!page->fault && e->confusion) {
        cli_page_classes(to, e);
        cli_page_confusion(to, e);
    }
    if (!page->fault && e->logits)
        fault = cli_page_mistakes(to, e);
    cli_page_norms(to, e->net);
    cli_page_net(to, e->net);
    cli_page_facts(to, page);
    cli_html_put(to, "</main>\n");
    put_foot(to);
    return fault;
}

int cli_page_write(const cli_command *self, const cli_page *page, const char *path)
{
    char *data = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&data, &size);
    if (!to)
        return cli_fail(self, "%s: out of memory", path);
    const char *fault = put_page(to, page);
    const bool written = !ferror(to) && !fclose(to);
    int status = CLI_GO;
    if (fault)
        status = cli_fail(self, "%s: not written: %s", path, fault);
    else if (!written)
        status = cli_fail(self, "%s: out of memory", path);
    const int error = status == CLI_GO ? cli_write_file(path, data, size) : 0;
    free(data);
    return error ? cli_fail(self, "%s: cannot be written: %s", path, strerror(error)) : status;
}
