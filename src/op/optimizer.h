/* SPDX-License-Identifier: MIT
 *
 * What an optimiser step does to values v with gradient d, each element by itself; PyTorch's formulas. Contract of the
 * kernels (cpu/kernel/optimizer.c) and of the reference (op/optimizer.c).
 *
 *   g = scale*d                        scale: what clipping leaves of the gradient, 1 without
 *   g = g + decay*v                    where decay applies; SGD and Adam: L2 regularisation, d2l section 3.7
 *   SGD:          v = v - rate*g
 *   with momentum: b = momentum*b + g,  v = v - rate*b                  (Polyak 1964; d2l section 12.6)
 *   Nesterov:      b = momentum*b + g,  v = v - rate*(g + momentum*b)   (Sutskever et al. 2013)
 *   Adam (Kingma and Ba 2015, arXiv:1412.6980; d2l section 12.10), at step t from 1:
 *     m = beta1*m + (1 - beta1)*g    s = beta2*s + (1 - beta2)*g*g
 *     v = v - step*m/(sqrt(s)*root + eps)    step = rate/(1 - beta1^t)    root = 1/sqrt(1 - beta2^t)
 *   AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101): the same without decay in g, after v = v - rate*decay*v
 *
 * b, m and s start at zero, so PyTorch's rule for the first step (b = g) needs no case of its own. */
#ifndef EK_OP_OPTIMIZER_H
#define EK_OP_OPTIMIZER_H

#include "evenkeel.h"

#include <stddef.h>

/* The numbers of one step, the same for every tensor; computed in double, rounded once. */
typedef struct ek_update {
    ek_optimizer kind;
    bool nesterov;
    double clip;                      /* the gradient's 2-norm is scaled down to this; 0: not */
    float rate;                       /* Adam, AdamW: step = rate/(1 - beta1^t) */
    float decay;                      /* AdamW: rate*decay */
    float momentum;                   /* 0: none */
    float beta1, rest1, beta2, rest2; /* rest = 1 - beta, which a float beta would not give */
    float root, eps;
} ek_update;

/* Arrays of state that a value needs: 0, 1 (b) or 2 (m, s). */
static inline int ek_update_states(ek_optimizer kind, double momentum)
{
    return kind != EK_SGD ? 2 : momentum > 0 ? 1 : 0;
}

/* What clipping leaves of gradients whose squares sum up to `squares`: PyTorch's clip_grad_norm_,
 *   min(1, clip/(norm + 1e-6))
 * with the norm in *norm; 1 for clip 0. */
double ek_clip_scale(double clip, double squares, double *norm);

/* The strict scalar reference, in double: the tests' oracle, which nothing else uses. `decays`: decay applies. b or m,
 * then s; NULL where the optimiser has none. */
void ek_reference_update(const ek_update *u, bool decays, double scale, size_t count, const double *gradient,
                         double *first, double *second, double *value);

#endif
