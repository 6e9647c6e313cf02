/* SPDX-License-Identifier: MIT */
#include "json_read.h"
#include "cli.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH = 32, NUMBER = 64 };

typedef struct reader {
    const char *at, *end;
} reader;

static void skip_blanks(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || *r->at == '\n'))
        r->at++;
}

static bool take(reader *r, char wanted)
{
    if (r->at == r->end || *r->at != wanted)
        return false;
    r->at++;
    return true;
}

/* ---- Values ---------------------------------------------------------------------------------------------------- */

static bool take_hex4(reader *r, unsigned *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        if (r->at == r->end || !isxdigit((unsigned char)*r->at))
            return false;
        const int c = tolower((unsigned char)*r->at);
        *code = *code << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

static bool take_string(reader *r)
{
    unsigned code;
    if (!take(r, '"'))
        return false;
    while (r->at < r->end && *r->at != '"') {
        if ((unsigned char)*r->at < 0x20)
            return false;
        if (*r->at++ != '\\')
            continue;
        if (r->at == r->end || !strchr("\"\\/bfnrtu", *r->at) || !*r->at)
            return false;
        if (*r->at++ == 'u' && !take_hex4(r, &code))
            return false;
    }
    return take(r, '"');
}

static bool take_digits(reader *r)
{
    const char *begin = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at > begin;
}

static bool take_number(reader *r)
{
    take(r, '-');
    if (!take(r, '0') && !take_digits(r))
        return false;
    if (take(r, '.') && !take_digits(r))
        return false;
    if (take(r, 'e') || take(r, 'E')) {
        if (!take(r, '-'))
            take(r, '+');
        return take_digits(r);
    }
    return true;
}

static bool take_word(reader *r, const char *word)
{
    const size_t length = strlen(word);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
        return false;
    r->at += length;
    return true;
}

static bool take_value(reader *r, int depth);

/* What stands between the brackets of an object or an array. */
static bool take_list(reader *r, int depth, char close, bool keys)
{
    skip_blanks(r);
    if (take(r, close))
        return true;
    for (;;) {
        skip_blanks(r);
        if (keys) {
            if (!take_string(r))
                return false;
            skip_blanks(r);
            if (!take(r, ':'))
                return false;
        }
        if (!take_value(r, depth))
            return false;
        skip_blanks(r);
        if (take(r, close))
            return true;
        if (!take(r, ','))
            return false;
    }
}

static bool take_value(reader *r, int depth)
{
    skip_blanks(r);
    if (r->at == r->end || depth == DEPTH)
        return false;
    switch (*r->at) {
    case '{':
        r->at++;
        return take_list(r, depth + 1, '}', true);
    case '[':
        r->at++;
        return take_list(r, depth + 1, ']', false);
    case '"':
        return take_string(r);
    case 't':
        return take_word(r, "true");
    case 'f':
        return take_word(r, "false");
    case 'n':
        return take_word(r, "null");
    default:
        return take_number(r);
    }
}

bool cli_json_is_valid(cli_span text)
{
    reader r = {text.at, text.at + text.size};
    if (!take_value(&r, 0))
        return false;
    skip_blanks(&r);
    return r.at == r.end;
}

/* ---- Members --------------------------------------------------------------------------------------------------- */

bool cli_json_next(cli_span *rest, cli_span *key, cli_span *value)
{
    reader r = {rest->at, rest->at + rest->size};
    skip_blanks(&r);
    if (!take(&r, '{') && !take(&r, ','))
        return false;
    skip_blanks(&r);
    const char *begin = r.at;
    if (!take_string(&r))
        return false;
    *key = (cli_span){begin + 1, (size_t)(r.at - begin) - 2};
    skip_blanks(&r);
    if (!take(&r, ':'))
        return false;
    skip_blanks(&r);
    begin = r.at;
    if (!take_value(&r, 0))
        return false;
    *value = (cli_span){begin, (size_t)(r.at - begin)};
    *rest = (cli_span){r.at, (size_t)(r.end - r.at)};
    return true;
}

bool cli_json_item(cli_span *rest, cli_span *value)
{
    reader r = {rest->at, rest->at + rest->size};
    skip_blanks(&r);
    if (!take(&r, '[') && !take(&r, ','))
        return false;
    skip_blanks(&r);
    const char *begin = r.at;
    if (!take_value(&r, 0))
        return false;
    *value = (cli_span){begin, (size_t)(r.at - begin)};
    *rest = (cli_span){r.at, (size_t)(r.end - r.at)};
    return true;
}

bool cli_json_member(cli_span object, const char *key, cli_span *value)
{
    cli_span name;
    while (cli_json_next(&object, &name, value))
        if (name.size == strlen(key) && memcmp(name.at, key, name.size) == 0)
            return true;
    return false;
}

double cli_json_read_real(cli_span value)
{
    char text[NUMBER];
    reader r = {value.at, value.at + value.size};
    if (value.size >= sizeof text || !take_number(&r) || r.at != r.end)
        return NAN;
    memcpy(text, value.at, value.size);
    text[value.size] = 0;
    return strtod(text, NULL);
}

/* UTF-8 of a code point below U+10000. Surrogates, of which our own logs hold none, become '?'. */
static size_t encode(unsigned code, char out[4])
{
    if (code >= 0xd800 && code < 0xe000)
        code = '?';
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    out[0] = (char)(0xe0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3f));
    out[2] = (char)(0x80 | (code & 0x3f));
    return 3;
}

bool cli_json_read_text(cli_span value, char *text, size_t size)
{
    reader r = {value.at, value.at + value.size};
    size_t length = 0;
    *text = 0;
    if (!take(&r, '"'))
        return false;
    while (r.at < r.end && *r.at != '"') {
        char piece[4], shown[8];
        size_t bytes;
        if (*r.at == '\\') {
            const char escape = *++r.at;
            unsigned code = escape == 'n' || escape == 't' || escape == 'r' ? ' ' : (unsigned char)escape;
            r.at++;
            if (escape == 'u' && !take_hex4(&r, &code))
                return false;
            bytes = encode(code, piece);
        } else {
            const int found = cli_utf8_length((const unsigned char *)r.at, (size_t)(r.end - r.at));
            bytes = found ? (size_t)found : 1;
            memcpy(piece, r.at, bytes);
            r.at += bytes;
        }
        bytes = cli_copy_text(shown, sizeof shown, piece, bytes);
        if (length + bytes >= size)
            break;
        memcpy(text + length, shown, bytes);
        length += bytes;
    }
    text[length] = 0;
    return true;
}
