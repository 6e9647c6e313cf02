/* SPDX-License-Identifier: MIT
 * Messages, results that are checked to have been written, JSON values, and the progress line. */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Messages ------------------------------------------------------------------------------------------------- */

int cli_utf8_length(const unsigned char *text, size_t size)
{
    const unsigned char lead = text[0];
    const int length = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if ((size_t)length > size)
        return 0;
    for (int i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    const bool wrong = (lead == 0xe0 && text[1] < 0xa0) || (lead == 0xed && text[1] > 0x9f) ||
                       (lead == 0xf0 && text[1] < 0x90) || (lead == 0xf4 && text[1] > 0x8f);
    return wrong ? 0 : length;
}

/* Whether the character at `text`, `length` long or 0 for a byte that is none, could steer a terminal: the control
 * characters below U+0020 and from U+007F to U+009F, and the bare bytes of the latter. */
static bool steers(const unsigned char *text, int length)
{
    return *text < 0x20 || (*text >= 0x7f && *text < 0xa0) || (length == 2 && *text == 0xc2 && text[1] < 0xa0);
}

/* File names and file contents reach messages: one line stays one line, and nothing steers the terminal. */
static void make_plain(char *text)
{
    unsigned char *at = (unsigned char *)text;
    for (size_t left = strlen(text); left > 0;) {
        const int length = cli_utf8_length(at, left);
        const size_t bytes = length ? (size_t)length : 1;
        if (steers(at, length))
            memset(at, '?', bytes);
        at += bytes;
        left -= bytes;
    }
}

static void say(const cli_command *self, const char *before, const char *format, va_list arguments)
{
    char text[2048];
    vsnprintf(text, sizeof text, format, arguments);
    make_plain(text);
    fflush(stdout); /* where both are the same terminal, in order */
    fprintf(stderr, "evenkeel%s%s: %s%s\n", *self->name ? " " : "", self->name, before, text);
}

int cli_fail(const cli_command *self, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(self, "", format, arguments);
    va_end(arguments);
    return CLI_FAILED;
}

int cli_usage(const cli_command *self, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(self, "", format, arguments);
    va_end(arguments);
    return CLI_USAGE;
}

void cli_warn(const cli_command *self, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say(self, "warning: ", format, arguments);
    va_end(arguments);
}

static int output_error; /* errno of the first flush that failed */

bool cli_flush(void)
{
    errno = 0;
    if (fflush(stdout) && !output_error)
        output_error = errno;
    return !ferror(stdout);
}

int cli_finish(const cli_command *self, int status)
{
    if (cli_flush() || status != CLI_DONE)
        return status; /* a failure has had its line */
    return cli_fail(self, "standard output: %s", output_error ? strerror(output_error) : "cannot be written");
}

/* ---- Text and JSON -------------------------------------------------------------------------------------------- */

void cli_put(const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text;
    for (const unsigned char *end = at + size; at < end;) {
        const int length = cli_utf8_length(at, (size_t)(end - at));
        const int bytes = length ? length : 1;
        if (steers(at, length))
            printf("%.*s", bytes, "??");
        else
            fwrite(at, 1, (size_t)bytes, stdout);
        at += bytes;
    }
}

void cli_put_text(const char *text)
{
    cli_put(text, strlen(text));
}

const char *cli_quote(const char *word, char quoted[CLI_QUOTED])
{
    size_t at = 0;
    quoted[at++] = '\'';
    for (; *word && at + 6 < CLI_QUOTED; word++) {
        const char *text = *word == '\'' ? "'\\''" : NULL;
        const size_t length = text ? strlen(text) : 1;
        memcpy(quoted + at, text ? text : word, length);
        at += length;
    }
    quoted[at++] = '\'';
    quoted[at] = 0;
    return quoted;
}

void cli_put_saved(const char *path)
{
    struct stat file, out;
    if (!stat(path, &file) && !fstat(STDOUT_FILENO, &out) && file.st_dev == out.st_dev && file.st_ino == out.st_ino)
        return;
    fputs("saved ", stdout);
    cli_put_text(path);
    putchar('\n');
}

/* Unicode's noncharacters, U+FDD0 to U+FDEF and the last two of each plane, which cairo takes for damage. */
static bool is_noncharacter(const unsigned char *text, int length)
{
    unsigned code = 0;
    for (int i = 0; i < length; i++)
        code = code << 6 | (i ? text[i] & 0x3fu : text[i] & 0x0fu); /* the plane's number does not count */
    return length > 2 && ((code & 0xfffe) == 0xfffe || (length == 3 && code >= 0xfdd0 && code <= 0xfdef));
}

size_t cli_copy_text(char *to, size_t room, const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t length = 0;
    for (const unsigned char *end = at + size; at < end;) {
        const int found = cli_utf8_length(at, (size_t)(end - at));
        const bool shown = found && !steers(at, found) && !is_noncharacter(at, found);
        const size_t bytes = shown ? (size_t)found : 1;
        if (length + bytes >= room)
            break;
        memcpy(to + length, shown ? (const char *)at : "?", bytes);
        length += bytes;
        at += found ? found : 1;
    }
    to[length] = 0;
    return length;
}

void cli_json_put(FILE *to, const char *text)
{
    putc('"', to);
    const unsigned char *at = (const unsigned char *)text;
    for (const unsigned char *end = at + strlen(text); at < end;) {
        const int length = cli_utf8_length(at, (size_t)(end - at));
        if (length == 0)
            fputs("\\ufffd", to);
        else if (*at == '\n')
            fputs("\\n", to);
        else if (steers(at, length))
            fprintf(to, "\\u%04x", length == 2 ? at[1] : at[0]);
        else if (*at == '"' || *at == '\\')
            fprintf(to, "\\%c", *at);
        else
            fwrite(at, 1, (size_t)length, to);
        at += length ? length : 1;
    }
    putc('"', to);
}

void cli_json_string(const char *text)
{
    cli_json_put(stdout, text);
}

void cli_json_number(double value)
{
    if (isfinite(value))
        printf("%.9g", value);
    else
        fputs("null", stdout);
}

/* ---- Progress ------------------------------------------------------------------------------------------------- */

static const double progress_interval = 0.1; /* seconds */

double cli_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void cli_progress_begin(cli_progress *progress)
{
    const char *terminal = getenv("TERM");
    *progress = (cli_progress){.on = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0};
}

bool cli_progress_due(cli_progress *progress)
{
    return progress->on && cli_now() >= progress->next;
}

void cli_progress_show(cli_progress *progress, const char *format, ...)
{
    char text[256];
    struct winsize window = {0};
    va_list arguments;
    if (!progress->on)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    make_plain(text);
    /* One column stays free: a full line would wrap, and could not be rewritten. */
    const int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &window) || window.ws_col < 2 ? 80 : window.ws_col;
    fprintf(stderr, "\r%.*s\033[K", columns - 1, text);
    fflush(stderr);
    progress->shown = true;
    progress->next = cli_now() + progress_interval;
}

void cli_progress_clear(cli_progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}

/* ---- Files ---------------------------------------------------------------------------------------------------- */

static sigset_t signals_before;

void cli_signals_hold(void)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_BLOCK, &held, &signals_before);
}

void cli_signals_release(void)
{
    sigprocmask(SIG_SETMASK, &signals_before, NULL);
}

int cli_write_whole(int fd, const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t written = write(fd, text, size);
        if (written < 0 && errno != EINTR)
            return errno;
        text += written > 0 ? written : 0;
        size -= written > 0 ? (size_t)written : 0;
    }
    return 0;
}

/* What a file has to have before its name: the usual permissions, or those of the one it replaces. */
static int finish_new(int fd, bool exists, mode_t mode)
{
    const mode_t mask = umask(0);
    umask(mask);
    return fchmod(fd, exists ? mode & 0777 : 0666 & ~mask) || fsync(fd) ? errno : 0;
}

/* Makes the new name last; a folder that cannot be synced is no failure, since the file has its name by then. */
static void sync_folder(char *target)
{
    char *slash = strrchr(target, '/');
    if (slash)
        slash[slash == target] = 0;
    const int fd = open(slash ? target : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

/* Writes it all to the descriptor and closes it; the errno that stood in the way. */
static int write_and_close(int fd, const struct stat *new_file, bool exists, const char *data, size_t size)
{
    if (fd < 0)
        return errno;
    int error = cli_write_whole(fd, data, size);
    if (new_file && !error)
        error = finish_new(fd, exists, new_file->st_mode);
    if (close(fd) && !error)
        error = errno;
    return error;
}

int cli_write_file(const char *path, const char *data, size_t size)
{
    struct stat info;
    char target[PATH_MAX], name[PATH_MAX + 16];
    const bool exists = stat(path, &info) == 0;
    if (strlen(path) >= sizeof target)
        return ENAMETOOLONG;
    if (exists && !S_ISREG(info.st_mode))
        return write_and_close(open(path, O_WRONLY | O_CLOEXEC), NULL, true, data, size);
    strcpy(target, path);
    if (exists && (access(path, W_OK) || !realpath(path, target))) /* what a link points to is replaced */
        return errno;
    snprintf(name, sizeof name, "%s.tmp-XXXXXX", target);
    cli_signals_hold();
    const int fd = mkstemp(name);
    int error = write_and_close(fd, &info, exists, data, size);
    if (!error && rename(name, target))
        error = errno;
    if (fd >= 0 && error)
        unlink(name);
    if (!error)
        sync_folder(target);
    cli_signals_release();
    return error;
}

/* The errno that stands in the way of a file of `size` bytes beside `target`, 0 for none. */
static int try_file_beside(const char *target, int64_t size)
{
    char name[PATH_MAX + 16];
    snprintf(name, sizeof name, "%s.tmp-XXXXXX", target);
    cli_signals_hold();
    const int fd = mkstemp(name);
    int error = fd < 0 ? errno : 0;
    if (fd >= 0) {
        error = posix_fallocate(fd, 0, size);
        if (error == EOPNOTSUPP || error == EINVAL)
            error = 0; /* this file system cannot tell */
        close(fd);
        unlink(name);
    }
    cli_signals_release();
    return error;
}

int cli_probe_output(const cli_command *self, const char *path, int64_t size)
{
    struct stat info;
    char target[PATH_MAX];
    int error = 0;
    if (strlen(path) >= sizeof target)
        return cli_fail(self, "%.60s...: cannot be written: %s", path, strerror(ENAMETOOLONG));
    strcpy(target, path);
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode))
            return cli_fail(self, "%s: a folder; give the name of a file", path);
        if (access(path, W_OK) || (S_ISREG(info.st_mode) && !realpath(path, target)))
            error = errno;
        else if (S_ISREG(info.st_mode))
            error = try_file_beside(target, size);
    } else if (errno != ENOENT) {
        error = errno;
    } else if (lstat(path, &info) == 0) {
        return cli_fail(self, "%s: a symbolic link to what does not exist", path);
    } else if ((error = try_file_beside(target, size)) == ENOENT) {
        return cli_fail(self, "%s: cannot be written: its folder does not exist", path);
    }
    return error ? cli_fail(self, "%s: cannot be written: %s", path, strerror(error)) : CLI_GO;
}
