/* SPDX-License-Identifier: MIT
 * What the result of a training depends on, as names and texts: a checkpoint keeps them, so that a training is gone on
 * with as it was begun. */
#ifndef EK_TRAIN_CONFIG_H
#define EK_TRAIN_CONFIG_H

#include "base/status.h"
#include "io/safetensors.h"

enum { EK_CONFIG_MAX = 48 };

/* Keys begin with EK_CHECKPOINT_NOTE, so that they are notes of the checkpoint read as a model. */
typedef struct ek_config {
    char *keys[EK_CONFIG_MAX], *values[EK_CONFIG_MAX];
    int count;
} ek_config;

/* Of checked options; val may be NULL. The caller frees it, also after a failure. */
ek_status ek_config_make(ek_config *config, const ek_fit_options *options, const ek_net *net, const ek_dataset *train,
                         const ek_dataset *val);
void ek_config_free(ek_config *config);

/* EK_ERR_ARGUMENT with every difference ("lr: 0.1 in the checkpoint, 0.01 now") where the file's is another one. */
ek_status ek_config_compare(const ek_config *config, const ek_safetensors *file, const char *path);

#endif
