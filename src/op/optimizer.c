/* SPDX-License-Identifier: MIT */
#include "op/optimizer.h"

#include <math.h>

double ek_clip_scale(double clip, double squares, double *norm)
{
    *norm = sqrt(squares);
    const double scale = clip > 0 ? clip / (*norm + 1e-6) : 1;
    return scale < 1 ? scale : 1;
}

void ek_reference_update(const ek_update *u, bool decays, double scale, size_t count, const double *gradient,
                         double *first, double *second, double *value)
{
    const double decay = decays ? (double)u->decay : 0, rate = (double)u->rate;
    for (size_t i = 0; i < count; i++) {
        double g = scale * gradient[i];
        if (u->kind == EK_ADAMW)
            value[i] -= decay * value[i];
        else
            g += decay * value[i];
        if (u->kind == EK_SGD) {
            if (first) {
                first[i] = (double)u->momentum * first[i] + g;
                g = u->nesterov ? g + (double)u->momentum * first[i] : first[i];
            }
            value[i] -= rate * g;
            continue;
        }
        first[i] = (double)u->beta1 * first[i] + (double)u->rest1 * g;
        second[i] = (double)u->beta2 * second[i] + (double)u->rest2 * g * g;
        value[i] -= rate * first[i] / (sqrt(second[i]) * (double)u->root + (double)u->eps);
    }
}
