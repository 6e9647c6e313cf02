/* SPDX-License-Identifier: MIT
 * Checkpoints: files in a folder of their own, each a whole training at one step (docs/format.md). */
#ifndef EK_TRAIN_CHECKPOINT_H
#define EK_TRAIN_CHECKPOINT_H

#include "op/program.h"
#include "train/config.h"
#include "train/progress.h"

/* What a checkpoint keeps and brings back beside the progress. */
typedef struct ek_checkpoint_state {
    ek_net *net;
    const ek_program *program; /* whose states are the optimiser's */
    float *best;               /* as net->values and net->counters, of the best epoch; NULL: not kept */
    int64_t *best_counters;
    int64_t steps; /* of an epoch */
    int epochs;
} ek_checkpoint_state;

typedef struct ek_checkpoints ek_checkpoints;

/* Makes the folder where it is missing, locks it until the end (EK_ERR_STATE: another training has it) and removes what
 * a killed training has half written. EK_ERR_STATE, too, where it holds checkpoints and `resume` does not ask for them.
 * The config, the state and all that they lead to must outlive it. */
ek_status ek_checkpoints_open(ek_checkpoints **checkpoints, const char *folder, int keep, bool resume,
                              const ek_checkpoint_state *state, const ek_config *config);
void ek_checkpoints_free(ek_checkpoints *checkpoints);

/* Writes one, then removes the oldest beyond those to keep; where the disk has no room for it, the oldest goes first,
 * unless none that is whole would stay. */
ek_status ek_checkpoints_write(ek_checkpoints *checkpoints, const ek_progress *progress);

/* Takes the newest that is whole into the state and *progress; calls `broken` for those before it, with ek_error()
 * saying why, and how many are `left` to try: what it returns, but for EK_OK, ends that. Errors as ek_fit's with
 * resume. The net is changed by success alone. */
typedef ek_status ek_checkpoint_broken(void *user, const char *path, ek_status status, int left);
ek_status ek_checkpoints_resume(ek_checkpoints *checkpoints, ek_progress *progress, ek_checkpoint_broken *broken,
                                void *user);

/* The newest of those that were written or read whole; NULL: none yet. The path stands until the next call. */
const char *ek_checkpoints_newest(ek_checkpoints *checkpoints);

/* The file that was written or read last, or tried to be. */
const char *ek_checkpoints_path(const ek_checkpoints *checkpoints);

/* ---- One file (checkpoint_file.c) ------------------------------------------------------------------------------- */

ek_status ek_checkpoint_write(const ek_checkpoint_state *state, const ek_config *config, const ek_progress *progress,
                              const char *path);

/* Every byte is checked before anything is taken. EK_ERR_ARGUMENT for another training's. */
ek_status ek_checkpoint_read(const ek_checkpoint_state *state, const ek_config *config, ek_progress *progress,
                             const char *path);

#endif
