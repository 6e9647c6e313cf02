/* SPDX-License-Identifier: MIT
 * From ek_fit_options to the numbers of an optimiser step. */
#ifndef EK_TRAIN_OPTIMIZER_H
#define EK_TRAIN_OPTIMIZER_H

#include "base/status.h"
#include "op/optimizer.h"

/* Checks the optimiser's settings, clipping and label smoothing, and fills in their defaults and the learning
 * rate's. EK_ERR_ARGUMENT. */
ek_status ek_optimizer_check(ek_fit_options *options);

/* Step `step` (from 1) at learning rate `rate`, of checked options. */
ek_update ek_optimizer_update(const ek_fit_options *options, int64_t step, double rate);

/* base^exponent by squaring: the same bits on every machine, which pow does not promise. exponent >= 0. */
double ek_power(double base, int64_t exponent);

#endif
