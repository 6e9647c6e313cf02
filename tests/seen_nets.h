/* SPDX-License-Identifier: MIT
 * Nets with inputs and the outputs that this library gives, for programs that run them elsewhere: the built-in ones,
 * with values as training would leave them, and random ones. */
#ifndef SEEN_NETS_H
#define SEEN_NETS_H

#include "io/safetensors.h"
#include "net/net.h"
#include "random_net.h"

static inline void must(ek_status status, const char *what)
{
    if (!status)
        return;
    fprintf(stderr, "%s: %s\n", what, ek_error());
    exit(1);
}

/* Writes FOLDER/NAME.seen: inputs `x` of n samples, and `logits`, what the net makes of them. */
static inline void see_net(const char *folder, const char *name, ek_net *net, int64_t n)
{
    char path[1024];
    const ek_dims input = net->input, output = ek_net_output(net);
    const int64_t in[] = {n, input.c, input.h, input.w}, out[] = {n, output.c};
    const int64_t values = n * ek_dims_count(input);
    float *x = malloc((size_t)values * sizeof *x), *logits = malloc((size_t)(n * output.c) * sizeof *logits);
    random_writer w = {.seed = 99};
    for (int64_t i = 0; i < values; i++)
        x[i] = random_draw_unit(&w);
    must(ek_predict(net, n, x, 1, logits), name);
    const ek_safetensors_item items[] = {
        {.name = "x", .ndim = 4, .dim = in, .count = values, .floats = x},
        {.name = "logits", .ndim = 2, .dim = out, .count = n * output.c, .floats = logits},
    };
    ek_file_writer *file;
    snprintf(path, sizeof path, "%s/%s.seen", folder, name);
    must(ek_file_create(&file, path), path);
    must(ek_safetensors_write(file, NULL, 0, items, 2), path);
    must(ek_file_commit(file), path);
    free(x);
    free(logits);
}

static inline int64_t numbers_of(ek_net *net)
{
    int64_t numbers = 0;
    for (int i = 0; i < ek_net_tensor_count(net); i++)
        numbers += ek_net_tensor(net, i)->count;
    return numbers;
}

/* Statistics of noise: with any others a deep net's outputs hardly depend on its input. */
static inline void measure_statistics(ek_net *net)
{
    enum { IMAGES = 16 };
    const ek_dims input = net->input;
    uint8_t *pixels = malloc(IMAGES * (size_t)ek_dims_count(input)), labels[IMAGES] = {0};
    ek_dataset *data;
    random_writer random = {.seed = 98};
    for (int64_t i = 0; pixels && i < IMAGES * ek_dims_count(input); i++)
        pixels[i] = (uint8_t)random_draw(&random, 256);
    must(ek_dataset_from_memory(&data, IMAGES, input.c, input.h, input.w, pixels, labels, 10), "noise");
    must(ek_calibrate(net, data, NULL), "statistics");
    ek_dataset_free(data);
    free(pixels);
}

/* Calls `write` for the built-in nets of at most `most` numbers, then for `count` random ones (`asked`: random_net.h),
 * after NAME.seen is there. `number` counts them, each kind from 0. */
static inline void write_nets(const char *folder, int count, int64_t most, unsigned asked,
                              void (*write)(const char *folder, const char *name, ek_net *net, int number))
{
    const char *name;
    for (int i = 0; (name = ek_net_builtin_name(i)); i++) {
        ek_net *net = ek_net_builtin(name);
        if (numbers_of(net) > most) {
            ek_net_free(net);
            continue;
        }
        must(ek_net_init(net, EK_INIT_HE, 3), name);
        random_net_values(net, (uint64_t)i);
        for (int j = 0; j < ek_net_tensor_count(net); j++) {
            const ek_tensor *t = ek_net_tensor(net, j);
            for (int64_t k = 0; k < t->count && t->role == EK_ROLE_GAMMA; k++) /* deep ones are chaotic otherwise */
                t->data[k] *= 50.0f / (50.0f + (float)ek_net_layer_count(net));
        }
        measure_statistics(net);
        see_net(folder, name, net, 2);
        write(folder, name, net, i);
        ek_net_free(net);
    }
    for (int i = 0; i < count; i++) {
        char random_name[40];
        const float mean[] = {0.5f, 0.25f, 0.125f}, std[] = {0.3f, 0.2f, 1};
        ek_net *net = random_net((uint64_t)i, asked);
        if (i % 4 == 0)
            must(ek_net_set_normalization(net, 1, mean, std), "normalisation");
        if (i % 3 == 0)
            must(ek_net_set_note(net, "labels", "T-shirt\nname = \"\\\x1b[0m\"\n\xc3\xa4\xc2\x9b\n\n\xe2\x82\xac"),
                 "labels");
        snprintf(random_name, sizeof random_name, "random-%d", i);
        see_net(folder, random_name, net, 7);
        write(folder, random_name, net, i);
        ek_net_free(net);
    }
}

#endif
