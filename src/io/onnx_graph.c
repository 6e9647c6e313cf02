/* SPDX-License-Identifier: MIT */
#include "io/onnx_graph.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Values are written as they lie in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little-endian");

/* ---- Memory ------------------------------------------------------------------------------------------------- */

enum { CHUNK_SIZE = 1 << 16, ALIGNMENT = 16 };

struct ek_graph_chunk {
    ek_graph_chunk *next;
    unsigned char *bytes;
    size_t used, size;
};

static bool add_chunk(ek_graph *g, size_t size)
{
    ek_graph_chunk *chunk = ek_calloc(1, sizeof *chunk);
    unsigned char *bytes = chunk ? ek_calloc(size, 1) : NULL;
    if (!bytes) {
        ek_free(chunk);
        g->status = EK_ERR_MEMORY;
        return false;
    }
    *chunk = (ek_graph_chunk){.next = g->chunks, .bytes = bytes, .size = size};
    g->chunks = chunk;
    return true;
}

void *ek_graph_alloc(ek_graph *g, size_t count, size_t size)
{
    const size_t bytes = ek_size_add(ek_size_mul(count, size), ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (g->status)
        return NULL;
    if ((!g->chunks || g->chunks->size - g->chunks->used < bytes) &&
        !add_chunk(g, bytes > CHUNK_SIZE ? bytes : CHUNK_SIZE))
        return NULL;
    void *memory = g->chunks->bytes + g->chunks->used;
    g->chunks->used += bytes;
    return memory;
}

const char *ek_graph_text(ek_graph *g, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = ek_graph_alloc(g, (size_t)length + 1, 1);
    if (!text)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

/* `item` is NULL after a failure before. */
static void append(ek_graph *g, ek_graph_list *list, void *item)
{
    if (g->status || !item)
        return;
    if (list->count == list->room) {
        const size_t room = list->room ? 2 * list->room : 64;
        void **items = ek_realloc(list->items, room, sizeof *items);
        if (!items) {
            g->status = EK_ERR_MEMORY;
            return;
        }
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = item;
}

void ek_graph_free(ek_graph *g)
{
    for (ek_graph_chunk *chunk = g->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        ek_free(chunk->bytes);
        ek_free(chunk);
    }
    ek_free(g->nodes.items);
    ek_free(g->tensors.items);
    ek_free(g->properties.items);
    *g = (ek_graph){.scope = ""};
}

/* ---- Nodes -------------------------------------------------------------------------------------------------- */

void ek_graph_scope(ek_graph *g, const char *scope)
{
    g->scope = scope ? scope : "";
    g->scope_begin = g->nodes.count;
}

/* Nodes of that type in the scope so far: a layer has few. */
static int same_type(const ek_graph *g, const char *type)
{
    int count = 0;
    for (size_t i = g->scope_begin; i < g->nodes.count; i++)
        count += !strcmp(((const EkOnnx__NodeProto *)g->nodes.items[i])->op_type, type);
    return count;
}

EkOnnx__NodeProto *ek_graph_node(ek_graph *g, const char *type, int count, const char *const *inputs)
{
    const int before = same_type(g, type);
    EkOnnx__NodeProto *node = ek_graph_alloc(g, 1, sizeof *node);
    char **values = ek_graph_alloc(g, (size_t)count + 1, sizeof *values);
    EkOnnx__AttributeProto **attributes = ek_graph_alloc(g, EK_GRAPH_ATTRIBUTES, sizeof *attributes);
    const char *name =
        before ? ek_graph_text(g, "%s/%s_%d", g->scope, type, before) : ek_graph_text(g, "%s/%s", g->scope, type);
    const char *output = ek_graph_text(g, "%s_output_0", name ? name : "");
    if (g->status)
        return NULL;
    *node = (EkOnnx__NodeProto)EK_ONNX__NODE_PROTO__INIT;
    for (int i = 0; i < count; i++) {
        values[i] = (char *)(inputs[i] ? inputs[i] : "");
        if (inputs[i])
            node->n_input = (size_t)i + 1; /* one that is left out at the end is not named */
    }
    values[count] = (char *)output;
    node->op_type = (char *)type;
    node->name = (char *)name;
    node->input = values;
    node->n_output = 1;
    node->output = &values[count];
    node->attribute = attributes;
    append(g, &g->nodes, node);
    return node;
}

const char *ek_graph_value(const EkOnnx__NodeProto *node)
{
    return node ? node->output[0] : NULL;
}

/* ---- Attributes --------------------------------------------------------------------------------------------- */

static EkOnnx__AttributeProto *add_attribute(ek_graph *g, EkOnnx__NodeProto *node, const char *name,
                                             EkOnnx__AttributeProto__AttributeType type)
{
    EkOnnx__AttributeProto *attribute = node ? ek_graph_alloc(g, 1, sizeof *attribute) : NULL;
    if (!attribute)
        return NULL;
    *attribute = (EkOnnx__AttributeProto)EK_ONNX__ATTRIBUTE_PROTO__INIT;
    attribute->name = (char *)name;
    attribute->has_type = true;
    attribute->type = type;
    node->attribute[node->n_attribute++] = attribute;
    return attribute;
}

void ek_graph_set_int(ek_graph *g, EkOnnx__NodeProto *node, const char *name, int64_t value)
{
    EkOnnx__AttributeProto *attribute = add_attribute(g, node, name, EK_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    if (!attribute)
        return;
    attribute->has_i = true;
    attribute->i = value;
}

void ek_graph_set_ints(ek_graph *g, EkOnnx__NodeProto *node, const char *name, int count, const int64_t *values)
{
    int64_t *copy = ek_graph_alloc(g, (size_t)count, sizeof *copy);
    EkOnnx__AttributeProto *attribute = add_attribute(g, node, name, EK_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    if (!copy || !attribute)
        return;
    memcpy(copy, values, (size_t)count * sizeof *copy);
    attribute->n_ints = (size_t)count;
    attribute->ints = copy;
}

void ek_graph_set_float(ek_graph *g, EkOnnx__NodeProto *node, const char *name, float value)
{
    EkOnnx__AttributeProto *attribute = add_attribute(g, node, name, EK_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    if (!attribute)
        return;
    attribute->has_f = true;
    attribute->f = value;
}

void ek_graph_set_string(ek_graph *g, EkOnnx__NodeProto *node, const char *name, const char *value)
{
    EkOnnx__AttributeProto *attribute =
        add_attribute(g, node, name, EK_ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    if (!attribute)
        return;
    attribute->has_s = true;
    attribute->s = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
}

/* ---- Tensors ------------------------------------------------------------------------------------------------ */

static const char *add_tensor(ek_graph *g, const char *name, EkOnnx__TensorProto__DataType type, int ndim,
                              const int64_t *dim, const void *values, size_t size)
{
    EkOnnx__TensorProto *tensor = ek_graph_alloc(g, 1, sizeof *tensor);
    int64_t *dims = ek_graph_alloc(g, (size_t)ndim + 1, sizeof *dims);
    if (!tensor || !dims || !name || !values)
        return NULL;
    *tensor = (EkOnnx__TensorProto)EK_ONNX__TENSOR_PROTO__INIT;
    for (int i = 0; i < ndim; i++) {
        dims[i] = dim[i];
        size *= (size_t)dim[i]; /* at most EK_TENSOR_MAX values */
    }
    tensor->name = (char *)name;
    tensor->has_data_type = true;
    tensor->data_type = (int32_t)type;
    tensor->n_dims = (size_t)ndim;
    tensor->dims = dims;
    tensor->has_raw_data = true;
    tensor->raw_data = (ProtobufCBinaryData){size, (uint8_t *)values};
    append(g, &g->tensors, tensor);
    return name;
}

const char *ek_graph_floats(ek_graph *g, const char *name, int ndim, const int64_t *dim, const float *values)
{
    return add_tensor(g, name, EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, ndim, dim, values, sizeof *values);
}

const char *ek_graph_number(ek_graph *g, const char *name, float value)
{
    float *copy = ek_graph_alloc(g, 1, sizeof *copy);
    if (copy)
        *copy = value;
    return ek_graph_floats(g, name, 0, NULL, copy);
}

const char *ek_graph_integers(ek_graph *g, const char *name, int count, const int64_t *values)
{
    int64_t *copy = ek_graph_alloc(g, (size_t)count, sizeof *copy);
    if (copy)
        memcpy(copy, values, (size_t)count * sizeof *copy);
    return add_tensor(g, name, EK_ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, (const int64_t[]){count}, copy,
                      sizeof *copy);
}

/* ---- The whole ---------------------------------------------------------------------------------------------- */

void ek_graph_property(ek_graph *g, const char *key, const char *value)
{
    EkOnnx__StringStringEntryProto *entry = ek_graph_alloc(g, 1, sizeof *entry);
    if (!entry || !key || !value)
        return;
    *entry = (EkOnnx__StringStringEntryProto)EK_ONNX__STRING_STRING_ENTRY_PROTO__INIT;
    entry->key = (char *)key;
    entry->value = (char *)value;
    append(g, &g->properties, entry);
}

EkOnnx__ValueInfoProto *ek_graph_tensor_type(ek_graph *g, const char *name, int64_t batch, int ndim,
                                             const int64_t *dim)
{
    struct all {
        EkOnnx__ValueInfoProto info;
        EkOnnx__TypeProto type;
        EkOnnx__TypeProto__Tensor tensor;
        EkOnnx__TensorShapeProto shape;
    } *all = ek_graph_alloc(g, 1, sizeof *all);
    EkOnnx__TensorShapeProto__Dimension *extents = ek_graph_alloc(g, (size_t)ndim + 1, sizeof *extents);
    EkOnnx__TensorShapeProto__Dimension **pointers = ek_graph_alloc(g, (size_t)ndim + 1, sizeof *pointers);
    if (!all || !extents || !pointers)
        return NULL;
    *all = (struct all){EK_ONNX__VALUE_INFO_PROTO__INIT, EK_ONNX__TYPE_PROTO__INIT, EK_ONNX__TYPE_PROTO__TENSOR__INIT,
                        EK_ONNX__TENSOR_SHAPE_PROTO__INIT};
    for (int i = 0; i <= ndim; i++) {
        const int64_t extent = i == 0 ? batch : dim[i - 1];
        extents[i] = (EkOnnx__TensorShapeProto__Dimension)EK_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__INIT;
        extents[i].value_case = EK_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        extents[i].dim_value = extent;
        if (extent == 0) {
            extents[i].value_case = EK_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            extents[i].dim_param = (char *)"batch";
        }
        pointers[i] = &extents[i];
    }
    all->info.name = (char *)name;
    all->info.type = &all->type;
    all->type.value_case = EK_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    all->type.tensor_type = &all->tensor;
    all->tensor.has_elem_type = true;
    all->tensor.elem_type = EK_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    all->tensor.shape = &all->shape;
    all->shape.n_dim = (size_t)ndim + 1;
    all->shape.dim = pointers;
    return &all->info;
}

/* The oldest version of the format that comes with an opset, after ONNX's table of versions: the more readers. */
static int64_t ir_version(int opset)
{
    return opset < 12 ? 6 : opset < 15 ? 7 : opset < 19 ? 8 : opset < 21 ? 9 : 10;
}

EkOnnx__ModelProto *ek_graph_model(ek_graph *g, int opset, EkOnnx__ValueInfoProto *input,
                                   EkOnnx__ValueInfoProto *output, const char *doc)
{
    struct all {
        EkOnnx__ModelProto model;
        EkOnnx__GraphProto graph;
        EkOnnx__OperatorSetIdProto opset;
        EkOnnx__OperatorSetIdProto *opsets[1];
        EkOnnx__ValueInfoProto *inputs[1], *outputs[1];
    } *all = ek_graph_alloc(g, 1, sizeof *all);
    if (!all || !input || !output)
        return NULL;
    all->model = (EkOnnx__ModelProto)EK_ONNX__MODEL_PROTO__INIT;
    all->graph = (EkOnnx__GraphProto)EK_ONNX__GRAPH_PROTO__INIT;
    all->opset = (EkOnnx__OperatorSetIdProto)EK_ONNX__OPERATOR_SET_ID_PROTO__INIT;
    all->opsets[0] = &all->opset;
    all->inputs[0] = input;
    all->outputs[0] = output;
    all->opset.domain = (char *)""; /* ONNX's own */
    all->opset.has_version = true;
    all->opset.version = opset;
    all->model.has_ir_version = true;
    all->model.ir_version = ir_version(opset);
    all->model.n_opset_import = 1;
    all->model.opset_import = all->opsets;
    all->model.producer_name = (char *)"evenkeel";
    all->model.producer_version = (char *)ek_version();
    all->model.doc_string = (char *)doc;
    all->model.graph = &all->graph;
    all->model.n_metadata_props = g->properties.count;
    all->model.metadata_props = (EkOnnx__StringStringEntryProto **)g->properties.items;
    all->graph.name = (char *)"net";
    all->graph.n_node = g->nodes.count;
    all->graph.node = (EkOnnx__NodeProto **)g->nodes.items;
    all->graph.n_initializer = g->tensors.count;
    all->graph.initializer = (EkOnnx__TensorProto **)g->tensors.items;
    all->graph.n_input = all->graph.n_output = 1;
    all->graph.input = all->inputs;
    all->graph.output = all->outputs;
    return &all->model;
}

#endif
