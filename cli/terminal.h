/* SPDX-License-Identifier: MIT
 * A terminal to draw on: what it can show, how large it is, and writing to it without ever waiting for it. */
#ifndef TERMINAL_H
#define TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

typedef enum cli_drawing { DRAW_AUTO, DRAW_UNICODE, DRAW_ASCII, DRAW_NONE } cli_drawing;

typedef struct cli_terminal {
    int fd;     /* -1: none */
    bool waits; /* fd may block: it is written to in small pieces, when it says that it has room */
    bool unicode;
    int colours; /* 0, 8 or 256 */
    int columns, rows;
    char *out; /* what is still to be written */
    size_t size, sent, room;
} cli_terminal;

/* Whether this process runs on a terminal that can move its cursor: TERM is set and not "dumb", standard output and
 * standard error are the same terminal. What it shows: Unicode where the locale's encoding is UTF-8 (LC_ALL, LC_CTYPE,
 * LANG), ASCII alone on the Linux console, whose font lacks braille; colours unless NO_COLOR is set. */
bool cli_terminal_open(cli_terminal *terminal, cli_drawing drawing);
void cli_terminal_close(cli_terminal *terminal);

/* Whether this process is in the foreground, or the terminal one that knows of no such thing. */
bool cli_terminal_is_ours(const cli_terminal *terminal);

/* Looks up the size: COLUMNS and LINES where they are set, else what the terminal says, else 80 by 24. */
void cli_terminal_measure(cli_terminal *terminal);

/* Queues text; writes as much of what is queued as the terminal takes at once, true when nothing is left; the same, but
 * waits for it up to so many seconds. Text is lost where memory is short, and where the terminal is gone. */
void cli_terminal_add(cli_terminal *terminal, const char *text, size_t size);
bool cli_terminal_send(cli_terminal *terminal);
bool cli_terminal_drain(cli_terminal *terminal, double seconds);

/* Whether the environment asks for UTF-8. */
bool cli_utf8_locale(void);

#endif
