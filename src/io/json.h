/* SPDX-License-Identifier: MIT
 * The part of JSON that a safetensors header needs: objects, arrays, strings, unsigned integers.
 *
 * The caller walks the text and says what it expects next, so nothing recurses and nothing is built. Anything else
 * fails with the byte's position:
 *
 *     EK_TRY(ek_json_open(&json, '{'));
 *     bool more;
 *     for (;;) {
 *         EK_TRY(ek_json_more(&json, '}', &more));
 *         if (!more)
 *             break;
 *         EK_TRY(ek_json_key(&json, &key));
 *         ... the value ...
 *     } */
#ifndef EK_IO_JSON_H
#define EK_IO_JSON_H

#include "base/status.h"

typedef struct ek_json {
    const char *name;    /* of the text, for messages */
    unsigned char *text; /* strings are decoded in place: the text is spoilt by reading it */
    size_t size, at;
    bool first; /* just behind an opening bracket */
} ek_json;

/* EK_ERR_FORMAT, "NAME: byte 12 of the header: WHAT". */
ek_status ek_json_fail(const ek_json *json, const char *what);

/* An opening '{' or '['. */
ek_status ek_json_open(ek_json *json, char bracket);

/* Whether another member follows in the object or array that `bracket` ('}' or ']') closes: eats the comma before it,
 * or the bracket. */
ek_status ek_json_more(ek_json *json, char bracket, bool *more);

/* A string, decoded to UTF-8 with a zero byte behind it; it lives as long as the text. The character U+0000 is
 * refused, as are unpaired surrogates and bytes that are no UTF-8. */
ek_status ek_json_string(ek_json *json, char **string);

/* A string and the colon behind it. */
ek_status ek_json_key(ek_json *json, char **key);

/* An integer 0..2^64-1: digits alone. */
ek_status ek_json_unsigned(ek_json *json, uint64_t *value);

/* Only white space up to the end. */
ek_status ek_json_end(ek_json *json);

/* Length of the UTF-8 sequence (1 to 4 bytes) that `text` begins with, 0 when it is none. size >= 1. Overlong forms,
 * surrogates and characters beyond U+10FFFF are none. */
size_t ek_utf8_length(const unsigned char *text, size_t size);

/* Writes `string` with quotes and escapes, without a zero byte, at `out` (NULL: nowhere) and returns its length; 0
 * when it is no UTF-8. */
size_t ek_json_quote(const char *string, char *out);

#endif
