/* SPDX-License-Identifier: MIT
 *
 * Kernels on plain row-major arrays: the two halves of normalisation, sums and maps (op/norm.h), in the two shapes
 * that memory has.
 *   planes   `planes` runs of `length` >= 16 values, `stride` apart, one channel each: NCHW. Channel numbers are
 *            arrays with an element per plane.
 *   columns  `rows` rows of `width` >= 1 values, `stride` apart, a channel per column: NHWC, [N,C], and whatever
 *            else repeats every `stride` values. Channel numbers are arrays with an element per column.
 * Pointers need a float's alignment only. Kernels keep no state and may run on many threads at once.
 *
 * Sums are taken in sixteen float lanes over short runs and added up in double: what is called `sum` here is added
 * to. Maps write each value from the same place of their inputs, so output and input may be the same array. */
#ifndef EK_CPU_KERNEL_PLAIN_H
#define EK_CPU_KERNEL_PLAIN_H

#include <stdbool.h>
#include <stdint.h>

/* The numbers of a map, per plane or column.
 *   apply     y = (x - mean)*scale + shift
 *   gradient  dx = scale*dy + shift - slope*(x - mean)
 * stream: y goes past the caches; only when it is no input. */
typedef struct ek_plain_map {
    const float *mean, *scale, *shift, *slope;
    bool stream;
} ek_plain_map;

/* The numbers of one sample of layer norm: xhat = (x - mean)*rstd + low.
 *   apply     y = xhat*gamma + beta
 *   gradient  dx = rstd*gamma*dy + shift - slope*(x - mean) */
typedef struct ek_layer_map {
    float mean, rstd, low, shift, slope;
    bool stream;
} ek_layer_map;

typedef struct ek_plain_kernels {
    /* sum += x - pivot, square += (x - pivot)^2. */
    void (*plane_sums)(const float *x, int64_t planes, int64_t stride, int64_t length, const float *pivot,
                       double *sum, double *square);
    void (*column_sums)(const float *x, int64_t rows, int64_t stride, int64_t width, const float *pivot, double *sum,
                        double *square);

    /* sum += dy, product += dy*(x - mean), rest += x - mean. */
    void (*plane_gradient_sums)(const float *x, const float *dy, int64_t planes, int64_t stride, int64_t length,
                                const float *mean, double *sum, double *product, double *rest);
    void (*column_gradient_sums)(const float *x, const float *dy, int64_t rows, int64_t stride, int64_t width,
                                 const float *mean, double *sum, double *product, double *rest);

    void (*plane_apply)(const float *x, int64_t planes, int64_t stride, int64_t length, ek_plain_map map, float *y);
    void (*column_apply)(const float *x, int64_t rows, int64_t stride, int64_t width, ek_plain_map map, float *y);

    void (*plane_gradient)(const float *x, const float *dy, int64_t planes, int64_t stride, int64_t length,
                           ek_plain_map map, float *dx);
    void (*column_gradient)(const float *x, const float *dy, int64_t rows, int64_t stride, int64_t width,
                            ek_plain_map map, float *dx);

    /* Layer norm: one sample of `length` >= 1 values; gamma and beta [length]. sums[0] += gamma*dy, sums[1] +=
     * gamma*dy*(x - mean), sums[2] += x - mean. Its statistics are plane_sums of one plane, here of any length. */
    void (*layer_gradient_sums)(const float *x, const float *dy, const float *gamma, int64_t length, float mean,
                                double sums[3]);
    void (*layer_apply)(const float *x, const float *gamma, const float *beta, int64_t length,
                        const ek_layer_map *map, float *y);
    void (*layer_gradient)(const float *x, const float *dy, const float *gamma, int64_t length,
                           const ek_layer_map *map, float *dx);
    /* Over `rows` samples of `width` values, one right after the other, a map each: dbeta += dy, dgamma +=
     * dy*xhat. */
    void (*layer_parameter_sums)(const float *x, const float *dy, int64_t rows, int64_t width,
                                 const ek_layer_map *map, double *dbeta, double *dgamma);
} ek_plain_kernels;

#endif
