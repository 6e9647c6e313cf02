/* SPDX-License-Identifier: MIT
 * Opening a data set: find its folder, read a split in whatever format it has, check and recognise it, resize it. */
#include "base/memory.h"
#include "data/cifar.h"
#include "data/dataset.h"
#include "data/pair.h"
#include "data/resize.h"
#include "data/tree.h"

#include <string.h>

/* What is being opened. */
typedef struct request {
    const ek_known_set *sets;
    const char *asked; /* the name that was asked for; NULL for a folder */
    ek_data_options o;
    ek_split split;
    ek_path folder;
    ek_path file[2]; /* [ek_idx_kind] */
    ek_idx idx[2];   /* likewise */
    /* What was found out. */
    const ek_known_set *known;
    int classes;
    const char *const *names; /* NULL: known's, or numbers */
    ek_tree tree;             /* names and broken files of a folder of images */
} request;

/* ---- The files ---------------------------------------------------------------------------------------------- */

static ek_status find_files(request *r)
{
    for (int kind = EK_IDX_IMAGES; kind <= EK_IDX_LABELS; kind++)
        if (!ek_places_file(r->file[kind], r->folder, r->split, (ek_idx_kind)kind))
            return ek_fail(EK_ERR_FORMAT, "%s: %s is missing, plain or with .gz; its partner is there", r->folder,
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

/* ---- Formats ------------------------------------------------------------------------------------------------ */

static ek_status read_idx(request *r)
{
    EK_TRY(find_files(r));
    EK_TRY(read_files(r));
    EK_TRY(identify(r, &r->known));
    if (!r->known)
        return count_classes(r, &r->classes);
    r->classes = r->known->classes;
    return check_labels(&r->idx[EK_IDX_LABELS], r->classes, r->file[EK_IDX_LABELS]);
}

/* IDX files of other names. The training labels beside them have the say about classes here too. */
static ek_status read_pair(request *r)
{
    bool found, transposed;
    ek_path file[2];
    ek_idx training;
    EK_TRY(ek_pair_find(r->file, &found, &transposed, r->folder, r->split));
    EK_TRY(read_files(r));
    if (transposed)
        EK_TRY(ek_pair_transpose(&r->idx[EK_IDX_IMAGES]));
    r->classes = largest(&r->idx[EK_IDX_LABELS]) + 1;
    if (r->split == EK_SPLIT_TRAIN)
        return EK_OK;
    EK_TRY(ek_pair_find(file, &found, &transposed, r->folder, EK_SPLIT_TRAIN));
    if (!found)
        return EK_OK;
    EK_TRY(ek_idx_read(&training, EK_IDX_LABELS, file[EK_IDX_LABELS]));
    r->classes = largest(&training) + 1;
    ek_idx_free(&training);
    return check_labels(&r->idx[EK_IDX_LABELS], r->classes, r->file[EK_IDX_LABELS]);
}

static ek_status read_cifar(request *r, const ek_known_set *set)
{
    ek_path where;
    bool exact;
    const bool coarse = r->o.coarse && set->cifar->coarse_classes;
    ek_cifar_find(where, r->folder, set, r->split);
    EK_TRY(ek_cifar_read(set, where, r->split, r->o.coarse, &r->idx[EK_IDX_IMAGES], &r->idx[EK_IDX_LABELS], &exact));
    if (r->asked && !exact && ek_known_by_name(r->sets, r->asked) == set)
        return ek_fail(
            EK_ERR_DIGEST,
            "%s: not the files of %s, by their SHA-256; put the right ones there, or open the folder by its "
            "path",
            where, set->title);
    r->known = exact ? set : NULL;
    r->classes = coarse ? set->cifar->coarse_classes : set->classes;
    r->names = coarse ? set->cifar->coarse_labels : set->labels; /* the files' names say what the labels are */
    return EK_OK;
}

static ek_status read_tree(request *r)
{
    EK_TRY(ek_tree_read(&r->tree, r->folder, &r->o));
    r->idx[EK_IDX_IMAGES] = r->tree.images;
    r->idx[EK_IDX_LABELS] = r->tree.labels;
    r->tree.images.data = r->tree.labels.data = NULL;
    r->classes = r->tree.classes;
    r->names = r->tree.names;
    return EK_OK;
}

/* Grey to RGB, where that is asked for; the other way needs three channels. */
static ek_status change_colour(request *r)
{
    ek_idx *images = &r->idx[EK_IDX_IMAGES];
    const int channels = r->o.colour == EK_COLOUR_GREY ? 1 : r->o.colour == EK_COLOUR_RGB ? 3 : images->channels;
    if (channels == images->channels)
        return EK_OK;
    if (images->channels != 1 && images->channels != 3)
        return ek_fail(EK_ERR_UNSUPPORTED,
                       "%s: images of %d channels are neither grey nor RGB; take the colours as they are", r->folder,
                       images->channels);
    const size_t plane = (size_t)images->height * (size_t)images->width;
    uint8_t *changed = ek_calloc(ek_size_mul((size_t)images->n, plane), (size_t)channels);
    if (!changed)
        return EK_ERR_MEMORY;
    for (int64_t i = 0; i < images->n; i++) {
        const uint8_t *from = images->data + (size_t)i * plane * (size_t)images->channels;
        uint8_t *to = changed + (size_t)i * plane * (size_t)channels;
        for (size_t p = 0; p < plane; p++)
            if (channels == 1)
                to[p] =
                    (uint8_t)((19595u * from[p] + 38470u * from[plane + p] + 7471u * from[2 * plane + p] + 32768u) >>
                              16);
            else
                to[p] = to[plane + p] = to[2 * plane + p] = from[p];
    }
    ek_free(images->data);
    images->data = changed;
    images->channels = channels;
    return ek_idx_digest(images, EK_IDX_IMAGES);
}

/* ---- Opening ------------------------------------------------------------------------------------------------ */

static ek_status open_folder(request *r, ek_dataset **dataset)
{
    ek_format format;
    const ek_known_set *set;
    EK_TRY(ek_places_format(&format, &set, r->folder, r->split, r->sets));
    EK_TRY(format == EK_FORMAT_CIFAR    ? read_cifar(r, set)
           : format == EK_FORMAT_PAIR   ? read_pair(r)
           : format == EK_FORMAT_IMAGES ? read_tree(r)
                                        : read_idx(r));
    if (r->o.stream == EK_STREAM_YES && !r->tree.files)
        return ek_fail(EK_ERR_UNSUPPORTED,
                       "%s: IDX and CIFAR files are kept in memory; only the images of folders with a class a folder "
                       "stream",
                       r->folder);
    EK_TRY(change_colour(r));
    if (r->o.height && !r->tree.files)
        EK_TRY(ek_resize_images(&r->idx[EK_IDX_IMAGES], r->o.height, r->o.width));
    EK_TRY(ek_dataset_adopt(dataset, &r->idx[EK_IDX_IMAGES], &r->idx[EK_IDX_LABELS], r->tree.files, r->classes,
                            r->known, r->folder));
    if (r->names)
        (*dataset)->names = r->names;
    (*dataset)->own_names = r->tree.names;
    (*dataset)->skipped = r->tree.skipped;
    (*dataset)->skipped_first = r->tree.skipped_first;
    r->tree = (ek_tree){0};
    return EK_OK;
}

static ek_status find_and_open(request *r, const char *name_or_dir, ek_dataset **dataset)
{
    bool by_name;
    EK_TRY(ek_places_find(r->folder, &by_name, r->sets, name_or_dir, r->split));
    r->asked = by_name ? name_or_dir : NULL;
    ek_status status = open_folder(r, dataset);
    for (int kind = EK_IDX_IMAGES; kind <= EK_IDX_LABELS; kind++)
        ek_idx_free(&r->idx[kind]);
    ek_tree_free(&r->tree);
    return status;
}

static ek_status check_options(const ek_data_options *o)
{
    if (o->split != EK_SPLIT_TRAIN && o->split != EK_SPLIT_TEST)
        return ek_fail(EK_ERR_ARGUMENT, "split %d is neither EK_SPLIT_TRAIN nor EK_SPLIT_TEST", (int)o->split);
    if (o->height < 0 || o->width < 0 || o->height > EK_IDX_EXTENT || o->width > EK_IDX_EXTENT ||
        !o->height != !o->width)
        return ek_fail(EK_ERR_ARGUMENT,
                       "images cannot be resized to %d x %d; height and width are 1 .. %d, or both 0", o->height,
                       o->width, EK_IDX_EXTENT);
    if (o->colour < EK_COLOUR_AUTO || o->colour > EK_COLOUR_RGB)
        return ek_fail(EK_ERR_ARGUMENT, "colour %d is none of EK_COLOUR_AUTO, _GREY and _RGB", (int)o->colour);
    if (o->stream < EK_STREAM_AUTO || o->stream > EK_STREAM_NO)
        return ek_fail(EK_ERR_ARGUMENT, "stream %d is none of EK_STREAM_AUTO, _YES and _NO", (int)o->stream);
    if (o->memory_limit < 0)
        return ek_fail(EK_ERR_ARGUMENT, "memory_limit is %lld; give bytes, or 0 for half of the machine's memory",
                       (long long)o->memory_limit);
    return EK_OK;
}

ek_status ek_dataset_open_among(ek_dataset **dataset, const char *name_or_dir, const ek_data_options *options,
                                const ek_known_set *sets)
{
    const ek_data_options o = options ? *options : (ek_data_options){0};
    *dataset = NULL;
    if (!name_or_dir || !*name_or_dir)
        return ek_fail(EK_ERR_ARGUMENT, "the name of a data set is empty; name one, or a folder");
    EK_TRY(check_options(&o));
    request *r = ek_calloc(1, sizeof *r); /* three paths are much for a stack */
    if (!r)
        return EK_ERR_MEMORY;
    r->sets = sets;
    r->o = o;
    r->split = o.split;
    ek_status status = find_and_open(r, name_or_dir, dataset);
    ek_free(r);
    return status;
}

ek_status ek_dataset_open_with(ek_dataset **dataset, const char *name_or_dir, const ek_data_options *options)
{
    return ek_dataset_open_among(dataset, name_or_dir, options, ek_known_sets);
}

ek_status ek_dataset_open(ek_dataset **dataset, const char *name_or_dir, ek_split split)
{
    return ek_dataset_open_with(dataset, name_or_dir, &(ek_data_options){.split = split});
}
