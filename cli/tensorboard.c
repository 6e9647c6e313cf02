/* SPDX-License-Identifier: MIT */
#include "tensorboard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER = 12, FOOTER = 4, BUCKETS = 30 };

/* ---- CRC-32C --------------------------------------------------------------------------------------------------- */

/* The library's (base/crc32c.c) is no part of the public header, which is all that the command includes. */
uint32_t cli_crc32c(const void *data, size_t size)
{
    static uint32_t table[256];
    if (!table[1]) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t rest = byte;
            for (int bit = 0; bit < 8; bit++)
                rest = rest >> 1 ^ (rest & 1 ? 0x82f63b78u : 0);
            table[byte] = rest;
        }
    }
    uint32_t crc = 0xffffffffu;
    for (const uint8_t *at = data, *end = at + size; at < end; at++)
        crc = crc >> 8 ^ table[(crc ^ *at) & 255];
    return crc ^ 0xffffffffu;
}

/* Turned right by 15 bits, plus a constant: a sum over data that hold sums of their own would prove little. */
uint32_t cli_crc32c_masked(const void *data, size_t size)
{
    const uint32_t crc = cli_crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- Bytes ----------------------------------------------------------------------------------------------------- */

static void put(cli_board_event *e, const void *data, size_t size)
{
    if (e->failed)
        return;
    if (size > e->room - e->size) {
        const size_t room = 2 * e->room + size + 256;
        uint8_t *more = realloc(e->data, room);
        if (!more) {
            e->failed = true;
            return;
        }
        e->data = more;
        e->room = room;
    }
    memcpy(e->data + e->size, data, size);
    e->size += size;
}

static void put_little(cli_board_event *e, uint64_t value, int bytes)
{
    uint8_t little[8];
    for (int i = 0; i < bytes; i++)
        little[i] = (uint8_t)(value >> 8 * i);
    put(e, little, (size_t)bytes);
}

/* Seven bits a byte, the lowest first; the top bit says that more follow. Returns how many bytes that takes. */
static int encode_varint(uint8_t bytes[10], uint64_t value)
{
    int n = 0;
    for (; value >= 128; value >>= 7)
        bytes[n++] = (uint8_t)(value | 128);
    bytes[n++] = (uint8_t)value;
    return n;
}

static void put_varint(cli_board_event *e, uint64_t value)
{
    uint8_t bytes[10];
    put(e, bytes, (size_t)encode_varint(bytes, value));
}

/* A field's key: its number and how its value is written. */
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_key(cli_board_event *e, unsigned field, unsigned wire)
{
    put_varint(e, field << 3 | wire);
}

static void put_double(cli_board_event *e, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_little(e, bits, 8);
}

static void put_double_field(cli_board_event *e, unsigned field, double value)
{
    put_key(e, field, FIXED64);
    put_double(e, value);
}

static void put_text_field(cli_board_event *e, unsigned field, const char *text)
{
    put_key(e, field, BYTES);
    put_varint(e, strlen(text));
    put(e, text, strlen(text));
}

/* Lengths stand before what they measure. Five bytes are kept for each, and are written when it is known: a varint may
 * be longer than it must. */
enum { LENGTH = 5 };

static size_t begin_message(cli_board_event *e, unsigned field)
{
    static const uint8_t none[LENGTH];
    put_key(e, field, BYTES);
    put(e, none, LENGTH);
    return e->size;
}

static void end_message(cli_board_event *e, size_t begin)
{
    const size_t length = e->size - begin;
    if (e->failed)
        return;
    for (int i = 0; i < LENGTH; i++)
        e->data[begin - LENGTH + (size_t)i] = (uint8_t)((length >> 7 * i & 127) | (i < LENGTH - 1 ? 128 : 0));
}

/* ---- Events ---------------------------------------------------------------------------------------------------- */

static void begin(cli_board_event *e, double wall_time)
{
    static const uint8_t header[HEADER];
    *e = (cli_board_event){0};
    put(e, header, HEADER);
    put_double_field(e, 1, wall_time);
}

void cli_board_version(cli_board_event *e, double wall_time)
{
    begin(e, wall_time);
    put_text_field(e, 3, "brain.Event:2");
}

void cli_board_begin(cli_board_event *e, double wall_time, int64_t step)
{
    begin(e, wall_time);
    put_key(e, 2, VARINT);
    put_varint(e, (uint64_t)step);
    e->summary = begin_message(e, 5);
}

void cli_board_scalar(cli_board_event *e, const char *tag, double value)
{
    const float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    const size_t message = begin_message(e, 1);
    put_text_field(e, 1, tag);
    put_key(e, 2, FIXED32);
    put_little(e, bits, 4);
    end_message(e, message);
}

typedef struct histogram {
    double least, greatest, sum, squares;
    int64_t count, bucket[BUCKETS];
} histogram;

/* One value, or some that are alike, fill one bucket of no width. */
static void count_values(histogram *h, const float *values, int64_t count)
{
    *h = (histogram){.least = INFINITY, .greatest = -INFINITY};
    for (int64_t i = 0; i < count; i++) {
        const double value = values[i];
        if (!isfinite(value))
            continue;
        h->count++;
        h->sum += value;
        h->squares += value * value;
        h->least = value < h->least ? value : h->least;
        h->greatest = value > h->greatest ? value : h->greatest;
    }
    const double width = (h->greatest - h->least) / BUCKETS;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            continue;
        const int place = width > 0 ? (int)(((double)values[i] - h->least) / width) : 0;
        h->bucket[place < BUCKETS ? place : BUCKETS - 1]++;
    }
}

void cli_board_histogram(cli_board_event *e, const char *tag, const float *values, int64_t count)
{
    histogram h;
    count_values(&h, values, count);
    if (h.count == 0)
        return;
    const int buckets = h.greatest > h.least ? BUCKETS : 1;
    const size_t message = begin_message(e, 1);
    put_text_field(e, 1, tag);
    const size_t inner = begin_message(e, 5);
    put_double_field(e, 1, h.least);
    put_double_field(e, 2, h.greatest);
    put_double_field(e, 3, (double)h.count);
    put_double_field(e, 4, h.sum);
    put_double_field(e, 5, h.squares);
    put_key(e, 6, BYTES); /* right edges */
    put_varint(e, 8 * (uint64_t)buckets);
    for (int i = 1; i <= buckets; i++)
        put_double(e, i == buckets ? h.greatest : h.least + i * ((h.greatest - h.least) / BUCKETS));
    put_key(e, 7, BYTES); /* counts */
    put_varint(e, 8 * (uint64_t)buckets);
    for (int i = 0; i < buckets; i++)
        put_double(e, (double)h.bucket[i]);
    end_message(e, inner);
    end_message(e, message);
}

const uint8_t *cli_board_finish(cli_board_event *e, size_t *size)
{
    *size = 0;
    if (e->summary && e->size == e->summary)
        return NULL;
    if (e->summary)
        end_message(e, e->summary);
    const size_t length = e->size - HEADER;
    put_little(e, e->failed ? 0 : cli_crc32c_masked(e->data + HEADER, length), FOOTER);
    if (e->failed)
        return NULL;
    const size_t whole = e->size;
    e->size = 0;
    put_little(e, length, 8);
    put_little(e, cli_crc32c_masked(e->data, 8), 4);
    e->size = whole;
    *size = whole;
    return e->data;
}

void cli_board_free(cli_board_event *e)
{
    free(e->data);
    *e = (cli_board_event){0};
}
