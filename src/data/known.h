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

typedef struct ek_known_set {
    const char *name;           /* as a person types it; NULL ends a table */
    const char *title;          /* as a person reads it */
    const char *package;        /* Debian's, or NULL */
    const char *const *mirrors; /* base addresses of the files with .gz, in the order of trying, NULL-terminated */
    int channels, height, width, classes;
    const char *const *labels; /* `classes` names, or NULL where the number is the name */
    ek_known_file file[2][2];  /* [ek_split][ek_idx_kind] */
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
