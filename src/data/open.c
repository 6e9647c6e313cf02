/* SPDX-License-Identifier: MIT
 * Opening a data set: find its folder, read a split's two files, check them against each other, recognise them. */
#include "base/memory.h"
#include "data/dataset.h"
#include "data/places.h"

#include <string.h>

/* What is being opened. */
typedef struct request {
    const ek_known_set *sets;
    const char *asked; /* the name that was asked for; NULL for a folder */
    ek_split split;
    ek_path folder;
    ek_path file[2]; /* [ek_idx_kind] */
    ek_idx idx[2];   /* likewise */
} request;

/* ---- The files ---------------------------------------------------------------------------------------------- */

static ek_status find_files(request *r)
{
    for (int kind = EK_IDX_IMAGES; kind <= EK_IDX_LABELS; kind++)
        if (!ek_places_file(r->file[kind], r->folder, r->split, (ek_idx_kind)kind))
            return ek_fail(EK_ERR_NOT_FOUND, "%s: %s is missing, plain or with .gz; its partner is there", r->folder,
                           ek_known_file_name(r->split, (ek_idx_kind)kind));
    return EK_OK;
}

/* Labels first: they are short, and tell much. */
static ek_status read_files(request *r)
{
    EK_TRY(ek_idx_read(&r->idx[EK_IDX_LABELS], EK_IDX_LABELS, r->file[EK_IDX_LABELS]));
    EK_TRY(ek_idx_read(&r->idx[EK_IDX_IMAGES], EK_IDX_IMAGES, r->file[EK_IDX_IMAGES]));
    int64_t images = r->idx[EK_IDX_IMAGES].n, labels = r->idx[EK_IDX_LABELS].n;
    if (images != labels)
        return ek_fail(EK_ERR_FORMAT, "%s: %lld labels, but %s has %lld images; the two do not belong together",
                       r->file[EK_IDX_LABELS], (long long)labels, r->file[EK_IDX_IMAGES], (long long)images);
    return EK_OK;
}

/* ---- What it is --------------------------------------------------------------------------------------------- */

/* The set of which both files are the split. */
static const ek_known_set *recognise(const request *r)
{
    const ek_known_set *set = ek_known_by_digest(r->sets, r->split, EK_IDX_IMAGES, r->idx[EK_IDX_IMAGES].digest);
    if (set && strcmp(set->file[r->split][EK_IDX_LABELS].digest, r->idx[EK_IDX_LABELS].digest) != 0)
        set = NULL;
    return set;
}

/* Why the files are not those of `wanted`: the first that differs. */
static ek_status tell_difference(const request *r, const ek_known_set *wanted)
{
    for (int kind = EK_IDX_IMAGES; kind <= EK_IDX_LABELS; kind++) {
        const char *digest = r->idx[kind].digest, *expected = wanted->file[r->split][kind].digest;
        const ek_known_set *other = ek_known_by_digest(r->sets, r->split, (ek_idx_kind)kind, digest);
        if (other == wanted)
            continue;
        if (other)
            return ek_fail(EK_ERR_DIGEST, "%s: the file is %s's, not %s's; put the right one there", r->file[kind],
                           other->title, wanted->title);
        return ek_fail(EK_ERR_DIGEST,
                       "%s: not the file of %s: SHA-256 of its content is %.12s..., not %.12s...; put the "
                       "right one there, or open the folder by its path",
                       r->file[kind], wanted->title, digest, expected);
    }
    return EK_OK;
}

/* Without digests only the shape can be compared. */
static ek_status check_shape(const request *r, const ek_known_set *wanted)
{
    const ek_idx *images = &r->idx[EK_IDX_IMAGES];
    if (images->n != wanted->file[r->split][EK_IDX_IMAGES].n || images->channels != wanted->channels ||
        images->height != wanted->height || images->width != wanted->width)
        return ek_fail(EK_ERR_DIGEST, "%s: %lld images of %d x %d x %d are not %s; open the folder by its path",
                       r->file[EK_IDX_IMAGES], (long long)images->n, images->channels, images->height, images->width,
                       wanted->title);
    return EK_OK;
}

/* Sets *known, and compares it with the name that was asked for. */
static ek_status identify(const request *r, const ek_known_set **known)
{
    const ek_known_set *wanted = r->asked ? ek_known_by_name(r->sets, r->asked) : NULL;
    *known = recognise(r);
    if (!ek_digest_available() && wanted) {
        *known = wanted;
        return check_shape(r, wanted);
    }
    if (r->asked && *known && *known != wanted)
        return ek_fail(EK_ERR_DIGEST,
                       "%s holds %s, not %s; put the right files there, or open the folder by its path", r->folder,
                       (*known)->title, r->asked);
    return wanted && !*known ? tell_difference(r, wanted) : EK_OK;
}

/* ---- Classes ------------------------------------------------------------------------------------------------ */

static int largest(const ek_idx *labels)
{
    int most = 0;
    for (int64_t i = 0; i < labels->n; i++)
        most = labels->data[i] > most ? labels->data[i] : most;
    return most;
}

static ek_status check_labels(const ek_idx *labels, int classes, const char *file)
{
    for (int64_t i = 0; i < labels->n; i++)
        if (labels->data[i] >= classes)
            return ek_fail(EK_ERR_FORMAT, "%s: label %d of sample %lld; there are %d classes, so labels end at %d",
                           file, labels->data[i], (long long)i, classes, classes - 1);
    return EK_OK;
}

/* One more than the largest training label: the test split opened alone asks the training labels beside it, if any,
 * so that both splits agree. */
static ek_status count_classes(const request *r, int *classes)
{
    const ek_idx *labels = &r->idx[EK_IDX_LABELS];
    ek_path file;
    *classes = largest(labels) + 1;
    if (r->split == EK_SPLIT_TRAIN || !ek_places_file(file, r->folder, EK_SPLIT_TRAIN, EK_IDX_LABELS))
        return EK_OK;
    ek_idx training;
    EK_TRY(ek_idx_read(&training, EK_IDX_LABELS, file));
    *classes = largest(&training) + 1;
    ek_idx_free(&training);
    return check_labels(labels, *classes, r->file[EK_IDX_LABELS]);
}

/* ---- Opening ------------------------------------------------------------------------------------------------ */

static ek_status open_folder(request *r, ek_dataset **dataset)
{
    const ek_known_set *known;
    int classes;
    EK_TRY(find_files(r));
    EK_TRY(read_files(r));
    EK_TRY(identify(r, &known));
    if (known) {
        classes = known->classes;
        EK_TRY(check_labels(&r->idx[EK_IDX_LABELS], classes, r->file[EK_IDX_LABELS]));
    } else {
        EK_TRY(count_classes(r, &classes));
    }
    return ek_dataset_adopt(dataset, &r->idx[EK_IDX_IMAGES], &r->idx[EK_IDX_LABELS], classes, known, r->folder);
}

static ek_status find_and_open(request *r, const char *name_or_dir, ek_dataset **dataset)
{
    bool by_name;
    EK_TRY(ek_places_find(r->folder, &by_name, r->sets, name_or_dir, r->split));
    r->asked = by_name ? name_or_dir : NULL;
    ek_status status = open_folder(r, dataset);
    for (int kind = EK_IDX_IMAGES; kind <= EK_IDX_LABELS; kind++)
        ek_idx_free(&r->idx[kind]);
    return status;
}

ek_status ek_dataset_open_among(ek_dataset **dataset, const char *name_or_dir, ek_split split,
                                const ek_known_set *sets)
{
    *dataset = NULL;
    if (!name_or_dir || !*name_or_dir)
        return ek_fail(EK_ERR_ARGUMENT, "the name of a data set is empty; name one, or a folder");
    if (split != EK_SPLIT_TRAIN && split != EK_SPLIT_TEST)
        return ek_fail(EK_ERR_ARGUMENT, "split %d is neither EK_SPLIT_TRAIN nor EK_SPLIT_TEST", (int)split);
    request *r = ek_calloc(1, sizeof *r); /* three paths are much for a stack */
    if (!r)
        return EK_ERR_MEMORY;
    r->sets = sets;
    r->split = split;
    ek_status status = find_and_open(r, name_or_dir, dataset);
    ek_free(r);
    return status;
}

ek_status ek_dataset_open(ek_dataset **dataset, const char *name_or_dir, ek_split split)
{
    return ek_dataset_open_among(dataset, name_or_dir, split, ek_known_sets);
}
