/* SPDX-License-Identifier: MIT
 * A training inside ek_fit: what it works on, set up before the first step (trainer.c) and driven by fit.c. */
#ifndef EK_TRAIN_TRAINER_H
#define EK_TRAIN_TRAINER_H

#include "data/feed.h"
#include "net/normalize.h"
#include "train/calibrate.h"
#include "train/checkpoint.h"
#include "train/evaluate.h"

/* What is known of a step that was not finite. */
typedef struct ek_blame {
    const char *path; /* of a layer, "": none in particular */
    int channel;      /* -1: none in particular */
    int64_t sample;   /* of the training data, -1: none in particular */
} ek_blame;

typedef struct ek_trainer {
    ek_fit_options o; /* with defaults filled in */
    ek_net *net;
    const ek_dataset *train;
    int64_t count; /* training samples */
    int64_t steps; /* of an epoch */
    ek_progress progress;
    double rate, gradient_norm; /* of the last step */
    ek_blame blame;             /* for the last that was not finite */
    bool owed;                  /* a checkpoint was due at such a step */
    ek_backend *backend;
    ek_program *program;
    ek_evaluator *evaluator;   /* NULL without validation data */
    ek_calibrator *calibrator; /* NULL without exact statistics */
    int64_t exact_memory;      /* that it may take */
    int64_t measured;          /* total steps behind which it measured last, 0: it holds nothing */
    ek_feed *feed;
    int fed; /* epoch whose images it gives, 0: none yet */
    ek_batch_arrays arrays;
    ek_normal *normal; /* NULL: none */
    ek_augmentation augmentation;
    uint8_t *scratch; /* for changed images; NULL: images stay as they are */
    int32_t *order;
    float *best;            /* the net's values and counters in its best epoch; NULL: not kept */
    int64_t *best_counters; /* */
    ek_config config;       /* this and the rest: with checkpoints */
    ek_checkpoint_state state;
    ek_checkpoints *checkpoints; /* NULL: none */
    int64_t kept;                /* total steps of the checkpoint tried last, -1: none */
} ek_trainer;

/* Checks options in themselves and fills in their defaults. */
ek_status ek_trainer_fill_options(ek_fit_options *options);

/* Fills in the defaults of `o` and makes everything else from it, net and train: errors of ek_fit before the first
 * step. To be closed also after a failure. */
ek_status ek_trainer_open(ek_trainer *trainer, const ek_dataset *val);
void ek_trainer_close(ek_trainer *trainer);

/* After a run of samples at..at+batch->samples-1 of the step that was not finite: finds out where that began, and adds
 * it to the message. EK_ERR_NUMERIC. */
ek_status ek_trainer_blame(ek_trainer *trainer, const ek_batch *batch, int64_t at);

/* Validation after an epoch, into its record (exact.c, as the next one), none without validation data. With exact
 * statistics the calibrator has measured them when it returns. */
ek_status ek_trainer_validate(ek_trainer *trainer, ek_epoch_record *record);

/* At the end, of a net that is the last or the best epoch's: its exact statistics, where they are asked for. After a
 * failure it has, all of them, those of the epoch's validation, or the moving ones. */
ek_status ek_trainer_install(ek_trainer *trainer);

/* Samples that go through the net together: their statistics are one. */
int64_t ek_trainer_group(const ek_trainer *trainer);

#endif
