/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L
#include "base/crc32c.h"

#include <pthread.h>

enum { POLYNOMIAL = (int)0x82f63b78u }; /* 0x1edc6f41 with its bits reversed */

/* tables[k][b]: what byte b does to the checksum when k more bytes follow it, so that eight are taken at a time. */
static uint32_t tables[8][256];
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? (uint32_t)POLYNOMIAL : 0);
        tables[0][b] = crc;
    }
    for (int k = 1; k < 8; k++)
        for (int b = 0; b < 256; b++)
            tables[k][b] = tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 255];
}

uint32_t ek_crc32c(uint32_t crc, const void *data, size_t size)
{
    const unsigned char *p = data;
    pthread_once(&made, make_tables);
    crc = ~crc;
    for (; size >= 8; size -= 8, p += 8)
        crc = tables[7][p[0] ^ (crc & 255)] ^ tables[6][p[1] ^ (crc >> 8 & 255)] ^
              tables[5][p[2] ^ (crc >> 16 & 255)] ^ tables[4][p[3] ^ crc >> 24] ^ tables[3][p[4]] ^ tables[2][p[5]] ^
              tables[1][p[6]] ^ tables[0][p[7]];
    for (; size > 0; size--, p++)
        crc = crc >> 8 ^ tables[0][*p ^ (crc & 255)];
    return ~crc;
}
