/* SPDX-License-Identifier: MIT
 * Normalisation of plain arrays between its public functions and the kernels: how an array is cut into items of
 * work, and the passes over it. */
#ifndef EK_CPU_PLAIN_NORM_H
#define EK_CPU_PLAIN_NORM_H

#include "base/status.h"
#include "cpu/kernel/plain.h"

/* The items of an array's work, by its shape alone. An item adds its sums to a row of its own, `slots` doubles wide:
 * so results do not depend on who computes it when.
 *   planes   NCHW with large planes: an item is a block of channels of a group of samples (and, of huge planes, one
 *            piece). A slot is a channel.
 *   columns  everything else: what repeats every `period` values is laid side by side `fold` times, to rows of
 *            `width` values. An item is a block of columns of a group of rows; the values that fill no row are the
 *            last item. A slot is a column, and its channel is ((column + lead) % period) / inner. */
typedef struct ek_plain_cut {
    bool planes;
    int64_t n, c, hw;          /* planes: n samples of c planes of hw values */
    int64_t period, inner;     /* columns */
    int64_t lead;              /* columns: values before the first row; see ek_plain_cut_streaming */
    int64_t rows, width, rest; /* columns: whole rows and their width, values that fill none */
    int64_t groups, blocks, pieces;
    int64_t items, parts, slots; /* parts: rows of slots */
} ek_plain_cut;

/* shape: checked, h and w at least 1. */
ek_plain_cut ek_plain_cut_of(ek_shape shape);

/* The cut for a map that writes y past the caches, which wants whole lines: rows begin at y's first line (what is
 * before is an item of its own), and samples of short planes that break lines are cut into columns. A map's result
 * is the same for any cut. */
ek_plain_cut ek_plain_cut_streaming(ek_shape shape, const float *y);

/* table[slot] = value[channel of the slot]. */
void ek_plain_spread(const ek_plain_cut *cut, const float *value, float *table);

typedef enum ek_plain_work {
    EK_PLAIN_SUMS,          /* of x around pivot = map.mean: into part[0], part[1] */
    EK_PLAIN_APPLY,         /* y from x */
    EK_PLAIN_GRADIENT_SUMS, /* of dy and x around map.mean: into part[0..2] */
    EK_PLAIN_GRADIENT       /* y = dx from x and dy */
} ek_plain_work;

/* One pass over an array. The map's tables hold a number per slot. */
typedef struct ek_plain_pass {
    const ek_plain_kernels *kernels;
    const ek_plain_cut *cut;
    ek_plain_work work;
    const float *x, *dy;
    float *y;
    ek_plain_map map;
    double *part[3]; /* [parts][slots], zeroed by the caller */
} ek_plain_pass;

ek_status ek_plain_run(const ek_plain_pass *pass, int threads);

/* sum[channel] = what all parts say of it, added in order. */
void ek_plain_gather(const ek_plain_cut *cut, const double *part, double *sum);

/* Calls item(argument, i) for i = 0..items-1, on `threads` (1..1024) threads: on those kept from the last call, on
 * new ones, or, while another thread of the program uses them, on the calling one alone. */
ek_status ek_plain_share(int threads, int64_t items, void (*item)(const void *argument, int64_t i),
                         const void *argument);

/* Is an output better written past the caches? When so many arrays of `bytes` each do not fit into them together. */
bool ek_plain_streams(int arrays, int64_t bytes);

/* h and w of 0 become 1; EK_ERR_SHAPE unless every extent is in range and the array's size too. `what` names the
 * operation in messages, here and below. */
ek_status ek_plain_check_shape(const char *what, ek_shape *shape);
ek_status ek_plain_check_threads(const char *what, int *threads);
ek_status ek_plain_check_eps(const char *what, float eps);

/* Mean and variance from sums around a pivot, s = sum(x - pivot) and q = sum((x - pivot)^2), m values. False when
 * they say too little: the pivot lies more than two deviations off the mean, a sum overflowed, or, where eps does
 * not hide it, squares were too small for a float. Then ek_plain_exact takes the sums anew. */
bool ek_plain_moments(double pivot, double s, double q, double m, double eps, double *mean, double *var);

/* Mean and variance in double, value by value: `outer` runs of `inner` values, `stride` apart. */
void ek_plain_exact(const float *x, int64_t outer, int64_t stride, int64_t inner, double *mean, double *var);

#endif
