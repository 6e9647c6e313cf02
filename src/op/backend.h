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

/* ---- Prediction without a pool of threads ------------------------------------------------------------------- */

/* Both take the program of a prediction that no batch norm without tracked statistics is in, folded, and run on the
 * calling thread alone; as many threads as there are slots may run at once, each with a slot of its own. Nothing is
 * allocated. */

/* At most EK_LANES samples of a program that was planned for so many threads as there are slots, and has been prepared:
 * sixteen in the lanes, values or images (whichever input it was planned for) to logits. */
void ek_backend_run_block(const ek_program *program, int slot, const ek_batch *batch);

/* The program for one sample, channels in the lanes: its own copy of all it needs, weights packed. input: the sample's
 * channels, rows and columns. Results have the bits of ek_backend_run, but for the sign of zeros. EK_ERR_NUMERIC names
 * a layer whose parameters are not finite, EK_ERR_UNSUPPORTED a program that it cannot be had of. */
typedef struct ek_single ek_single;
ek_status ek_single_new(ek_single **single, const ek_program *program, const int input[3], int slots);
void ek_single_free(ek_single *single);
size_t ek_single_memory(const ek_single *single); /* bytes */

/* One of the two is not NULL: floats, or bytes that become byte/255; [C,H,W]. */
typedef struct ek_sample {
    const float *values;
    const uint8_t *image;
    const ek_normal *normal; /* NULL leaves the values alone */
} ek_sample;

void ek_single_run(const ek_single *single, int slot, const ek_sample *sample, float *logits);

/* p[i] = exp(z[i])/sum of exp(z) of k numbers, the same bits everywhere. p may be z. */
void ek_single_softmax(const ek_single *single, int k, const float *z, float *p);

#endif
