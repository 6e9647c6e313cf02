/* SPDX-License-Identifier: MIT */
#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

static void put_key(cli_json *json, const char *key)
{
    if (json->more)
        putc(',', json->to);
    json->more = true;
    if (!key)
        return;
    cli_json_put(json->to, key);
    putc(':', json->to);
}

void cli_json_open(cli_json *json, const char *key)
{
    put_key(json, key);
    putc('{', json->to);
    json->more = false;
}

void cli_json_close(cli_json *json)
{
    putc('}', json->to);
    json->more = true;
}

void cli_json_list(cli_json *json, const char *key)
{
    put_key(json, key);
    putc('[', json->to);
    json->more = false;
}

void cli_json_list_end(cli_json *json)
{
    putc(']', json->to);
    json->more = true;
}

void cli_json_text(cli_json *json, const char *key, const char *text)
{
    put_key(json, key);
    if (text)
        cli_json_put(json->to, text);
    else
        fputs("null", json->to);
}

void cli_json_real(cli_json *json, const char *key, double value)
{
    char text[32] = "null";
    put_key(json, key);
    for (int digits = 15; isfinite(value) && digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    fputs(text, json->to);
}

void cli_json_whole(cli_json *json, const char *key, int64_t value)
{
    put_key(json, key);
    fprintf(json->to, "%" PRId64, value);
}

void cli_json_large(cli_json *json, const char *key, uint64_t value)
{
    put_key(json, key);
    fprintf(json->to, "%" PRIu64, value);
}

void cli_json_truth(cli_json *json, const char *key, bool value)
{
    put_key(json, key);
    fputs(value ? "true" : "false", json->to);
}

void cli_json_given_text(cli_json *json, const char *key, const char *text)
{
    cli_json_text(json, key, text && *text ? text : NULL);
}

void cli_json_given_real(cli_json *json, const char *key, double value)
{
    cli_json_real(json, key, value != 0 ? value : NAN);
}
