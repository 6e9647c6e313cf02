/* SPDX-License-Identifier: MIT
 * How right the net is class by class, and what it takes for what. */
#include "html.h"
#include "interval.h"
#include "page.h"

#include <math.h>
#include <stdlib.h>

/* Classes beyond which the matrix is too large to read, pairs that are listed then, and otherwise. */
enum { MATRIX_MAX = 32, PAIRS_OF_MANY = 40, PAIRS = 5 };

/* ---- Accuracy by class ----------------------------------------------------------------------------------------- */

static const double bar_width = 200;

typedef struct bars {
    FILE *to;
    const cli_evaluation *e;
    double low; /* where the axis begins; it ends at 1 */
} bars;

static double place(const bars *b, double share)
{
    return 5 + (share - b->low) / (1 - b->low) * (bar_width - 10);
}

static void put_bar(const bars *b, int64_t right, int64_t count)
{
    const cli_interval i = cli_wilson(right, count);
    const double mean = place(b, b->e->metrics.accuracy);
    cli_html_put(b->to,
                 "<td class=\"w\"><svg viewBox=\"0 0 %.0f 14\" preserveAspectRatio=\"none\" height=\"14\" "
                 "aria-hidden=\"true\"><path class=\"mean\" d=\"M%.1f 0V14\"/>"
                 "<path class=\"whisker\" d=\"M%.1f 7H%.1f\"/><path class=\"whisker\" d=\"M%.1f 2V12\"/>"
                 "<title>%.4f, from %.4f to %.4f</title></svg></td>",
                 bar_width, mean, place(b, i.low), place(b, i.high), place(b, (double)right / (double)count),
                 (double)right / (double)count, i.low, i.high);
    cli_html_put(b->to, "<td class=\"n\">%.3f to %.3f</td>", i.low, i.high);
}

static void put_class(const bars *b, int i)
{
    char number[16], text[32];
    const cli_evaluation *e = b->e;
    const int64_t count = cli_evaluation_row(e, i), right = cli_evaluation_cell(e, i, i);
    const int64_t taken = cli_evaluation_column(e, i);
    if (count == 0 && taken == 0 && i >= e->info.classes)
        return; /* an output that the data and the net never use */
    cli_html_put(b->to, "<tr><th scope=\"row\"><bdi>%s</bdi></th>", cli_evaluation_label(e, i, number));
    if (count > 0) {
        cli_html_put(b->to, "<td class=\"n\">%.4f</td>", (double)right / (double)count);
        put_bar(b, right, count);
    } else {
        cli_html_put(b->to, "<td class=\"n\">–</td><td class=\"w\"></td><td class=\"n\">–</td>");
    }
    cli_html_put(b->to, "<td class=\"n\">%s</td>", cli_html_count(right, text));
    cli_html_put(b->to, "<td class=\"n\">%s</td>", cli_html_count(count, text));
    if (taken > 0)
        cli_html_put(b->to, "<td class=\"n\">%.4f</td></tr>\n", (double)right / (double)taken);
    else
        cli_html_put(b->to, "<td class=\"n\">–</td></tr>\n");
}

void cli_page_classes(FILE *to, const cli_evaluation *e)
{
    bars b = {.to = to, .e = e, .low = e->metrics.accuracy};
    for (int i = 0; i < e->classes; i++)
        if (cli_evaluation_row(e, i) > 0)
            b.low = fmin(b.low, cli_wilson(cli_evaluation_cell(e, i, i), cli_evaluation_row(e, i)).low);
    b.low = fmax(0, fmin(0.9, floor(b.low * 10) / 10));
    cli_html_put(to,
                 "<section id=\"classes\"><h2>Accuracy by class</h2>\n<p class=\"soft\">The share of each class’s "
                 "images that are taken for it, with its 95 %% interval (Wilson’s); dotted: all classes, %.4f. "
                 "Precision: the share of those taken for it that are of it.</p>\n",
                 e->metrics.accuracy);
    cli_html_put(
        to,
        "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"Accuracy by class\"><table>\n"
        "<thead><tr><th scope=\"col\">class</th><th scope=\"col\" class=\"n\">accuracy</th>"
        "<th scope=\"col\"><span class=\"ends\"><span>%.1f</span> <span>1</span></span></th>"
        "<th scope=\"col\" class=\"n\">95 %% interval</th><th scope=\"col\" class=\"n\">right</th>"
        "<th scope=\"col\" class=\"n\">images</th><th scope=\"col\" class=\"n\">precision</th></tr></thead>\n"
        "<tbody>\n",
        b.low);
    for (int i = 0; i < e->classes; i++)
        put_class(&b, i);
    cli_html_put(to, "</tbody></table></div></section>\n");
}

/* ---- Confusion ------------------------------------------------------------------------------------------------- */

typedef struct pair {
    int64_t count;
    int truth, said;
} pair;

/* The most frequent first, of equal ones in the order of the matrix. */
static int compare(const void *left, const void *right)
{
    const pair *a = left, *b = right;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    if (a->truth != b->truth)
        return a->truth < b->truth ? -1 : 1;
    return (a->said > b->said) - (a->said < b->said);
}

/* The most frequent pairs, kept in order while all are gone through. */
static int find_pairs(const cli_evaluation *e, pair *best, int most)
{
    int count = 0;
    for (int truth = 0; truth < e->classes; truth++) {
        for (int said = 0; said < e->classes; said++) {
            const pair p = {cli_evaluation_cell(e, truth, said), truth, said};
            if (truth == said || p.count == 0 || (count == most && compare(&p, &best[most - 1]) > 0))
                continue;
            count += count < most;
            best[count - 1] = p;
            qsort(best, (size_t)count, sizeof *best, compare);
        }
    }
    return count;
}

static void put_pairs(FILE *to, const cli_evaluation *e, int most)
{
    pair pairs[PAIRS_OF_MANY];
    char truth[16], said[16], text[32];
    const int count = find_pairs(e, pairs, most);
    if (count == 0)
        return;
    cli_html_put(to,
                 "<div class=\"box\"><table>\n<caption>Most frequent</caption>\n<thead><tr><th scope=\"col\">is</th>"
                 "<th scope=\"col\">taken for</th><th scope=\"col\" class=\"n\">times</th>"
                 "<th scope=\"col\" class=\"n\">of its class</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < count; i++) {
        const pair *p = &pairs[i];
        cli_html_put(to,
                     "<tr><td><bdi>%s</bdi></td><td><bdi>%s</bdi></td><td class=\"n\">%s</td>"
                     "<td class=\"n\">%.1f %%</td></tr>\n",
                     cli_evaluation_label(e, p->truth, truth), cli_evaluation_label(e, p->said, said),
                     cli_html_count(p->count, text),
                     100 * (double)p->count / (double)cli_evaluation_row(e, p->truth));
    }
    cli_html_put(to, "</tbody></table></div>\n");
}

/* Cells are as deep as the root of their share of the row, so that rare mistakes are seen, too. */
static void put_matrix(FILE *to, const cli_evaluation *e)
{
    char number[16];
    cli_html_put(to, "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"Confusion matrix\">"
                     "<table class=\"matrix\">\n<thead><tr><td></td>");
    for (int i = 0; i < e->classes; i++)
        cli_html_put(to, "<th scope=\"col\"><span><bdi>%s</bdi></span></th>", cli_evaluation_label(e, i, number));
    cli_html_put(to, "</tr></thead>\n<tbody>\n");
    for (int truth = 0; truth < e->classes; truth++) {
        const int64_t row = cli_evaluation_row(e, truth);
        cli_html_put(to, "<tr><th scope=\"row\"><bdi>%s</bdi></th>", cli_evaluation_label(e, truth, number));
        for (int said = 0; said < e->classes; said++) {
            const int64_t count = cli_evaluation_cell(e, truth, said);
            if (count > 0)
                cli_html_put(to, "<td style=\"--a:%.2f\">%jd</td>", sqrt((double)count / (double)row),
                             (intmax_t)count);
            else
                cli_html_put(to, "<td class=\"o\">0</td>");
        }
        cli_html_put(to, "</tr>\n");
    }
    cli_html_put(to, "</tbody></table></div>\n");
}

void cli_page_confusion(FILE *to, const cli_evaluation *e)
{
    const bool shown = e->classes <= MATRIX_MAX;
    cli_html_put(to, "<section id=\"confusion\"><h2>Confusion</h2>\n");
    if (shown)
        cli_html_put(to, "<p class=\"soft\">Rows: the class it is. Columns: the class it is taken for.</p>\n");
    else
        cli_html_put(to, "<p class=\"soft\">A matrix of %d classes is not shown.</p>\n", e->classes);
    cli_html_put(to, "<div class=\"beside\">\n");
    if (shown)
        put_matrix(to, e);
    put_pairs(to, e, shown ? PAIRS : PAIRS_OF_MANY);
    cli_html_put(to, "</div></section>\n");
}
