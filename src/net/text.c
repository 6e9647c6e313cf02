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

/* ---- The whole ---------------------------------------------------------------------------------------------- */

/* Writes, or without room counts. */
typedef struct writer {
    const ek_net *net;
    char *text;
    size_t length;
    int next; /* layer */
} writer;

static void put(writer *w, const char *text)
{
    const size_t length = strlen(text);
    if (w->text)
        memcpy(w->text + w->length, text, length);
    w->length += length;
}

static void indent(writer *w, int depth)
{
    for (int i = 0; i < depth; i++)
        put(w, "    ");
}

static void put_layer(writer *w, int depth);

/* The layers of a part in braces; the last line has no end. */
static void put_part(writer *w, int block, int part, int depth)
{
    const ek_layer *layers = w->net->layers;
    put(w, " {\n");
    while (w->next < layers[block].end && layers[w->next].part == part)
        put_layer(w, depth + 1);
    indent(w, depth);
    put(w, "}");
}

static void put_concat(writer *w, int block, int depth)
{
    put(w, " {\n");
    for (int part = 0; part < w->net->layers[block].parts; part++) {
        indent(w, depth + 1);
        put(w, "branch");
        put_part(w, block, part, depth + 1);
        put(w, "\n");
    }
    indent(w, depth);
    put(w, "}");
}

/* The next layer with all that is in it: recursion ends at EK_DEPTH_MAX. */
static void put_layer(writer *w, int depth)
{
    const int i = w->next++;
    const ek_layer *layer = &w->net->layers[i];
    indent(w, depth);
    put(w, layer->text);
    if (layer->kind == EK_LAYER_CONCAT)
        put_concat(w, i, depth);
    if (layer->kind == EK_LAYER_RESIDUAL) {
        put_part(w, i, 0, depth);
        if (layer->parts == 2) {
            put(w, " shortcut");
            put_part(w, i, 1, depth);
        }
    }
    put(w, "\n");
}

static void put_net(writer *w)
{
    char input[64];
    const ek_dims in = w->net->input;
    snprintf(input, sizeof input, "input %d %d %d\n", in.c, in.h, in.w);
    put(w, input);
    while (w->next < w->net->layer_count)
        put_layer(w, 0);
}

char *ek_net_text(const ek_net *net)
{
    if (ek_net_check(net) || ek_net_check_ended(net))
        return NULL;
    writer count = {.net = net};
    put_net(&count);
    char *text = ek_calloc(count.length + 1, 1);
    writer w = {.net = net, .text = text};
    if (text)
        put_net(&w);
    return text;
}
