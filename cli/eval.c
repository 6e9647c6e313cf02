/* SPDX-License-Identifier: MIT
 * evenkeel eval: how right a model is on a data set, class by class. */
#define _POSIX_C_SOURCE 200809L
#include "evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A confusion matrix is printed as text up to so many columns. */
enum { COLUMNS_MAX = 16 };

static double ratio(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

/* ---- As text -------------------------------------------------------------------------------------------------- */

static int label_width(const cli_evaluation *e)
{
    char number[16];
    int width = 5; /* "class" */
    for (int i = 0; i < e->classes; i++) {
        const int length = (int)strlen(cli_evaluation_label(e, i, number));
        width = length > width ? length : width;
    }
    return width;
}

static void print_share(int64_t part, int64_t whole)
{
    if (whole)
        printf("  %9.4f", ratio(part, whole));
    else
        printf("  %9s", "-");
}

static void print_classes(const cli_evaluation *e, int width)
{
    char number[16];
    printf("\n%-*s  %8s  %8s  %9s  %9s\n", width, "class", "images", "right", "recall", "precision");
    for (int i = 0; i < e->classes; i++) {
        const int64_t images = cli_evaluation_row(e, i), right = cli_evaluation_cell(e, i, i),
                      taken = cli_evaluation_column(e, i);
        printf("%-*s  %8jd  %8jd", width, cli_evaluation_label(e, i, number), (intmax_t)images, (intmax_t)right);
        print_share(right, images);
        print_share(right, taken);
        putchar('\n');
    }
}

/* The beginning of a class's name, whole characters of UTF-8 in up to `column` bytes. */
static void print_head(const char *text, int column)
{
    int fit = (int)strnlen(text, (size_t)column);
    while (fit > 0 && ((unsigned char)text[fit] & 0xc0) == 0x80)
        fit--;
    printf(" %*s%.*s", column - fit, "", fit, text);
}

static void print_confusion(const cli_evaluation *e, int width)
{
    char number[16];
    int column = 5; /* letters of a class over its column */
    for (int64_t count = e->metrics.count; count >= 100000; count /= 10)
        column++;
    printf("\nrows: the class it is; columns: the class the net took it for\n%-*s", width, "");
    for (int i = 0; i < e->classes; i++)
        print_head(cli_evaluation_label(e, i, number), column);
    putchar('\n');
    for (int truth = 0; truth < e->classes; truth++) {
        printf("%-*s", width, cli_evaluation_label(e, truth, number));
        for (int said = 0; said < e->classes; said++) {
            if (cli_evaluation_cell(e, truth, said))
                printf(" %*jd", column, (intmax_t)cli_evaluation_cell(e, truth, said));
            else
                printf(" %*s", column, ".");
        }
        putchar('\n');
    }
}

static void print_text(const cli_evaluation *e)
{
    const ek_metrics *m = &e->metrics;
    cli_put_text(e->model);
    fputs(" on ", stdout);
    cli_put_text(cli_data_name(e->dataset, e->data));
    printf(", %s", e->split);
    if (e->share) {
        fputs(" (the share ", stdout);
        cli_put_text(e->share);
        fputs(" of the training images that was set aside)", stdout);
    }
    printf(": %jd images\n", (intmax_t)m->count);
    printf("loss %.4f, accuracy %.4f (%jd right)\n", m->loss, m->accuracy, (intmax_t)m->correct);
    if (!e->confusion)
        return;
    const int width = label_width(e);
    print_classes(e, width);
    if (e->classes <= COLUMNS_MAX)
        print_confusion(e, width);
}

/* ---- As JSON -------------------------------------------------------------------------------------------------- */

static void print_json_classes(const cli_evaluation *e)
{
    char number[16];
    printf(",\n \"classes\": [");
    for (int i = 0; i < e->classes; i++) {
        const int64_t images = cli_evaluation_row(e, i), right = cli_evaluation_cell(e, i, i);
        printf("%s\n  {\"name\": ", i ? "," : "");
        cli_json_string(cli_evaluation_label(e, i, number));
        printf(", \"count\": %jd, \"correct\": %jd, \"recall\": ", (intmax_t)images, (intmax_t)right);
        cli_json_number(ratio(right, images));
        printf(", \"precision\": ");
        cli_json_number(ratio(right, cli_evaluation_column(e, i)));
        putchar('}');
    }
    printf("],\n \"confusion\": [");
    for (int truth = 0; truth < e->classes; truth++) {
        printf("%s\n  [", truth ? "," : "");
        for (int said = 0; said < e->classes; said++)
            printf("%s%jd", said ? ", " : "", (intmax_t)cli_evaluation_cell(e, truth, said));
        putchar(']');
    }
    putchar(']');
}

static void print_json(const cli_evaluation *e)
{
    const ek_metrics *m = &e->metrics;
    printf("{\"model\": ");
    cli_json_string(e->model);
    printf(",\n \"data\": ");
    cli_json_string(cli_data_name(e->dataset, e->data));
    printf(",\n \"split\": \"%s\"", e->split);
    if (e->share) {
        printf(",\n \"val_split\": ");
        cli_json_number(strtod(e->share, NULL));
    }
    printf(",\n \"digest\": ");
    cli_json_string(e->info.digest);
    printf(",\n \"count\": %jd,\n \"correct\": %jd,\n \"loss\": ", (intmax_t)m->count, (intmax_t)m->correct);
    cli_json_number(m->loss);
    printf(",\n \"accuracy\": ");
    cli_json_number(m->accuracy);
    if (e->confusion)
        print_json_classes(e);
    printf("}\n");
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

static int evaluate(const cli_command *self, cli_evaluation *e, bool json)
{
    const int status = cli_evaluation_open(self, e);
    if (status != CLI_GO)
        return status;
    const char *fault = cli_evaluation_run(e, false);
    if (fault)
        return cli_fail(self, "%s", fault);
    if (json)
        print_json(e);
    else
        print_text(e);
    return CLI_DONE;
}

int cli_eval(const cli_command *self, int argc, char **argv)
{
    bool json = false;
    cli_evaluation e;
    cli_evaluation_defaults(&e);
    const cli_option options[] = {
        CLI_EVALUATION_ROWS(e),
        {"--json", .flag = &json, .help = "print JSON"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status == CLI_GO)
        status = cli_evaluation_check(self, &e);
    if (status != CLI_GO)
        return status;
    status = evaluate(self, &e, json);
    cli_evaluation_free(&e);
    return cli_finish(self, status);
}
