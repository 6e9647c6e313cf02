/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "terminal.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 256 }; /* bytes that a terminal with room has room for */

bool cli_utf8_locale(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strcasestr(value, "UTF-8") || strcasestr(value, "UTF8");
    }
    return false;
}

static bool same_terminal(int a, int b)
{
    struct stat one, other;
    return isatty(a) && isatty(b) && fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_rdev == other.st_rdev;
}

bool cli_terminal_open(cli_terminal *t, cli_drawing drawing)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    *t = (cli_terminal){.fd = -1};
    if (drawing == DRAW_NONE || !term || !*term || !strcmp(term, "dumb") ||
        !same_terminal(STDOUT_FILENO, STDERR_FILENO))
        return false;
    t->unicode = drawing == DRAW_UNICODE || (drawing == DRAW_AUTO && cli_utf8_locale() && strcmp(term, "linux") != 0);
    t->colours = no_color && *no_color ? 0 : strstr(term, "256") || getenv("COLORTERM") ? 256 : 8;
    /* An open of our own: O_NONBLOCK on the one we were given would hold for all that share it, a shell among them. */
    const char *name = ttyname(STDOUT_FILENO);
    t->fd = name ? open(name, O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) : -1;
    t->waits = t->fd < 0;
    if (t->waits)
        t->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    cli_terminal_measure(t);
    return t->fd >= 0;
}

void cli_terminal_close(cli_terminal *t)
{
    if (t->fd >= 0)
        close(t->fd);
    free(t->out);
    *t = (cli_terminal){.fd = -1};
}

bool cli_terminal_is_ours(const cli_terminal *t)
{
    const pid_t foreground = tcgetpgrp(t->fd);
    return foreground < 0 || foreground == getpgrp();
}

/* The number in an environment variable, or `none`. */
static int number_of(const char *name, int none)
{
    const char *text = getenv(name);
    char *end;
    if (!text || !*text)
        return none;
    const long value = strtol(text, &end, 10);
    return *end || value < 1 || value > 10000 ? none : (int)value;
}

void cli_terminal_measure(cli_terminal *t)
{
    struct winsize window = {0};
    const bool known = ioctl(t->fd, TIOCGWINSZ, &window) == 0;
    t->columns = number_of("COLUMNS", known && window.ws_col > 0 ? window.ws_col : 80);
    t->rows = number_of("LINES", known && window.ws_row > 0 ? window.ws_row : 24);
}

void cli_terminal_add(cli_terminal *t, const char *text, size_t size)
{
    if (t->sent == t->size)
        t->sent = t->size = 0;
    if (size > t->room - t->size) {
        const size_t room = 2 * t->room + size;
        char *more = realloc(t->out, room);
        if (!more)
            return;
        t->out = more;
        t->room = room;
    }
    memcpy(t->out + t->size, text, size);
    t->size += size;
}

bool cli_terminal_send(cli_terminal *t)
{
    while (t->sent < t->size) {
        struct pollfd room = {.fd = t->fd, .events = POLLOUT};
        size_t piece = t->size - t->sent;
        if (t->waits && poll(&room, 1, 0) != 1)
            return false;
        if (t->waits && piece > PIECE)
            piece = PIECE;
        const ssize_t written = write(t->fd, t->out + t->sent, piece);
        if (written > 0)
            t->sent += (size_t)written;
        else if (written == 0 || errno == EAGAIN)
            return false;
        else if (errno != EINTR)
            t->sent = t->size; /* the terminal is gone */
    }
    return true;
}

bool cli_terminal_drain(cli_terminal *t, double seconds)
{
    const double until = cli_now() + seconds;
    while (!cli_terminal_send(t)) {
        struct pollfd room = {.fd = t->fd, .events = POLLOUT};
        const double left = until - cli_now();
        if (left <= 0)
            return false;
        poll(&room, 1, (int)(1000 * (left < 1 ? left : 1)) + 1);
    }
    return true;
}
