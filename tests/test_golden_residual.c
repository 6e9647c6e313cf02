/* SPDX-License-Identifier: MIT
 * Residual nets of 8, 20 and 110 layers and one with branches, 25 steps each, against PyTorch's float64 runs from the
 * same weights: every loss, every tensor after them, and then predictions. Weights and images come from a formula,
 * golden/make_golden_residual.py has it too. What PyTorch's own float32 run is off by is in the file. */
#include "golden.h"

enum { SAMPLES = 100, BATCH = 20, EPOCHS = 5, STEPS = 25, CLASSES = 5, PIXELS = 3 * 8 * 8 };

static const double least_tolerance = 1e-4; /* relative; or five times PyTorch's float32 distance, if that is more */

/* Number i of a stream, of [-1, 1) with 24 bits. */
static double uniform(uint32_t stream, uint32_t i)
{
    uint32_t x = i + 0x9e3779b9u * (stream + 1);
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    x ^= x >> 16;
    return (x >> 8) * 0x1p-23 - 1;
}

static void set_weights(ek_net *net)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        const double fan_in = t->ndim > 1 ? (double)(t->count / t->dim[0]) : 1;
        for (int64_t j = 0; t->data && j < t->count; j++) {
            const double u = uniform((uint32_t)i, (uint32_t)j);
            if (t->role == EK_ROLE_WEIGHT)
                t->data[j] = (float)(u * sqrt((t->ndim > 2 ? 6.0 : 1.0) / fan_in));
            else if (t->role == EK_ROLE_MOVING_MEAN || t->role == EK_ROLE_MOVING_VAR)
                t->data[j] = t->role == EK_ROLE_MOVING_VAR;
            else
                t->data[j] = (float)(0.25 * u + (t->role == EK_ROLE_GAMMA ? 0.5 : 0));
        }
    }
}

static ek_dataset *new_data(float *values)
{
    uint8_t *pixels = calloc(SAMPLES, PIXELS), labels[SAMPLES];
    assert_non_null(pixels);
    for (uint32_t i = 0; i < SAMPLES * PIXELS; i++) {
        pixels[i] = (uint8_t)((uniform(1000, i) + 1) * 128);
        values[i] = (float)pixels[i] / 255.0f;
    }
    for (uint32_t i = 0; i < SAMPLES; i++)
        labels[i] = (uint8_t)((uniform(1001, i) + 1) * 0.5 * CLASSES);
    ek_dataset *data = NULL;
    GOLDEN_OK(ek_dataset_from_memory(&data, SAMPLES, 3, 8, 8, pixels, labels, CLASSES));
    free(pixels);
    return data;
}

typedef struct recorder {
    double losses[STEPS];
    int steps;
} recorder;

static int record(void *user, const ek_fit_event *event)
{
    recorder *r = user;
    if (event->kind == EK_EVENT_STEP && r->steps < STEPS)
        r->losses[r->steps] = event->loss;
    r->steps += event->kind == EK_EVENT_STEP;
    return 0;
}

static double tolerance(double float32_distance)
{
    return fmax(least_tolerance, 5 * float32_distance);
}

static void check_losses(const char *name, const ek_safetensors *file, const recorder *r)
{
    double *exact = golden_doubles(golden_tensor(file, name, "loss"));
    double *float32 = golden_doubles(golden_tensor(file, name, "loss32"));
    double allowed = 0, worst = 0;
    assert_int_equal(golden_tensor(file, name, "loss")->count, STEPS);
    assert_int_equal(r->steps, STEPS);
    for (int i = 0; i < STEPS; i++)
        allowed = fmax(allowed, tolerance(fabs(float32[i] / exact[i] - 1)));
    for (int i = 0; i < STEPS; i++) {
        const double off = fabs(r->losses[i] / exact[i] - 1);
        if (!(off <= allowed))
            fail_msg("%s: the loss of step %d is %.9g, PyTorch's %.9g: off by %.2g, more than %.2g", name, i + 1,
                     r->losses[i], exact[i], off, allowed);
        worst = fmax(worst, off);
    }
    print_message("%s: losses off by %.1e, allowed %.1e\n", name, worst, allowed);
    free(exact);
    free(float32);
}

/* Every tensor has PyTorch's name, at PyTorch's place in the order. */
static void check_tensors(const char *name, const ek_safetensors *file, ek_net *net)
{
    const ek_safetensors_tensor *distances = golden_tensor(file, name, "state32");
    double *float32 = golden_doubles(distances), worst = 0;
    assert_int_equal(ek_net_tensor_count(net), distances->count);
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *t = ek_net_tensor(net, i);
        char key[200];
        snprintf(key, sizeof key, "state.%s", t->name);
        const ek_safetensors_tensor *exact = golden_tensor(file, name, key);
        assert_int_equal(exact->count, t->count);
        if (t->counter) {
            assert_int_equal(*t->counter, STEPS);
            continue;
        }
        const double off = golden_distance(exact, t->data);
        if (!(off <= tolerance(float32[i])))
            fail_msg("%s: %s is %.2e from PyTorch's, more than %.1e", name, t->name, off, tolerance(float32[i]));
        worst = fmax(worst, off);
    }
    print_message("%s: worst tensor %.1e from PyTorch's\n", name, worst);
    free(float32);
}

static void check_logits(const char *name, const ek_safetensors *file, ek_net *net, const float *values)
{
    float *logits = calloc(SAMPLES, CLASSES * sizeof *logits);
    double *float32 = golden_doubles(golden_tensor(file, name, "logits32"));
    assert_non_null(logits);
    GOLDEN_OK(ek_predict(net, SAMPLES, values, 1, logits));
    golden_compare(golden_tensor(file, name, "logits"), logits, tolerance(*float32), 0);
    free(logits);
    free(float32);
}

static void compare(const char *name, float rate)
{
    ek_safetensors *file = golden_open("residual.safetensors");
    char key[64];
    snprintf(key, sizeof key, "%s.net", name);
    ek_net *net = ek_net_parse(ek_safetensors_metadata(file, key), key);
    if (!net)
        fail_msg("%s", ek_error());
    float *values = calloc(SAMPLES * PIXELS, sizeof *values);
    assert_non_null(values);
    ek_dataset *data = new_data(values);
    set_weights(net);
    recorder r = {.steps = 0};
    GOLDEN_OK(ek_fit(net, data, NULL,
                     &(ek_fit_options){.epochs = EPOCHS,
                                       .batch_size = BATCH,
                                       .lr = rate,
                                       .no_shuffle = true,
                                       .threads = 2,
                                       .on_event = record,
                                       .user = &r}));
    check_losses(name, file, &r);
    check_tensors(name, file, net);
    check_logits(name, file, net, values);
    free(values);
    ek_dataset_free(data);
    ek_net_free(net);
    ek_safetensors_free(file);
}

static void test_8(void **state)
{
    (void)state;
    compare("residual-8", 0.02f);
}

static void test_20(void **state)
{
    (void)state;
    compare("residual-20", 0.02f);
}

static void test_110(void **state)
{
    (void)state;
    compare("residual-110", 0.0001f);
}

static void test_branches(void **state)
{
    (void)state;
    compare("branches", 0.02f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_8),
        cmocka_unit_test(test_20),
        cmocka_unit_test(test_110),
        cmocka_unit_test(test_branches),
    };
    return cmocka_run_group_tests_name("golden residual nets", tests, NULL, NULL);
}
