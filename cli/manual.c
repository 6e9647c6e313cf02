/* SPDX-License-Identifier: MIT
 * Pages of the manual, in mdoc: what the tables of commands and options say. */
#include "describe.h"

#include <string.h>

/* A page needs a command's table twice, so its command runs twice. */
static enum { SYNOPSIS, DESCRIPTION } part;

/* ---- Text ----------------------------------------------------------------------------------------------------- */

/* Nothing in it is an instruction to the formatter, and what is copied from the page is what was written. The formatter
 * wants each sentence to begin a line; not in what is shown as it is, `literal`. */
static void put_lines(const char *text, bool literal)
{
    bool begins = true; /* a line */
    for (; *text; begins = *text == '\n', text++) {
        if (begins && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (!literal && text[0] == '.' && text[1] == ' ') {
            fputs(".\n", stdout);
            text++;
            continue;
        }
        switch (*text) {
        case '\\':
            fputs("\\e", stdout);
            break;
        case '-':
            fputs("\\-", stdout);
            break;
        case '\'':
            fputs("\\(aq", stdout);
            break;
        case '`':
            fputs("\\(ga", stdout);
            break;
        case '^':
            fputs("\\(ha", stdout);
            break;
        case '~':
            fputs("\\(ti", stdout);
            break;
        case '"':
            fputs("\\(dq", stdout);
            break; /* else it would quote a macro's words */
        default:
            putchar(*text);
        }
    }
}

static void put(const char *text)
{
    put_lines(text, false);
}

/* Command lines, each without the two blanks that --help begins it with. */
static void put_example(const char *example)
{
    printf(".Bd -literal -offset indent\n");
    for (const char *line = example; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        char text[256];
        line += strspn(line, " ");
        snprintf(text, sizeof text, "%.*s\n", (int)strcspn(line, "\n"), line);
        put_lines(text, true);
    }
    printf(".Ed\n");
}

/* ---- Options -------------------------------------------------------------------------------------------------- */

static void put_synopsis(const cli_command *self, const cli_option *options)
{
    printf(".Nm evenkeel ");
    put(self->name);
    putchar('\n');
    for (const cli_option *option = options; option->name; option++) {
        if (!cli_is_operand(option) && !option->required)
            continue;
        printf(option->required ? "." : ".Op ");
        if (cli_is_operand(option))
            printf("Ar ");
        else
            printf("Fl Fl %s Ar ", option->name + 2);
        put(cli_is_operand(option) ? option->name : option->value);
        putchar('\n');
    }
    printf(".Op Ar OPTION ...\n");
}

static void put_option(const cli_option *option)
{
    printf(".It ");
    if (cli_is_operand(option))
        printf("Ar ");
    else if (option->letter)
        printf("Fl %c , Fl Fl ", option->letter);
    else
        printf("Fl Fl ");
    put(option->name + (cli_is_operand(option) ? 0 : 2));
    if (option->value) {
        printf(option->implied ? " Ns Op = Ns Ar " : " Ar ");
        put(option->value);
    }
    putchar('\n');
    put(option->help);
    putchar('\n');
}

int cli_manual_options(const cli_command *self, const cli_option *options)
{
    if (part == SYNOPSIS) {
        put_synopsis(self, options);
        return CLI_DONE;
    }
    put(self->text);
    if (options->name) {
        printf(".Bl -tag -width Ds\n");
        for (const cli_option *option = options; option->name; option++)
            put_option(option);
        printf(".El\n");
    }
    return CLI_DONE;
}

/* ---- Pages ---------------------------------------------------------------------------------------------------- */

static void put_title(const char *name, const char *summary)
{
    printf(".Dt EVENKEEL%s", *name ? "-" : "");
    for (const char *letter = name; *letter; letter++)
        putchar(*letter >= 'a' && *letter <= 'z' ? *letter - 'a' + 'A' : *letter);
    printf(" 1\n.Os Evenkeel %s\n.Sh NAME\n.Nm evenkeel%s%s\n.Nd ", ek_version(), *name ? "-" : "", name);
    put(summary);
    putchar('\n');
}

static void put_exit_status(void)
{
    printf(".Sh EXIT STATUS\n.Bl -tag -width Ds\n.It 0\ndone\n.It 1\nfailed\n.It 2\nwrong usage\n.El\n");
}

static int run(const cli_command *command)
{
    char *none[] = {NULL};
    return command->run(command, 0, none);
}

static int page(const cli_command *command)
{
    const cli_command single[] = {*command, {.name = NULL}};
    const cli_command *all = command->commands ? command->commands : single;
    put_title(command->name, command->summary);
    printf(".Sh SYNOPSIS\n");
    part = SYNOPSIS;
    for (const cli_command *one = all; one->name; one++)
        run(one);
    printf(".Sh DESCRIPTION\n");
    if (command->commands)
        put(command->text);
    part = DESCRIPTION;
    for (const cli_command *one = all; one->name; one++) {
        if (command->commands) {
            printf(".Ss evenkeel ");
            put(one->name);
            putchar('\n');
        }
        run(one);
    }
    printf(".Pp\nWhat stands in parentheses is the default.\nEvery command has\n.Fl h , Fl Fl help .\n");
    put_exit_status();
    printf(".Sh EXAMPLES\n");
    for (const cli_command *one = all; one->name; one++)
        put_example(one->example);
    printf(".Sh SEE ALSO\n.Xr evenkeel 1\n");
    return CLI_DONE;
}

static int overview(const cli_command *commands)
{
    put_title("", "train, check and ship batch-normalised convolutional networks");
    printf(".Sh SYNOPSIS\n.Nm\n.Ar COMMAND\n.Op Ar OPTION ...\n.Nm\n.Ar COMMAND\n.Fl Fl help\n.Nm\n.Fl Fl version\n"
           ".Sh DESCRIPTION\nEach command has a page of its own:\n.Bl -tag -width Ds\n");
    for (; commands->name; commands++) {
        printf(".It Xr evenkeel-%s 1\n", commands->name);
        put(commands->summary);
        putchar('\n');
    }
    printf(".El\n");
    put_exit_status();
    printf(".Sh EXAMPLES\n");
    put_example("evenkeel train --out model.safetensors && evenkeel eval model.safetensors\n");
    printf(".Sh SEE ALSO\n.Xr evenkeel 3\n");
    return CLI_DONE;
}

int cli_manual(const cli_command *commands, int argc, char **argv)
{
    if (argc < 1)
        return overview(commands);
    for (; commands->name; commands++)
        if (!strcmp(commands->name, argv[0]))
            return page(commands);
    return CLI_USAGE;
}
