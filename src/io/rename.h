/* SPDX-License-Identifier: MIT
 * Rules that rename tensors: evenkeel.h, ek_weights_options, says what a rule does. */
#ifndef EK_IO_RENAME_H
#define EK_IO_RENAME_H

#include "io/safetensors.h"

/* What one rule makes of `name`, for ek_free; NULL in *renamed where it does not fit the name. EK_ERR_ARGUMENT for a
 * rule that is none, or that makes nothing of the name. */
ek_status ek_rename(char **renamed, const char *rule, const char *name);

/* Whether `pattern`, what stands before a rule's '=', fits `name`. EK_ERR_ARGUMENT for what is no pattern. */
ek_status ek_name_fits(bool *fits, const char *pattern, const char *name);

/* Renames the tensors of a file by rules, in their order, each on what those before it made of a name. EK_ERR_ARGUMENT
 * names a rule that is none or fits no tensor, and two tensors that came by the same name. */
ek_status ek_safetensors_rename(ek_safetensors *file, const char *path, const char *const *rules, int count);

#endif
