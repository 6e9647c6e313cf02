/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/idx.h"

#include "base/memory.h"
#include "data/stream.h"

#include <string.h>
#include <unistd.h>

enum {
    UNSIGNED_BYTE = 0x08,
    MAX_DIMENSIONS = 4,
    HEADER_SIZE = 4 + 4 * MAX_DIMENSIONS,
    PIECE = 256 << 10 /* decoded and digested at a time, so that it is digested out of the cache */
};

static size_t data_size(const ek_idx *idx)
{
    size_t plane = ek_size_mul((size_t)idx->height, (size_t)idx->width);
    return ek_size_mul((size_t)idx->n, ek_size_mul((size_t)idx->channels, plane));
}

static uint32_t big_endian(const unsigned char bytes[4])
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* ---- The digest --------------------------------------------------------------------------------------------- */

/* The header that the plain file would have. Returns its length. */
static size_t plain_header(const ek_idx *idx, ek_idx_kind kind, unsigned char header[HEADER_SIZE])
{
    const uint32_t n = (uint32_t)idx->n, c = (uint32_t)idx->channels;
    const uint32_t h = (uint32_t)idx->height, w = (uint32_t)idx->width;
    uint32_t extent[MAX_DIMENSIONS] = {n};
    unsigned count = 1;
    if (kind == EK_IDX_IMAGES) {
        if (c > 1)
            extent[count++] = c;
        extent[count++] = h;
        extent[count++] = w;
    }
    memcpy(header, (unsigned char[]){0, 0, UNSIGNED_BYTE, (unsigned char)count}, 4);
    for (unsigned i = 0; i < count; i++)
        for (unsigned byte = 0; byte < 4; byte++)
            header[4 + 4 * i + byte] = (unsigned char)(extent[i] >> (24 - 8 * byte));
    return 4 + 4 * (size_t)count;
}

static ek_status begin_digest(ek_digest *digest, const ek_idx *idx, ek_idx_kind kind)
{
    unsigned char header[HEADER_SIZE];
    size_t length = plain_header(idx, kind, header);
    EK_TRY(ek_digest_begin(digest));
    ek_digest_add(digest, header, length);
    return EK_OK;
}

ek_status ek_idx_digest(ek_idx *idx, ek_idx_kind kind)
{
    ek_digest digest;
    EK_TRY(begin_digest(&digest, idx, kind));
    ek_digest_add(&digest, idx->data, data_size(idx));
    ek_digest_end(&digest, idx->digest);
    return EK_OK;
}

/* ---- The header --------------------------------------------------------------------------------------------- */

static ek_status read_exactly(ek_stream *stream, const char *path, unsigned char *data, size_t size)
{
    size_t got;
    EK_TRY(ek_stream_read(stream, data, size, &got));
    if (got < size)
        return ek_fail(EK_ERR_FORMAT, "%s: ends inside its IDX header; the file is cut short or no IDX file", path);
    return EK_OK;
}

/* The types of IDX that are not read; NULL for what is none. */
static const char *element_type(unsigned char code)
{
    static const char *const names[] = {
        [0x09] = "signed byte", [0x0b] = "int16", [0x0c] = "int32", [0x0d] = "float32", [0x0e] = "float64"};
    return code < sizeof names / sizeof *names ? names[code] : NULL;
}

static ek_status check_magic(const unsigned char magic[4], ek_idx_kind kind, const char *path)
{
    const char *other = element_type(magic[2]);
    if (magic[0] || magic[1] || (magic[2] != UNSIGNED_BYTE && !other))
        return ek_fail(EK_ERR_FORMAT, "%s: no IDX file of bytes: it begins %02x %02x %02x %02x, not 00 00 08 0%d",
                       path, magic[0], magic[1], magic[2], magic[3], kind == EK_IDX_LABELS ? 1 : 3);
    if (other)
        return ek_fail(EK_ERR_UNSUPPORTED, "%s: its elements are of type %s (0x%02x), not unsigned bytes (0x08)",
                       path, other, magic[2]);
    int dimensions = magic[3];
    if (kind == EK_IDX_LABELS && dimensions != 1)
        return ek_fail(EK_ERR_FORMAT, "%s: %d dimensions, where labels have 1; is it an images file?", path,
                       dimensions);
    if (kind == EK_IDX_IMAGES && dimensions != 3 && dimensions != 4)
        return ek_fail(EK_ERR_FORMAT, "%s: %d dimension%s, where images have 3 or 4%s", path, dimensions,
                       dimensions == 1 ? "" : "s", dimensions == 1 ? "; is it a labels file?" : "");
    return EK_OK;
}

/* Extent `i` of `count`, in its own range. */
static ek_status check_extent(uint32_t extent, int i, int count, const char *path)
{
    static const char *const names[] = {"samples", "channels", "rows", "columns"};
    const char *name = names[i && count == 3 ? i + 1 : i];
    uint32_t most = i ? EK_IDX_EXTENT : INT32_MAX;
    if (extent == 0 || extent > most)
        return ek_fail(EK_ERR_FORMAT, "%s: its header says %u %s; 1 to %u are possible", path, extent, name, most);
    return EK_OK;
}

static ek_status read_header(ek_idx *idx, ek_idx_kind kind, ek_stream *stream, const char *path, size_t *length)
{
    unsigned char bytes[HEADER_SIZE];
    EK_TRY(read_exactly(stream, path, bytes, 4));
    EK_TRY(check_magic(bytes, kind, path));
    int count = bytes[3];
    *length = 4 + 4 * (size_t)count;
    EK_TRY(read_exactly(stream, path, bytes + 4, *length - 4));
    uint32_t extent[MAX_DIMENSIONS] = {0};
    for (int i = 0; i < count; i++) {
        extent[i] = big_endian(bytes + 4 + 4 * i);
        EK_TRY(check_extent(extent[i], i, count, path));
    }
    idx->n = extent[0];
    idx->channels = count == 4 ? (int)extent[1] : 1;
    idx->height = count > 1 ? (int)extent[count - 2] : 1;
    idx->width = count > 1 ? (int)extent[count - 1] : 1;
    return EK_OK;
}

/* ---- The data ----------------------------------------------------------------------------------------------- */

/* Before anything is allocated: can the file hold what its header says, and the machine? */
static ek_status check_size(const ek_idx *idx, const ek_stream *stream, size_t header, const char *path)
{
    uint64_t expected = ek_size_add(data_size(idx), header);
    uint64_t bound = ek_stream_bound(stream);
    if (ek_stream_is_plain(stream) && expected != bound)
        return ek_fail(EK_ERR_FORMAT,
                       "%s: %llu bytes, but its header (%lld x %d x %d x %d) makes %llu; get the file anew", path,
                       (unsigned long long)bound, (long long)idx->n, idx->channels, idx->height, idx->width,
                       (unsigned long long)expected);
    if (expected > bound)
        return ek_fail(EK_ERR_FORMAT,
                       "%s: too short for what its header says (%lld x %d x %d x %d); get the file anew", path,
                       (long long)idx->n, idx->channels, idx->height, idx->width);
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0 && expected > ek_size_mul((size_t)pages, (size_t)page))
        return ek_fail(EK_ERR_MEMORY, "%s: %llu MB of data, more than this machine's memory", path,
                       (unsigned long long)(expected >> 20));
    return EK_OK;
}

static ek_status read_data(ek_idx *idx, ek_stream *stream, ek_digest *digest, const char *path)
{
    size_t size = data_size(idx), got;
    for (size_t done = 0; done < size; done += got) {
        size_t piece = size - done < PIECE ? size - done : PIECE;
        EK_TRY(ek_stream_read(stream, idx->data + done, piece, &got));
        if (got < piece)
            return ek_fail(EK_ERR_FORMAT,
                           "%s: ends after %zu of the %zu bytes its header promises; get the file anew", path,
                           done + got, size);
        ek_digest_add(digest, idx->data + done, got);
    }
    unsigned char rest;
    EK_TRY(ek_stream_read(stream, &rest, 1, &got));
    if (got)
        return ek_fail(EK_ERR_FORMAT, "%s: longer than the %zu bytes its header promises; get the file anew", path,
                       size);
    return EK_OK;
}

static ek_status read_stream(ek_idx *idx, ek_idx_kind kind, ek_stream *stream, const char *path)
{
    size_t header;
    ek_digest digest;
    EK_TRY(read_header(idx, kind, stream, path, &header));
    EK_TRY(check_size(idx, stream, header, path));
    idx->data = ek_calloc(data_size(idx), 1);
    if (!idx->data)
        return EK_ERR_MEMORY;
    EK_TRY(begin_digest(&digest, idx, kind));
    ek_status status = read_data(idx, stream, &digest, path);
    ek_digest_end(&digest, status ? NULL : idx->digest);
    return status;
}

ek_status ek_idx_read(ek_idx *idx, ek_idx_kind kind, const char *path)
{
    ek_stream *stream;
    *idx = (ek_idx){0};
    EK_TRY(ek_stream_open(&stream, path));
    ek_status status = read_stream(idx, kind, stream, path);
    ek_stream_close(stream);
    if (status)
        ek_idx_free(idx);
    return status;
}

void ek_idx_free(ek_idx *idx)
{
    ek_free(idx->data);
    idx->data = NULL;
}
