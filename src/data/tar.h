/* SPDX-License-Identifier: MIT
 * Taking files out of a tar archive, plain or in gzip. */
#ifndef EK_DATA_TAR_H
#define EK_DATA_TAR_H

#include "base/status.h"

/* Goes through the archive at `path`. take(user, name, size) is asked for every regular file, and answers with the path
 * it is to be written to, or NULL to pass it over; no name of the archive ever becomes a path by itself. Files get
 * their names when they are whole. EK_ERR_FORMAT when the archive is damaged or cut short; others as ek_stream_open and
 * ek_file_create. */
typedef const char *ek_tar_take(void *user, const char *name, int64_t size);
ek_status ek_tar_extract(const char *path, ek_tar_take *take, void *user);

#endif
