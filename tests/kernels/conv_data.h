/* SPDX-License-Identifier: MIT
 * One convolution for tests of kernels: arrays, and what the reference makes of them. */
#ifndef EK_TESTS_KERNELS_CONV_DATA_H
#define EK_TESTS_KERNELS_CONV_DATA_H

#include "check.h"
#include "op/reference.h"

/* One convolution: its arrays and the reference's results with their bounds. */
typedef struct conv_data {
    ek_conv g;
    int live;
    size_t in, out, weights;
    float *weight, *bias, *x, *dy;
    double *y, *dx, *dweight, *dbias;
    double *y_bound, *dx_bound, *dweight_bound, *dbias_bound;
} conv_data;

/* Random arrays, `live` samples of a block, and the reference's results; the bounds are the caller's to set. */
static inline conv_data new_conv_data(ek_conv g, int live, bool bias)
{
    conv_data d = {.g = g, .live = live, .weights = (size_t)ek_conv_weights(&g)};
    d.in = (size_t)g.c * (size_t)g.h * (size_t)g.w;
    d.out = (size_t)g.k * (size_t)g.p * (size_t)g.q;
    const size_t n = (size_t)live, k = (size_t)g.k;
    d.weight = random_floats(d.weights);
    d.bias = bias ? random_floats(k) : NULL;
    d.x = random_block(d.in, live, 0, 1, 3e8f);
    d.dy = random_block(d.out, live, 0, 1, 0);
    const double *weight = widened(d.weight, d.weights), *b = bias ? widened(d.bias, k) : NULL;
    const double *x = samples_of(d.x, d.in, live), *dy = samples_of(d.dy, d.out, live);
    d.y = doubles(n * d.out);
    d.dx = doubles(n * d.in);
    d.dweight = doubles(d.weights);
    d.dbias = doubles(k);
    ek_reference_conv(&g, live, weight, b, x, d.y);
    ek_reference_conv_backward_data(&g, live, weight, dy, d.dx);
    ek_reference_conv_backward_weight(&g, live, x, dy, d.dweight, d.dbias);
    return d;
}

#endif
