/* SPDX-License-Identifier: MIT
 * Prediction over a data set: what ek_evaluate is, and what the trainer validates with. */
#ifndef EK_TRAIN_EVALUATE_H
#define EK_TRAIN_EVALUATE_H

#include "op/backend.h"

typedef struct ek_evaluator ek_evaluator;

/* Images must fit the net's input and classes its outputs (EK_ERR_SHAPE). Of the options batch_size and unfolded count,
 * and whether there are logits: then runs will ask for them. The net, the data set and the backend must outlive it. */
ek_status ek_evaluator_new(ek_evaluator **evaluator, ek_net *net, const ek_dataset *dataset, ek_backend *backend,
                           const ek_eval_options *options);
void ek_evaluator_free(ek_evaluator *evaluator);

/* The whole data set with the net's tensors as they are now; confusion and logits as in ek_eval_options. */
ek_status ek_evaluator_run(ek_evaluator *evaluator, int64_t *confusion, float *logits, ek_metrics *metrics);

/* The threads worth having for batches of `samples`, of `threads` (0: all processors): a block of samples is the piece
 * that threads share. */
int ek_useful_threads(int threads, int64_t samples);

/* Whether images of `dataset` fit the net and its classes the net's outputs. */
ek_status ek_check_dataset(const ek_net *net, const ek_dataset *dataset);

/* Arrays of one batch, for ek_batch. */
typedef struct ek_batch_arrays {
    const uint8_t **images;
    uint8_t *labels;
    double *loss;
    int *predicted;
    int32_t *ids;
} ek_batch_arrays;

ek_status ek_batch_arrays_new(ek_batch_arrays *arrays, int64_t samples);
void ek_batch_arrays_free(ek_batch_arrays *arrays);

#endif
