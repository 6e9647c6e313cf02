/* SPDX-License-Identifier: MIT
 *
 * A net compiled for a batch size and a mode: a flat list of steps over one arena. The plan (net/) writes it, a
 * backend runs it, ek_program_describe prints it.
 *
 * A step's scope says how it is cut into items, whatever the number of threads:
 *   EK_PER_BLOCK  one item for each block of sixteen samples
 *   EK_PER_ITEM   `items` independent pieces (of a weight, of a gradient)
 *   EK_ONCE       whole, when everything before it is done
 * Neighbours of one scope form a phase: of per-block steps an item runs them all, one after the other, so that a
 * block's data stay in the cache of one processor; per-item steps of a phase do not depend on each other. Between
 * phases everything waits for everything: a reduction over several processes fits there.
 */
#ifndef EK_OP_PROGRAM_H
#define EK_OP_PROGRAM_H

#include "base/status.h"
#include "op/batchnorm.h"
#include "op/dropout.h"
#include "op/input.h"
#include "op/op.h"
#include "op/optimizer.h"
#include "op/probe.h"

#include <stddef.h>

/* Part of a room, in floats. Size 0: none. */
typedef struct ek_buffer {
    int room;
    size_t shift, size;
} ek_buffer;

/* Where a room is. What later phases read lies in the block's region of the arena; what a block needs within one phase
 * alone lies in the region of the thread that has taken the block, and is overwritten by its next. The regions of a
 * kind are alike. Rooms whose values are not needed at the same time share memory. */
typedef struct ek_place {
    bool local;    /* the thread's */
    size_t offset; /* floats from the region's beginning */
} ek_place;

typedef enum ek_scope {
    EK_PER_BLOCK,
    EK_PER_ITEM,
    EK_ONCE,
} ek_scope;

typedef enum ek_step_kind {
    EK_STEP_PACK_FORWARD,       /* map: weight to packed */
    EK_STEP_PACK_BACKWARD,      /* map */
    EK_STEP_GATHER,             /* pass: the batch's bytes to y */
    EK_STEP_LOAD,               /* pass: the batch's floats to y */
    EK_STEP_MAP,                /* map: convolution or linear forward, x to y */
    EK_STEP_STATS,              /* norm: block statistics of x */
    EK_STEP_NORM_FORWARD,       /* norm: statistics of the batch */
    EK_STEP_UNIT,               /* unit: x to activated and y */
    EK_STEP_POOL,               /* pool: x to y */
    EK_STEP_LAYERNORM,          /* layernorm: x to y and saved */
    EK_STEP_JOIN,               /* join: x and r to y */
    EK_STEP_DROPOUT,            /* dropout: x to y */
    EK_STEP_COPY,               /* pass: x to y */
    EK_STEP_ROWS,               /* rows: features x to rows */
    EK_STEP_LOSS,               /* pass: logits x to losses, predictions and, in training, dx */
    EK_STEP_STORE,              /* pass: x to the caller's logits */
    EK_STEP_PROBE,              /* probe: a block's sums of x */
    EK_STEP_MAP_BACKWARD,       /* map: dy to dx */
    EK_STEP_WEIGHT_PARTS,       /* map: a block's share of a convolution's weight gradient */
    EK_STEP_SUM_PARTS,          /* sum: parts to a gradient */
    EK_STEP_LINEAR_WEIGHT,      /* rows: a linear layer's weight gradient */
    EK_STEP_UNIT_SUMS,          /* unit: a block's sums */
    EK_STEP_NORM_BACKWARD,      /* norm: sums of the batch */
    EK_STEP_UNIT_BACKWARD,      /* unit: dy to dx */
    EK_STEP_POOL_BACKWARD,      /* pool: dy to dx; of maxima with x */
    EK_STEP_LAYERNORM_BACKWARD, /* layernorm: dy to dx and parts */
    EK_STEP_JOIN_SUMS,          /* join: dy and more to dz, which is dx here; with a norm a block's sums */
    EK_STEP_SHORTCUT_BACKWARD,  /* join: dy to dx, through a shortcut that is not plain */
    EK_STEP_DROPOUT_BACKWARD,   /* dropout: dy to dx */
    EK_STEP_ADD,                /* pass: dx = dy + more */
    EK_STEP_ACCUMULATE,         /* update: gradients of a step's micro-batches, added up in their order */
    EK_STEP_CHECK,              /* whether the loss and every gradient are finite */
    EK_STEP_SQUARES,            /* update: sums of the gradients' squares, for clipping */
    EK_STEP_COMMIT,             /* clipping's scale and norms' moving statistics, unless something was not finite */
    EK_STEP_UPDATE, /* update: the optimiser, likewise; this and SQUARES with the last micro-batch alone */
} ek_step_kind;

typedef struct ek_step {
    ek_step_kind kind;
    ek_scope scope;
    int layer; /* index in the net, -1: none */
    int items; /* of EK_PER_ITEM */
    ek_buffer x, r, y, dy, more, dx;
    union {
        struct {
            ek_conv g;
            const float *weight, *bias; /* the net's; where folded those at weight_at, bias_at */
            size_t packed, weight_at, bias_at;
            int folded; /* layer of the batch norm folded in, -1: none */
            bool has_bias;
            ek_buffer parts; /* WEIGHT_PARTS: per block, weights then biases; works in the thread's scratch */
        } map;
        struct {
            ek_unit u;
            ek_batchnorm *norm; /* NULL without */
            bool keep;          /* activated is written, and read back */
            ek_buffer activated;
        } unit;
        struct {
            ek_join g;
            ek_batchnorm *norm; /* NULL without */
        } join;
        struct {
            ek_batchnorm *norm;
        } norm;
        struct {
            ek_pool2d g;
        } pool;
        struct {
            ek_dropout d;
            int64_t size; /* values of a sample */
        } dropout;
        struct {
            int64_t m;
            float eps;
            const float *gamma, *beta;
            ek_buffer saved; /* mean [16], rstd [16] */
            ek_buffer parts; /* dgamma [m], dbeta [m]; size 0: none */
        } layernorm;
        struct {
            int features, outputs;
            size_t rows;
            float *dweight, *dbias; /* NULL: none */
        } rows;
        struct {
            ek_buffer parts;
            size_t count;
            float *sum;
        } sum;
        struct {
            int64_t size;    /* values of a sample; of LOSS and STORE: outputs */
            float smoothing; /* LOSS: of labels */
        } pass;
        struct {
            ek_probe_point *point;
        } probe;
        struct {
            float *value; /* the net's, of which the program's spans train; an item is a span */
        } update;
    } u;
} ek_step;

/* A piece of the trainable values, alike in whether weight decay applies. */
typedef struct ek_span {
    size_t begin, count; /* at most EK_FLAT_ITEM */
    bool decays;
} ek_span;

/* The pieces in which flat arrays (sums, updates) and rows of linear gradients are cut. */
enum { EK_FLAT_ITEM = 4096, EK_ROWS_ITEM = 12 };

typedef struct ek_program {
    ek_step *steps;
    int count, capacity;
    bool training; /* loss with gradient, update */
    int64_t max_samples;
    int slots; /* blocks at hand at the same time, each with a region of what is local; at most a thread each */
    float *arena;
    size_t arena_size;                 /* floats: first what the program keeps, then scratch and regions */
    size_t scratch_at, scratch_stride; /* each thread's working memory */
    size_t local_at, local_stride;     /* each slot's region */
    size_t region_at, region_stride;   /* each block's region */
    ek_place *places;                  /* of rooms */
    float *gradients;                  /* training: of the net's values, same layout */
    size_t gradient_count;
    float *sums;   /* ACCUMULATE: gradients so far */
    float *states; /* training: the optimiser's, `state_count` arrays of gradient_count, zeros at first */
    int state_count;
    ek_span *spans;  /* training: what UPDATE changes, in the table's order */
    double *squares; /* SQUARES: of each span */
    int span_count;
    ek_batchnorm *norms;
    int norm_count;
    int levels;             /* of batch norms that are measured (net/plan.h, `exact`) */
    ek_probe_point *points; /* PROBE, in the order of the steps */
    int point_count;
    const char **paths; /* of the net's layers, by ek_step.layer, for messages; the net's */
} ek_program;

/* One batch for a program: what goes in, and where the results go. Arrays of `samples` entries. */
typedef struct ek_batch {
    int64_t samples;                     /* 1..max_samples */
    int64_t before, total;               /* of a micro-batch: samples of its step before it, and all; 0, 0: a step */
    const uint8_t *const *images;        /* GATHER: bytes of each sample */
    const float *values;                 /* LOAD: [samples, size] */
    const ek_normal *normal;             /* GATHER, LOAD: NULL leaves the values alone */
    const ek_augmentation *augmentation; /* GATHER: NULL leaves the bytes alone */
    uint8_t *scratch;                    /* with an augmentation: [threads, EK_LANES, size], for changed images */
    uint64_t seed;                       /* these three key what is random in a step */
    uint32_t epoch;                      /* */
    const int32_t *ids;                  /* number of each sample in its data set; NULL: in the step */
    const uint8_t *labels;               /* LOSS */
    double *loss;                        /* LOSS: of each sample */
    int *predicted;                      /* LOSS */
    float *logits;                       /* STORE: [samples, outputs] */
    const ek_update *update;             /* UPDATE; NULL: values stay as they are */
    double *norm;                        /* COMMIT after SQUARES: the gradients' 2-norm; NULL: not wanted */
} ek_batch;

void ek_program_free(ek_program *program);

/* Step i as one line, into `line`. */
void ek_program_describe(const ek_program *program, int i, char *line, size_t size);

#endif
