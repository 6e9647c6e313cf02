/* SPDX-License-Identifier: MIT
 * Reading a net's text, which text.c writes. The grammar is in docs/net.md:
 *
 *     text        "input" C H W { statement }
 *     statement   NAME [NUMBER] { OPTION "=" VALUE }           a layer, to the end of the line or a brace
 *                 "residual" { OPTION "=" VALUE } part [ "shortcut" part ]
 *                 "concat" "{" { "branch" part } "}"
 *                 "repeat" NUMBER part
 *     part        "{" { statement } "}"
 *
 * Blanks part words, # starts a comment, lines may end in CR LF. Every failure names the text, its line and its column
 * (bytes, from 1) and what was expected there. A repeat reads its part again and again; what it may read in all is
 * limited, so that a short text cannot ask for much. */
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

/* A place in the text. */
typedef struct place {
    const char *line; /* start of the line */
    const char *at;   /* the byte */
    int64_t line_number;
} place;

/* An open brace. */
typedef enum frame_kind { FRAME_REPEAT, FRAME_BODY, FRAME_SHORTCUT, FRAME_CONCAT, FRAME_BRANCH } frame_kind;

typedef struct frame {
    frame_kind kind;
    place word;   /* the statement's, for messages */
    place inside; /* behind the brace */
    int left;     /* REPEAT: times to go, this one counted */
    int progress; /* REPEAT: layers and branches when this time began */
} frame;

enum {
    FRAMES_MAX = 48,      /* a concat takes two, a repeat one */
    REREAD_MAX = 16 << 20 /* bytes that repeats may read again */
};

typedef struct parser {
    const char *name;
    place now; /* the next byte to read */
    ek_net *net;
    frame frames[FRAMES_MAX];
    int depth;
    int64_t reread;
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
static ek_status locate_place(const parser *p, place where, ek_status status)
{
    return ek_fail(status, "%.200s:%jd:%jd: %s", p->name, (intmax_t)where.line_number,
                   (intmax_t)(where.at - where.line) + 1, ek_error());
}

/* The same for a byte of the current line. */
static ek_status locate(const parser *p, const char *where, ek_status status)
{
    return locate_place(p, (place){p->now.line, where, p->now.line_number}, status);
}

static ek_status fail_at(const parser *p, const char *where, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static ek_status fail_at(const parser *p, const char *where, const char *format, ...)
{
    char message[600];
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

static bool is_brace(char c)
{
    return c == '{' || c == '}';
}

/* The next word of the line; a brace is one by itself. */
static word next_word(parser *p)
{
    const char *at = p->now.at;
    while (is_blank(*at))
        at++;
    word w = {at, 0};
    if (is_brace(*at))
        at++;
    else
        while (!is_blank(*at) && !ends_line(*at) && !is_brace(*at))
            at++;
    w.length = (size_t)(at - w.text);
    p->now.at = at;
    return w;
}

/* Goes to the next line; false at the end of the text. */
static bool next_line(parser *p)
{
    p->now.at += strcspn(p->now.at, "\n");
    if (!*p->now.at)
        return false;
    p->now.line = ++p->now.at;
    p->now.line_number++;
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
    const int most = sizeof option->words / sizeof *option->words;
    if (option->words[0]) {
        int i = 0;
        while (i < most && option->words[i] && !is_word(w, option->words[i]))
            i++;
        *value = i;
        return i < most && option->words[i];
    }
    if (option->type == EK_OPTION_NUMBER || option->type == EK_OPTION_PAIR)
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
    word parts[2] = {w, w}; /* a pair: "3x5", or once for both */
    const char *times = option->type == EK_OPTION_PAIR ? memchr(w.text, 'x', w.length) : NULL;
    if (times) {
        parts[0].length = (size_t)(times - w.text);
        parts[1] = (word){times + 1, w.length - parts[0].length - 1};
    }
    for (int i = 0; i < ek_option_parts(option); i++) {
        if (!read_value(option, parts[i], &value) || !ek_option_allows(option, value))
            return fail_at(p, w.text, "%s must be %s, found %s", option->name, option->range, shown(w, text));
        ek_option_set(option, layer, i, value);
    }
    return EK_OK;
}

/* ---- Statements --------------------------------------------------------------------------------------------- */

static ek_status unknown_option(const parser *p, const ek_kind *kind, word w)
{
    char text[SHOWN], known[300] = "no options";
    size_t length = 0;
    for (int i = kind->sized; i < kind->option_count; i++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", length ? ", " : "",
                                   kind->options[i].name);
    if (w.length == 0)
        return fail_at(p, w.text, "expected an option's name before '='; %s takes %s", kind->name, known);
    return fail_at(p, w.text, "unknown option %s; %s takes %s", shown(w, text), kind->name, known);
}

static ek_status parse_options(parser *p, const ek_kind *kind, ek_layer *layer)
{
    unsigned seen = 0;
    for (word w = next_word(p); w.length > 0; w = next_word(p)) {
        if (is_brace(*w.text) && (ek_is_block(layer->kind) || *w.text == '}')) {
            p->now.at = w.text;
            return EK_OK;
        }
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
    char text[SHOWN], known[400] = "";
    size_t length = 0;
    for (int k = 0; k < EK_LAYER_KINDS; k++)
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", k ? ", " : "", ek_kinds[k].name);
    return fail_at(p, w.text, "unknown layer %s; the layers are %s", shown(w, text), known);
}

/* ---- Braces ------------------------------------------------------------------------------------------------- */

static frame *innermost(parser *p)
{
    return p->depth > 0 ? &p->frames[p->depth - 1] : NULL;
}

/* Whether statements stand in a concat's braces now, outside its branches; repeats there repeat branches. */
static bool in_concat(const parser *p)
{
    int i = p->depth - 1;
    while (i >= 0 && p->frames[i].kind == FRAME_REPEAT)
        i--;
    return i >= 0 && p->frames[i].kind == FRAME_CONCAT;
}

static int progress(const parser *p)
{
    return p->net->layer_count + p->net->part_count;
}

/* The brace that the statement at `name` needs, on its line. */
static ek_status open_brace(parser *p, frame_kind kind, place name, int times)
{
    char text[SHOWN];
    const word w = next_word(p);
    if (!is_word(w, "{"))
        return fail_at(p, w.text, "expected '{', found %s", shown(w, text));
    if (p->depth == FRAMES_MAX)
        return fail_at(p, w.text, "more than %d braces in each other", FRAMES_MAX);
    p->frames[p->depth++] =
        (frame){.kind = kind, .word = name, .inside = p->now, .left = times, .progress = progress(p)};
    return EK_OK;
}

static ek_status end_repeat(parser *p, const char *brace)
{
    frame *f = innermost(p);
    if (progress(p) == f->progress)
        return locate_place(p, f->word,
                            ek_fail(EK_ERR_FORMAT, "nothing to repeat: there are no layers in the braces"));
    p->reread += brace - f->inside.at;
    if (--f->left == 0) {
        p->depth--;
        return EK_OK;
    }
    if (p->reread > REREAD_MAX)
        return locate_place(
            p, f->word, ek_fail(EK_ERR_FORMAT, "the repeats amount to more than %d MiB of text", REREAD_MAX >> 20));
    f->progress = progress(p);
    p->now = f->inside;
    return EK_OK;
}

/* After a residual's body: its shortcut, or the end of it. */
static ek_status end_body(parser *p, place name)
{
    const place behind = p->now;
    const word w = next_statement(p);
    if (is_word(w, "shortcut")) {
        const ek_status status = ek_net_shortcut(p->net);
        return status ? locate(p, w.text, status) : open_brace(p, FRAME_SHORTCUT, name, 1);
    }
    p->now = behind;
    const ek_status status = ek_net_block_end(p->net);
    return status ? locate_place(p, name, status) : EK_OK;
}

static ek_status close_brace(parser *p, const char *brace)
{
    const frame *f = innermost(p);
    if (!f)
        return fail_at(p, brace, "expected a layer, found '}' without its '{'");
    if (f->kind == FRAME_REPEAT)
        return end_repeat(p, brace);
    const frame closed = *f;
    p->depth--;
    if (closed.kind == FRAME_BRANCH)
        return EK_OK;
    if (closed.kind == FRAME_BODY)
        return end_body(p, closed.word);
    const ek_status status = ek_net_block_end(p->net);
    return status ? locate_place(p, closed.word, status) : EK_OK;
}

/* ---- Layers and blocks -------------------------------------------------------------------------------------- */

static ek_status parse_layer(parser *p, word name)
{
    const place where = {p->now.line, name.text, p->now.line_number};
    int k = 0;
    while (k < EK_LAYER_KINDS && !is_word(name, ek_kinds[k].name))
        k++;
    if (k == EK_LAYER_KINDS)
        return unknown_layer(p, name);
    const ek_kind *kind = &ek_kinds[k];
    ek_layer layer = ek_layer_new((ek_layer_kind)k, 1);
    if (kind->sized) {
        EK_TRY(set_option(p, &kind->options[0], next_word(p), &layer));
        ek_layer_follow_size(&layer);
    }
    EK_TRY(parse_options(p, kind, &layer));
    ek_status status = ek_net_add(p->net, &layer);
    if (status)
        return locate(p, name.text, status);
    if (!ek_is_block(layer.kind))
        return EK_OK;
    return open_brace(p, layer.kind == EK_LAYER_CONCAT ? FRAME_CONCAT : FRAME_BODY, where, 1);
}

static ek_status parse_repeat(parser *p, word name)
{
    char text[SHOWN];
    double times;
    const place where = {p->now.line, name.text, p->now.line_number};
    const word w = next_word(p);
    if (!read_whole(w, &times) || times < 1 || times > EK_EXTENT_MAX)
        return fail_at(p, w.text, "repeat must be 1 to %d times, found %s", EK_EXTENT_MAX, shown(w, text));
    return open_brace(p, FRAME_REPEAT, where, (int)times);
}

static ek_status parse_branch(parser *p, word name)
{
    const place where = {p->now.line, name.text, p->now.line_number};
    const ek_status status = ek_net_branch(p->net);
    return status ? locate(p, name.text, status) : open_brace(p, FRAME_BRANCH, where, 1);
}

static ek_status parse_statement(parser *p, word name)
{
    char text[SHOWN];
    if (is_word(name, "}"))
        return close_brace(p, name.text);
    if (is_word(name, "{"))
        return fail_at(p, name.text,
                       "expected a layer, found '{'; residual, shortcut, concat, branch and repeat have "
                       "braces, on their own line");
    if (is_word(name, "repeat"))
        return parse_repeat(p, name);
    const bool branch = is_word(name, "branch");
    if (in_concat(p))
        return branch ? parse_branch(p, name)
                      : fail_at(p, name.text, "expected 'branch {' or '}' in a concat, found %s", shown(name, text));
    if (branch)
        return fail_at(p, name.text, "expected a layer, found 'branch'; branches stand in the braces of a concat");
    if (is_word(name, "shortcut"))
        return fail_at(p, name.text, "expected a layer, found 'shortcut'; it follows the '}' of a residual's body");
    return parse_layer(p, name);
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
    static const char *const words[] = {
        [FRAME_REPEAT] = "repeat", [FRAME_BODY] = "residual", [FRAME_SHORTCUT] = "residual",
        [FRAME_CONCAT] = "concat", [FRAME_BRANCH] = "branch",
    };
    EK_TRY(parse_input(p));
    word name = next_statement(p);
    for (; name.length > 0; name = next_statement(p))
        EK_TRY(parse_statement(p, name));
    const frame *f = innermost(p);
    if (f)
        return fail_at(p, name.text, "expected '}' for the %s of line %jd, found the end of the text", words[f->kind],
                       (intmax_t)f->word.line_number);
    return EK_OK;
}

ek_status ek_net_read(ek_net **net, const char *text, const char *name)
{
    *net = NULL;
    if (!text)
        return ek_fail(EK_ERR_ARGUMENT, "ek_net_parse: text is NULL");
    parser p = {.name = name ? name : "net", .now = {.line = text, .at = text, .line_number = 1}};
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
