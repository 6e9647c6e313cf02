/* SPDX-License-Identifier: MIT */
#include "evaluation.h"

#include <stdlib.h>
#include <string.h>

/* ---- Opening -------------------------------------------------------------------------------------------------- */

void cli_evaluation_defaults(cli_evaluation *e)
{
    *e = (cli_evaluation){.split = "test", .threads = ek_cpu_count()};
}

int cli_evaluation_check(const cli_command *self, const cli_evaluation *e)
{
    if (strcmp(e->split, "train") != 0 && strcmp(e->split, "test") != 0)
        return cli_usage(self, "--split: '%s' is neither train nor test", e->split);
    return CLI_GO;
}

/* A number stands where no word is known. */
static bool is_word(const char *label, int class)
{
    char number[16];
    snprintf(number, sizeof number, "%d", class);
    return label && strcmp(label, number) != 0;
}

/* The first class that model and data call by two names; -1: none. */
static int find_other_class(const cli_labels *labels, const ek_dataset *dataset, int classes)
{
    for (int k = 0; k < labels->count && k < classes; k++) {
        const char *text = ek_dataset_label_text(dataset, k);
        if (is_word(labels->label[k], k) && is_word(text, k) && strcmp(labels->label[k], text) != 0)
            return k;
    }
    return -1;
}

/* Another data set than the model's is no error, but the numbers then mean something else. */
void cli_compare_data(const cli_command *self, const ek_net *net, const char *model, const ek_dataset *dataset)
{
    const char *trained_on = ek_net_note(net, "data.name");
    const char *digest = ek_net_note(net, "data.digest");
    ek_dataset_info info;
    cli_labels labels;
    ek_dataset_get_info(dataset, &info);
    (void)!cli_labels_of(&labels, net); /* without memory there is no warning */
    const int other = find_other_class(&labels, dataset, info.classes);
    if (*info.name && trained_on && *trained_on && strcmp(trained_on, info.name) != 0)
        cli_warn(self, "%s was trained on %s, and is evaluated on %s", model, trained_on, info.name);
    else if (*info.name && !(trained_on && *trained_on) && digest && *digest) /* a set that has no name */
        cli_warn(self, "%s was trained on images of its own, and is evaluated on %s (--data)", model, info.name);
    else if (other >= 0)
        cli_warn(self, "%s was trained on other classes: class %d is '%s' in it, and '%s' in %s", model, other,
                 labels.label[other], ek_dataset_label_text(dataset, other), info.path);
    cli_labels_free(&labels);
}

static int open_data(const cli_command *self, cli_evaluation *e)
{
    const ek_split split = !strcmp(e->split, "test") ? EK_SPLIT_TEST : EK_SPLIT_TRAIN;
    cli_model_data of = {.net = e->net, .model = e->model, .name = e->data, .images = e->images};
    int status = CLI_GO;
    if (e->proof && e->net) {
        status = cli_model_data_proof(self, &of, split, false, &e->dataset);
    } else {
        status = cli_model_data_name(self, &of);
        if (status == CLI_GO)
            status = cli_model_data_open(self, &of, split, &e->dataset);
    }
    e->data = of.name;
    e->share = of.share;
    if (e->dataset)
        ek_dataset_get_info(e->dataset, &e->info);
    return status;
}

int cli_evaluation_open(const cli_command *self, cli_evaluation *e)
{
    int status = e->net_name ? open_data(self, e) : CLI_GO; /* a built-in net is made for the data */
    if (status != CLI_GO)
        return status;
    e->net = cli_model_open(self, e->model, e->net_name, &e->info);
    if (!e->net)
        return CLI_FAILED;
    if (!cli_labels_of(&e->labels, e->net))
        return cli_fail(self, "out of memory");
    status = e->dataset ? CLI_GO : open_data(self, e);
    if (status == CLI_GO && e->dataset)
        cli_compare_data(self, e->net, e->model, e->dataset);
    return status;
}

/* ---- Evaluating ----------------------------------------------------------------------------------------------- */

const char *cli_evaluation_run(cli_evaluation *e, bool logits)
{
    ek_layer_info last;
    if (cli_net_output(e->net, &last))
        return ek_error();
    const size_t outputs = (size_t)last.c, samples = (size_t)e->info.count;
    e->classes = last.c;
    if (!last.h && outputs <= CLI_OUTPUTS_MAX) {
        e->confusion = calloc(outputs * outputs, sizeof *e->confusion);
        e->logits = logits ? calloc(samples * outputs, sizeof *e->logits) : NULL;
        if (!e->confusion || (logits && !e->logits))
            return "out of memory";
    }
    const double begin = cli_now();
    const ek_eval_options options = {
        .threads = e->threads, .confusion = e->confusion, .logits = e->logits, .unfolded = e->unfolded};
    const ek_status status = ek_evaluate(e->net, e->dataset, &options, &e->metrics);
    e->seconds = cli_now() - begin;
    return status ? ek_error() : NULL;
}

void cli_evaluation_clear(cli_evaluation *e)
{
    free(e->confusion);
    free(e->logits);
    e->confusion = NULL;
    e->logits = NULL;
}

void cli_evaluation_free(cli_evaluation *e)
{
    cli_evaluation_clear(e);
    cli_labels_free(&e->labels);
    ek_dataset_free(e->dataset);
    ek_net_free(e->net);
}

/* ---- Counts --------------------------------------------------------------------------------------------------- */

int64_t cli_evaluation_cell(const cli_evaluation *e, int truth, int said)
{
    return e->confusion[truth * e->classes + said];
}

int64_t cli_evaluation_row(const cli_evaluation *e, int truth)
{
    int64_t sum = 0;
    for (int said = 0; said < e->classes; said++)
        sum += cli_evaluation_cell(e, truth, said);
    return sum;
}

int64_t cli_evaluation_column(const cli_evaluation *e, int said)
{
    int64_t sum = 0;
    for (int truth = 0; truth < e->classes; truth++)
        sum += cli_evaluation_cell(e, truth, said);
    return sum;
}

const char *cli_evaluation_label(const cli_evaluation *e, int i, char number[16])
{
    const char *text = i < e->info.classes ? ek_dataset_label_text(e->dataset, i) : NULL;
    if (is_word(text, i))
        return text;
    snprintf(number, 16, "%d", i);
    return i < e->labels.count ? e->labels.label[i] : number;
}
