/* SPDX-License-Identifier: MIT
 * What runs programs. A backend sees steps, never nets. The CPU's is in cpu/run.c. */
#ifndef EK_OP_BACKEND_H
#define EK_OP_BACKEND_H

#include "op/program.h"

typedef struct ek_backend ek_backend;

/* The CPU's backend with a pool of `threads`; 0 means ek_cpu_count(). */
ek_status ek_backend_new_cpu(ek_backend **backend, int threads);
void ek_backend_free(ek_backend *backend);
int ek_backend_threads(const ek_backend *backend);

/* Runs every step on one batch. EK_ERR_NUMERIC, with the first layer and channel, when a statistic, the loss or a
 * gradient is not finite: COMMIT and UPDATE then did nothing. A step in micro-batches is a call for each, in their
 * order; it is over with the first that fails. One call at a time per backend. */
ek_status ek_backend_run(ek_backend *backend, ek_program *program, const ek_batch *batch);

/* Where a batch was not finite, as far as that can be told. */
typedef struct ek_origin {
    int layer;     /* index in the net, -1: none in particular */
    int channel;   /* of the layer, -1: none in particular */
    int64_t row;   /* sample of the batch, -1: none alone */
    bool value;    /* the row's value is not finite; else it is the farthest from the others */
    bool backward; /* in the gradient that the layer hands on to those before it */
} ek_origin;

/* After a run that ended with EK_ERR_NUMERIC, with its program and its batch, and before anything else is run: computes
 * the batch again, slowly and on the calling thread, up to the first step whose result is not finite, and there finds
 * the first sample and its first channel. The same for any number of threads. */
void ek_backend_search(ek_backend *backend, ek_program *program, const ek_batch *batch, ek_origin *origin);

/* The part that does not depend on the batch (packing weights), for prediction; training programs do it each run. */
ek_status ek_backend_prepare(ek_backend *backend, ek_program *program);

#endif
