/* SPDX-License-Identifier: MIT
 * Candidates for a shell's completion. */
#include "describe.h"

#include <string.h>

enum { OPTIONS_MAX = 128 };

/* A part of a word, or of a text. */
typedef struct piece {
    const char *text;
    int length;
} piece;

/* Whether the list that stands before it, "a,b,", has the word. */
static bool is_in(piece before, const char *word, int length)
{
    const char *end = before.text + before.length;
    for (const char *at = before.text, *next; at < end; at = next + 1) {
        next = memchr(at, ',', (size_t)(end - at));
        if (!next)
            return false;
        if (next - at == length && !strncmp(at, word, (size_t)length))
            return true;
    }
    return false;
}

static void candidate(piece before, const char *word, int length, const char *what)
{
    if (!is_in(before, word, length))
        printf("%.*s%.*s\t%.*s\n", before.length, before.text, length, word, (int)strcspn(what, "\n"), what);
}

void cli_candidate(const char *word, const char *what)
{
    candidate((piece){"", 0}, word, (int)strlen(word), what);
}

/* ---- Values --------------------------------------------------------------------------------------------------- */

static bool is_file(const char *token, size_t length)
{
    static const char *const names[] = {"FILE", "MODEL", "LOG", "IMAGE", NULL};
    for (const char *const *name = names; *name; name++)
        if (length >= strlen(*name) && !strncmp(token, *name, strlen(*name)))
            return true;
    return false;
}

/* What an option's value may be follows from what the help calls it: "FILE" and "DIR" are what they say, "NAME|DIR" is
 * a data set, "NAME|FILE" a net, and words in small letters, as in "grey|rgb", stand for themselves. Options of other
 * names have them in `choice`. */
static void complete_value(const cli_option *option, const char *word, const char *value)
{
    const char *text = cli_is_operand(option) ? option->name : option->value;
    const char *comma = option->list ? strrchr(value, ',') : NULL;
    const piece before = {word, (int)((comma ? comma + 1 : value) - word)};
    const char *(*choice)(int i) = !strcmp(text, "NAME|DIR")    ? ek_dataset_known_name
                                   : !strcmp(text, "NAME|FILE") ? ek_net_builtin_name
                                                                : option->choice;
    for (int i = 0; choice && choice(i); i++)
        candidate(before, choice(i), (int)strlen(choice(i)),
                  choice == ek_net_builtin_name ? ek_net_builtin_text(i) : "");
    for (const char *token = text; *token; token += strspn(token, "|,")) {
        const size_t length = strcspn(token, "|,");
        if (is_file(token, length))
            printf("\tfiles\t%.*s\n", before.length, before.text);
        else if (!strncmp(token, "DIR", 3))
            printf("\tfolders\t%.*s\n", before.length, before.text);
        else if (strspn(token, "abcdefghijklmnopqrstuvwxyz0123456789-") == length)
            candidate(before, token, (int)length, "");
        token += length;
    }
}

/* ---- Options -------------------------------------------------------------------------------------------------- */

static void complete_names(const cli_option *options, const bool *given)
{
    for (const cli_option *option = options; option->name; option++)
        if (!cli_is_operand(option) && (!given[option - options] || option->values))
            cli_candidate(option->name, option->help);
    cli_candidate("--help", "how it is used");
}

static const cli_option *next_operand(const cli_option *options, const bool *given)
{
    for (const cli_option *option = options; option->name; option++)
        if (cli_is_operand(option) && (!given[option - options] || option->words))
            return option;
    return NULL;
}

int cli_complete_options(const cli_option *options, int argc, char **argv)
{
    bool given[OPTIONS_MAX] = {false}, only_operands = false;
    const cli_option *waiting = NULL; /* for its value */
    for (int i = 0; i + 1 < argc; i++) {
        const char *word = argv[i];
        const cli_option *option = NULL;
        if (waiting) {
            waiting = NULL;
            continue;
        }
        if (!only_operands && word[0] == '-' && word[1]) {
            only_operands = !strcmp(word, "--");
            option = cli_find_option(options, word, strcspn(word, "="));
            waiting = option && !option->flag && !option->implied && !strchr(word, '=') ? option : NULL;
        } else {
            option = next_operand(options, given);
        }
        if (option)
            given[option - options] = true;
    }
    const char *word = argc > 0 ? argv[argc - 1] : "";
    const char *equals = strchr(word, '=');
    const bool dashed = !only_operands && word[0] == '-';
    const cli_option *operand = next_operand(options, given);
    const cli_option *option = dashed && equals ? cli_find_option(options, word, (size_t)(equals - word)) : NULL;
    if (waiting)
        complete_value(waiting, word, word);
    else if (option && !option->flag)
        complete_value(option, word, equals + 1);
    else if (!dashed && operand)
        complete_value(operand, word, word);
    else if (!only_operands && !equals)
        complete_names(options, given);
    return CLI_DONE;
}

int cli_complete_commands(const char *before, const cli_command *commands)
{
    for (; commands->name; commands++) {
        const char *last = strrchr(commands->name, ' ');
        const char *name = last ? last + 1 : commands->name;
        candidate((piece){before, (int)strlen(before)}, name, (int)strlen(name), commands->summary);
    }
    return CLI_DONE;
}
