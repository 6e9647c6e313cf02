/* SPDX-License-Identifier: MIT
 * The CPU's convolutions: a step by direct kernels or by Winograd's (ek_conv_fast), whole or a piece of it. */
#ifndef EK_CPU_MAP_H
#define EK_CPU_MAP_H

#include "cpu/kernel/blocked.h"
#include "op/program.h"

/* Of steps MAP, MAP_BACKWARD, WEIGHT_PARTS: how many parts they can be cut into, of what they write: rows, groups of
 * tiles, output channels. */
int ek_map_extent(const ek_step *step);

/* What a step reads and writes on one block; what it does not need is not looked at. */
typedef struct ek_map_data {
    const float *packed, *bias; /* bias NULL: none */
    const float *x, *dy;
    float *y, *dx;
    float *parts;   /* weights, then biases */
    float *scratch; /* the thread's, ek_conv_work floats */
} ek_map_data;

/* Parts begin..end-1 of the step's extent. */
void ek_map_run(const ek_blocked_kernels *kernels, const ek_step *step, const ek_map_data *data, int begin, int end);

/* Steps PACK_FORWARD, PACK_BACKWARD: packed takes ek_conv_packed floats. */
void ek_map_pack(const ek_blocked_kernels *kernels, const ek_step *step, const float *weight, float *packed);

#endif
