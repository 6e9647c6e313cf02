/* SPDX-License-Identifier: MIT
 * CRC-32C (Castagnoli), the checksum of iSCSI (RFC 3720, appendix B.4): finds every change of up to three bits in a
 * file of any size here, and any other with probability 1 - 2^-32. */
#ifndef EK_BASE_CRC32C_H
#define EK_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what `crc` is the checksum of (0: nothing) with `size` bytes behind it. */
uint32_t ek_crc32c(uint32_t crc, const void *data, size_t size);

#endif
