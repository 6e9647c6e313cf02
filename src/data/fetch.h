/* SPDX-License-Identifier: MIT
 * Bringing a known data set into a folder: what is there and right is kept, the rest downloaded and checked. */
#ifndef EK_DATA_FETCH_H
#define EK_DATA_FETCH_H

#include "data/known.h"

/* ek_dataset_fetch with the set as an argument. In a build without libcurl, digests or zlib EK_ERR_UNSUPPORTED. */
ek_status ek_fetch_set(const ek_known_set *set, const ek_fetch_options *options);

#endif
