/* SPDX-License-Identifier: MIT
 * Event files for TensorBoard: records that hold protocol buffers, both written here by hand.
 *
 * A file is a row of records (TFRecord): the length as 8 bytes, its masked CRC-32C as 4, the data, their masked
 * CRC-32C; everything little-endian. The data of a record are an Event: { double wall_time = 1; int64 step = 2; string
 * file_version = 3; Summary summary = 5 }, a Summary is { repeated Value value = 1 }, a Value { string tag = 1; float
 * simple_value = 2; HistogramProto histo = 5 }, a HistogramProto { double min = 1, max = 2, num = 3, sum = 4,
 * sum_squares = 5; repeated double bucket_limit = 6, bucket = 7 }. */
#ifndef TENSORBOARD_H
#define TENSORBOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- Records -------------------------------------------------------------------------------------------------- */

/* CRC-32C (Castagnoli; polynomial 0x82f63b78, bits reversed) of `size` bytes, and its masked form. */
uint32_t cli_crc32c(const void *data, size_t size);
uint32_t cli_crc32c_masked(const void *data, size_t size);

/* ---- Events ---------------------------------------------------------------------------------------------------- */

/* An event in the making. What does not fit into memory marks it, and cli_board_finish then gives nothing. */
typedef struct cli_board_event {
    uint8_t *data; /* room for a record's header, then the Event but for its summary, then the summary's values */
    size_t size, room;
    size_t summary; /* where the values begin; 0: no summary */
    bool failed;
} cli_board_event;

/* The first event of a file. */
void cli_board_version(cli_board_event *event, double wall_time);

/* An event with values, to which the two after it add: what is not finite is kept in a scalar, and is left out of a
 * histogram, which is written only where a value is left. Buckets are 30 of equal width from the least to the greatest
 * value. */
void cli_board_begin(cli_board_event *event, double wall_time, int64_t step);
void cli_board_scalar(cli_board_event *event, const char *tag, double value);
void cli_board_histogram(cli_board_event *event, const char *tag, const float *values, int64_t count);

/* The whole record, in the event's memory; *size 0 when memory was short or there is no value in it. */
const uint8_t *cli_board_finish(cli_board_event *event, size_t *size);

void cli_board_free(cli_board_event *event);

#endif
