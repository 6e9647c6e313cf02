/* SPDX-License-Identifier: MIT
 * The decoded bytes of a file that is plain or gzip, in order. Its first two bytes tell which, not its name. */
#ifndef EK_DATA_STREAM_H
#define EK_DATA_STREAM_H

#include "base/status.h"

typedef struct ek_stream ek_stream;

/* EK_ERR_NOT_FOUND, EK_ERR_IO, EK_ERR_FORMAT (no regular file), EK_ERR_MEMORY; EK_ERR_UNSUPPORTED for gzip in a
 * build without zlib. *stream is NULL then. */
ek_status ek_stream_open(ek_stream **stream, const char *path);

/* The next `size` bytes; *got is less only where the data end. A gzip file ends where its last member's checksum was
 * right and the file is over: a file cut short, a wrong checksum and bytes behind the end are EK_ERR_FORMAT. */
ek_status ek_stream_read(ek_stream *stream, void *data, size_t size, size_t *got);

/* The most bytes the whole file can decode to: its size, or 1032 times its size for gzip (deflate's densest code is
 * two bits for 258 bytes). Nothing larger need be allocated for it. */
uint64_t ek_stream_bound(const ek_stream *stream);

/* Whether the file is plain, so that the bound is the exact number of bytes. */
bool ek_stream_is_plain(const ek_stream *stream);

/* NULL is fine. */
void ek_stream_close(ek_stream *stream);

#endif
