/* SPDX-License-Identifier: MIT
 * Pairs of IDX files under other names than MNIST's: SET-train-images-idx3-ubyte and SET-test-..., as EMNIST's. */
#ifndef EK_DATA_PAIR_H
#define EK_DATA_PAIR_H

#include "data/places.h"

/* Finds the two files of a split. `folder` is a folder, which then must hold one set alone, or FOLDER/SET, the
 * beginning of its files' names. The images file is what is called
 *     [SET-]train-images-idx3-ubyte       (or idx4; test or t10k; "." for the last "-" before idx; .gz behind it)
 * and the labels file the same with labels-idx1. *found is false, and EK_OK comes back, where there is none.
 * EK_ERR_ARGUMENT when there are several sets: the message names them. *transposed: the set is EMNIST's, whose images
 * are stored column by column. file: [ek_idx_kind]. */
ek_status ek_pair_find(ek_path file[2], bool *found, bool *transposed, const char *folder, ek_split split);

/* Exchanges rows and columns of every image. */
ek_status ek_pair_transpose(ek_idx *images);

#endif
