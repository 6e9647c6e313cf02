/* SPDX-License-Identifier: MIT
 * A net as C source.
 *
 *   c_plan.c     layers become operations on one sample, and every value gets its place in one static array
 *   c_run.c      the operations done here, as the text does them
 *   c_kernels.c  the functions that operations call, as text
 *   c_source.c   the two files: weights, calls, self-test, header
 *   c_files.c    what it shares with nets in integers: names, arrays, the pair of files
 *
 * train/export_c.c folds, records what the self-test compares with, and writes the files. */
#ifndef EK_IO_C_SOURCE_H
#define EK_IO_C_SOURCE_H

#include "base/text.h"
#include "io/c_files.h"
#include "net/net.h"

/* ---- The plan ----------------------------------------------------------------------------------------------- */

typedef enum ek_c_kind {
    EK_C_CONV,
    EK_C_LINEAR,
    EK_C_SCALE, /* a batch norm by its moving statistics; in place, as the next ones */
    EK_C_LAYERNORM,
    EK_C_RELU,
    EK_C_LEAKY_RELU,
    EK_C_SIGMOID,
    EK_C_TANH,
    EK_C_GELU,
    EK_C_GELU_TANH,
    EK_C_ADD,     /* y = x + r */
    EK_C_ADD_PAD, /* y = x + r, r's rows and columns at a stride and channels missing */
    EK_C_MAXPOOL,
    EK_C_AVGPOOL,
    EK_C_COPY /* x to y from float `at` on: a part of a concat */
} ek_c_kind;

enum { EK_C_KINDS = EK_C_COPY + 1 };

typedef struct ek_c_op {
    ek_c_kind kind;
    int layer;
    int x, r, y; /* values; r: -1 for none */
    int plane;   /* a convolution's room for one channel with zeros around it, -1: it needs none */
    int64_t at;
} ek_c_op;

/* The floats of one sample between two layers. Value 0 is the net's input. */
typedef struct ek_c_value {
    int64_t count;
    int first, last; /* operations from the one that writes it to the last that reads it */
    int root;        /* the value in whose place it is, itself if in its own */
    int64_t place;   /* of a root: floats from the array's beginning */
} ek_c_value;

typedef struct ek_c_plan {
    const ek_net *net;
    ek_c_op *ops;
    int op_count;
    ek_c_value *values;
    int value_count;
    int *value_of;  /* each layer's */
    int output;     /* a value */
    int64_t memory; /* floats of the array */
} ek_c_plan;

/* Of a finished net. EK_ERR_UNSUPPORTED for a batch norm without moving statistics. For ek_c_plan_free. */
ek_status ek_c_plan_new(ek_c_plan *plan, const ek_net *net);
void ek_c_plan_free(ek_c_plan *plan);

/* Where a value begins. */
int64_t ek_c_place(const ek_c_plan *plan, int value);

/* Whether an operation changes y in its place: y is a copy of x before it, or has x's place. */
static inline bool ek_c_in_place(const ek_c_op *op)
{
    return op->kind >= EK_C_SCALE && op->kind <= EK_C_ADD_PAD;
}

/* What the C text computes, with the values of plan->net. image: normalised already; memory: plan->memory floats. */
void ek_c_run(const ek_c_plan *plan, const float *image, float *memory, float *outputs);

/* ---- The text ----------------------------------------------------------------------------------------------- */

/* In pieces of text '$' stands for the prefix and '@' for the same in capitals. */
typedef struct ek_c_writer {
    const ek_c_plan *plan;
    const char *prefix, *upper;
    ek_text *text;
} ek_c_writer;

void ek_c_say(ek_c_writer *w, const char *piece);
void ek_c_sayf(ek_c_writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The functions that the plan's operations need, each once. */
void ek_c_say_kernels(ek_c_writer *w);

/* What goes into the files beside the net. */
typedef struct ek_c_source {
    const ek_c_names *names;
    const ek_net *unfolded;    /* the net as it was; what is computed is the plan's */
    const float *mean, *std;   /* of the input's channels; NULL: no normalisation */
    int tests;                 /* samples of the self-test: */
    const uint8_t *pixels;     /* [tests, C, H, W] */
    const float *outputs;      /* [tests, outputs] */
    bool real;                 /* they are a data set's images */
    double allowed;            /* difference of an output */
    int64_t constants, memory; /* bytes: written by ek_c_write */
} ek_c_source;

/* Both files. The texts are empty ones before. */
ek_status ek_c_write(ek_c_source *source, const ek_c_plan *plan, ek_text *c, ek_text *h);

#endif
