/* SPDX-License-Identifier: MIT
 * Tests of steps that are not finite: they are left out as if their samples were not there, the layer, the channel and
 * the sample that began it are named, and too many in a row end the training, with the last good checkpoint. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "net/net.h"
#include "scratch.h"

enum { SIDE = 6, PIXELS = SIDE * SIDE, CLASSES = 4, BATCH = 8, MOST = 80 };

/* ---- Data and nets -------------------------------------------------------------------------------------------- */

/* Images whose first two pixels are dark, but for those of sample `bad`: `bright` of them are white there. */
static ek_dataset *new_data(int samples, int bad, int bright)
{
    static uint8_t pixels[MOST * PIXELS], labels[MOST];
    uint32_t bits[4];
    for (int i = 0; i < samples; i++) {
        ek_random4(7, EK_RANDOM_INIT, 0, (uint64_t)i, bits);
        labels[i] = (uint8_t)(bits[0] % CLASSES);
        for (int j = 0; j < PIXELS; j++) {
            ek_random4(7, EK_RANDOM_INIT, 1 + (uint32_t)i, (uint64_t)j, bits);
            pixels[i * PIXELS + j] = (uint8_t)(bits[0] % 4 + (j % SIDE == labels[i] + 2 ? 200 : 0));
        }
        pixels[i * PIXELS] = i == bad && bright > 0 ? 255 : 0;
        pixels[i * PIXELS + 1] = i == bad && bright > 1 ? 255 : 0;
    }
    ek_dataset *data = NULL;
    assert_int_equal(ek_dataset_from_memory(&data, samples, 1, SIDE, SIDE, pixels, labels, CLASSES), EK_OK);
    return data;
}

static float *values_of(ek_net *net, const char *name)
{
    const ek_tensor *t = ek_net_tensor_by_name(net, name);
    if (!t)
        fail_msg("no tensor %s", name);
    return t->data;
}

/* A net whose first layer's channel 1 takes the first two pixels by so much that both of them white are infinite. */
static ek_net *new_net(const char *layers)
{
    char text[512];
    snprintf(text, sizeof text, "input 1 6 6\n%s", layers);
    ek_net *net = ek_net_parse(text, NULL);
    if (!net || ek_net_init(net, EK_INIT_XAVIER, 3))
        fail_msg("%s", ek_error());
    const ek_tensor *first = NULL;
    for (int i = 0; !first; i++)
        if (ek_net_tensor(net, i)->role == EK_ROLE_WEIGHT)
            first = ek_net_tensor(net, i);
    assert_int_equal(first->count % PIXELS, 0);
    first->data[PIXELS] = first->data[PIXELS + 1] = 3e38f;
    return net;
}

/* ---- What is heard -------------------------------------------------------------------------------------------- */

typedef struct listener {
    int64_t stop_at; /* total steps; 0: never */
    int steps, skipped, epochs, written, kept;
    int in_row, in_epoch; /* as the last events said */
    int64_t sample;
    int channel;
    char layer[64], message[1024];
    double loss, accuracy; /* of the last epoch */
} listener;

static int listen(void *user, const ek_fit_event *e)
{
    listener *l = user;
    if (e->kind == EK_EVENT_STEP) {
        l->steps++;
        assert_true(isfinite(e->loss));
    } else if (e->kind == EK_EVENT_SKIPPED) {
        l->skipped++;
        l->in_row = e->skipped;
        l->sample = e->sample;
        l->channel = e->channel;
        assert_int_equal(e->status, EK_ERR_NUMERIC);
        snprintf(l->layer, sizeof l->layer, "%s", e->layer);
        snprintf(l->message, sizeof l->message, "%s", e->message);
    } else if (e->kind == EK_EVENT_EPOCH) {
        l->epochs++;
        l->in_epoch = e->skipped;
        l->loss = e->loss;
        l->accuracy = e->accuracy;
    } else if (e->kind == EK_EVENT_CHECKPOINT) {
        assert_int_equal(e->status, EK_OK);
        l->written++;
    }
    return (e->kind == EK_EVENT_STEP || e->kind == EK_EVENT_SKIPPED) && e->total_steps == l->stop_at;
}

static ek_status fit(ek_net *net, const ek_dataset *data, ek_fit_options o, listener *l)
{
    o.batch_size = BATCH;
    o.epochs = o.epochs ? o.epochs : 2;
    o.threads = o.threads ? o.threads : 1;
    o.on_event = listen;
    o.user = l;
    return ek_fit(net, data, NULL, &o);
}

static bool same_nets(ek_net *a, ek_net *b)
{
    assert_int_equal(a->value_count, b->value_count);
    for (int i = 0; i < a->tensor_count; i++)
        if (a->tensors[i].counter && *a->tensors[i].counter != *b->tensors[i].counter)
            return false;
    return memcmp(a->values, b->values, a->value_count * sizeof *a->values) == 0;
}

static void expect(ek_status got, ek_status want, const char *words)
{
    if (got != want || !strstr(ek_error(), words))
        fail_msg("%s, \"%s\"; expected %s with \"%s\"", ek_status_name(got), ek_error(), ek_status_name(want), words);
}

/* ---- Left out ------------------------------------------------------------------------------------------------- */

static const char normed[] = "conv2d 3 kernel=6\nbatchnorm\nrelu\nflatten\nlinear 8\nbatchnorm momentum=cumulative\n"
                             "sigmoid\ndropout p=0.25\nlinear 4\n",
                  plain[] = "flatten\nlinear 8\nrelu\nlinear 4\n";

static const struct {
    const char *net;
    ek_fit_options options;
} trainings[] = {
    {normed, {.lr = 0.1f}},
    {normed, {.momentum = 0.9, .nesterov = true}},
    {normed, {.optimizer = EK_ADAM}},
    {normed, {.optimizer = EK_ADAMW, .weight_decay = 0.01, .clip_norm = 0.1}},
    {normed, {.momentum = 0.5, .micro_batch = 3, .ghost = true}},
    {normed, {.momentum = 0.5, .micro_batch = 6, .ghost = true, .clip_norm = 0.1}},
    {normed, {.micro_batch = 3}},
    {plain, {.momentum = 0.9}},
    {plain, {.optimizer = EK_ADAM, .micro_batch = 5, .ghost = true}},
};

/* The last batch is left out: what is there is what there would be without its samples. */
static void test_left_out(void **state)
{
    (void)state;
    enum { GOOD = 3 * BATCH, BAD = GOOD + 4 };
    ek_dataset *all = new_data(GOOD + BATCH, BAD, 2), *good = new_data(GOOD, -1, 0);
    for (size_t i = 0; i < sizeof trainings / sizeof *trainings; i++) {
        char message[1024] = "";
        for (int threads = 1; threads <= 3; threads += 2) {
            ek_net *net = new_net(trainings[i].net), *want = new_net(trainings[i].net);
            ek_fit_options o = trainings[i].options;
            listener l = {0}, without = {0};
            o.epochs = 3;
            o.no_shuffle = true;
            o.threads = threads;
            if (fit(net, all, o, &l) || fit(want, good, o, &without))
                fail_msg("training %d: %s", (int)i, ek_error());
            if (!same_nets(net, want))
                fail_msg("training %d, %d threads: the step that was left out left something", (int)i, threads);
            assert_true(l.loss == without.loss && l.accuracy == without.accuracy && isfinite(l.loss));
            assert_int_equal(l.steps, 9);
            assert_int_equal(l.skipped, 3);
            assert_int_equal(l.in_row, 1);
            assert_int_equal(l.in_epoch, 1);
            assert_int_equal(without.skipped + without.in_epoch, 0);
            assert_int_equal(l.sample, BAD);
            assert_int_equal(l.channel, 1);
            assert_string_equal(l.layer, trainings[i].net == normed ? "0" : "1");
            assert_non_null(strstr(l.message, "epoch 3, step 4: "));
            if (threads == 1)
                memcpy(message, l.message, sizeof message);
            assert_string_equal(l.message, message);
            ek_net_free(net);
            ek_net_free(want);
        }
    }
    ek_dataset_free(all);
    ek_dataset_free(good);
}

/* Shuffled, it is the same sample in whichever step it comes; and a seed's steps are the others'. */
static void test_shuffled(void **state)
{
    (void)state;
    enum { SAMPLES = 70, BAD = 41 };
    ek_dataset *data = new_data(SAMPLES, BAD, 2);
    for (uint64_t seed = 0; seed < 3; seed++) {
        ek_net *nets[3];
        listener l[3] = {{0}};
        for (int i = 0; i < 3; i++) {
            nets[i] = new_net(normed);
            const ek_fit_options o = {.seed = seed, .epochs = 4, .threads = 1 + i, .micro_batch = i == 2 ? 3 : 0};
            assert_int_equal(fit(nets[i], data, o, &l[i]), EK_OK);
            assert_int_equal(l[i].skipped, 4);
            assert_int_equal(l[i].sample, BAD);
            assert_string_equal(l[i].message, l[0].message);
            assert_true(same_nets(nets[i], nets[0]));
        }
        for (int i = 0; i < 3; i++)
            ek_net_free(nets[i]);
    }
    ek_dataset_free(data);
}

/* ---- Where it begins ------------------------------------------------------------------------------------------ */

/* After one step, in which sample 5 is not finite, or too far from the others. */
static void expect_origin(const char *layers, int bright, const char *tensor, int element, float value,
                          const char *layer, int channel, const char *words)
{
    ek_dataset *data = new_data(BATCH + 3, 5, bright);
    for (int micro = 0; micro <= 16; micro += 16) {
        ek_net *net = new_net(layers);
        listener l = {.stop_at = 1};
        if (tensor)
            values_of(net, tensor)[element] = value;
        expect(fit(net, data, (ek_fit_options){.no_shuffle = true, .micro_batch = micro}, &l), EK_ERR_STOPPED, "");
        if (l.skipped != 1 || !strstr(l.message, words) || strcmp(l.layer, layer) != 0 || l.channel != channel ||
            l.sample != 5)
            fail_msg("layer %s, channel %d, sample %d, \"%s\" of\n%s\nexpected layer %s, channel %d, \"%s\"", l.layer,
                     l.channel, (int)l.sample, l.message, layers, layer, channel, words);
        ek_net_free(net);
    }
    ek_dataset_free(data);
}

static void test_origins(void **state)
{
    (void)state;
    expect_origin("conv2d 3 kernel=6\nbatchnorm\nflatten\nlinear 4\n", 2, NULL, 0, 0, "0", 1,
                  "layer 1 (batchnorm), channel 1: the batch's statistics are not finite; this begins with training "
                  "sample 5 in layer 0 (conv2d), channel 1");
    expect_origin("flatten\nlinear 5\nbatchnorm\nlinear 4\n", 1, NULL, 0, 0, "2", 1,
                  "layer 2 (batchnorm), channel 1: the batch's statistics are not finite; training sample 5 lies "
                  "farthest from the mean");
    expect_origin("flatten\nlinear 5\nrelu\nlinear 4\n", 2, NULL, 0, 0, "1", 1,
                  "the loss is not finite; this begins with training sample 5 in layer 1 (linear), channel 1");
    /* A white pixel alone leaves the first layer finite; what follows doubles it. */
    expect_origin("flatten\nlinear 5\nrelu\nlinear 4\n", 1, "3.weight", 2 * 5 + 1, 2, "3", 2,
                  "sample 5 in layer 3 (linear), channel 2");
    expect_origin("flatten\nlinear 1100\nrelu\nlinear 1100\nrelu\nlinear 4\n", 1, "3.weight", 2 * 1100 + 1, 2, "3", 2,
                  "sample 5 in layer 3 (linear), channel 2"); /* weights that are packed once more for backward */
    expect_origin("flatten\nlinear 5\ndropout p=0.2\nlinear 4\n", 1, NULL, 0, 0, "2", -1,
                  "sample 5 in layer 2 (dropout)");
    expect_origin("conv2d 4 kernel=6\nresidual {\n    conv2d 4 kernel=1 bias=no\n}\nrelu\nflatten\nlinear 4\n", 1,
                  "1.body.0.weight", 1 * 4 + 1, 0.9f, "1", 1, "sample 5 in layer 1 (residual), channel 1");
    expect_origin("conv2d 4 kernel=6\nbatchnorm use_moving=yes hold_moving=yes\nrelu\nflatten\nlinear 4\n", 1,
                  "1.weight", 1, 2, "1", 1, "sample 5 in layer 1 (batchnorm), channel 1");
    expect_origin("conv2d 4 kernel=6\nconcat {\n    branch {\n        relu\n    }\n    branch {\n        "
                  "conv2d 2 kernel=1 bias=no\n    }\n}\nflatten\nlinear 4\n",
                  1, "1.branches.1.0.weight", 4 + 1, 2, "1.branches.1.0", 1,
                  "sample 5 in layer 1.branches.1.0 (conv2d), channel 1");
}

/* Of sample `bad` the label is not 0, as everybody else's is, whom the net is sure of. */
static ek_dataset *new_labels(int samples, int bad)
{
    static uint8_t pixels[MOST * PIXELS], labels[MOST];
    for (int i = 0; i < samples * PIXELS; i++)
        pixels[i] = (uint8_t)(i * 37 % 251);
    memset(labels, 0, sizeof labels);
    labels[bad] = 2;
    ek_dataset *data = NULL;
    assert_int_equal(ek_dataset_from_memory(&data, samples, 1, SIDE, SIDE, pixels, labels, CLASSES), EK_OK);
    return data;
}

static ek_net *new_steep(void)
{
    ek_net *net = ek_net_parse("input 1 6 6\nflatten\nlinear 2\nlinear 1\nrelu\nlinear 4\n", NULL);
    assert_int_equal(ek_net_init(net, EK_INIT_XAVIER, 3), EK_OK);
    float *a = values_of(net, "1.weight"), *b = values_of(net, "2.weight"), *c = values_of(net, "4.weight");
    memset(a, 0, 2 * PIXELS * sizeof *a); /* two features of 0, whatever is rounded on the way */
    values_of(net, "1.bias")[0] = values_of(net, "1.bias")[1] = 0;
    b[0] = 1e10f;
    b[1] = -1e10f;
    values_of(net, "2.bias")[0] = 1;
    c[0] = 1e35f;
    c[1] = c[2] = c[3] = 0;
    return net;
}

/* Forward is finite, and a gradient on its way back becomes too large: 1e34 by 1e10. */
static void test_backward(void **state)
{
    (void)state;
    enum { BAD = 11 };
    ek_dataset *data = new_labels(2 * BATCH, BAD), *good = new_labels(BATCH, BAD);
    for (int threads = 1; threads <= 3; threads += 2) {
        listener l = {0}, without = {0};
        ek_net *net = new_steep(), *want = new_steep();
        const ek_fit_options o = {.epochs = 1, .no_shuffle = true, .threads = threads};
        assert_int_equal(fit(net, data, o, &l), EK_OK);
        assert_int_equal(fit(want, good, o, &without), EK_OK);
        assert_int_equal(l.steps, 1);
        assert_int_equal(l.skipped, 1);
        assert_int_equal(l.sample, BAD);
        assert_string_equal(l.message, "epoch 1, step 2: layer 1: the gradient of its weights is not finite; this "
                                       "begins with training sample 11 in the gradient that layer 2 (linear) hands "
                                       "back, channel 0");
        assert_true(same_nets(net, want));
        ek_net_free(want);
        ek_net_free(net);
    }
    ek_dataset_free(data);
    ek_dataset_free(good);
}

/* A gradient whose square Adam cannot keep: left out, unless clipping makes it small. */
static void test_squares(void **state)
{
    (void)state;
    enum { BAD = 11 };
    ek_dataset *data = new_data(2 * BATCH, BAD, 1), *good = new_data(BATCH, -1, 0);
    static const char *const layers[] = {"flatten\nlinear 3\nrelu\nlinear 4\n",
                                         "flatten\nlinear 3\nbatchnorm use_moving=yes hold_moving=yes\nlinear 4\n"};
    for (int i = 0; i < 2; i++)
        for (int adamw = 0; adamw < 2; adamw++) {
            const ek_optimizer optimizer = adamw ? EK_ADAMW : EK_ADAM;
            const ek_fit_options o = {.epochs = 1, .no_shuffle = true, .lr = 0.01f, .optimizer = optimizer};
            ek_fit_options clipped = o, sgd = {.epochs = 1, .no_shuffle = true, .lr = 1e-30f};
            clipped.clip_norm = 1;
            listener l = {0}, without = {0}, taken = {0}, descent = {0};
            ek_net *net = new_net(layers[i]), *want = new_net(layers[i]), *clips = new_net(layers[i]);
            ek_net *descends = new_net(layers[i]);
            ek_net *const all[] = {net, want, clips, descends};
            for (int j = 0; j < 4; j++) { /* the bad sample gives 1e24 where the others give next to nothing */
                values_of(all[j], "1.weight")[PIXELS] = 1e24f;
                values_of(all[j], "1.weight")[PIXELS + 1] = 0;
            }
            assert_int_equal(fit(net, data, o, &l), EK_OK);
            assert_int_equal(fit(want, good, o, &without), EK_OK);
            assert_int_equal(l.skipped, 1);
            assert_non_null(strstr(l.message, ", or its square, is not finite"));
            assert_true(same_nets(net, want));
            assert_int_equal(fit(clips, data, clipped, &taken), EK_OK);
            assert_int_equal(taken.skipped, 0);
            assert_int_equal(fit(descends, data, sgd, &descent), EK_OK);
            assert_int_equal(descent.skipped, 0);
            for (int j = 0; j < 4; j++)
                ek_net_free(all[j]);
        }
    ek_dataset_free(data);
    ek_dataset_free(good);
}

/* A weight's gradient and, before it in the net, a norm's: the weight's is told, though it is added up later. */
static void test_nearest_to_the_loss(void **state)
{
    (void)state;
    ek_dataset *data = new_data(BATCH, -1, 0);
    ek_net *net = ek_net_parse("input 1 6 6\nflatten\nlinear 2\nbatchnorm\nlinear 1\nlinear 4\n", NULL);
    assert_int_equal(ek_net_init(net, EK_INIT_XAVIER, 3), EK_OK);
    values_of(net, "2.weight")[0] = 1e30f; /* gamma */
    values_of(net, "2.weight")[1] = 1e-30f;
    values_of(net, "3.weight")[0] = 0;
    values_of(net, "3.weight")[1] = 1e30f;
    values_of(net, "4.weight")[0] = 1e10f;
    listener l = {0};
    expect(fit(net, data, (ek_fit_options){.max_skipped = -1}, &l), EK_ERR_NUMERIC,
           "epoch 1, step 1: layer 3: the gradient of its weights is not finite; this begins with");
    assert_non_null(strstr(ek_error(), "in the gradient that layer 3 (linear) hands back, channel 1"));
    ek_net_free(net);
    ek_dataset_free(data);
}

/* ---- Too many ------------------------------------------------------------------------------------------------- */

/* From step `first` of ten on, every batch has a sample that is not finite. */
static ek_dataset *new_failing(int first)
{
    static uint8_t pixels[10 * BATCH * PIXELS], labels[10 * BATCH];
    for (int i = 0; i < 10 * BATCH; i++) {
        labels[i] = (uint8_t)(i * 7 % CLASSES);
        for (int j = 0; j < PIXELS; j++)
            pixels[i * PIXELS + j] =
                (uint8_t)(j < 2 ? i / BATCH + 1 >= first && i % BATCH == 3 ? 255 : 0 : (i * j) % 256);
    }
    ek_dataset *data = NULL;
    assert_int_equal(ek_dataset_from_memory(&data, 10 * BATCH, 1, SIDE, SIDE, pixels, labels, CLASSES), EK_OK);
    return data;
}

static void test_too_many(void **state)
{
    (void)state;
    static const struct {
        int max, skipped;
        const char *words;
    } cases[] = {
        {0, 3, "epoch 1, step 8: "},
        {-1, 0, "epoch 1, step 5: "},
        {1, 1, "; 1 step before it was left out, as many as may be"},
        {4, 4, "; 4 steps before it were left out, as many as may be; a lower learning rate may help"},
        {6, 6, "epoch 2, step 5: "}, /* 6 in the first epoch, and then four good ones, and 6 more */
    };
    ek_dataset *data = new_failing(5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        listener l = {0}, four = {.stop_at = 4};
        ek_net *net = new_net(normed), *until = new_net(normed);
        const ek_fit_options o = {.no_shuffle = true, .max_skipped = cases[i].max};
        const ek_status status = fit(net, data, o, &l);
        if (cases[i].max == 6) {
            assert_int_equal(status, EK_OK);
            assert_int_equal(l.skipped, 12);
            assert_int_equal(l.in_row, 6);
        } else {
            expect(status, EK_ERR_NUMERIC, cases[i].words);
            assert_int_equal(l.skipped, cases[i].skipped);
            assert_int_equal(fit(until, data, o, &four), EK_ERR_STOPPED);
            assert_true(same_nets(net, until));
        }
        ek_net_free(net);
        ek_net_free(until);
    }
    ek_net *net = new_net(normed);
    listener l = {0};
    ek_dataset *none = new_failing(1);
    expect(fit(net, none, (ek_fit_options){.no_shuffle = true, .max_skipped = 1000}, &l), EK_ERR_NUMERIC,
           "channel 1; no step of the epoch was finite; a lower learning rate may help");
    expect(fit(net, none, (ek_fit_options){.max_skipped = -2}, &l), EK_ERR_ARGUMENT, "max_skipped is -2");
    ek_net_free(net);
    ek_dataset_free(none);
    ek_dataset_free(data);
}

/* ---- Before the first step ------------------------------------------------------------------------------------ */

/* Samples of the smallest batch, or of its smallest part with `ghost` > 0, counted as they come. */
static int least_samples(int samples, int batch, int ghost)
{
    int least = samples;
    for (int at = 0; at < samples; at += batch) {
        const int count = samples - at < batch ? samples - at : batch;
        for (int part = 0; part < count; part += ghost ? ghost : count) {
            const int own = ghost && count - part > ghost ? ghost : count - part;
            least = own < least ? own : least;
            if (!ghost)
                break;
        }
    }
    return least;
}

/* A batch norm of one value per channel in any batch of the epoch, or micro-batch with statistics of its own, is named
 * before the first step; one of two is not. */
static void test_values_of_a_norm(void **state)
{
    (void)state;
    static const struct {
        const char *net, *words; /* NULL: a sample has more than one value, or none counts */
    } nets[] = {
        {"input 1 6 6\nflatten\nlinear 3\nbatchnorm\nlinear 4\n", "layer 2 (batchnorm): "},
        {"input 1 6 6\nconv2d 2 kernel=6\nbatchnorm\nrelu\nflatten\nlinear 4\n", "layer 1 (batchnorm): "},
        {"input 1 6 6\nconv2d 2 kernel=5\nmaxpool 2\nresidual {\n    batchnorm use_moving=yes\n}\nflatten\nlinear 4\n",
         "layer 2.body.0 (batchnorm): "},
        {"input 1 6 6\nconv2d 2 kernel=6\nbatchnorm use_moving=yes hold_moving=yes\nflatten\nlinear 4\n", NULL},
        {"input 1 6 6\nconv2d 2 kernel=5\nbatchnorm\nflatten\nlinear 4\n", NULL},
    };
    int refused = 0, accepted = 0;
    for (int samples = 1; samples <= 9; samples++) {
        ek_dataset *data = new_data(samples, -1, 0);
        for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
            ek_net *net = ek_net_parse(nets[i].net, NULL);
            for (int batch = 1; net && batch <= 5; batch++) {
                for (int ghost = 0; ghost <= 4; ghost++) {
                    const ek_fit_options o = {
                        .epochs = 1, .batch_size = batch, .micro_batch = ghost, .ghost = ghost > 0, .threads = 1};
                    const bool wrong = nets[i].words && least_samples(samples, batch, ghost) == 1;
                    const ek_status status = ek_fit(net, data, NULL, &o);
                    if (status != (wrong ? EK_ERR_SHAPE : EK_OK) || (wrong && !strstr(ek_error(), nets[i].words)))
                        fail_msg("%d samples in %d and %d: %s, %s", samples, batch, ghost, ek_status_name(status),
                                 status ? ek_error() : "");
                    refused += wrong;
                    accepted += !wrong;
                }
            }
            ek_net_free(net);
        }
        ek_dataset_free(data);
    }
    assert_true(refused > 100 && accepted > 100);
}

/* ---- Checkpoints ---------------------------------------------------------------------------------------------- */

static char folder[SCRATCH_SIZE];

static int enter_folder(void **state)
{
    (void)state;
    return mkdtemp(scratch_template(folder, "skip")) && chdir(folder) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
    (void)state;
    char command[SCRATCH_SIZE + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

/* The last good ones stay, as they are; from each of them, training comes to the same end. */
static void test_last_good_checkpoint(void **state)
{
    (void)state;
    ek_dataset *data = new_failing(5);
    ek_net *net = new_net(normed), *again = new_net(normed);
    listener l = {0}, second = {0};
    ek_fit_options o = {.no_shuffle = true, .checkpoint = "kept", .checkpoint_every = 1, .checkpoint_keep = 2};
    expect(fit(net, data, o, &l), EK_ERR_NUMERIC,
           "; the last good checkpoint is kept/checkpoint-000000004.safetensors");
    assert_int_equal(l.written, 4);
    assert_int_equal(access("kept/checkpoint-000000003.safetensors", R_OK), 0);
    assert_int_equal(access("kept/checkpoint-000000005.safetensors", R_OK), -1);
    char message[1024];
    snprintf(message, sizeof message, "%s", ek_error());
    o.resume = true;
    assert_int_equal(fit(again, data, o, &second), EK_ERR_NUMERIC);
    assert_string_equal(message, ek_error());
    assert_int_equal(second.skipped, 3);
    assert_true(same_nets(net, again));
    ek_net_free(net);
    ek_net_free(again);
    ek_dataset_free(data);
}

/* Stopped behind every step, also those that are left out, and gone on with: the same model, or the same end. */
static void test_stopped_and_gone_on_with(void **state)
{
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        ek_dataset *data = new_failing(fails ? 4 : 8); /* 7 or 3 in a row at each epoch's end */
        ek_net *whole = new_net(normed), *parts = NULL;
        ek_fit_options o = {
            .no_shuffle = true, .optimizer = EK_ADAM, .max_skipped = fails ? 5 : 3, .schedule = EK_SCHEDULE_COSINE};
        listener l = {0};
        const ek_status wanted = fit(whole, data, o, &l);
        assert_int_equal(wanted, fails ? EK_ERR_NUMERIC : EK_OK);
        char message[1024];
        snprintf(message, sizeof message, "%.*s", (int)strcspn(ek_error(), ";"), fails ? ek_error() : "");
        o.checkpoint = "kept";
        o.checkpoint_every = 3;
        ek_status status = EK_ERR_STOPPED;
        for (int run = 1; status == EK_ERR_STOPPED; run++) {
            listener part = {.stop_at = run};
            ek_net_free(parts);
            parts = new_net(normed);
            o.resume = run > 1;
            status = fit(parts, data, o, &part);
            assert_int_equal(part.steps + part.skipped, status != EK_ERR_STOPPED ? 0 : 1);
        }
        assert_int_equal(status, wanted);
        if (fails)
            assert_memory_equal(ek_error(), message, strlen(message));
        assert_true(same_nets(whole, parts));
        ek_net_free(whole);
        ek_net_free(parts);
        ek_dataset_free(data);
        assert_int_equal(system("rm -rf kept"), 0);
    }
}

/* A checkpoint that is due behind a step that is left out is written behind the next good one, and at the end. */
static void test_owed(void **state)
{
    (void)state;
    ek_dataset *data = new_failing(10); /* the last step of each epoch */
    ek_net *net = new_net(normed);
    listener l = {0};
    assert_int_equal(
        fit(net, data, (ek_fit_options){.no_shuffle = true, .checkpoint = "kept", .checkpoint_every = 10}, &l),
        EK_OK);
    assert_int_equal(l.written, 2);
    assert_int_equal(access("kept/checkpoint-000000011.safetensors", R_OK), 0);
    assert_int_equal(access("kept/checkpoint-000000020.safetensors", R_OK), 0);
    ek_net_free(net);
    ek_dataset_free(data);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, enter_folder, leave_folder)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_shuffled),
        cmocka_unit_test(test_origins),
        TEST(test_backward),
        cmocka_unit_test(test_squares),
        cmocka_unit_test(test_nearest_to_the_loss),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_values_of_a_norm),
        TEST(test_last_good_checkpoint),
        TEST(test_stopped_and_gone_on_with),
        TEST(test_owed),
    };
    return cmocka_run_group_tests_name("skip", tests, NULL, NULL);
}
