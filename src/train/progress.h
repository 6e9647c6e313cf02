/* SPDX-License-Identifier: MIT
 * How far a training has come. Random numbers are counter-based and learning rates a function of the step, so that
 * beside values and the optimiser's state this is all that going on needs. */
#ifndef EK_TRAIN_PROGRESS_H
#define EK_TRAIN_PROGRESS_H

#include "base/status.h"

/* A finished epoch, as its event told it. */
typedef struct ek_epoch_record {
    double loss, accuracy, val_loss, val_accuracy, lr, seconds, val_seconds;
    double skipped; /* steps that were left out */
    double moving_loss,
        moving_accuracy; /* the validation's with the moving statistics beside exact ones; or of the loss, one below */
} ek_epoch_record;

/* A history holds finite numbers alone. */
enum { EK_MOVING_NONE = -1, EK_MOVING_BROKEN = -2 /* it was not finite */ };

enum { EK_EPOCH_NUMBERS = sizeof(ek_epoch_record) / sizeof(double) };

typedef struct ek_progress {
    int epoch;       /* at hand, from 1; behind the last when all is done */
    int64_t done;    /* steps of it so far; all of them: its validation is to come */
    int64_t total;   /* steps of the whole training so far, */
    int64_t updates; /* of which the optimiser has taken so many: the others were not finite */
    int skipped;     /* those in a row up to here */
    int64_t omitted; /* those of the epoch */
    double loss;     /* sums over the samples of the epoch so far */
    int64_t correct, count;
    double seconds;           /* that it has taken */
    ek_epoch_record *history; /* of the epoch - 1 finished epochs */
} ek_progress;

/* The epoch at hand is finished. */
ek_status ek_progress_finish_epoch(ek_progress *progress, const ek_epoch_record *record);

/* The first finished epoch of the best validation accuracy; 0: none. */
int ek_progress_best(const ek_progress *progress);

void ek_progress_free(ek_progress *progress);

#endif
