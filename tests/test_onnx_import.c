/* SPDX-License-Identifier: MIT
 * ONNX files become nets: those that PyTorch wrote with its answers (tests/golden), and graphs by hand with their
 * texts. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "golden.h"
#include "onnx_graph.h"

/* ---- What PyTorch wrote --------------------------------------------------------------------------------------- */

static const char *const models[] = {"bn-lenet", "residual",    "branches", "activations",
                                     "norms",    "plain-norms", "windows",  "sums"};

static void pytorch_s_answers(void **state)
{
    (void)state;
    ek_safetensors *file = golden_open("onnx.safetensors");
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        char path[1024];
        ek_net *net = NULL;
        const ek_safetensors_tensor *x = golden_tensor(file, models[m], "x"),
                                    *y = golden_tensor(file, models[m], "y");
        double *values = golden_doubles(x), *wanted = golden_doubles(y);
        float *input = calloc((size_t)x->count, sizeof *input), *output = calloc((size_t)y->count, sizeof *output);
        assert_true(input && output);
        for (int64_t i = 0; i < x->count; i++)
            input[i] = (float)values[i];
        snprintf(path, sizeof path, "%sonnx/%s.onnx", GOLDEN_DIR, models[m]);
        GOLDEN_OK(ek_import_onnx(&net, path, NULL));
        GOLDEN_OK(ek_predict(net, x->dim[0], input, 1, output));
        double largest = 1;
        for (int64_t i = 0; i < y->count; i++)
            largest = fmax(largest, fabs(wanted[i]));
        for (int64_t i = 0; i < y->count; i++)
            if (!(fabs((double)output[i] - wanted[i]) <= 1e-5 * largest))
                fail_msg("%s: output %jd is %.8g, not %.8g", models[m], (intmax_t)i, (double)output[i], wanted[i]);
        free(values);
        free(wanted);
        free(input);
        free(output);
        ek_net_free(net);
    }
    ek_safetensors_free(file);
}

static void expect_file(const char *name, const char *text, const char *report)
{
    char path[1024], *said = NULL;
    ek_net *net = NULL;
    snprintf(path, sizeof path, "%sonnx/%s.onnx", GOLDEN_DIR, name);
    GOLDEN_OK(ek_import_onnx(&net, path, &(ek_import_onnx_options){.report = &said}));
    char *written = ek_net_text(net);
    assert_string_equal(written, text);
    assert_string_equal(said, report);
    free(written);
    free(said);
    ek_net_free(net);
}

static void pytorch_s_nets(void **state)
{
    (void)state;
    expect_file(
        "residual",
        "input 3 12 10\nconv2d 4 kernel=3 padding=1 bias=no\nbatchnorm\nrelu\n"
        "residual {\n    conv2d 4 kernel=3 padding=1 bias=no\n    batchnorm\n    relu\n"
        "    conv2d 4 kernel=3 padding=1 bias=no\n    batchnorm\n}\nrelu\n"
        "residual shortcut=pad stride=2 {\n    conv2d 6 kernel=3 padding=1 stride=2 bias=no\n    batchnorm\n"
        "    relu\n    conv2d 6 kernel=3 padding=1 bias=no\n    batchnorm\n}\nrelu\n"
        "residual {\n    conv2d 8 kernel=3 padding=1 stride=2 bias=no\n    batchnorm\n    relu\n"
        "    conv2d 8 kernel=3 padding=1 bias=no\n    batchnorm\n} shortcut {\n    conv2d 8 stride=2 bias=no\n"
        "    batchnorm\n}\nrelu\n"
        "residual {\n    conv2d 8 kernel=3 padding=1 bias=no\n    batchnorm\n    relu\n"
        "    conv2d 8 kernel=3 padding=1 bias=no\n    batchnorm\n}\nrelu\n"
        "globalavgpool\nflatten\nlinear 10\n",
        "");
    expect_file(
        "branches",
        "input 2 6 7\nconcat {\n    branch {\n        conv2d 3 kernel=3 padding=1\n    }\n"
        "    branch {\n        maxpool 3 stride=1 padding=1\n        conv2d 2\n    }\n    branch {\n    }\n}\n"
        "conv2d 5\nresidual {\n    conv2d 5\n    concat {\n        branch {\n            conv2d 2\n        }\n"
        "        branch {\n            conv2d 3 kernel=3 padding=1\n        }\n    }\n}\nrelu\n"
        "globalavgpool\nflatten\nlinear 4\n",
        "");
    expect_file(
        "activations",
        "input 2 6 6\nconv2d 4 kernel=3\ngelu\nconv2d 4\ngelu approximate=tanh\nconv2d 4\n"
        "leaky_relu negative_slope=0.1\nconv2d 4\ntanh\nrelu\nleaky_relu negative_slope=0.2\nflatten\nlinear 6\n"
        "leaky_relu negative_slope=0.3\ngelu\nlinear 3\n",
        "left out: the Softmax at the end: a net gives logits\n");
    expect_file(
        "plain-norms",
        "input 1 5 5\nconv2d 2 kernel=3\nlayernorm eps=1e-6 affine=no\nflatten\nlayernorm affine=no\nlinear 3\n", "");
    expect_file("norms",
                "input 3 9 9\nconv2d 4 kernel=3 stride=2\nlayernorm\nbatchnorm eps=0.001 momentum=0.3\nbatchnorm\n"
                "flatten\nlayernorm\nlinear 5 bias=no\nbatchnorm\nlayernorm\nlinear 3\n",
                "changed: the arithmetic on the input is the net's normalisation\n");
    expect_file("sums",
                "input 2 4 4\nresidual {\n    residual {\n        conv2d 2\n    } shortcut {\n"
                "        conv2d 2 kernel=3 padding=1\n    }\n}\nresidual {\n    residual {\n        sigmoid\n    }\n"
                "    conv2d 2\n}\nflatten\nlinear 3\n",
                "");
}

/* ---- By hand -------------------------------------------------------------------------------------------------- */

/* The text of the net that the graph becomes. */
static void expect_net(graph *g, const char *text)
{
    ek_net *net = NULL;
    GOLDEN_OK(graph_import(g, &net, NULL));
    char *written = ek_net_text(net);
    assert_string_equal(written, text);
    free(written);
    ek_net_free(net);
}

static graph *image_graph(void)
{
    return GRAPH(0, 2, 6, 6);
}

/* A 3x3 convolution with 3 outputs, from `from` to `to`. */
static EkOnnx__NodeProto *add_conv(graph *g, const char *from, const char *to)
{
    char inputs[100];
    snprintf(inputs, sizeof inputs, "%s,%s.w", from, to);
    GRAPH_FLOATS(g, strchr(inputs, ',') + 1, SOME, 3, 2, 3, 3);
    return graph_node(g, "Conv", inputs, to);
}

static void paddings(void **state)
{
    (void)state;
    graph *g = image_graph();
    graph_text(g, add_conv(g, "x", "y"), "auto_pad", "SAME_UPPER");
    expect_net(g, "input 2 6 6\nconv2d 3 kernel=3 padding=1 bias=no\n");

    g = image_graph(); /* the last row and column are read by no window */
    EkOnnx__NodeProto *conv = add_conv(g, "x", "y");
    GRAPH_INTS(g, conv, "pads", 0, 0, 1, 1);
    GRAPH_INTS(g, conv, "strides", 3, 3);
    expect_net(g, "input 2 6 6\nconv2d 3 kernel=3 stride=3 bias=no\n");

    g = image_graph(); /* newer Pad: two axes */
    g->opset.version = 18;
    GRAPH_INT64(g, "pads", 2, 1, 2, 1);
    GRAPH_INT64(g, "axes", 2, -1);
    graph_node(g, "Pad", "x,pads,,axes", "p");
    add_conv(g, "p", "y");
    expect_net(g, "input 2 6 6\nconv2d 3 kernel=3 padding=2x1 bias=no\n");

    g = image_graph();
    EkOnnx__NodeProto *pool = graph_node(g, "AveragePool", "x", "y");
    GRAPH_INTS(g, pool, "kernel_shape", 3, 2);
    GRAPH_INTS(g, pool, "strides", 2, 2);
    GRAPH_INTS(g, pool, "pads", 1, 0, 1, 0);
    graph_int(g, pool, "ceil_mode", 0);
    expect_net(g, "input 2 6 6\navgpool 3x2 stride=2 padding=1x0 count_include_pad=no\n");
}

/* As the newer exporter of PyTorch writes: axes and shapes are inputs, allowzero. */
static void newer_forms(void **state)
{
    (void)state;
    graph *g = GRAPH(0, 2, 6, 6);
    g->opset.version = 20;
    GRAPH_INT64(g, "axes", -1, -2);
    GRAPH_INT64(g, "shape", -1, 2);
    graph_int(g, graph_node(g, "ReduceMean", "x,axes", "m"), "keepdims", 1);
    graph_int(g, graph_node(g, "Reshape", "m,shape", "f"), "allowzero", 1);
    graph_text(g, graph_node(g, "Gelu", "f", "g"), "approximate", "tanh");
    GRAPH_FLOATS(g, "w", SOME, 4, 2);
    GRAPH_FLOATS(g, "b", SOME, 4);
    graph_int(g, graph_node(g, "Gemm", "g,w,b", "y"), "transB", 1);
    expect_net(g, "input 2 6 6\nglobalavgpool\nflatten\ngelu approximate=tanh\nlinear 4\n");
}

/* As tf2onnx writes: channels last at the input, MatMul and Add. */
static void channels_last(void **state)
{
    (void)state;
    graph *g = GRAPH(0, 6, 7, 2);
    GRAPH_INTS(g, graph_node(g, "Transpose", "x", "t"), "perm", 0, 3, 1, 2);
    add_conv(g, "t", "c");
    GRAPH_FLOATS(g, "b", SOME, 1, 3, 1, 1);
    graph_node(g, "Add", "c,b", "d");
    graph_node(g, "GlobalAveragePool", "d", "p");
    GRAPH_INT64(g, "axes", 2, 3);
    graph_node(g, "Squeeze", "p,axes", "f");
    GRAPH_FLOATS(g, "m", SOME, 3, 4);
    GRAPH_FLOATS(g, "n", SOME, 4);
    graph_node(g, "MatMul", "f,m", "l");
    graph_node(g, "Add", "n,l", "s");
    graph_node(g, "Softmax", "s", "y");
    char *report = NULL;
    ek_net *net = NULL;
    GOLDEN_OK(graph_import(g, &net, &(ek_import_onnx_options){.report = &report}));
    char *text = ek_net_text(net);
    assert_string_equal(text, "input 2 6 7\nconv2d 3 kernel=3\nglobalavgpool\nflatten\nlinear 4\n");
    assert_string_equal(report, "changed: the net's input is 2x6x7, where the graph's is 6x7x2\n"
                                "left out: the Softmax at the end: a net gives logits\n");
    const ek_tensor *weight = ek_net_tensor_by_name(net, "3.weight"), *bias = ek_net_tensor_by_name(net, "3.bias");
    for (int o = 0; o < 4; o++) {
        assert_true(bias->data[o] == (float)o / 8 - 1);
        for (int i = 0; i < 3; i++)
            assert_true(weight->data[3 * o + i] == (float)(4 * i + o) / 8 - 1);
    }
    free(text);
    free(report);
    ek_net_free(net);
}

/* Flat inputs, and arithmetic that is no layer's. */
static void features(void **state)
{
    (void)state;
    graph *g = GRAPH(3, 4);
    GRAPH_FLOATS(g, "k", 2, 4);
    GRAPH_FLOATS(g, "w", SOME, 2, 4);
    graph_int(g, graph_node(g, "Gemm", "x,w", "a"), "transB", 1);
    GRAPH_FLOATS(g, "h", SOME, 2);
    graph_node(g, "Mul", "a,h", "b");
    graph_node(g, "Sub", "h,b", "c");
    graph_node(g, "Relu", "c", "y");
    ek_net *net = NULL;
    GOLDEN_OK(graph_import(g, &net, NULL));
    char *text = ek_net_text(net);
    assert_string_equal(text, "input 4 1 1\nflatten\nlinear 2 bias=no\nbatchnorm eps=0\nrelu\n");
    const ek_tensor *gamma = ek_net_tensor_by_name(net, "2.weight"), *beta = ek_net_tensor_by_name(net, "2.bias");
    assert_true(gamma->data[0] == 1 && gamma->data[1] == 0.875f && beta->data[0] == -1 && beta->data[1] == -0.875f);
    free(text);
    ek_net_free(net);
}

/* alpha and beta of Gemm, a bias of one number. */
static void scaled(void **state)
{
    (void)state;
    graph *g = GRAPH(1, 3);
    GRAPH_FLOATS(g, "w", SOME, 3, 2);
    GRAPH_FLOATS(g, "b", 3, 1);
    EkOnnx__NodeProto *gemm = graph_node(g, "Gemm", "x,w,b", "y");
    graph_float(g, gemm, "alpha", 2);
    graph_float(g, gemm, "beta", 0.5f);
    ek_net *net = NULL;
    GOLDEN_OK(graph_import(g, &net, NULL));
    const ek_tensor *weight = ek_net_tensor_by_name(net, "1.weight"), *bias = ek_net_tensor_by_name(net, "1.bias");
    assert_true(weight->data[1] == 2 * (2 / 8.0f - 1) && weight->data[3] == 2 * (1 / 8.0f - 1) &&
                bias->data[1] == 1.5f);
    ek_net_free(net);
}

/* (x - mean)/std of pixels, and of bytes. */
static void normalisation(void **state)
{
    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        graph *g = image_graph();
        GRAPH_FLOATS(g, "mean", bytes ? 127.5f : 0.4f, 1, 2, 1, 1);
        GRAPH_FLOATS(g, "std", bytes ? 51 : 0.3f, 1);
        graph_node(g, "Sub", "x,mean", "a");
        graph_node(g, "Div", "a,std", "b");
        add_conv(g, "b", "y");
        ek_net *net = NULL;
        GOLDEN_OK(graph_import(g, &net, &(ek_import_onnx_options){.bytes = bytes}));
        float mean[2], std[2];
        bool has = false;
        GOLDEN_OK(ek_net_normalization(net, &has, mean, std));
        assert_true(has && mean[1] == (bytes ? 0.5f : 0.4f) && std[1] == (bytes ? 0.2f : 0.3f));
        assert_int_equal(ek_net_layer_count(net), 1);
        ek_net_free(net);
    }
}

/* ---- What a file says of its net ------------------------------------------------------------------------------ */

#define TEXT                                                                                                         \
    "input 2 6 6\nconv2d 3 kernel=3 bias=no\nbatchnorm momentum=0.3 scale=no hold_moving=yes\ndropout p=0.25\nrelu\n"

/* The graph of the text, with gamma as given, and the text. */
static graph *said_graph(const char *text, float gamma)
{
    graph *g = image_graph();
    add_conv(g, "x", "c");
    GRAPH_FLOATS(g, "gamma", gamma, 3);
    GRAPH_FLOATS(g, "beta", SOME, 3);
    GRAPH_FLOATS(g, "mean", SOME, 3);
    GRAPH_FLOATS(g, "var", 2, 3);
    graph_node(g, "BatchNormalization", "c,gamma,beta,mean,var", "n");
    graph_node(g, "Relu", "n", "y");
    graph_prop(g, "evenkeel.net", text);
    graph_prop(g, "evenkeel.note.data.name", "boats");
    graph_prop(g, "evenkeel.counter.1.num_batches_tracked", "468");
    return g;
}

static void what_a_file_says(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        float gamma;
        const char *report;
    } cases[] = {
        {TEXT, 1, ""},
        {TEXT, 2, "layer 1 has no gamma or no beta, and the graph has other ones"},
        {"input 2 6 7\nrelu\n", 1, "its input is not the graph's"},
        {"input 2 6 6\nconv2d 3 kernel=3 bias=no\nrelu\n", 1,
         "the text has layer 1 (relu) where the graph has layer 1 (batchnorm)"},
        {"input 2 6 6\nconv2d 3 kernel=3 bias=no\nbatchnorm\n", 1,
         "the text has no more layers where the graph has layer 2 (relu)"},
        {"input 2 6 6\nconv2d 3 kernel=3 bias=no\nbatchnorm eps=0.1\nrelu\n", 1,
         "the text has layer 1 (batchnorm) where the graph has layer 1 (batchnorm)"},
        {"input 2 6 6\nconv2d 3 kernel=3 bias=no\nbatchnorm tracking=no\nrelu\n", 1,
         "layer 1 tracks no statistics, and the graph has some"},
        {"what?", 1, "evenkeel.net:1:1: expected 'input CHANNELS HEIGHT WIDTH', found 'what?'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ek_net *net = NULL;
        char *report = NULL, wanted[400] = "";
        GOLDEN_OK(graph_import(said_graph(cases[i].text, cases[i].gamma), &net,
                               &(ek_import_onnx_options){.report = &report}));
        char *text = ek_net_text(net);
        const ek_tensor *counter = ek_net_tensor_by_name(net, "1.num_batches_tracked");
        if (*cases[i].report)
            snprintf(wanted, sizeof wanted,
                     "left out: what the file says of its net, for its graph says otherwise: %s\n", cases[i].report);
        assert_string_equal(report, wanted);
        assert_string_equal(text, i ? "input 2 6 6\nconv2d 3 kernel=3 bias=no\nbatchnorm\nrelu\n" : TEXT);
        assert_int_equal(*counter->counter, i ? 0 : 468);
        assert_true(i ? !ek_net_note(net, "data.name") : !strcmp(ek_net_note(net, "data.name"), "boats"));
        assert_true(ek_net_tensor_by_name(net, "1.running_var")->data[2] == 2);
        assert_true(!ek_net_tensor_by_name(net, "1.weight") == !i);
        free(text);
        free(report);
        ek_net_free(net);
    }
}

/* ---- Memory --------------------------------------------------------------------------------------------------- */

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%sonnx/norms.onnx", GOLDEN_DIR);
    for (int64_t n = 1;; n++) {
        ek_net *net = NULL;
        char *report = NULL;
        ek_memory_fail_at(n);
        const ek_status status = ek_import_onnx(&net, path, &(ek_import_onnx_options){.report = &report});
        ek_memory_fail_at(0);
        assert_true((status == EK_OK) == (net != NULL) && (status == EK_OK) == (report != NULL));
        ek_net_free(net);
        free(report);
        if (status == EK_OK) {
            assert_true(n > 100);
            return;
        }
        assert_int_equal(status, EK_ERR_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pytorch_s_answers),
        cmocka_unit_test(pytorch_s_nets),
        cmocka_unit_test(paddings),
        cmocka_unit_test(newer_forms),
        cmocka_unit_test(channels_last),
        cmocka_unit_test(features),
        cmocka_unit_test(scaled),
        cmocka_unit_test(normalisation),
        cmocka_unit_test(what_a_file_says),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("onnx_import", tests, NULL, NULL);
}

#else

int main(void)
{
    puts("SKIP: this build is without ONNX");
    return 0;
}

#endif
