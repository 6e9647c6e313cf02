/* SPDX-License-Identifier: MIT
 * Fuzz target: any bytes as an IDX file, plain or gzip, of images or of labels. What is accepted is used: every byte
 * read, the digest taken again. */
#define _GNU_SOURCE
#include "data/idx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(ek_idx *idx, ek_idx_kind kind)
{
    char digest[EK_DIGEST_TEXT];
    volatile uint8_t last = 0;
    int64_t count = idx->n * idx->channels * idx->height * idx->width;
    for (int64_t i = 0; i < count; i++)
        last = idx->data[i];
    (void)last;
    memcpy(digest, idx->digest, sizeof digest);
    if (ek_idx_digest(idx, kind) || strcmp(digest, idx->digest) != 0)
        abort();
    ek_idx_free(idx);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    int fd = memfd_create("idx", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (ek_idx_kind kind = EK_IDX_IMAGES; kind <= EK_IDX_LABELS; kind++) {
        ek_idx idx;
        ek_status status = ek_idx_read(&idx, kind, path);
        if (status && (idx.data || !*ek_error()))
            abort();
        if (!status)
            use(&idx, kind);
    }
    close(fd);
    return 0;
}
