/* SPDX-License-Identifier: MIT
 * evenkeel inspect: what is in a model: layers, and what its normalisations have learned. */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct inspection {
    const char *model, *net_name;
    const char *path; /* of the layer that is wanted; NULL: all */
    int layer;        /* the same by its number, -1: all */
    int plan;         /* batch size whose plan is wanted; 0: none */
    bool json;
    ek_net *net;
} inspection;

/* What the roles are called, in the book's words. */
static const char *role_name(ek_role role)
{
    static const char *const names[] = {"weight",          "bias",   "gamma", "beta", "moving mean",
                                        "moving variance", "batches"};
    return names[role];
}

/* The same as one word, for JSON. */
static const char *role_word(ek_role role)
{
    return role == EK_ROLE_MOVING_MEAN  ? "moving_mean"
           : role == EK_ROLE_MOVING_VAR ? "moving_variance"
                                        : role_name(role);
}

typedef struct summary {
    double least, mean, most;
} summary;

static summary summarise(const ek_tensor *tensor)
{
    summary s = {INFINITY, 0, -INFINITY};
    for (int64_t i = 0; i < tensor->count; i++) {
        const double value = (double)tensor->data[i];
        s.least = value < s.least ? value : s.least;
        s.most = value > s.most ? value : s.most;
        s.mean += value / (double)tensor->count;
    }
    return s;
}

/* gamma, beta, moving mean or variance: one value a channel, not a matrix of weights. */
static bool is_normalisation(const ek_tensor *tensor)
{
    return tensor->role != EK_ROLE_WEIGHT && tensor->role != EK_ROLE_BIAS;
}

static bool wanted(const inspection *n, const ek_tensor *tensor)
{
    return n->layer < 0 ? is_normalisation(tensor) : tensor->layer == n->layer;
}

/* Where layer i stands, "3.body.0". */
static const char *path_of(const inspection *n, int i)
{
    ek_layer_info layer;
    return ek_net_layer(n->net, i, &layer) ? "" : layer.path;
}

/* The column of paths is as wide as the longest, and as its head. */
static int path_width(const inspection *n)
{
    int width = (int)strlen("layer");
    for (int i = 0; i < ek_net_layer_count(n->net); i++)
        width = (int)strlen(path_of(n, i)) > width ? (int)strlen(path_of(n, i)) : width;
    return width;
}

/* The number of the layer at n->path, -1 when there is none. */
static int find_layer(const inspection *n)
{
    for (int i = 0; i < ek_net_layer_count(n->net); i++)
        if (!strcmp(path_of(n, i), n->path))
            return i;
    return -1;
}

/* ---- As text -------------------------------------------------------------------------------------------------- */

static void print_layers(const inspection *n)
{
    char shape[48];
    ek_layer_info layer;
    int64_t macs = 0;
    const int width = path_width(n);
    int room = 32; /* for the layers' texts, or as much as they take */
    for (int i = 0; i < ek_net_layer_count(n->net); i++)
        if (!ek_net_layer(n->net, i, &layer))
            room = (int)strlen(layer.text) > room ? (int)strlen(layer.text) : room;
    char *text = ek_net_text(n->net);
    if (text) /* its first line is the input's shape */
        printf("%.*s\n\n", (int)strcspn(text, "\n"), text);
    free(text);
    printf("%*s  %-*s  %-12s  %10s  %13s\n", width, "layer", room, "", "output", "parameters", "multiply-adds");
    for (int i = 0; i < ek_net_layer_count(n->net); i++) {
        if (ek_net_layer(n->net, i, &layer))
            continue;
        macs += layer.macs;
        printf("%*s  %-*s  %-12s  %10jd  %13jd\n", width, layer.path, room, layer.text, cli_shape_text(&layer, shape),
               (intmax_t)layer.parameters, (intmax_t)layer.macs);
    }
    printf("%*s  %-*s  %-12s  %10jd  %13jd\n", width, "", room, "an image, forward", "",
           (intmax_t)cli_net_parameters(n->net), (intmax_t)macs);
}

static void print_summaries(const inspection *n)
{
    const int width = path_width(n);
    printf("\n%*s  %-16s  %8s  %12s  %12s  %12s\n", width, "layer", "", "values", "least", "mean", "greatest");
    for (int i = 0; i < ek_net_tensor_count(n->net); i++) {
        const ek_tensor *tensor = ek_net_tensor(n->net, i);
        if (!wanted(n, tensor))
            continue;
        if (tensor->counter) {
            printf("%*s  %-16s  %8jd\n", width, path_of(n, tensor->layer), role_name(tensor->role),
                   (intmax_t)*tensor->counter);
            continue;
        }
        const summary s = summarise(tensor);
        printf("%*s  %-16s  %8jd  %12.6g  %12.6g  %12.6g\n", width, path_of(n, tensor->layer),
               role_name(tensor->role), (intmax_t)tensor->count, s.least, s.mean, s.most);
    }
}

static void print_notes(const inspection *n)
{
    bool first = true;
    const char *key;
    for (int i = 0; (key = ek_net_note_key(n->net, i)) != NULL; i++) {
        const char *value = ek_net_note(n->net, key);
        if (!*value)
            continue;
        fputs(first ? "\n" : "", stdout);
        cli_put_text(key);
        printf("%*s  ", (int)strlen(key) < 16 ? 16 - (int)strlen(key) : 0, "");
        for (size_t length; *value; value += length) {
            length = strcspn(value, "\n");
            cli_put(value, length);
            if (value[length]) {
                fputs(", ", stdout);
                length++;
            }
        }
        putchar('\n');
        first = false;
    }
}

/* Every value of one layer's gamma, beta, moving mean and variance, a row a channel. */
static void print_channels(const inspection *n)
{
    const ek_tensor *columns[8];
    int count = 0;
    for (int i = 0; i < ek_net_tensor_count(n->net) && count < 8; i++) {
        const ek_tensor *tensor = ek_net_tensor(n->net, i);
        if (tensor->layer == n->layer && tensor->data && is_normalisation(tensor))
            columns[count++] = tensor;
    }
    if (!count)
        return;
    printf("\nchannel");
    for (int c = 0; c < count; c++)
        printf("  %15s", role_name(columns[c]->role));
    putchar('\n');
    for (int64_t row = 0; row < columns[0]->count; row++) {
        printf("%7jd", (intmax_t)row);
        for (int c = 0; c < count; c++)
            printf("  %15.7g", (double)columns[c]->data[row]);
        putchar('\n');
    }
}

static void print_one_layer(const inspection *n)
{
    char shape[48];
    ek_layer_info layer;
    if (ek_net_layer(n->net, n->layer, &layer))
        return;
    printf("layer %s: %s, output %s, %jd parameters\n", layer.path, layer.text, cli_shape_text(&layer, shape),
           (intmax_t)layer.parameters);
    for (int i = 0; i < ek_net_tensor_count(n->net); i++) {
        if (ek_net_tensor(n->net, i)->layer == n->layer) {
            print_summaries(n);
            break;
        }
    }
    print_channels(n);
}

/* What an optimiser step and a prediction consist of. */
static int print_plans(const cli_command *self, const inspection *n)
{
    char *training = ek_net_plan_text(n->net, EK_TRAINING, n->plan, 0);
    char *prediction = training ? ek_net_plan_text(n->net, EK_PREDICTION, n->plan, 0) : NULL;
    int status = CLI_DONE;
    if (prediction)
        printf("training, batches of %d\n%s\nprediction, batches of %d\n%s", n->plan, training, n->plan, prediction);
    else
        status = cli_fail(self, "%s", ek_error());
    free(training);
    free(prediction);
    return status;
}

static void print_text(const inspection *n)
{
    if (n->layer >= 0) {
        print_one_layer(n);
        return;
    }
    print_layers(n);
    print_summaries(n);
    print_notes(n);
}

/* ---- As JSON -------------------------------------------------------------------------------------------------- */

static void print_json_layers(const inspection *n)
{
    ek_layer_info layer;
    const char *separator = "";
    printf(",\n \"layers\": [");
    for (int i = 0; i < ek_net_layer_count(n->net); i++) {
        if (ek_net_layer(n->net, i, &layer) || (n->layer >= 0 && n->layer != i))
            continue;
        printf("%s\n  {\"layer\": %d, \"path\": \"%s\", \"text\": ", separator, i, layer.path);
        cli_json_string(layer.text);
        printf(layer.h ? ", \"output\": [%d, %d, %d]" : ", \"output\": [%d]", layer.c, layer.h, layer.w);
        printf(", \"parameters\": %jd, \"multiply_adds\": %jd}", (intmax_t)layer.parameters, (intmax_t)layer.macs);
        separator = ",";
    }
    putchar(']');
}

/* Weights are summed up; all values of a normalisation are there, and all of a layer that was asked for. */
static void print_json_tensor(const inspection *n, const ek_tensor *tensor)
{
    const summary s = tensor->data ? summarise(tensor) : (summary){0};
    printf("{\"name\": ");
    cli_json_string(tensor->name);
    printf(", \"layer\": %d, \"role\": \"%s\", \"trainable\": %s, \"shape\": [", tensor->layer,
           role_word(tensor->role), tensor->trainable ? "true" : "false");
    for (int d = 0; d < tensor->ndim; d++)
        printf("%s%jd", d ? ", " : "", (intmax_t)tensor->dim[d]);
    putchar(']');
    if (tensor->counter) {
        printf(", \"values\": [%jd]}", (intmax_t)*tensor->counter);
        return;
    }
    const double numbers[] = {s.least, s.mean, s.most};
    static const char *const names[] = {"least", "mean", "greatest"};
    for (int i = 0; i < 3; i++) {
        printf(", \"%s\": ", names[i]);
        cli_json_number(numbers[i]);
    }
    if (is_normalisation(tensor) || n->layer >= 0) {
        printf(", \"values\": [");
        for (int64_t i = 0; i < tensor->count; i++) {
            fputs(i ? ", " : "", stdout);
            cli_json_number((double)tensor->data[i]);
        }
        putchar(']');
    }
    putchar('}');
}

static void print_json(const inspection *n)
{
    const char *separator = "";
    printf("{\"model\": ");
    cli_json_string(n->model);
    printf(",\n \"parameters\": %jd", (intmax_t)cli_net_parameters(n->net));
    print_json_layers(n);
    printf(",\n \"tensors\": [");
    for (int i = 0; i < ek_net_tensor_count(n->net); i++) {
        const ek_tensor *tensor = ek_net_tensor(n->net, i);
        if (n->layer >= 0 && tensor->layer != n->layer)
            continue;
        printf("%s\n  ", separator);
        print_json_tensor(n, tensor);
        separator = ",";
    }
    printf("],\n \"notes\": {");
    separator = "";
    const char *key;
    for (int i = 0; (key = ek_net_note_key(n->net, i)) != NULL; i++) {
        printf("%s\n  ", separator);
        cli_json_string(key);
        printf(": ");
        cli_json_string(ek_net_note(n->net, key));
        separator = ",";
    }
    printf("}}\n");
}

/* ---- All of it ------------------------------------------------------------------------------------------------ */

int cli_inspect(const cli_command *self, int argc, char **argv)
{
    inspection n = {.layer = -1};
    const cli_option options[] = {
        {"MODEL", .text = &n.model, .required = true, .help = "a file that 'evenkeel train --out' wrote"},
        {"--layer", .value = "PATH", .text = &n.path,
         .help = "this layer alone (3, or 3.body.0), every value of a normalisation"},
        {"--net", .value = "NAME|FILE", .text = &n.net_name,
         .help = "for weights alone, as PyTorch saves them: the net they belong to"},
        {"--plan", .value = "N", .integer = &n.plan, .low = 1, .high = CLI_COUNT_MAX,
         .help = "the steps that batches of N samples are compiled to, instead"},
        {"--json", .flag = &n.json, .help = "print JSON"},
        {.name = NULL},
    };
    int status = cli_parse(self, options, argc, argv);
    if (status != CLI_GO)
        return status;
    if (n.plan && (n.json || n.path))
        return cli_usage(self, "--plan goes with neither --json nor --layer");
    n.net = cli_model_open(self, n.model, n.net_name, NULL);
    if (!n.net)
        return CLI_FAILED;
    status = CLI_DONE;
    n.layer = n.path ? find_layer(&n) : -1;
    if (n.path && n.layer < 0)
        status = cli_fail(self, "--layer: %s has no layer %s; the last is %s", n.model, n.path,
                          path_of(&n, ek_net_layer_count(n.net) - 1));
    else if (n.plan)
        status = print_plans(self, &n);
    else if (n.json)
        print_json(&n);
    else
        print_text(&n);
    ek_net_free(n.net);
    return cli_finish(self, status);
}
