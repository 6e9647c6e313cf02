/* SPDX-License-Identifier: MIT
 * Convolution, linear layer, pooling and activations against PyTorch's float64: nets of one layer, forward; and the
 * reference's gradients, with which kernels and programs are compared in their turn. */
#include "golden.h"
#include "net/net.h"
#include "reference_net.h"

/* Elementwise, of the largest magnitude. */
static const double tolerance = 1e-6;

/* A net of one layer for the case's input, its weights those of the case. */
static ek_net *build(const ek_safetensors *file, const char *name, const char *text)
{
    const ek_safetensors_tensor *x = golden_tensor(file, name, "x");
    const ek_safetensors_tensor *y = golden_tensor(file, name, "y");
    bool image = x->ndim == 4;
    int channels = (int)(x->ndim == 1 ? 1 : x->dim[1]);
    ek_net *net = ek_net_new(channels, image ? (int)x->dim[2] : 1, image ? (int)x->dim[3] : 1);
    assert_non_null(net);
    if (golden_is(text, "conv2d")) {
        ek_net_conv2d_options options = {.kernel = golden_int(text, "kernel"),
                                         .padding = golden_int(text, "padding"),
                                         .stride = golden_int(text, "stride"),
                                         .no_bias = !golden_int(text, "bias")};
        GOLDEN_OK(ek_net_conv2d(net, (int)y->dim[1], &options));
    } else if (golden_is(text, "conv2d_pairs")) {
        ek_net_conv2d_options options = {.groups = golden_int(text, "groups"),
                                         .kernel_h = golden_int(text, "kernel_h"),
                                         .kernel_w = golden_int(text, "kernel_w"),
                                         .padding_h = golden_int(text, "padding_h"),
                                         .padding_w = golden_int(text, "padding_w"),
                                         .stride_h = golden_int(text, "stride_h"),
                                         .stride_w = golden_int(text, "stride_w"),
                                         .dilation_h = golden_int(text, "dilation_h"),
                                         .dilation_w = golden_int(text, "dilation_w")};
        GOLDEN_OK(ek_net_conv2d(net, (int)y->dim[1], &options));
    } else if (golden_is(text, "avg_pool_pairs")) {
        ek_net_pool2d_options options = {.kernel_h = golden_int(text, "kernel_h"),
                                         .kernel_w = golden_int(text, "kernel_w"),
                                         .padding_h = golden_int(text, "padding_h"),
                                         .padding_w = golden_int(text, "padding_w"),
                                         .stride_h = golden_int(text, "stride_h"),
                                         .stride_w = golden_int(text, "stride_w"),
                                         .exclude_padding = !golden_int(text, "count_include_pad")};
        GOLDEN_OK(ek_net_pool2d(net, EK_POOLING_AVG, &options));
    } else if (golden_is(text, "linear")) {
        GOLDEN_OK(ek_net_flatten(net));
        GOLDEN_OK(ek_net_linear(net, (int)y->dim[1], &(ek_net_linear_options){.no_bias = !golden_int(text, "bias")}));
    } else if (golden_is(text, "avg_pool")) {
        GOLDEN_OK(ek_net_avgpool2d(net, golden_int(text, "kernel"), golden_int(text, "stride")));
    } else if (golden_is(text, "max_pool")) {
        GOLDEN_OK(ek_net_maxpool2d(net, golden_int(text, "kernel"), golden_int(text, "stride"),
                                   golden_int(text, "padding")));
    } else if (golden_is(text, "global_avg_pool")) {
        GOLDEN_OK(ek_net_globalavgpool(net));
    } else if (golden_is(text, "relu")) {
        GOLDEN_OK(ek_net_relu(net));
    } else if (golden_is(text, "leaky_relu")) {
        GOLDEN_OK(ek_net_leaky_relu(net, (float)golden_number(text, "negative_slope")));
    } else if (golden_is(text, "tanh")) {
        GOLDEN_OK(ek_net_tanh(net));
    } else if (golden_is(text, "gelu")) {
        GOLDEN_OK(ek_net_gelu(net, golden_int(text, "tanh") ? EK_GELU_BY_TANH : EK_GELU_EXACT));
    } else {
        GOLDEN_OK(ek_net_sigmoid(net));
    }
    if (image)
        GOLDEN_OK(ek_net_flatten(net));
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *tensor = ek_net_tensor(net, i);
        const ek_safetensors_tensor *from =
            golden_tensor(file, name, tensor->role == EK_ROLE_WEIGHT ? "weight" : "bias");
        assert_int_equal(from->count, tensor->count);
        memcpy(tensor->data, from->data, (size_t)from->count * sizeof(float));
    }
    return net;
}

/* To double's rounding. */
static void compare_doubles(const ek_safetensors_tensor *exact, const double *values)
{
    double *expected = golden_doubles(exact), scale = 0;
    for (int64_t i = 0; i < exact->count; i++)
        scale = fmax(scale, fabs(expected[i]));
    for (int64_t i = 0; i < exact->count; i++)
        if (!(fabs(values[i] - expected[i]) <= 1e-13 * scale))
            fail_msg("%s[%lld] is %.17g, PyTorch's %.17g", exact->name, (long long)i, values[i], expected[i]);
    free(expected);
}

static void run_case(const ek_safetensors *file, const char *name, const char *text)
{
    const ek_safetensors_tensor *input = golden_tensor(file, name, "x"), *exact = golden_tensor(file, name, "y");
    ek_net *net = build(file, name, text);
    float *x = golden_floats(input);
    float *y = calloc((size_t)exact->count, sizeof *y);
    assert_non_null(y);
    for (int threads = 1; threads <= 3; threads++) {
        memset(y, 0, (size_t)exact->count * sizeof *y);
        GOLDEN_OK(ek_predict(net, input->dim[0], x, threads, y));
        golden_compare(exact, y, tolerance, 0);
    }
    free(x);
    free(y);
    ek_net_free(net);
}

/* The reference's gradients of sum(y*dy), in the net of one layer and perhaps flatten. */
static void run_gradients(const ek_safetensors *file, const char *name, const char *text)
{
    const ek_safetensors_tensor *input = golden_tensor(file, name, "x");
    ek_net *net = build(file, name, text);
    double *x = golden_doubles(input), *dy = golden_doubles(golden_tensor(file, name, "dy"));
    reference_net r = reference_net_new(net, input->dim[0]);
    reference_forward(&r, EK_TRAINING, x);
    reference_backward_from(&r, x, dy);
    compare_doubles(golden_tensor(file, name, "dx"), r.layers[0].dx);
    for (int i = 0; i < net->tensor_count; i++)
        compare_doubles(golden_tensor(file, name, net->tensors[i].role == EK_ROLE_WEIGHT ? "dweight" : "dbias"),
                        reference_part(&r, r.gradients, i));
    reference_net_free(&r);
    free(x);
    free(dy);
    ek_net_free(net);
}

static void run_operation(const ek_safetensors *file, const char *operation, int least)
{
    int cases = 0;
    for (size_t i = 0; i < file->metadata_count; i++) {
        if (!golden_is(file->metadata[i].value, operation))
            continue;
        run_case(file, file->metadata[i].key, file->metadata[i].value);
        run_gradients(file, file->metadata[i].key, file->metadata[i].value);
        cases++;
    }
    assert_true(cases >= least);
}

static void test_conv2d(void **state)
{
    run_operation(*state, "conv2d", 9);
    run_operation(*state, "conv2d_pairs", 9);
}

static void test_linear(void **state)
{
    run_operation(*state, "linear", 4);
}

static void test_avg_pool(void **state)
{
    run_operation(*state, "avg_pool", 7);
    run_operation(*state, "avg_pool_pairs", 3);
}

static void test_sigmoid(void **state)
{
    run_operation(*state, "sigmoid", 1);
}

static void test_max_pool(void **state)
{
    run_operation(*state, "max_pool", 7);
}

static void test_global_avg_pool(void **state)
{
    run_operation(*state, "global_avg_pool", 3);
}

static void test_relu(void **state)
{
    run_operation(*state, "relu", 1);
}

static void test_leaky_relu(void **state)
{
    run_operation(*state, "leaky_relu", 3);
}

static void test_tanh(void **state)
{
    run_operation(*state, "tanh", 2);
}

static void test_gelu(void **state)
{
    run_operation(*state, "gelu", 4);
}

static int open_golden(void **state)
{
    *state = golden_open("ops.safetensors");
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
        cmocka_unit_test(test_conv2d),  cmocka_unit_test(test_linear),     cmocka_unit_test(test_avg_pool),
        cmocka_unit_test(test_sigmoid), cmocka_unit_test(test_max_pool),   cmocka_unit_test(test_global_avg_pool),
        cmocka_unit_test(test_relu),    cmocka_unit_test(test_leaky_relu), cmocka_unit_test(test_tanh),
        cmocka_unit_test(test_gelu),
    };
    return cmocka_run_group_tests_name("golden_layers", tests, open_golden, close_golden);
}
