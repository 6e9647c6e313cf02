/* SPDX-License-Identifier: MIT
 * Reading ONNX graphs as nets, in steps, a file each:
 *   onnx_read_array.c   constants: tensors of the file, and of files beside it, checked against their shapes
 *   onnx_read_graph.c   names, inputs, the order of the nodes; what the output needs
 *   onnx_read_fold.c    nodes on constants alone, which compute shapes and paddings
 *   onnx_read_ops.c     nodes on data: each becomes an operation, with the shape of what it makes
 *   onnx_read_shapes.c  likewise, those that shape and join
 *   onnx_read_match.c   several operations that are one layer: layer norm, biases, paddings
 *   onnx_read_pointwise.c  likewise, activations in parts
 *   onnx_read_blocks.c  the graph as a sequence of layers, residuals and branches: a net
 *   onnx_read_fill.c    the net's tensors from the constants
 *   onnx_read_props.c   what the file says of itself, where the graph bears it out
 * Every byte is hostile: nothing is allocated that the file does not fill, and nothing recurses as deep as a file
 * likes. */
#ifndef EK_IO_ONNX_READ_H
#define EK_IO_ONNX_READ_H
#include "io/onnx_proto.h"
#include "net/net.h" /* without ONNX this, since a file must declare something */

#ifdef EK_HAVE_ONNX

#include <sys/types.h>

/* ---- Constants ------------------------------------------------------------------------------------------------ */

enum {
    ONNX_NDIM = 8,
    ONNX_FOLDED_MAX = 1 << 22 /* numbers computed from constants, of a whole graph */
};

/* A dimension that the graph leaves open: the batch. No number that files have: PyTorch's slices end at INT64_MIN + 1.
 */
#define ONNX_BATCH (INT64_MIN + 0x6261746368)

/* Elements are in one place: in the message, in `bytes` (little-endian), or computed, in `ints` or `floats`. */
typedef struct ek_onnx_array {
    const EkOnnx__TensorProto *proto;
    int type; /* EK_ONNX__TENSOR_PROTO__DATA_TYPE__... */
    int ndim;
    int64_t dim[ONNX_NDIM], count;
    bool transposed; /* the two dimensions are the other way round in memory */
    bool view;       /* its elements are another's */
    const unsigned char *bytes;
    unsigned char *loaded; /* of a file beside it: its own */
    int64_t *ints;
    double *floats;
} ek_onnx_array;

/* Files that tensors lie in, beside the model: what is read of them is together no more than they have. */
typedef struct ek_onnx_file {
    dev_t device;
    ino_t inode;
} ek_onnx_file;
typedef struct ek_onnx_side {
    const char *path; /* the model's */
    ek_onnx_file *files;
    size_t file_count, room, total;
} ek_onnx_side;

/* Checks a tensor of the file: what it holds is as much as its shape says. `array` starts zeroed and is freed either
 * way. Its data stays the message's. */
ek_status ek_onnx_array_open(ek_onnx_array *array, const EkOnnx__TensorProto *proto, ek_onnx_side *side);
void ek_onnx_array_free(ek_onnx_array *array);

bool ek_onnx_is_float(const ek_onnx_array *array);
bool ek_onnx_is_integer(const ek_onnx_array *array);

/* Element i, 0 <= i < count, of numbers of either kind; integers of integer ones. */
double ek_onnx_number(const ek_onnx_array *array, int64_t i);
int64_t ek_onnx_integer(const ek_onnx_array *array, int64_t i);

/* "[6,1,5,5]" */
enum { ONNX_SHAPE_TEXT = 192 };
const char *ek_onnx_shape_text(const ek_onnx_array *array, char text[ONNX_SHAPE_TEXT]);

/* ---- Operations ----------------------------------------------------------------------------------------------- */

typedef enum onnx_kind {
    ONNX_INPUT,
    ONNX_LAYER, /* `layer` */
    ONNX_ADD,   /* of two values of one shape */
    ONNX_CONCAT,
    ONNX_PAD,      /* by `pads`: of channels, rows and columns before, then behind */
    ONNX_STRIDE,   /* every stride-th row and column, by layer.o.residual.stride */
    ONNX_MEAN,     /* over a whole sample: [N,1,...] */
    ONNX_ARITH,    /* with a constant: `function` of value and constant */
    ONNX_FUNCTION, /* of a value alone */
    ONNX_BINARY,   /* of two values, element by element */
    ONNX_VIEW,     /* the same values under another shape, which no layer takes */
} onnx_kind;

typedef enum onnx_function {
    ONNX_F_ADD,
    ONNX_F_SUB,
    ONNX_F_MUL,
    ONNX_F_DIV,
    ONNX_F_POW,
    ONNX_F_MAX,
    ONNX_F_MIN,
    ONNX_F_ERF,
    ONNX_F_SQRT,
    ONNX_F_NEG,
    ONNX_F_EXP,
    ONNX_F_RECIPROCAL,
    ONNX_F_TANH,
    ONNX_F_SIGMOID,
    ONNX_F_RELU,
} onnx_function;

enum { ONNX_TENSORS = 4 };

typedef struct onnx_op {
    onnx_kind kind;
    int node;      /* of the graph; -1: none */
    int in, count; /* what it reads: `count` operations, from edges[in] on */
    ek_dims out;
    int uses; /* by operations that count, and the output */
    bool dead;
    ek_layer layer;
    onnx_function function;
    bool constant_first;
    const ek_onnx_array *constant;
    int64_t pads[6];
    /* A layer's: weight, bias; gamma, beta, mean, variance. NULL: it has none, or ones and zeros. */
    const ek_onnx_array *tensors[ONNX_TENSORS];
    double scale[2];        /* of weight and bias */
    bool by_columns;        /* a linear layer's weight is [in, out] */
    double *slope, *offset; /* of a channel's map y = slope*x + offset: in place of tensors; `channels` of them */
    int channels;           /* 1: all alike */
    int net_layer;          /* where it became one, else -1 */
} onnx_op;

/* A name of the graph, and what stands behind it. */
typedef struct onnx_value {
    const char *name;
    int maker;   /* node that makes it; -1: input or initialiser */
    bool wanted; /* a node that counts reads it */
    const EkOnnx__TensorProto *initialiser;
    ek_onnx_array *array; /* a constant */
    int op;               /* or the operation; -1: none */
} onnx_value;

typedef struct onnx_reader {
    const char *path;
    size_t file_size;
    EkOnnx__ModelProto *model;
    const EkOnnx__GraphProto *graph;
    const ek_import_onnx_options *options;
    int opset;
    int64_t batch; /* ONNX_BATCH where the graph leaves it open */
    ek_onnx_side side;
    onnx_value *values; /* by name */
    size_t value_count;
    ek_onnx_array *arrays; /* of names that are constants; room for all */
    size_t array_count;
    int64_t folded; /* numbers computed from constants, so far */
    bool *needed;   /* nodes */
    int node;       /* at hand, for messages; -1: none */
    onnx_op *ops;
    int op_count, op_room;
    int *edges;
    int edge_count, edge_room;
    int output; /* operation */
    int *alias; /* operation that stands for another (onnx_read_match.c) */
    int *over;  /* dominators: every way from the input to an operation goes through over[op] */
    EkOnnx__StringStringEntryProto **props; /* by key */
    size_t prop_count;
    bool props_taken;  /* `net` is the one of the file's text */
    bool input_viewed; /* a node changed the input's shape */
    ek_net *net;
    char *report; /* lines; what it takes */
    size_t report_length, report_room;
} onnx_reader;

/* "FILE: node 'NAME' (OP): ", then the message; without a node at hand "FILE: ". */
ek_status ek_onnx_fail(const onnx_reader *r, ek_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same before a message that is there. */
ek_status ek_onnx_fail_in(const onnx_reader *r, ek_status status);

/* A line of the report. */
ek_status ek_onnx_tell(onnx_reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "node 'NAME' (OP)" */
enum { ONNX_NODE_TEXT = 160 };
const char *ek_onnx_node_text(const onnx_reader *r, int node, char text[ONNX_NODE_TEXT]);

/* ---- Nodes (onnx_read_graph.c) -------------------------------------------------------------------------------- */

/* Names, one input, one output, what it needs, the nodes in order: then every node that counts is an operation. */
ek_status ek_onnx_read_graph(onnx_reader *r);

static inline const EkOnnx__NodeProto *ek_onnx_node(const onnx_reader *r)
{
    return r->graph->node[r->node];
}

const EkOnnx__AttributeProto *ek_onnx_attribute(const onnx_reader *r, const char *name);
/* Of the node at hand, or the default; EK_ERR_FORMAT where the attribute is of another type. */
ek_status ek_onnx_int(const onnx_reader *r, const char *name, int64_t otherwise, int64_t *value);
ek_status ek_onnx_float(const onnx_reader *r, const char *name, double otherwise, double *value);
/* Which of `words` (ends with NULL) its text is, the first where it is not there; EK_ERR_UNSUPPORTED for others. */
ek_status ek_onnx_word(const onnx_reader *r, const char *name, const char *const *words, int *index);
/* Exactly `count` integers, `otherwise` of each where it is not there. */
ek_status ek_onnx_ints(const onnx_reader *r, const char *name, int count, int64_t otherwise, int64_t *values);

/* Input i of the node at hand: NULL where it has none, or an empty one. */
const onnx_value *ek_onnx_input(const onnx_reader *r, size_t i);
/* Its constant; EK_ERR_UNSUPPORTED where that is computed from the data; NULL where there is none. */
ek_status ek_onnx_constant(const onnx_reader *r, size_t i, const ek_onnx_array **array);
/* Integers that opsets before `since` have as attribute `name`, later ones as input i. *count is -1 where there are
 * none; at most ONNX_NDIM*2. */
ek_status ek_onnx_list(const onnx_reader *r, const char *name, int since, size_t i, int64_t values[2 * ONNX_NDIM],
                       int *count);

/* Appends an operation that reads `count` others, makes it the value of the node's output. */
ek_status ek_onnx_add(onnx_reader *r, onnx_op op, int count, const int *reads, int *index);
ek_status ek_onnx_bind(onnx_reader *r, int op);
ek_status ek_onnx_bind_array(onnx_reader *r, ek_onnx_array *array);
/* Room for another constant. */
ek_onnx_array *ek_onnx_new_array(onnx_reader *r);

/* ---- The steps ------------------------------------------------------------------------------------------------ */

/* The node at hand, where all that it reads is constant or it asks for a shape: *done where it is computed. A node on
 * constants that cannot be is an error. */
ek_status ek_onnx_fold(onnx_reader *r, bool constant, bool *done);

/* Operators that work element by element: how many inputs it has, 0 for others; what it computes (b unused of one). */
int ek_onnx_function(const char *type, onnx_function *function);
double ek_onnx_apply(onnx_function function, double a, double b);

/* What the Slice at hand takes of each dimension: `count` elements, the first and then every step-th. */
typedef struct onnx_slice {
    int64_t first, step, count;
} onnx_slice;
ek_status ek_onnx_slice(const onnx_reader *r, int ndim, const int64_t *dim, onnx_slice slices[ONNX_NDIM]);

/* The node at hand becomes an operation; the second takes what shapes, cuts, pads, joins, and works element by element:
 * *done where it did. */
ek_status ek_onnx_read_node(onnx_reader *r);
ek_status ek_onnx_read_shaping(onnx_reader *r, const char *type, bool *done);

/* Input i of the node at hand, which is data; and an image. */
ek_status ek_onnx_data(const onnx_reader *r, size_t i, int *op);
ek_status ek_onnx_image(const onnx_reader *r, size_t i, int *op);
/* Input i, a constant of floating-point numbers; NULL where there is none. `what`: for messages. */
ek_status ek_onnx_tensor(const onnx_reader *r, size_t i, const char *what, const ek_onnx_array **array);
/* A layer on operation `from`, whose shape is inferred; one without options; another operation: the node's value. */
ek_status ek_onnx_add_layer(onnx_reader *r, onnx_op op, int from);
ek_status ek_onnx_add_plain(onnx_reader *r, ek_layer_kind kind, int from);
ek_status ek_onnx_add_other(onnx_reader *r, onnx_op op, int count, const int *from);
/* EK_ERR_UNSUPPORTED unless `axis` is the first behind the batch. */
ek_status ek_onnx_whole_sample(const onnx_reader *r, int from, int64_t axis);

/* Padding of one dimension, `before` and `behind`, as a layer's, which is alike on both sides; what no window reads
 * does not count. span: cells that a window's kernel goes over. */
ek_status ek_onnx_even_padding(const onnx_reader *r, int64_t extent, int64_t before, int64_t behind, int64_t span,
                               int64_t stride, bool ceil, int *padding);

/* The node at hand gives the input another shape, or order of dimensions: the net's input is what it makes. */
ek_status ek_onnx_view_input(onnx_reader *r, int input, ek_dims dims);

/* Counts uses (0: the output does not need it), and finds `over`. */
ek_status ek_onnx_order(onnx_reader *r);

static inline int ek_onnx_read(const onnx_reader *r, const onnx_op *op, int i)
{
    return r->edges[op->in + i];
}

/* The whole of ek_import_onnx but for the file; takes the model over. `size`: bytes that it was in the file. */
ek_status ek_onnx_import(ek_net **net, const char *path, EkOnnx__ModelProto *model, size_t size,
                         const ek_import_onnx_options *options);

ek_status ek_onnx_match(onnx_reader *r);
/* A part of the graph that ends with operation i and is an activation becomes that layer, or goes where it changes
 * nothing. */
ek_status ek_onnx_match_activation(onnx_reader *r, int i);
/* `op` becomes a layer on operation `from`. */
ek_status ek_onnx_become_layer(onnx_reader *r, onnx_op *op, ek_layer layer, int from);
ek_status ek_onnx_build(onnx_reader *r);
ek_status ek_onnx_fill(onnx_reader *r);

/* The net that the file's own text describes, where it is the net at hand but for what a graph does not say, takes that
 * one's place, with its notes; once the tensors are filled, numbers that no node reads. */
ek_status ek_onnx_take_props(onnx_reader *r);
ek_status ek_onnx_take_numbers(onnx_reader *r);

#endif
#endif
