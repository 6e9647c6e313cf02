/* SPDX-License-Identifier: MIT */
#include "io/json.h"

#include <string.h>

ek_status ek_json_fail(const ek_json *json, const char *what)
{
    return ek_fail(EK_ERR_FORMAT, "%s: byte %zu of the header: %s", json->name, json->at, what);
}

/* The next byte that is not white space, still to be eaten; -1 at the end. */
static int next(ek_json *json)
{
    while (json->at < json->size && memchr(" \t\r\n", json->text[json->at], 4))
        json->at++;
    return json->at < json->size ? json->text[json->at] : -1;
}

ek_status ek_json_open(ek_json *json, char bracket)
{
    if (next(json) != bracket)
        return ek_json_fail(json, bracket == '{' ? "expected an object {...}" : "expected an array [...]");
    json->at++;
    json->first = true;
    return EK_OK;
}

ek_status ek_json_more(ek_json *json, char bracket, bool *more)
{
    bool first = json->first;
    int byte = next(json);
    json->first = false;
    *more = byte != bracket;
    if (byte == bracket || (!first && byte == ','))
        json->at++;
    else if (byte < 0)
        return ek_json_fail(json, "the header ends too early");
    else if (!first)
        return ek_json_fail(json, bracket == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
    return EK_OK;
}

/* ---- Strings ------------------------------------------------------------------------------------------------ */

size_t ek_utf8_length(const unsigned char *text, size_t size)
{
    unsigned char lead = text[0];
    if (lead < 0x80)
        return 1;
    size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (lead == 0xe0 && text[1] < 0xa0) || (lead == 0xf0 && text[1] < 0x90);
    bool surrogate = lead == 0xed && text[1] >= 0xa0;
    bool beyond = lead == 0xf4 && text[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : length;
}

/* Writes a character as UTF-8 and returns its length: at most 3 bytes below U+10000, else 4. */
static size_t put_utf8(unsigned char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (unsigned char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length - 1; i > 0; i--, c >>= 6)
        out[i] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)(lead[length] | c);
    return length;
}

/* The four hexadecimal digits behind "\u". */
static ek_status read_hex4(ek_json *json, uint32_t *value)
{
    *value = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = json->at < json->size ? json->text[json->at] : 0;
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            digit = (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return ek_json_fail(json, "expected four hexadecimal digits behind \\u");
        *value = *value << 4 | digit;
        json->at++;
    }
    return EK_OK;
}

/* What follows "\u": one character, of two such escapes where the first is a high surrogate. */
static ek_status read_unicode_escape(ek_json *json, uint32_t *character)
{
    uint32_t high, low;
    EK_TRY(read_hex4(json, &high));
    *character = high;
    if (high == 0)
        return ek_json_fail(json, "the character U+0000 in a string");
    if (high < 0xd800 || high > 0xdfff)
        return EK_OK;
    if (high >= 0xdc00 || json->size - json->at < 2 || memcmp(json->text + json->at, "\\u", 2))
        return ek_json_fail(json, "half a surrogate pair");
    json->at += 2;
    EK_TRY(read_hex4(json, &low));
    if (low < 0xdc00 || low > 0xdfff)
        return ek_json_fail(json, "half a surrogate pair");
    *character = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return EK_OK;
}

/* What follows a backslash; `out` is at or before it, and no escape decodes to more bytes than it has. */
static ek_status read_escape(ek_json *json, unsigned char *out, size_t *length)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    unsigned char c = json->at < json->size ? json->text[json->at] : 0;
    const char *known = c ? strchr(names, c) : NULL;
    if (known) {
        json->at++;
        *out = (unsigned char)values[known - names];
        *length = 1;
        return EK_OK;
    }
    if (c != 'u')
        return ek_json_fail(json, "an unknown escape in a string");
    json->at++;
    uint32_t character;
    EK_TRY(read_unicode_escape(json, &character));
    *length = put_utf8(out, character);
    return EK_OK;
}

ek_status ek_json_string(ek_json *json, char **string)
{
    if (next(json) != '"')
        return ek_json_fail(json, "expected a string");
    unsigned char *begin = json->text + ++json->at, *out = begin;
    while (json->at < json->size) {
        unsigned char c = json->text[json->at];
        size_t length = 0;
        if (c == '"') {
            json->at++;
            *out = '\0'; /* at the closing quote or before it */
            *string = (char *)begin;
            return EK_OK;
        }
        if (c < 0x20)
            return ek_json_fail(json, "a control character in a string");
        if (c == '\\') {
            json->at++;
            EK_TRY(read_escape(json, out, &length));
        } else {
            length = ek_utf8_length(json->text + json->at, json->size - json->at);
            if (length == 0)
                return ek_json_fail(json, "a string that is no UTF-8");
            memmove(out, json->text + json->at, length);
            json->at += length;
        }
        out += length;
    }
    return ek_json_fail(json, "a string without its closing quote");
}

ek_status ek_json_key(ek_json *json, char **key)
{
    EK_TRY(ek_json_string(json, key));
    if (next(json) != ':')
        return ek_json_fail(json, "expected ':'");
    json->at++;
    return EK_OK;
}

size_t ek_json_quote(const char *string, char *out)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *text = (const unsigned char *)string;
    size_t size = strlen(string), length = 0;
    for (size_t i = 0, step = 1; i < size; i += step) {
        step = ek_utf8_length(text + i, size - i);
        if (step == 0)
            return 0;
        char piece[6] = {'\\', 'u', '0', '0', hex[text[i] >> 4 & 15], hex[text[i] & 15]};
        size_t piece_length = step;
        if (text[i] < 0x20) {
            piece_length = 6;
            if (text[i] == '\n') { /* the common one: a net's text has lines */
                piece[1] = 'n';
                piece_length = 2;
            }
        } else if (text[i] == '"' || text[i] == '\\') {
            piece[1] = string[i];
            piece_length = 2;
        } else {
            memcpy(piece, text + i, step);
        }
        if (out)
            memcpy(out + 1 + length, piece, piece_length);
        length += piece_length;
    }
    if (out)
        out[0] = out[1 + length] = '"';
    return length + 2;
}

/* ---- Numbers ------------------------------------------------------------------------------------------------ */

ek_status ek_json_unsigned(ek_json *json, uint64_t *value)
{
    int c = next(json);
    if (c < '0' || c > '9')
        return ek_json_fail(json, "expected an integer of 0 or more");
    size_t begin = json->at;
    *value = 0;
    for (; json->at < json->size && json->text[json->at] >= '0' && json->text[json->at] <= '9'; json->at++)
        if (__builtin_mul_overflow(*value, (uint64_t)10, value) ||
            __builtin_add_overflow(*value, (uint64_t)(json->text[json->at] - '0'), value))
            return ek_json_fail(json, "an integer beyond 64 bits");
    if (c == '0' && json->at - begin > 1)
        return ek_json_fail(json, "an integer with a leading zero");
    if (json->at < json->size && memchr(".eE", json->text[json->at], 3))
        return ek_json_fail(json, "expected an integer, not a fraction");
    return EK_OK;
}

ek_status ek_json_end(ek_json *json)
{
    return next(json) < 0 ? EK_OK : ek_json_fail(json, "more text behind the end of the header");
}
