/* SPDX-License-Identifier: MIT
 * evenkeel eval: how right a model is on a data set, class by class. */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A confusion matrix is counted for nets of up to OUTPUTS_MAX outputs and printed as text up to COLUMNS_MAX. */
enum { OUTPUTS_MAX = 1024, COLUMNS_MAX = 16 };

typedef struct evaluation {
    const char *model, *data, *split, *net_name;
    cli_data_options images;
    int threads;
    bool json;
    ek_net *net;
    ek_dataset *dataset;
    ek_dataset_info info;
    ek_metrics metrics;
    int classes;        /* outputs of the net */
    int64_t *confusion; /* [classes, classes]; NULL: too many */
} evaluation;

static int64_t confusion(const evaluation *e, int truth, int said)
{
    return e->confusion[truth * e->classes + said];
}

/* Images of a class, and images that the net took for it. */
static int64_t row_sum(const evaluation *e, int truth)
{
    int64_t sum = 0;
    for (int said = 0; said < e->classes; said++)
        sum += confusion(e, truth, said);
    return sum;
}

static int64_t column_sum(const evaluation *e, int said)
{
    int64_t sum = 0;
    for (int truth = 0; truth < e->classes; truth++)
        sum += confusion(e, truth, said);
    return sum;
}

static double ratio(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

/* The word for output i of the net: outputs beyond the data's classes have only numbers. */
static const char *label(const evaluation *e, int i, char number[16])
{
    const char *text = i < e->info.classes ? ek_dataset_label_text(e->dataset, i) : NULL;
    if (text)
        return text;
    snprintf(number, 16, "%d", i);
    return number;
}

/* ---- As text -------------------------------------------------------------------------------------------------- */

static int label_width(const evaluation *e)
{
    char number[16];
    int width = 5; /* "class" */
    for (int i = 0; i < e->classes; i++) {
        const int length = (int)strlen(label(e, i, number));
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

static void print_classes(const evaluation *e, int width)
{
    char number[16];
    printf("\n%-*s  %8s  %8s  %9s  %9s\n", width, "class", "images", "right", "recall", "precision");
    for (int i = 0; i < e->classes; i++) {
        const int64_t images = row_sum(e, i), right = confusion(e, i, i), taken = column_sum(e, i);
        printf("%-*s  %8jd  %8jd", width, label(e, i, number), (intmax_t)images, (intmax_t)right);
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

static void print_confusion(const evaluation *e, int width)
{
    char number[16];
    int column = 5; /* letters of a class over its column */
    for (int64_t count = e->metrics.count; count >= 100000; count /= 10)
        column++;
    printf("\nrows: the class it is; columns: the class the net took it for\n%-*s", width, "");
    for (int i = 0; i < e->classes; i++)
        print_head(label(e, i, number), column);
    putchar('\n');
    for (int truth = 0; truth < e->classes; truth++) {
        printf("%-*s", width, label(e, truth, number));
        for (int said = 0; said < e->classes; said++) {
            if (confusion(e, truth, said))
                printf(" %*jd", column, (intmax_t)confusion(e, truth, said));
            else
                printf(" %*s", column, ".");
        }
        putchar('\n');
    }
}

static void print_text(const evaluation *e)
{
    const ek_metrics *m = &e->metrics;
    cli_put_text(e->model);
    fputs(" on ", stdout);
    cli_put_text(cli_data_name(e->dataset, e->data));
    printf(", %s: %jd images\n", e->split, (intmax_t)m->count);
    printf("loss %.4f, accuracy %.4f (%jd right)\n", m->loss, m->accuracy, (intmax_t)m->correct);
    if (!e->confusion)
        return;
    const int width = label_width(e);
    print_classes(e, width);
    if (e->classes <= COLUMNS_MAX)
        print_confusion(e, width);
}

/* ---- As JSON -------------------------------------------------------------------------------------------------- */

static void print_json_classes(const evaluation *e)
{
    char number[16];
    printf(",\n \"classes\": [");
    for (int i = 0; i < e->classes; i++) {
        const int64_t images = row_sum(e, i), right = confusion(e, i, i);
        printf("%s\n  {\"name\": ", i ? "," : "");
        cli_json_string(label(e, i, number));
        printf(", \"count\": %jd, \"correct\": %jd, \"recall\": ", (intmax_t)images, (intmax_t)right);
        cli_json_number(ratio(right, images));
        printf(", \"precision\": ");
        cli_json_number(ratio(right, column_sum(e, i)));
        putchar('}');
    }
    printf("],\n \"confusion\": [");
    for (int truth = 0; truth < e->classes; truth++) {
        printf("%s\n  [", truth ? "," : "");
        for (int said = 0; said < e->classes; said++)
            printf("%s%jd", said ? ", " : "", (intmax_t)confusion(e, truth, said));
        putchar(']');
    }
    putchar(']');
}

static void print_json(const evaluation *e)
{
    const ek_metrics *m = &e->metrics;
    printf("{\"model\": ");
    cli_json_string(e->model);
    printf(",\n \"data\": ");
    cli_json_string(cli_data_name(e->dataset, e->data));
    printf(",\n \"split\": \"%s\",\n \"digest\": ", e->split);
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

/* Another data set than the model's is no error, but the numbers then mean something else. */
static void compare_names(const cli_command *self, const evaluation *e)
{
    const char *trained_on = ek_net_note(e->net, "data.name");
    if (trained_on && *trained_on && *e->info.name && strcmp(trained_on, e->info.name) != 0)
        cli_warn(self, "%s was trained on %s, and is evaluated on %s", e->model, trained_on, e->info.name);
}

static int open_data(const cli_command *self, evaluation *e)
{
    const ek_split split = !strcmp(e->split, "test") ? EK_SPLIT_TEST : EK_SPLIT_TRAIN;
    if (e->net)
        cli_data_like(&e->images, e->net);
    const int status = cli_data_open(self, &e->dataset, e->data, split, &e->images);
    if (status == CLI_GO)
        ek_dataset_get_info(e->dataset, &e->info);
    return status;
}

static int evaluate(const cli_command *self, evaluation *e)
{
    ek_layer_info last;
    int status = e->net_name ? open_data(self, e) : CLI_GO; /* a built-in net is made for the data */
    if (status != CLI_GO)
        return status;
    e->net = cli_model_open(self, e->model, e->net_name, &e->info);
    if (!e->net)
        return CLI_FAILED;
    status = e->dataset ? CLI_GO : open_data(self, e);
    if (status != CLI_GO)
        return status;
    if (cli_net_output(e->net, &last))
        return cli_fail(self, "%s", ek_error());
    compare_names(self, e);
    const size_t outputs = (size_t)last.c;
    e->classes = last.c;
    if (!last.h && outputs <= OUTPUTS_MAX) {
        e->confusion = calloc(outputs * outputs, sizeof *e->confusion);
        if (!e->confusion)
            return cli_fail(self, "out of memory");
    }
    const ek_eval_options options = {.threads = e->threads, .confusion = e->confusion};
    if (ek_evaluate(e->net, e->dataset, &options, &e->metrics))
        return cli_fail(self, "%s", ek_error());
    if (e->json)
        print_json(e);
    else
        print_text(e);
    return CLI_DONE;
}

int cli_eval(const cli_command *self, int argc, char **argv)
{
    evaluation e = {.data = CLI_DATA_DEFAULT, .split = "test", .threads = ek_cpu_count()};
    const cli_option options[] = {
        {"MODEL", .text = &e.model, .required = true, .help = "a file that 'evenkeel train --out' wrote"},
        {"--data", .value = "NAME|DIR", .text = &e.data, .help = "data set or folder (fashion-mnist)"},
        {"--split", .value = "train|test", .text = &e.split, .help = "which of its images (test)"},
        CLI_DATA_ROWS(e.images),
        {"--net", .value = "NAME|FILE", .text = &e.net_name,
         .help = "for weights alone, as PyTorch saves them: the net they belong to"},
        {"--threads", .value = "N", .integer = &e.threads, .low = 1, .high = CLI_THREADS_MAX,
         .help = "the result does not depend on it (all processors)"},
        {"--json", .flag = &e.json, .help = "print JSON"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    if (strcmp(e.split, "train") != 0 && strcmp(e.split, "test") != 0)
        return cli_usage(self, "--split: '%s' is neither train nor test", e.split);
    status = evaluate(self, &e);
    free(e.confusion);
    ek_dataset_free(e.dataset);
    ek_net_free(e.net);
    return cli_finish(self, status);
}
