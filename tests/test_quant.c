/* SPDX-License-Identifier: MIT
 * Nets in integers: multipliers, each operation against the references in double, whole nets against the float net,
 * values at the ends of what there is, errors. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/random.h"
#include "evenkeel.h"
#include "gradient_nets.h"
#include "op/reference.h"
#include "quant/run.h"
#include "quantized.h"

#define assert_ok(call)                                                                                              \
    do {                                                                                                             \
        if ((call) != EK_OK)                                                                                         \
            fail_msg("%s: %s", #call, ek_error());                                                                   \
    } while (0)

enum { NETS = (int)(sizeof nets / sizeof *nets), SAMPLES = 64 };

static uint32_t draw(uint64_t i)
{
    uint32_t bits[4];
    ek_random4(9, EK_RANDOM_INIT, 78, i, bits);
    return bits[0];
}

static ek_net *new_net(const char *text)
{
    ek_net *net = ek_net_parse(text, NULL);
    if (!net || ek_net_init(net, EK_INIT_XAVIER, 3))
        fail_msg("%s%s", text, ek_error());
    return net;
}

/* Statistics, gammas and betas that are not those of a fresh net. */
static void stir(ek_net *net)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        for (int64_t j = 0; t->data && j < t->count; j++)
            if (t->role == EK_ROLE_MOVING_VAR)
                t->data[j] = 0.3f + 0.2f * (float)(j % 5);
            else if (t->role != EK_ROLE_WEIGHT)
                t->data[j] += 0.1f * (float)((j + i) % 7 - 3);
    }
}

static ek_dataset *noise(ek_dims dims, int64_t n, int classes, int least, int greatest)
{
    ek_dataset *data = NULL;
    const int64_t size = n * ek_dims_count(dims);
    uint8_t *pixels = malloc((size_t)size), *labels = malloc((size_t)n);
    assert_true(pixels && labels);
    for (int64_t i = 0; i < size; i++)
        pixels[i] = (uint8_t)(least + (int)(draw((uint64_t)i) % (uint32_t)(greatest - least + 1)));
    for (int64_t i = 0; i < n; i++)
        labels[i] = (uint8_t)(i % classes);
    assert_ok(ek_dataset_from_memory(&data, n, dims.c, dims.h, dims.w, pixels, labels, classes));
    free(pixels);
    free(labels);
    return data;
}

static float *values_of(ek_net *net, const char *name)
{
    const ek_tensor *t = ek_net_tensor_by_name(net, name);
    if (!t)
        fail_msg("%s", ek_error());
    return t->data;
}

/* ---- Multipliers -------------------------------------------------------------------------------------------- */

static void test_multiplier(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++) {
        const double value = ldexp((double)draw((uint64_t)i) + 1, (int)(draw(5000 + (uint64_t)i) % 60) - 62);
        const ek_multiplier m = ek_multiplier_of(value);
        assert_true(m.shift >= 0 && m.shift <= 62 && m.factor >= 0);
        assert_true(fabs(ldexp((double)m.factor, -m.shift) - value) <= value * 0x1p-31 || value < 0x1p-32);
        for (uint64_t j = 0; j < 8; j++) {
            const int32_t x = (int32_t)(draw(10000 + 8 * (uint64_t)i + j) - 0x80000000u) >> (4 * j);
            const int64_t shifted = (int64_t)x * m.factor + ((INT64_C(1) << m.shift) >> 1);
            const int64_t divisor = INT64_C(1) << m.shift, quotient = shifted / divisor; /* towards 0 */
            assert_true(ek_multiply(x, m) == quotient - (shifted % divisor < 0));
        }
    }
    const int32_t ends[] = {INT32_MIN, -1, 0, 1, INT32_MAX};
    for (int i = 0; i < 5; i++) {
        assert_true(ek_multiply(ends[i], ek_multiplier_of(1)) == ends[i]);
        assert_true(ek_multiply(ends[i], ek_multiplier_of(0)) == 0);
        assert_true(ek_multiply(ends[i], ek_multiplier_of(1e-30)) == 0);
        assert_true(ek_multiply(ends[i], (ek_multiplier){INT32_MAX, 0}) == (int64_t)ends[i] * INT32_MAX);
        assert_true(ek_multiply(ends[i], ek_multiplier_of(1e30)) == (int64_t)ends[i] * INT32_MAX);
    }
    assert_true(ek_multiply(1, ek_multiplier_of(0.5)) == 1); /* half up */
    assert_true(ek_multiply(-1, ek_multiplier_of(0.5)) == 0);
    assert_true(ek_multiply(-3, ek_multiplier_of(0.5)) == -1);
}

/* ---- Each operation ----------------------------------------------------------------------------------------- */

/* A tensor's values as real numbers, for free. */
static double *real_values(const ek_quantized *q, const ek_q_work *work, int t)
{
    const ek_q_tensor *tensor = &q->tensors[t];
    double *x = malloc((size_t)tensor->count * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < tensor->count; i++)
        x[i] = tensor->scale * (ek_q_values(work, t)[i] - tensor->zero);
    return x;
}

static void map_in_double(const ek_quantized *q, const ek_q_op *op, const double *x, double *y)
{
    const ek_conv *g = &op->g;
    const int64_t count = ek_conv_weights(g) / g->k;
    double *weights = malloc((size_t)ek_conv_weights(g) * sizeof *weights);
    double *bias = malloc((size_t)g->k * sizeof *bias);
    assert_true(weights && bias);
    for (int k = 0; k < g->k; k++) {
        const double step = ldexp((double)op->multipliers[k].factor, -op->multipliers[k].shift) *
                            q->tensors[op->y].scale; /* of a sum */
        bias[k] = op->bias[k] * step;
        for (int64_t i = 0; i < count; i++)
            weights[k * count + i] = op->weights[k * count + i] * step / q->tensors[op->x].scale;
    }
    ek_reference_conv(g, 1, weights, bias, x, y);
    free(weights);
    free(bias);
}

/* What the operation should give, in double: the references of op/ on what it reads. */
static void in_double(const ek_quantized *q, const ek_q_op *op, const double *x, const double *r, double *y)
{
    const int64_t count = q->tensors[op->y].count;
    switch (op->kind) {
    case EK_Q_MAP:
        map_in_double(q, op, x, y);
        break;
    case EK_Q_AVGPOOL:
    case EK_Q_MAXPOOL:
        ek_reference_pool(&op->pool, 1, x, y);
        break;
    case EK_Q_ADD:
        ek_reference_join(&op->join, 1, NULL, x, r, y);
        break;
    case EK_Q_TABLE:
        for (int64_t i = 0; i < count; i++)
            y[i] = ek_reference_activation(op->activation, (double)op->negative_slope, x[i]);
        break;
    case EK_Q_INPUT: { /* x is byte/255 */
        float mean[64], std[64];
        assert_ok(ek_net_normalization(q->net, NULL, mean, std));
        for (int64_t i = 0; i < count; i++) {
            const int64_t c = i / (count / q->net->input.c);
            y[i] = (x[i] - (double)mean[c]) / (double)std[c];
        }
        break;
    }
    case EK_Q_RESCALE:
        memcpy(y, x, (size_t)count * sizeof *y);
        break;
    }
}

/* Half a step either way, and a hair of the multiplier's rounding. */
static void check_op(const char *text, const ek_quantized *q, const ek_q_work *work, int i)
{
    const ek_q_op *op = &q->ops[i];
    const ek_q_tensor *t = &q->tensors[op->y];
    double *x = real_values(q, work, op->x), *r = op->r < 0 ? NULL : real_values(q, work, op->r);
    double *y = malloc((size_t)t->count * sizeof *y);
    assert_non_null(y);
    in_double(q, op, x, r, y);
    for (int64_t j = 0; j < t->count; j++) {
        const double least = ek_q_least(t->type), greatest = ek_q_greatest(t->type);
        double want = (op->relu ? fmax(y[j], 0) : y[j]) / t->scale + t->zero;
        want = fmin(fmax(want, least), greatest);
        const int16_t got = ek_q_values(work, op->y)[j];
        if (!(fabs(got - want) <= 0.5 + 1e-3 + fabs(want) * 1e-5))
            fail_msg("%soperation %d of kind %d, value %lld: %d, not %g", text, i, (int)op->kind, (long long)j, got,
                     want);
    }
    free(x);
    free(r);
    free(y);
}

static void check_ops(const char *text, const ek_quantized *q, const ek_dataset *data)
{
    ek_q_work *work;
    int16_t output[100000];
    assert_ok(ek_q_work_new(&work, q));
    for (int64_t s = 0; s < 3; s++) {
        ek_q_run(work, ek_dataset_pixels(data, s), output);
        for (int i = 0; i < q->op_count; i++)
            check_op(text, q, work, i);
    }
    ek_q_work_free(work);
}

/* Weights are the folded net's to half a step. */
static void check_weights(const ek_quantized *q)
{
    for (int i = 0; i < q->op_count; i++) {
        const ek_q_op *op = &q->ops[i];
        if (op->kind != EK_Q_MAP || op->norm >= 0 || q->net->layers[op->layer].kind == EK_LAYER_BATCHNORM)
            continue;
        const float *weight = q->net->tensors[q->net->layers[op->layer].weight].data;
        const int64_t count = ek_conv_weights(&op->g) / op->g.k;
        for (int64_t j = 0; j < ek_conv_weights(&op->g); j++) {
            const ek_multiplier m = op->multipliers[j / count];
            const double step = ldexp((double)m.factor, -m.shift) * q->tensors[op->y].scale / q->tensors[op->x].scale;
            assert_true(fabs(op->weights[j] * step - (double)weight[j]) <= 0.501 * step);
        }
    }
}

/* The float net's logits: how far the integer net's are, as a share of the largest. */
static double error_of(ek_net *net, const ek_quantized *q, const ek_dataset *data)
{
    ek_quantized_info info;
    ek_dataset_info images;
    ek_quantized_get_info(q, &info);
    ek_dataset_get_info(data, &images);
    const int64_t count = images.count * info.outputs;
    float *want = malloc((size_t)count * sizeof *want), *got = malloc((size_t)count * sizeof *got);
    assert_true(want && got);
    ek_metrics metrics;
    assert_ok(ek_evaluate(net, data, &(ek_eval_options){.threads = 1, .logits = want}, &metrics));
    assert_ok(ek_quantized_evaluate(q, data, &(ek_eval_options){.threads = 1, .logits = got}, &metrics));
    double most = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)want[i]));
        squares += pow((double)got[i] - (double)want[i], 2);
    }
    free(want);
    free(got);
    return sqrt(squares / (double)count) / most;
}

static bool is_classifier(const ek_net *net)
{
    const ek_dims out = ek_net_output(net);
    return out.h == 1 && out.w == 1;
}

static void test_nets(void **state)
{
    (void)state;
    int checked = 0;
    double sum = 0;
    const int step = getenv("EVENKEEL_TEST_QUICK") ? 3 : 1;
    for (int i = 0; i < NETS; i += step) {
        ek_net *net = new_net(nets[i]);
        stir(net);
        if (!is_classifier(net)) {
            ek_net_free(net);
            continue;
        }
        if (i % 2 == 0)
            assert_ok(ek_net_set_normalization(net, 1, (float[]){0.3f + 0.01f * (float)i}, (float[]){0.4f}));
        ek_dataset *data = noise(net->input, SAMPLES, 2, 0, 255);
        ek_quantized *q = quantize(net, data);
        if (q) {
            check_ops(nets[i], q, data);
            check_weights(q);
            const double error = error_of(net, q, data);
            sum += error;
            if (!(error < 0.05))
                fail_msg("%slogits are off by %g of their size", nets[i], error);
            checked++;
        }
        ek_quantized_free(q);
        ek_dataset_free(data);
        ek_net_free(net);
    }
    print_message("%d nets, off by %g on average\n", checked, sum / checked);
    assert_true(checked > 60 / step);
    assert_true(sum / checked < 0.0028); /* 0.0024; without what the biases correct 0.0031 */
}

/* ---- A trained net ------------------------------------------------------------------------------------------ */

/* Ten kinds of bright bars on a dark, noisy ground, in varying places. */
static ek_dataset *new_bars(int64_t first, int64_t n)
{
    ek_dataset *data = NULL;
    uint8_t *pixels = malloc((size_t)n * 784), *labels = malloc((size_t)n);
    assert_true(pixels && labels);
    for (int64_t i = 0; i < n; i++) {
        const uint64_t id = (uint64_t)(first + i) << 12;
        const int kind = (int)(draw(id + 1) % 10), shift = (int)(draw(id + 2) % 5);
        for (int j = 0; j < 784; j++) {
            const int h = j / 28, w = j % 28, at = (kind % 2 ? h : w) - shift;
            const bool bright = at >= 4 * (kind / 2) && at < 4 * (kind / 2) + 3 && (kind % 2 ? w : h) % 9;
            pixels[i * 784 + j] = (uint8_t)(draw(id + 10 + (uint64_t)j) % 120 + (bright ? 60 + draw(id) % 70 : 0));
        }
        labels[i] = (uint8_t)kind;
    }
    assert_ok(ek_dataset_from_memory(&data, n, 1, 28, 28, pixels, labels, 10));
    free(pixels);
    free(labels);
    return data;
}

static void test_trained(void **state)
{
    (void)state;
    enum { TEST = 500 };
    ek_dataset *train = new_bars(0, 1500), *test = new_bars(1500, TEST);
    ek_net *net = ek_net_builtin("bn-lenet");
    assert_ok(ek_net_init(net, EK_INIT_XAVIER, 0));
    assert_ok(ek_fit(net, train, NULL, &(ek_fit_options){.epochs = 4, .batch_size = 32, .lr = 0.3f, .threads = 2}));
    assert_ok(ek_calibrate(net, train, &(ek_calibrate_options){.threads = 2}));
    ek_metrics before, after, again;
    ek_quantized *q, *same;
    int64_t confusion[100], sum = 0;
    assert_ok(ek_evaluate(net, test, NULL, &before));
    assert_ok(ek_quantize(&q, net, train, &(ek_quantize_options){.threads = 1}));
    assert_ok(ek_quantized_evaluate(q, test, &(ek_eval_options){.threads = 1, .confusion = confusion}, &after));
    const double error = error_of(net, q, test);
    print_message("accuracy %.4f, in integers %.4f; loss %.4f, %.4f; error of logits %.5f\n", before.accuracy,
                  after.accuracy, before.loss, after.loss, error);
    assert_true(before.accuracy > 0.5 && before.accuracy < 1); /* there is something to lose */
    assert_true(fabs(after.accuracy - before.accuracy) <= 0.01);
    assert_true(fabs(after.loss - before.loss) <= 0.03);
    for (int i = 0; i < 10; i++)
        sum += confusion[11 * i];
    assert_true(sum == after.correct && after.count == TEST);

    /* no result depends on threads */
    assert_ok(ek_quantize(&same, net, train, &(ek_quantize_options){.threads = 3}));
    assert_ok(ek_quantized_evaluate(same, test, &(ek_eval_options){.threads = 2}, &again));
    assert_memory_equal(&after, &again, sizeof after);
    int16_t one[300][10], three[300][10];
    assert_ok(ek_quantized_predict(q, 300, ek_dataset_pixels(test, 0), 1, one[0]));
    assert_ok(ek_quantized_predict(same, 300, ek_dataset_pixels(test, 0), 3, three[0]));
    assert_memory_equal(one, three, sizeof one);
    ek_quantized_info info;
    ek_quantized_get_info(q, &info);
    assert_true(info.outputs == 10 && info.samples == 1024 && info.weights == 44190);
    ek_quantized_free(q);
    ek_quantized_free(same);
    ek_net_free(net);
    ek_dataset_free(train);
    ek_dataset_free(test);
}

/* ---- Ranges ------------------------------------------------------------------------------------------------- */

/* Values to +-40 and more, which a sigmoid cuts off near +-6: that is how far its table needs to reach. What nothing
 * cuts off is held to its ends, about. */
static void test_ranges(void **state)
{
    (void)state;
    ek_net *net = new_net("input 1 6 6\nflatten\nlinear 4\nsigmoid\nlinear 4\nlinear 2\n");
    for (int i = 0; i < 144; i++)
        values_of(net, "1.weight")[i] = (float)((i * 7 + i / 36) % 11 - 5) * 5;
    ek_dataset *data = noise(net->input, SAMPLES, 2, 0, 255);
    ek_quantized *q = quantize(net, data);
    ek_probe *probe;
    int channels;
    float most = 0;
    assert_ok(ek_probe_new(&probe, net, data, NULL));
    for (int c = 0; c < 4; c++)
        most = fmaxf(most, ek_probe_layer(probe, 1, &channels)[c].max);
    assert_true(most > 40);
    assert_true(255 * q->tensors[q->ops[0].y].scale < 30 && 255 * q->tensors[q->ops[0].y].scale > 6);
    double low = 0, high = 0;
    for (int c = 0; c < 4; c++) {
        low = fmin(low, (double)ek_probe_layer(probe, 3, &channels)[c].min);
        high = fmax(high, (double)ek_probe_layer(probe, 3, &channels)[c].max);
    }
    const ek_q_tensor *t = &q->tensors[q->ops[2].y];
    assert_true(255 * t->scale <= (high - low) * 1.001 && 255 * t->scale > (high - low) * 0.6);
    assert_true(fabs(t->scale * (-128 - t->zero) - low) <= 0.3 * (high - low));
    ek_probe_free(probe);
    ek_quantized_free(q);
    ek_dataset_free(data);
    ek_net_free(net);
}

/* ---- Ends --------------------------------------------------------------------------------------------------- */

/* Calibrated on dark images, run on white ones: layers hand on their greatest value, and nothing turns over. */
static void test_saturation(void **state)
{
    (void)state;
    ek_net *net = new_net("input 1 4 4\nflatten\nlinear 3\nrelu\nlinear 2\n");
    for (int i = 0; i < 48; i++)
        values_of(net, "1.weight")[i] = 1;
    for (int i = 0; i < 6; i++)
        values_of(net, "3.weight")[i] = i < 3 ? 1 : -1;
    for (int i = 0; i < 3; i++)
        values_of(net, "1.bias")[i] = 0;
    values_of(net, "3.bias")[0] = values_of(net, "3.bias")[1] = 0;
    ek_dataset *dark = noise(net->input, SAMPLES, 2, 0, 10);
    ek_quantized *q = quantize(net, dark);
    ek_quantized_info info;
    ek_quantized_get_info(q, &info);
    uint8_t pixels[16];
    int16_t outputs[2], before = 0;
    for (int level = 0; level < 256; level++) {
        memset(pixels, level, sizeof pixels);
        assert_ok(ek_quantized_predict(q, 1, pixels, 1, outputs));
        assert_true(outputs[0] >= before && outputs[1] <= -before); /* rises, or stays */
        before = outputs[0];
        if (level == 4)
            assert_true(fabs((double)outputs[0] * (double)info.output_scale - 48 * 4 / 255.0) < 0.02);
    }
    assert_true(before < INT16_MAX && (double)before * (double)info.output_scale > 48 * 5 / 255.0);
    ek_quantized_free(q);
    ek_dataset_free(dark);
    ek_net_free(net);
}

/* Sums as large as they come: all weights and all bytes alike, more inputs than 127*255 fit into 2^31. */
static void test_large_sums(void **state)
{
    (void)state;
    ek_net *net = new_net("input 5 160 160\nflatten\nlinear 2\n");
    for (int i = 0; i < 256000; i++)
        values_of(net, "1.weight")[i] = i < 128000 ? 0.01f : -0.01f;
    values_of(net, "1.bias")[0] = 900;
    values_of(net, "1.bias")[1] = -900;
    ek_dataset *data = noise(net->input, 4, 2, 0, 255);
    ek_quantized *q = quantize(net, data);
    ek_quantized_info info;
    ek_quantized_get_info(q, &info);
    uint8_t *pixels = malloc(128000);
    int16_t outputs[2];
    assert_non_null(pixels);
    for (int level = 0; level < 256; level += 51) {
        memset(pixels, level, 128000);
        assert_ok(ek_quantized_predict(q, 1, pixels, 1, outputs));
        const double want = 900 + 1280 * level / 255.0;
        assert_true(fabs((double)outputs[0] * (double)info.output_scale - want) < 0.015 * want);
        assert_true(abs(outputs[0] + outputs[1]) <= 1);
    }
    free(pixels);
    ek_quantized_free(q);
    ek_dataset_free(data);
    ek_net_free(net);
}

/* Channels that are dead, tiny and huge beside ordinary ones, and layers that give nothing but zeros. */
static void test_odd_channels(void **state)
{
    (void)state;
    ek_net *net = new_net("input 1 6 6\nconv2d 5 kernel=3\nbatchnorm\nrelu\nconv2d 4 kernel=3 padding=1\nrelu\n"
                          "flatten\nlinear 3\n");
    float *weight = values_of(net, "0.weight"), *gamma = values_of(net, "1.weight");
    for (int i = 0; i < 9; i++) {
        weight[i] = 0;           /* channel 0 is constant */
        weight[9 + i] *= 1e-30f; /* beneath what a step of the sum is */
        weight[18 + i] *= 1e20f;
    }
    values_of(net, "0.bias")[0] = values_of(net, "0.bias")[1] = 0;
    gamma[1] = 1e15f;
    gamma[2] = 1e-20f; /* as large as any in the end */
    gamma[3] = 0;
    values_of(net, "1.running_var")[4] = 1e-12f;
    gamma[4] = 0.003f;
    ek_dataset *data = noise(net->input, SAMPLES, 3, 0, 255);
    ek_quantized *q = quantize(net, data);
    check_ops("odd channels\n", q, data);
    assert_true(error_of(net, q, data) < 0.05);
    ek_quantized_free(q);

    float *last = values_of(net, "3.weight");
    for (int i = 0; i < 4 * 5 * 9; i++)
        last[i] = 0;
    for (int i = 0; i < 4; i++)
        values_of(net, "3.bias")[i] = -1; /* zeros behind the relu */
    q = quantize(net, data);
    check_ops("zeros\n", q, data);
    assert_true(error_of(net, q, data) < 0.001);
    ek_quantized_free(q);
    ek_dataset_free(data);
    ek_net_free(net);
}

/* ---- Errors ------------------------------------------------------------------------------------------------- */

static void expect_failure(ek_net *net, const ek_dataset *data, ek_status want, const char *words)
{
    ek_quantized *q = (ek_quantized *)net;
    const ek_status status = ek_quantize(&q, net, data, NULL);
    if (status != want || !strstr(ek_error(), words) || q)
        fail_msg("%s: %s, not %s with '%s'", ek_status_name(status), ek_error(), ek_status_name(want), words);
}

static void test_errors(void **state)
{
    (void)state;
    ek_net *net = new_net("input 1 6 6\nconv2d 3 kernel=3\nlayernorm\nflatten\nlinear 2\n");
    ek_dataset *data = noise(net->input, 8, 2, 0, 255), *other = noise((ek_dims){1, 5, 5, false}, 8, 2, 0, 255);
    expect_failure(net, data, EK_ERR_UNSUPPORTED, "layer 1 (layernorm)");
    ek_net_free(net);
    net = new_net("input 1 6 6\nresidual {\nconv2d 1\nbatchnorm tracking=no\n}\nflatten\nlinear 2\n");
    expect_failure(net, data, EK_ERR_UNSUPPORTED, "layer 0.body.1 (batchnorm)");
    ek_net_free(net);
    net = new_net("input 1 6 6\navgpool 65 padding=32 stride=1 count_include_pad=no\nflatten\nlinear 2\n");
    expect_failure(net, data, EK_ERR_UNSUPPORTED, "layer 0 (avgpool)");
    ek_net_free(net);
    net = new_net("input 1 6 6\nconv2d 3 kernel=3\nrelu\nflatten\nlinear 2\n");
    expect_failure(net, other, EK_ERR_SHAPE, "1x5x5");
    values_of(net, "0.weight")[4] = INFINITY;
    expect_failure(net, data, EK_ERR_NUMERIC, "layer 0 (conv2d)");
    values_of(net, "0.weight")[4] = values_of(net, "0.weight")[5] = 3e38f;
    expect_failure(net, data, EK_ERR_NUMERIC, "layer");
    ek_net_free(net);
    net = new_net("input 1 6 6\nflatten\nlinear 2\nsigmoid\n");
    values_of(net, "1.bias")[1] = NAN;
    expect_failure(net, data, EK_ERR_NUMERIC, "layer 1 (linear)");
    ek_quantized *q;
    assert_int_equal(ek_quantize(NULL, net, data, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_quantize(&q, net, data, &(ek_quantize_options){.samples = -1}), EK_ERR_ARGUMENT);
    assert_int_equal(ek_quantized_predict(NULL, 1, NULL, 1, NULL), EK_ERR_ARGUMENT);
    ek_net_free(net);
    ek_dataset_free(data);
    ek_dataset_free(other);
}

static void test_memory(void **state)
{
    (void)state;
    ek_net *net = new_net("input 1 6 6\nconv2d 3 kernel=3\nbatchnorm\nsigmoid\navgpool 2\nconcat {\nbranch {\n"
                          "conv2d 2\n}\nbranch {\n}\n}\nflatten\nlinear 3\n");
    ek_dataset *data = noise(net->input, SAMPLES, 3, 0, 255);
    ek_net_tensor_count(net);
    int failures = 0;
    for (int64_t n = 1;; n++) {
        ek_quantized *q = NULL;
        ek_metrics metrics;
        ek_memory_fail_at(n);
        ek_status status = ek_quantize(&q, net, data, &(ek_quantize_options){.threads = 1});
        if (!status)
            status = ek_quantized_evaluate(q, data, &(ek_eval_options){.threads = 1}, &metrics);
        const bool all = ek_memory_fail_at(0) < n;
        ek_quantized_free(q);
        if (all) {
            assert_ok(status);
            break;
        }
        assert_int_equal(status, EK_ERR_MEMORY);
        failures++;
    }
    assert_true(failures > 30);
    ek_dataset_free(data);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multiplier),   cmocka_unit_test(test_nets),       cmocka_unit_test(test_trained),
        cmocka_unit_test(test_ranges),       cmocka_unit_test(test_saturation), cmocka_unit_test(test_large_sums),
        cmocka_unit_test(test_odd_channels), cmocka_unit_test(test_errors),     cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
