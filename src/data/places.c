/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/places.h"

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

/* ---- Looking for a name ------------------------------------------------------------------------------------- */

typedef struct search {
    ek_split split;
    bool found;
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
    ek_path file;
    s->found = ek_places_file(file, s->folder, s->split, EK_IDX_IMAGES) ||
               ek_places_file(file, s->folder, s->split, EK_IDX_LABELS);
    if (!s->found)
        note(s, s->folder);
}

static void look_in_environment(search *s, const char *name, bool known)
{
    const char *data = getenv("EVENKEEL_DATA");
    if (!data || !*data) {
        note(s, "$EVENKEEL_DATA (not set)");
        return;
    }
    if (!ek_path_join(s->folder, data, name, ""))
        look(s);
    if (!s->found && known && !ek_path_join(s->folder, data, "", ""))
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
    search s = {.split = split, .folder = folder};
    look_in_environment(&s, name, known != NULL);
    if (!s.found && !ek_places_cache(folder, name))
        look(&s);
    if (!s.found && !ek_path_join(folder, system_folder, name, ""))
        look(&s);
    return s.found ? EK_OK : not_found(&s, sets, known, name);
}

/* A folder that the caller named: it must hold the split. */
static ek_status check_folder(const char *folder, ek_split split)
{
    ek_path file;
    if (!is_folder(folder))
        return ek_fail(EK_ERR_NOT_FOUND, "%s: no such folder", folder);
    if (!ek_places_file(file, folder, split, EK_IDX_IMAGES))
        return ek_fail(EK_ERR_NOT_FOUND, "%s: holds no %s, plain or with .gz; name a folder with the four IDX files",
                       folder, ek_known_file_name(split, EK_IDX_IMAGES));
    return EK_OK;
}

ek_status ek_places_find(ek_path folder, bool *by_name, const ek_known_set *sets, const char *name_or_dir,
                         ek_split split)
{
    *by_name = !strchr(name_or_dir, '/') && (ek_known_by_name(sets, name_or_dir) || !is_folder(name_or_dir));
    if (*by_name)
        return find_name(folder, sets, name_or_dir, split);
    EK_TRY(ek_path_join(folder, name_or_dir, "", ""));
    return check_folder(folder, split);
}
