/* SPDX-License-Identifier: MIT
 * What one batch norm layer of a net keeps between the passes of a training step: statistics of the blocks, of the
 * batch, and the numbers that the passes over memory take. All that crosses samples happens here, in double.
 *
 *   blocks' mean and deviations  --ek_batchnorm_forward-->   mean, variance, channels   --unit_forward--> y
 *   blocks' sums of dz, dz*x     --ek_batchnorm_backward-->  dgamma, dbeta, gradients   --unit_backward--> dx
 *   ek_batchnorm_stage: the moving statistics with the batch's taken in, beside those that stand
 *   ek_batchnorm_commit: they become the net's, together with the optimiser step or not at all
 */
#ifndef EK_OP_BATCHNORM_H
#define EK_OP_BATCHNORM_H

#include "base/status.h"
#include "op/op.h"

/* Sums of a channel over a block's live samples. */
typedef struct ek_norm_sums {
    double dz, dz_x; /* of dz, and of dz*(x - mean) */
} ek_norm_sums;

typedef struct ek_batchnorm {
    int layer; /* index in the net, for messages */
    int c;
    int64_t plane;       /* H*W: values of a channel in one sample */
    float eps, momentum; /* momentum < 0: cumulative */
    bool population;     /* the moving variance takes the population's */
    ek_normalize normalize;
    bool use_moving;  /* the moving statistics normalise */
    bool hold_moving; /* nothing is committed */
    bool measures;    /* moving_mean and moving_var become those of all batches so far, and normalise */
    /* The net's tensors; gamma NULL where it is 1, beta where it is 0, the moving ones without tracking. */
    const float *gamma, *beta;
    float *moving_mean, *moving_var;
    int64_t *num_batches;
    bool trains;           /* gamma and beta do, those that are there */
    float *dgamma, *dbeta; /* where their gradients go; NULL where there are none */
    /* Written by the passes: [blocks][c]. */
    double *block_mean, *block_deviations;
    ek_norm_sums *block_sums;
    /* The batch's: [c]. */
    double *mean, *variance, *rstd; /* mean and variance of the batch; rstd of what normalises */
    double *deviations;             /* sum of (x - mean)^2, over the batch */
    double counted;                 /* values of a channel in mean and deviations */
    ek_norm_channel *channels;
    ek_norm_gradient *gradients;
    /* Moving statistics that are to come. */
    float *staged_mean, *staged_var;
    int64_t staged_batches;
} ek_batchnorm;

/* Arrays for batches of up to `blocks` blocks; everything else the caller has set. */
ek_status ek_batchnorm_alloc(ek_batchnorm *b, int64_t blocks);
void ek_batchnorm_free(ek_batchnorm *b);

/* After the blocks' statistics of a batch of `samples`. The index of the first channel whose statistics are not
 * finite, or -1. */
int ek_batchnorm_forward(ek_batchnorm *b, int64_t samples);

/* A norm that measures forgets what it has counted. With it, ek_batchnorm_forward goes on where the batch before ended,
 * block after block, so that where batches are cut, in blocks, makes no difference to the last bit. */
void ek_batchnorm_restart(ek_batchnorm *b);

/* Channels from the moving statistics, for prediction. */
void ek_batchnorm_predict(ek_batchnorm *b);

/* After the blocks' sums. The first channel whose gradient is not finite, or -1. */
int ek_batchnorm_backward(ek_batchnorm *b, int64_t samples);

/* staged = (1-momentum)*moving + momentum*batch, and one more batch counted; in place of `moving`, what is staged where
 * the batch is not the step's `first`. */
void ek_batchnorm_stage(ek_batchnorm *b, int64_t samples, bool first);

/* The net's moving statistics are those that were staged. */
void ek_batchnorm_commit(ek_batchnorm *b);

#endif
