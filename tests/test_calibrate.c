/* SPDX-License-Identifier: MIT
 * Exact statistics: against the scalar reference, to the same bits whatever the memory and the threads, what prediction
 * then finds, the samples that are taken, errors. */
#include "base/memory.h"
#include "net/plan.h"
#include "train/calibrate.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "gradient_nets.h"
#include "reference_net.h"

#include <math.h>
#include <stdio.h>

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

/* Weights and statistics that are not those of a fresh net. */
static ek_net *stirred(const char *text)
{
    ek_net *net = ek_net_parse(text, NULL);
    assert_non_null(net);
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        for (int64_t j = 0; t->data && j < t->count; j++)
            t->data[j] += t->role == EK_ROLE_MOVING_VAR ? 0.2f * (float)(j % 5) : 0.15f * (float)((j + i) % 7 - 3);
        if (t->counter)
            *t->counter = 41 + i;
    }
    return net;
}

static float *copy_values(const ek_net *net)
{
    float *copy = malloc((net->value_count + 1) * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, net->values, net->value_count * sizeof *copy);
    return copy;
}

static void calibrate(ek_net *net, const ek_dataset *data, const ek_calibrate_options *options)
{
    if (ek_calibrate(net, data, options))
        fail_msg("%s", ek_error());
}

static bool is_measured(const ek_layer *l)
{
    return l->kind == EK_LAYER_BATCHNORM && l->o.batchnorm.tracking && !l->o.batchnorm.hold_moving;
}

/* ---- The scalar reference -------------------------------------------------------------------------------------- */

/* Layer after layer, in double: prediction, with the statistics found so far. */
static void measure_by_reference(reference_net *r, const double *x)
{
    for (int i = 0; i < r->net->layer_count; i++) {
        const ek_layer *l = &r->net->layers[i];
        if (!is_measured(l))
            continue;
        const double m = (double)r->n * l->in.h * l->in.w;
        const double correction = l->o.batchnorm.moving_variance == EK_MOVING_POPULATION ? 1 : m / (m - 1);
        reference_forward(r, EK_PREDICTION, x);
        for (int c = 0; c < l->in.c; c++) {
            reference_part(r, r->values, l->moving_mean)[c] = r->layers[i].batch_mean[c];
            reference_part(r, r->values, l->moving_var)[c] = correction * r->layers[i].batch_var[c];
        }
    }
}

/* Statistics that were measured are the reference's; every other value has the bits it had. */
static void compare_values(const ek_net *net, const reference_net *r, const float *before)
{
    for (int i = 0; i < net->tensor_count; i++) {
        const ek_tensor *t = &net->tensors[i];
        const ek_layer *l = &net->layers[t->layer];
        if (t->counter) {
            assert_int_equal(*t->counter, 41 + i);
            continue;
        }
        if (!is_measured(l) || (t->role != EK_ROLE_MOVING_MEAN && t->role != EK_ROLE_MOVING_VAR)) {
            assert_memory_equal(t->data, before + (t->data - net->values), (size_t)t->count * sizeof *before);
            continue;
        }
        const double *mean = reference_part(r, r->values, l->moving_mean);
        const double *var = reference_part(r, r->values, l->moving_var);
        for (int c = 0; c < t->count; c++) {
            const double want = t->role == EK_ROLE_MOVING_MEAN ? mean[c] : var[c], got = (double)t->data[c];
            const double size = t->role == EK_ROLE_MOVING_MEAN ? fabs(mean[c]) + sqrt(var[c]) : var[c];
            if (!(fabs(got - want) <= 2e-5 * size + 1e-6))
                fail_msg("%s, channel %d: %.9g, not %.9g", t->name, c, got, want);
        }
    }
}

static void compare_net(const char *text)
{
    ek_net *net = stirred(text), *small = stirred(text);
    ek_dataset *data = noise(net->input, SAMPLES);
    const int64_t size = ek_dims_count(net->input);
    double *x = reference_doubles(SAMPLES * size);
    for (int64_t n = 0; n < SAMPLES; n++)
        for (int64_t i = 0; i < size; i++)
            x[n * size + i] = ek_dataset_pixels(data, n)[i] / 255.0;
    reference_net reference = reference_net_new(net, SAMPLES);
    float *before = copy_values(net);
    ek_calibrate_report one, many;
    measure_by_reference(&reference, x);
    calibrate(net, data, &(ek_calibrate_options){.report = &one});
    compare_values(net, &reference, before);
    calibrate(small, data, &(ek_calibrate_options){.report = &many, .memory = 1, .threads = 1});
    assert_memory_equal(net->values, small->values, net->value_count * sizeof *net->values);
    assert_int_equal(one.layers, many.layers);
    int norms = 0;
    bool blocks = false; /* in which norms may stand side by side, and be measured together */
    for (int i = 0; i < net->layer_count; i++) {
        norms += ek_is_measured(&net->layers[i]);
        blocks = blocks || ek_is_block(net->layers[i].kind);
    }
    assert_int_equal(one.passes, norms > 0);
    assert_in_range(many.passes, blocks ? one.passes : norms, norms);
    reference_net_free(&reference);
    free(before);
    free(x);
    ek_dataset_free(data);
    ek_net_free(net);
    ek_net_free(small);
}

static void test_reference(void **state)
{
    (void)state;
    int measured = 0;
    compare_net("input 2 5 5\nconv2d 4\nresidual { conv2d 3 } shortcut { conv2d 3\nbatchnorm\nrelu\nconv2d 3\n"
                "batchnorm\n}\nbatchnorm\nflatten\nlinear 3\nbatchnorm\n"); /* a shortcut deeper than the body */
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

/* ---- The same bits --------------------------------------------------------------------------------------------- */

static const char deep[] =
    "input 2 6 5\nconv2d 5 kernel=3\nbatchnorm\nsigmoid\nconcat { branch { conv2d 2\nbatchnorm }\n"
    "branch { residual { conv2d 5 kernel=3 padding=1\nbatchnorm\nrelu\nconv2d 5 kernel=1\n"
    "batchnorm\n} shortcut { conv2d 5\nbatchnorm } } }\nrelu\ndropout\nflatten\nlinear 9\n"
    "batchnorm moving_variance=population\nsigmoid\nlinear 3\n";

/* Of more samples than a run takes: in one pass, in some, level after level, with one thread and three. Four levels,
 * not six norms: those side by side share a pass. */
static void test_memory(void **state)
{
    (void)state;
    enum { MANY = 4099, LEVELS = 4 };
    ek_net *net = stirred(deep), *other = stirred(deep);
    ek_dataset *data = noise(net->input, MANY);
    ek_calibrate_report report;
    calibrate(net, data, &(ek_calibrate_options){.threads = 3, .report = &report});
    assert_int_equal(report.passes, 1);
    assert_int_equal(report.layers, 6);
    assert_int_equal(report.samples, MANY);
    assert_int_equal(report.total, MANY);
    const int64_t whole = report.memory;
    const int64_t limits[] = {whole, whole - 1, whole / 2, 1};
    const int passes[] = {1, 0, 0, LEVELS};
    for (int i = 0; i < 4; i++) {
        calibrate(other, data,
                  &(ek_calibrate_options){.threads = 3 - 2 * (i % 2), .memory = limits[i], .report = &report});
        assert_memory_equal(net->values, other->values, net->value_count * sizeof *net->values);
        if (passes[i])
            assert_int_equal(report.passes, passes[i]);
        if (i < 3)
            assert_true(report.memory <= limits[i]);
        if (i == 2)
            assert_true(report.passes > 1 && report.passes < LEVELS + 1);
    }
    ek_dataset_free(data);
    ek_net_free(net);
    ek_net_free(other);
}

/* A calibrator measures what the parameters are now, each time anew, and the net changes when it is told to. */
static void test_again(void **state)
{
    (void)state;
    ek_net *net = stirred(deep), *other = stirred(deep);
    ek_dataset *data = noise(net->input, 50);
    ek_backend *backend = NULL;
    ek_calibrator *c = NULL;
    assert_int_equal(ek_backend_new_cpu(&backend, 2), EK_OK);
    assert_int_equal(ek_calibrator_new(&c, net, data, backend, &(ek_calibrate_options){0}), EK_OK);
    assert_int_equal(ek_calibrator_run(c), EK_OK);
    ek_net_tensor_by_name(net, "0.weight")->data[3] += 0.5f;
    ek_net_tensor_by_name(other, "0.weight")->data[3] += 0.5f;
    float *before = copy_values(net);
    assert_int_equal(ek_calibrator_run(c), EK_OK);
    assert_memory_equal(before, net->values, net->value_count * sizeof *before);
    ek_calibrator_swap(c);
    calibrate(other, data, NULL);
    assert_memory_equal(other->values, net->values, net->value_count * sizeof *before);
    ek_calibrator_swap(c);
    assert_memory_equal(before, net->values, net->value_count * sizeof *before);
    free(before);
    ek_calibrator_free(c);
    ek_backend_free(backend);
    ek_dataset_free(data);
    ek_net_free(net);
    ek_net_free(other);
}

/* Nothing runs that no measured norm needs. */
static void test_steps(void **state)
{
    (void)state;
    ek_net *net = stirred("input 2 5 5\nconv2d 3\nresidual { conv2d 3\nbatchnorm } shortcut { conv2d 3 }\nrelu\n"
                          "flatten\nlinear 4\nbatchnorm\nlinear 9\n");
    static const int maps[] = {2, 4};
    for (int first = 0; first < 2; first++)
        for (int both = 0; both < 2; both++) {
            ek_program *p = NULL;
            int count = 0;
            assert_int_equal(ek_plan_new(&p, net,
                                         &(ek_plan_request){.mode = EK_PREDICTION,
                                                            .exact = true,
                                                            .first_level = both ? 0 : first,
                                                            .end_level = both ? 2 : first + 1,
                                                            .max_samples = 20,
                                                            .threads = 1,
                                                            .dry = true}),
                             EK_OK);
            for (int i = 0; i < p->count; i++)
                count += p->steps[i].kind == EK_STEP_MAP;
            assert_int_equal(p->levels, 2);
            assert_int_equal(count, both ? 4 : maps[first]);
            ek_program_free(p);
        }
    ek_net_free(net);
}

/* ---- What prediction finds ------------------------------------------------------------------------------------- */

/* At every norm, the statistics that it normalises with; and what is measured again is the same. */
static void test_fixed_point(void **state)
{
    (void)state;
    ek_net *net =
        stirred("input 1 8 8\nconv2d 4 kernel=3\nbatchnorm\nsigmoid\navgpool 2\nconv2d 6 kernel=2\nbatchnorm\n"
                "sigmoid\nflatten\nlinear 12\nbatchnorm\nsigmoid\nlinear 3\n");
    const float mean = 0.4f, std = 0.25f;
    assert_int_equal(ek_net_set_normalization(net, 1, &mean, &std), EK_OK);
    ek_dataset *data = noise(net->input, 333);
    ek_probe *probe = NULL;
    calibrate(net, data, NULL);
    assert_int_equal(ek_probe_new(&probe, net, data, NULL), EK_OK);
    for (int i = 1, channels; i < net->layer_count; i++) {
        const ek_layer *l = &net->layers[i];
        if (l->kind != EK_LAYER_BATCHNORM)
            continue;
        const ek_channel_stats *stats = ek_probe_layer(probe, i - 1, &channels);
        const double m = 333.0 * l->in.h * l->in.w;
        for (int c = 0; c < channels; c++) {
            const double var = stats[c].std * stats[c].std * m / (m - 1);
            assert_true(fabs((double)net->tensors[l->moving_mean].data[c] - stats[c].mean) <= 1e-5 * stats[c].std);
            assert_true(fabs((double)net->tensors[l->moving_var].data[c] - var) <= 1e-4 * var);
        }
    }
    float *before = copy_values(net);
    calibrate(net, data, NULL);
    assert_memory_equal(before, net->values, net->value_count * sizeof *before);
    free(before);
    ek_probe_free(probe);
    ek_dataset_free(data);
    ek_net_free(net);
}

/* ---- Samples --------------------------------------------------------------------------------------------------- */

/* The mean of numbers that tell which samples were in it: powers of two. */
static unsigned chosen(const ek_dataset *data, int64_t samples, uint64_t seed)
{
    ek_net *net = ek_net_parse("input 1 1 8\nflatten\nbatchnorm\nlinear 1\n", NULL);
    assert_non_null(net);
    calibrate(net, data, &(ek_calibrate_options){.samples = samples, .seed = seed});
    unsigned set = 0;
    for (int i = 0; i < 8; i++) {
        const double share = (double)ek_net_tensor_by_name(net, "1.running_mean")->data[i] * (double)samples;
        assert_true(fabs(share) < 1e-5 || fabs(share - 1) < 1e-5);
        set |= share > 0.5 ? 1u << i : 0;
    }
    ek_net_free(net);
    return set;
}

static void test_samples(void **state)
{
    (void)state;
    uint8_t pixels[64] = {0}, labels[8] = {0};
    for (int i = 0; i < 8; i++)
        pixels[9 * i] = 255;
    ek_dataset *data = NULL;
    assert_int_equal(ek_dataset_from_memory(&data, 8, 1, 1, 8, pixels, labels, 1), EK_OK);
    unsigned seen = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        const unsigned three = chosen(data, 3, seed);
        assert_int_equal(__builtin_popcount(three), 3);
        assert_int_equal(chosen(data, 3, seed), three);
        assert_int_equal(chosen(data, 5, seed) & three, three); /* more are those and others */
        seen |= three;
    }
    assert_int_equal(seen, 255);
    assert_int_equal(chosen(data, 8, 1), 255);
    ek_dataset_free(data);
}

static void test_note(void **state)
{
    (void)state;
    ek_net *net = stirred(deep);
    ek_dataset *data = noise(net->input, 40);
    ek_dataset_info info;
    char want[256];
    ek_dataset_get_info(data, &info);
    calibrate(net, data, &(ek_calibrate_options){.samples = 17});
    snprintf(want, sizeof want, "exact, 17 of 40 samples%s%s", *info.digest ? " of " : "", info.digest);
    assert_string_equal(ek_net_note(net, "statistics"), want);
    assert_int_equal(ek_fit(net, data, NULL, &(ek_fit_options){.epochs = 1}), EK_OK);
    assert_null(ek_net_note(net, "statistics"));
    ek_dataset_free(data);
    ek_net_free(net);
}

/* ---- Errors ---------------------------------------------------------------------------------------------------- */

static void assert_fails(ek_net *net, const ek_dataset *data, const ek_calibrate_options *options, ek_status status,
                         const char *part)
{
    float *before = copy_values(net);
    assert_string_equal(ek_status_name(ek_calibrate(net, data, options)), ek_status_name(status));
    if (!strstr(ek_error(), part))
        fail_msg("\"%s\" does not say \"%s\"", ek_error(), part);
    assert_memory_equal(before, net->values, net->value_count * sizeof *before);
    assert_null(ek_net_note(net, "statistics"));
    free(before);
}

static void test_errors(void **state)
{
    (void)state;
    ek_net *net = stirred("input 1 2 2\nconv2d 2\nbatchnorm\nrelu\nflatten\nlinear 3\nbatchnorm\n");
    ek_dataset *data = noise(net->input, 20), *other = noise((ek_dims){.c = 1, .h = 3, .w = 2}, 4);
    assert_int_equal(ek_calibrate(NULL, data, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_calibrate(net, NULL, NULL), EK_ERR_ARGUMENT);
    assert_fails(net, data, &(ek_calibrate_options){.samples = -1}, EK_ERR_ARGUMENT, "samples (-1)");
    assert_fails(net, data, &(ek_calibrate_options){.memory = -1}, EK_ERR_ARGUMENT, "memory (-1)");
    assert_fails(net, other, NULL, EK_ERR_SHAPE, "1x3x2");
    assert_fails(net, data, &(ek_calibrate_options){.samples = 1}, EK_ERR_SHAPE, "layer 5");
    float *weight = ek_net_tensor_by_name(net, "4.weight")->data;
    weight[8] = INFINITY; /* of output 1 */
    assert_fails(net, data, NULL, EK_ERR_NUMERIC, "layer 5 (batchnorm), channel 1");
    assert_fails(net, data, &(ek_calibrate_options){.memory = 1}, EK_ERR_NUMERIC, "layer 5 (batchnorm), channel 1");
    weight[8] = 0;
    const ek_calibrate_options options = {.threads = 1, .memory = 1, .samples = 18};
    float *before = copy_values(net);
    ek_memory_fail_at(0);
    calibrate(net, data, &options);
    const int64_t count = ek_memory_fail_at(0);
    memcpy(net->values, before, net->value_count * sizeof *before);
    assert_int_equal(ek_net_set_note(net, "statistics", NULL), EK_OK);
    for (int64_t n = 1; n <= count; n++) {
        ek_memory_fail_at(n);
        const ek_status status = ek_calibrate(net, data, &options);
        if (status) /* the note's room is there already the second time */
            assert_int_equal(status, EK_ERR_MEMORY);
        if (status)
            assert_memory_equal(before, net->values, net->value_count * sizeof *before);
        memcpy(net->values, before, net->value_count * sizeof *before);
        assert_true(status || n + 2 > count);
    }
    ek_memory_fail_at(0);
    free(before);
    ek_dataset_free(data);
    ek_dataset_free(other);
    ek_net_free(net);
}

/* A net without a norm to replace is as it was. */
static void test_nothing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "input 1 2 2\nconv2d 2\nsigmoid\nflatten\nlinear 3\n",
        "input 1 2 2\nconv2d 2\nbatchnorm hold_moving=yes use_moving=yes\nflatten\nlinear 3\n",
        "input 1 2 2\nconv2d 2\nbatchnorm tracking=no\nflatten\nlinear 3\n",
    };
    for (int i = 0; i < 3; i++) {
        ek_net *net = stirred(texts[i]);
        ek_dataset *data = noise(net->input, 20);
        ek_calibrate_report report;
        float *before = copy_values(net);
        calibrate(net, data, &(ek_calibrate_options){.report = &report});
        assert_int_equal(report.layers, 0);
        assert_null(ek_net_note(net, "statistics"));
        assert_memory_equal(before, net->values, net->value_count * sizeof *before);
        free(before);
        ek_dataset_free(data);
        ek_net_free(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference), cmocka_unit_test(test_memory), cmocka_unit_test(test_fixed_point),
        cmocka_unit_test(test_samples),   cmocka_unit_test(test_note),   cmocka_unit_test(test_errors),
        cmocka_unit_test(test_nothing),   cmocka_unit_test(test_again),  cmocka_unit_test(test_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
