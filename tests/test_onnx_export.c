/* SPDX-License-Identifier: MIT
 * Nets as ONNX files.
 *
 * Called as `test_onnx_export write DIR COUNT MOST` it writes the built-in nets of at most MOST numbers and COUNT
 * random ones for tests/onnx/check.py: of each NAME.seen (inputs `x`, outputs `logits`) and some NAME+VARIANT.onnx. */
#define _GNU_SOURCE
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/memory.h"
#include "io/onnx_proto.h"
#include "scratch.h"
#include "seen_nets.h"

#ifdef EK_HAVE_ONNX

/* ---- For ONNX's own programs -------------------------------------------------------------------------------- */

static void write_variant(const char *folder, const char *name, ek_net *net, bool keep, int batch, int opset)
{
    char path[1024];
    const ek_onnx_options options = {
        .keep_batchnorm = keep, .batch = batch, .opset = opset, .sample_count = 4, .threads = 1};
    snprintf(path, sizeof path, "%s/%s+%s-%d%s.onnx", folder, name, keep ? "kept" : "folded", opset,
             batch ? "-batch1" : "");
    must(ek_export_onnx(net, path, &options), name);
}

/* Kept and folded batch norms, open and fixed batches, and each opset's own words for a layer, in turn. */
static void write_net(const char *folder, const char *name, ek_net *net, int number)
{
    static const int opsets[] = {17, 11, 13, 15, 18, 20, 21, 22};
    const int opset = opsets[number % 8];
    write_variant(folder, name, net, true, 0, 17);
    write_variant(folder, name, net, false, 0, 17);
    write_variant(folder, name, net, number & 1, 1, opset);
}

/* ---- Files and nets ----------------------------------------------------------------------------------------- */

/* A name of a file that is not there. */
static char *scratch_name(char name[SCRATCH_SIZE])
{
    const int file = mkstemp(scratch_template(name, "onnx"));
    assert_true(file >= 0);
    close(file);
    unlink(name);
    return name;
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static ek_net *parsed(const char *text)
{
    ek_net *net = ek_net_parse(text, NULL);
    if (!net)
        fail_msg("%s%s", text, ek_error());
    random_net_values(net, 5);
    return net;
}

static void assert_fails(ek_status status, ek_status wanted, const char *words)
{
    assert_int_equal(status, wanted);
    if (!strstr(ek_error(), words))
        fail_msg("no '%s' in: %s", words, ek_error());
}

/* Exports to a file of its own; the model in it, for ek_onnx_free. */
static EkOnnx__ModelProto *exported(ek_net *net, const ek_onnx_options *options)
{
    char path[SCRATCH_SIZE];
    unsigned char *bytes;
    size_t size;
    EkOnnx__ModelProto *model;
    if (ek_export_onnx(net, scratch_name(path), options))
        fail_msg("%s", ek_error());
    assert_int_equal(ek_file_read(path, EK_ONNX_BYTES_MAX, &bytes, &size), EK_OK);
    if (options && options->report)
        assert_int_equal(options->report->bytes, size);
    assert_int_equal(ek_onnx_unpack(bytes, size, path, &model), EK_OK);
    ek_free(bytes);
    unlink(path);
    return model;
}

static const char *property(const EkOnnx__ModelProto *model, const char *key)
{
    for (size_t i = 0; i < model->n_metadata_props; i++)
        if (!strcmp(model->metadata_props[i]->key, key))
            return model->metadata_props[i]->value;
    return NULL;
}

/* ---- The way back ------------------------------------------------------------------------------------------- */

/* The file has the net's text, notes and every byte of its tensors. */
static void assert_same_net(ek_net *net, ek_net *again)
{
    char *text = ek_net_text(net), *text_again = ek_net_text(again);
    assert_string_equal(text, text_again);
    assert_int_equal(ek_net_tensor_count(net), ek_net_tensor_count(again));
    for (int i = 0; i < ek_net_tensor_count(net); i++) {
        const ek_tensor *a = ek_net_tensor(net, i), *b = ek_net_tensor(again, i);
        assert_string_equal(a->name, b->name);
        if (a->counter)
            assert_int_equal(*a->counter, *b->counter);
        else if (memcmp(a->data, b->data, (size_t)a->count * sizeof *a->data))
            fail_msg("%s of\n%s", a->name, text);
    }
    for (int i = 0; ek_net_note_key(net, i); i++) {
        const char *key = ek_net_note_key(net, i), *value = ek_net_note(again, key);
        assert_non_null(value);
        assert_string_equal(ek_net_note(net, key), value);
    }
    free(text);
    free(text_again);
}

static void come_back(ek_net *net, const ek_onnx_options *options)
{
    char path[SCRATCH_SIZE];
    ek_net *again = NULL;
    if (ek_export_onnx(net, scratch_name(path), options) || ek_import_onnx(&again, path, NULL)) {
        char *text = ek_net_text(net);
        fail_msg("%s\n%s", ek_error(), text);
    }
    assert_same_net(net, again);
    ek_net_free(again);
    unlink(path);
}

static int random_count(void)
{
    return getenv("EVENKEEL_TEST_ALL") ? 200 : getenv("EVENKEEL_TEST_QUICK") ? 10 : 40;
}

static void random_nets_come_back(void **state)
{
    (void)state;
    static const int opsets[] = {11, 16, 17, 18, 20, 22};
    for (int i = 0; i < random_count(); i++) {
        ek_net *net = random_net((uint64_t)i, RANDOM_NET_TRACKED | RANDOM_NET_DOUBLES);
        const float mean[] = {0.1f, 0.2f, 0.3f}, std[] = {0.9f, 0.3f, 0.7f};
        if (i % 4 == 0)
            assert_int_equal(ek_net_set_normalization(net, 1, mean, std), EK_OK);
        if (i % 3 == 0)
            assert_int_equal(ek_net_set_note(net, "labels", "one\n\xc3\xa4\n=\"'"), EK_OK);
        come_back(
            net,
            &(ek_onnx_options){
                .keep_batchnorm = true, .opset = opsets[i % 6], .batch = i % 2 * 3, .sample_count = 2, .threads = 1});
        ek_net_free(net);
    }
}

static void built_in_nets_come_back(void **state)
{
    (void)state;
    static const char *const names[] = {"lenet", "bn-lenet", "bn-lenet-scratch", "resnet-20", "preact-resnet-110"};
    for (size_t i = 0; i < sizeof names / sizeof *names - (getenv("EVENKEEL_TEST_QUICK") ? 2 : 0); i++) {
        ek_net *net = ek_net_builtin(names[i]);
        random_net_values(net, i);
        come_back(net, &(ek_onnx_options){.keep_batchnorm = true, .sample_count = 1});
        ek_net_free(net);
    }
}

/* What is in the file of a net with folded batch norms is the folded net. */
static void folded_nets_come_back(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE];
    int folded_ones = 0, kept_ones = 0;
    for (int i = 0; i < random_count(); i++) {
        ek_onnx_report report;
        ek_net *net = random_net((uint64_t)i, RANDOM_NET_TRACKED | RANDOM_NET_DOUBLES), *folded = NULL, *again = NULL;
        const ek_onnx_options options = {.sample_count = 2, .threads = 1, .report = &report};
        if (ek_export_onnx(net, scratch_name(path), &options) || ek_import_onnx(&again, path, NULL) ||
            ek_net_fold(&folded, net, NULL))
            fail_msg("%d: %s", i, ek_error());
        assert_same_net(folded, again);
        assert_true(report.difference <= 1e-5 * report.scale);
        folded_ones += report.folded;
        kept_ones += report.kept;
        ek_net_free(net);
        ek_net_free(folded);
        ek_net_free(again);
        unlink(path);
    }
    assert_true(folded_ones > 0 && kept_ones > 0);
}

/* Blocks with parts that only hand on what they read: x + x, and bodies that are empty where the shortcut is not. */
static void empty_parts_come_back(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "residual {\ndropout\n}\n",
        "residual shortcut=pad {\ndropout p=0.25\n}\n",
        "residual {\nconcat {\nbranch {\n}\n}\n}\n",
        "residual {\nresidual {\ndropout\n}\ndropout\n}\n",
        "residual {\ndropout\n} shortcut {\nconv2d 2\nbatchnorm\n}\n",
        "residual {\nconv2d 2\n} shortcut {\ndropout\n}\n",
        "residual {\ndropout\n} shortcut {\nresidual {\ndropout\n} shortcut {\nconv2d 2\n}\n}\n",
        "concat {\nbranch {\ndropout\n}\nbranch {\n}\n}\nconv2d 2\n",
        "residual {\nconcat {\nbranch {\ndropout\n}\n}\n} shortcut {\nrelu\n}\n",
    };
    for (size_t i = 0; i < 2 * (sizeof bodies / sizeof *bodies); i++) {
        char text[400];
        snprintf(text, sizeof text, "input 2 3 3\nconv2d 2 kernel=3 padding=1\n%sflatten\n%slinear 3\n",
                 bodies[i / 2], i % 2 ? "residual {\nflatten\n}\n" : "");
        ek_net *net = parsed(text);
        come_back(net, &(ek_onnx_options){.keep_batchnorm = true, .sample_count = 3, .threads = 1});
        ek_net_free(net);
    }
}

/* Rounding shows when nothing may: then there is no file, and one that was there stays. */
static void differences_are_refused(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE];
    unsigned char *bytes;
    size_t size;
    int refused = 0;
    for (int i = 0; i < 40 && refused < 2; i++) {
        ek_onnx_report report;
        ek_net *net = random_net((uint64_t)i, RANDOM_NET_TRACKED);
        const ek_onnx_options options = {.sample_count = 4, .threads = 1, .report = &report, .budget = 1e-12};
        const ek_status status = ek_export_onnx(net, scratch_name(path), &options);
        assert_true((status == EK_ERR_NUMERIC) == (report.difference > 1e-12 * report.scale));
        if (status) {
            assert_fails(status, EK_ERR_NUMERIC, "not written: read back, the file's outputs differ by up to");
            assert_fails(status, EK_ERR_NUMERIC, "1e-12 is allowed (0 of 4 samples get another class)");
            assert_ptr_equal(strstr(ek_error(), path), ek_error());
            assert_false(is_there(path));
            FILE *old = fopen(path, "w");
            fputs("old", old);
            fclose(old);
            assert_int_equal(ek_export_onnx(net, path, &options), EK_ERR_NUMERIC);
            assert_int_equal(ek_file_read(path, 100, &bytes, &size), EK_OK);
            assert_string_equal((const char *)bytes, "old");
            ek_free(bytes);
            refused++;
        }
        unlink(path);
        ek_net_free(net);
    }
    assert_int_equal(refused, 2);
}

/* ---- What is in a file -------------------------------------------------------------------------------------- */

/* "Conv(input,0.weight,0.bias) BatchNormalization(...)", for free(). */
static char *nodes_text(const EkOnnx__ModelProto *model)
{
    size_t size = 0;
    char *text = NULL;
    FILE *to = open_memstream(&text, &size);
    for (size_t i = 0; i < model->graph->n_node; i++) {
        const EkOnnx__NodeProto *node = model->graph->node[i];
        fprintf(to, "%s%s(", i ? " " : "", node->op_type);
        for (size_t k = 0; k < node->n_input; k++)
            fprintf(to, "%s%s", k ? "," : "", node->input[k]);
        fputc(')', to);
    }
    fclose(to);
    return text;
}

static void assert_nodes(const char *net_text, int opset, const char *wanted)
{
    ek_net *net = parsed(net_text);
    EkOnnx__ModelProto *model = exported(net, &(ek_onnx_options){.keep_batchnorm = true, .opset = opset});
    char *text = nodes_text(model);
    assert_string_equal(text, wanted);
    assert_int_equal(model->opset_import[0]->version, opset ? opset : 17);
    free(text);
    ek_onnx_free(model);
    ek_net_free(net);
}

static void layers_are_nodes(void **state)
{
    (void)state;
    assert_nodes("input 1 4 4\nconv2d 2 kernel=3\nbatchnorm\nrelu\nmaxpool 2\nflatten\ndropout\nlinear 3\n", 0,
                 "Conv(input,0.weight,0.bias) "
                 "BatchNormalization(/0/Conv_output_0,1.weight,1.bias,1.running_mean,1.running_var) "
                 "Relu(/1/BatchNormalization_output_0) MaxPool(/2/Relu_output_0) Flatten(/3/MaxPool_output_0) "
                 "Gemm(/4/Flatten_output_0,6.weight,6.bias)");
    assert_nodes(
        "input 2 1 1\nconv2d 2 bias=no\nbatchnorm affine=no\nbatchnorm normalize=mean\n"
        "batchnorm normalize=deviation scale=no\n",
        0,
        "Conv(input,0.weight) BatchNormalization(/0/Conv_output_0,1.ones,1.zeros,1.running_mean,1.running_var) "
        "BatchNormalization(/1/BatchNormalization_output_0,2.weight,2.bias,2.running_mean,2.ones) "
        "BatchNormalization(/2/BatchNormalization_output_0,3.ones,3.bias,3.zeros,3.running_var)");
    assert_nodes("input 1 2 2\nlayernorm\ngelu\n", 20,
                 "LayerNormalization(input,0.weight,0.bias) Gelu(/0/LayerNormalization_output_0)");
    assert_nodes("input 1 2 2\nlayernorm affine=no\n", 16,
                 "ReduceMean(input) Sub(input,/0/ReduceMean_output_0) Pow(/0/Sub_output_0,0.two) "
                 "ReduceMean(/0/Pow_output_0) Add(/0/ReduceMean_1_output_0,0.eps) Sqrt(/0/Add_output_0) "
                 "Div(/0/Sub_output_0,/0/Sqrt_output_0)");
    assert_nodes("input 1 2 2\ngelu\n", 19,
                 "Div(input,0.sqrt_2) Erf(/0/Div_output_0) Add(/0/Erf_output_0,0.one) Mul(input,/0/Add_output_0) "
                 "Mul(/0/Mul_output_0,0.half)");
    assert_nodes("input 2 4 4\nresidual shortcut=pad stride=2 {\nconv2d 3 stride=2\n}\n", 0,
                 "Conv(input,0.body.0.weight,0.body.0.bias) Slice(input,0.starts,0.ends,0.axes,0.steps) "
                 "Pad(/0/Slice_output_0,0.pads) Add(/0/body/0/Conv_output_0,/0/Pad_output_0)");
    assert_nodes("input 2 4 4\nconcat {\nbranch {\nrelu\n}\nbranch {\n}\n}\n", 0,
                 "Relu(input) Concat(/0/branches/0/0/Relu_output_0,input)");
}

static const EkOnnx__AttributeProto *attribute(const EkOnnx__NodeProto *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (!strcmp(node->attribute[i]->name, name))
            return node->attribute[i];
    fail_msg("%s has no %s", node->name, name);
    return NULL;
}

static void assert_ints(const EkOnnx__NodeProto *node, const char *name, size_t count, const int64_t *wanted)
{
    const EkOnnx__AttributeProto *a = attribute(node, name);
    assert_int_equal(a->type, EK_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    assert_int_equal(a->n_ints, count);
    assert_memory_equal(a->ints, wanted, count * sizeof *wanted);
}

static void options_are_attributes(void **state)
{
    (void)state;
    ek_net *net = parsed("input 4 9 9\nconv2d 6 kernel=3x5 padding=1x2 stride=2x1 dilation=2x1 groups=2\n"
                         "avgpool 2x3 stride=1x2 padding=1x0 count_include_pad=no\n"
                         "leaky_relu negative_slope=0.2\nbatchnorm eps=0.01 momentum=0.25\n");
    EkOnnx__ModelProto *model = exported(net, &(ek_onnx_options){.keep_batchnorm = true, .batch = 3});
    EkOnnx__NodeProto *const *nodes = model->graph->node;
    assert_string_equal(nodes[0]->name, "/0/Conv");
    assert_ints(nodes[0], "kernel_shape", 2, (const int64_t[]){3, 5});
    assert_ints(nodes[0], "pads", 4, (const int64_t[]){1, 2, 1, 2});
    assert_ints(nodes[0], "strides", 2, (const int64_t[]){2, 1});
    assert_ints(nodes[0], "dilations", 2, (const int64_t[]){2, 1});
    assert_int_equal(attribute(nodes[0], "group")->i, 2);
    assert_ints(nodes[1], "kernel_shape", 2, (const int64_t[]){2, 3});
    assert_ints(nodes[1], "pads", 4, (const int64_t[]){1, 0, 1, 0});
    assert_ints(nodes[1], "strides", 2, (const int64_t[]){1, 2});
    assert_int_equal(attribute(nodes[1], "count_include_pad")->i, 0);
    assert_true(attribute(nodes[2], "alpha")->f == 0.2f);
    assert_true(attribute(nodes[3], "epsilon")->f == 0.01f);
    assert_true(attribute(nodes[3], "momentum")->f == 0.75f);
    assert_string_equal(nodes[3]->output[0], "output");
    const EkOnnx__TensorShapeProto *shape = model->graph->input[0]->type->tensor_type->shape;
    assert_int_equal(shape->n_dim, 4);
    assert_int_equal(shape->dim[0]->dim_value, 3);
    assert_int_equal(shape->dim[1]->dim_value, 4);
    ek_onnx_free(model);
    ek_net_free(net);
}

static void files_tell_of_themselves(void **state)
{
    (void)state;
    ek_onnx_report report;
    ek_net *net = parsed("input 1 3 3\nconv2d 2\nbatchnorm normalize=mean\nflatten\nlinear 4\nbatchnorm\n");
    *ek_net_tensor_by_name(net, "1.num_batches_tracked")->counter = 469;
    ek_net_tensor_by_name(net, "1.running_var")->data[0] = 0.1f;
    ek_net_tensor_by_name(net, "1.running_var")->data[1] = 2;
    assert_int_equal(ek_net_set_note(net, "labels", "a\nb"), EK_OK);
    assert_int_equal(ek_net_set_note(net, "data.digest", "sha256:00"), EK_OK);
    assert_int_equal(ek_net_set_normalization(net, 1, (const float[]){0.5f}, (const float[]){0.25f}), EK_OK);
    EkOnnx__ModelProto *model = exported(net, &(ek_onnx_options){.keep_batchnorm = true, .report = &report});
    assert_string_equal(model->producer_name, "evenkeel");
    assert_string_equal(model->producer_version, ek_version());
    assert_int_equal(model->ir_version, 8);
    assert_string_equal(model->graph->input[0]->name, "input");
    assert_string_equal(model->graph->input[0]->type->tensor_type->shape->dim[0]->dim_param, "batch");
    assert_string_equal(model->graph->output[0]->name, "output");
    char *text = ek_net_text(net), *nodes = nodes_text(model);
    assert_string_equal(property(model, "evenkeel.net"), text);
    assert_string_equal(property(model, "evenkeel.version"), "1");
    assert_string_equal(property(model, "evenkeel.note.labels"), "a\nb");
    assert_string_equal(property(model, "evenkeel.note.data.digest"), "sha256:00");
    assert_string_equal(property(model, "evenkeel.counter.1.num_batches_tracked"), "469");
    assert_string_equal(property(model, "evenkeel.tensor.1.running_var"), "0.1 2");
    assert_null(property(model, "evenkeel.tensor.4.running_var"));
    assert_ptr_equal(strstr(nodes, "Sub(input,input.mean) Div(/Sub_output_0,input.std) Conv(/Div_output_0,"), nodes);
    assert_int_equal(report.opset, 17);
    assert_int_equal(report.kept, 2);
    assert_int_equal(report.folded, 0);
    assert_int_equal(report.samples, 64);
    assert_true(report.scale > 0 && report.difference <= 1e-6 * report.scale);
    assert_int_equal(report.changed, 0);
    free(text);
    free(nodes);
    ek_onnx_free(model);
    ek_net_free(net);
}

/* ---- Refusals ----------------------------------------------------------------------------------------------- */

static void refuses(const char *net_text, const char *tensor, float value, ek_status wanted, const char *words)
{
    char path[SCRATCH_SIZE];
    ek_net *net = parsed(net_text);
    if (tensor)
        ek_net_tensor_by_name(net, tensor)->data[1] = value;
    assert_fails(ek_export_onnx(net, scratch_name(path), &(ek_onnx_options){.keep_batchnorm = true}), wanted, words);
    assert_ptr_equal(strstr(ek_error(), path), ek_error());
    assert_false(is_there(path));
    ek_net_free(net);
}

static void nets_are_refused(void **state)
{
    (void)state;
    const char *plain = "input 2 1 1\nconv2d 2\nbatchnorm eps=0\n";
    refuses("input 1 4 4\nconv2d 2\nbatchnorm tracking=no\n", NULL, 0, EK_ERR_UNSUPPORTED,
            "layer 1 (batchnorm): without moving statistics");
    refuses(plain, "1.running_var", 0, EK_ERR_NUMERIC,
            "layer 1 (batchnorm): channel 1 has no variance, and eps is 0");
    refuses("input 1 4 4\ndropout\n", NULL, 0, EK_ERR_UNSUPPORTED, "hands on its input");
    refuses(plain, "0.weight", NAN, EK_ERR_NUMERIC, "element 1 of 0.weight is not finite");
    refuses(plain, "1.running_var", -1, EK_ERR_NUMERIC, "element 1 of 1.running_var is negative");
}

/* Factors and sums that are no floats, in nets whose outputs are finite all the same: infinity times 0 is behind a relu
 * here and NaN elsewhere. Kept, and folded. */
static void infinite_factors_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        float value;
        const char *kept, *folded;
    } cases[] = {
        {"1.weight", 1e30f, "layer 1 (batchnorm): channel 1 is multiplied by 1e+45, and 0 is added: too much for a",
         "layer 1 (batchnorm) cannot be folded: channel 1"},
        {"1.running_mean", 1e30f, "layer 1 (batchnorm): channel 1 is multiplied by 1e+15, and -1e+45 is added: too",
         "layer 1 (batchnorm) cannot be folded: channel 1"},
        {"0.weight", (float)INFINITY, "element 1 of 0.weight is not finite (inf)",
         "layer 1 (batchnorm) cannot be folded: channel 1"},
    };
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        char path[SCRATCH_SIZE];
        ek_net *net = parsed("input 2 1 1\nconv2d 2 groups=2 bias=no\nbatchnorm eps=0\nrelu\nflatten\nlinear 2\n");
        const char *const ones[] = {"1.weight", "1.running_var"}, *const zeros[] = {"1.bias", "1.running_mean"};
        for (int k = 0; k < 2; k++) {
            ek_net_tensor_by_name(net, ones[k])->data[1] = k ? 1e-30f : 1;
            ek_net_tensor_by_name(net, zeros[k])->data[1] = 0;
        }
        ek_net_tensor_by_name(net, "0.weight")->data[1] = -1;
        ek_net_tensor_by_name(net, cases[i / 2].tensor)->data[1] = cases[i / 2].value;
        const ek_onnx_options options = {.keep_batchnorm = i % 2, .threads = 1};
        assert_fails(ek_export_onnx(net, scratch_name(path), &options), EK_ERR_NUMERIC,
                     i % 2 ? cases[i / 2].kept : cases[i / 2].folded);
        assert_false(is_there(path));
        ek_net_free(net);
    }
}

static void options_are_checked(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE];
    ek_net *net = parsed("input 1 2 2\nrelu\n");
    scratch_name(path);
    assert_fails(ek_export_onnx(net, path, &(ek_onnx_options){.opset = 10}), EK_ERR_ARGUMENT, "opset is 10");
    assert_fails(ek_export_onnx(net, path, &(ek_onnx_options){.opset = 23}), EK_ERR_ARGUMENT, "11 to 22");
    assert_fails(ek_export_onnx(net, path, &(ek_onnx_options){.batch = -1}), EK_ERR_ARGUMENT, "batch (-1)");
    assert_fails(ek_export_onnx(net, path, &(ek_onnx_options){.budget = (double)NAN}), EK_ERR_ARGUMENT, "budget");
    assert_fails(ek_export_onnx(net, NULL, NULL), EK_ERR_ARGUMENT, "path");
    assert_fails(ek_export_onnx(NULL, path, NULL), EK_ERR_ARGUMENT, "");
    const uint8_t pixels[18] = {0}, labels[2] = {0};
    ek_dataset *samples;
    assert_int_equal(ek_dataset_from_memory(&samples, 2, 1, 3, 3, pixels, labels, 1), EK_OK);
    assert_fails(ek_export_onnx(net, path, &(ek_onnx_options){.samples = samples}), EK_ERR_SHAPE,
                 "images of 1x3x3, and the net takes 1x2x2");
    ek_dataset_free(samples);
    assert_false(is_there(path));
    ek_net_free(net);
}

/* The samples of a data set, evenly spread. */
static void is_proved_on_samples(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE];
    uint8_t pixels[40];
    const uint8_t labels[10] = {0};
    ek_onnx_report report;
    ek_dataset *samples;
    ek_net *net = parsed("input 1 2 2\nflatten\nlinear 3 bias=no\n");
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = i / 4 == 5 ? 255 : 0; /* all but the sixth image give 0 */
    assert_int_equal(ek_dataset_from_memory(&samples, 10, 1, 2, 2, pixels, labels, 1), EK_OK);
    for (int count = 0; count <= 2; count++) { /* all of them; the first; the first and the sixth */
        const ek_onnx_options options = {.samples = samples, .sample_count = count, .report = &report};
        assert_int_equal(ek_export_onnx(net, scratch_name(path), &options), EK_OK);
        assert_int_equal(report.samples, count ? count : 10);
        assert_true((report.scale > 0) == (count != 1));
        unlink(path);
    }
    ek_dataset_free(samples);
    ek_net_free(net);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char path[SCRATCH_SIZE];
    ek_net *net = parsed("input 2 4 4\nresidual shortcut=pad {\nconv2d 3\nbatchnorm normalize=mean\n}\n"
                         "concat {\nbranch {\ngelu\n}\nbranch {\n}\n}\nflatten\nlinear 2\n");
    int failures = 0;
    scratch_name(path);
    for (int64_t n = 1;; n++, failures++) {
        ek_memory_fail_at(n);
        const ek_status status = ek_export_onnx(net, path, &(ek_onnx_options){.sample_count = 1, .threads = 1});
        ek_memory_fail_at(0);
        if (status == EK_OK)
            break;
        assert_int_equal(status, EK_ERR_MEMORY);
        assert_false(is_there(path));
    }
    assert_true(failures > 50);
    unlink(path);
    ek_net_free(net);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_nodes),          cmocka_unit_test(options_are_attributes),
        cmocka_unit_test(files_tell_of_themselves),  cmocka_unit_test(random_nets_come_back),
        cmocka_unit_test(built_in_nets_come_back),   cmocka_unit_test(folded_nets_come_back),
        cmocka_unit_test(differences_are_refused),   cmocka_unit_test(nets_are_refused),
        cmocka_unit_test(empty_parts_come_back),     cmocka_unit_test(infinite_factors_are_refused),
        cmocka_unit_test(options_are_checked),       cmocka_unit_test(is_proved_on_samples),
        cmocka_unit_test(every_allocation_may_fail),
    };
    if (argc == 5 && !strcmp(argv[1], "write")) {
        write_nets(argv[2], atoi(argv[3]), atoll(argv[4]), RANDOM_NET_TRACKED | RANDOM_NET_DOUBLES, write_net);
        return 0;
    }
    return cmocka_run_group_tests_name("onnx_export", tests, NULL, NULL);
}

#else

static void refuses(void **state)
{
    (void)state;
    ek_net *net = ek_net_builtin("lenet");
    assert_int_equal(ek_export_onnx(net, "lenet.onnx", NULL), EK_ERR_UNSUPPORTED);
    assert_non_null(strstr(ek_error(), "lenet.onnx: this build writes no ONNX files"));
    ek_net_free(net);
}

int main(int argc, char **argv)
{
    (void)argc, (void)argv;
    puts("SKIP: this build is without ONNX");
    const struct CMUnitTest tests[] = {cmocka_unit_test(refuses)};
    return cmocka_run_group_tests_name("onnx_export", tests, NULL, NULL);
}

#endif
