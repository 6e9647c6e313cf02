/* SPDX-License-Identifier: MIT
 * A data set: bytes in memory, files on disk, or a list of samples of another one. The trainer sees its images
 * through data/feed.h. */
#ifndef EK_DATA_DATASET_H
#define EK_DATA_DATASET_H

#include "data/files.h"
#include "data/known.h"

#include <stdatomic.h>

struct ek_dataset {
    int64_t n;                   /* 1 .. 2^31-1 */
    int channels, height, width; /* 1 .. 65536 */
    int classes;                 /* 1 .. 256 */
    uint8_t *pixels;           /* [n,channels,height,width], contiguous; of a part: the whole's. NULL: they stream */
    ek_image_files *files;     /* from these; NULL: they are in memory. Of a part: the whole's */
    uint8_t *labels;           /* [n], each below classes; likewise */
    int32_t *index;            /* [n], of a part: its samples' numbers in the whole; NULL: all of them */
    ek_dataset *whole;         /* of a part: what it is a part of, which is none itself */
    atomic_int users;          /* itself, and parts */
    const ek_known_set *known; /* what it is, or NULL */
    const char *const *names;  /* of the classes; NULL: their numbers */
    void *own_names;           /* what holds the names, for ek_free; NULL where they are static, and in a part */
    char *path;                /* the folder it was read from, or NULL */
    int64_t skipped;           /* files that could not be decoded */
    char *skipped_first;       /* why the first of them, for ek_free; NULL in a part */
    char digest[sizeof "files-sha256:" + EK_DIGEST_TEXT]; /* "files-..." where the images stream */
    char numbers[256][4];                                 /* the labels as text where no names are known */
};

/* ek_dataset_open_with with the table of known sets as an argument; it must outlive the data set. */
ek_status ek_dataset_open_among(ek_dataset **dataset, const char *name_or_dir, const ek_data_options *options,
                                const ek_known_set *sets);

/* A data set that owns the data of `images` and `labels` (their pointers are NULL afterwards, after a failure too).
 * known and path may be NULL; path is copied. files: NULL, or where the images stream from, owned after success alone;
 * images->data is NULL then. */
ek_status ek_dataset_adopt(ek_dataset **dataset, ek_idx *images, ek_idx *labels, ek_image_files *files, int classes,
                           const ek_known_set *known, const char *path);

#endif
