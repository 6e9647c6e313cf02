/* SPDX-License-Identifier: MIT
 * The binary files of CIFAR-10 and CIFAR-100: records of one or two label bytes and the pixels [3,32,32], one behind
 * the other and nothing else. */
#ifndef EK_DATA_CIFAR_H
#define EK_DATA_CIFAR_H

#include "data/places.h"

/* Where a split's files of `set` (whose cifar is not NULL) lie: in `folder`, or in the folder below it that the archive
 * makes. False where the first of them is in neither. */
bool ek_cifar_find(ek_path where, const char *folder, const ek_known_set *set, ek_split split);

/* Reads a split's files from where ek_cifar_find found them. *exact: every file is the known one, by its digest; true
 * in builds without digests when the numbers of records are the known ones. images and labels have their digests, and
 * no data after a failure. EK_ERR_FORMAT for a missing file, and for one that is no sequence of records or holds a
 * label beyond the classes; others as ek_stream_open. */
ek_status ek_cifar_read(const ek_known_set *set, const char *where, ek_split split, bool coarse, ek_idx *images,
                        ek_idx *labels, bool *exact);

#endif
