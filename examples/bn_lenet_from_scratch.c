/* SPDX-License-Identifier: MIT
 * "Dive into Deep Learning", 8.5.4: LeNet with batch normalization, layer by layer, trained on Fashion-MNIST, and a
 * look at gamma and beta of the first normalization.
 *
 *     cc bn_lenet_from_scratch.c -o bn_lenet_from_scratch $(pkg-config --cflags --libs evenkeel)
 *
 * With --quick it trains on a thousand made-up images, for a second. */
#include <evenkeel.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* class BNLeNetScratch(d2l.Classifier). The book's own BatchNorm moves the population's variance; PyTorch's, the
 * default here, moves the unbiased one. */
static ek_net *bn_lenet_scratch(int num_classes)
{
    const ek_net_batchnorm_options scratch = {.moving_variance = EK_MOVING_POPULATION};
    ek_net *net = ek_net_new(1, 28, 28);

    ek_net_conv2d(net, 6, &(ek_net_conv2d_options){.kernel = 5});
    ek_net_batchnorm(net, &scratch);
    ek_net_sigmoid(net);
    ek_net_avgpool2d(net, 2, 2);

    ek_net_conv2d(net, 16, &(ek_net_conv2d_options){.kernel = 5});
    ek_net_batchnorm(net, &scratch);
    ek_net_sigmoid(net);
    ek_net_avgpool2d(net, 2, 2);

    ek_net_flatten(net);

    ek_net_linear(net, 120, NULL);
    ek_net_batchnorm(net, &scratch);
    ek_net_sigmoid(net);

    ek_net_linear(net, 84, NULL);
    ek_net_batchnorm(net, &scratch);
    ek_net_sigmoid(net);

    ek_net_linear(net, num_classes, NULL);
    return net; /* a call that failed has marked it: the first use says so */
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

static int print_epoch(void *user, const ek_fit_event *event)
{
    if (event->kind == EK_EVENT_EPOCH) {
        printf("epoch %2d  train loss %.3f  val loss %.3f  val acc %.3f\n", event->epoch, event->loss,
               event->val_loss, event->val_accuracy);
        *(double *)user = event->val_accuracy;
    }
    return 0; /* go on */
}

/* model.net[1].gamma.reshape((-1,)), model.net[1].beta.reshape((-1,)) */
static void print_values(ek_net *net, const char *title, const char *name)
{
    const ek_tensor *tensor = ek_net_tensor_by_name(net, name);
    printf("%s", title);
    for (int64_t i = 0; tensor && i < tensor->count; i++)
        printf(" %8.4f", (double)tensor->data[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    const bool quick = argc > 1 && !strcmp(argv[1], "--quick");
    double accuracy = 0;
    ek_dataset *train = NULL, *val = NULL;
    ek_net *net = bn_lenet_scratch(10);
    ek_status status = quick ? make_squares(&train, 1000) : ek_dataset_open(&train, "fashion-mnist", EK_SPLIT_TRAIN);
    if (!status)
        status = quick ? make_squares(&val, 200) : ek_dataset_open(&val, "fashion-mnist", EK_SPLIT_TEST);
    if (!status)
        status = ek_net_init(net, EK_INIT_XAVIER, 0);
    if (!status)
        status = ek_fit(net, train, val,
                        &(ek_fit_options){.epochs = 10,
                                          .batch_size = quick ? 32 : 128,
                                          .lr = 0.1f,
                                          .on_event = print_epoch,
                                          .user = &accuracy});
    if (status) {
        fprintf(stderr, "%s\n", ek_error());
    } else {
        print_values(net, "gamma", "1.weight");
        print_values(net, "beta ", "1.bias");
    }
    ek_net_free(net);
    ek_dataset_free(train);
    ek_dataset_free(val);
    return !status && accuracy > 0.7 ? 0 : 1; /* so that the example is also a test of itself */
}
