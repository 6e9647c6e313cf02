/* SPDX-License-Identifier: MIT
 * ONNX graphs that no net is made of: each is refused in one line that names the file, the node and what is wrong. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#ifdef EK_HAVE_ONNX

#include "base/memory.h"
#include "onnx_graph.h"

#include <fcntl.h>
#include <sys/stat.h>

static graph *image_graph(void)
{
    return GRAPH(0, 2, 6, 6);
}

/* ---- Names ---------------------------------------------------------------------------------------------------- */

static void names(void **state)
{
    (void)state;
    graph *g = image_graph();
    graph_node(g, "Add", "x,b", "a");
    graph_node(g, "Relu", "a", "b");
    graph_node(g, "Relu", "b", "y");
    graph_refuse(
        g, EK_ERR_FORMAT,
        "node 'make a' (Add): it reads 'b', which node 'make b' (Relu) makes behind it: the graph has a cycle, "
        "or its "
        "nodes are out of order");
    g = image_graph();
    graph_node(g, "Add", "x,y", "y");
    graph_refuse(
        g, EK_ERR_FORMAT,
        "node 'make y' (Add): it reads 'y', which node 'make y' (Add) makes itself: the graph has a cycle, or "
        "its nodes "
        "are out of order");
    g = image_graph();
    graph_node(g, "Conv", "x,w", "y");
    graph_refuse(
        g, EK_ERR_FORMAT,
        "node 'make y' (Conv): it reads 'w', which is neither an input nor an initialiser, and which no node "
        "makes");
    g = image_graph();
    graph_node(g, "Relu", "x", "y");
    graph_node(g, "Relu", "x", "y");
    graph_refuse(g, EK_ERR_FORMAT, "the name 'y' stands for two values");
    g = image_graph();
    GRAPH_FLOATS(g, "y", SOME, 1);
    graph_node(g, "Relu", "x", "y");
    graph_refuse(g, EK_ERR_FORMAT, "the name 'y' stands for two values");
    g = image_graph();
    graph_node(g, "Relu", "x", "z");
    graph_refuse(g, EK_ERR_FORMAT, "nothing makes its output 'y'");
    g = image_graph();
    graph_node(g, "MaxPool", "x", "z,y");
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "node 'make z,y' (MaxPool): its further output 'y' is used; its first one alone "
                 "is read");
    g = image_graph();
    GRAPH_FLOATS(g, "c", SOME, 1);
    graph_node(g, "Relu", "c", "y");
    graph_refuse(g, EK_ERR_FORMAT, "its output needs no input");
    g = image_graph();
    graph_value(g, g->inputs, &g->graph.n_input, "z", 4, (const int64_t[]){0, 2, 6, 6});
    graph_node(g, "Add", "x,z", "y");
    graph_refuse(g, EK_ERR_UNSUPPORTED, "its output needs two inputs, 'x' and 'z'; a net has one");
    g = image_graph();
    g->graph.n_output = 0;
    graph_refuse(g, EK_ERR_FORMAT, "its graph has no output");
    g = image_graph();
    g->model.graph = NULL;
    graph_refuse(g, EK_ERR_FORMAT, "not an ONNX model: it has no graph");
    g = image_graph();
    g->opset.version = 6;
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "its operators are those of opset 6; 7 to 24 are read: export it with another opset_version");
}

/* ---- Nodes ---------------------------------------------------------------------------------------------------- */

static void operators(void **state)
{
    (void)state;
    graph *g = image_graph();
    graph_node(g, "LSTM", "x", "y")->name = NULL;
    ek_net *net = NULL;
    assert_int_equal(graph_import(g, &net, NULL), EK_ERR_UNSUPPORTED);
    assert_non_null(strstr(ek_error(), ": the node that makes 'y' (LSTM): this operator is not read; those that "
                                       "are: Conv, "));
    g = image_graph();
    graph_node(g, "If", "x", "y");
    assert_int_equal(graph_import(g, &net, NULL), EK_ERR_UNSUPPORTED);
    g = image_graph();
    EkOnnx__NodeProto *node = graph_node(g, "Relu", "x", "y");
    node->domain = graph_word(g, "com.acme", 8);
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "node 'make y' (Relu): its operator is of the domain 'com.acme'; those of ONNX alone are read");
    g = image_graph();
    GRAPH_FLOATS(g, "c", 1, 2);
    graph_int(g, graph_node(g, "BatchNormalization", "x,c,c,c,c", "y"), "training_mode", 1);
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "node 'make y' (BatchNormalization): it is in training mode; export the model for inference");
    g = image_graph();
    graph_text(g, graph_node(g, "Relu", "x", "r"), "x", "y");
    graph_node(g, "Softmax", "r", "s");
    graph_node(g, "Relu", "s", "y");
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "node 'make s' (Softmax): it stands inside of the graph; at its end it is left out");
    g = image_graph();
    graph_node(g, "Erf", "x", "y");
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "node 'make y' (Erf): alone it is no layer: sums and products with constants are");
}

/* Softmax along the batch, which keeps no order within a sample. */
static void softmax_of_the_batch(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        int64_t axis;
        const char *message; /* NULL: it is left out */
    } cases[] = {
        {"Softmax", 1, NULL},
        {"LogSoftmax", -1, NULL},
        {"Softmax", 0, "node 'make y' (Softmax): its axis is 0, the batch; along features, axis 1, it is left out"},
        {"LogSoftmax", -2,
         "node 'make y' (LogSoftmax): its axis is -2, the batch; along features, axis 1, it is left out"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        graph *g = GRAPH(0, 4);
        GRAPH_FLOATS(g, "w", SOME, 4, 3);
        graph_node(g, "MatMul", "x,w", "m");
        graph_int(g, graph_node(g, cases[i].type, "m", "y"), "axis", cases[i].axis);
        if (cases[i].message) {
            graph_refuse(g, EK_ERR_UNSUPPORTED, cases[i].message);
            continue;
        }
        ek_net *net = NULL;
        assert_int_equal(graph_import(g, &net, NULL), EK_OK);
        ek_net_free(net);
    }
}

/* A batch norm that divides by 0. */
static void no_variance(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        graph *g = image_graph();
        GRAPH_FLOATS(g, "c", 1, 2);
        const EkOnnx__TensorProto *variance = GRAPH_FLOATS(g, "v", 1, 2);
        memset(variance->raw_data.data + 4, 0, 4);
        graph_float(g, graph_node(g, "BatchNormalization", "x,c,c,c,v", "y"), "epsilon", i ? 1e-30f : 0);
        ek_net *net = NULL;
        if (i == 0)
            graph_refuse(
                g, EK_ERR_NUMERIC,
                "node 'make y' (BatchNormalization): channel 1 has no variance, and epsilon is 0: it divides by 0 "
                "there; give it an epsilon, of 1e-5 for example");
        else
            assert_int_equal(graph_import(g, &net, NULL), EK_OK);
        ek_net_free(net);
    }
}

/* Ways that part and do not meet as blocks: (a + b), (b + c) of a, b, c from one value. */
static void entangled(void **state)
{
    (void)state;
    graph *g = image_graph();
    graph_node(g, "Relu", "x", "a");
    graph_node(g, "Tanh", "x", "b");
    graph_node(g, "Add", "a,b", "s");
    graph_node(g, "Sigmoid", "s", "t");
    graph_node(g, "Add", "t,b", "y");
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "node 'make b' (Tanh): ways part here that do not meet again: the graph is no sequence of layers, "
                 "residuals and "
                 "branches");
}

/* ---- Shapes --------------------------------------------------------------------------------------------------- */

static void shapes(void **state)
{
    (void)state;
    graph *g = GRAPH(0, 2, -6, 6);
    graph_node(g, "Relu", "x", "y");
    graph_refuse(g, EK_ERR_SHAPE, "extent 2 of its input is -6");
    g = GRAPH(0, 2, INT64_MAX, 6);
    graph_node(g, "Relu", "x", "y");
    graph_refuse(g, EK_ERR_SHAPE, "extent 2 of its input is 9223372036854775807");
    g = GRAPH(0, 60000, 60000, 60000);
    graph_node(g, "Relu", "x", "y");
    graph_refuse(g, EK_ERR_SHAPE, "its input of 60000x60000x60000 is too large");
    g = GRAPH(0, 2, 0, 6);
    graph_node(g, "Relu", "x", "y");
    graph_refuse(g, EK_ERR_SHAPE,
                 "it leaves extent 2 of its input open, after the batch; say which shape the net's input has");
    g = GRAPH(0, 2, 6);
    graph_node(g, "Relu", "x", "y");
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "its input 'x' has 3 dimensions; nets take images [N,C,H,W] or features [N,F]");
    g = image_graph();
    GRAPH_FLOATS(g, "w", SOME, 3, 1, 3, 3);
    graph_node(g, "Conv", "x,w", "y");
    graph_refuse(g, EK_ERR_SHAPE,
                 "node 'make y' (Conv): its weight takes 1 channels a group, and its input has 2 in 1");
    g = image_graph();
    GRAPH_FLOATS(g, "w", SOME, 3, 2, 3, 3);
    GRAPH_INTS(g, graph_node(g, "Conv", "x,w", "y"), "pads", 1, 1, 1, 0);
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "node 'make y' (Conv): its padding is 1 before and 0 behind; equal ones are read");
    g = image_graph();
    GRAPH_INTS(g, graph_node(g, "MaxPool", "x", "y"), "kernel_shape", 7, 7);
    graph_refuse(
        g, EK_ERR_SHAPE,
        "node 'make y' (MaxPool): kernel 7 does not fit its input of 2x6x6; make the kernel smaller, or leave "
        "the layer "
        "out");
    g = image_graph();
    GRAPH_INT64(g, "s", 1, -1);
    graph_node(g, "Reshape", "x,s", "y");
    graph_refuse(
        g, EK_ERR_UNSUPPORTED,
        "node 'make y' (Reshape): it moves values from one sample to another, or gives the batch a size; [N, "
        "-1] and the "
        "like are read");
    g = image_graph();
    GRAPH_INT64(g, "s", 0, 71);
    graph_node(g, "Reshape", "x,s", "y");
    graph_refuse(g, EK_ERR_SHAPE, "node 'make y' (Reshape): it makes samples of 71 values out of samples of 72");
    g = image_graph();
    GRAPH_FLOATS(g, "w", SOME, 6);
    graph_node(g, "Mul", "x,w", "y"); /* along columns */
    graph_refuse(
        g, EK_ERR_UNSUPPORTED,
        "node 'make y' (Mul): its constant is [6], and its input 2x6x6: one number, or one a channel, is read");
    g = image_graph();
    GRAPH_INT64(g, "p", 0, 0, 0, 0, 0, 0, 1, 1);
    graph_node(g, "Pad", "x,p", "y");
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 "node 'make y' (Pad): zeros are read around the images of convolutions and averages, and behind a "
                 "shortcut's "
                 "channels; not here");
}

/* ---- Tensors -------------------------------------------------------------------------------------------------- */

/* A convolution whose weight is the tensor that comes back. */
static EkOnnx__TensorProto *weight_of(graph **g)
{
    *g = image_graph();
    EkOnnx__TensorProto *weight = GRAPH_FLOATS(*g, "w", SOME, 3, 2, 3, 3);
    graph_node(*g, "Conv", "x,w", "y");
    return weight;
}

#define TENSOR "node 'make y' (Conv): tensor 'w': "

static void tensors(void **state)
{
    (void)state;
    graph *g;
    weight_of(&g)->dims[0] = -3;
    graph_refuse(g, EK_ERR_FORMAT, TENSOR "extent 0 of its shape is -3");
    weight_of(&g)->dims[0] = INT64_C(1) << 60;
    graph_refuse(g, EK_ERR_FORMAT, TENSOR "its shape overflows 64 bits");
    weight_of(&g)->dims[0] = 1 << 30;
    graph_refuse(g, EK_ERR_FORMAT,
                 TENSOR "it has the shape [1073741824,2,3,3], and 216 bytes where it takes another number");
    weight_of(&g)->raw_data.len--;
    graph_refuse(g, EK_ERR_FORMAT, TENSOR "it has the shape [3,2,3,3], and 215 bytes where it takes another number");
    weight_of(&g)->has_raw_data = false;
    graph_refuse(g, EK_ERR_FORMAT, TENSOR "it has the shape [3,2,3,3], and 0 values");
    weight_of(&g)->data_type = EK_ONNX__TENSOR_PROTO__DATA_TYPE__STRING;
    graph_refuse(g, EK_ERR_UNSUPPORTED,
                 TENSOR "its elements are of type 8; float, double, float16, bfloat16 and signed integers are read");
    weight_of(&g)->data_type = EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT32;
    graph_refuse(g, EK_ERR_UNSUPPORTED, "node 'make y' (Conv): its weight holds no floating-point numbers");
    const float broken = 0.0f / 0.0f;
    memcpy(weight_of(&g)->raw_data.data + 8, &broken, sizeof broken);
    ek_net *net = NULL;
    assert_int_equal(graph_import(g, &net, NULL), EK_ERR_NUMERIC);
    assert_non_null(strstr(ek_error(), "node 'make y' (Conv): element 2 of 0.weight is not finite ("));
}

/* One constant that many nodes read makes no net that is much larger than its file. */
static void shared_constants(void **state)
{
    (void)state;
    graph *g = GRAPH(0, 65536, 1, 1);
    char from[20] = "x", to[20];
    GRAPH_FLOATS(g, "two", 2, 1);
    for (int i = 0; i < 60; i++) {
        snprintf(to, sizeof to, i == 59 ? "y" : "v%d", i);
        char inputs[50];
        snprintf(inputs, sizeof inputs, "%s,two", from);
        graph_node(g, i % 2 ? "Relu" : "Mul", i % 2 ? from : inputs, to);
        memcpy(from, to, sizeof from);
    }
    ek_net *net = NULL;
    assert_int_equal(graph_import(g, &net, NULL), EK_OK); /* 29 norms of 65536 channels: 30 MB; of a thousand none */
    ek_net_free(net);
}

/* ---- Files beside the model ----------------------------------------------------------------------------------- */

static char folder[SCRATCH_SIZE];

static void put_file(const char *name, size_t size)
{
    char path[2 * SCRATCH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < size / 4; i++)
        assert_int_equal(fwrite(&(float){(float)i}, 4, 1, file), 1);
    fclose(file);
}

/* The model in folder/in with its weight in `location`; NULL: not said. */
static ek_status import_beside(const char *location, const char *offset, const char *length, ek_net **net)
{
    graph *g;
    char path[2 * SCRATCH_SIZE];
    EkOnnx__TensorProto *weight = weight_of(&g);
    const char *const keys[] = {"location", "offset", "length"}, *const values[] = {location, offset, length};
    weight->has_raw_data = false;
    weight->has_data_location = true;
    weight->data_location = EK_ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    weight->external_data = graph_room(g, 3 * sizeof *weight->external_data);
    for (int i = 0; i < 3; i++) {
        if (!values[i])
            continue;
        EkOnnx__StringStringEntryProto *entry = graph_room(g, sizeof *entry);
        ek_onnx__string_string_entry_proto__init(entry);
        entry->key = graph_word(g, keys[i], strlen(keys[i]));
        entry->value = graph_word(g, values[i], strlen(values[i]));
        weight->external_data[weight->n_external_data++] = entry;
    }
    snprintf(path, sizeof path, "%s/in/model.onnx", folder);
    graph_write(g, path);
    graph_free(g);
    return ek_import_onnx(net, path, NULL);
}

static void refuse_beside(const char *location, const char *offset, const char *length, ek_status status,
                          const char *message)
{
    ek_net *net = NULL;
    const ek_status got = import_beside(location, offset, length, &net);
    if (got != status || !strstr(ek_error(), message) || !strstr(ek_error(), "tensor 'w': "))
        fail_msg("%s: %s\nnot %s", ek_status_name(got), ek_error(), message);
    assert_null(net);
}

static void files_beside(void **state)
{
    (void)state;
    char path[2 * SCRATCH_SIZE];
    static const char leaves[] = "which is not below the model's folder (a link, or a path that leaves it)";
    assert_non_null(mkdtemp(scratch_template(folder, "beside")));
    static const char *const folders[] = {"in", "in/deep", "out"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    put_file("in/w.bin", 232);
    put_file("in/deep/w.bin", 216);
    put_file("out/w.bin", 216);
    snprintf(path, sizeof path, "%s/in/link", folder);
    assert_int_equal(symlink("w.bin", path), 0);
    snprintf(path, sizeof path, "%s/in/way", folder);
    assert_int_equal(symlink("../out", path), 0);
    snprintf(path, sizeof path, "%s/in/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);

    ek_net *net = NULL;
    assert_int_equal(import_beside("w.bin", "16", "216", &net), EK_OK);
    assert_true(ek_net_tensor_by_name(net, "0.weight")->data[1] == 5);
    ek_net_free(net);
    assert_int_equal(import_beside("deep/w.bin", NULL, NULL, &net), EK_OK);
    ek_net_free(net);

    refuse_beside(NULL, NULL, NULL, EK_ERR_FORMAT, "said to be in another file, which is not named");
    refuse_beside("../out/w.bin", NULL, NULL, EK_ERR_FORMAT, leaves);
    refuse_beside("deep/../w.bin", NULL, NULL, EK_ERR_FORMAT, leaves);
    refuse_beside("./w.bin", NULL, NULL, EK_ERR_FORMAT, leaves);
    refuse_beside("/etc/passwd", NULL, NULL, EK_ERR_FORMAT, leaves);
    refuse_beside("", NULL, NULL, EK_ERR_FORMAT, leaves);
    refuse_beside("link", NULL, NULL, EK_ERR_FORMAT, leaves);
    refuse_beside("way/w.bin", NULL, NULL, EK_ERR_FORMAT, leaves);
    refuse_beside("w.bin/", NULL, NULL, EK_ERR_FORMAT, leaves);
    refuse_beside("deep", NULL, NULL, EK_ERR_FORMAT, "which is no file");
    refuse_beside("pipe", NULL, NULL, EK_ERR_FORMAT, "which is no file");
    refuse_beside("none", NULL, NULL, EK_ERR_NOT_FOUND, "which cannot be opened: No such file or directory");
    refuse_beside("w.bin", "17", "216", EK_ERR_FORMAT, "has 232, of which 216 from byte 17 on are meant");
    refuse_beside("w.bin", "16", "212", EK_ERR_FORMAT, "its data take 216 bytes; 'w.bin' has 232, of which 212");
    refuse_beside("w.bin", "999999999999999999", NULL, EK_ERR_FORMAT, "from byte 999999999999999999 on");
    refuse_beside("w.bin", "-16", NULL, EK_ERR_FORMAT, "is no number: offset -16");
    refuse_beside("w.bin", "99999999999999999999", NULL, EK_ERR_FORMAT, "is no number");

    static const char *const rest[] = {"in/w.bin", "in/deep/w.bin", "out/w.bin",    "in/link",
                                       "in/way",   "in/pipe",       "in/model.onnx"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, rest[i]);
        assert_int_equal(unlink(path), 0);
    }
    for (int i = 0; i < 4; i++) {
        static const char *const order[] = {"in/deep", "in", "out", ""};
        snprintf(path, sizeof path, "%s/%s", folder, order[i]);
        assert_int_equal(rmdir(path), 0);
    }
}

/* ---- Damaged files -------------------------------------------------------------------------------------------- */

/* Cut at every byte, and with every byte changed: a net or a message, and never both. */
static void damaged_everywhere(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE];
    unsigned char *bytes = NULL;
    size_t size, refused = 0;
    const int step = getenv("EVENKEEL_TEST_QUICK") ? 7 : 1;
    assert_int_equal(ek_file_read(EK_TEST_DIR "/golden/onnx/plain-norms.onnx", 1 << 20, &bytes, &size), EK_OK);
    const int file = mkstemp(scratch_template(path, "damaged"));
    assert_true(file >= 0);
    for (size_t i = 0; i < 2 * size; i += (size_t)step) {
        const size_t at = i / 2, length = i % 2 ? size : at;
        bytes[at] ^= i % 2 ? 0x11 : 0;
        assert_int_equal(pwrite(file, bytes, length, 0), length);
        assert_int_equal(ftruncate(file, (off_t)length), 0);
        bytes[at] ^= i % 2 ? 0x11 : 0;
        ek_net *net = NULL;
        const ek_status status = ek_import_onnx(&net, path, NULL);
        assert_true((status == EK_OK) == (net != NULL));
        assert_true(status == EK_OK || (*ek_error() && !strchr(ek_error(), '\n')));
        refused += status != EK_OK;
        ek_net_free(net);
    }
    assert_true(refused > size / (size_t)step);
    close(file);
    unlink(path);
    ek_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(operators),
        cmocka_unit_test(entangled),
        cmocka_unit_test(shapes),
        cmocka_unit_test(tensors),
        cmocka_unit_test(shared_constants),
        cmocka_unit_test(files_beside),
        cmocka_unit_test(damaged_everywhere),
        cmocka_unit_test(softmax_of_the_batch),
        cmocka_unit_test(no_variance),
    };
    return cmocka_run_group_tests_name("onnx_hostile", tests, NULL, NULL);
}

#else

int main(void)
{
    puts("SKIP: this build is without ONNX");
    return 0;
}

#endif
