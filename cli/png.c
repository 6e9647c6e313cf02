/* SPDX-License-Identifier: MIT */
#include "png.h"

#include <stdbool.h>
#include <string.h>

/* ---- Base64 (RFC 4648) ----------------------------------------------------------------------------------------- */

/* What is written, three bytes at a time, with the sums that the formats want. */
typedef struct sink {
    FILE *to;
    uint32_t group;     /* bytes that wait for a third one */
    int waiting;        /* how many */
    uint32_t crc;       /* of the chunk so far (ISO 3309), inverted */
    uint32_t low, high; /* Adler-32 of the pixels so far (RFC 1950) */
} sink;

static void put_group(const sink *s, int letters)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 4; i++)
        putc(i < letters ? alphabet[s->group >> (18 - 6 * i) & 63] : '=', s->to);
}

static void put_byte(sink *s, uint8_t byte)
{
    s->crc ^= byte;
    for (int i = 0; i < 8; i++)
        s->crc = s->crc >> 1 ^ (s->crc & 1 ? 0xedb88320 : 0);
    s->group |= (uint32_t)byte << (16 - 8 * s->waiting);
    if (++s->waiting < 3)
        return;
    put_group(s, 4);
    s->group = 0;
    s->waiting = 0;
}

static void put_end(sink *s)
{
    if (s->waiting)
        put_group(s, s->waiting + 1);
}

/* ---- PNG ------------------------------------------------------------------------------------------------------- */

static void put_word(sink *s, uint32_t word)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        put_byte(s, (uint8_t)(word >> shift));
}

static void begin_chunk(sink *s, uint32_t size, const char *name)
{
    put_word(s, size);
    s->crc = UINT32_MAX;
    for (int i = 0; i < 4; i++)
        put_byte(s, (uint8_t)name[i]);
}

static void end_chunk(sink *s)
{
    put_word(s, ~s->crc);
}

static void put_pixel(sink *s, uint8_t byte)
{
    const uint32_t prime = 65521;
    s->low = (s->low + byte) % prime;
    s->high = (s->high + s->low) % prime;
    put_byte(s, byte);
}

/* The header of a stored block (RFC 1951, 3.2.4): a row with its filter byte is one, or several where it is long. */
enum { BLOCK_MAX = 65535 };
static void begin_block(sink *s, bool last, uint32_t size)
{
    put_byte(s, last);
    for (int i = 0; i < 2; i++) {
        const uint32_t value = i ? ~size : size;
        put_byte(s, (uint8_t)value);
        put_byte(s, (uint8_t)(value >> 8));
    }
}

void cli_png_put(FILE *to, const uint8_t *pixels, int width, int height, int channels)
{
    static const uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    const uint32_t row = 1 + (uint32_t)(width * channels), blocks = (row + BLOCK_MAX - 1) / BLOCK_MAX;
    sink s = {.to = to, .low = 1};
    fputs("data:image/png;base64,", to);
    for (size_t i = 0; i < sizeof signature; i++)
        put_byte(&s, signature[i]);
    begin_chunk(&s, 13, "IHDR");
    put_word(&s, (uint32_t)width);
    put_word(&s, (uint32_t)height);
    put_byte(&s, 8);
    put_byte(&s, channels == 3 ? 2 : 0);
    for (int i = 0; i < 3; i++) /* deflate, the five filters, no interlacing */
        put_byte(&s, 0);
    end_chunk(&s);
    begin_chunk(&s, 2 + (uint32_t)height * (row + 5 * blocks) + 4, "IDAT");
    put_byte(&s, 0x78);
    put_byte(&s, 0x01);
    for (int y = 0; y < height; y++) {
        const uint8_t *line = pixels + (size_t)y * (row - 1);
        for (uint32_t x = 0; x < row; x++) {
            if (x % BLOCK_MAX == 0)
                begin_block(&s, y == height - 1 && row - x <= BLOCK_MAX, row - x < BLOCK_MAX ? row - x : BLOCK_MAX);
            put_pixel(&s, x ? line[x - 1] : 0); /* no filter */
        }
    }
    put_word(&s, s.high << 16 | s.low);
    end_chunk(&s);
    begin_chunk(&s, 0, "IEND");
    end_chunk(&s);
    put_end(&s);
}
