/* SPDX-License-Identifier: MIT
 * Reading a net's text: one statement a line, which text.c writes.
 *
 *     statement   NAME [NUMBER...] [OPTION=VALUE...]
 *     text        `input C H W`, then layers; blanks part words, # starts a comment, lines may end in CR LF
 *
 * Every failure names the text, its line and its column (bytes, from 1) and what was expected there. */
#include "net/net.h"

#include "base/memory.h"
#include "net/kind.h"
#include "net/number.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A word where it stands in the text; length 0 at the end of a line. */
typedef struct word {
    const char *text;
    size_t length;
} word;

typedef struct parser {
    const char *name;
    const char *line; /* start of the current line */
    const char *at;   /* the next byte to read */
    int64_t line_number;
    ek_net *net;
} parser;

enum { SHOWN = 44 };

/* A word as messages show it: quoted, cut when long, nothing in it that a terminal would obey. */
static const char *shown(word w, char buffer[SHOWN])
{
    const int most = SHOWN - 6; /* two quotes, three points, the end */
    bool cut = w.length > (size_t)most;
    if (w.length == 0)
        return "nothing";
    snprintf(buffer, SHOWN, "'%.*s%s'", cut ? most : (int)w.length, w.text, cut ? "..." : "");
    for (char *c = buffer; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return buffer;
}

/* Puts name, line and column before the message. */
static ek_status locate(const parser *p, const char *where, ek_status status)
{
    return ek_fail(status, "%.200s:%jd:%jd: %s", p->name, (intmax_t)p->line_number, (intmax_t)(where - p->line) + 1,
                   ek_error());
}

static ek_status fail_at(const parser *p, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static ek_status fail_at(const parser *p, const char *where, const char *format, ...)
{
    char message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return locate(p, where, ek_fail(EK_ERR_FORMAT, "%s", message));
}

/* ---- Words -------------------------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool ends_line(char c)
{
    return c == '\0' || c == '\n' || c == '#';
}

static word next_word(parser *p)
{
    while (is_blank(*p->at))
        p->at++;
    word w = {p->at, 0};
    while (!is_blank(*p->at) && !ends_line(*p->at))
        p->at++;
    w.length = (size_t)(p->at - w.text);
    return w;
}

/* Goes to the next line; false at the end of the text. */
static bool next_line(parser *p)
{
    p->at += strcspn(p->at, "\n");
    if (!*p->at)
        return false;
    p->line = ++p->at;
    p->line_number++;
    return true;
}

/* The first word of the next line that has one; length 0 at the end of the text. */
static word next_statement(parser *p)
{
    word w = next_word(p);
    while (w.length == 0 && next_line(p))
        w = next_word(p);
    return w;
}

static bool is_word(word w, const char *text)
{
    return w.length == strlen(text) && !memcmp(w.text, text, w.length);
}

static word up_to_equals(word w)
{
    const char *equals = memchr(w.text, '=', w.length);
    return (word){w.text, equals ? (size_t)(equals - w.text) : w.length};
}

/* ---- Values ------------------------------------------------------------------------------------------------- */

/* A whole number; what an int cannot hold becomes 10^9, which no option allows. False for anything else. */
static bool read_whole(word w, double *value)
{
    const double most = 1e9;
    *value = 0;
    for (size_t i = 0; i < w.length; i++) {
        if (w.text[i] < '0' || w.text[i] > '9')
            return false;
        *value = *value * 10 + (w.text[i] - '0');
        *value = *value < most ? *value : most;
    }
    return w.length > 0;
}

static bool read_value(const ek_option *option, word w, double *value)
{
    if (option->minus && is_word(w, option->minus)) {
        *value = -1;
        return true;
    }
    if (option->words[0]) {
        *value = is_word(w, option->words[1]);
        return *value != 0 || is_word(w, option->words[0]);
    }
    if (option->type == EK_OPTION_NUMBER)
        return read_whole(w, value);
    float number = 0;
    bool ok = ek_float_read(w.text, w.length, &number);
    *value = (double)number;
    return ok && !signbit(number); /* -1 is an option's word, not its number */
}

static ek_status set_option(const parser *p, const ek_option *option, word w, ek_layer *layer)
{
    char text[SHOWN];
    double value;
    if (!read_value(option, w, &value) || !ek_option_allows(option, value))
        return fail_at(p, w.text, "%s must be %s, found %s", option->name, option->range, shown(w, text));
    ek_option_set(option, layer, value);
    return EK_OK;
}

/* ---- Statements --------------------------------------------------------------------------------------------- */

static ek_status unknown_option(const parser *p, const ek_kind *kind, word w)
{
    char text[SHOWN], known[200] = "no options";
    size_t length = 0;
    for (int i = kind->sized; i < kind->option_count; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", length ? ", " : "",
                                   kind->options[i].name);
    return fail_at(p, w.text, "unknown option %s; %s takes %s", shown(w, text), kind->name, known);
}

static ek_status parse_options(parser *p, const ek_kind *kind, ek_layer *layer)
{
    unsigned seen = 0;
    for (word w = next_word(p); w.length > 0; w = next_word(p)) {
        word name = up_to_equals(w);
        int i = kind->sized;
        while (i < kind->option_count && !is_word(name, kind->options[i].name))
            i++;
        if (i == kind->option_count)
            return unknown_option(p, kind, name);
        if (name.length == w.length)
            return fail_at(p, w.text, "expected a value, as in %s=%s", kind->options[i].name,
                           kind->options[i].words[0] ? kind->options[i].words[0] : "1");
        if (seen & 1u << i)
            return fail_at(p, w.text, "%s is given twice", kind->options[i].name);
        seen |= 1u << i;
        word value = {w.text + name.length + 1, w.length - name.length - 1};
        EK_TRY(set_option(p, &kind->options[i], value, layer));
    }
    return EK_OK;
}

static ek_status unknown_layer(const parser *p, word w)
{
    char text[SHOWN], known[300] = "";
    size_t length = 0;
    for (int k = 0; k < EK_LAYER_KINDS; k++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", k ? ", " : "", ek_kinds[k].name);
    return fail_at(p, w.text, "unknown layer %s; the layers are %s", shown(w, text), known);
}

static ek_status parse_layer(parser *p, word name)
{
    int k = 0;
    while (k < EK_LAYER_KINDS && !is_word(name, ek_kinds[k].name))
        k++;
    if (k == EK_LAYER_KINDS)
        return unknown_layer(p, name);
    const ek_kind *kind = &ek_kinds[k];
    ek_layer layer = ek_layer_new((ek_layer_kind)k, 1);
    if (kind->sized) {
        EK_TRY(set_option(p, &kind->options[0], next_word(p), &layer));
        layer = ek_layer_new((ek_layer_kind)k, (int)ek_option_get(&kind->options[0], &layer));
    }
    EK_TRY(parse_options(p, kind, &layer));
    ek_status status = ek_net_add(p->net, &layer);
    return status ? locate(p, name.text, status) : EK_OK;
}

/* `input C H W`, the first statement, makes the net. */
static ek_status parse_input(parser *p)
{
    char text[SHOWN];
    int extent[3];
    word name = next_statement(p);
    if (!is_word(name, "input"))
        return fail_at(p, name.text, "expected 'input CHANNELS HEIGHT WIDTH', found %s", shown(name, text));
    for (int i = 0; i < 3; i++) {
        word w = next_word(p);
        double value;
        if (!read_whole(w, &value) || value < 1 || value > EK_EXTENT_MAX)
            return fail_at(p, w.text, "%s must be 1 to %d, found %s",
                           (const char *[]){"channels", "height", "width"}[i], EK_EXTENT_MAX, shown(w, text));
        extent[i] = (int)value;
    }
    word rest = next_word(p);
    if (rest.length > 0)
        return fail_at(p, rest.text, "expected the end of the line after 'input C H W', found %s", shown(rest, text));
    p->net = ek_net_new(extent[0], extent[1], extent[2]);
    if (!p->net)
        return EK_ERR_MEMORY;
    ek_status status = ek_net_check(p->net);
    return status ? locate(p, name.text, status) : EK_OK;
}

static ek_status parse_text(parser *p)
{
    EK_TRY(parse_input(p));
    for (word name = next_statement(p); name.length > 0; name = next_statement(p))
        EK_TRY(parse_layer(p, name));
    return EK_OK;
}

ek_status ek_net_read(ek_net **net, const char *text, const char *name)
{
    *net = NULL;
    if (!text)
        return ek_fail(EK_ERR_ARGUMENT, "ek_net_parse: text is NULL");
    parser p = {.name = name ? name : "net", .line = text, .at = text, .line_number = 1};
    ek_status status = parse_text(&p);
    if (status)
        ek_net_free(p.net);
    else
        *net = p.net;
    return status;
}

ek_net *ek_net_parse(const char *text, const char *name)
{
    ek_net *net;
    ek_net_read(&net, text, name);
    return net;
}
