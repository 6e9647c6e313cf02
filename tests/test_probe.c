/* SPDX-License-Identifier: MIT
 * Probes: every layer's channels against the scalar reference, the samples that are measured, errors. */
#include "base/memory.h"
#include "net/plan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "gradient_nets.h"
#include "reference_net.h"

#include <math.h>

enum { SAMPLES = 37, CLASSES = 2 };

/* Bytes that have nothing to do with each other, and labels. */
static ek_dataset *noise(ek_dims dims, int64_t n)
{
    ek_dataset *data = NULL;
    const int64_t size = n * ek_dims_count(dims);
    uint8_t *pixels = malloc((size_t)size), *labels = malloc((size_t)n);
    assert_non_null(pixels);
    assert_non_null(labels);
    for (int64_t i = 0; i < size; i++)
        pixels[i] = (uint8_t)((uint32_t)i * 2654435761u >> 13);
    for (int64_t i = 0; i < n; i++)
        labels[i] = (uint8_t)(i % CLASSES);
    assert_int_equal(ek_dataset_from_memory(&data, n, dims.c, dims.h, dims.w, pixels, labels, CLASSES), EK_OK);
    free(pixels);
    free(labels);
    return data;
}

/* Weights and moving statistics that are not those of a fresh net. */
static void stir(ek_net *net)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        for (int64_t j = 0; t->data && j < t->count; j++)
            t->data[j] += t->role == EK_ROLE_MOVING_VAR ? 0.2f * (float)(j % 5) : 0.15f * (float)((j + i) % 7 - 3);
    }
}

static bool is_flat(const ek_layer *l, double y)
{
    switch (l->kind) {
    case EK_LAYER_SIGMOID:
        return y * (1 - y) < 0.025;
    case EK_LAYER_TANH:
        return 1 - y * y < 0.1;
    case EK_LAYER_RELU:
        return y <= 0;
    default:
        return false;
    }
}

/* Channel c of layer l, from y [SAMPLES, out]. Values in a hair's breadth of where flat begins may count or not. */
static void compare_channel(const ek_layer *l, const double *y, int c, const ek_channel_stats *got)
{
    const int64_t out = ek_dims_count(l->out), plane = out / l->out.c;
    double sum = 0, squares = 0, least = INFINITY, most = -INFINITY;
    int64_t flat = 0;
    for (int64_t n = 0; n < SAMPLES; n++)
        for (int64_t i = 0; i < plane; i++) {
            const double v = y[n * out + c * plane + i];
            sum += v;
            least = fmin(least, v);
            most = fmax(most, v);
            flat += is_flat(l, v);
        }
    const double count = (double)(SAMPLES * plane), mean = sum / count, size = fmax(fabs(least), fabs(most)) + 1e-3;
    for (int64_t n = 0; n < SAMPLES; n++)
        for (int64_t i = 0; i < plane; i++)
            squares += pow(y[n * out + c * plane + i] - mean, 2);
    assert_true(fabs(got->mean - mean) <= 1e-4 * size);
    assert_true(fabs(got->std - sqrt(squares / count)) <= 1e-4 * size);
    assert_true(fabs((double)got->min - least) <= 1e-4 * size);
    assert_true(fabs((double)got->max - most) <= 1e-4 * size);
    assert_true(fabs(got->flat - (double)flat / count) <= 1.5 / count);
}

static void compare_net(const char *text)
{
    ek_net *net = ek_net_parse(text, NULL);
    assert_non_null(net);
    assert_true(ek_net_tensor_count(net) >= 0);
    stir(net);
    ek_dataset *data = noise(net->input, SAMPLES);
    const int64_t size = ek_dims_count(net->input);
    double *x = reference_doubles(SAMPLES * size);
    for (int64_t n = 0; n < SAMPLES; n++)
        for (int64_t i = 0; i < size; i++)
            x[n * size + i] = ek_dataset_pixels(data, n)[i] / 255.0;
    reference_net reference = reference_net_new(net, SAMPLES);
    reference_forward(&reference, EK_PREDICTION, x);
    ek_probe *probe = NULL;
    assert_int_equal(ek_probe_new(&probe, net, data, NULL), EK_OK);
    assert_int_equal(ek_probe_samples(probe), SAMPLES);
    for (int i = 0; i < net->layer_count; i++) {
        int channels;
        const ek_layer *l = &net->layers[i];
        const ek_channel_stats *stats = ek_probe_layer(probe, i, &channels);
        if (l->kind == EK_LAYER_FLATTEN || l->kind == EK_LAYER_DROPOUT) {
            assert_null(stats);
            continue;
        }
        assert_non_null(stats);
        assert_int_equal(channels, l->out.c);
        for (int c = 0; c < channels; c++)
            compare_channel(l, reference.layers[i].y, c, &stats[c]);
    }
    ek_probe_free(probe);
    reference_net_free(&reference);
    free(x);
    ek_dataset_free(data);
    ek_net_free(net);
}

static void test_reference(void **state)
{
    (void)state;
    int measured = 0;
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        ek_net *net = ek_net_parse(nets[i], NULL);
        const int outputs = ek_net_output(net).c;
        ek_net_free(net);
        if (outputs < CLASSES)
            continue;
        compare_net(nets[i]);
        measured++;
    }
    assert_true(measured > 20);
}

/* With any number of threads, and more samples than a batch. */
static void test_threads(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 2 6 5\nconv2d 5 kernel=3\nbatchnorm\nsigmoid\nresidual {\nconv2d 5 kernel=3 "
                               "padding=1\nbatchnorm\n}\nrelu\nflatten\nlinear 3\n",
                               NULL);
    assert_non_null(net);
    stir(net);
    ek_dataset *data = noise(net->input, 700);
    ek_probe *one = NULL, *many = NULL;
    assert_int_equal(ek_probe_new(&one, net, data, &(ek_probe_options){.threads = 1}), EK_OK);
    assert_int_equal(ek_probe_new(&many, net, data, &(ek_probe_options){.threads = 3}), EK_OK);
    for (int i = 0, channels, same; i < ek_net_layer_count(net); i++) {
        const ek_channel_stats *a = ek_probe_layer(one, i, &channels), *b = ek_probe_layer(many, i, &same);
        assert_int_equal(channels, same);
        if (channels)
            assert_memory_equal(a, b, (size_t)channels * sizeof *a);
    }
    ek_probe_free(one);
    ek_probe_free(many);
    ek_dataset_free(data);
    ek_net_free(net);
}

/* Some samples are those at even distances, the first among them. */
static void test_samples(void **state)
{
    (void)state;
    uint8_t pixels[10], labels[10] = {0};
    for (int i = 0; i < 10; i++)
        pixels[i] = (uint8_t)(10 * i);
    ek_dataset *data = NULL;
    assert_int_equal(ek_dataset_from_memory(&data, 10, 1, 1, 1, pixels, labels, 1), EK_OK);
    ek_net *net = ek_net_parse("input 1 1 1\nleaky_relu negative_slope=0\n", NULL); /* what comes in */
    ek_probe *probe = NULL;
    int channels;
    assert_int_equal(ek_probe_new(&probe, net, data, &(ek_probe_options){.samples = 5}), EK_OK);
    assert_int_equal(ek_probe_samples(probe), 5);
    const ek_channel_stats *stats = ek_probe_layer(probe, 0, &channels);
    assert_non_null(stats);
    assert_true(fabs(stats->mean - 40 / 255.0) < 1e-7); /* 0, 20, 40, 60, 80 */
    assert_true(fabs((double)stats->max - 80 / 255.0) < 1e-7);
    assert_null(ek_probe_layer(probe, 1, &channels));
    assert_null(ek_probe_layer(probe, -1, &channels));
    assert_int_equal(channels, 0);
    ek_probe_free(probe);
    ek_net_free(net);
    ek_dataset_free(data);
}

/* What is not finite is told, in its channel. */
static void test_not_finite(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 1 2 2\nconv2d 2\nflatten\nlinear 2\n", NULL);
    assert_int_equal(ek_net_tensor_count(net), 4);
    ek_net_tensor_by_name(net, "0.weight")->data[1] = INFINITY;
    ek_dataset *data = noise(net->input, 20);
    ek_probe *probe = NULL;
    int channels;
    assert_int_equal(ek_probe_new(&probe, net, data, NULL), EK_OK);
    const ek_channel_stats *stats = ek_probe_layer(probe, 0, &channels);
    assert_int_equal(channels, 2);
    assert_true(isfinite(stats[0].std));
    assert_true(isnan(stats[1].mean) && isnan(stats[1].std));
    ek_probe_free(probe);
    ek_dataset_free(data);
    ek_net_free(net);
}

static void test_errors(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 1 2 2\nconv2d 2\nbatchnorm\nrelu\nflatten\nlinear 2\n", NULL);
    ek_dataset *data = noise(net->input, 20), *other = noise((ek_dims){.c = 1, .h = 3, .w = 2}, 4);
    ek_probe *probe = NULL;
    assert_int_equal(ek_probe_new(NULL, net, data, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_probe_new(&probe, NULL, data, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_probe_new(&probe, net, NULL, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_probe_new(&probe, net, data, &(ek_probe_options){.samples = -1}), EK_ERR_ARGUMENT);
    assert_int_equal(ek_probe_new(&probe, net, other, NULL), EK_ERR_SHAPE);
    assert_null(probe);
    const ek_probe_options options = {.threads = 1};
    ek_memory_fail_at(0);
    assert_int_equal(ek_probe_new(&probe, net, data, &options), EK_OK);
    ek_probe_free(probe);
    const int64_t count = ek_memory_fail_at(0);
    for (int64_t n = 1; n <= count; n++) {
        ek_memory_fail_at(n);
        assert_int_equal(ek_probe_new(&probe, net, data, &options), EK_ERR_MEMORY);
        assert_null(probe);
    }
    ek_memory_fail_at(0);
    ek_probe_free(NULL);
    ek_dataset_free(data);
    ek_dataset_free(other);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),  cmocka_unit_test(test_threads), cmocka_unit_test(test_samples),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
