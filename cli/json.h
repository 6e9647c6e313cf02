/* SPDX-License-Identifier: MIT
 * Writing a JSON object on one line, member by member. */
#ifndef JSON_H
#define JSON_H

#include "cli.h"

typedef struct cli_json {
    FILE *to;
    bool more; /* a comma is due before the next member */
} cli_json;

/* Opens the object that is member `key`, or the outermost one where key is NULL; closes the innermost. */
void cli_json_open(cli_json *json, const char *key);
void cli_json_close(cli_json *json);

/* The same for an array, whose members have no key. */
void cli_json_list(cli_json *json, const char *key);
void cli_json_list_end(cli_json *json);

/* Members. text NULL, and numbers that are not finite, are null; a number has as many digits as it takes to read the
 * same double back, 17 at most. */
void cli_json_text(cli_json *json, const char *key, const char *text);
void cli_json_real(cli_json *json, const char *key, double value);
void cli_json_whole(cli_json *json, const char *key, int64_t value);
void cli_json_large(cli_json *json, const char *key, uint64_t value);
void cli_json_truth(cli_json *json, const char *key, bool value);

/* Likewise, null for what is 0 or empty: what was not given, or does not apply. */
void cli_json_given_text(cli_json *json, const char *key, const char *text);
void cli_json_given_real(cli_json *json, const char *key, double value);

#endif
