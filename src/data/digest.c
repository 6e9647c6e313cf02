/* SPDX-License-Identifier: MIT */
#include "data/digest.h"

#ifdef EK_HAVE_DIGEST

#include <openssl/evp.h>

bool ek_digest_available(void)
{
    return true;
}

ek_status ek_digest_begin(ek_digest *digest)
{
    digest->context = EVP_MD_CTX_new();
    if (!digest->context)
        return ek_fail(EK_ERR_MEMORY, "out of memory: no SHA-256 context could be had");
    if (!EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL)) {
        ek_digest_end(digest, NULL);
        return ek_fail(EK_ERR_UNSUPPORTED, "libcrypto does not give SHA-256 here; look at its configuration");
    }
    return EK_OK;
}

/* Once begun, libcrypto's software digests do not fail; were one to, the text would match no known digest. */
void ek_digest_add(ek_digest *digest, const void *data, size_t size)
{
    EVP_DigestUpdate(digest->context, data, size);
}

void ek_digest_end(ek_digest *digest, char text[EK_DIGEST_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[EVP_MAX_MD_SIZE] = {0};
    if (text) {
        EVP_DigestFinal_ex(digest->context, bytes, NULL);
        for (int i = 0; i < EK_DIGEST_TEXT / 2; i++) {
            text[2 * i] = digits[bytes[i] >> 4];
            text[2 * i + 1] = digits[bytes[i] & 15];
        }
        text[EK_DIGEST_TEXT - 1] = '\0';
    }
    EVP_MD_CTX_free(digest->context);
    digest->context = NULL;
}

#else

bool ek_digest_available(void)
{
    return false;
}

ek_status ek_digest_begin(ek_digest *digest)
{
    digest->context = NULL;
    return EK_OK;
}

void ek_digest_add(ek_digest *digest, const void *data, size_t size)
{
    (void)digest, (void)data, (void)size;
}

void ek_digest_end(ek_digest *digest, char text[EK_DIGEST_TEXT])
{
    (void)digest;
    if (text)
        text[0] = '\0';
}

#endif
