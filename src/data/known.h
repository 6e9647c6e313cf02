/* SPDX-License-Identifier: MIT
 * The data sets that are known by name and by content: what they hold, and where they come from. */
#ifndef EK_DATA_KNOWN_H
#define EK_DATA_KNOWN_H

#include "data/idx.h"

/* One of a set's four files. */
typedef struct ek_known_file {
    int64_t n;
    const char *digest; /* SHA-256 of the unpacked file, in hexadecimal */
} ek_known_file;

/* One of the files of a set in CIFAR's format. */
typedef struct ek_known_batch {
    const char *name;   /* NULL ends a list */
    const char *digest; /* SHA-256 of the file */
    int64_t n;          /* records in it */
} ek_known_batch;

/* What a set in CIFAR's format has beside the rest: it comes as one archive, a tar file in gzip. */
typedef struct ek_known_cifar {
    const char *archive;        /* its name at the mirrors */
    const char *archive_digest; /* SHA-256 of it as it is downloaded */
    int64_t archive_size;       /* likewise */
    const char *folder;         /* that the files are in, in the archive */
    int label_bytes;            /* of a record: 1, or 2: coarse, then fine */
    int coarse_classes;
    const char *const *coarse_labels;
    ek_known_batch batch[2][6]; /* [ek_split] */
} ek_known_cifar;

typedef struct ek_known_set {
    const char *name;           /* as a person types it; NULL ends a table */
    const char *title;          /* as a person reads it */
    const char *package;        /* Debian's, or NULL */
    const char *const *mirrors; /* base addresses of the files, in the order of trying, NULL-terminated */
    int channels, height, width, classes;
    const char *const *labels;   /* `classes` names, or NULL where the number is the name */
    ek_known_file file[2][2];    /* [ek_split][ek_idx_kind]; n 0 in CIFAR's format */
    const ek_known_cifar *cifar; /* NULL: four IDX files */
} ek_known_set;

/* The table of this version. */
extern const ek_known_set ek_known_sets[];

/* "train-images-idx3-ubyte" and its three sisters. */
const char *ek_known_file_name(ek_split split, ek_idx_kind kind);

/* The set of that name, or NULL. */
const ek_known_set *ek_known_by_name(const ek_known_set *sets, const char *name);

/* "fashion-mnist, mnist", cut where `size` bytes are too few. Returns text. */
const char *ek_known_names(const ek_known_set *sets, char *text, size_t size);

/* The set of which `digest` is file [split][kind], or NULL; NULL for "". */
const ek_known_set *ek_known_by_digest(const ek_known_set *sets, ek_split split, ek_idx_kind kind,
                                       const char *digest);

#endif
