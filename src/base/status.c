/* SPDX-License-Identifier: MIT */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 1024 };

static _Thread_local char message[MESSAGE_SIZE];

const char *ek_error(void)
{
    return message;
}

/* Bytes of the UTF-8 sequence at `text`, 0 where none begins. */
static int sequence_length(const unsigned char *text)
{
    int length = *text < 0x80 ? 1 : *text < 0xc2 ? 0 : *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : *text < 0xf5 ? 4 : 0;
    for (int i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return length;
}

/* Marks a text that did not fit, and keeps the promise of one line: a name from a hostile file must not move a
 * terminal's cursor either. Terminals obey U+0080 to U+009F too, some of them the bare bytes. */
static void finish_message(int length)
{
    if (length >= MESSAGE_SIZE)
        memcpy(message + MESSAGE_SIZE - 4, "...", 4);
    for (unsigned char *c = (unsigned char *)message; *c;) {
        int bytes = sequence_length(c);
        if (*c < 0x20 || *c == 0x7f)
            *c = ' ';
        else if (bytes == 0 && *c < 0xa0)
            *c = '?';
        else if (bytes == 2 && c[0] == 0xc2 && c[1] < 0xa0)
            c[0] = c[1] = '?';
        c += bytes ? bytes : 1;
    }
}

ek_status ek_fail(ek_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char text[MESSAGE_SIZE]; /* an argument may be the old message */
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(message, text, sizeof text);
    finish_message(length);
    return status;
}

ek_status ek_fail_in(ek_status status, const char *context)
{
    return ek_fail(status, "%s: %s", context, message);
}

const char *ek_status_name(ek_status status)
{
    switch (status) {
#define EK_STATUS_CASE(name, code, text)                                                                             \
    case name:                                                                                                       \
        return #name;
        EK_STATUS_LIST(EK_STATUS_CASE)
#undef EK_STATUS_CASE
    }
    return "EK_?";
}

const char *ek_version(void)
{
#define EK_STRING_(x) #x
#define EK_STRING(x) EK_STRING_(x)
    return EK_STRING(EK_VERSION_MAJOR) "." EK_STRING(EK_VERSION_MINOR) "." EK_STRING(EK_VERSION_PATCH);
}
