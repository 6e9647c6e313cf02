/* SPDX-License-Identifier: MIT
 * Reading whole files, and writing them so that there is the old one or the new one, never half of one. */
#ifndef EK_BASE_FILE_H
#define EK_BASE_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/* The whole of a regular file (not longer than `limit` bytes) in memory for ek_free, with a zero byte behind it.
 * EK_ERR_NOT_FOUND, EK_ERR_IO, EK_ERR_FORMAT (longer, or no regular file), EK_ERR_MEMORY; the message names path. */
ek_status ek_file_read(const char *path, size_t limit, unsigned char **data, size_t *size);

/* A file in the making beside its final name. */
typedef struct ek_file_writer ek_file_writer;

/* Opens "PATH.tmp-XXXXXX". What is at PATH already decides:
 *   nothing            a new file, its mode 0666 less the umask
 *   a regular file     is replaced when it is writable, and its permissions are kept; its owner is the caller then
 *   a symbolic link    stays; the file it leads to is replaced. One that leads nowhere is EK_ERR_NOT_FOUND
 *   a folder           EK_ERR_IO
 *   anything else      (/dev/null, a pipe, a terminal) is written to directly, with no temporary file
 * EK_ERR_NOT_FOUND when the folder is missing, EK_ERR_IO, EK_ERR_MEMORY; *writer is NULL then. */
ek_status ek_file_create(ek_file_writer **writer, const char *path);

/* Appends. A failure (a full disk) is remembered and reported here and by ek_file_commit. */
ek_status ek_file_write(ek_file_writer *writer, const void *data, size_t size);

/* Syncs, gives the file its name, syncs the folder, frees the writer. After a failure nothing of it is left and the
 * old file, if any, is as it was. (A folder that cannot be synced is no failure: the file has its name by then.) */
ek_status ek_file_commit(ek_file_writer *writer);

/* Whether this thread's last file that could not be written wanted room: on its disk, or in its user's share of it. */
bool ek_file_wanted_room(void);

/* Removes the temporary file and frees the writer. NULL is fine. */
void ek_file_abandon(ek_file_writer *writer);

/* What a file is to hold. */
typedef struct ek_file_content {
    const char *path;
    const void *data;
    size_t size;
} ek_file_content;

/* Writes `count` files, at most EK_FILES_MAX, that belong together. None gets its name before all are written and
 * synced; what is left to fail between one name and the next is a folder that someone changes meanwhile. */
enum { EK_FILES_MAX = 4 };
ek_status ek_file_put_all(const ek_file_content *files, int count);

#endif
