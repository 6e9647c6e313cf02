/* SPDX-License-Identifier: MIT
 * Dropout: how often and how independently it drops, and what it must not depend on. Gradients and kernels have their
 * tests elsewhere. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "net/plan.h"
#include "op/backend.h"
#include "op/dropout.h"

#define assert_ok(call)                                                                                              \
    do {                                                                                                             \
        if (call)                                                                                                    \
            fail_msg("%s", ek_error());                                                                              \
    } while (0)

/* ---- The mask ---- */

typedef struct key {
    uint64_t seed;
    uint32_t epoch, sample;
    int layer;
} key;

enum { VALUES = 20000 };

/* 1 where value i is dropped. */
static double dropped(float p, key k, int64_t i)
{
    return ek_reference_dropout(&(ek_dropout){.p = p, .layer = k.layer}, k.seed, k.epoch, k.sample, i) == 0;
}

/* Within five deviations of what independent draws give. */
static void expect_mean(double sum, double count, double p, const char *what)
{
    if (!(fabs(sum / count - p) <= 5 * sqrt(p * (1 - p) / count)))
        fail_msg("%s: %g of %g, not about %g", what, sum, count, p);
}

static void test_rate(void **state)
{
    (void)state;
    static const float rates[] = {0.05f, 0.2f, 0.5f, 0.8f, 0.99f};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        const double p = (double)rates[r];
        const ek_dropout d = {.p = rates[r], .layer = 4};
        double drops = 0, neighbours = 0, four = 0, sum = 0, squares = 0;
        for (int64_t i = 0; i < VALUES; i++) {
            const double f = ek_reference_dropout(&d, 7, 2, 11, i);
            assert_true(f == 0 || f == (double)(float)(1 / (1 - p)));
            sum += f;
            squares += f * f;
            drops += f == 0;
            neighbours += f == 0 && dropped(rates[r], (key){7, 2, 11, 4}, i + 1) != 0;
            four += f == 0 && dropped(rates[r], (key){7, 2, 11, 4}, i + 4) != 0;
        }
        expect_mean(drops, VALUES, p, "dropped");
        expect_mean(neighbours, VALUES, p * p, "dropped with the next");
        expect_mean(four, VALUES, p * p, "dropped with the one four on");
        /* Mean 1 and variance p/(1 - p). */
        const double mean = sum / VALUES, variance = squares / VALUES - mean * mean;
        assert_true(fabs(mean - 1) <= 5 * sqrt(p / (1 - p) / VALUES));
        assert_true(fabs(variance / (p / (1 - p)) - 1) < 0.15);
    }
    for (int64_t i = 0; i < 100; i++) {
        assert_true(ek_reference_dropout(&(ek_dropout){.p = 0}, 1, 1, 1, i) == 1);
        assert_true(ek_reference_dropout(&(ek_dropout){.p = 1}, 1, 1, 1, i) == 0);
    }
}

/* Another seed, epoch, sample or layer has other numbers, which have nothing to do with the first. */
static void test_independence(void **state)
{
    (void)state;
    const key one = {7, 2, 11, 4};
    const key others[] = {{8, 2, 11, 4}, {UINT64_C(7) | UINT64_C(1) << 32, 2, 11, 4},
                          {7, 3, 11, 4}, {7, 2, 12, 4},
                          {7, 2, 11, 5}, {7, 2, 11, 4 + 256},
                          {7, 11, 2, 4}};
    for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
        double both = 0, drops = 0;
        for (int64_t i = 0; i < VALUES; i++) {
            both += dropped(0.5f, one, i) != 0 && dropped(0.5f, others[k], i) != 0;
            drops += dropped(0.5f, others[k], i);
        }
        expect_mean(drops, VALUES, 0.5, "dropped");
        expect_mean(both, VALUES, 0.25, "dropped in both");
    }
    /* The same value over epochs and over samples. */
    double epochs = 0, samples = 0;
    for (uint32_t i = 0; i < VALUES; i++) {
        epochs += dropped(0.3f, (key){1, i, 5, 2}, 9);
        samples += dropped(0.3f, (key){1, 5, i, 2}, 9);
    }
    expect_mean(epochs, VALUES, (double)0.3f, "of epochs");
    expect_mean(samples, VALUES, (double)0.3f, "of samples");
}

/* ---- Nets ---- */

enum { SAMPLES = 50, SIZE = 2 * 6 * 6, CLASSES = 3 };

static uint8_t images[SAMPLES][SIZE], labels[SAMPLES];

static int make_images(void **state)
{
    (void)state;
    uint32_t bits[4];
    for (int n = 0; n < SAMPLES; n++) {
        labels[n] = (uint8_t)(n % CLASSES);
        for (int i = 0; i < SIZE; i++) {
            ek_random4(3, EK_RANDOM_INIT, (uint32_t)n, (uint64_t)i, bits);
            images[n][i] = (uint8_t)((bits[0] >> 25) + (i % CLASSES == labels[n] ? 100 : 0));
        }
    }
    return 0;
}

static ek_net *new_net(const char *text)
{
    ek_net *net = ek_net_parse(text, NULL);
    if (!net || ek_net_init(net, EK_INIT_PYTORCH, 5))
        fail_msg("%s: %s", text, ek_error());
    return net;
}

/* Losses of a training batch of these samples, without a step. */
static void losses_of(ek_net *net, const int32_t *ids, int64_t count, int threads, double *losses)
{
    ek_backend *backend;
    ek_program *program;
    const uint8_t *of[SAMPLES];
    uint8_t label[SAMPLES];
    int predicted[SAMPLES];
    for (int64_t i = 0; i < count; i++) {
        of[i] = images[ids[i]];
        label[i] = labels[ids[i]];
    }
    assert_ok(ek_backend_new_cpu(&backend, threads));
    assert_ok(ek_plan_new(&program, net,
                          &(ek_plan_request){.mode = EK_TRAINING,
                                             .input = EK_INPUT_BYTES,
                                             .loss = true,
                                             .max_samples = count,
                                             .threads = ek_backend_threads(backend)}));
    assert_ok(ek_backend_run(backend, program,
                             &(ek_batch){.samples = count,
                                         .images = of,
                                         .labels = label,
                                         .loss = losses,
                                         .predicted = predicted,
                                         .seed = 5,
                                         .epoch = 3,
                                         .ids = ids}));
    ek_program_free(program);
    ek_backend_free(backend);
}

static const char dropping[] = "input 2 6 6\ndropout p=0.1\nconv2d 8 kernel=3\nrelu\ndropout\nflatten\nlinear 20\n"
                               "tanh\ndropout p=0.3\nlinear 3\n";

/* A sample's loss is its own: whatever is beside it in the batch, and where it stands. */
static void test_place_in_batch(void **state)
{
    (void)state;
    ek_net *net = new_net(dropping);
    int32_t ids[SAMPLES], turned[SAMPLES];
    double losses[SAMPLES], again[SAMPLES], alone;
    for (int i = 0; i < SAMPLES; i++) {
        ids[i] = i;
        turned[i] = (7 * i + 3) % SAMPLES;
    }
    losses_of(net, ids, SAMPLES, 2, losses);
    losses_of(net, turned, SAMPLES, 3, again);
    for (int i = 0; i < SAMPLES; i++)
        assert_true(again[i] == losses[turned[i]]);
    for (int32_t i = 0; i < SAMPLES; i += 9) {
        losses_of(net, &i, 1, 1, &alone);
        assert_true(alone == losses[i]);
    }
    ek_net_free(net);
}

static ek_dataset *new_data(void)
{
    ek_dataset *data;
    assert_ok(ek_dataset_from_memory(&data, SAMPLES, 2, 6, 6, images[0], labels, CLASSES));
    return data;
}

/* Trains and gives all values. */
static float *trained(const char *text, const ek_fit_options *options, size_t *count)
{
    ek_net *net = new_net(text);
    ek_dataset *data = new_data();
    assert_ok(ek_fit(net, data, NULL, options));
    float *values = malloc(net->value_count * sizeof *values);
    assert_non_null(values);
    *count = net->value_count;
    memcpy(values, net->values, *count * sizeof *values);
    ek_net_free(net);
    ek_dataset_free(data);
    return values;
}

static bool same_training(const char *text, const char *other, const ek_fit_options *options,
                          const ek_fit_options *other_options)
{
    size_t count, other_count;
    float *a = trained(text, options, &count), *b = trained(other, other_options, &other_count);
    const bool same = count == other_count && !memcmp(a, b, count * sizeof *a);
    free(a);
    free(b);
    return same;
}

static void test_training(void **state)
{
    (void)state;
    static const char norms[] = "input 2 6 6\nconv2d 8 kernel=3\nbatchnorm\nrelu\ndropout p=0.3\nconv2d 8 kernel=3\n"
                                "batchnorm\nrelu\ndropout\nflatten\nlinear 3\n";
    const ek_fit_options plain = {.epochs = 3, .batch_size = 21, .lr = 0.2f, .seed = 4, .threads = 1};
    ek_fit_options o = plain;
    for (o.threads = 2; o.threads <= 5; o.threads++) {
        assert_true(same_training(norms, norms, &plain, &o));
        assert_true(same_training(dropping, dropping, &plain, &o));
    }
    o = plain;
    o.micro_batch = 16; /* with the whole batch's statistics and bits */
    assert_true(same_training(norms, norms, &plain, &o));
    o = plain;
    o.seed = 5;
    o.no_shuffle = true;
    ek_fit_options unshuffled = plain;
    unshuffled.no_shuffle = true;
    assert_false(same_training(norms, norms, &unshuffled, &o)); /* by the seed of dropout alone */
}

static void test_nothing_dropped(void **state)
{
    (void)state;
#define AROUND(layer)                                                                                                \
    "input 2 6 6\nconv2d 5 kernel=3\n" layer "batchnorm\nsigmoid\n" layer "residual { conv2d 5\n" layer              \
    "batchnorm\n}\nrelu\nflatten\n" layer "linear 3\n"
    const ek_fit_options plain = {.epochs = 2, .batch_size = 20, .lr = 0.2f, .seed = 4, .threads = 2};
    assert_true(same_training(AROUND("dropout p=0\n"), AROUND(""), &plain, &plain));
    assert_false(same_training(AROUND("dropout p=0.1\n"), AROUND(""), &plain, &plain));
    /* In prediction there is no step of it, and batch norms are folded across. */
    ek_net *net = new_net(AROUND("dropout p=0.4\n")), *bare = new_net(AROUND(""));
    char *plan = ek_net_plan_text(net, EK_PREDICTION, 16, 0), *other = ek_net_plan_text(bare, EK_PREDICTION, 16, 0);
    assert_non_null(plan);
    assert_non_null(other);
    assert_null(strstr(plan, "dropout"));
    assert_string_equal(strstr(plan, " steps,"), strstr(other, " steps,"));
    float x[SAMPLES * SIZE], y[SAMPLES * CLASSES], want[SAMPLES * CLASSES];
    for (int i = 0; i < SAMPLES * SIZE; i++)
        x[i] = (float)images[i / SIZE][i % SIZE] / 255;
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *from = ek_net_tensor(net, i), *to = ek_net_tensor(bare, i);
        if (from->data)
            memcpy(to->data, from->data, (size_t)from->count * sizeof(float));
    }
    assert_ok(ek_predict(net, SAMPLES, x, 2, y));
    assert_ok(ek_predict(bare, SAMPLES, x, 2, want));
    assert_memory_equal(y, want, sizeof y);
    free(plan);
    free(other);
    ek_net_free(net);
    ek_net_free(bare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_independence),
        cmocka_unit_test(test_place_in_batch),
        cmocka_unit_test(test_training),
        cmocka_unit_test(test_nothing_dropped),
    };
    return cmocka_run_group_tests_name("dropout", tests, make_images, NULL);
}
