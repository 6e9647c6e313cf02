/* SPDX-License-Identifier: MIT
 *
 * The strict scalar reference of a net's operations: what op/op.h says, in double, on plain row-major arrays
 * [N,C,H,W], one value after the other. The tests' oracle: no kernel and no program uses it, and it is never made
 * fast. Batch and layer norm have theirs in op/norm.h.
 *
 * Every output is written, never added to; outputs that are not wanted are NULL. */
#ifndef EK_OP_REFERENCE_H
#define EK_OP_REFERENCE_H

#include "evenkeel.h"
#include "op/op.h"

/* bias [K] or NULL. x [N,C,H,W], y [N,K,P,Q], weight [K,C,R,S]. A linear layer is the case of 1x1 images. */
void ek_reference_conv(const ek_conv *g, int64_t n, const double *weight, const double *bias, const double *x,
                       double *y);
void ek_reference_conv_backward_data(const ek_conv *g, int64_t n, const double *weight, const double *dy, double *dx);
void ek_reference_conv_backward_weight(const ek_conv *g, int64_t n, const double *x, const double *dy,
                                       double *dweight, double *dbias);

/* a = f(z), and f'(z), which is taken as the contract says where f has none. negative_slope: of EK_LEAKY_RELU. */
double ek_reference_activation(ek_activation f, double negative_slope, double z);
double ek_reference_activation_slope(ek_activation f, double negative_slope, double z);
/* f'(z) by a = f(z), of those that go by their output. */
double ek_reference_activation_slope_by_output(ek_activation f, double negative_slope, double a);

/* Averages or maxima. x is read by backward of maxima alone. */
void ek_reference_pool(const ek_pool2d *g, int64_t n, const double *x, double *y);
void ek_reference_pool_backward(const ek_pool2d *g, int64_t n, const double *x, const double *dy, double *dx);

/* A unit's norm: what normalises, [C] each; gamma and beta NULL for ones and zeros. by_batch: mean and rstd are
 * functions of this very x, which is what backward then differentiates. */
typedef struct ek_reference_norm {
    const double *mean, *rstd, *gamma, *beta;
    bool by_batch;
    ek_normalize normalize;
} ek_reference_norm;

/* x to a = activation(norm(x)), [N,C,H,W], and to y, the averages or maxima of a. norm NULL where the unit has none. */
void ek_reference_unit(const ek_unit *u, int64_t n, const ek_reference_norm *norm, const double *x, double *a,
                       double *y);
/* a as forward wrote it. dgamma, dbeta: [C]. x may be NULL without norm where the activation goes by its output. */
void ek_reference_unit_backward(const ek_unit *u, int64_t n, const ek_reference_norm *norm, const double *x,
                                const double *a, const double *dy, double *dx, double *dgamma, double *dbeta);

/* A join: x and y [N,C,H,W], r [N,RC,RH,RW]. Backward: dz from y as forward wrote it and dy, the sum of its addends;
 * dr from dz. */
void ek_reference_join(const ek_join *j, int64_t n, const ek_reference_norm *norm, const double *x, const double *r,
                       double *y);
void ek_reference_join_backward(const ek_join *j, int64_t n, const double *y, const double *dy, double *dz,
                                double *dr);

/* The loss of one sample's logits [K], and its gradient times weight; the second with label smoothing. */
double ek_reference_cross_entropy(int k, const double *logits, int label, double weight, double *dlogits);
double ek_reference_smoothed_cross_entropy(int k, const double *logits, int label, double smoothing, double weight,
                                           double *dlogits);

#endif
