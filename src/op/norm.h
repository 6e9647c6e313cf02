/* SPDX-License-Identifier: MIT
 *
 * What batch and layer normalisation of plain arrays mean: one contract for the public functions of evenkeel.h, the
 * kernels behind them and the strict scalar reference below.
 *
 * Batch norm. Per channel c over the M = N*H*W values of x that belong to it:
 *     mean = sum(x)/M    var = sum((x - mean)^2)/M    rstd = 1/sqrt(var + eps)
 *     y = gamma*(x - mean)*rstd + beta
 * Backward, with xhat = (x - mean)*rstd:
 *     dbeta = sum dy     dgamma = sum dy*xhat
 *     batch statistics:   dx = gamma*rstd*(dy - dbeta/M - xhat*dgamma/M)
 *     moving statistics:  dx = gamma*rstd*dy
 * The mean alone: rstd = 1, and with batch statistics dx = gamma*(dy - dbeta/M). The deviation alone, which leaves x
 * where it is: xhat = x*rstd, which is what dgamma sums, and since the mean enters through the variance alone,
 *     batch statistics:   dx = gamma*rstd*(dy - (x - mean)*rstd*dgamma/M)
 * from d(rstd)/dx = -rstd^3*(x - mean)/M; for x = mean + (x - mean), sum dy*x is had from sums about the mean.
 *     moving = (1 - momentum)*moving + momentum*batch, in double; the variance that enters is var or var*M/(M - 1)
 * Layer norm is the same map with a sample's M = C*H*W values in the place of a channel's and gamma, beta per value:
 *     g = gamma*dy    dx = rstd*(g - mean(g) - xhat*mean(g*xhat))    dgamma, dbeta: sums over samples
 * Every output is written, never added to. y may be x; dx may be dy.
 *
 * A constant channel gives exactly beta, also for eps = 0: where var + eps is 0, rstd is 0 instead of infinite. (With
 * the deviation alone it gives gamma*x/sqrt(eps) + beta, however small eps is.)
 *
 * Accuracy that every implementation owes, u = 2^-24, whatever mean/deviation is up to 10^6:
 *     |y - exact|       <= 16u*(|gamma*xhat| + |beta|) + 8u*|gamma|
 *     |dgamma - exact|  <= 64u*sum|dy|*max(1, |xhat|)                    dbeta: 64u*sum|dy|
 *     |dx - exact|      <= 64u*|gamma|*rstd*(|dy| + sum|dy|/M + |xhat|*sum|dy*xhat|/M)
 * (of the deviation alone, the last xhat but one being (x - mean)*rstd)
 * so the mean must not be rounded to one float before it is subtracted: that shifts xhat by up to u*|mean|*rstd,
 * 0.06 for mean/deviation = 10^6. Forward keeps it in double and moves what the float loses into beta. Backward is
 * handed a float, save_mean; with batch statistics it finds the lost part again as sum(x - save_mean)/M, in the
 * pass it makes anyway. (With moving statistics save_mean is the very number that normalised.)
 * save_rstd is the double rounded once. Range: sums may exceed float's, results in float's range are found. */
#ifndef EK_OP_NORM_H
#define EK_OP_NORM_H

#include "evenkeel.h"

#include <math.h>

/* Do batch statistics normalise? Else the moving ones do. `tracked`: there are moving statistics. */
static inline bool ek_norm_by_batch(ek_mode mode, bool tracked, bool use_moving)
{
    return mode == EK_TRAINING ? !use_moving : !tracked;
}

/* Values of a channel; h and w are at least 1 here. */
static inline int64_t ek_norm_count(ek_shape shape)
{
    return shape.n * shape.h * shape.w;
}

static inline double ek_norm_rstd(double var, double eps)
{
    return var + eps == 0 ? 0 : 1 / sqrt(var + eps);
}

/* What x, or x - mean, is multiplied by before gamma. */
static inline double ek_norm_factor(ek_normalize normalize, double var, double eps)
{
    return normalize == EK_NORMALIZE_MEAN ? 1 : ek_norm_rstd(var, eps);
}

static inline float ek_moving_average(float moving, double batch, double momentum)
{
    return (float)((1 - momentum) * (double)moving + momentum * batch);
}

/* The reference: scalar, in double, in the order of the formulas, without contraction. h, w >= 1; the arrays as the
 * contract says, gamma and beta NULL for ones and zeros, outputs NULL when not wanted. */
void ek_reference_batch_statistics(ek_shape shape, const double *x, double *mean, double *var);
/* rstd as ek_norm_factor gives it. */
void ek_reference_batch_norm(ek_normalize normalize, ek_shape shape, const double *x, const double *gamma,
                             const double *beta, const double *mean, const double *rstd, double *y);
void ek_reference_batch_norm_backward(ek_normalize normalize, bool by_batch, ek_shape shape, const double *x,
                                      const double *dy, const double *gamma, const double *mean, const double *rstd,
                                      double *dx, double *dgamma, double *dbeta);
/* mean, rstd: [N], written. */
void ek_reference_layer_norm(ek_shape shape, const double *x, const double *gamma, const double *beta, double eps,
                             double *y, double *mean, double *rstd);
void ek_reference_layer_norm_backward(ek_shape shape, const double *x, const double *dy, const double *gamma,
                                      const double *mean, const double *rstd, double *dx, double *dgamma,
                                      double *dbeta);

#endif
