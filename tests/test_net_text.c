/* SPDX-License-Identifier: MIT
 * The net language: text that comes back as the same net, messages with line and column, hostile text, numbers. */
#include "base/memory.h"
#include "net/kind.h"
#include "net/number.h"
#include "net_text.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>

/* ---- What is written and read back -------------------------------------------------------------------------- */

static void test_written_as_read(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "input 1 28 28\n",
        ("input 3 32 31\nconv2d 6 kernel=5 padding=2 stride=3 bias=no\nsigmoid\navgpool 2\navgpool 3 stride=2\n"
         "flatten\nlinear 120\nlinear 10 bias=no\n"),
        "input 65536 1 1\nbatchnorm eps=0 momentum=1 moving_variance=population affine=no tracking=no\n",
        "input 1 1 1\nbatchnorm momentum=cumulative use_moving=yes hold_moving=yes hold_affine=yes\n",
        "input 1 1 1\nbatchnorm scale=no\nbatchnorm center=no\nbatchnorm scale=no center=no hold_affine=yes\n",
        "input 1 1 1\nbatchnorm normalize=mean\nbatchnorm momentum=1 normalize=deviation scale=no\n",
        "input 2 3 4\nbatchnorm eps=0.001 momentum=0.01\nlayernorm\nlayernorm eps=1e-12 affine=no\n",
        ("input 4 30 31\nconv2d 6 kernel=3x5 padding=1x2 stride=2x1 dilation=1x2 groups=2 bias=no\n"
         "conv2d 6 kernel=3 dilation=2 groups=6\navgpool 3x2\navgpool 2x3 stride=2 padding=1x0 "
         "count_include_pad=no\nmaxpool 2 stride=1x2\n"),
        "input 2 9 8\nleaky_relu\nleaky_relu negative_slope=0.2\nleaky_relu negative_slope=0\ntanh\ngelu\n"
        "gelu approximate=tanh\ndropout\ndropout p=0\ndropout p=0.1\ndropout p=1\n",
        "input 2 9 8\nrelu\nmaxpool 3 stride=2 padding=1\nmaxpool 2\nglobalavgpool\nflatten\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_text(texts[i], texts[i]);
}

static void test_defaults_are_not_written(void **state)
{
    (void)state;
    expect_text(
        "input 9 9 9\nconv2d 6 kernel=1x1 padding=0 stride=1 dilation=1x1 groups=1 bias=yes\n"
        "avgpool 2x2 stride=2 padding=0 count_include_pad=yes\n"
        "leaky_relu negative_slope=1e-2\ngelu approximate=none\ndropout p=0.5\n"
        "batchnorm eps=1e-5 momentum=0.1 moving_variance=unbiased normalize=both affine=yes scale=yes center=yes "
        "tracking=yes use_moving=no hold_moving=no hold_affine=no\nlayernorm eps=0.00001 affine=yes\n"
        "flatten\nlinear 3 bias=yes",
        "input 9 9 9\nconv2d 6\navgpool 2\nleaky_relu\ngelu\ndropout\nbatchnorm\nlayernorm\nflatten\nlinear 3\n");
}

static void test_blanks_and_comments(void **state)
{
    (void)state;
    expect_text(
        "# a net\r\n\r\n \tinput\t1  4 4 # rows, columns\r\n\n   #\n  conv2d 006 bias=no kernel=2#x\r\n\tsigmoid",
        "input 1 4 4\nconv2d 6 kernel=2 bias=no\nsigmoid\n");
}

/* Every option of every kind, at both ends of what it may be, alone: the parsed layer is the builder's. */
static void test_every_option(void **state)
{
    (void)state;
    for (int k = 0; k < EK_LAYER_KINDS; k++) {
        const ek_kind *kind = &ek_kinds[k];
        for (int o = kind->sized; o < kind->option_count; o++) {
            const ek_option *option = &kind->options[o];
            const double values[] = {option->low, option->low + (option->type != EK_OPTION_FLOAT),
                                     option->minus ? -1 : option->low};
            for (int v = 0; v < 3; v++) {
                ek_net *net = ek_net_new(2, 4, 4), *twin;
                if (k == EK_LAYER_LINEAR)
                    assert_int_equal(ek_net_flatten(net), EK_OK);
                ek_layer layer = ek_layer_new((ek_layer_kind)k, 2);
                ek_option_set(option, &layer, ek_option_parts(option) - 1, values[v]);
                if (k == EK_LAYER_RESIDUAL) /* its options go together: test_blocks */
                    layer.o.residual.pad = layer.o.residual.pad || layer.o.residual.stride > 1;
                assert_int_equal(ek_net_add(net, &layer), EK_OK);
                if (k == EK_LAYER_RESIDUAL) {
                    assert_int_equal(ek_net_avgpool2d(net, layer.o.residual.stride, 0), EK_OK);
                    assert_int_equal(ek_net_block_end(net), EK_OK);
                }
                char *text = ek_net_text(net);
                twin = ek_net_parse(text, NULL);
                assert_non_null(twin);
                const ek_layer *read = &twin->layers[twin->tail];
                for (int i = 0; i < kind->option_count; i++)
                    for (int j = 0; j < ek_option_parts(&kind->options[i]); j++)
                        assert_true(ek_option_get(&kind->options[i], read, j) ==
                                    ek_option_get(&kind->options[i], &layer, j));
                free(text);
                ek_net_free(net);
                ek_net_free(twin);
            }
        }
    }
}

/* ---- Errors ------------------------------------------------------------------------------------------------- */

static void test_errors_in_input(void **state)
{
    (void)state;
    expect_error("", "net:1:1: expected 'input CHANNELS HEIGHT WIDTH', found nothing");
    expect_error("\n # only a comment\n", "net:3:1: expected 'input CHANNELS HEIGHT WIDTH', found nothing");
    expect_error("conv2d 6", "net:1:1: expected 'input CHANNELS HEIGHT WIDTH', found 'conv2d'");
    expect_error("\n  inputs 1 2 3", "net:2:3: expected 'input CHANNELS HEIGHT WIDTH', found 'inputs'");
    expect_error("input", "net:1:6: channels must be 1 to 65536, found nothing");
    expect_error("input 1 28\nsigmoid", "net:1:11: width must be 1 to 65536, found nothing");
    expect_error("input 1 0 28", "net:1:9: height must be 1 to 65536, found '0'");
    expect_error("input 1 65537 28", "net:1:9: height must be 1 to 65536, found '65537'");
    expect_error("input 1 -2 28", "net:1:9: height must be 1 to 65536, found '-2'");
    expect_error("input 1 2.5 28", "net:1:9: height must be 1 to 65536, found '2.5'");
    expect_error("input 1 2 3 4", "net:1:13: expected the end of the line after 'input C H W', found '4'");
    expect_error("input 65536 65536 1", "net:1:1: input 65536 65536 1: more than 134217728 values in a sample");
    assert_null(ek_net_parse(NULL, NULL));
    assert_string_equal(ek_error(), "ek_net_parse: text is NULL");
    assert_null(ek_net_parse("x", "nets/mine.net"));
    assert_string_equal(ek_error(), "nets/mine.net:1:1: expected 'input CHANNELS HEIGHT WIDTH', found 'x'");
}

static void test_errors_in_layers(void **state)
{
    (void)state;
    expect_error(
        "input 1 2 2\n\n  rely",
        "net:3:3: unknown layer 'rely'; the layers are conv2d, linear, batchnorm, layernorm, relu, "
        "leaky_relu, sigmoid, tanh, gelu, maxpool, avgpool, globalavgpool, flatten, dropout, residual, concat");
    expect_error(
        "input 1 2 2\ninput 1 2 2",
        "net:2:1: unknown layer 'input'; the layers are conv2d, linear, batchnorm, layernorm, relu, "
        "leaky_relu, sigmoid, tanh, gelu, maxpool, avgpool, globalavgpool, flatten, dropout, residual, concat");
    expect_error("input 1 2 2\nconv2d 6 =5",
                 "net:2:10: expected an option's name before '='; conv2d takes kernel, padding, stride, dilation, "
                 "groups, bias");
    expect_error("input 1 2 2\ntanh =5", "net:2:6: expected an option's name before '='; tanh takes no options");
    expect_error("input 1 2 2\nleaky_relu negative_slope=-0.1",
                 "net:2:27: negative_slope must be 0 or more, found '-0.1'");
    expect_error("input 1 2 2\nleaky_relu slope=1",
                 "net:2:12: unknown option 'slope'; leaky_relu takes negative_slope");
    expect_error("input 1 2 2\ndropout p=1.5", "net:2:11: p must be 0 to 1, found '1.5'");
    expect_error("input 1 2 2\ndropout 0.5", "net:2:9: unknown option '0.5'; dropout takes p");
    expect_error("input 1 2 2\ngelu approximate=yes", "net:2:18: approximate must be none or tanh, found 'yes'");
    expect_error("input 1 2 2\ngelu approximate", "net:2:6: expected a value, as in approximate=none");
    expect_error("input 1 2 2\nconv2d 6 kernal=3",
                 "net:2:10: unknown option 'kernal'; conv2d takes kernel, padding, stride, dilation, groups, bias");
    expect_error(
        "input 1 2 2\nconv2d 6 out_channels=3",
        "net:2:10: unknown option 'out_channels'; conv2d takes kernel, padding, stride, dilation, groups, bias");
    expect_error("input 1 2 2\nsigmoid 3", "net:2:9: unknown option '3'; sigmoid takes no options");
    expect_error("input 1 2 2\nflatten =", "net:2:9: expected an option's name before '='; flatten takes no options");
    expect_error("input 1 2 2\nconv2d", "net:2:7: out_channels must be 1 to 65536, found nothing");
    expect_error("input 1 2 2\nconv2d # 6", "net:2:8: out_channels must be 1 to 65536, found nothing");
    expect_error("input 1 2 2\nconv2d kernel=2", "net:2:8: out_channels must be 1 to 65536, found 'kernel=2'");
    expect_error("input 1 2 2\navgpool 0", "net:2:9: kernel must be 1 to 65536, found '0'");
    expect_error("input 1 2 2\nconv2d 6 kernel=0", "net:2:17: kernel must be 1 to 65536, found '0'");
    expect_error("input 1 2 2\nconv2d 6 kernel=", "net:2:17: kernel must be 1 to 65536, found nothing");
    expect_error("input 1 2 2\nconv2d 6 kernel=+1", "net:2:17: kernel must be 1 to 65536, found '+1'");
    expect_error("input 1 2 2\nconv2d 6 kernel=3x", "net:2:17: kernel must be 1 to 65536, found '3x'");
    expect_error("input 1 2 2\nconv2d 6 kernel=3x0", "net:2:17: kernel must be 1 to 65536, found '3x0'");
    expect_error("input 1 2 2\nconv2d 6 kernel=3x3x3", "net:2:17: kernel must be 1 to 65536, found '3x3x3'");
    expect_error("input 1 2 2\nconv2d 6 groups=1x1", "net:2:17: groups must be 1 to 65536, found '1x1'");
    expect_error("input 1 2 2\nconv2d 6 kernel = 3", "net:2:10: expected a value, as in kernel=1");
    expect_error("input 1 2 2\nconv2d 6 bias", "net:2:10: expected a value, as in bias=no");
    expect_error("input 1 2 2\nconv2d 6 bias=false", "net:2:15: bias must be yes or no, found 'false'");
    expect_error("input 1 2 2\nconv2d 6 bias=no bias=no", "net:2:18: bias is given twice");
    expect_error("input 1 2 2\nbatchnorm eps=nan", "net:2:15: eps must be 0 or more, found 'nan'");
    expect_error("input 1 2 2\nbatchnorm eps=-1", "net:2:15: eps must be 0 or more, found '-1'");
    expect_error("input 1 2 2\nbatchnorm eps=-0", "net:2:15: eps must be 0 or more, found '-0'");
    expect_error("input 1 2 2\nbatchnorm eps=1e39", "net:2:15: eps must be 0 or more, found '1e39'");
    expect_error("input 1 2 2\nbatchnorm eps=cumulative", "net:2:15: eps must be 0 or more, found 'cumulative'");
    expect_error("input 1 2 2\nbatchnorm momentum=0",
                 "net:2:20: momentum must be above 0 and at most 1, or cumulative, found '0'");
    expect_error("input 1 2 2\nbatchnorm momentum=-1",
                 "net:2:20: momentum must be above 0 and at most 1, or cumulative, found '-1'");
    expect_error("input 1 2 2\nbatchnorm moving_variance=biased",
                 "net:2:27: moving_variance must be unbiased or population, found 'biased'");
    expect_error(
        "input 1 2 2\nsigmoid\n\tlinear 3",
        "net:3:2: layer 1 (linear): needs features, but its input is images of 1x2x2; put a flatten before it");
}

static void test_hostile(void **state)
{
    (void)state;
    expect_repeated_error("input 1 1 1\n", "sigmoid\n", 1000000, "",
                          "net:100002:1: layer 100000 (sigmoid): one layer too many: a net has at most 100000");
    expect_repeated_error(
        "", "x", 1000000, "",
        "net:1:1: expected 'input CHANNELS HEIGHT WIDTH', found 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'");
    expect_repeated_error(
        "input 1 1 1\nconv2d ", "9", 1000000, "",
        "net:2:8: out_channels must be 1 to 65536, found '99999999999999999999999999999999999999...'");
    expect_repeated_error("input 1 1 1\nbatchnorm eps=0.", "0", 1000000, "",
                          "net:2:15: eps must be 0 or more, found '0.000000000000000000000000000000000000...'");
    expect_repeated_error("input 1 1 1\nbatchnorm eps=1e", "9", 20, "",
                          "net:2:15: eps must be 0 or more, found '1e99999999999999999999'");
    expect_repeated_error("input 1 1 1\nconv2d 1", " bias=no", 100000, "", "net:2:18: bias is given twice");
    expect_repeated_error(
        "input 1 9 9\n", "conv2d 1 padding=65536 kernel=1 stride=1\n", 9, "",
        "net:2:1: layer 0 (conv2d): its output of 1x131081x131081 is too large; rows and columns are at "
        "most 65536");
    expect_error(
        "input 1 1 1\n\x1b[2J\xffm\x7f",
        "net:2:1: unknown layer '?[2J?m?'; the layers are conv2d, linear, "
        "batchnorm, layernorm, relu, leaky_relu, sigmoid, tanh, gelu, maxpool, avgpool, globalavgpool, flatten, "
        "dropout, residual, concat");
    char *blanks = repeated("input 1 1 1\n", " ", 1000000, "conv2d 0");
    expect_error(blanks, "net:2:1000008: out_channels must be 1 to 65536, found '0'");
    free(blanks);
    /* A long name stays short enough that the fault is seen. */
    char *name = repeated("", "n", 100000, "");
    assert_null(ek_net_parse("y", name));
    assert_non_null(strstr(ek_error(), "nnn:1:1: expected 'input"));
    free(name);
}

static void test_no_memory(void **state)
{
    (void)state;
    ek_net *net;
    const char *text = "input 1 8 8\nconv2d 6\nbatchnorm\nflatten\nlinear 3\n";
    ek_memory_fail_at(0);
    assert_int_equal(ek_net_read(&net, text, NULL), EK_OK);
    ek_net_free(net);
    int64_t count = ek_memory_fail_at(0);
    assert_true(count >= 6);
    for (int64_t n = 1; n <= count; n++) {
        ek_memory_fail_at(n);
        assert_int_equal(ek_net_read(&net, text, NULL), EK_ERR_MEMORY);
        assert_null(net);
    }
    ek_memory_fail_at(0);
}

/* ---- Numbers ------------------------------------------------------------------------------------------------ */

static void expect_float(float value, const char *expected)
{
    char text[EK_FLOAT_TEXT];
    assert_string_equal(ek_float_text(value, text), expected);
    float read = NAN;
    assert_true(ek_float_read(text, strlen(text), &read));
    assert_memory_equal(&read, &value, sizeof value);
}

static void expect_floats(void)
{
    expect_float(0, "0");
    expect_float(-0.0f, "-0");
    expect_float(1, "1");
    expect_float(65536, "65536");
    expect_float(100000000, "100000000");
    expect_float(1e9f, "1e9");
    expect_float(16777217.0f, "16777216");
    expect_float(0.1f, "0.1");
    expect_float(-0.5f, "-0.5");
    expect_float(12.25f, "12.25");
    expect_float(0.0001f, "0.0001");
    expect_float(0.000123456f, "0.000123456");
    expect_float(1e-5f, "1e-5");
    expect_float(1.5e-7f, "1.5e-7");
    expect_float(0.30000001192092896f, "0.3");
    expect_float(0.100000009f, "0.10000001");
    expect_float(FLT_MAX, "3.4028235e38");
    expect_float(FLT_TRUE_MIN, "1e-45");
    expect_float(-FLT_MIN, "-1.1754944e-38");
}

static void test_floats(void **state)
{
    (void)state;
    expect_floats();
    static const char *const bad[] = {"",    ".",   "-",  "+",  "e5",  "1e",  "1e+",     "1e5x",  "1.2.3", "inf",
                                      "nan", "0x1", "1 ", " 1", "1,5", "--1", "1e12345", "1e38e", "4e38",  "1e9999"};
    float value;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ek_float_read(bad[i], strlen(bad[i]), &value));
    static const struct {
        const char *text;
        float value;
    } good[] = {{"1.", 1},      {".5", 0.5f},   {"+2.50", 2.5f}, {"1E2", 100},
                {"1e+02", 100}, {"000.1e1", 1}, {"1e-9999", 0}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(ek_float_read(good[i].text, strlen(good[i].text), &value));
        assert_true(value == good[i].value);
    }
    assert_true(ek_float_read("12345", 2, &value)); /* no byte past the length counts */
    assert_true(value == 12);
}

/* Every float comes back: all exponents with some hundred mantissas each. */
static void test_every_float(void **state)
{
    (void)state;
    char text[EK_FLOAT_TEXT];
    for (uint64_t bits = 0; bits < 0xff800000u; bits += 0x8003) {
        uint32_t word = (uint32_t)bits;
        float value, read = NAN;
        memcpy(&value, &word, sizeof value);
        if (!isfinite(value))
            continue;
        ek_float_text(value, text);
        if (!ek_float_read(text, strlen(text), &read) || memcmp(&read, &value, sizeof value))
            fail_msg("%a came back from %s as %a", (double)value, text, (double)read);
    }
}

static void test_other_locale(void **state)
{
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "fr_FR", "nl_NL.UTF-8"};
    for (size_t i = 0; i < sizeof commas / sizeof *commas; i++)
        if (setlocale(LC_ALL, commas[i])) {
            bool comma = !strcmp(localeconv()->decimal_point, ",");
            expect_floats();
            setlocale(LC_ALL, "C");
            assert_true(comma);
            return;
        }
    skip(); /* no locale with a decimal comma on this machine */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_as_read),
        cmocka_unit_test(test_defaults_are_not_written),
        cmocka_unit_test(test_blanks_and_comments),
        cmocka_unit_test(test_every_option),
        cmocka_unit_test(test_errors_in_input),
        cmocka_unit_test(test_errors_in_layers),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_floats),
        cmocka_unit_test(test_every_float),
        cmocka_unit_test(test_other_locale),
    };
    return cmocka_run_group_tests_name("net text", tests, NULL, NULL);
}
