/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/cifar.h"

#include "base/memory.h"
#include "data/stream.h"

#include <string.h>
#include <unistd.h>

/* Reading the files of a split one behind the other. */
typedef struct reading {
    const ek_known_set *set;
    const char *where;
    bool coarse;
    ek_idx *images, *labels;
    int64_t done; /* records */
    bool exact;
} reading;

static size_t pixel_bytes(const ek_known_set *set)
{
    return (size_t)set->channels * (size_t)set->height * (size_t)set->width;
}

bool ek_cifar_find(ek_path where, const char *folder, const ek_known_set *set, ek_split split)
{
    const char *const below[] = {"", set->cifar->folder};
    for (size_t i = 0; i < sizeof below / sizeof *below; i++) {
        ek_path file;
        if (!ek_path_join(where, folder, below[i], "") &&
            !ek_path_join(file, where, set->cifar->batch[split][0].name, "") && access(file, F_OK) == 0)
            return true;
    }
    return false;
}

/* Opens a file and tells its number of records. */
static ek_status open_batch(const reading *r, const char *path, ek_stream **stream, int64_t *records)
{
    const uint64_t record = (uint64_t)r->set->cifar->label_bytes + pixel_bytes(r->set);
    EK_TRY(ek_stream_open(stream, path));
    const uint64_t size = ek_stream_bound(*stream);
    ek_status status = EK_OK;
    if (!ek_stream_is_plain(*stream))
        status = ek_fail(EK_ERR_FORMAT, "%s: packed; unpack it with gunzip", path);
    else if (size == 0 || size % record || size / record > INT32_MAX)
        status = ek_fail(EK_ERR_FORMAT, "%s: %llu bytes are no number of records of %llu; get the file anew", path,
                         (unsigned long long)size, (unsigned long long)record);
    if (status) {
        ek_stream_close(*stream);
        *stream = NULL;
        return status;
    }
    *records = (int64_t)(size / record);
    return EK_OK;
}

/* Bytes that must be there, since the file's size says so: the file may shrink while it is read. */
static ek_status take(ek_stream *stream, const char *path, void *data, size_t size, ek_digest *digest)
{
    size_t got;
    EK_TRY(ek_stream_read(stream, data, size, &got));
    if (got < size)
        return ek_fail(EK_ERR_FORMAT, "%s: ends inside a record; get the file anew", path);
    ek_digest_add(digest, data, size);
    return EK_OK;
}

static ek_status read_records(reading *r, ek_stream *stream, const char *path, int64_t records, ek_digest *digest)
{
    const ek_known_cifar *cifar = r->set->cifar;
    const size_t pixels = pixel_bytes(r->set);
    const bool coarse = r->coarse && cifar->label_bytes == 2;
    const int classes = coarse ? cifar->coarse_classes : r->set->classes;
    for (int64_t i = 0; i < records; i++, r->done++) {
        uint8_t label[2];
        EK_TRY(take(stream, path, label, (size_t)cifar->label_bytes, digest));
        EK_TRY(take(stream, path, r->images->data + (size_t)r->done * pixels, pixels, digest));
        r->labels->data[r->done] = label[coarse ? 0 : cifar->label_bytes - 1];
        if (r->labels->data[r->done] >= classes)
            return ek_fail(EK_ERR_FORMAT, "%s: label %d of record %lld; there are %d classes", path,
                           r->labels->data[r->done], (long long)i, classes);
    }
    return EK_OK;
}

static ek_status read_batch(reading *r, const ek_known_batch *batch)
{
    ek_path path;
    ek_stream *stream;
    ek_digest digest;
    char text[EK_DIGEST_TEXT];
    int64_t records;
    EK_TRY(ek_path_join(path, r->where, batch->name, ""));
    EK_TRY(open_batch(r, path, &stream, &records));
    ek_status status = EK_OK;
    if (records > r->images->n - r->done)
        status = ek_fail(EK_ERR_FORMAT, "%s: has grown while it was read; try again", path);
    if (!status)
        status = ek_digest_begin(&digest);
    if (!status) {
        status = read_records(r, stream, path, records, &digest);
        ek_digest_end(&digest, text);
        r->exact = r->exact && (ek_digest_available() ? !strcmp(text, batch->digest) : records == batch->n);
    }
    ek_stream_close(stream);
    return status;
}

/* The number of records of all files. */
static ek_status count_records(reading *r, ek_split split)
{
    for (const ek_known_batch *batch = r->set->cifar->batch[split]; batch->name; batch++) {
        ek_path path;
        ek_stream *stream;
        int64_t records;
        EK_TRY(ek_path_join(path, r->where, batch->name, ""));
        const ek_status status = open_batch(r, path, &stream, &records);
        if (status == EK_ERR_NOT_FOUND)
            return ek_fail(EK_ERR_FORMAT, "%s is missing; others of its set are there", path);
        EK_TRY(status);
        ek_stream_close(stream);
        r->images->n += records;
    }
    return EK_OK;
}

static ek_status read_all(reading *r, ek_split split)
{
    EK_TRY(count_records(r, split));
    if (r->images->n > INT32_MAX)
        return ek_fail(EK_ERR_UNSUPPORTED, "%s: %lld records are more than %d", r->where, (long long)r->images->n,
                       INT32_MAX);
    r->labels->n = r->images->n;
    r->images->data = ek_calloc((size_t)r->images->n, pixel_bytes(r->set));
    r->labels->data = ek_calloc((size_t)r->images->n, 1);
    if (!r->images->data || !r->labels->data)
        return EK_ERR_MEMORY;
    for (const ek_known_batch *batch = r->set->cifar->batch[split]; batch->name; batch++)
        EK_TRY(read_batch(r, batch));
    if (r->done != r->images->n)
        return ek_fail(EK_ERR_FORMAT, "%s: a file has shrunk while it was read; try again", r->where);
    EK_TRY(ek_idx_digest(r->images, EK_IDX_IMAGES));
    return ek_idx_digest(r->labels, EK_IDX_LABELS);
}

ek_status ek_cifar_read(const ek_known_set *set, const char *where, ek_split split, bool coarse, ek_idx *images,
                        ek_idx *labels, bool *exact)
{
    reading r = {.set = set, .where = where, .coarse = coarse, .images = images, .labels = labels, .exact = true};
    *images = (ek_idx){.channels = set->channels, .height = set->height, .width = set->width};
    *labels = (ek_idx){.channels = 1, .height = 1, .width = 1};
    const ek_status status = read_all(&r, split);
    if (status) {
        ek_idx_free(images);
        ek_idx_free(labels);
    }
    *exact = r.exact;
    return status;
}
