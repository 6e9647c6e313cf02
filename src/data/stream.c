/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "data/stream.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef EK_HAVE_ZLIB
#include <zlib.h>
#endif

enum { INPUT_SIZE = 256 << 10, DEFLATE_DENSEST = 1032 };

struct ek_stream {
    char *path;
    int fd;
    uint64_t size; /* of the file */
    bool plain;
#ifdef EK_HAVE_ZLIB
    z_stream zip;
    bool zip_begun;
    bool may_end;    /* a gzip member has just ended: the file ends here, or another member begins */
    bool has_member; /* at least one has ended */
    unsigned char *input;
#endif
};

static ek_status cannot_read(const char *path, int error)
{
    bool missing = error == ENOENT || error == ENOTDIR;
    return ek_fail(missing ? EK_ERR_NOT_FOUND : EK_ERR_IO, "%s: cannot be read: %s", path, strerror(error));
}

/* Reads until `size` bytes are there or the file ends. */
static ek_status read_file(ek_stream *stream, unsigned char *data, size_t size, size_t *got)
{
    *got = 0;
    while (*got < size) {
        ssize_t count = read(stream->fd, data + *got, size - *got);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return cannot_read(stream->path, errno);
        if (count == 0)
            break;
        *got += (size_t)count;
    }
    return EK_OK;
}

/* ---- gzip --------------------------------------------------------------------------------------------------- */

#ifdef EK_HAVE_ZLIB

static void *zip_alloc(void *user, unsigned count, unsigned size)
{
    (void)user;
    return ek_calloc(count, size);
}

static void zip_free(void *user, void *memory)
{
    (void)user;
    ek_free(memory);
}

static ek_status begin_gzip(ek_stream *stream)
{
    stream->input = ek_calloc(INPUT_SIZE, 1);
    if (!stream->input)
        return EK_ERR_MEMORY;
    stream->zip.zalloc = zip_alloc;
    stream->zip.zfree = zip_free;
    int code = inflateInit2(&stream->zip, 16 + MAX_WBITS); /* 16: gzip's header and checksum, nothing else */
    if (code == Z_MEM_ERROR)
        return EK_ERR_MEMORY;
    if (code != Z_OK)
        return ek_fail(EK_ERR_UNSUPPORTED, "%s: zlib %s cannot start: code %d", stream->path, zlibVersion(), code);
    stream->zip_begun = true;
    return EK_OK;
}

/* More input; none is left when avail_in stays 0. */
static ek_status refill(ek_stream *stream)
{
    size_t got;
    EK_TRY(read_file(stream, stream->input, INPUT_SIZE, &got));
    stream->zip.next_in = stream->input;
    stream->zip.avail_in = (uInt)got;
    return EK_OK;
}

/* Bytes behind a whole member that have given nothing themselves: rubbish, not another member. */
static bool behind_last_member(const ek_stream *stream)
{
    return stream->has_member && stream->zip.total_out == 0;
}

static ek_status bytes_behind(const ek_stream *stream)
{
    return ek_fail(EK_ERR_FORMAT, "%s: bytes behind the end of its gzip data; get the file anew", stream->path);
}

/* What inflate's code means for a person; EK_OK where decoding may go on. */
static ek_status check_inflate(ek_stream *stream, int code)
{
    switch (code) {
    case Z_OK:
    case Z_BUF_ERROR: /* it wants more input */
        stream->may_end = false;
        return EK_OK;
    case Z_STREAM_END:
        stream->may_end = stream->has_member = true;
        inflateReset(&stream->zip);
        return EK_OK;
    case Z_MEM_ERROR:
        return EK_ERR_MEMORY; /* zip_alloc has set the message */
    default:
        if (behind_last_member(stream))
            return bytes_behind(stream);
        return ek_fail(EK_ERR_FORMAT, "%s: damaged gzip data (%s); get the file anew", stream->path,
                       stream->zip.msg ? stream->zip.msg : "an unexpected code");
    }
}

static ek_status ends_early(const ek_stream *stream)
{
    if (behind_last_member(stream))
        return bytes_behind(stream);
    return ek_fail(EK_ERR_FORMAT, "%s: its gzip data is cut short; get the file anew", stream->path);
}

static ek_status read_gzip(ek_stream *stream, unsigned char *data, size_t size, size_t *got)
{
    z_stream *zip = &stream->zip;
    *got = 0;
    while (*got < size) {
        if (zip->avail_in == 0)
            EK_TRY(refill(stream));
        if (zip->avail_in == 0 && stream->may_end)
            return EK_OK;
        if (zip->avail_in == 0)
            return ends_early(stream);
        size_t left = size - *got;
        uInt room = left < 1u << 30 ? (uInt)left : 1u << 30;
        zip->next_out = data + *got;
        zip->avail_out = room;
        int code = inflate(zip, Z_NO_FLUSH);
        *got += room - zip->avail_out;
        EK_TRY(check_inflate(stream, code));
    }
    return EK_OK;
}

static void end_gzip(ek_stream *stream)
{
    if (stream->zip_begun)
        inflateEnd(&stream->zip);
    ek_free(stream->input);
}

#else

static ek_status begin_gzip(ek_stream *stream)
{
    return ek_fail(EK_ERR_UNSUPPORTED, "%s: gzip data, and this build is without zlib; unpack it with gunzip",
                   stream->path);
}

static ek_status read_gzip(ek_stream *stream, unsigned char *data, size_t size, size_t *got)
{
    (void)data, (void)size;
    *got = 0;
    return begin_gzip(stream);
}

static void end_gzip(ek_stream *stream)
{
    (void)stream;
}

#endif

/* ---- The stream --------------------------------------------------------------------------------------------- */

static ek_status begin(ek_stream *stream, const char *path)
{
    struct stat info;
    unsigned char magic[2] = {0};
    stream->path = ek_strdup(path);
    if (!stream->path)
        return EK_ERR_MEMORY;
    stream->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer must not block */
    if (stream->fd < 0 || fstat(stream->fd, &info))
        return cannot_read(path, errno);
    if (!S_ISREG(info.st_mode))
        return ek_fail(EK_ERR_FORMAT, "%s: %s, not a file", path, S_ISDIR(info.st_mode) ? "a folder" : "a device");
    stream->size = (uint64_t)info.st_size;
    if (pread(stream->fd, magic, sizeof magic, 0) < 0)
        return cannot_read(path, errno);
    stream->plain = magic[0] != 0x1f || magic[1] != 0x8b;
    return stream->plain ? EK_OK : begin_gzip(stream);
}

ek_status ek_stream_open(ek_stream **stream, const char *path)
{
    *stream = NULL;
    ek_stream *made = ek_calloc(1, sizeof *made);
    if (!made)
        return EK_ERR_MEMORY;
    made->fd = -1;
    ek_status status = begin(made, path);
    if (status) {
        ek_stream_close(made);
        return status;
    }
    *stream = made;
    return EK_OK;
}

ek_status ek_stream_read(ek_stream *stream, void *data, size_t size, size_t *got)
{
    return stream->plain ? read_file(stream, data, size, got) : read_gzip(stream, data, size, got);
}

uint64_t ek_stream_bound(const ek_stream *stream)
{
    if (stream->plain)
        return stream->size;
    return stream->size < UINT64_MAX / DEFLATE_DENSEST ? stream->size * DEFLATE_DENSEST : UINT64_MAX;
}

bool ek_stream_is_plain(const ek_stream *stream)
{
    return stream->plain;
}

void ek_stream_close(ek_stream *stream)
{
    if (!stream)
        return;
    end_gzip(stream);
    if (stream->fd >= 0)
        close(stream->fd);
    ek_free(stream->path);
    ek_free(stream);
}
