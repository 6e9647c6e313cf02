/* SPDX-License-Identifier: MIT
 * Batch norms folded into the weights before them: the arithmetic, shared by prediction's plans (plan_fold.c) and by
 * nets that are folded for good (fold.c). */
#ifndef EK_NET_FOLD_H
#define EK_NET_FOLD_H

#include "net/net.h"
#include "op/norm.h"

/* What a map makes of its sums in a channel: scale*sum + shift. A map alone is 1 and its bias. */
typedef struct ek_affine {
    double scale, shift;
} ek_affine;

/* The same with batch norm layer `norm`, which has moving statistics, behind it:
 *   scale' = scale*s    shift' = (shift - mean)*s + beta    s = gamma/sqrt(var + eps)
 * or s = gamma where the mean alone is taken out, and a mean of 0 where the deviation alone is. */
static inline ek_affine ek_fold_norm(const ek_net *net, const ek_layer *norm, int64_t channel, ek_affine map)
{
    const ek_normalize normalize = norm->o.batchnorm.normalize;
    const ek_tensor *t = net->tensors;
    const double gamma = norm->weight < 0 ? 1 : (double)t[norm->weight].data[channel];
    const double beta = norm->bias < 0 ? 0 : (double)t[norm->bias].data[channel];
    const double mean = normalize == EK_NORMALIZE_DEVIATION ? 0 : (double)t[norm->moving_mean].data[channel];
    const double var = (double)t[norm->moving_var].data[channel];
    const double s = gamma * ek_norm_factor(normalize, var, (double)norm->o.batchnorm.eps);
    return (ek_affine){map.scale * s, (map.shift - mean) * s + beta};
}

#endif
