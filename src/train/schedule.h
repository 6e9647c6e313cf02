/* SPDX-License-Identifier: MIT
 * Learning rates over the steps of a training, each a function of the step's number alone: going on in the middle
 * needs no state. In double and without libm, so that the bits are every machine's. */
#ifndef EK_TRAIN_SCHEDULE_H
#define EK_TRAIN_SCHEDULE_H

#include "base/status.h"

/* Checks the schedule's settings and fills in gamma, after lr's default is in. EK_ERR_ARGUMENT. */
ek_status ek_schedule_check(ek_fit_options *options);

/* Likewise, once it is known of how many steps an epoch is. */
ek_status ek_schedule_check_steps(const ek_fit_options *options, int64_t steps_per_epoch);

/* Of step `step`, from 0 over the whole training of checked options. */
double ek_schedule_rate(const ek_fit_options *options, int64_t steps_per_epoch, int64_t step);

#endif
