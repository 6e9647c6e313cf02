/* SPDX-License-Identifier: MIT
 * A graph's names and the order of its nodes: what the output needs, one node after the other. */
#include "io/onnx_read.h"

#ifdef EK_HAVE_ONNX

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Messages ------------------------------------------------------------------------------------------------- */

const char *ek_onnx_node_text(const onnx_reader *r, int node, char text[ONNX_NODE_TEXT])
{
    if (node < 0) {
        snprintf(text, ONNX_NODE_TEXT, "the input");
        return text;
    }
    const EkOnnx__NodeProto *n = r->graph->node[node];
    const char *type = n->op_type ? n->op_type : "";
    if (n->name && *n->name)
        snprintf(text, ONNX_NODE_TEXT, "node '%.80s' (%.40s)", n->name, type);
    else if (n->n_output > 0 && *n->output[0])
        snprintf(text, ONNX_NODE_TEXT, "the node that makes '%.70s' (%.40s)", n->output[0], type);
    else
        snprintf(text, ONNX_NODE_TEXT, "node %d (%.40s)", node, type);
    return text;
}

ek_status ek_onnx_fail_in(const onnx_reader *r, ek_status status)
{
    char node[ONNX_NODE_TEXT];
    if (!status || status == EK_ERR_MEMORY)
        return status;
    if (r->node >= 0)
        status = ek_fail_in(status, ek_onnx_node_text(r, r->node, node));
    return ek_fail_in(status, r->path);
}

ek_status ek_onnx_fail(const onnx_reader *r, ek_status status, const char *format, ...)
{
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return ek_onnx_fail_in(r, ek_fail(status, "%s", text));
}

ek_status ek_onnx_tell(onnx_reader *r, const char *format, ...)
{
    char line[512];
    va_list args;
    if (!r->options->report)
        return EK_OK;
    va_start(args, format);
    const int written = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    size_t length = written < 0 ? 0 : (size_t)written < sizeof line - 1 ? (size_t)written : sizeof line - 2;
    for (size_t i = 0; i < length; i++) /* names come from the file: a line stays one */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = ' ';
    line[length++] = '\n';
    if (r->report_room - r->report_length <= length) {
        char *grown = ek_realloc(r->report, ek_size_add(2 * r->report_room, sizeof line), 1);
        if (!grown)
            return EK_ERR_MEMORY;
        r->report = grown;
        r->report_room = 2 * r->report_room + sizeof line;
    }
    memcpy(r->report + r->report_length, line, length);
    r->report_length += length;
    r->report[r->report_length] = '\0';
    return EK_OK;
}

/* ---- Attributes ----------------------------------------------------------------------------------------------- */

const EkOnnx__AttributeProto *ek_onnx_attribute(const onnx_reader *r, const char *name)
{
    const EkOnnx__NodeProto *node = ek_onnx_node(r);
    for (size_t i = 0; i < node->n_attribute; i++)
        if (node->attribute[i]->name && !strcmp(node->attribute[i]->name, name))
            return node->attribute[i];
    return NULL;
}

static ek_status wrong_type(const onnx_reader *r, const char *name, const char *wanted)
{
    return ek_onnx_fail(r, EK_ERR_FORMAT, "its attribute %s is no %s", name, wanted);
}

ek_status ek_onnx_int(const onnx_reader *r, const char *name, int64_t otherwise, int64_t *value)
{
    const EkOnnx__AttributeProto *attribute = ek_onnx_attribute(r, name);
    if (attribute && !attribute->has_i)
        return wrong_type(r, name, "integer");
    *value = attribute ? attribute->i : otherwise;
    return EK_OK;
}

ek_status ek_onnx_float(const onnx_reader *r, const char *name, double otherwise, double *value)
{
    const EkOnnx__AttributeProto *attribute = ek_onnx_attribute(r, name);
    if (attribute && !attribute->has_f)
        return wrong_type(r, name, "number");
    *value = attribute ? (double)attribute->f : otherwise;
    return EK_OK;
}

ek_status ek_onnx_word(const onnx_reader *r, const char *name, const char *const *words, int *index)
{
    const EkOnnx__AttributeProto *attribute = ek_onnx_attribute(r, name);
    *index = 0;
    if (!attribute)
        return EK_OK;
    if (!attribute->has_s)
        return wrong_type(r, name, "text");
    for (*index = 0; words[*index]; ++*index)
        if (strlen(words[*index]) == attribute->s.len && !memcmp(words[*index], attribute->s.data, attribute->s.len))
            return EK_OK;
    const int shown = attribute->s.len < 40 ? (int)attribute->s.len : 40;
    return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its attribute %s is '%.*s'; %s is what is read", name, shown,
                        shown ? (const char *)attribute->s.data : "", words[0]);
}

ek_status ek_onnx_ints(const onnx_reader *r, const char *name, int count, int64_t otherwise, int64_t *values)
{
    const EkOnnx__AttributeProto *attribute = ek_onnx_attribute(r, name);
    if (attribute && attribute->n_ints != (size_t)count)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its attribute %s has %zu integers, where images take %d", name,
                            attribute->n_ints, count);
    for (int i = 0; i < count; i++)
        values[i] = attribute ? attribute->ints[i] : otherwise;
    return EK_OK;
}

/* ---- Inputs of a node ----------------------------------------------------------------------------------------- */

static int compare_values(const void *a, const void *b)
{
    return strcmp(((const onnx_value *)a)->name, ((const onnx_value *)b)->name);
}

static onnx_value *find(const onnx_reader *r, const char *name)
{
    const onnx_value key = {.name = name};
    return bsearch(&key, r->values, r->value_count, sizeof *r->values, compare_values);
}

const onnx_value *ek_onnx_input(const onnx_reader *r, size_t i)
{
    const EkOnnx__NodeProto *node = ek_onnx_node(r);
    return i < node->n_input && *node->input[i] ? find(r, node->input[i]) : NULL;
}

ek_status ek_onnx_constant(const onnx_reader *r, size_t i, const ek_onnx_array **array)
{
    const onnx_value *value = ek_onnx_input(r, i);
    *array = value ? value->array : NULL;
    if (value && !value->array)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "its input '%.80s' is computed from the data; a constant is what is "
                            "read",
                            value->name);
    return EK_OK;
}

ek_status ek_onnx_list(const onnx_reader *r, const char *name, int since, size_t i, int64_t values[2 * ONNX_NDIM],
                       int *count)
{
    const EkOnnx__AttributeProto *attribute = r->opset < since ? ek_onnx_attribute(r, name) : NULL;
    const ek_onnx_array *array = NULL;
    if (r->opset >= since)
        EK_TRY(ek_onnx_constant(r, i, &array));
    *count = -1;
    if (!attribute && !array)
        return EK_OK;
    if (array && (array->ndim > 1 || !ek_onnx_is_integer(array)))
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its %s are no list of integers", name);
    const int64_t length = attribute ? (int64_t)attribute->n_ints : array->count;
    if (length > 2 * ONNX_NDIM)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its %s are %jd; at most %d are read", name, (intmax_t)length,
                            2 * ONNX_NDIM);
    *count = (int)length;
    for (int k = 0; k < *count; k++)
        values[k] = attribute ? attribute->ints[k] : ek_onnx_integer(array, k);
    return EK_OK;
}

/* ---- What a node makes ---------------------------------------------------------------------------------------- */

ek_status ek_onnx_add(onnx_reader *r, onnx_op op, int count, const int *reads, int *index)
{
    if (r->op_count == EK_LAYERS_MAX || r->edge_count > 4 * EK_LAYERS_MAX - count)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "one operation too many: a net has at most %d layers",
                            EK_LAYERS_MAX);
    if (r->op_count == r->op_room) {
        onnx_op *ops = ek_realloc(r->ops, 2 * (size_t)r->op_room + 16, sizeof *ops);
        if (!ops)
            return EK_ERR_MEMORY;
        r->ops = ops;
        r->op_room = 2 * r->op_room + 16;
    }
    if (r->edge_room - r->edge_count < count) {
        int *edges = ek_realloc(r->edges, 2 * (size_t)r->edge_room + (size_t)count + 16, sizeof *edges);
        if (!edges)
            return EK_ERR_MEMORY;
        r->edges = edges;
        r->edge_room = 2 * r->edge_room + count + 16;
    }
    op.node = r->node;
    op.in = r->edge_count;
    op.count = count;
    op.net_layer = -1;
    for (int i = 0; i < count; i++)
        r->edges[r->edge_count++] = reads[i];
    *index = r->op_count;
    r->ops[r->op_count++] = op;
    return EK_OK;
}

/* The value of the node's first output. */
static ek_status made(const onnx_reader *r, onnx_value **value)
{
    const EkOnnx__NodeProto *node = ek_onnx_node(r);
    *value = node->n_output > 0 ? find(r, node->output[0]) : NULL;
    return *value ? EK_OK : ek_onnx_fail(r, EK_ERR_FORMAT, "it makes nothing");
}

ek_status ek_onnx_bind(onnx_reader *r, int op)
{
    onnx_value *value;
    EK_TRY(made(r, &value));
    value->op = op;
    return EK_OK;
}

ek_status ek_onnx_bind_array(onnx_reader *r, ek_onnx_array *array)
{
    onnx_value *value;
    EK_TRY(made(r, &value));
    value->array = array;
    return EK_OK;
}

ek_onnx_array *ek_onnx_new_array(onnx_reader *r)
{
    return &r->arrays[r->array_count++]; /* one a name at most: there is room */
}

/* ---- Names ---------------------------------------------------------------------------------------------------- */

static size_t count_names(const EkOnnx__GraphProto *graph)
{
    size_t count = graph->n_input + graph->n_initializer;
    for (size_t n = 0; n < graph->n_node; n++)
        count += graph->node[n]->n_output;
    return count;
}

static void add_name(onnx_reader *r, const char *name, int maker, const EkOnnx__TensorProto *initialiser)
{
    if (name && *name)
        r->values[r->value_count++] =
            (onnx_value){.name = name, .maker = maker, .initialiser = initialiser, .op = -1};
}

/* Initialisers may be named as inputs, too (of old files): they are constants all the same. */
static ek_status check_names(onnx_reader *r)
{
    size_t kept = 0;
    qsort(r->values, r->value_count, sizeof *r->values, compare_values);
    for (size_t i = 0; i < r->value_count; i++) {
        onnx_value *value = &r->values[i], *before = kept ? &r->values[kept - 1] : NULL;
        if (!before || strcmp(before->name, value->name) != 0) {
            r->values[kept++] = *value;
            continue;
        }
        if (before->maker >= 0 || value->maker >= 0 || !before->initialiser == !value->initialiser)
            return ek_onnx_fail(r, EK_ERR_FORMAT, "the name '%.80s' stands for two values", value->name);
        if (value->initialiser)
            *before = *value;
    }
    r->value_count = kept;
    return EK_OK;
}

static ek_status gather_names(onnx_reader *r)
{
    const EkOnnx__GraphProto *graph = r->graph;
    const size_t count = count_names(graph);
    if (graph->n_node > 8 * (size_t)EK_LAYERS_MAX)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its graph has %zu nodes; at most %d are read", graph->n_node,
                            8 * EK_LAYERS_MAX);
    r->values = ek_calloc(count, sizeof *r->values);
    r->arrays = r->values ? ek_calloc(count, sizeof *r->arrays) : NULL;
    r->needed = r->arrays ? ek_calloc(graph->n_node, sizeof *r->needed) : NULL;
    if (!r->needed)
        return EK_ERR_MEMORY;
    for (size_t i = 0; i < graph->n_input; i++)
        add_name(r, graph->input[i]->name, -1, NULL);
    for (size_t i = 0; i < graph->n_initializer; i++)
        add_name(r, graph->initializer[i]->name, -1, graph->initializer[i]);
    for (size_t n = 0; n < graph->n_node; n++)
        for (size_t i = 0; i < graph->node[n]->n_output; i++)
            add_name(r, graph->node[n]->output[i], (int)n, NULL);
    return check_names(r);
}

/* ---- What the output needs ------------------------------------------------------------------------------------ */

static ek_status find_output(onnx_reader *r, onnx_value **output)
{
    const EkOnnx__GraphProto *graph = r->graph;
    const char *wanted = r->options->output;
    if (graph->n_output == 0)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its graph has no output");
    if (graph->n_output > 1 && !wanted)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "its graph has %zu outputs; a net has one: say which, '%.40s' or '%.40s' or another",
                            graph->n_output, graph->output[0]->name ? graph->output[0]->name : "",
                            graph->output[1]->name ? graph->output[1]->name : "");
    const char *name = wanted ? wanted : graph->output[0]->name;
    *output = name && *name ? find(r, name) : NULL;
    return *output ? EK_OK : ek_onnx_fail(r, EK_ERR_FORMAT, "nothing makes its output '%.80s'", name ? name : "");
}

/* A value that a node reads, or the graph gives out. */
static ek_status want(onnx_reader *r, onnx_value *value)
{
    char maker[ONNX_NODE_TEXT];
    value->wanted = true;
    if (value->maker < 0)
        return EK_OK;
    if (r->node >= 0 && value->maker >= r->node)
        return ek_onnx_fail(
            r, EK_ERR_FORMAT,
            "it reads '%.80s', which %s makes %s: the graph has a cycle, or its nodes are out of order", value->name,
            ek_onnx_node_text(r, value->maker, maker), value->maker == r->node ? "itself" : "behind it");
    const EkOnnx__NodeProto *node = r->graph->node[value->maker];
    if (strcmp(node->output[0], value->name) != 0) {
        r->node = value->maker;
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "its further output '%.80s' is used; its first one alone is read",
                            value->name);
    }
    r->needed[value->maker] = true;
    return EK_OK;
}

static ek_status mark_needed(onnx_reader *r, onnx_value *output)
{
    r->node = -1;
    EK_TRY(want(r, output));
    for (r->node = (int)r->graph->n_node - 1; r->node >= 0; r->node--) {
        const EkOnnx__NodeProto *node = ek_onnx_node(r);
        for (size_t i = 0; r->needed[r->node] && i < node->n_input; i++) {
            if (!*node->input[i])
                continue;
            onnx_value *value = find(r, node->input[i]);
            if (!value)
                return ek_onnx_fail(r, EK_ERR_FORMAT,
                                    "it reads '%.80s', which is neither an input nor an "
                                    "initialiser, and which no node makes",
                                    node->input[i]);
            EK_TRY(want(r, value));
        }
    }
    return EK_OK;
}

/* ---- The input ------------------------------------------------------------------------------------------------ */

/* Extent d of the input's shape: what the file says, else what the options say; the batch may stay open. */
static ek_status input_extent(const onnx_reader *r, const EkOnnx__TensorShapeProto *shape, size_t d, int otherwise,
                              int64_t *extent)
{
    const EkOnnx__TensorShapeProto__Dimension *dim = shape->dim[d];
    const bool known = dim->value_case == EK_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    *extent = known && (d > 0 || dim->dim_value > 0) ? dim->dim_value : d == 0 ? ONNX_BATCH : otherwise;
    if (d > 0 && otherwise && *extent != otherwise)
        return ek_onnx_fail(r, EK_ERR_SHAPE, "extent %zu of its input is %jd, and %d is asked for", d,
                            (intmax_t)*extent, otherwise);
    if (d == 0 || (*extent >= 1 && *extent <= EK_SAMPLE_MAX))
        return EK_OK;
    if (known)
        return ek_onnx_fail(r, EK_ERR_SHAPE, "extent %zu of its input is %jd", d, (intmax_t)*extent);
    return ek_onnx_fail(r, EK_ERR_SHAPE,
                        "it leaves extent %zu of its input open, after the batch; say which shape the "
                        "net's input has",
                        d);
}

static ek_status read_input(onnx_reader *r, const EkOnnx__ValueInfoProto *info)
{
    const EkOnnx__TypeProto *type = info->type;
    const EkOnnx__TypeProto__Tensor *tensor =
        type && type->value_case == EK_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ? type->tensor_type : NULL;
    const int asked[4] = {0, r->options->channels, r->options->height, r->options->width};
    int64_t extent[4] = {0, 1, 1, 1};
    if (!tensor || !tensor->shape || (tensor->shape->n_dim != 4 && tensor->shape->n_dim != 2))
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                            "its input '%.80s' has %zu dimensions; nets take images "
                            "[N,C,H,W] or features [N,F]",
                            info->name, tensor && tensor->shape ? tensor->shape->n_dim : 0);
    for (size_t d = 0; d < tensor->shape->n_dim; d++)
        EK_TRY(input_extent(r, tensor->shape, d, tensor->shape->n_dim == 4 ? asked[d] : 0, &extent[d]));
    r->batch = extent[0];
    const bool flat = tensor->shape->n_dim == 2;
    if (!flat && (extent[1] > EK_EXTENT_MAX || extent[2] > EK_EXTENT_MAX || extent[3] > EK_EXTENT_MAX ||
                  extent[1] * extent[2] > EK_SAMPLE_MAX / extent[3]))
        return ek_onnx_fail(r, EK_ERR_SHAPE, "its input of %jdx%jdx%jd is too large", (intmax_t)extent[1],
                            (intmax_t)extent[2], (intmax_t)extent[3]);
    onnx_op op = {.kind = ONNX_INPUT,
                  .out = {.c = (int)extent[1], .h = (int)extent[2], .w = (int)extent[3], .flat = flat}};
    int index;
    EK_TRY(ek_onnx_add(r, op, 0, NULL, &index));
    find(r, info->name)->op = index;
    return EK_OK;
}

ek_status ek_onnx_view_input(onnx_reader *r, int input, ek_dims dims)
{
    char old[40], new[40];
    if (r->edge_count > 0 || r->input_viewed)
        return ek_onnx_fail(r, EK_ERR_UNSUPPORTED, "it changes the input's shape, which other nodes read as it is");
    for (size_t i = 0; i < r->value_count; i++)
        if (r->values[i].op == input)
            r->values[i].op = -1;
    EK_TRY(ek_onnx_tell(r, "changed: the net's input is %s, where the graph's is %s", ek_dims_text(dims, new),
                        ek_dims_text(r->ops[input].out, old)));
    r->ops[input].out = dims;
    r->input_viewed = true;
    return ek_onnx_bind(r, input);
}

static ek_status find_input(onnx_reader *r)
{
    const EkOnnx__ValueInfoProto *input = NULL;
    r->node = -1;
    for (size_t i = 0; i < r->graph->n_input; i++) {
        const EkOnnx__ValueInfoProto *info = r->graph->input[i];
        const onnx_value *value = info->name && *info->name ? find(r, info->name) : NULL;
        if (!value || value->initialiser || !value->wanted)
            continue;
        if (input)
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                                "its output needs two inputs, '%.60s' and '%.60s'; a net has one", input->name,
                                info->name);
        input = info;
    }
    if (!input)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its output needs no input");
    return read_input(r, input);
}

/* ---- The nodes ------------------------------------------------------------------------------------------------ */

/* Opens the initialisers that the node reads. */
static ek_status open_inputs(onnx_reader *r, bool *constant)
{
    const EkOnnx__NodeProto *node = ek_onnx_node(r);
    *constant = true;
    for (size_t i = 0; i < node->n_input; i++) {
        onnx_value *value = *node->input[i] ? find(r, node->input[i]) : NULL;
        if (value && value->initialiser && !value->array) {
            value->array = ek_onnx_new_array(r);
            EK_TRY(ek_onnx_fail_in(r, ek_onnx_array_open(value->array, value->initialiser, &r->side)));
        }
        if (value && value->op >= 0)
            *constant = false;
        if (value && value->op < 0 && !value->array)
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                                "it reads the input as it is, and other nodes give that "
                                "another shape");
    }
    return EK_OK;
}

static ek_status read_nodes(onnx_reader *r)
{
    for (r->node = 0; r->node < (int)r->graph->n_node; r->node++) {
        bool constant, done = false;
        const char *domain = ek_onnx_node(r)->domain;
        if (!r->needed[r->node])
            continue;
        if (domain && *domain && strcmp(domain, "ai.onnx") != 0)
            return ek_onnx_fail(r, EK_ERR_UNSUPPORTED,
                                "its operator is of the domain '%.80s'; those of ONNX alone are "
                                "read",
                                domain);
        EK_TRY(open_inputs(r, &constant));
        EK_TRY(ek_onnx_fold(r, constant, &done));
        if (!done)
            EK_TRY(ek_onnx_read_node(r));
    }
    r->node = -1;
    return EK_OK;
}

ek_status ek_onnx_read_graph(onnx_reader *r)
{
    onnx_value *output;
    EK_TRY(gather_names(r));
    EK_TRY(find_output(r, &output));
    EK_TRY(mark_needed(r, output));
    EK_TRY(find_input(r));
    EK_TRY(read_nodes(r));
    if (output->op < 0)
        return ek_onnx_fail(r, EK_ERR_FORMAT, "its output is a constant");
    r->output = output->op;
    return EK_OK;
}

#endif
