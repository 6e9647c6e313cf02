/* SPDX-License-Identifier: MIT
 * Compiling nets: from layers to the steps of op/program.h.
 *
 *   plan_stages.c    layers are gathered into stages, the nodes of a graph: what runs in one pass together
 *   plan.c           forward, stage after stage; the whole
 *   plan_again.c     which values backward finds kept, and which are computed again for it
 *   plan_backward.c  backward, the other way
 *   plan_update.c    the optimiser's steps
 *   plan_memory.c    where each value lives, and for how long
 *   plan_fold.c      batch norms folded into weights, for prediction
 *   plan_probe.c     every layer's output measured
 *   plan_exact.c     what batch norms read measured, layer after layer */
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
    bool logits;         /* prediction with loss: logits are stored as well */
    int64_t max_samples; /* of a batch */
    int threads;         /* of the backend: how many regions by_thread and scratch need */
    bool dry;            /* steps and sizes alone, to look at: there is no arena */
    bool probe;          /* prediction: no layer is taken into another, and each one's output is measured */
    bool unfolded;       /* prediction: batch norms that could be folded are computed as others are */
    bool exact;          /* prediction: a program that measures batch norms of the levels first_level..end_level-1 */
    int first_level, end_level;
    /* Training: */
    int micro_batch; /* samples that are at hand at the same time, whose values need not be kept; 0: all are kept */
    size_t segment_size; /* then: a sample's values from which on a segment may end; 0: what takes the least memory */
    bool accumulates;    /* batches are micro-batches of a step, each with statistics of its own */
    int states;          /* arrays of the optimiser's state, ek_update_states */
    bool clips;          /* ek_update.clip will be asked for */
    ek_decay decay;      /* where weight decay applies */
    float smoothing;     /* of labels */
} ek_plan_request;

/* The program. It reads and, in training, changes the net's tensors in place, so the net must outlive it. Prediction
 * folds every batch norm that follows a convolution or linear layer into its weights as they are now
 * (ek_plan_refresh folds again). A batch norm without tracked statistics normalises with the batch's in either mode.
 *
 * The program of a request with `exact`. A batch norm's level is the number of batch norms that its input went through,
 * at most, of those that are measured: all but frozen ones (hold_moving). Norms of the levels asked for take the
 * statistics of all that the program has run on since ek_batchnorm_restart, and normalise with them; those of lower
 * levels normalise with their moving statistics, those of higher ones are not in it, nor is what else no measured norm
 * needs. With more than one level it is for a single batch. program->norms are the caller's to point at moving
 * statistics, for norms without tracking too, before it runs; program->levels says how many levels the net has. */
ek_status ek_plan_new(ek_program **program, ek_net *net, const ek_plan_request *request);

/* After the net's tensors have changed: brings a prediction program's folded weights and channels up to date. Then
 * ek_backend_prepare. */
void ek_plan_refresh(ek_program *program, const ek_net *net);

/* ---- For the plan's own files ------------------------------------------------------------------------------- */

typedef enum ek_stage_kind {
    EK_STAGE_NONE,  /* taken into another */
    EK_STAGE_INPUT, /* stage 0: the batch */
    EK_STAGE_MAP,   /* convolution or linear */
    EK_STAGE_UNIT,
    EK_STAGE_POOL,
    EK_STAGE_LAYERNORM,
    EK_STAGE_JOIN, /* a residual's sum, with the norm before and the activation behind it */
    EK_STAGE_DROPOUT,
    EK_STAGE_CONCAT,
    EK_STAGE_MEASURE, /* a norm whose statistics alone are wanted */
} ek_stage_kind;

/* Where a value lives: part of a room. */
typedef struct ek_value {
    int room;     /* -1: nowhere */
    size_t shift; /* floats from its beginning */
} ek_value;

typedef struct ek_stage {
    ek_stage_kind kind;
    int layer;            /* first layer of it; of a unit or join its norm, if any */
    int x, r;             /* stages whose outputs it reads; r: a join's shortcut, else -1 */
    int source, sources;  /* CONCAT: it reads plan->sources[source..] */
    ek_conv g;            /* MAP */
    ek_unit u;            /* UNIT */
    ek_join join;         /* JOIN */
    ek_pool2d pool;       /* POOL */
    ek_batchnorm *norm;   /* UNIT, JOIN: NULL without, and where it is folded into the map before */
    int folded;           /* MAP: layer of the batch norm folded into its weights, -1: none */
    bool linear;          /* MAP of features: its weight gradient is taken over the whole batch at once */
    bool wanted;          /* training: the gradient of y is needed */
    bool grad_bias;       /* MAP: the bias has a gradient (it has none, exactly, before a batch's batch norm) */
    int level;            /* plan_exact.c: batch norms on the way to y */
    bool needed;          /* likewise: a measured norm reads y, or what comes of it */
    bool keep;            /* UNIT: the activation is read by backward, which goes by it */
    int64_t in, out;      /* values of a sample */
    int consumers;        /* stages that read y, the loss counted */
    int concat;           /* the concat that alone reads y, where y is written in its place; -1: none */
    int64_t concat_at;    /* values before it there */
    ek_value y;           /* out */
    int segment;          /* plan_again.c */
    bool kept;            /* y is, from forward until backward's last use of it */
    bool again;           /* the stage runs again before its segment's backward */
    int uses;             /* stages and backwards still to come that read y */
    int uses_again;       /* the same when y was computed again */
    ek_value gradient[2]; /* of y: up to two addends, */
    int gradients;        /* so many there are */
    ek_value activated;   /* UNIT with pooling: kept for backward */
    ek_value saved;       /* LAYERNORM: mean and rstd */
    ek_value parts;       /* a block's share of the weights' gradient; of a linear stage dy, until it is taken */
    size_t packed, packed_backward, rows, weight_at, bias_at;
} ek_stage;

/* Memory for values of a block, counted by who holds it. */
typedef struct ek_room {
    size_t size; /* floats */
    int holders;
    int phase;    /* the one in which it is read and written; 0: none so far */
    bool crosses; /* it is in several */
} ek_room;

typedef struct ek_plan {
    const ek_net *net;
    const ek_plan_request *request;
    ek_program *program;
    ek_stage *stages;
    int stage_count;
    int *sources;
    int source_count;
    int *stage_of;  /* by layer: whose y is its output */
    int *consumers; /* by layer: layers and blocks that read its output */
    ek_room *rooms;
    int room_count, room_capacity;
    int *turns; /* of rooms in the order of the steps: room when it is taken, ~room when its last holder drops it */
    int turn_count, turn_capacity;
    int phase;           /* of the step that was added last, from 1 */
    size_t segment_size; /* floats of a sample's values from which on a segment may end */
    int last_segment;
    bool again;        /* stages are running again */
    bool late_packing; /* weights for backward come where those for forward were */
    int *pending;      /* stages whose weight gradients are to be added up */
    int pending_count;
    size_t pending_floats;
    ek_step spare; /* what ek_plan_add hands out without memory */
    bool failed;   /* out of memory, in a call without a status */
} ek_plan;

void ek_plan_gather(ek_plan *plan);
ek_status ek_plan_count_uses(ek_plan *plan);          /* and where segments end */
void ek_plan_forward(ek_plan *plan, ek_stage *stage); /* its steps, with memory for what they write */
/* Before the backward of the segment of stage i: what it reads of values that were not kept, weights packed for it. */
void ek_plan_again(ek_plan *plan, int i);
void ek_plan_probe(ek_plan *plan, const ek_stage *stage);
void ek_plan_exact(ek_plan *plan); /* drops the stages that are not needed */
ek_status ek_plan_backward(ek_plan *plan);
ek_status ek_plan_update(ek_plan *plan); /* the last steps: clipping, commit, optimiser; with its state */

/* The next step; after a failed allocation one that is thrown away, and plan->failed says so at the end. */
ek_step *ek_plan_add(ek_plan *plan, ek_step_kind kind, ek_scope scope, int layer);

static inline ek_dropout ek_plan_dropout(const ek_plan *plan, const ek_stage *dropout)
{
    return (ek_dropout){.p = plan->net->layers[dropout->layer].o.dropout.p, .layer = dropout->layer};
}

/* Whether backward of a unit reads its input: for the norm, or for an activation that does not go by its output. */
static inline bool ek_plan_unit_reads_x(const ek_stage *unit)
{
    return unit->norm || !ek_activation_by_output(unit->u.activation);
}

bool ek_plan_uses_batch(const ek_plan *plan, const ek_layer *batchnorm);
const float *ek_plan_tensor(const ek_plan *plan, int tensor); /* NULL for -1 */
void ek_plan_pack(ek_plan *plan, const ek_stage *map, bool backward);

/* Floats that live as long as the program: an offset in the arena. */
size_t ek_plan_fixed(ek_plan *plan, size_t floats);
/* A thread's working memory, at least so much (ek_program.scratch_at). */
void ek_plan_scratch(ek_plan *plan, size_t floats);
/* When all steps stand: what lies where in the arena. */
ek_status ek_plan_lay_out(ek_plan *plan);

/* Room for `values` of each of a block's samples, or for `floats`, with one holder. Steps follow each other on a block,
 * whoever runs them, so a room that has no holder any more can be given to what later steps write. */
ek_value ek_plan_values(ek_plan *plan, int64_t values);
ek_value ek_plan_floats(ek_plan *plan, size_t floats);
void ek_plan_hold(ek_plan *plan, ek_value value);
void ek_plan_drop(ek_plan *plan, ek_value value);
void ek_plan_leave(ek_plan *plan, ek_value *value); /* drops it, and forgets where it was: a stage may run again */
bool ek_plan_alone(const ek_plan *plan, ek_value value); /* it has one holder */
ek_buffer ek_plan_buffer(ek_plan *plan, ek_value value); /* for the step that was added last */

/* One of the uses of stage `s`'s output is over. */
void ek_plan_used(ek_plan *plan, int s);
/* At its last use, the output's memory, unless someone else holds it. */
bool ek_plan_last(const ek_plan *plan, int s);

#endif
