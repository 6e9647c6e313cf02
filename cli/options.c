/* SPDX-License-Identifier: MIT
 * Options and operands from one table per command: parsing, strict values, suggestions, help. */
#include "describe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char cli_exit_text[] = "Exit status: 0 done, 1 failed, 2 wrong usage.\n";

enum { OPTIONS_MAX = 128, COLUMN = 24 };

cli_asked cli_is_asked = ASKED_WORK;

bool cli_is_operand(const cli_option *option)
{
    return option->name[0] != '-';
}

/* ---- Help ----------------------------------------------------------------------------------------------------- */

static void print_option(const cli_option *option)
{
    char left[64];
    char letter[] = {'-', option->letter, ',', ' ', 0};
    snprintf(left, sizeof left, "%s%s%s%s%s", option->letter ? letter : "", option->name,
             option->implied ? "[="
             : option->value ? " "
                             : "",
             option->value ? option->value : "", option->implied ? "]" : "");
    if (strlen(left) < COLUMN)
        printf("  %-*s%s\n", COLUMN, left, option->help);
    else
        printf("  %s\n  %-*s%s\n", left, COLUMN, "", option->help);
}

static void print_help(const cli_command *self, const cli_option *options)
{
    printf("Usage: evenkeel %s", self->name);
    for (const cli_option *option = options; option->name; option++) {
        if (cli_is_operand(option))
            printf(option->required ? " %s" : " [%s]", option->name);
        else if (option->required)
            printf(" %s %s", option->name, option->value);
    }
    printf(" [OPTION ...]\n\n%s\n", self->text);
    for (const cli_option *option = options; option->name; option++)
        print_option(option);
    printf("  %-*s%s\n\n", COLUMN, "-h, --help", "this text");
    printf("Example:\n%s\n%s", self->example, cli_exit_text);
}

/* ---- Suggestions ---------------------------------------------------------------------------------------------- */

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Letters to insert, delete or replace to make b of a; words of more than 31 letters count as far apart. */
static int distance(const char *a, const char *b)
{
    enum { LETTERS = 32 };
    const size_t width = strlen(b);
    int row[LETTERS];
    if (width >= LETTERS || strlen(a) >= LETTERS)
        return LETTERS;
    for (size_t j = 0; j <= width; j++)
        row[j] = (int)j;
    for (int i = 1; *a; a++, i++) {
        int diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            const int replaced = diagonal + (*a != b[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, 1 + least(row[j], row[j - 1]));
        }
    }
    return row[width];
}

const char *cli_nearest(const char *word, const char *const *known)
{
    const char *nearest = NULL;
    int nearest_distance = 3; /* two slips at most, less than half of the word */
    const size_t length = strlen(word);
    for (const char *const *name = known; *name && length > 3; name++)
        if (!strncmp(*name, word, length))
            return *name; /* the word is its beginning */
    for (; *known; known++) {
        const int d = distance(word, *known);
        if (d < nearest_distance && 2 * d < (int)strlen(*known)) {
            nearest = *known;
            nearest_distance = d;
        }
    }
    return nearest;
}

static int unknown_option(const cli_command *self, const cli_option *options, const char *word, size_t length)
{
    const char *names[OPTIONS_MAX + 2];
    char name[64];
    int count = 0;
    for (; options->name && count < OPTIONS_MAX; options++)
        if (!cli_is_operand(options))
            names[count++] = options->name;
    names[count++] = "--help";
    names[count] = NULL;
    snprintf(name, sizeof name, "%.*s", length < sizeof name ? (int)length : (int)sizeof name - 1, word);
    const char *nearest = cli_nearest(name, names);
    if (nearest)
        return cli_usage(self, "there is no option '%s'; did you mean '%s'?", name, nearest);
    return cli_usage(self, "there is no option '%s'; 'evenkeel %s --help' lists them", name, self->name);
}

/* ---- Values --------------------------------------------------------------------------------------------------- */

/* Decimal digits after an optional minus, nothing before or behind; false also for what does not fit. */
static bool read_integer(const char *word, int64_t *value)
{
    const char *digits = word + (*word == '-');
    if (!*digits || digits[strspn(digits, "0123456789")])
        return false;
    errno = 0;
    *value = strtoll(word, NULL, 10);
    return errno == 0;
}

static bool read_seed(const char *word, uint64_t *value)
{
    if (!*word || word[strspn(word, "0123456789")])
        return false;
    errno = 0;
    *value = strtoull(word, NULL, 10);
    return errno == 0;
}

/* A decimal number, with or without an exponent. No locale is set, so the point is a point. */
static bool read_number(const char *word, double *value)
{
    char *end;
    if (!*word || word[strspn(word, "0123456789+-.eE")])
        return false;
    *value = strtod(word, &end);
    return *end == 0;
}

static int take_value(const cli_command *self, const cli_option *option, const char *word)
{
    if (option->text) {
        if (!*word)
            return cli_usage(self, "%s: the value is empty", option->name);
        *option->text = word;
    } else if (option->values) {
        if (!*word)
            return cli_usage(self, "%s: the value is empty", option->name);
        if (option->values->count == CLI_VALUES_MAX)
            return cli_usage(self, "%s is given more than %d times", option->name, CLI_VALUES_MAX);
        option->values->value[option->values->count++] = word;
    } else if (option->seed) {
        if (!read_seed(word, option->seed))
            return cli_usage(self, "%s: '%s' is not a whole number from 0 to %ju", option->name, word,
                             (uintmax_t)UINT64_MAX);
    } else if (option->number) {
        double value;
        if (!read_number(word, &value) || !(value >= option->low && value <= option->high))
            return cli_usage(self, "%s: '%s' is not a number from %g to %.10g", option->name, word, option->low,
                             option->high);
        *option->number = value;
    } else {
        int64_t value;
        if (!read_integer(word, &value) || value < (int64_t)option->low || value > (int64_t)option->high)
            return cli_usage(self, "%s: '%s' is not a whole number from %.0f to %.0f", option->name, word,
                             option->low, option->high);
        if (option->integer)
            *option->integer = (int)value;
        else
            *option->count = value;
    }
    return CLI_GO;
}

/* ---- Parsing -------------------------------------------------------------------------------------------------- */

typedef struct parser {
    const cli_command *self;
    const cli_option *options;
    int argc, at;
    char **argv;
    bool given[OPTIONS_MAX];
} parser;

const cli_option *cli_find_option(const cli_option *options, const char *word, size_t length)
{
    for (const cli_option *option = options; option->name; option++) {
        const bool letter = option->letter && length == 2 && word[1] == option->letter;
        if (!cli_is_operand(option) &&
            (letter || (strlen(option->name) == length && !strncmp(option->name, word, length))))
            return option;
    }
    return NULL;
}

/* "--name value", "--name=value", "-o value" or "--flag". */
static int parse_option(parser *p, const char *word)
{
    const char *equals = strchr(word, '=');
    const size_t length = equals ? (size_t)(equals - word) : strlen(word);
    const cli_option *option = cli_find_option(p->options, word, length);
    if (!option)
        return unknown_option(p->self, p->options, word, length);
    p->given[option - p->options] = true;
    if (option->flag) {
        if (equals)
            return cli_usage(p->self, "%s takes no value", option->name);
        *option->flag = true;
        return CLI_GO;
    }
    if (!equals && option->implied)
        return take_value(p->self, option, option->implied);
    if (!equals && p->at == p->argc)
        return cli_usage(p->self, "%s needs a value: %s", option->name, option->value);
    return take_value(p->self, option, equals ? equals + 1 : p->argv[p->at++]);
}

/* There are no more words than have been read of argv, so those it is written over are done with. */
static int add_word(parser *p, const cli_option *option, char *word)
{
    if (!*word)
        return cli_usage(p->self, "%s: an empty word", option->name);
    option->words->word = (const char **)p->argv;
    p->argv[option->words->count++] = word;
    return CLI_GO;
}

static int parse_operand(parser *p, char *word)
{
    for (const cli_option *option = p->options; option->name; option++) {
        bool *given = &p->given[option - p->options];
        if (cli_is_operand(option) && (!*given || option->words)) {
            *given = true;
            return option->words ? add_word(p, option, word) : take_value(p->self, option, word);
        }
    }
    return cli_usage(p->self, "'%s' is one word too many", word);
}

int cli_parse(const cli_command *self, const cli_option *options, int argc, char **argv)
{
    parser p = {.self = self, .options = options, .argc = argc, .argv = argv};
    bool only_operands = false;
    if (cli_is_asked == ASKED_COMPLETION)
        return cli_complete_options(options, argc, argv);
    if (cli_is_asked == ASKED_MANUAL)
        return cli_manual_options(self, options);
    while (p.at < argc) {
        char *word = argv[p.at++];
        int status = CLI_GO;
        if (!only_operands && (!strcmp(word, "--help") || !strcmp(word, "-h"))) {
            print_help(self, options);
            return cli_finish(self, CLI_DONE);
        }
        if (!only_operands && !strcmp(word, "--"))
            only_operands = true;
        else if (!only_operands && word[0] == '-' && word[1])
            status = parse_option(&p, word);
        else
            status = parse_operand(&p, word);
        if (status != CLI_GO)
            return status;
    }
    for (const cli_option *option = options; option->name; option++)
        if (option->required && !p.given[option - options])
            return cli_usage(self, "%s is missing; 'evenkeel %s --help' explains", option->name, self->name);
    return CLI_GO;
}
