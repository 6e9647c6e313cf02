/* SPDX-License-Identifier: MIT
 * Tests of src/net: what builder calls refuse, and what the first of their errors says later. */
#include "base/memory.h"
#include "net/net.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The net that `text` describes, `calls` on it and what they should fail with. */
#define EXPECT_FAILURE(text, call, expected_status, message)                                                         \
    do {                                                                                                             \
        ek_net *net = ek_net_parse(text, NULL);                                                                      \
        assert_non_null(net);                                                                                        \
        assert_int_equal(call, expected_status);                                                                     \
        assert_string_equal(ek_error(), message);                                                                    \
        expect_marked(net, expected_status, message);                                                                \
    } while (0)

/* Every function reports the first error, and nothing else happens. */
static void expect_marked(ek_net *net, ek_status status, const char *message)
{
    ek_layer_info info;
    const int layers = net->layer_count;
    const ek_status calls[] = {
        ek_net_conv2d(net, 1, NULL),
        ek_net_linear(net, 1, NULL),
        ek_net_batchnorm(net, NULL),
        ek_net_layernorm(net, NULL),
        ek_net_relu(net),
        ek_net_leaky_relu(net, 0.01f),
        ek_net_tanh(net),
        ek_net_dropout(net, 0.5f),
        ek_net_gelu(net, EK_GELU_EXACT),
        ek_net_sigmoid(net),
        ek_net_maxpool2d(net, 1, 1, 0),
        ek_net_avgpool2d(net, 1, 1),
        ek_net_globalavgpool(net),
        ek_net_flatten(net),
        ek_net_finish(net),
        ek_net_init(net, EK_INIT_XAVIER, 0),
        ek_net_set_note(net, "key", "v"),
        ek_net_layer(net, 0, &info),
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        assert_int_equal(calls[i], status);
    assert_string_equal(ek_error(), message);
    assert_int_equal(net->layer_count, layers);
    assert_int_equal(ek_net_layer_count(net), 0);
    assert_int_equal(ek_net_tensor_count(net), 0);
    assert_null(ek_net_tensor(net, 0));
    assert_null(ek_net_tensor_by_name(net, "0.weight"));
    assert_null(ek_net_text(net));
    assert_null(ek_net_note(net, "key"));
    assert_string_equal(ek_error(), message);
    ek_net_free(net);
}

static void test_shape_errors(void **state)
{
    (void)state;
    EXPECT_FAILURE(
        "input 6 4 4", ek_net_conv2d(net, 5, &(ek_net_conv2d_options){.kernel = 5}), EK_ERR_SHAPE,
        "layer 0 (conv2d): kernel 5 does not fit its input of 6x4x4; make the kernel smaller or add padding");
    EXPECT_FAILURE(
        "input 6 9 1\nsigmoid", ek_net_conv2d(net, 5, &(ek_net_conv2d_options){.kernel = 6, .padding = 2}),
        EK_ERR_SHAPE,
        "layer 1 (conv2d): kernel 6 does not fit its input of 6x9x1 padded by 2; make the kernel smaller or "
        "add padding");
    EXPECT_FAILURE(
        "input 6 4 3", ek_net_avgpool2d(net, 4, 0), EK_ERR_SHAPE,
        "layer 0 (avgpool): kernel 4 does not fit its input of 6x4x3; make the kernel smaller, or leave the "
        "layer out");
    EXPECT_FAILURE(
        "input 6 4 3", ek_net_maxpool2d(net, 6, 0, 1), EK_ERR_SHAPE,
        "layer 0 (maxpool): kernel 6 does not fit its input of 6x4x3 padded by 1; make the kernel smaller, "
        "or leave the layer out");
    EXPECT_FAILURE("input 6 4 4", ek_net_maxpool2d(net, 3, 2, 2), EK_ERR_ARGUMENT,
                   "layer 0 (maxpool): padding 2 is more than half of kernel 3: windows would miss the image");
    EXPECT_FAILURE("input 6 4 4\nflatten", ek_net_globalavgpool(net), EK_ERR_SHAPE,
                   "layer 1 (globalavgpool): needs images, but its input is 96 features; put it before flatten");
    EXPECT_FAILURE("input 6 4 4\nflatten", ek_net_conv2d(net, 5, NULL), EK_ERR_SHAPE,
                   "layer 1 (conv2d): needs images, but its input is 96 features; put it before flatten");
    EXPECT_FAILURE("input 6 4 4\nflatten", ek_net_avgpool2d(net, 1, 1), EK_ERR_SHAPE,
                   "layer 1 (avgpool): needs images, but its input is 96 features; put it before flatten");
    EXPECT_FAILURE("input 6 4 4", ek_net_linear(net, 5, NULL), EK_ERR_SHAPE,
                   "layer 0 (linear): needs features, but its input is images of 6x4x4; put a flatten before it");
    EXPECT_FAILURE("input 1 65536 2", ek_net_conv2d(net, 1, &(ek_net_conv2d_options){.padding = 1}), EK_ERR_SHAPE,
                   "layer 0 (conv2d): its output of 1x65538x4 is too large; rows and columns are at most 65536");
    EXPECT_FAILURE(
        "input 1 1024 1024", ek_net_conv2d(net, 129, NULL), EK_ERR_SHAPE,
        "layer 0 (conv2d): its output of 129x1024x1024 is too large; a sample has at most 134217728 values");
    EXPECT_FAILURE(
        "input 65536 1 1", ek_net_conv2d(net, 65536, &(ek_net_conv2d_options){.kernel = 65536, .padding = 65536}),
        EK_ERR_SHAPE, "layer 0 (conv2d): its weight would have more than 1073741824 values; make the layer smaller");
    EXPECT_FAILURE("input 16385 1 1\nflatten", ek_net_linear(net, 65536, NULL), EK_ERR_SHAPE,
                   "layer 1 (linear): its weight would have more than 1073741824 values; make the layer smaller");
    ek_net *net = ek_net_parse("input 16384 1 1\nflatten\nlinear 65536", NULL); /* just fits */
    assert_non_null(net);
    ek_net_free(net);
}

#define EXPECT_OPTION(call, message) EXPECT_FAILURE("input 2 9 9", call, EK_ERR_ARGUMENT, message)

static void test_option_errors(void **state)
{
    (void)state;
    EXPECT_OPTION(ek_net_conv2d(net, 0, NULL), "layer 0 (conv2d): out_channels is 0; it must be 1 to 65536");
    EXPECT_OPTION(ek_net_conv2d(net, -3, NULL), "layer 0 (conv2d): out_channels is -3; it must be 1 to 65536");
    EXPECT_OPTION(ek_net_conv2d(net, 65537, NULL), "layer 0 (conv2d): out_channels is 65537; it must be 1 to 65536");
    EXPECT_OPTION(ek_net_conv2d(net, 1, &(ek_net_conv2d_options){.kernel = -1}),
                  "layer 0 (conv2d): kernel is -1; it must be 1 to 65536");
    EXPECT_OPTION(ek_net_conv2d(net, 1, &(ek_net_conv2d_options){.padding = -1}),
                  "layer 0 (conv2d): padding is -1; it must be 0 to 65536");
    EXPECT_OPTION(ek_net_conv2d(net, 1, &(ek_net_conv2d_options){.padding = INT32_MAX}),
                  "layer 0 (conv2d): padding is 2147483647; it must be 0 to 65536");
    EXPECT_OPTION(ek_net_conv2d(net, 1, &(ek_net_conv2d_options){.stride = INT32_MIN}),
                  "layer 0 (conv2d): stride is -2147483648; it must be 1 to 65536");
    EXPECT_OPTION(ek_net_linear(net, 0, NULL), "layer 0 (linear): out_features is 0; it must be 1 to 65536");
    EXPECT_OPTION(ek_net_avgpool2d(net, 0, 0), "layer 0 (avgpool): kernel is 0; it must be 1 to 65536");
    EXPECT_OPTION(ek_net_maxpool2d(net, 2, -1, 0), "layer 0 (maxpool): stride is -1; it must be 1 to 65536");
    EXPECT_OPTION(ek_net_maxpool2d(net, 2, 0, -1), "layer 0 (maxpool): padding is -1; it must be 0 to 65536");
    EXPECT_OPTION(ek_net_avgpool2d(net, 2, -1), "layer 0 (avgpool): stride is -1; it must be 1 to 65536");
    EXPECT_OPTION(ek_net_batchnorm(net, &(ek_net_batchnorm_options){.eps = -0.5f}),
                  "layer 0 (batchnorm): eps is -0.5; it must be 0 or more");
    EXPECT_OPTION(ek_net_batchnorm(net, &(ek_net_batchnorm_options){.eps = INFINITY}),
                  "layer 0 (batchnorm): eps is inf; it must be 0 or more");
    EXPECT_OPTION(ek_net_batchnorm(net, &(ek_net_batchnorm_options){.eps = NAN}),
                  "layer 0 (batchnorm): eps is nan; it must be 0 or more");
    EXPECT_OPTION(ek_net_batchnorm(net, &(ek_net_batchnorm_options){.momentum = 1.5f}),
                  "layer 0 (batchnorm): momentum is 1.5; it must be above 0 and at most 1, or cumulative");
    EXPECT_OPTION(ek_net_batchnorm(net, &(ek_net_batchnorm_options){.momentum = -0.1f}),
                  "layer 0 (batchnorm): momentum is -0.100000001; it must be above 0 and at most 1, or cumulative");
    EXPECT_OPTION(ek_net_batchnorm(net, &(ek_net_batchnorm_options){.momentum = NAN}),
                  "layer 0 (batchnorm): momentum is nan; it must be above 0 and at most 1, or cumulative");
    EXPECT_OPTION(ek_net_batchnorm(net, &(ek_net_batchnorm_options){.moving_variance = (ek_moving_variance)2}),
                  "layer 0 (batchnorm): moving_variance is 2; it must be unbiased or population");
    EXPECT_OPTION(ek_net_batchnorm(net, &(ek_net_batchnorm_options){.no_tracking = true, .use_moving = true}),
                  "layer 0 (batchnorm): use_moving needs moving statistics, and tracking is switched off");
    EXPECT_OPTION(ek_net_leaky_relu(net, -0.5f),
                  "layer 0 (leaky_relu): negative_slope is -0.5; it must be 0 or more");
    EXPECT_OPTION(ek_net_leaky_relu(net, NAN), "layer 0 (leaky_relu): negative_slope is nan; it must be 0 or more");
    EXPECT_OPTION(ek_net_dropout(net, 1.25f), "layer 0 (dropout): p is 1.25; it must be 0 to 1");
    EXPECT_OPTION(ek_net_dropout(net, -0.25f), "layer 0 (dropout): p is -0.25; it must be 0 to 1");
    EXPECT_OPTION(ek_net_dropout(net, NAN), "layer 0 (dropout): p is nan; it must be 0 to 1");
    EXPECT_OPTION(ek_net_gelu(net, (ek_gelu)2), "ek_net_gelu: 2 is no way to compute it");
    EXPECT_OPTION(ek_net_layernorm(net, &(ek_net_layernorm_options){.eps = -2}),
                  "layer 0 (layernorm): eps is -2; it must be 0 or more");
}

static void expect_bad_input(int c, int h, int w, const char *message)
{
    ek_net *net = ek_net_new(c, h, w);
    assert_non_null(net);
    expect_marked(net, EK_ERR_ARGUMENT, message);
}

static void test_state_errors(void **state)
{
    (void)state;
    expect_bad_input(0, 28, 28, "input 0 28 28: every extent must be 1 to 65536");
    expect_bad_input(1, -1, 28, "input 1 -1 28: every extent must be 1 to 65536");
    expect_bad_input(1, 28, 65537, "input 1 28 65537: every extent must be 1 to 65536");
    expect_bad_input(3, 65536, 65536, "input 3 65536 65536: more than 134217728 values in a sample");
    EXPECT_FAILURE("input 1 2 2\nsigmoid", (ek_net_tensor_count(net), ek_net_sigmoid(net)), EK_ERR_STATE,
                   "layer 1 (sigmoid): the net is in use; layers must be added before its tensors are looked at");

    ek_layer_info info;
    ek_net *net = ek_net_new(1, 1, 1);
    assert_int_equal(ek_net_finish(net), EK_ERR_STATE);
    assert_string_equal(ek_error(), "the net has no layers; add some before using it");
    assert_int_equal(ek_net_tensor_count(net), 0);
    assert_int_equal(ek_net_sigmoid(net), EK_OK); /* that was no mark */
    assert_int_equal(ek_net_layer(net, 1, &info), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_layer(net, -1, &info), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_layer(net, 0, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_layer(net, 0, &info), EK_OK);
    ek_net_free(net);

    assert_int_equal(ek_net_sigmoid(NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_conv2d(NULL, 1, NULL), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_init(NULL, EK_INIT_XAVIER, 0), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_layer(NULL, 0, &info), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_set_note(NULL, "k", "v"), EK_ERR_ARGUMENT);
    assert_int_equal(ek_net_layer_count(NULL), 0);
    assert_int_equal(ek_net_tensor_count(NULL), 0);
    assert_null(ek_net_tensor(NULL, 0));
    assert_null(ek_net_tensor_by_name(NULL, "0.weight"));
    assert_null(ek_net_text(NULL));
    assert_null(ek_net_note(NULL, "k"));
    ek_net_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape_errors),
        cmocka_unit_test(test_option_errors),
        cmocka_unit_test(test_state_errors),
    };
    return cmocka_run_group_tests_name("net errors", tests, NULL, NULL);
}
