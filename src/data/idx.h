/* SPDX-License-Identifier: MIT
 * IDX files of unsigned bytes, the format of the MNIST family: every byte is hostile until checked.
 *
 *     00 00 08 D     magic: two zeros, the type (08: unsigned byte), the number D of dimensions
 *     D times        an extent, 32 bits, most significant byte first
 *     data           the product of the extents, row-major, and nothing behind it
 *
 * Labels have one dimension [N]; images three [N,H,W], or four [N,C,H,W] where they have colours. */
#ifndef EK_DATA_IDX_H
#define EK_DATA_IDX_H

#include "data/digest.h"

typedef enum ek_idx_kind { EK_IDX_IMAGES = 0, EK_IDX_LABELS = 1 } ek_idx_kind;

/* Limits of what is read: N below 2^31 (the trainer's order holds int32), C, H and W as a net's input has them. */
enum { EK_IDX_EXTENT = 65536 };

typedef struct ek_idx {
    int64_t n;
    int channels, height, width; /* 1 for labels */
    uint8_t *data;               /* [n,channels,height,width] */
    char digest[EK_DIGEST_TEXT]; /* ek_idx_digest */
} ek_idx;

/* Reads a file, plain or gzip. The header is decoded first and checked against the file's size, then as many bytes
 * as it says, then the end must come. Errors as ek_stream_open and ek_stream_read, EK_ERR_FORMAT, EK_ERR_UNSUPPORTED
 * (another element type); EK_ERR_MEMORY also for more than the machine's memory. idx->data is NULL then. */
ek_status ek_idx_read(ek_idx *idx, ek_idx_kind kind, const char *path);

void ek_idx_free(ek_idx *idx);

/* SHA-256 of idx as a plain IDX file (images of one channel as three dimensions), "" in a build without digests:
 * what sha256sum prints for the unpacked file. */
ek_status ek_idx_digest(ek_idx *idx, ek_idx_kind kind);

#endif
