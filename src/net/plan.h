/* SPDX-License-Identifier: MIT
 * Compiling nets: from layers to the steps of op/program.h. */
#ifndef EK_NET_PLAN_H
#define EK_NET_PLAN_H

#include "net/net.h"
#include "op/program.h"

/* Where a batch comes from and what is wanted of it. */
typedef enum ek_plan_input {
    EK_INPUT_BYTES, /* ek_batch.images: byte/255 */
    EK_INPUT_FLOATS /* ek_batch.values */
} ek_plan_input;

typedef struct ek_plan_request {
    ek_mode mode;
    ek_plan_input input;
    bool loss;           /* losses and predictions against labels; else logits are stored. Training: true */
    int64_t max_samples; /* of a batch */
    int threads;         /* of the backend: how many buffers by_thread and scratch need */
    bool dry;            /* steps and sizes alone, to look at: there is no arena */
    /* Training: */
    int states;      /* arrays of the optimiser's state, ek_update_states */
    bool clips;      /* ek_update.clip will be asked for */
    ek_decay decay;  /* where weight decay applies */
    float smoothing; /* of labels */
} ek_plan_request;

/* The program. It reads and, in training, changes the net's tensors in place, so the net must outlive it. Prediction
 * folds every batch norm that follows a convolution or linear layer into its weights as they are now
 * (ek_plan_refresh folds again). A batch norm without tracked statistics normalises with the batch's in either mode. */
ek_status ek_plan_new(ek_program **program, ek_net *net, const ek_plan_request *request);

/* After the net's tensors have changed: brings a prediction program's folded weights and channels up to date. Then
 * ek_backend_prepare. */
void ek_plan_refresh(ek_program *program, const ek_net *net);

/* The net's layers gathered into stages, the shape in which programs are written. */
typedef enum ek_stage_kind {
    EK_STAGE_MAP, /* convolution or linear */
    EK_STAGE_UNIT,
    EK_STAGE_POOL,
    EK_STAGE_LAYERNORM,
} ek_stage_kind;

typedef struct ek_stage {
    ek_stage_kind kind;
    int layer;          /* first layer of it; of a unit its norm, if any */
    ek_conv g;          /* MAP */
    ek_unit u;          /* UNIT */
    ek_pool2d pool;     /* POOL */
    ek_batchnorm *norm; /* UNIT: NULL without, and where it is folded into the map before */
    int folded;         /* MAP: layer of the batch norm folded into its weights, -1: none */
    bool linear;        /* MAP of features: its weight gradient is taken over the whole batch at once */
    bool grad_input;    /* training: the stage before needs its output's gradient */
    bool grad_bias;     /* MAP: the bias has a gradient (it has none, exactly, before a batch's batch norm) */
    int64_t in, out;    /* values of a sample */
    ek_buffer x, y, dx; /* in, out, gradient of in */
    ek_buffer activated;
    bool keep;       /* UNIT: activated is kept for backward */
    ek_buffer saved; /* LAYERNORM: mean and rstd */
    ek_buffer parts; /* shares of weight gradients */
    size_t packed, packed_backward, rows, weight_at, bias_at;
} ek_stage;

/* For plan_backward.c: what a plan in the making holds. */
typedef struct ek_plan {
    const ek_net *net;
    const ek_plan_request *request;
    ek_program *program;
    ek_stage *stages;
    int stage_count;
    ek_buffer scratch; /* per thread */
} ek_plan;

ek_step *ek_plan_add(ek_plan *plan, ek_step_kind kind, ek_scope scope, int layer); /* NULL: out of memory */
size_t ek_plan_room(ek_plan *plan, size_t floats);                                 /* in the arena; an offset */
ek_buffer ek_plan_buffer(ek_plan *plan, int64_t values);                           /* a sample's values, blocked */
ek_status ek_plan_backward(ek_plan *plan);
ek_status ek_plan_update(ek_plan *plan); /* the last steps: clipping, commit, optimiser; with its state */

#endif
