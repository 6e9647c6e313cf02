/* SPDX-License-Identifier: MIT
 * Reading JSON objects that stand in memory, member by member; any bytes may be given. */
#ifndef JSON_READ_H
#define JSON_READ_H

#include <stdbool.h>
#include <stddef.h>

/* A piece of the text, not ended by a zero byte: a value as it is written. */
typedef struct cli_span {
    const char *at;
    size_t size;
} cli_span;

/* Whether the text is one whole JSON value (RFC 8259), of at most 32 values within each other; strings must be without
 * control characters, their UTF-8 is not checked. */
bool cli_json_is_valid(cli_span text);

/* The members of an object that is valid, in order: `rest` is the whole object at first; each call gives the next one,
 * until one returns false. The key is without its quotes, as it is written. */
bool cli_json_next(cli_span *rest, cli_span *key, cli_span *value);

/* The same for the items of an array. */
bool cli_json_item(cli_span *rest, cli_span *value);

/* Member `key` of a valid value, the first of that name; false where it is no object or has none. */
bool cli_json_member(cli_span object, const char *key, cli_span *value);

/* A number; NaN for null and for what is no number. */
double cli_json_read_real(cli_span value);

/* A string, decoded, cut off at a whole character to `size` with its zero byte; what is not UTF-8, and what a terminal
 * or a picture cannot show, becomes '?'. False, and "", for what is no string. */
bool cli_json_read_text(cli_span value, char *text, size_t size);

#endif
