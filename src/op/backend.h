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

/* The part that does not depend on the batch (packing weights), for prediction; training programs do it each run. */
ek_status ek_backend_prepare(ek_backend *backend, ek_program *program);

#endif
