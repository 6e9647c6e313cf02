/* SPDX-License-Identifier: MIT
 * SHA-256 of bytes as they come, by libcrypto; in a build without it every digest is "". */
#ifndef EK_DATA_DIGEST_H
#define EK_DATA_DIGEST_H

#include "base/status.h"

enum { EK_DIGEST_TEXT = 65 }; /* 64 hexadecimal digits and the zero */

typedef struct ek_digest {
    void *context; /* libcrypto's, NULL in a build without it */
} ek_digest;

/* EK_ERR_MEMORY, or EK_ERR_UNSUPPORTED where libcrypto refuses SHA-256. What is begun must be ended. */
ek_status ek_digest_begin(ek_digest *digest);

void ek_digest_add(ek_digest *digest, const void *data, size_t size);

/* Writes the digest in lower-case hexadecimal, or "", and frees the context. text NULL only frees. */
void ek_digest_end(ek_digest *digest, char text[EK_DIGEST_TEXT]);

/* Whether this build has digests. */
bool ek_digest_available(void);

#endif
