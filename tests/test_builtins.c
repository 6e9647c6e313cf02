/* SPDX-License-Identifier: MIT
 * The built-in nets: their layers and parameters, for any images and classes; He initialisation; which biases a batch
 * norm makes idle; memory. */
#include "net/net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Parameters and multiply-adds of the same modules in PyTorch. */
static const struct {
    const char *name;
    int convolutions, residuals;
    int64_t parameters, macs;
} expected[] = {
    {"mlp", 0, 0, 203530, 203264},
    {"resnet-18", 20, 8, 11178378, 318657536},
    {"resnet-20", 19, 9, 269722, 40551040},
    {"resnet-20-proj", 21, 9, 272474, 40813184},
    {"resnet-32", 31, 15, 464154, 0},
    {"resnet-44", 43, 21, 658586, 0},
    {"resnet-56", 55, 27, 853018, 125485696},
    {"resnet-110", 109, 54, 1727962, 0},
    {"resnet-1202", 1201, 600, 19421274, 0},
    {"preact-resnet-110", 109, 54, 1727962, 252887680},
};

static void test_nets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        ek_net *net = ek_net_builtin(expected[i].name);
        if (!net)
            fail_msg("%s", ek_error());
        int convolutions = 0, residuals = 0;
        int64_t parameters = 0, macs = 0;
        ek_layer_info info;
        for (int l = 0; l < ek_net_layer_count(net); l++) {
            assert_int_equal(ek_net_layer(net, l, &info), EK_OK);
            convolutions += !strcmp(info.kind, "conv2d");
            residuals += !strcmp(info.kind, "residual");
            parameters += info.parameters;
            macs += info.macs;
        }
        assert_int_equal(convolutions, expected[i].convolutions);
        assert_int_equal(residuals, expected[i].residuals);
        assert_int_equal(parameters, expected[i].parameters);
        if (expected[i].macs)
            assert_int_equal(macs, expected[i].macs);
        ek_net_free(net);
    }
}

/* Every net, as it is and for other images and classes: its text is its own, and it can be compiled. */
static void test_shapes(void **state)
{
    (void)state;
    for (int i = 0; ek_net_builtin_name(i); i++) {
        const char *name = ek_net_builtin_name(i);
        ek_net *net = ek_net_builtin_for(name, 2, 33, 45, 100);
        if (!net)
            fail_msg("%s", ek_error());
        assert_int_equal(net->input.c, 2);
        assert_int_equal(net->input.h, 33);
        assert_int_equal(net->input.w, 45);
        assert_int_equal(ek_net_output(net).c, 100);
        char *text = ek_net_text(net);
        ek_net *twin = ek_net_parse(text, NULL);
        char *again = ek_net_text(twin);
        assert_string_equal(text, again);
        int64_t bytes = 0;
        if (!strstr(name, "1202"))
            assert_int_equal(ek_net_memory(net, EK_TRAINING, 16, 0, 1, &bytes), EK_OK);
        free(text);
        free(again);
        ek_net_free(net);
        ek_net_free(twin);
        net = ek_net_builtin_for(name, 0, 0, 0, 0);
        twin = ek_net_builtin(name);
        assert_int_equal(ek_net_output(net).c, 10);
        assert_int_equal(ek_net_layer_count(net), ek_net_layer_count(twin));
        ek_net_free(net);
        ek_net_free(twin);
    }
    assert_null(ek_net_builtin_for("lenet", 1, 8, 8, 10));
    assert_non_null(strstr(ek_error(), "lenet:5:1: layer 3 (conv2d): kernel 5 does not fit"));
    assert_null(ek_net_builtin_for("lenet", -1, 8, 8, 10));
    assert_non_null(strstr(ek_error(), "channels must be 1 to 65536"));
    assert_null(ek_net_builtin_for("nothing", 1, 8, 8, 10));
}

static void test_he(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 3 8 8\nconv2d 64 kernel=3\nflatten\nlinear 50\n", NULL);
    assert_int_equal(ek_net_init(net, EK_INIT_HE, 1), EK_OK);
    const ek_tensor *t = ek_net_tensor_by_name(net, "0.weight");
    const double deviation = sqrt(2.0 / (64 * 9));
    double sum = 0, squares = 0, fourth = 0;
    int beyond = 0;
    for (int64_t i = 0; i < t->count; i++) {
        const double z = (double)t->data[i] / deviation;
        sum += z;
        squares += z * z;
        fourth += z * z * z * z;
        beyond += fabs(z) > 1;
    }
    const double n = (double)t->count; /* 1728; bounds of five deviations */
    assert_true(fabs(sum / n) < 5 / sqrt(n));
    assert_true(fabs(squares / n - 1) < 5 * sqrt(2 / n));
    assert_true(fabs(fourth / n - 3) < 5 * sqrt(96 / n));
    assert_true(fabs(beyond / n - 0.3173) < 5 * sqrt(0.3173 * 0.6827 / n));
    const ek_tensor *linear = ek_net_tensor_by_name(net, "2.weight");
    double largest = 0;
    for (int64_t i = 0; i < linear->count; i++)
        largest = fmax(largest, fabs((double)linear->data[i]));
    const double bound = 1 / sqrt(64 * 36);
    assert_true(largest <= bound && largest > 0.99 * bound);
    const float first = t->data[0];
    assert_int_equal(ek_net_init(net, EK_INIT_HE, 2), EK_OK);
    assert_true(t->data[0] != first);
    assert_int_equal(ek_net_init(net, EK_INIT_HE, 1), EK_OK);
    assert_true(t->data[0] == first);
    ek_net_free(net);
}

static void test_idle_biases(void **state)
{
    (void)state;
    ek_net *net = ek_net_parse("input 2 4 4\nconv2d 3\nbatchnorm\nconv2d 3 bias=no\nbatchnorm\nconv2d 3\nrelu\n"
                               "residual {\nconv2d 3\nbatchnorm\n} shortcut {\nconv2d 3\n}\nbatchnorm\nconv2d 2\n"
                               "batchnorm use_moving=yes\nconv2d 2\nflatten\nbatchnorm\nlinear 4\nbatchnorm\n",
                               NULL);
    static const char *const idle[] = {"0", "6.body.0", "10", "13"};
    size_t found = 0;
    for (int i = 0; i < ek_net_layer_count(net); i++) {
        ek_layer_info info;
        assert_int_equal(ek_net_layer(net, i, &info), EK_OK);
        if (!info.bias_without_gradient)
            continue;
        assert_true(found < 4);
        assert_string_equal(info.path, idle[found++]);
    }
    assert_int_equal(found, 4);
    ek_net_free(net);
}

static void test_memory(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("resnet-20");
    int64_t small, large, prediction, other;
    assert_int_equal(ek_net_memory(net, EK_TRAINING, 32, 0, 2, &small), EK_OK);
    assert_int_equal(ek_net_memory(net, EK_TRAINING, 128, 0, 2, &large), EK_OK);
    /* two values of a sample for each convolution (7 at 16x32x32, 6 at half, 6 at a quarter of that), and some */
    const double kept = 2.0 * 4 * 16384 * (7 + 3 + 1.5);
    assert_true((double)(large - small) > 96 * kept && (double)(large - small) < 1.15 * 96 * kept);
    assert_int_equal(ek_net_memory(net, EK_PREDICTION, 128, 0, 1, &prediction), EK_OK);
    assert_int_equal(ek_net_memory(net, EK_PREDICTION, 4096, 0, 1, &other), EK_OK);
    assert_true(prediction == other && prediction < small);
    assert_int_equal(ek_net_memory(net, EK_TRAINING, 0, 0, 1, &small), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_memory(NULL, EK_TRAINING, 1, 0, 1, &small), EK_ERR_ARGUMENT);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nets),        cmocka_unit_test(test_shapes), cmocka_unit_test(test_he),
        cmocka_unit_test(test_idle_biases), cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("built-in nets", tests, NULL, NULL);
}
