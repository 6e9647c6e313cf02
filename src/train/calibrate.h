/* SPDX-License-Identifier: MIT
 * Exact statistics of batch norms: what ek_calibrate is, and what the trainer validates and saves with. */
#ifndef EK_TRAIN_CALIBRATE_H
#define EK_TRAIN_CALIBRATE_H

#include "op/backend.h"

typedef struct ek_calibrator ek_calibrator;

/* Samples, seed and memory as in ek_calibrate_options; the backend's threads. A net without a batch norm to measure is
 * fine. EK_ERR_SHAPE where images do not fit the net or a norm would see one value per channel. The net, the data set
 * and the backend must outlive it. */
ek_status ek_calibrator_new(ek_calibrator **calibrator, ek_net *net, const ek_dataset *dataset, ek_backend *backend,
                            const ek_calibrate_options *options);
void ek_calibrator_free(ek_calibrator *calibrator);

/* Measures with the net's parameters as they are now. The statistics are the calibrator's: the net is unchanged.
 * EK_ERR_NUMERIC names layer and channel of what is not finite. */
ek_status ek_calibrator_run(ek_calibrator *calibrator);

/* Exchanges the net's moving statistics and those that were measured. */
void ek_calibrator_swap(ek_calibrator *calibrator);

/* The net's note "statistics" says what was measured. */
ek_status ek_calibrator_note(const ek_calibrator *calibrator);

void ek_calibrator_report(const ek_calibrator *calibrator, ek_calibrate_report *report);

#endif
