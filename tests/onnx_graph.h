/* SPDX-License-Identifier: MIT
 * ONNX graphs written by hand, for tests of the importer: nodes and constants one after the other, then a file. */
#ifndef EK_TESTS_ONNX_GRAPH_H
#define EK_TESTS_ONNX_GRAPH_H

#include "base/file.h"
#include "io/onnx_proto.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { GRAPH_MAX = 64 };

typedef struct graph {
    EkOnnx__ModelProto model;
    EkOnnx__GraphProto graph;
    EkOnnx__OperatorSetIdProto opset, *opsets[1];
    EkOnnx__NodeProto *nodes[GRAPH_MAX];
    EkOnnx__TensorProto *tensors[GRAPH_MAX];
    EkOnnx__ValueInfoProto *inputs[GRAPH_MAX], *outputs[GRAPH_MAX];
    EkOnnx__StringStringEntryProto *props[GRAPH_MAX];
    void *owned[1 << 12];
    int owned_count;
} graph;

/* Zeroed, freed with the graph. */
static inline void *graph_room(graph *g, size_t size)
{
    void *room = calloc(1, size ? size : 1);
    assert_true(room && g->owned_count < 1 << 12);
    return g->owned[g->owned_count++] = room;
}

static inline char *graph_word(graph *g, const char *text, size_t length)
{
    return memcpy(graph_room(g, length + 1), text, length);
}

/* The words between commas. */
static inline char **graph_words(graph *g, const char *text, size_t *count)
{
    char **words = graph_room(g, 16 * sizeof *words);
    *count = 0;
    for (const char *rest = text;; rest++) {
        const size_t length = strcspn(rest, ",");
        if (!*text)
            return words;
        words[(*count)++] = graph_word(g, rest, length);
        rest += length;
        if (!*rest)
            return words;
    }
}

static inline void graph_value(graph *g, EkOnnx__ValueInfoProto **list, size_t *count, const char *name, int ndim,
                               const int64_t *dim)
{
    EkOnnx__ValueInfoProto *info = graph_room(g, sizeof *info);
    EkOnnx__TypeProto *type = graph_room(g, sizeof *type);
    EkOnnx__TypeProto__Tensor *tensor = graph_room(g, sizeof *tensor);
    EkOnnx__TensorShapeProto *shape = graph_room(g, sizeof *shape);
    ek_onnx__value_info_proto__init(info);
    ek_onnx__type_proto__init(type);
    ek_onnx__type_proto__tensor__init(tensor);
    ek_onnx__tensor_shape_proto__init(shape);
    info->name = graph_word(g, name, strlen(name));
    info->type = type;
    type->value_case = EK_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    tensor->has_elem_type = true;
    tensor->elem_type = EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    shape->n_dim = (size_t)ndim;
    shape->dim = graph_room(g, (size_t)ndim * sizeof *shape->dim);
    for (int d = 0; d < ndim; d++) {
        shape->dim[d] = graph_room(g, sizeof **shape->dim);
        ek_onnx__tensor_shape_proto__dimension__init(shape->dim[d]);
        if (dim[d] == 0) /* open */
            continue;
        shape->dim[d]->value_case = EK_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        shape->dim[d]->dim_value = dim[d];
    }
    list[(*count)++] = info;
}

/* A graph with the input "x" of these extents (0: open) and the output "y"; opset 17. */
static inline graph *graph_new(int ndim, const int64_t *dim)
{
    graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    ek_onnx__model_proto__init(&g->model);
    ek_onnx__graph_proto__init(&g->graph);
    ek_onnx__operator_set_id_proto__init(&g->opset);
    g->opset.has_version = true;
    g->opset.version = 17;
    g->opsets[0] = &g->opset;
    g->model.n_opset_import = 1;
    g->model.opset_import = g->opsets;
    g->model.graph = &g->graph;
    g->model.metadata_props = g->props;
    g->graph.node = g->nodes;
    g->graph.initializer = g->tensors;
    g->graph.input = g->inputs;
    g->graph.output = g->outputs;
    graph_value(g, g->inputs, &g->graph.n_input, "x", ndim, dim);
    graph_value(g, g->outputs, &g->graph.n_output, "y", 0, NULL);
    return g;
}

#define GRAPH(...) graph_new((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

static inline void graph_free(graph *g)
{
    for (int i = 0; i < g->owned_count; i++)
        free(g->owned[i]);
    free(g);
}

/* "Conv", "x,w,b", "y"; its name is that of its first output with "make " before it. */
static inline EkOnnx__NodeProto *graph_node(graph *g, const char *type, const char *inputs, const char *outputs)
{
    char name[100];
    EkOnnx__NodeProto *node = graph_room(g, sizeof *node);
    ek_onnx__node_proto__init(node);
    node->op_type = graph_word(g, type, strlen(type));
    node->input = graph_words(g, inputs, &node->n_input);
    node->output = graph_words(g, outputs, &node->n_output);
    snprintf(name, sizeof name, "make %s", outputs);
    node->name = graph_word(g, name, strlen(name));
    node->attribute = graph_room(g, 16 * sizeof *node->attribute);
    assert_true(g->graph.n_node < GRAPH_MAX);
    return g->nodes[g->graph.n_node++] = node;
}

static inline EkOnnx__AttributeProto *graph_attribute(graph *g, EkOnnx__NodeProto *node, const char *name)
{
    EkOnnx__AttributeProto *attribute = graph_room(g, sizeof *attribute);
    ek_onnx__attribute_proto__init(attribute);
    attribute->name = graph_word(g, name, strlen(name));
    return node->attribute[node->n_attribute++] = attribute;
}

static inline void graph_int(graph *g, EkOnnx__NodeProto *node, const char *name, int64_t value)
{
    EkOnnx__AttributeProto *attribute = graph_attribute(g, node, name);
    attribute->has_i = true;
    attribute->i = value;
}

static inline void graph_float(graph *g, EkOnnx__NodeProto *node, const char *name, float value)
{
    EkOnnx__AttributeProto *attribute = graph_attribute(g, node, name);
    attribute->has_f = true;
    attribute->f = value;
}

static inline void graph_text(graph *g, EkOnnx__NodeProto *node, const char *name, const char *value)
{
    EkOnnx__AttributeProto *attribute = graph_attribute(g, node, name);
    attribute->has_s = true;
    attribute->s = (ProtobufCBinaryData){strlen(value), (uint8_t *)graph_word(g, value, strlen(value))};
}

static inline void graph_int_list(graph *g, EkOnnx__NodeProto *node, const char *name, int count,
                                  const int64_t *values)
{
    EkOnnx__AttributeProto *attribute = graph_attribute(g, node, name);
    attribute->n_ints = (size_t)count;
    attribute->ints = graph_room(g, (size_t)count * sizeof *values);
    memcpy(attribute->ints, values, (size_t)count * sizeof *values);
}

#define GRAPH_INTS(g, node, name, ...)                                                                               \
    graph_int_list(g, node, name, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

static inline EkOnnx__TensorProto *graph_tensor(graph *g, const char *name, int type, int ndim, const int64_t *dim)
{
    EkOnnx__TensorProto *tensor = graph_room(g, sizeof *tensor);
    ek_onnx__tensor_proto__init(tensor);
    tensor->name = graph_word(g, name, strlen(name));
    tensor->has_data_type = true;
    tensor->data_type = type;
    tensor->n_dims = (size_t)ndim;
    tensor->dims = graph_room(g, (size_t)ndim * sizeof *dim);
    if (ndim > 0)
        memcpy(tensor->dims, dim, (size_t)ndim * sizeof *dim);
    assert_true(g->graph.n_initializer < GRAPH_MAX);
    return g->tensors[g->graph.n_initializer++] = tensor;
}

/* A constant of floats, as bytes: i/8 - 1 for element i from 0, where no value for all of them is given (NaN). */
static inline EkOnnx__TensorProto *graph_floats(graph *g, const char *name, float value, int ndim, const int64_t *dim)
{
    size_t count = 1;
    EkOnnx__TensorProto *tensor = graph_tensor(g, name, EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, ndim, dim);
    for (int d = 0; d < ndim; d++)
        count *= (size_t)dim[d];
    float *values = graph_room(g, count * sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = value == value ? value : (float)(i % 64) / 8 - 1;
    tensor->has_raw_data = true;
    tensor->raw_data = (ProtobufCBinaryData){count * sizeof *values, (uint8_t *)values};
    return tensor;
}

#define GRAPH_FLOATS(g, name, value, ...)                                                                            \
    graph_floats(g, name, value, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})
#define SOME (0.0f / 0.0f)

/* "Min x,20 a; Relu a y": nodes in their order; a word that is a number is a constant of one number. */
static inline void graph_nodes(graph *g, const char *text)
{
    for (const char *rest = text; *rest;) {
        char type[20], inputs[60], output[20];
        int length = 0;
        assert_int_equal(sscanf(rest, " %19s %59s %19[^; ]%n", type, inputs, output, &length), 3);
        rest += length + (rest[length] == ';');
        char *words = inputs;
        for (char *word; (word = strsep(&words, ","));) {
            char *end;
            const float number = strtof(word, &end);
            bool there = *end || end == word;
            for (size_t i = 0; i < g->graph.n_initializer && !there; i++)
                there = !strcmp(g->tensors[i]->name, word);
            if (!there) /* NaN, too */
                memcpy(GRAPH_FLOATS(g, word, 0, 1)->raw_data.data, &number, sizeof number);
            if (words)
                words[-1] = ','; /* whole again */
        }
        graph_node(g, type, inputs, output);
    }
}

static inline void graph_int_tensor(graph *g, const char *name, int64_t count, const int64_t *values)
{
    EkOnnx__TensorProto *tensor = graph_tensor(g, name, EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, &count);
    tensor->n_int64_data = (size_t)count;
    tensor->int64_data = graph_room(g, (size_t)count * sizeof *values);
    memcpy(tensor->int64_data, values, (size_t)count * sizeof *values);
}

#define GRAPH_INT64(g, name, ...)                                                                                    \
    graph_int_tensor(g, name, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

static inline void graph_prop(graph *g, const char *key, const char *value)
{
    EkOnnx__StringStringEntryProto *entry = graph_room(g, sizeof *entry);
    ek_onnx__string_string_entry_proto__init(entry);
    entry->key = graph_word(g, key, strlen(key));
    entry->value = graph_word(g, value, strlen(value));
    g->props[g->model.n_metadata_props++] = entry;
}

/* Writes the graph to `path`. */
static inline void graph_write(const graph *g, const char *path)
{
    ek_file_writer *writer = NULL;
    unsigned char *bytes = NULL;
    size_t size;
    assert_int_equal(ek_onnx_pack(&g->model, &bytes, &size), EK_OK);
    assert_int_equal(ek_file_create(&writer, path), EK_OK);
    assert_int_equal(ek_file_write(writer, bytes, size), EK_OK);
    assert_int_equal(ek_file_commit(writer), EK_OK);
    ek_free(bytes);
}

/* Frees the graph after writing and importing it. */
static inline ek_status graph_import(graph *g, ek_net **net, const ek_import_onnx_options *options)
{
    char path[SCRATCH_SIZE];
    const int file = mkstemp(scratch_template(path, "graph"));
    assert_true(file >= 0);
    close(file);
    graph_write(g, path);
    graph_free(g);
    const ek_status status = ek_import_onnx(net, path, options);
    assert_true((status == EK_OK) == (*net != NULL));
    unlink(path);
    return status;
}

/* The graph is refused with this status, and its message behind the file's name is this. */
static inline void graph_refuse(graph *g, ek_status status, const char *message)
{
    ek_net *net = NULL;
    char *report = NULL;
    const ek_status got = graph_import(g, &net, &(ek_import_onnx_options){.report = &report});
    const char *behind = strstr(ek_error(), ": ");
    if (got != status || !behind || strcmp(behind + 2, message) != 0)
        fail_msg("%s: %s\nnot %s: %s", ek_status_name(got), ek_error(), ek_status_name(status), message);
    assert_null(report);
}

#endif
