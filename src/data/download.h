/* SPDX-License-Identifier: MIT
 * One download over HTTP into one file, going on where an earlier one stopped. Only in builds with libcurl. */
#ifndef EK_DATA_DOWNLOAD_H
#define EK_DATA_DOWNLOAD_H

#include "base/status.h"

typedef struct ek_download {
    const char *url;     /* http or https, after redirects too */
    const char *path;    /* of the file in the making */
    const char *name;    /* of the file to be, for the progress */
    int64_t most;        /* bytes; a longer file is given up */
    int connect_timeout; /* seconds */
    int stall_timeout;   /* likewise, without a byte */
    int (*progress)(void *user, const char *file, int64_t done, int64_t total); /* ek_fetch_options has these two */
    void *user;
} ek_download;

/* Appends to what is at `path` if the server goes on from there, else starts over; *resumed tells which, *gained by
 * how many bytes it became longer, after a failure too. EK_OK when the server says that this was all. EK_ERR_NETWORK
 * and EK_ERR_STOPPED leave what there is for the next time; EK_ERR_DIGEST (longer than can be) and EK_ERR_IO (no space
 * left) leave nothing. The message names url or path. */
ek_status ek_download_run(const ek_download *download, bool *resumed, int64_t *gained);

#endif
