/* SPDX-License-Identifier: MIT
 * An ONNX model in the making: nodes, tensors and properties, one call each. All memory is the graph's, and goes with
 * it. The first call that fails is what `status` says, and later ones do nothing: a caller looks at it once, at the
 * end. */
#ifndef EK_IO_ONNX_GRAPH_H
#define EK_IO_ONNX_GRAPH_H

#include "io/onnx_proto.h"

#ifdef EK_HAVE_ONNX

#include <stdbool.h>
#include <stdint.h>

typedef struct ek_graph_chunk ek_graph_chunk;

/* Pointers, with room for more. */
typedef struct ek_graph_list {
    void **items;
    size_t count, room;
} ek_graph_list;

typedef struct ek_graph {
    ek_status status;
    ek_graph_chunk *chunks;
    ek_graph_list nodes, tensors, properties;
    const char *scope;  /* before the names of nodes: "/3/body/0", "" for none */
    size_t scope_begin; /* the first node with this scope */
} ek_graph;

/* A graph starts as {0} with its scope. */
void ek_graph_free(ek_graph *g);

/* Zeroed memory and a formatted string, the graph's; NULL after a failure. */
void *ek_graph_alloc(ek_graph *g, size_t count, size_t size);
const char *ek_graph_text(ek_graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Names of the nodes from here on: "SCOPE/Conv", and "SCOPE/Conv_1" for the second one. The string is kept. */
void ek_graph_scope(ek_graph *g, const char *scope);

/* A node of ONNX's own operators, with one output: "SCOPE/Conv_output_0". `inputs` are `count` values' names; NULL
 * stands for one that is left out. NULL after a failure, which the calls below accept. */
EkOnnx__NodeProto *ek_graph_node(ek_graph *g, const char *type, int count, const char *const *inputs);
const char *ek_graph_value(const EkOnnx__NodeProto *node);

/* Attributes; a node has at most EK_GRAPH_ATTRIBUTES. */
enum { EK_GRAPH_ATTRIBUTES = 8 };
void ek_graph_set_int(ek_graph *g, EkOnnx__NodeProto *node, const char *name, int64_t value);
void ek_graph_set_ints(ek_graph *g, EkOnnx__NodeProto *node, const char *name, int count, const int64_t *values);
void ek_graph_set_float(ek_graph *g, EkOnnx__NodeProto *node, const char *name, float value);
void ek_graph_set_string(ek_graph *g, EkOnnx__NodeProto *node, const char *name, const char *value);

/* Initialisers; each returns its name. Floats stay where they are until the graph goes, integers are copied. */
const char *ek_graph_floats(ek_graph *g, const char *name, int ndim, const int64_t *dim, const float *values);
const char *ek_graph_number(ek_graph *g, const char *name, float value);
const char *ek_graph_integers(ek_graph *g, const char *name, int count, const int64_t *values);

/* An entry of metadata_props; the strings are kept. */
void ek_graph_property(ek_graph *g, const char *key, const char *value);

/* Input or output of the graph: float32 of the batch (0: any, named "batch"), then `ndim` extents. */
EkOnnx__ValueInfoProto *ek_graph_tensor_type(ek_graph *g, const char *name, int64_t batch, int ndim,
                                             const int64_t *dim);

/* The whole as a model of that opset; the graph's. NULL after a failure. */
EkOnnx__ModelProto *ek_graph_model(ek_graph *g, int opset, EkOnnx__ValueInfoProto *input,
                                   EkOnnx__ValueInfoProto *output, const char *doc);

#endif
#endif
