/* SPDX-License-Identifier: MIT
 * ONNX's messages: what is written is read again, what is hostile is refused before protobuf-c sees it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/onnx_proto.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef EK_HAVE_ONNX

/* A model with one node of two inputs and one tensor, as bytes, for ek_free. */
static unsigned char *written(size_t *size)
{
    char *inputs[2] = {"x", "w"}, *outputs[1] = {"y"};
    float values[3] = {1, 2, 3};
    int64_t dims[1] = {3};
    EkOnnx__NodeProto node = EK_ONNX__NODE_PROTO__INIT, *nodes[1] = {&node};
    EkOnnx__TensorProto tensor = EK_ONNX__TENSOR_PROTO__INIT, *tensors[1] = {&tensor};
    EkOnnx__GraphProto graph = EK_ONNX__GRAPH_PROTO__INIT;
    EkOnnx__ModelProto model = EK_ONNX__MODEL_PROTO__INIT;
    node.op_type = "Add";
    node.n_input = 2;
    node.input = inputs;
    node.n_output = 1;
    node.output = outputs;
    tensor.name = "w";
    tensor.n_dims = 1;
    tensor.dims = dims;
    tensor.has_raw_data = true;
    tensor.raw_data = (ProtobufCBinaryData){sizeof values, (uint8_t *)values};
    graph.n_node = graph.n_initializer = 1;
    graph.node = nodes;
    graph.initializer = tensors;
    model.has_ir_version = true;
    model.ir_version = 8;
    model.graph = &graph;
    unsigned char *bytes = NULL;
    assert_int_equal(ek_onnx_pack(&model, &bytes, size), EK_OK);
    return bytes;
}

static void is_read_as_written(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = written(&size);
    EkOnnx__ModelProto *model = NULL;
    assert_int_equal(ek_onnx_unpack(bytes, size, "it", &model), EK_OK);
    assert_int_equal(model->ir_version, 8);
    assert_int_equal(model->graph->n_node, 1);
    assert_string_equal(model->graph->node[0]->input[1], "w");
    assert_int_equal(model->graph->initializer[0]->raw_data.len, 12);
    ek_onnx_free(model);
    ek_free(bytes);
}

/* No byte more is read than there are: each length lies in a block of its own, which the sanitizers watch. */
static void is_refused_when_cut(void **state)
{
    (void)state;
    size_t size, refused = 0;
    unsigned char *bytes = written(&size);
    for (size_t length = 0; length < size; length++) {
        unsigned char *cut = malloc(length ? length : 1);
        assert_non_null(cut);
        memcpy(cut, bytes, length);
        EkOnnx__ModelProto *model = NULL;
        const ek_status status = ek_onnx_unpack(cut, length, "it", &model);
        assert_true(status == EK_OK || status == EK_ERR_FORMAT);
        assert_true((status == EK_OK) == (model != NULL));
        refused += status != EK_OK;
        ek_onnx_free(model);
        free(cut);
    }
    assert_true(refused > size - 4); /* but for nothing at all, and what ends between two fields of the model */
    ek_free(bytes);
}

/* `levels` messages in each other, from the inside: field 7 of a model is a graph, and from there on field 1 a node,
 * 5 of it an attribute, 6 of that a graph. */
static ek_status unpack_nested(int levels)
{
    enum { ROOM = 4096 };
    unsigned char *bytes = malloc(ROOM);
    assert_non_null(bytes);
    size_t begin = ROOM;
    for (int i = levels; i > 0; i--) {
        static const unsigned char fields[] = {6, 1, 5};
        const size_t size = ROOM - begin;
        if (size > 127)
            bytes[--begin] = (unsigned char)(size >> 7);
        bytes[--begin] = (unsigned char)(size > 127 ? (size & 127) | 128 : size);
        bytes[--begin] = (unsigned char)((i == 1 ? 7 : fields[(i - 1) % 3]) << 3 | 2);
    }
    EkOnnx__ModelProto *model = NULL;
    const ek_status status = ek_onnx_unpack(bytes + begin, ROOM - begin, "it", &model);
    ek_onnx_free(model);
    free(bytes);
    return status;
}

static void depth_has_an_end(void **state)
{
    (void)state;
    assert_int_equal(unpack_nested(EK_ONNX_DEPTH_MAX - 1), EK_OK);
    assert_int_equal(unpack_nested(EK_ONNX_DEPTH_MAX), EK_ERR_FORMAT);
    assert_int_equal(unpack_nested(1000), EK_ERR_FORMAT);
}

static void is_refused_with(const char *bytes, size_t size)
{
    EkOnnx__ModelProto *model = NULL;
    assert_int_equal(ek_onnx_unpack((const unsigned char *)bytes, size, "it", &model), EK_ERR_FORMAT);
    assert_null(model);
    assert_string_equal(ek_error(), "it: not an ONNX model, or a damaged one");
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    is_refused_with("\x3a\0\x3a", 3);                                /* a graph, and a field without its length */
    is_refused_with("\x3a\0\x3a\0", 4);                              /* two graphs */
    is_refused_with("\x3a\xff\xff\xff\xff\x0f", 6);                  /* of 2^32 - 1 bytes */
    is_refused_with("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10); /* of more */
    is_refused_with("\x0b", 1);                                      /* a group, which protobuf has given up */
    is_refused_with("{\"model\": 1}", 12);
}

/* Two bytes a node, of which each takes a hundred. */
static void memory_has_an_end(void **state)
{
    (void)state;
    enum { NODES = 1 << 19 };
    unsigned char *bytes = calloc(2, NODES + 4);
    assert_non_null(bytes);
    bytes[0] = 7 << 3 | 2; /* a graph of 2*NODES bytes */
    for (int i = 0; i < 3; i++)
        bytes[1 + i] = (unsigned char)((2 * NODES) >> 7 * i | (i < 2 ? 128 : 0));
    for (size_t i = 0; i < NODES; i++)
        bytes[4 + 2 * i] = 1 << 3 | 2;
    EkOnnx__ModelProto *model = NULL;
    assert_int_equal(ek_onnx_unpack(bytes, 4 + 2 * NODES, "it", &model), EK_ERR_FORMAT);
    assert_null(model);
    free(bytes);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    size_t size;
    unsigned char *bytes = written(&size);
    int failures = 0;
    for (int64_t n = 1;; n++, failures++) {
        EkOnnx__ModelProto *model = NULL;
        ek_memory_fail_at(n);
        const ek_status status = ek_onnx_unpack(bytes, size, "it", &model);
        ek_memory_fail_at(0);
        ek_onnx_free(model);
        if (status == EK_OK)
            break;
        assert_int_equal(status, EK_ERR_MEMORY);
        assert_null(model);
    }
    assert_true(failures > 5);
    ek_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_read_as_written), cmocka_unit_test(is_refused_when_cut),
        cmocka_unit_test(depth_has_an_end),   cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(memory_has_an_end),  cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("onnx_proto", tests, NULL, NULL);
}

#else

int main(void)
{
    puts("SKIP: this build is without ONNX");
    return 0;
}

#endif
