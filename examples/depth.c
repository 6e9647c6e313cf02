/* SPDX-License-Identifier: MIT
 * "Dive into Deep Learning", 8.6: residual blocks, and what depth does without them. Three nets of 56 layers with the
 * same convolutions learn Fashion-MNIST: a plain one with batch norm, a residual one with batch norm, and a residual
 * one without. docs/depth.md has the figures.
 *
 *     cc depth.c -o depth $(pkg-config --cflags --libs evenkeel)
 *     ./depth [EPOCHS]
 *
 * With --quick the nets are of 14 layers and learn a thousand made-up images, for seconds. */
#include <evenkeel.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One pair of convolutions, residual or plain, with batch norm or without. */
typedef struct recipe {
    const char *name;
    bool residual, batchnorm;
} recipe;

static const recipe recipes[] = {
    {"plain, batch norm", false, true},
    {"residual, batch norm", true, true},
    {"residual, no batch norm", true, false},
};

/* `pairs` pairs of 3x3 convolutions with `channels`; the first may halve the image. */
static void add_stage(ek_net *net, const recipe *r, int pairs, int channels, int stride)
{
    for (int i = 0; i < pairs; i++) {
        const int s = i == 0 ? stride : 1;
        if (r->residual) /* the shortcut drops rows and columns as the body does, and fills new channels with zeros */
            ek_net_residual_begin(net, s > 1 ? &(ek_net_residual_options){.shortcut = EK_SHORTCUT_PAD, .stride = s}
                                             : NULL);
        for (int half = 0; half < 2; half++) {
            ek_net_conv2d(
                net, channels,
                &(ek_net_conv2d_options){.kernel = 3, .padding = 1, .stride = half ? 1 : s, .no_bias = r->batchnorm});
            if (r->batchnorm)
                ek_net_batchnorm(net, NULL);
            if (half == 0 || !r->residual)
                ek_net_relu(net);
        }
        if (r->residual) {
            ek_net_block_end(net);
            ek_net_relu(net);
        }
    }
}

static ek_net *build(const recipe *r, int pairs)
{
    ek_net *net = ek_net_new(1, 28, 28);
    ek_net_conv2d(net, 8, &(ek_net_conv2d_options){.kernel = 3, .padding = 1, .stride = 2, .no_bias = r->batchnorm});
    if (r->batchnorm)
        ek_net_batchnorm(net, NULL);
    ek_net_relu(net);
    add_stage(net, r, pairs, 8, 1);
    add_stage(net, r, pairs, 16, 2);
    add_stage(net, r, pairs, 32, 2);
    ek_net_globalavgpool(net);
    ek_net_flatten(net);
    ek_net_linear(net, 10, NULL);
    return net;
}

/* Images of noise with a bright square whose place tells the class. */
static ek_status make_squares(ek_dataset **data, int n)
{
    uint8_t *pixels = malloc((size_t)n * 28 * 28), *labels = malloc((size_t)n);
    ek_status status = EK_ERR_MEMORY;
    for (int i = 0; pixels && labels && i < n; i++) {
        uint8_t *image = pixels + (size_t)i * 28 * 28;
        labels[i] = (uint8_t)(i % 10);
        for (int p = 0; p < 28 * 28; p++)
            image[p] = (uint8_t)(rand() % 64);
        for (int p = 0; p < 64; p++)
            image[(2 + labels[i] / 5 * 14 + p / 8) * 28 + labels[i] % 5 * 5 + p % 8] = 255;
    }
    if (pixels && labels)
        status = ek_dataset_from_memory(data, n, 1, 28, 28, pixels, labels, 10);
    free(pixels);
    free(labels);
    return status;
}

/* Prints an epoch's line: the loss tells more of training than the accuracy. */
static int show(void *user, const ek_fit_event *event)
{
    if (event->kind == EK_EVENT_EPOCH) {
        printf("%-24s epoch %d: train loss %.3f, val accuracy %.3f, %.0f s\n", (const char *)user, event->epoch,
               event->loss, event->val_accuracy, event->seconds);
        fflush(stdout);
    }
    return 0;
}

/* Accuracy on the validation set; NaN where training broke off, which is a result as well. */
static ek_status run(const recipe *r, int pairs, int epochs, const ek_dataset *train, const ek_dataset *val,
                     double *accuracy)
{
    const ek_fit_options options = {.epochs = epochs,
                                    .batch_size = pairs > 2 ? 128 : 32,
                                    .lr = 0.05f,
                                    .momentum = 0.9f,
                                    .weight_decay = 1e-4f,
                                    .on_event = show,
                                    .user = (void *)r->name};
    ek_metrics metrics = {.accuracy = NAN};
    ek_net *net = build(r, pairs);
    ek_status status = ek_net_init(net, EK_INIT_HE, 0);
    if (!status)
        status = ek_fit(net, train, val, &options);
    if (status == EK_ERR_NUMERIC) {
        printf("%-24s %s\n", r->name, ek_error());
        status = EK_OK;
    } else if (!status) {
        status = ek_evaluate(net, val, NULL, &metrics);
    }
    *accuracy = metrics.accuracy;
    ek_net_free(net);
    return status;
}

int main(int argc, char **argv)
{
    const bool quick = argc > 1 && !strcmp(argv[1], "--quick");
    const int epochs = quick ? 3 : argc > 1 ? atoi(argv[1]) : 3, pairs = quick ? 2 : 9;
    double accuracy[3] = {0};
    ek_dataset *train = NULL, *val = NULL;
    ek_status status = quick ? make_squares(&train, 1000) : ek_dataset_open(&train, "fashion-mnist", EK_SPLIT_TRAIN);
    if (!status)
        status = quick ? make_squares(&val, 200) : ek_dataset_open(&val, "fashion-mnist", EK_SPLIT_TEST);
    for (int i = 0; !status && i < 3; i++)
        status = run(&recipes[i], pairs, epochs, train, val, &accuracy[i]);
    if (status)
        fprintf(stderr, "%s\n", ek_error());
    ek_dataset_free(train);
    ek_dataset_free(val);
    return !status && accuracy[1] > 0.7 ? 0 : 1;
}
