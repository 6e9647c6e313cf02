/* SPDX-License-Identifier: MIT
 * The ustar format, as far as old archives of plain files need it: a header of 512 bytes, the file in whole blocks of
 * 512, and zeros at the end. */
#include "data/tar.h"

#include "base/file.h"
#include "base/memory.h"
#include "data/stream.h"

#include <stdio.h>
#include <string.h>

enum { BLOCK = 512, PIECE = 128 * BLOCK };

typedef struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], kind, link[100];
    char magic[6], version[2], owner[32], group[32], major[8], minor[8], prefix[155], rest[12];
} header;

typedef struct archive {
    const char *path;
    ek_stream *stream;
    unsigned char *piece; /* PIECE bytes */
} archive;

/* An octal number with blanks around it; -1 for anything else. */
static int64_t octal(const char *text, int length)
{
    int64_t value = 0;
    int i = 0, digits = 0;
    while (i < length && text[i] == ' ')
        i++;
    for (; i < length && text[i] >= '0' && text[i] <= '7' && digits < 20; i++, digits++)
        value = value * 8 + (text[i] - '0');
    return digits && (i == length || text[i] == ' ' || text[i] == '\0') ? value : -1;
}

static ek_status damaged(const archive *a, const char *how)
{
    return ek_fail(EK_ERR_FORMAT, "%s: %s; get the archive anew", a->path, how);
}

/* *end: the archive's end, two blocks of zeros or nothing more. */
static ek_status read_header(const archive *a, header *h, bool *end)
{
    size_t got;
    int64_t sum = 0;
    EK_TRY(ek_stream_read(a->stream, h, BLOCK, &got));
    *end = got == 0;
    if (*end)
        return EK_OK;
    if (got < BLOCK)
        return damaged(a, "the tar archive is cut short");
    const unsigned char *bytes = (const unsigned char *)h;
    for (int i = 0; i < BLOCK; i++)
        sum += bytes[i];
    *end = sum == 0;
    if (*end)
        return EK_OK;
    for (size_t i = 0; i < sizeof h->sum; i++)
        sum += ' ' - (unsigned char)h->sum[i];
    if (octal(h->sum, sizeof h->sum) != sum)
        return damaged(a, "no tar archive, or a damaged one");
    if (octal(h->size, sizeof h->size) < 0)
        return damaged(a, "a file of unknown size in the tar archive");
    return EK_OK;
}

/* Reads `size` bytes and what fills the last block; writes them where there is a writer. */
static ek_status copy(const archive *a, int64_t size, ek_file_writer *writer)
{
    for (int64_t left = size; left > 0;) {
        const int64_t blocks = (left + BLOCK - 1) / BLOCK * BLOCK;
        const size_t piece = blocks < PIECE ? (size_t)blocks : PIECE;
        size_t got;
        EK_TRY(ek_stream_read(a->stream, a->piece, piece, &got));
        if (got < piece)
            return damaged(a, "the tar archive is cut short");
        const size_t use = left < (int64_t)piece ? (size_t)left : piece;
        if (writer)
            EK_TRY(ek_file_write(writer, a->piece, use));
        left -= (int64_t)use;
    }
    return EK_OK;
}

static ek_status take_file(const archive *a, int64_t size, const char *to)
{
    ek_file_writer *writer;
    EK_TRY(ek_file_create(&writer, to));
    const ek_status status = copy(a, size, writer);
    if (!status)
        return ek_file_commit(writer);
    ek_file_abandon(writer);
    return status;
}

static ek_status extract(const archive *a, ek_tar_take *take, void *user)
{
    for (;;) {
        header h;
        bool end;
        char name[sizeof h.prefix + sizeof h.name + 2];
        EK_TRY(read_header(a, &h, &end));
        if (end)
            return EK_OK;
        const int64_t size = octal(h.size, sizeof h.size);
        const bool prefixed = memcmp(h.magic, "ustar", 5) == 0 && h.magic[5] == '\0' && h.prefix[0];
        snprintf(name, sizeof name, "%.*s%s%.*s", prefixed ? (int)sizeof h.prefix : 0, h.prefix, prefixed ? "/" : "",
                 (int)sizeof h.name, h.name);
        const char *to = h.kind == '0' || h.kind == '\0' ? take(user, name, size) : NULL;
        EK_TRY(to ? take_file(a, size, to) : copy(a, size, NULL));
    }
}

ek_status ek_tar_extract(const char *path, ek_tar_take *take, void *user)
{
    archive a = {.path = path, .piece = ek_calloc(PIECE, 1)};
    ek_status status = a.piece ? ek_stream_open(&a.stream, path) : EK_ERR_MEMORY;
    if (!status)
        status = extract(&a, take, user);
    ek_stream_close(a.stream);
    ek_free(a.piece);
    return status;
}
