/* SPDX-License-Identifier: MIT
 * "Dive into Deep Learning", 8.5.5: the same net, concisely. It is trained on Fashion-MNIST, saved, loaded again and
 * evaluated.
 *
 *     cc bn_lenet_concise.c -o bn_lenet_concise $(pkg-config --cflags --libs evenkeel)
 *     ./bn_lenet_concise model.safetensors
 *
 * With --quick it trains on a thousand made-up images, for a second. */
#include <evenkeel.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* class BNLeNet(d2l.Classifier), as text; ek_net_builtin("bn-lenet") is the same. */
static const char bn_lenet[] = "input 1 28 28\n"
                               "conv2d 6 kernel=5\n"
                               "batchnorm\n"
                               "sigmoid\n"
                               "avgpool 2\n"
                               "conv2d 16 kernel=5\n"
                               "batchnorm\n"
                               "sigmoid\n"
                               "avgpool 2\n"
                               "flatten\n"
                               "linear 120\n"
                               "batchnorm\n"
                               "sigmoid\n"
                               "linear 84\n"
                               "batchnorm\n"
                               "sigmoid\n"
                               "linear 10\n";

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

int main(int argc, char **argv)
{
    const bool quick = argc > 1 && !strcmp(argv[1], "--quick");
    const char *path = argc > 1 && !quick ? argv[1] : NULL;
    ek_metrics metrics = {0};
    ek_dataset *train = NULL, *val = NULL;
    ek_net *net = ek_net_parse(bn_lenet, "bn_lenet"), *loaded = NULL;

    ek_status status = quick ? make_squares(&train, 1000) : ek_dataset_open(&train, "fashion-mnist", EK_SPLIT_TRAIN);
    if (!status)
        status = quick ? make_squares(&val, 200) : ek_dataset_open(&val, "fashion-mnist", EK_SPLIT_TEST);
    if (!status)
        status = ek_net_init(net, EK_INIT_XAVIER, 0);
    if (!status)
        status =
            ek_fit(net, train, NULL, &(ek_fit_options){.epochs = 10, .batch_size = quick ? 32 : 128, .lr = 0.1f});
    if (!status && path)
        status = ek_net_save(net, path);
    if (!status && path)
        status = ek_net_load(&loaded, path);
    if (!status)
        status = ek_evaluate(loaded ? loaded : net, val, NULL, &metrics);

    if (status)
        fprintf(stderr, "%s\n", ek_error());
    else
        printf("loss %.3f, accuracy %.3f on %d images\n", metrics.loss, metrics.accuracy, (int)metrics.count);
    ek_net_free(net);
    ek_net_free(loaded);
    ek_dataset_free(train);
    ek_dataset_free(val);
    return !status && metrics.accuracy > 0.7 ? 0 : 1; /* so that the example is also a test of itself */
}
