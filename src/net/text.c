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
        append(line, option->words[(int)value]);
    else
        append(line, ek_float_text((float)value, number)); /* ints are at most 65536: exact */
}

/* A pair's equal parts as one number. */
static void append_option(char line[LINE_SIZE], const ek_option *option, const ek_layer *layer)
{
    const double first = ek_option_get(option, layer, 0);
    append_value(line, option, first);
    if (ek_option_parts(option) < 2 || ek_option_get(option, layer, 1) == first)
        return;
    append(line, "x");
    append_value(line, option, ek_option_get(option, layer, 1));
}

static bool same_option(const ek_option *option, const ek_layer *a, const ek_layer *b)
{
    for (int part = 0; part < ek_option_parts(option); part++)
        if (ek_option_get(option, a, part) != ek_option_get(option, b, part))
            return false;
    return true;
}

/* The kind, its size, and the options that differ from their defaults. */
char *ek_layer_text(const ek_layer *layer)
{
    const ek_kind *kind = &ek_kinds[layer->kind];
    char line[LINE_SIZE] = "";
    ek_layer plain = ek_layer_new(layer->kind, 1);
    append(line, kind->name);
    if (kind->sized) {
        append(line, " ");
        append_option(line, &kind->options[0], layer);
        for (int part = 0; part < ek_option_parts(&kind->options[0]); part++)
            ek_option_set(&kind->options[0], &plain, part, ek_option_get(&kind->options[0], layer, part));
        ek_layer_follow_size(&plain);
    }
    for (int i = kind->sized; i < kind->option_count; i++) {
        const ek_option *option = &kind->options[i];
        if (same_option(option, layer, &plain))
            continue;
        append(line, " ");
        append(line, option->name);
        append(line, "=");
        append_option(line, option, layer);
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
