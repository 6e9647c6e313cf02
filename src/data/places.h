/* SPDX-License-Identifier: MIT
 * Where data sets lie: folders, the files in them, and the order of looking. */
#ifndef EK_DATA_PLACES_H
#define EK_DATA_PLACES_H

#include "data/known.h"

enum { EK_PATH_SIZE = 4096 }; /* more than this no system call takes */
typedef char ek_path[EK_PATH_SIZE];

/* "FOLDER/NAMEsuffix", FOLDER itself for name ""; EK_ERR_IO when that is longer than the system allows. */
ek_status ek_path_join(ek_path path, const char *folder, const char *name, const char *suffix);

/* The cache folder of data set `name`: $XDG_CACHE_HOME/evenkeel/NAME, or ~/.cache/evenkeel/NAME. EK_ERR_NOT_FOUND
 * where neither XDG_CACHE_HOME nor HOME is an absolute path. */
ek_status ek_places_cache(ek_path folder, const char *name);

/* A file of a data set in `folder`: the plain one, else the one with .gz. False where neither exists. */
bool ek_places_file(ek_path path, const char *folder, ek_split split, ek_idx_kind kind);

/* In what shape a split is in a folder, by the names of its files; the first that fits. */
typedef enum ek_format {
    EK_FORMAT_NONE,
    EK_FORMAT_IDX,    /* MNIST's four files */
    EK_FORMAT_CIFAR,  /* *set is the known set whose files' names they are */
    EK_FORMAT_PAIR,   /* two IDX files of other names: data/pair.h */
    EK_FORMAT_IMAGES, /* a folder of images for each class: data/tree.h */
} ek_format;

/* Looks into `folder`, which for a pair may be FOLDER/SET. EK_ERR_ARGUMENT when the folder holds several pairs. */
ek_status ek_places_format(ek_format *format, const ek_known_set **set, const char *folder, ek_split split,
                           const ek_known_set *sets);

/* The folder that `name_or_dir` stands for. With a '/' in it, or when it is no known name but a folder in the
 * current directory, it is that folder. Else it is a name, and the first place that holds a file of the split is
 * taken of $EVENKEEL_DATA/NAME, $EVENKEEL_DATA itself (for known names), the cache folder, /usr/share/datasets/NAME;
 * for a known name files of its format count alone.
 * *by_name tells which it was. EK_ERR_NOT_FOUND lists where it looked, and says how to get the data. */
ek_status ek_places_find(ek_path folder, bool *by_name, const ek_known_set *sets, const char *name_or_dir,
                         ek_split split);

#endif
