/* SPDX-License-Identifier: MIT
 * Opening nets and models by what the user typed, and words for them. */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NET_TEXT_MAX = 1 << 20 };

bool cli_is_builtin(const char *name)
{
    for (int i = 0; ek_net_builtin_name(i); i++)
        if (!strcmp(ek_net_builtin_name(i), name))
            return true;
    return false;
}

bool cli_is_text(const char *path)
{
    unsigned char bytes[8];
    struct stat info;
    FILE *file = !stat(path, &info) && S_ISREG(info.st_mode) ? fopen(path, "rb") : NULL;
    const size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file)
        fclose(file);
    return size == sizeof bytes && !memchr(bytes, 0, sizeof bytes);
}

/* There is neither such a net nor such a file. */
static void say_unknown(const cli_command *self, const char *name)
{
    enum { MOST = 32 };
    const char *names[MOST + 1] = {NULL};
    char list[512] = "";
    for (int i = 0; ek_net_builtin_name(i) && i < MOST; i++) {
        const size_t length = strlen(list);
        names[i] = ek_net_builtin_name(i);
        snprintf(list + length, sizeof list - length, "%s%s", i ? ", " : "", names[i]);
    }
    const char *nearest = cli_nearest(name, names);
    if (nearest)
        cli_fail(self, "--net: there is neither a net nor a file '%s'; did you mean '%s'?", name, nearest);
    else
        cli_fail(self, "--net: there is neither a net nor a file '%s'; built in are %s", name, list);
}

/* The text of a net file, to free; NULL with a message. */
static char *read_net_text(const cli_command *self, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        if (errno == ENOENT || errno == ENOTDIR)
            say_unknown(self, path);
        else
            cli_fail(self, "%s: cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(NET_TEXT_MAX + 1);
    const size_t length = text ? fread(text, 1, NET_TEXT_MAX + 1, file) : 0;
    const char *fault = !text                             ? "out of memory"
                        : ferror(file)                    ? strerror(errno)
                        : length > NET_TEXT_MAX           ? "longer than any net's text (1 MiB)"
                        : memchr(text, 0, length) != NULL ? "not a net's text: it has a zero byte"
                                                          : NULL;
    fclose(file);
    if (fault) {
        cli_fail(self, "%s: %s", path, fault);
        free(text);
        return NULL;
    }
    text[length] = 0;
    return text;
}

ek_net *cli_net_open(const cli_command *self, const char *name, const ek_dataset_info *data)
{
    ek_net *net = NULL;
    if (cli_is_builtin(name)) {
        net = data ? ek_net_builtin_for(name, data->channels, data->height, data->width, data->classes)
                   : ek_net_builtin(name);
    } else {
        char *text = read_net_text(self, name);
        if (!text)
            return NULL;
        net = ek_net_parse(text, name);
        free(text);
    }
    if (net && ek_net_tensor_count(net) > 0)
        return net;
    if (net)
        cli_fail(self, "%s: a net without %s", name, ek_net_layer_count(net) ? "parameters" : "layers");
    else
        cli_fail(self, "%s", ek_error());
    ek_net_free(net);
    return NULL;
}

ek_net *cli_model_open(const cli_command *self, const char *path, const char *net_name, const ek_dataset_info *data)
{
    ek_net *net = net_name ? cli_net_open(self, net_name, data) : NULL;
    if (net_name && !net)
        return NULL;
    const ek_status status = net_name ? ek_net_load_weights(net, path) : ek_net_load(&net, path);
    if (!status)
        return net;
    cli_fail(self, "%s", ek_error());
    ek_net_free(net);
    return NULL;
}

ek_status cli_net_output(const ek_net *net, ek_layer_info *output)
{
    int last = ek_net_layer_count(net) - 1;
    ek_status status = ek_net_layer(net, last, output);
    while (!status && output->depth > 0)
        status = ek_net_layer(net, --last, output);
    return status;
}

int64_t cli_net_parameters(const ek_net *net)
{
    int64_t parameters = 0;
    ek_layer_info info;
    for (int i = 0; i < ek_net_layer_count(net); i++)
        if (!ek_net_layer(net, i, &info))
            parameters += info.parameters;
    return parameters;
}

int64_t cli_net_file_size(ek_net *net)
{
    enum { NOTES = 8192, A_TENSOR = 160, A_LABEL = 24 }; /* bytes of names, shapes and places */
    int64_t values = 0;
    ek_layer_info output;
    char *text = ek_net_text(net);
    const int64_t tensors = ek_net_tensor_count(net), length = text ? (int64_t)strlen(text) : 0;
    free(text);
    for (int i = 0; i < tensors; i++)
        values += ek_net_tensor(net, i)->count;
    const int64_t labels = cli_net_output(net, &output) ? 0 : output.c;
    return (int64_t)sizeof(float) * values + NOTES + A_TENSOR * tensors + A_LABEL * labels + 2 * length;
}

int64_t cli_net_copy_moving(ek_net *net, float *copy, bool back)
{
    int64_t count = 0;
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        if (tensor->role != EK_ROLE_MOVING_MEAN && tensor->role != EK_ROLE_MOVING_VAR)
            continue;
        for (int64_t j = 0; copy && j < tensor->count; j++)
            *(back ? &tensor->data[j] : &copy[count + j]) = back ? copy[count + j] : tensor->data[j];
        count += tensor->count;
    }
    return count;
}

const char *cli_statistics_name(const ek_net *net)
{
    return ek_net_note(net, "statistics") ? "saved" : "moving";
}

const char *cli_shape_text(const ek_layer_info *layer, char text[48])
{
    if (layer->h)
        snprintf(text, 48, "%dx%dx%d", layer->c, layer->h, layer->w);
    else
        snprintf(text, 48, "%d", layer->c);
    return text;
}

static void print_biases(const ek_net *net)
{
    ek_layer_info layer;
    int count = 0;
    for (int i = 0; i < ek_net_layer_count(net); i++)
        if (!ek_net_layer(net, i, &layer) && layer.bias_without_gradient)
            printf(count++ ? ", %s" : "\nbiases computed away, by the batch norms behind them: %s", layer.path);
    if (count)
        putchar('\n');
}

void cli_net_print(const ek_net *net)
{
    char shape[48];
    ek_layer_info layer;
    int path = (int)strlen("layer"), text = 0;
    int64_t parameters = 0, macs = 0;
    for (int i = 0; i < ek_net_layer_count(net); i++)
        if (!ek_net_layer(net, i, &layer)) {
            path = (int)strlen(layer.path) > path ? (int)strlen(layer.path) : path;
            const int width = 2 * layer.depth + (int)strlen(layer.text);
            text = width > text ? width : text;
            parameters += layer.parameters;
            macs += layer.macs;
        }
    printf("%-*s  %-*s  %-12s  %10s  %14s\n", path, "layer", text, "", "output", "parameters", "multiply-adds");
    for (int i = 0; i < ek_net_layer_count(net); i++) {
        if (ek_net_layer(net, i, &layer))
            continue;
        const bool counts = layer.parameters || layer.macs;
        printf("%-*s  %*s%-*s  %-*s", path, layer.path, 2 * layer.depth, "", text - 2 * layer.depth, layer.text,
               counts ? 12 : 0, cli_shape_text(&layer, shape));
        if (counts)
            printf("  %10jd  %14jd", (intmax_t)layer.parameters, (intmax_t)layer.macs);
        putchar('\n');
    }
    printf("%-*s  %-*s  %-12s  %10jd  %14jd\n", path, "", text, "an image, forward", "", (intmax_t)parameters,
           (intmax_t)macs);
    print_biases(net);
}

const char *cli_data_name(const ek_dataset *dataset, const char *opened_as)
{
    ek_dataset_info info;
    ek_dataset_get_info(dataset, &info);
    return *info.name ? info.name : opened_as;
}
