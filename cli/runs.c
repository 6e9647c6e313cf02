/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "runs.h"
#include "json_read.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EPOCHS_MAX = CLI_COUNT_MAX, RUNS_MAX = 4096 };
static const size_t size_max = (size_t)1 << 30; /* of a log */

/* ---- Records --------------------------------------------------------------------------------------------------- */

/* What every record has. */
static bool read_words(cli_span line, char *event, size_t event_size, char *run, size_t run_size)
{
    cli_span value;
    return cli_json_is_valid(line) && cli_json_member(line, "event", &value) &&
           cli_json_read_text(value, event, event_size) && cli_json_member(line, "run", &value) &&
           cli_json_read_text(value, run, run_size);
}

static cli_run *find_run(cli_runs *runs, int first, const char *id)
{
    for (int i = runs->count - 1; i >= first; i--)
        if (!strcmp(runs->run[i].id, id))
            return &runs->run[i];
    return NULL;
}

/* An array of `size` bytes an element with room for one more than `count`, or NULL, the old one being as it was. */
static void *grown(void *array, int count, int *room, size_t size)
{
    if (count < *room)
        return array;
    const int larger = 2 * *room + 16;
    void *more = realloc(array, (size_t)larger * size);
    if (more)
        *room = larger;
    return more;
}

static double number_of(cli_span record, const char *key)
{
    cli_span value;
    return cli_json_member(record, key, &value) ? cli_json_read_real(value) : NAN;
}

static bool add_run(cli_runs *runs, const char *id, cli_span record)
{
    cli_span net, value;
    cli_run *room = grown(runs->run, runs->count, &runs->room, sizeof *room);
    if (!room)
        return false;
    runs->run = room;
    cli_run *run = &runs->run[runs->count++];
    *run = (cli_run){.epochs = 0};
    snprintf(run->id, sizeof run->id, "%s", id);
    if (cli_json_member(record, "net", &net) && cli_json_member(net, "name", &value))
        cli_json_read_text(value, run->net, sizeof run->net);
    if (cli_json_member(record, "time", &value))
        cli_json_read_text(value, run->begun, sizeof run->begun);
    if (cli_json_member(record, "instruction_set", &value))
        cli_json_read_text(value, run->instruction_set, sizeof run->instruction_set);
    const double threads = number_of(record, "threads");
    run->threads = threads >= 1 && threads <= CLI_THREADS_MAX ? (int)threads : 0;
    return true;
}

bool cli_run_add(cli_run *run, const cli_epoch *epoch)
{
    cli_epoch *room = grown(run->epoch, run->epochs, &run->room, sizeof *room);
    if (!room)
        return false;
    run->epoch = room;
    run->epoch[run->epochs++] = *epoch;
    return true;
}

static bool add_epoch(cli_run *run, cli_span record)
{
    static const char *const keys[RUN_CURVES] = {"train_loss", "val_loss", "val_accuracy"};
    const double epoch = number_of(record, "epoch");
    const int before = run->epochs ? run->epoch[run->epochs - 1].epoch : 0;
    if (!(epoch >= before + 1 && epoch <= EPOCHS_MAX))
        return true;
    cli_epoch e = {.epoch = (int)epoch,
                   .train_accuracy = number_of(record, "train_accuracy"),
                   .train_seconds = number_of(record, "train_seconds"),
                   .val_seconds = number_of(record, "val_seconds")};
    for (int i = 0; i < RUN_CURVES; i++)
        e.value[i] = number_of(record, keys[i]);
    e.moving_loss = number_of(record, "val_loss_moving");
    e.moving_accuracy = number_of(record, "val_accuracy_moving");
    e.has_moving = isfinite(e.moving_loss) && isfinite(e.moving_accuracy);
    return cli_run_add(run, &e);
}

static void free_run(cli_run *run)
{
    free(run->epoch);
}

/* A run that goes on with another is one with it: that one's epochs up to where it began, and its own. */
static void join(cli_runs *runs, int first, cli_run *run, cli_span record)
{
    char id[sizeof run->id];
    cli_span value;
    cli_run *old = cli_json_member(record, "continues", &value) && cli_json_read_text(value, id, sizeof id)
                       ? find_run(runs, first, id)
                       : NULL;
    const double epochs = number_of(record, "epochs");
    if (!old || old == run || run->epochs || !(epochs >= 0))
        return;
    while (old->epochs && old->epoch[old->epochs - 1].epoch > epochs)
        old->epochs--;
    snprintf(old->id, sizeof old->id, "%s", run->id);
    free_run(run);
    const size_t behind = (size_t)(runs->run + runs->count - run) - 1;
    memmove(run, run + 1, behind * sizeof *run);
    runs->count--;
}

static bool take_line(cli_runs *runs, int first, cli_span line)
{
    char event[16], id[RUN_ID];
    if (!read_words(line, event, sizeof event, id, sizeof id))
        return true;
    cli_run *run = find_run(runs, first, id);
    if (!strcmp(event, "start") && !run) {
        runs->too_many = runs->count - first == RUNS_MAX;
        return !runs->too_many && add_run(runs, id, line);
    }
    if (run && !strcmp(event, "resume"))
        join(runs, first, run, line);
    return !run || strcmp(event, "epoch") != 0 || add_epoch(run, line);
}

bool cli_log_line(cli_span *rest, cli_span *line)
{
    const char *newline = rest->size ? memchr(rest->at, '\n', rest->size) : NULL;
    *line = (cli_span){rest->at, newline ? (size_t)(newline - rest->at) : rest->size};
    const bool some = rest->size > 0;
    const size_t taken = line->size + (newline != NULL);
    *rest = (cli_span){rest->at + taken, rest->size - taken};
    return some;
}

bool cli_runs_parse(cli_runs *runs, const char *text, size_t size)
{
    const int first = runs->count;
    cli_span line;
    for (cli_span rest = {text, size}; cli_log_line(&rest, &line);)
        if (!take_line(runs, first, line))
            return false;
    return true;
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

/* The last `parts` parts of a path; all of it where there are no more. */
static const char *tail(const char *path, int parts)
{
    const char *at = path + strlen(path);
    while (at > path && (at[-1] != '/' || --parts > 0))
        at--;
    return at;
}

/* Whether another log ends in the same parts, or every other one does. */
static bool shared(const char *const *paths, int count, int log, int parts, bool by_all)
{
    for (int i = 0; i < count; i++) {
        const bool same = !strcmp(tail(paths[i], parts), tail(paths[log], parts));
        if (i != log && same != by_all)
            return !by_all;
    }
    return by_all && count > 1;
}

void cli_runs_name(const char *const *paths, int count, int log, char name[CLI_LABEL])
{
    const char *path = paths[log];
    int parts = 1;
    while (shared(paths, count, log, parts, false) && tail(path, parts) > path)
        parts++;
    const char *from = tail(path, parts), *last = tail(path, 1), *dot = strrchr(last, '.');
    const bool in_all = last > from + 1 && shared(paths, count, log, 1, true);
    const char *end = in_all ? last - 1 : dot && dot > last ? dot : last + strlen(last);
    cli_copy_text(name, CLI_LABEL, from, (size_t)(end - from));
}

/* "NAME", or of the second of three "NAME #2". */
static void label(cli_run *run, const char *name, int number, int count)
{
    const int length = snprintf(run->label, CLI_LABEL, "%s", name);
    if (count > 1)
        snprintf(run->label + length, sizeof run->label - (size_t)length, " #%d", number);
}

/* The bytes that are left of `file`, *size of them; NULL with errno. */
static char *read_rest(FILE *file, size_t most, size_t *size)
{
    char *text = NULL;
    size_t room = 0;
    *size = 0;
    for (;;) {
        if (*size == room) {
            room = 2 * room + 65536;
            char *larger = *size <= most ? realloc(text, room) : NULL;
            if (!larger) {
                errno = *size <= most ? ENOMEM : EFBIG;
                break;
            }
            text = larger;
        }
        *size += fread(text + *size, 1, room - *size, file);
        if (ferror(file))
            break;
        if (feof(file) && *size <= most)
            return text;
    }
    free(text);
    return NULL;
}

char *cli_log_read(const char *path, size_t most, size_t *size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    char *text = read_rest(file, most, size);
    const int error = errno;
    fclose(file);
    errno = error;
    return text;
}

bool cli_runs_last(const char *path, const char *folder, const char *but, char id[RUN_ID])
{
    size_t size;
    char *text = cli_log_read(path, size_max, &size), event[16], run[RUN_ID], kept[PATH_MAX];
    cli_span line, value;
    bool found = false;
    for (cli_span rest = {text, text ? size : 0}; cli_log_line(&rest, &line);) {
        if (!read_words(line, event, sizeof event, run, sizeof run) || strcmp(event, "start") != 0 ||
            !strcmp(run, but) || !cli_json_member(line, "checkpoints", &value) ||
            !cli_json_read_text(value, kept, sizeof kept) || strcmp(kept, folder) != 0)
            continue;
        memcpy(id, run, sizeof run);
        found = true;
    }
    free(text);
    return found;
}

/* Of the runs from `first` on the last that has a finished epoch, or the very last where none has. */
static void keep_last(cli_runs *runs, int first)
{
    int kept = runs->count - 1;
    while (kept > first && runs->run[kept].epochs == 0)
        kept--;
    kept = runs->run[kept].epochs ? kept : runs->count - 1;
    for (int i = first; i < runs->count; i++)
        if (i != kept)
            free_run(&runs->run[i]);
    runs->run[first] = runs->run[kept];
    runs->count = first + 1;
}

int cli_runs_read(const cli_command *self, cli_runs *runs, const char *path, const char *name, bool last)
{
    size_t size;
    char *text = cli_log_read(path, size_max, &size);
    if (!text)
        return cli_fail(self, "%s: cannot be read: %s", path, strerror(errno));
    const int first = runs->count;
    const bool parsed = cli_runs_parse(runs, text, size);
    free(text);
    if (runs->too_many)
        return cli_fail(self, "%s: more than %d runs, the most that are read of a log", path, RUNS_MAX);
    if (!parsed)
        return cli_fail(self, "%s: %s", path, strerror(ENOMEM));
    const int found = runs->count - first;
    if (found == 0)
        return cli_fail(self, "%s: no run in it; 'evenkeel train --log FILE' writes logs", path);
    for (int i = 0; i < found; i++)
        label(&runs->run[first + i], name ? name : "", i + 1, last ? 1 : found);
    if (last)
        keep_last(runs, first);
    return CLI_GO;
}

void cli_runs_free(cli_runs *runs)
{
    for (int i = 0; i < runs->count; i++)
        free_run(&runs->run[i]);
    free(runs->run);
    *runs = (cli_runs){0};
}
