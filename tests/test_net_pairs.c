/* SPDX-License-Identifier: MIT
 * Layers whose rows and columns differ, dilated and grouped convolutions: options, shapes, text, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "evenkeel.h"

static ek_net *last;

/* A net for one call, which ends with the next. */
static ek_net *image(void)
{
    ek_net_free(last);
    last = ek_net_new(6, 9, 9);
    assert_non_null(last);
    return last;
}

static void expect_failure(ek_status status, ek_status expected, const char *message)
{
    assert_int_equal(status, expected);
    assert_string_equal(ek_error(), message);
}

static void test_errors(void **state)
{
    (void)state;
    expect_failure(
        ek_net_conv2d(image(), 4, &(ek_net_conv2d_options){.groups = 4}), EK_ERR_SHAPE,
        "layer 0 (conv2d): groups must divide the 6 channels of its input and the 4 of its output; 4 do not");
    expect_failure(
        ek_net_conv2d(image(), 4, &(ek_net_conv2d_options){.kernel_h = 3, .kernel_w = 5, .dilation = 4}),
        EK_ERR_SHAPE,
        "layer 0 (conv2d): kernel 3x5 dilated by 4 does not fit its input of 6x9x9; make the kernel smaller or add "
        "padding");
    expect_failure(ek_net_conv2d(image(), 6, &(ek_net_conv2d_options){.kernel = 32768, .dilation = 65536}),
                   EK_ERR_SHAPE,
                   "layer 0 (conv2d): kernel 32768 dilated by 65536 does not fit its input of 6x9x9; make the kernel "
                   "smaller or add padding");
    expect_failure(ek_net_conv2d(image(), 6, &(ek_net_conv2d_options){.dilation_w = -1}), EK_ERR_ARGUMENT,
                   "layer 0 (conv2d): dilation is -1; it must be 1 to 65536");
    expect_failure(ek_net_pool2d(image(), (ek_pooling)0, NULL), EK_ERR_ARGUMENT,
                   "ek_net_pool2d: 0 is no way to pool");
    expect_failure(ek_net_pool2d(image(), EK_POOLING_AVG, &(ek_net_pool2d_options){.kernel = 2, .padding_w = 2}),
                   EK_ERR_ARGUMENT,
                   "layer 0 (avgpool): padding 0x2 is more than half of kernel 2: windows would miss the image");
    ek_net_free(last);
    last = NULL;
}

/* Calls and text give the same layers; options of rows and columns replace those of both. */
static void test_pairs(void **state)
{
    (void)state;
    ek_net *net = ek_net_new(4, 30, 31);
    ek_net_conv2d(net, 6,
                  &(ek_net_conv2d_options){.kernel = 3,
                                           .kernel_w = 5,
                                           .padding_h = 1,
                                           .padding_w = 2,
                                           .stride_h = 2,
                                           .dilation_w = 2,
                                           .groups = 2,
                                           .no_bias = true});
    ek_net_conv2d(net, 6, &(ek_net_conv2d_options){.kernel = 3, .dilation = 2, .groups = 6});
    ek_net_pool2d(net, EK_POOLING_AVG, &(ek_net_pool2d_options){.kernel_h = 3, .kernel_w = 2});
    ek_net_pool2d(net, EK_POOLING_MAX, &(ek_net_pool2d_options){.kernel = 2, .stride_w = 1, .padding = 1});
    ek_net_pool2d(net, EK_POOLING_AVG,
                  &(ek_net_pool2d_options){.kernel = 2, .stride = 1, .padding_h = 1, .exclude_padding = true});
    char *text = ek_net_text(net);
    assert_non_null(text);
    assert_string_equal(text,
                        "input 4 30 31\nconv2d 6 kernel=3x5 padding=1x2 stride=2x1 dilation=1x2 groups=2 bias=no\n"
                        "conv2d 6 kernel=3 dilation=2 groups=6\navgpool 3x2\nmaxpool 2 stride=2x1 padding=1\n"
                        "avgpool 2 stride=1 padding=1x0 count_include_pad=no\n");
    free(text);
    static const struct {
        int c, h, w;
        int64_t parameters, macs;
    } rows[] = {
        {6, 15, 27, 6 * 2 * 15, 6 * 15 * 27 * 2 * 15},
        {6, 11, 23, 6 * 9 + 6, 6 * 11 * 23 * 9},
        {6, 3, 11, 0, 0},
        {6, 2, 12, 0, 0},
        {6, 3, 11, 0, 0},
    };
    for (int i = 0; i < 5; i++) {
        ek_layer_info info;
        assert_int_equal(ek_net_layer(net, i, &info), EK_OK);
        assert_int_equal(info.c, rows[i].c);
        assert_int_equal(info.h, rows[i].h);
        assert_int_equal(info.w, rows[i].w);
        assert_int_equal(info.parameters, rows[i].parameters);
        assert_int_equal(info.macs, rows[i].macs);
    }
    assert_int_equal(ek_net_tensor(net, 0)->dim[1], 2);
    assert_int_equal(ek_net_tensor(net, 0)->dim[2], 3);
    assert_int_equal(ek_net_tensor(net, 0)->dim[3], 5);
    ek_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests_name("net pairs", tests, NULL, NULL);
}
