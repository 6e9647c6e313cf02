/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Room for `size` more bytes and the zero; false without memory. */
static bool make_room(ek_text *t, size_t size)
{
    if (t->failed || size < t->room - t->length)
        return !t->failed;
    const size_t room = ek_size_add(ek_size_mul(2, t->room), ek_size_add(size, 256));
    char *text = ek_realloc(t->text, room, 1);
    t->failed = !text;
    if (text) {
        t->text = text;
        t->room = room;
    }
    return !t->failed;
}

void ek_text_put(ek_text *t, const char *piece, size_t size)
{
    if (!make_room(t, size))
        return;
    memcpy(t->text + t->length, piece, size);
    t->length += size;
    t->text[t->length] = 0;
}

void ek_text_say(ek_text *t, const char *piece)
{
    ek_text_put(t, piece, strlen(piece));
}

void ek_text_sayf(ek_text *t, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int size = vsnprintf(NULL, 0, format, arguments);
    if (size >= 0 && make_room(t, (size_t)size)) {
        vsnprintf(t->text + t->length, (size_t)size + 1, format, again);
        t->length += (size_t)size;
    }
    va_end(again);
    va_end(arguments);
}

char *ek_text_end(ek_text *t)
{
    ek_text_put(t, "", 0);
    char *text = t->text;
    const bool failed = t->failed;
    *t = (ek_text){0};
    if (!failed)
        return text;
    ek_free(text);
    return NULL;
}
