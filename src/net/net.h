/* SPDX-License-Identifier: MIT
 * A net inside the library: its layers with their shapes, and the one table of its tensors that allocation,
 * initialisation, training, saving and loading all read. */
#ifndef EK_NET_NET_H
#define EK_NET_NET_H

#include "base/status.h"

typedef enum ek_layer_kind {
    EK_LAYER_CONV2D,
    EK_LAYER_LINEAR,
    EK_LAYER_BATCHNORM,
    EK_LAYER_LAYERNORM,
    EK_LAYER_RELU,
    EK_LAYER_LEAKY_RELU,
    EK_LAYER_SIGMOID,
    EK_LAYER_TANH,
    EK_LAYER_GELU,
    EK_LAYER_MAXPOOL2D,
    EK_LAYER_AVGPOOL2D,
    EK_LAYER_GLOBALAVGPOOL,
    EK_LAYER_FLATTEN,
    EK_LAYER_DROPOUT,
    EK_LAYER_RESIDUAL, /* blocks: they stand before the layers in them */
    EK_LAYER_CONCAT,
} ek_layer_kind;

enum { EK_LAYER_KINDS = EK_LAYER_CONCAT + 1 };

/* Shape of one sample between two layers: an image [c,h,w], or features [c] (flat, h = w = 1). */
typedef struct ek_dims {
    int c, h, w;
    bool flat;
} ek_dims;

/* Values in one sample. Extents and this product are kept within EK_SAMPLE_MAX by the builder. */
static inline int64_t ek_dims_count(ek_dims d)
{
    return (int64_t)d.c * d.h * d.w;
}
enum {
    EK_EXTENT_MAX = 65536,   /* channels, rows, columns, options that count; flat features may be more */
    EK_SAMPLE_MAX = 1 << 27, /* values of a sample */
    EK_TENSOR_MAX = 1 << 30, /* values of a tensor */
    EK_LAYERS_MAX = 100000,  /* and branches */
    EK_DEPTH_MAX = 8,        /* blocks around a layer */
    EK_PATH_SIZE = 256       /* bytes of a path: 5 digits, then 8 times ".branches.", two numbers and a point */
};

/* A layer: its options with defaults filled in, its shapes, and the rows of its tensors (-1: it has none). */
typedef struct ek_layer {
    ek_layer_kind kind;
    ek_dims in, out;
    union {
        struct { /* each for rows and for columns */
            int kernel[2], padding[2], stride[2], dilation[2];
            int groups;
            bool bias;
        } conv;
        struct {
            bool bias;
        } linear;
        struct {
            float eps, momentum; /* momentum < 0: cumulative */
            ek_moving_variance moving_variance;
            ek_normalize normalize;
            bool affine, scale, center; /* gamma is there with affine and scale, beta with affine and center */
            bool tracking, use_moving, hold_moving, hold_affine;
        } batchnorm;
        struct {
            float eps;
            bool affine;
        } layernorm;
        struct {
            float negative_slope;
        } leaky_relu;
        struct {
            float p;
        } dropout;
        struct {
            bool by_tanh; /* the approximation */
        } gelu;
        struct {
            int kernel[2], stride[2], padding[2];
            bool count_padding; /* avgpool: the zeros of the padding enter the mean */
        } pool;                 /* maxpool, avgpool */
        struct {
            bool pad; /* the shortcut is subsampled by stride and padded with channels of zeros */
            int stride;
        } residual;
    } o;
    /* Its place in the net. A block's parts are sequences of their own: a residual's body (0) and shortcut (1), the
     * branches of a concat. */
    int parent, part; /* the block it stands in (-1: the net itself), and which part of it */
    int position;     /* in its sequence, from 0: PyTorch's number */
    int depth;        /* blocks around it */
    int from;         /* the layer whose output is its input; -1: the net's */
    int parts;        /* of a block: how many there are */
    int end;          /* behind its last layer; of what is no block its own index + 1 */
    char *path;       /* "3", "3.body.0", "4.branches.1.2": PyTorch's name of the module */
    int weight, bias; /* gamma and beta of a normalisation */
    int moving_mean, moving_var, num_batches;
    char *text; /* its line of the net's text */
} ek_layer;

typedef struct ek_note {
    char *key, *value;
} ek_note;

/* Counters of batches stay where a float64 still counts by ones, far from overflow. */
#define EK_COUNTER_MAX (INT64_C(1) << 53)

struct ek_net {
    ek_status status; /* of the first builder call that failed, with its message */
    char message[512];
    ek_dims input;
    ek_layer *layers;
    int layer_count, layer_room;
    int open;       /* the innermost block that has not ended, -1: none */
    int tail;       /* the layer whose output the next one reads, -1: the net's input */
    int position;   /* of the next layer in its sequence */
    int part_count; /* parts of all blocks */
    bool finished;  /* the table below exists: no more layers */
    ek_tensor *tensors;
    int tensor_count;
    char *names;   /* of the tensors */
    float *values; /* one block that holds every float tensor, each 64-byte aligned, in the table's order */
    size_t value_count;
    int64_t *counters;
    ek_note *notes;
    int note_count;
};

/* Shape of a net's output sample; while a block is open, of what the next layer reads. */
ek_dims ek_net_output(const ek_net *net);

/* Reports the first builder error of a marked net, EK_ERR_ARGUMENT for NULL. */
ek_status ek_net_check(const ek_net *net);

/* The same, and EK_ERR_STATE for a net without layers; else lays out the table of tensors on the first call
 * (parameters start as ek_net_init's with EK_INIT_XAVIER and seed 0). Every use of a net begins here. */
ek_status ek_net_finish(ek_net *net);

/* Float values of all tensors there are or will be: what ek_net_finish allocates, known without it, so that a reader
 * of files need not allocate more than its file can hold. */
int64_t ek_net_float_count(const ek_net *net);

/* The tensors of a layer in the table's order, without names and places; returns how many. */
enum { EK_LAYER_TENSORS_MAX = 5 };
int ek_layer_tensors(const ek_layer *layer, ek_tensor tensors[EK_LAYER_TENSORS_MAX]);

/* A layer's line of the net's text, for ek_free; NULL without memory. */
char *ek_layer_text(const ek_layer *layer);

static inline bool ek_is_block(ek_layer_kind kind)
{
    return kind == EK_LAYER_RESIDUAL || kind == EK_LAYER_CONCAT;
}

/* Whether exact statistics of it are measured: one that is frozen counts as any other layer. */
static inline bool ek_is_measured(const ek_layer *l)
{
    return l->kind == EK_LAYER_BATCHNORM && !(l->o.batchnorm.tracking && l->o.batchnorm.hold_moving);
}

/* Sets `out` of a layer whose kind, options and `in` are set (a convolution or linear layer brings its width in out.c):
 * every option is checked. EK_ERR_ARGUMENT, EK_ERR_SHAPE. No block. */
ek_status ek_layer_infer(ek_layer *layer);

/* Appends a layer whose kind and options are set: checks every option, infers the shapes. Marks the net on failure,
 * as all builder calls do. A convolution or linear layer brings its width in out.c. A block is begun, as
 * ek_net_residual_begin does. */
ek_status ek_net_add(ek_net *net, const ek_layer *layer);

/* ek_net_parse with a status. *net is NULL after a failure. */
ek_status ek_net_read(ek_net **net, const char *text, const char *name);

/* "16x4x4" or "400 features", for messages. */
const char *ek_dims_text(ek_dims dims, char buffer[40]);

/* "layer 3.body.0 (batchnorm)": how messages name a layer. Layers count from 0, as in PyTorch's names. */
enum { EK_LABEL_SIZE = EK_PATH_SIZE + 32 };
const char *ek_layer_label(const ek_net *net, int layer, char buffer[EK_LABEL_SIZE]);

/* Returns `status` after marking the net with it and its message, where it is a failure: the net's next use reports
 * it. No call builds on a net that is marked already. */
ek_status ek_net_mark(ek_net *net, ek_status status);

/* Fails with EK_ERR_STATE while a block is open. */
ek_status ek_net_check_ended(const ek_net *net);

#endif
