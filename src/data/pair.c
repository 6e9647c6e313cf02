/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/pair.h"

#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_SIZE = 256 };

/* A file's name taken apart; the parts point into it. */
typedef struct parts {
    int set_length; /* of what stands before the split's word and its dash */
    int images;     /* where "images" begins */
    bool packed;    /* ends in .gz */
} parts;

static bool ends_with(const char *text, size_t length, const char *end)
{
    const size_t size = strlen(end);
    return length >= size && memcmp(text + length - size, end, size) == 0;
}

/* Whether `name` is an images file of the split. */
static bool take_apart(const char *name, ek_split split, parts *p)
{
    static const char *const words[2][2] = {{"train", "train"}, {"test", "t10k"}};
    size_t length = strlen(name);
    p->packed = ends_with(name, length, ".gz");
    length -= p->packed ? 3 : 0;
    const size_t tail = strlen("images-idx3-ubyte");
    if (length < tail + 1 || length >= NAME_SIZE)
        return false;
    const char *images = name + length - tail;
    if (memcmp(images, "images", 6) != 0 || (images[6] != '-' && images[6] != '.') ||
        memcmp(images + 7, "idx", 3) != 0 || (images[10] != '3' && images[10] != '4') ||
        memcmp(images + 11, "-ubyte", 6) != 0 || images[-1] != '-')
        return false;
    p->images = (int)(images - name);
    const size_t stem = (size_t)p->images - 1;
    for (int i = 0; i < 2; i++) {
        const size_t word = strlen(words[split][i]);
        if (!ends_with(name, stem, words[split][i]) || (stem > word && name[stem - word - 1] != '-'))
            continue;
        p->set_length = stem > word ? (int)(stem - word - 1) : 0;
        return true;
    }
    return false;
}

/* What was found in a folder. */
typedef struct search {
    ek_split split;
    const char *wanted;   /* the set that was asked for; NULL: any */
    char name[NAME_SIZE]; /* of the images file */
    parts at;
    char sets[200]; /* names of the sets there are */
    int count;
} search;

static bool same_set(const search *s, const char *name, const parts *p)
{
    return s->at.set_length == p->set_length && memcmp(s->name, name, (size_t)p->set_length) == 0;
}

/* The plain file goes before the packed one. */
static void consider(search *s, const char *name)
{
    parts p;
    if (!take_apart(name, s->split, &p))
        return;
    if (s->wanted &&
        (strlen(s->wanted) != (size_t)p.set_length || memcmp(s->wanted, name, (size_t)p.set_length) != 0))
        return;
    if (s->count && same_set(s, name, &p)) {
        if (s->at.packed && !p.packed) {
            snprintf(s->name, sizeof s->name, "%s", name);
            s->at = p;
        }
        return;
    }
    const size_t length = strlen(s->sets);
    snprintf(s->sets + length, sizeof s->sets - length, "%s%.*s", length ? ", " : "", p.set_length, name);
    if (s->count++ == 0) {
        snprintf(s->name, sizeof s->name, "%s", name);
        s->at = p;
    }
}

/* The folder's names in the order of the alphabet, so that nothing depends on the order on disk. */
static ek_status look(search *s, const char *folder)
{
    struct dirent **entries;
    const int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? EK_OK
                   : ek_fail(errno == ENOMEM ? EK_ERR_MEMORY : EK_ERR_IO, "%s: the folder cannot be read: %s", folder,
                             strerror(errno));
    for (int i = 0; i < count; i++) {
        consider(s, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return EK_OK;
}

/* The labels' name from the images'; packed or plain, whichever there is. */
static ek_status name_partner(ek_path labels, const char *folder, const search *s)
{
    char name[NAME_SIZE];
    struct stat info;
    snprintf(name, sizeof name, "%s", s->name);
    memcpy(name + s->at.images, "labels", 6);
    name[s->at.images + 10] = '1';
    if (s->at.packed)
        name[strlen(name) - 3] = '\0';
    EK_TRY(ek_path_join(labels, folder, name, ""));
    if (stat(labels, &info) == 0)
        return EK_OK;
    EK_TRY(ek_path_join(labels, folder, name, ".gz"));
    if (stat(labels, &info) == 0)
        return EK_OK;
    return ek_fail(EK_ERR_FORMAT, "%s: %s is missing, plain or with .gz; its partner %s is there", folder, name,
                   s->name);
}

ek_status ek_pair_find(ek_path file[2], bool *found, bool *transposed, const char *folder, ek_split split)
{
    search s = {.split = split};
    struct stat info;
    ek_path parent;
    *found = *transposed = false;
    EK_TRY(ek_path_join(parent, folder, "", ""));
    if (stat(folder, &info) || !S_ISDIR(info.st_mode)) {
        char *slash = strrchr(parent, '/');
        if (!slash || !slash[1])
            return EK_OK;
        s.wanted = strrchr(folder, '/') + 1;
        *(slash == parent ? slash + 1 : slash) = '\0';
    }
    EK_TRY(look(&s, parent));
    if (s.count > 1)
        return ek_fail(EK_ERR_ARGUMENT, "%s: holds several sets: %s; choose one as %s%s%.*s", parent, s.sets, parent,
                       parent[strlen(parent) - 1] == '/' ? "" : "/", s.at.set_length, s.name);
    if (!s.count)
        return EK_OK;
    *found = true;
    *transposed = strncmp(s.name, "emnist-", 7) == 0;
    EK_TRY(ek_path_join(file[EK_IDX_IMAGES], parent, s.name, ""));
    return name_partner(file[EK_IDX_LABELS], parent, &s);
}

ek_status ek_pair_transpose(ek_idx *images)
{
    const size_t h = (size_t)images->height, w = (size_t)images->width;
    uint8_t *copy = ek_calloc(h, w);
    if (!copy)
        return EK_ERR_MEMORY;
    for (int64_t plane = 0; plane < images->n * images->channels; plane++) {
        uint8_t *image = images->data + (size_t)plane * h * w;
        memcpy(copy, image, h * w);
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++)
                image[x * h + y] = copy[y * w + x];
    }
    ek_free(copy);
    images->height = (int)w;
    images->width = (int)h;
    return ek_idx_digest(images, EK_IDX_IMAGES);
}
