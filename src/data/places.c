/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/places.h"

#include "data/cifar.h"
#include "data/pair.h"
#include "data/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char system_folder[] = "/usr/share/datasets";

ek_status ek_path_join(ek_path path, const char *folder, const char *name, const char *suffix)
{
    size_t length = strlen(folder);
    bool joined = !*name || (length && folder[length - 1] == '/');
    int written = snprintf(path, EK_PATH_SIZE, "%s%s%s%s", folder, joined ? "" : "/", name, suffix);
    if (written < 0 || written >= EK_PATH_SIZE)
        return ek_fail(EK_ERR_IO, "%.100s...: the path is longer than the system allows", folder);
    return EK_OK;
}

ek_status ek_places_cache(ek_path folder, const char *name)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    ek_path base;
    if (cache && *cache == '/') {
        EK_TRY(ek_path_join(base, cache, "evenkeel", ""));
    } else if (home && *home == '/') {
        EK_TRY(ek_path_join(base, home, ".cache/evenkeel", ""));
    } else {
        return ek_fail(EK_ERR_NOT_FOUND, "no cache folder: set HOME or XDG_CACHE_HOME, or name a folder");
    }
    return ek_path_join(folder, base, name, "");
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool ek_places_file(ek_path path, const char *folder, ek_split split, ek_idx_kind kind)
{
    static const char *const suffixes[] = {"", ".gz"};
    struct stat info;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (!ek_path_join(path, folder, ek_known_file_name(split, kind), suffixes[i]) && stat(path, &info) == 0)
            return true;
    return false;
}

static bool has_idx(const char *folder, ek_split split)
{
    ek_path file;
    return ek_places_file(file, folder, split, EK_IDX_IMAGES) || ek_places_file(file, folder, split, EK_IDX_LABELS);
}

ek_status ek_places_format(ek_format *format, const ek_known_set **set, const char *folder, ek_split split,
                           const ek_known_set *sets)
{
    ek_path file[2];
    bool found, transposed;
    *set = NULL;
    *format = EK_FORMAT_IDX;
    if (has_idx(folder, split))
        return EK_OK;
    *format = EK_FORMAT_CIFAR;
    for (*set = sets; (*set)->name; (*set)++)
        if ((*set)->cifar && ek_cifar_find(file[0], folder, *set, split))
            return EK_OK;
    *set = NULL;
    *format = EK_FORMAT_PAIR;
    EK_TRY(ek_pair_find(file, &found, &transposed, folder, split));
    if (found)
        return EK_OK;
    *format = EK_FORMAT_IMAGES;
    EK_TRY(ek_tree_find(&found, folder, split));
    *format = found ? EK_FORMAT_IMAGES : EK_FORMAT_NONE;
    return EK_OK;
}

/* ---- Looking for a name ------------------------------------------------------------------------------------- */

typedef struct search {
    const ek_known_set *sets, *known; /* known: NULL for a name that nobody knows */
    ek_split split;
    bool found;
    ek_status status; /* of looking */
    char *folder;     /* an ek_path: the place at hand, the one that was found in the end */
    char looked[600]; /* the places so far, for the message */
} search;

static void note(search *s, const char *place)
{
    size_t length = strlen(s->looked);
    snprintf(s->looked + length, sizeof s->looked - length, "%s%s", length ? ", " : "", place);
}

/* Looks into s->folder. */
static void look(search *s)
{
    ek_path where;
    ek_format format = EK_FORMAT_NONE;
    const ek_known_set *set;
    if (s->known && s->known->cifar) {
        s->found = ek_cifar_find(where, s->folder, s->known, s->split);
    } else if (s->known) {
        s->found = has_idx(s->folder, s->split);
    } else {
        s->status = ek_places_format(&format, &set, s->folder, s->split, s->sets);
        s->found = s->status || format != EK_FORMAT_NONE;
    }
    if (!s->found)
        note(s, s->folder);
}

static void look_in_environment(search *s, const char *name)
{
    const char *data = getenv("EVENKEEL_DATA");
    if (!data || !*data) {
        note(s, "$EVENKEEL_DATA (not set)");
        return;
    }
    if (!ek_path_join(s->folder, data, name, ""))
        look(s);
    if (!s->found && s->known && !ek_path_join(s->folder, data, "", ""))
        look(s);
}

static ek_status not_found(const search *s, const ek_known_set *sets, const ek_known_set *known, const char *name)
{
    char names[100];
    if (!known)
        return ek_fail(EK_ERR_NOT_FOUND, "%s: neither a folder nor a data set (known are %s); looked in %s", name,
                       ek_known_names(sets, names, sizeof names), s->looked);
    return ek_fail(EK_ERR_NOT_FOUND, "%s: not found in %s; get it with `evenkeel data fetch %s`%s%s%s", name,
                   s->looked, name, known->package ? ", or on Debian `apt-get install " : "",
                   known->package ? known->package : "", known->package ? "`" : "");
}

static ek_status find_name(ek_path folder, const ek_known_set *sets, const char *name, ek_split split)
{
    const ek_known_set *known = ek_known_by_name(sets, name);
    search s = {.sets = sets, .known = known, .split = split, .folder = folder};
    look_in_environment(&s, name);
    if (!s.found && !ek_places_cache(folder, name))
        look(&s);
    if (!s.found && !ek_path_join(folder, system_folder, name, ""))
        look(&s);
    return s.status ? s.status : s.found ? EK_OK : not_found(&s, sets, known, name);
}

/* A folder that the caller named: it must hold the split. */
static ek_status check_folder(const char *folder, ek_split split, const ek_known_set *sets)
{
    ek_format format;
    const ek_known_set *set;
    EK_TRY(ek_places_format(&format, &set, folder, split, sets));
    if (format != EK_FORMAT_NONE)
        return EK_OK;
    if (!is_folder(folder))
        return ek_fail(EK_ERR_NOT_FOUND, "%s: no such folder", folder);
    return ek_fail(
        EK_ERR_NOT_FOUND,
        "%s: holds no %s data: neither %s, plain or with .gz, nor another IDX pair, CIFAR's .bin files, or "
        "images in %s/CLASS/",
        folder, split == EK_SPLIT_TRAIN ? "training" : "test", ek_known_file_name(split, EK_IDX_IMAGES),
        split == EK_SPLIT_TRAIN ? "train" : "test");
}

ek_status ek_places_find(ek_path folder, bool *by_name, const ek_known_set *sets, const char *name_or_dir,
                         ek_split split)
{
    *by_name = !strchr(name_or_dir, '/') && (ek_known_by_name(sets, name_or_dir) || !is_folder(name_or_dir));
    if (*by_name)
        return find_name(folder, sets, name_or_dir, split);
    EK_TRY(ek_path_join(folder, name_or_dir, "", ""));
    return check_folder(folder, split, sets);
}
