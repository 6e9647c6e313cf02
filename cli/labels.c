/* SPDX-License-Identifier: MIT
 * Classes in words: a file's lines, or a model's note. */
#define _POSIX_C_SOURCE 200809L
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS_MAX = 1 << 22 };

/* Lines of other systems end with both, and the last ends or does not: "a\r\nb\r\n" becomes "a\nb". The lines. */
static int tidy(char *text)
{
    size_t kept = 0;
    int lines = 0;
    for (const char *from = text; *from; from++)
        if (from[0] != '\r' || (from[1] != '\n' && from[1]))
            text[kept++] = *from;
    while (kept > 0 && text[kept - 1] == '\n')
        kept--;
    text[kept] = 0;
    for (size_t i = 0; i < kept; i++)
        lines += text[i] == '\n';
    return lines + (kept > 0);
}

char *cli_labels_read(const cli_command *self, const char *path, const ek_net *net)
{
    ek_layer_info output = {.c = 0};
    FILE *file = fopen(path, "r");
    char *text = calloc(LABELS_MAX + 2, 1);
    const size_t length = file && text ? fread(text, 1, LABELS_MAX + 1, file) : 0;
    const char *fault = !file                          ? strerror(errno)
                        : !text                        ? "out of memory"
                        : ferror(file)                 ? strerror(errno)
                        : length > LABELS_MAX          ? "longer than any list of classes (4 MiB)"
                        : memchr(text, 0, length)      ? "no list of classes: it has a zero byte"
                        : cli_net_output(net, &output) ? ek_error()
                                                       : NULL;
    if (file)
        fclose(file);
    const int lines = fault ? 0 : tidy(text);
    if (!fault && lines == output.c)
        return text;
    if (fault)
        cli_fail(self, "%s: %s", path, fault);
    else
        cli_fail(self, "%s: it names %d classes, a line each, and the net has %d outputs", path, lines, output.c);
    free(text);
    return NULL;
}

bool cli_labels_take(cli_labels *labels, char *text)
{
    *labels = (cli_labels){.text = text};
    const int lines = text ? tidy(text) : 0;
    labels->label = text ? calloc((size_t)lines + 1, sizeof *labels->label) : NULL;
    if (!labels->label)
        return false;
    for (char *at = text; labels->count < lines; labels->count++) {
        char *end = at + strcspn(at, "\n");
        labels->label[labels->count] = at;
        at = *end ? end + 1 : end;
        *end = 0;
    }
    return true;
}

bool cli_labels_of(cli_labels *labels, const ek_net *net)
{
    const char *note = ek_net_note(net, "labels");
    *labels = (cli_labels){.count = 0};
    return !note || cli_labels_take(labels, strdup(note));
}

void cli_labels_free(cli_labels *labels)
{
    free(labels->text);
    free(labels->label);
    *labels = (cli_labels){.count = 0};
}
