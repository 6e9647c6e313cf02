/* SPDX-License-Identifier: MIT
 * Exact statistics of batch norms against PyTorch's float64, and what the net then says of each image. */
#include "golden.h"

static const double statistics_tolerance = 1e-6; /* relative, 2-norm */
static const double logit_tolerance = 2e-5;      /* of the largest */

static ek_net *start(const ek_safetensors *file, const char *name)
{
    ek_net *net = ek_net_parse(ek_safetensors_metadata(file, name), name);
    if (!net)
        fail_msg("%s", ek_error());
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        char key[128];
        if (!tensor->data)
            continue;
        snprintf(key, sizeof key, "init.%s", tensor->name);
        const ek_safetensors_tensor *from = golden_tensor(file, name, key);
        assert_int_equal(from->count, tensor->count);
        assert_int_equal(from->dtype, EK_DTYPE_F32);
        memcpy(tensor->data, from->data, (size_t)from->count * sizeof(float));
    }
    return net;
}

static void check_statistics(const ek_safetensors *file, const char *name, ek_net *net)
{
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        char key[128];
        if (tensor->role != EK_ROLE_MOVING_MEAN && tensor->role != EK_ROLE_MOVING_VAR)
            continue;
        snprintf(key, sizeof key, "exact.%s", tensor->name);
        double *want = golden_doubles(golden_tensor(file, name, key)), far = 0, size = 0;
        for (int64_t j = 0; j < tensor->count; j++) {
            far += pow((double)tensor->data[j] - want[j], 2);
            size += want[j] * want[j];
        }
        if (!(sqrt(far / size) <= statistics_tolerance))
            fail_msg("%s.%s is off by %.2g", name, tensor->name, sqrt(far / size));
        free(want);
    }
}

static void check(const char *name)
{
    ek_safetensors *file = golden_open("exact.safetensors");
    ek_net *net = start(file, name);
    const ek_safetensors_tensor *pixels = golden_tensor(file, name, "pixels");
    double *want = golden_doubles(golden_tensor(file, name, "logits")), most = 0;
    const int64_t n = pixels->dim[0], outputs = golden_tensor(file, name, "logits")->dim[1];
    uint8_t *labels = calloc((size_t)n, 1);
    float *x = malloc((size_t)pixels->count * sizeof *x), *logits = malloc((size_t)(n * outputs) * sizeof *logits);
    ek_dataset *data = NULL;
    assert_true(labels && x && logits);
    GOLDEN_OK(ek_dataset_from_memory(&data, n, (int)pixels->dim[1], (int)pixels->dim[2], (int)pixels->dim[3],
                                     pixels->data, labels, 1));
    GOLDEN_OK(ek_calibrate(net, data, NULL));
    check_statistics(file, name, net);
    for (int64_t i = 0; i < pixels->count; i++)
        x[i] = (float)pixels->data[i] / 255.0f;
    GOLDEN_OK(ek_predict(net, n, x, 1, logits));
    for (int64_t i = 0; i < n * outputs; i++)
        most = fmax(most, fabs(want[i]));
    for (int64_t i = 0; i < n * outputs; i++)
        if (!(fabs((double)logits[i] - want[i]) <= logit_tolerance * most))
            fail_msg("%s: output %lld is %.7g, PyTorch's %.7g", name, (long long)i, (double)logits[i], want[i]);
    free(want);
    free(labels);
    free(x);
    free(logits);
    ek_dataset_free(data);
    ek_net_free(net);
    ek_safetensors_free(file);
}

static void test_bn_lenet(void **state)
{
    (void)state;
    check("bn_lenet");
}

static void test_options(void **state)
{
    (void)state;
    check("options");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bn_lenet), cmocka_unit_test(test_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
