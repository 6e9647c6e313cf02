/* SPDX-License-Identifier: MIT
 * A text that grows piece by piece; whoever wrote it asks once, at the end, whether there was memory for it.
 *
 *     ek_text text = {0};
 *     ek_text_say(&text, "layer");
 *     ek_text_sayf(&text, " %d\n", i);
 *     char *whole = ek_text_end(&text);     // for ek_free, or free(); NULL with the message set */
#ifndef EK_BASE_TEXT_H
#define EK_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ek_text {
    char *text; /* ends with a zero byte; NULL while it is empty */
    size_t length, room;
    bool failed; /* without memory: nothing more is written */
} ek_text;

void ek_text_put(ek_text *text, const char *piece, size_t size);
void ek_text_say(ek_text *text, const char *piece);
void ek_text_sayf(ek_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Hands the text out, "" where nothing was written; NULL where there was no memory, whose message is set. */
char *ek_text_end(ek_text *text);

#endif
