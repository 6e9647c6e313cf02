/* SPDX-License-Identifier: MIT
 * Model files with more in them than a model: what a checkpoint is (docs/format.md). */
#ifndef EK_IO_MODEL_H
#define EK_IO_MODEL_H

#include "io/safetensors.h"

/* Keys of a model file's metadata; a note's key stands behind the last. */
#define EK_MODEL_KEY_VERSION "evenkeel.version"
#define EK_MODEL_KEY_NET "evenkeel.net"
#define EK_MODEL_KEY_NOTE "evenkeel.note."
enum { EK_MODEL_VERSION = 1 }; /* of the model file; newer ones are refused */

/* Names of what a checkpoint adds, tensors and notes, begin so; whoever reads it as a model passes over the tensors. */
#define EK_CHECKPOINT_PREFIX "checkpoint."
#define EK_CHECKPOINT_CHECKSUMS EK_CHECKPOINT_PREFIX "checksums"
#define EK_CHECKPOINT_NOTE EK_MODEL_KEY_NOTE EK_CHECKPOINT_PREFIX

/* What is added to the net's tensors, notes and text. */
typedef struct ek_model_extras {
    const ek_safetensors_pair *metadata; /* keys begin with EK_CHECKPOINT_NOTE */
    size_t metadata_count;
    const ek_safetensors_item *items;
    size_t item_count;
} ek_model_extras;

/* ek_net_save with extras, and with a checksum of every byte. */
ek_status ek_model_write(ek_net *net, const ek_model_extras *extras, const char *path);

/* Takes a file's tensors as the net's, which is finished: ek_net_load_weights_with, the file at hand. */
ek_status ek_weights_take(ek_net *net, const ek_safetensors *file, const char *path,
                          const ek_weights_options *options);

/* What is wrong with a value of a tensor with this role, "is not finite"; NULL when nothing is. */
const char *ek_value_fault(ek_role role, float value);

/* EK_ERR_NUMERIC names the first element of a tensor, and of any of the net's, with such a value. */
ek_status ek_check_tensor(const ek_tensor *tensor);
ek_status ek_check_values(const ek_net *net);

#endif
