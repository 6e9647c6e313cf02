/* SPDX-License-Identifier: MIT
 * A net as text: parse.c reads back what is written here. */
#include "net/net.h"

#include "base/memory.h"
#include "net/kind.h"
#include "net/number.h"

#include <stdio.h>
#include <string.h>

enum { LINE_SIZE = 512 }; /* a line with every option set takes less than half */

static void append(char line[LINE_SIZE], const char *text)
{
    size_t length = strlen(line);
    snprintf(line + length, LINE_SIZE - length, "%s", text);
}

static void append_value(char line[LINE_SIZE], const ek_option *option, double value)
{
    char number[EK_FLOAT_TEXT];
    if (option->minus && value == -1)
        append(line, option->minus);
    else if (option->words[0])
        append(line, option->words[value != 0]);
    else
        append(line, ek_float_text((float)value, number)); /* ints are at most 65536: exact */
}

/* The kind, its size, and the options that differ from their defaults. */
char *ek_layer_text(const ek_layer *layer)
{
    const ek_kind *kind = &ek_kinds[layer->kind];
    char line[LINE_SIZE] = "";
    int size = 0;
    append(line, kind->name);
    if (kind->sized) {
        size = (int)ek_option_get(&kind->options[0], layer);
        append(line, " ");
        append_value(line, &kind->options[0], size);
    }
    ek_layer plain = ek_layer_new(layer->kind, size);
    for (int i = kind->sized; i < kind->option_count; i++) {
        const ek_option *option = &kind->options[i];
        double value = ek_option_get(option, layer);
        if (value == ek_option_get(option, &plain))
            continue;
        append(line, " ");
        append(line, option->name);
        append(line, "=");
        append_value(line, option, value);
    }
    return ek_strdup(line);
}

char *ek_net_text(const ek_net *net)
{
    if (ek_net_check(net))
        return NULL;
    char input[64];
    size_t size = (size_t)snprintf(input, sizeof input, "input %d %d %d\n", net->input.c, net->input.h, net->input.w);
    size_t end = size;
    for (int i = 0; i < net->layer_count; i++)
        size += strlen(net->layers[i].text) + 1;
    char *text = ek_calloc(size + 1, 1);
    if (!text)
        return NULL;
    memcpy(text, input, end);
    for (int i = 0; i < net->layer_count; i++) {
        size_t length = strlen(net->layers[i].text);
        memcpy(text + end, net->layers[i].text, length);
        text[end + length] = '\n';
        end += length + 1;
    }
    return text;
}
