/* SPDX-License-Identifier: MIT
 * Short trainings of small nets against PyTorch's float64: every kind of layer with every option, at odd shapes and
 * batch sizes, forward, backward, update and prediction. */
#include "golden.h"

enum { MAX_STEPS = 100 };

static const double loss_tolerance = 1e-5;   /* relative */
static const double tensor_tolerance = 2e-5; /* relative, 2-norm */
static const double logit_tolerance = 2e-5;  /* of the largest */

typedef struct recorder {
    double losses[MAX_STEPS];
    int64_t steps;
} recorder;

static int record(void *user, const ek_fit_event *event)
{
    recorder *r = user;
    if (event->kind == EK_EVENT_STEP && r->steps < MAX_STEPS)
        r->losses[r->steps++] = event->loss;
    return 0;
}

static const ek_safetensors_tensor *find(const ek_safetensors *file, const char *name, const char *when,
                                         const ek_tensor *tensor)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", when, tensor->name);
    return golden_tensor(file, name, key);
}

static ek_net *start(const ek_safetensors *file, const char *name)
{
    ek_net *net = ek_net_parse(ek_safetensors_metadata(file, name), name);
    if (!net)
        fail_msg("%s", ek_error());
    int count = ek_net_tensor_count(net);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        if (tensor->role == EK_ROLE_NUM_BATCHES)
            continue;
        const ek_safetensors_tensor *from = find(file, name, "init", tensor);
        assert_int_equal(from->count, tensor->count);
        assert_int_equal(from->dtype, EK_DTYPE_F32);
        memcpy(tensor->data, from->data, (size_t)from->count * sizeof(float));
    }
    return net;
}

static void check_losses(const ek_safetensors *file, const char *name, const recorder *r)
{
    const ek_safetensors_tensor *tensor = golden_tensor(file, name, "loss");
    double *expected = golden_doubles(tensor);
    assert_int_equal(r->steps, tensor->count);
    for (int64_t i = 0; i < r->steps; i++)
        if (!(fabs(r->losses[i] / expected[i] - 1) <= loss_tolerance))
            fail_msg("%s: the loss of step %lld is %.9g, PyTorch's %.9g", name, (long long)i + 1, r->losses[i],
                     expected[i]);
    free(expected);
}

static void check_state(const ek_safetensors *file, const char *name, ek_net *net)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        const ek_safetensors_tensor *exact = find(file, name, "final", tensor);
        if (tensor->role == EK_ROLE_NUM_BATCHES) {
            double *batches = golden_doubles(exact);
            if ((double)*tensor->counter != *batches)
                fail_msg("%s: %s is %lld, PyTorch's %g", name, tensor->name, (long long)*tensor->counter, *batches);
            free(batches);
            continue;
        }
        double distance = golden_distance(exact, tensor->data);
        if (!(distance <= tensor_tolerance))
            fail_msg("%s: %s is %.2e from PyTorch's, more than %.0e", name, tensor->name, distance, tensor_tolerance);
    }
}

static void run_case(const ek_safetensors *file, const char *name, int threads)
{
    char key[128];
    snprintf(key, sizeof key, "%s.fit", name);
    const char *fit = ek_safetensors_metadata(file, key);
    const ek_safetensors_tensor *pixels = golden_tensor(file, name, "pixels");
    const ek_safetensors_tensor *labels = golden_tensor(file, name, "labels");
    const ek_safetensors_tensor *logits = golden_tensor(file, name, "logits");
    assert_int_equal(pixels->dtype, EK_DTYPE_U8);
    assert_int_equal(labels->dtype, EK_DTYPE_U8);

    ek_dataset *data = NULL;
    GOLDEN_OK(ek_dataset_from_memory(&data, pixels->dim[0], (int)pixels->dim[1], (int)pixels->dim[2],
                                     (int)pixels->dim[3], pixels->data, labels->data, (int)logits->dim[1]));
    ek_net *net = start(file, name);
    recorder r = {.steps = 0};
    ek_fit_options options = {.epochs = golden_int(fit, "epochs"),
                              .batch_size = golden_int(fit, "batch"),
                              .lr = (float)golden_number(fit, "lr"),
                              .no_shuffle = true,
                              .threads = threads,
                              .on_event = record,
                              .user = &r};
    GOLDEN_OK(ek_fit(net, data, NULL, &options));
    check_losses(file, name, &r);
    check_state(file, name, net);

    float *x = calloc((size_t)pixels->count, sizeof *x), *y = calloc((size_t)logits->count, sizeof *y);
    assert_true(x && y);
    for (int64_t i = 0; i < pixels->count; i++)
        x[i] = (float)pixels->data[i] / 255;
    GOLDEN_OK(ek_predict(net, pixels->dim[0], x, threads, y));
    golden_compare(logits, y, logit_tolerance, 0);
    free(x);
    free(y);
    ek_net_free(net);
    ek_dataset_free(data);
}

static int run_cases(const ek_safetensors *file, bool normed)
{
    int cases = 0;
    for (size_t i = 0; i < file->metadata_count; i++) {
        const char *name = file->metadata[i].key, *text = file->metadata[i].value;
        if (!golden_is(text, "input") || (strstr(text, "batchnorm") != NULL) != normed)
            continue;
        run_case(file, name, 1);
        run_case(file, name, 2);
        cases++;
    }
    return cases;
}

static void test_with_batchnorm(void **state)
{
    assert_true(run_cases(*state, true) >= 13);
}

/* BN-LeNet's layers, and every option, with batch norms of the mean or the deviation alone, without gamma, without
 * beta, after the activation. */
static void test_lite(void **state)
{
    (void)state;
    ek_safetensors *file = golden_open("lite.safetensors");
    assert_true(run_cases(file, true) >= 9);
    ek_safetensors_free(file);
}

static void test_without_batchnorm(void **state)
{
    assert_true(run_cases(*state, false) >= 4);
}

static int open_golden(void **state)
{
    *state = golden_open("nets.safetensors");
    return 0;
}

static int close_golden(void **state)
{
    ek_safetensors_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_batchnorm),
        cmocka_unit_test(test_with_batchnorm),
        cmocka_unit_test(test_lite),
    };
    return cmocka_run_group_tests_name("golden_nets", tests, open_golden, close_golden);
}
