/* SPDX-License-Identifier: MIT
 * The data set as an object: made of bytes, asked about, freed. */
#include "data/dataset.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

/* sha256 of the text "IMAGES\nLABELS\n" of the two files' digests: shape, pixels and labels enter through them. */
static ek_status set_digest(ek_dataset *dataset, const ek_idx *images, const ek_idx *labels, bool of_files)
{
    const char *const prefix = of_files ? "files-sha256:" : "sha256:";
    const size_t length = strlen(prefix);
    ek_digest digest;
    if (!ek_digest_available())
        return EK_OK;
    EK_TRY(ek_digest_begin(&digest));
    ek_digest_add(&digest, images->digest, strlen(images->digest));
    ek_digest_add(&digest, "\n", 1);
    ek_digest_add(&digest, labels->digest, strlen(labels->digest));
    ek_digest_add(&digest, "\n", 1);
    memcpy(dataset->digest, prefix, length);
    ek_digest_end(&digest, dataset->digest + length);
    return EK_OK;
}

static ek_status fill(ek_dataset *dataset, ek_idx *images, ek_idx *labels, bool streams, const char *path)
{
    dataset->n = images->n;
    dataset->channels = images->channels;
    dataset->height = images->height;
    dataset->width = images->width;
    for (int i = 0; i < 256; i++)
        snprintf(dataset->numbers[i], sizeof dataset->numbers[i], "%u", (unsigned)i & 255);
    if (path && !(dataset->path = ek_strdup(path)))
        return EK_ERR_MEMORY;
    EK_TRY(set_digest(dataset, images, labels, streams));
    dataset->pixels = images->data;
    dataset->labels = labels->data;
    images->data = labels->data = NULL;
    return EK_OK;
}

ek_status ek_dataset_adopt(ek_dataset **dataset, ek_idx *images, ek_idx *labels, ek_image_files *files, int classes,
                           const ek_known_set *known, const char *path)
{
    ek_dataset *made = ek_calloc(1, sizeof *made);
    ek_status status = made ? fill(made, images, labels, files != NULL, path) : EK_ERR_MEMORY;
    if (status) {
        ek_idx_free(images);
        ek_idx_free(labels);
        ek_dataset_free(made);
        return status;
    }
    made->files = files;
    made->classes = classes;
    made->known = known;
    made->names = known ? known->labels : NULL;
    atomic_init(&made->users, 1);
    *dataset = made;
    return EK_OK;
}

void ek_dataset_free(ek_dataset *dataset)
{
    if (!dataset || atomic_fetch_sub(&dataset->users, 1) > 1)
        return;
    if (dataset->whole) {
        ek_dataset_free(dataset->whole);
    } else {
        ek_free(dataset->pixels);
        ek_image_files_free(dataset->files);
        ek_free(dataset->labels);
        ek_free(dataset->own_names);
        ek_free(dataset->skipped_first);
    }
    ek_free(dataset->index);
    ek_free(dataset->path);
    ek_free(dataset);
}

/* ---- From memory -------------------------------------------------------------------------------------------- */

static ek_status check_memory(const ek_idx *images, const uint8_t *pixels, const uint8_t *labels, int classes)
{
    const int extents[] = {images->channels, images->height, images->width};
    if (!pixels || !labels)
        return ek_fail(EK_ERR_ARGUMENT, "ek_dataset_from_memory: pixels or labels are NULL");
    if (images->n < 1 || images->n > INT32_MAX)
        return ek_fail(EK_ERR_ARGUMENT, "ek_dataset_from_memory: n is %lld, not in 1 .. %d", (long long)images->n,
                       INT32_MAX);
    for (int i = 0; i < 3; i++)
        if (extents[i] < 1 || extents[i] > EK_IDX_EXTENT)
            return ek_fail(EK_ERR_ARGUMENT, "ek_dataset_from_memory: images of %d x %d x %d; extents are 1 .. %d",
                           extents[0], extents[1], extents[2], EK_IDX_EXTENT);
    if (classes < 1 || classes > 256)
        return ek_fail(EK_ERR_ARGUMENT, "ek_dataset_from_memory: classes is %d, not in 1 .. 256", classes);
    for (int64_t i = 0; i < images->n; i++)
        if (labels[i] >= classes)
            return ek_fail(EK_ERR_ARGUMENT,
                           "ek_dataset_from_memory: label %d of sample %lld is not below classes, %d", labels[i],
                           (long long)i, classes);
    return EK_OK;
}

static ek_status copy(ek_idx *idx, ek_idx_kind kind, const uint8_t *data)
{
    size_t plane = ek_size_mul((size_t)idx->height, (size_t)idx->width);
    size_t sample = ek_size_mul((size_t)idx->channels, plane);
    idx->data = ek_calloc((size_t)idx->n, sample);
    if (!idx->data)
        return EK_ERR_MEMORY;
    memcpy(idx->data, data, (size_t)idx->n * sample);
    return ek_idx_digest(idx, kind);
}

/* The known set of which these are either split. */
static const ek_known_set *recognise(const ek_idx *images, const ek_idx *labels, int classes)
{
    for (ek_split split = EK_SPLIT_TRAIN; split <= EK_SPLIT_TEST; split++) {
        const ek_known_set *set = ek_known_by_digest(ek_known_sets, split, EK_IDX_IMAGES, images->digest);
        if (set && set->classes == classes && strcmp(set->file[split][EK_IDX_LABELS].digest, labels->digest) == 0)
            return set;
    }
    return NULL;
}

ek_status ek_dataset_from_memory(ek_dataset **dataset, int64_t n, int channels, int height, int width,
                                 const uint8_t *pixels, const uint8_t *labels, int classes)
{
    ek_idx image_idx = {.n = n, .channels = channels, .height = height, .width = width};
    ek_idx label_idx = {.n = n, .channels = 1, .height = 1, .width = 1};
    *dataset = NULL;
    EK_TRY(check_memory(&image_idx, pixels, labels, classes));
    ek_status status = copy(&image_idx, EK_IDX_IMAGES, pixels);
    if (!status)
        status = copy(&label_idx, EK_IDX_LABELS, labels);
    if (status) {
        ek_idx_free(&image_idx);
        ek_idx_free(&label_idx);
        return status;
    }
    const ek_known_set *known = recognise(&image_idx, &label_idx, classes);
    return ek_dataset_adopt(dataset, &image_idx, &label_idx, NULL, classes, known, NULL);
}

/* ---- Questions ---------------------------------------------------------------------------------------------- */

void ek_dataset_get_info(const ek_dataset *dataset, ek_dataset_info *info)
{
    *info = (ek_dataset_info){
        .name = dataset->known ? dataset->known->name : "",
        .path = dataset->path ? dataset->path : "",
        .digest = dataset->digest,
        .count = dataset->n,
        .channels = dataset->channels,
        .height = dataset->height,
        .width = dataset->width,
        .classes = dataset->classes,
        .streams = dataset->files != NULL,
        .skipped = dataset->skipped,
        .skipped_first = dataset->skipped_first ? dataset->skipped_first : "",
    };
}

/* Where sample i lies; 0 <= i < n. */
static size_t place(const ek_dataset *dataset, int64_t i)
{
    return dataset->index ? (size_t)dataset->index[i] : (size_t)i;
}

const uint8_t *ek_dataset_pixels(const ek_dataset *dataset, int64_t i)
{
    size_t sample = (size_t)dataset->channels * (size_t)dataset->height * (size_t)dataset->width;
    return i < 0 || i >= dataset->n || dataset->files ? NULL : dataset->pixels + place(dataset, i) * sample;
}

ek_status ek_dataset_read(const ek_dataset *dataset, int64_t i, uint8_t *pixels)
{
    if (i < 0 || i >= dataset->n)
        return ek_fail(EK_ERR_ARGUMENT, "sample %lld: there are samples 0 .. %lld", (long long)i,
                       (long long)dataset->n - 1);
    if (!dataset->files) {
        memcpy(pixels, ek_dataset_pixels(dataset, i),
               (size_t)dataset->channels * (size_t)dataset->height * (size_t)dataset->width);
        return EK_OK;
    }
    ek_shaper shaper = {.channels = dataset->channels, .height = dataset->height, .width = dataset->width};
    const ek_status status = ek_image_files_load(dataset->files, (int64_t)place(dataset, i), &shaper, pixels);
    ek_shaper_free(&shaper);
    return status;
}

int ek_dataset_label(const ek_dataset *dataset, int64_t i)
{
    return i < 0 || i >= dataset->n ? -1 : dataset->labels[place(dataset, i)];
}

const char *ek_dataset_label_text(const ek_dataset *dataset, int label)
{
    if (label < 0 || label >= dataset->classes)
        return NULL;
    return dataset->names ? dataset->names[label] : dataset->numbers[label];
}
