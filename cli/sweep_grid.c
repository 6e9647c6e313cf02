/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "json.h"
#include "json_read.h"
#include "sweep.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FORMAT = 1 };
static const size_t grid_size = (size_t)1 << 22; /* bytes of a grid's file at most */
static const char option_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

static int no_memory(const cli_sweep *s)
{
    return cli_fail(s->self, "out of memory");
}

/* ---- Values ---------------------------------------------------------------------------------------------------- */

/* An array of `size` bytes an element with room for one more, or NULL, the old one being as it was. */
static void *one_more(void *array, int count, size_t size)
{
    return realloc(array, ((size_t)count + 1) * size);
}

static bool add_value(cli_axis *axis, const char *text, size_t length)
{
    char **more = one_more(axis->value, axis->values, sizeof *more);
    if (!more)
        return false;
    axis->value = more;
    axis->value[axis->values] = strndup(text, length);
    return axis->value[axis->values++] != NULL;
}

static cli_axis *add_axis(cli_sweep *s, const char *option)
{
    cli_axis *more = one_more(s->axis, s->axes, sizeof *more);
    if (!more)
        return NULL;
    s->axis = more;
    s->axis[s->axes] = (cli_axis){.option = strdup(option)};
    return s->axis[s->axes].option ? &s->axis[s->axes++] : NULL;
}

static int find_value(const cli_axis *axis, const char *value)
{
    for (int i = 0; i < axis->values; i++)
        if (!strcmp(axis->value[i], value))
            return i;
    return -1;
}

/* The grid is kept as JSON, which holds nothing else. */
static bool is_text(const char *value)
{
    const size_t size = strlen(value);
    char *copy = malloc(size + 1);
    const bool same = copy && cli_copy_text(copy, size + 1, value, size) == size && !strcmp(copy, value);
    free(copy);
    return same;
}

static bool names_path(const char *option)
{
    return !strcmp(option, "--net") || !strcmp(option, "--data") || !strcmp(option, "--init");
}

int cli_sweep_add(cli_sweep *s, const char *option, const char *text, bool whole)
{
    const char *separator = strchr(text, ';') ? ";" : ",";
    if (!is_text(text))
        return cli_usage(s->self, "%s: '%s' is no plain text in UTF-8", option, text);
    cli_axis *axis = add_axis(s, option);
    if (!axis)
        return no_memory(s);
    whole = (whole || (names_path(option) && !access(text, F_OK))) && *separator == ',';
    do {
        const size_t length = whole ? strlen(text) : strcspn(text, separator);
        if (length == 0)
            return cli_usage(s->self, "%s: an empty value in the list", option);
        if (axis->values == SWEEP_VALUES)
            return cli_usage(s->self, "%s: more than %d values", option, SWEEP_VALUES);
        if (!add_value(axis, text, length))
            return no_memory(s);
        if (find_value(axis, axis->value[axis->values - 1]) < axis->values - 1)
            return cli_usage(s->self, "%s: %s is given twice", option, axis->value[axis->values - 1]);
        text += length;
        text += *text != 0;
    } while (*text);
    if (text[-1] == ',' && !whole && *separator == ',')
        return cli_usage(s->self, "%s: an empty value in the list", option);
    return CLI_GO;
}

int cli_sweep_add_flag(cli_sweep *s, const char *option)
{
    char **more = one_more(s->flag, s->flags, sizeof *more);
    if (!more)
        return no_memory(s);
    s->flag = more;
    s->flag[s->flags] = strdup(option);
    s->keep_best = s->keep_best || !strcmp(option, "--keep-best");
    return s->flag[s->flags++] ? CLI_GO : no_memory(s);
}

int cli_sweep_content(cli_sweep *s, const char *option, const char *value, const char *is)
{
    cli_content *more = one_more(s->content, s->contents, sizeof *more);
    if (!more)
        return no_memory(s);
    s->content = more;
    cli_content *c = &s->content[s->contents++];
    *c = (cli_content){strdup(option), strdup(value), strdup(is)};
    return c->option && c->value && c->is ? CLI_GO : no_memory(s);
}

const char *cli_sweep_value(const cli_sweep *s, int run, int axis)
{
    for (int a = s->axes - 1; a > axis; a--)
        run /= s->axis[a].values;
    return s->axis[axis].value[run % s->axis[axis].values];
}

const char **cli_sweep_words(const cli_sweep *s, int run, int more, int *count)
{
    const size_t words = 3 + (size_t)s->axes + (size_t)s->flags + (size_t)more;
    size_t size = 0;
    for (int a = 0; a < s->axes; a++)
        size += strlen(s->axis[a].option) + strlen(cli_sweep_value(s, run, a)) + 2;
    const char **word = calloc(1, words * sizeof *word + size);
    if (!word)
        return NULL;
    char *text = (char *)(word + words);
    *count = 0;
    word[(*count)++] = "evenkeel";
    word[(*count)++] = "train";
    for (int a = 0; a < s->axes; a++) {
        word[(*count)++] = text; /* in one word, as options that may lack their value need it */
        text += sprintf(text, "%s=%s", s->axis[a].option, cli_sweep_value(s, run, a)) + 1;
    }
    for (int i = 0; i < s->flags; i++)
        word[(*count)++] = s->flag[i];
    return word;
}

static const char *short_value(const cli_axis *axis, const char *value)
{
    const char *slash = strrchr(value, '/');
    return slash && slash[1] && names_path(axis->option) ? slash + 1 : value;
}

const char *cli_sweep_short(const cli_sweep *s, int run, int axis)
{
    return short_value(&s->axis[axis], cli_sweep_value(s, run, axis));
}

/* ---- Runs ------------------------------------------------------------------------------------------------------ */

/* What a name tells of a value: as much as a shell needs no quotes for. */
static void tag_of(const cli_axis *axis, const char *value, char tag[64])
{
    size_t length = 0;
    for (const char *at = short_value(axis, value); *at && length < 60; at++)
        tag[length++] = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-", *at) ? *at : '_';
    tag[length] = 0;
}

static int check_tags(const cli_sweep *s, const cli_axis *axis)
{
    for (int i = 0; i < axis->values; i++) {
        char one[64], other[64];
        tag_of(axis, axis->value[i], one);
        for (int k = 0; k < i; k++) {
            tag_of(axis, axis->value[k], other);
            if (!strcmp(one, other))
                return cli_usage(s->self, "%s: %s and %s have the same name, %s; rename one", axis->option,
                                 axis->value[k], axis->value[i], one);
        }
    }
    return CLI_GO;
}

static int name_run(const cli_sweep *s, int index)
{
    char *name = s->run[index].name, tag[64];
    size_t length = 0;
    for (int a = 0; a < s->axes && length < SWEEP_NAME; a++) {
        const char *value = cli_sweep_value(s, index, a);
        if (s->axis[a].silent && !strcmp(value, s->axis[a].silent))
            continue;
        tag_of(&s->axis[a], value, tag);
        length += (size_t)snprintf(name + length, SWEEP_NAME - length, "%s%s=%s", length ? "," : "",
                                   s->axis[a].option + 2, tag);
    }
    if (length >= SWEEP_NAME)
        return cli_usage(s->self, "the name of a run, %s, is too long; sweep fewer options at a time", name);
    return CLI_GO;
}

int cli_sweep_expand(cli_sweep *s)
{
    int64_t runs = 1;
    s->seeds = s->axis[s->axes - 1].values;
    for (int a = 0; a < s->axes; a++) {
        const int status = check_tags(s, &s->axis[a]);
        if (status != CLI_GO)
            return status;
        runs *= s->axis[a].values;
        if (runs > SWEEP_RUNS)
            return cli_usage(s->self, "the grid has more than %d runs", SWEEP_RUNS);
    }
    free(s->run);
    s->runs = (int)runs;
    s->run = calloc((size_t)runs, sizeof *s->run);
    if (!s->run)
        return no_memory(s);
    for (int i = 0; i < s->runs; i++) {
        const int status = name_run(s, i);
        if (status != CLI_GO)
            return status;
    }
    return CLI_GO;
}

/* ---- The file -------------------------------------------------------------------------------------------------- */

static int path_of(const cli_sweep *s, char path[PATH_MAX])
{
    if (snprintf(path, PATH_MAX, "%s/sweep.json", s->dir) >= PATH_MAX)
        return cli_fail(s->self, "%s: %s", s->dir, strerror(ENAMETOOLONG));
    return CLI_GO;
}

int cli_sweep_save(const cli_sweep *s)
{
    char path[PATH_MAX], *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return no_memory(s);
    cli_json j = {.to = to};
    cli_json_open(&j, NULL);
    cli_json_whole(&j, "format", FORMAT);
    cli_json_text(&j, "version", ek_version());
    cli_json_list(&j, "options");
    for (int a = 0; a < s->axes; a++) {
        cli_json_open(&j, NULL);
        cli_json_text(&j, "name", s->axis[a].option);
        cli_json_list(&j, "values");
        for (int i = 0; i < s->axis[a].values; i++)
            cli_json_text(&j, NULL, s->axis[a].value[i]);
        cli_json_list_end(&j);
        cli_json_text(&j, "silent", s->axis[a].silent);
        cli_json_close(&j);
    }
    cli_json_list_end(&j);
    cli_json_list(&j, "contents");
    for (int i = 0; i < s->contents; i++) {
        cli_json_open(&j, NULL);
        cli_json_text(&j, "option", s->content[i].option);
        cli_json_text(&j, "value", s->content[i].value);
        cli_json_text(&j, "is", s->content[i].is);
        cli_json_close(&j);
    }
    cli_json_list_end(&j);
    cli_json_list(&j, "flags");
    for (int i = 0; i < s->flags; i++)
        cli_json_text(&j, NULL, s->flag[i]);
    cli_json_list_end(&j);
    cli_json_close(&j);
    putc('\n', to);
    if (fclose(to))
        return no_memory(s);
    int status = path_of(s, path);
    const int error = status == CLI_GO ? cli_write_file(path, text, size) : 0;
    free(text);
    return error ? cli_fail(s->self, "%s: cannot be written: %s", path, strerror(error)) : status;
}

/* A string of the file, for free(); NULL for none, and where memory is short. */
static char *copy_text(cli_span value)
{
    char *text = malloc(value.size + 1);
    if (text && cli_json_read_text(value, text, value.size + 1))
        return text;
    free(text);
    return NULL;
}

static bool read_axis(cli_sweep *s, cli_span record)
{
    cli_span name, values, value;
    char *option = cli_json_member(record, "name", &name) ? copy_text(name) : NULL;
    const bool named = option && !strncmp(option, "--", 2) && !option[strspn(option, option_letters)];
    cli_axis *axis = named && s->axes < TRAIN_OPTIONS ? add_axis(s, option) : NULL;
    free(option);
    if (!axis || !cli_json_member(record, "values", &values))
        return false;
    while (cli_json_item(&values, &value)) {
        char *text = copy_text(value);
        const bool added = text && *text && axis->values < SWEEP_VALUES && add_value(axis, text, strlen(text));
        free(text);
        if (!added)
            return false;
    }
    if (cli_json_member(record, "silent", &value))
        axis->silent = copy_text(value);
    return axis->values > 0;
}

static bool read_content(cli_sweep *s, cli_span record)
{
    static const char *const keys[] = {"option", "value", "is"};
    char *text[3] = {NULL};
    bool read = true;
    for (int i = 0; i < 3; i++) {
        cli_span value;
        text[i] = cli_json_member(record, keys[i], &value) ? copy_text(value) : NULL;
        read = read && text[i];
    }
    read = read && cli_sweep_content(s, text[0], text[1], text[2]) == CLI_GO;
    for (int i = 0; i < 3; i++)
        free(text[i]);
    return read;
}

static bool read_grid(cli_sweep *s, cli_span text)
{
    cli_span value, list;
    if (!cli_json_is_valid(text) || !cli_json_member(text, "format", &value) || cli_json_read_real(value) != FORMAT ||
        !cli_json_member(text, "options", &list))
        return false;
    while (cli_json_item(&list, &value))
        if (!read_axis(s, value))
            return false;
    if (!cli_json_member(text, "contents", &list))
        return false;
    while (cli_json_item(&list, &value))
        if (!read_content(s, value))
            return false;
    if (!cli_json_member(text, "flags", &list))
        return false;
    while (cli_json_item(&list, &value)) {
        char *flag = copy_text(value);
        const bool added = flag && cli_sweep_add_flag(s, flag) == CLI_GO;
        free(flag);
        if (!added)
            return false;
    }
    return s->axes > 0 && !strcmp(s->axis[s->axes - 1].option, "--seed");
}

int cli_sweep_load(cli_sweep *s)
{
    char path[PATH_MAX];
    size_t size;
    if (path_of(s, path) != CLI_GO)
        return CLI_FAILED;
    char *text = cli_log_read(path, grid_size, &size);
    if (!text && errno == ENOENT)
        return cli_fail(s->self, "%s: there is no sweep: %s does not exist", s->dir, path);
    if (!text)
        return cli_fail(s->self, "%s: cannot be read: %s", path, strerror(errno));
    const bool read = read_grid(s, (cli_span){text, size});
    free(text);
    return read ? CLI_GO : cli_fail(s->self, "%s: is not what a sweep has written; take another folder", path);
}

/* ---- One grid and another -------------------------------------------------------------------------------------- */

static cli_axis *find_axis(const cli_sweep *s, const char *option)
{
    for (int a = 0; a < s->axes; a++)
        if (!strcmp(s->axis[a].option, option))
            return &s->axis[a];
    return NULL;
}

static bool has_flag(const cli_sweep *s, const char *flag)
{
    for (int i = 0; i < s->flags; i++)
        if (!strcmp(s->flag[i], flag))
            return true;
    return false;
}

/* NULL where the value is none of this grid. */
static const char *content_of(const cli_sweep *s, const char *option, const char *value)
{
    for (int i = 0; i < s->contents; i++)
        if (!strcmp(s->content[i].option, option) && !strcmp(s->content[i].value, value))
            return s->content[i].is;
    return NULL;
}

static void put_values(FILE *to, const cli_axis *axis)
{
    for (int i = 0; i < axis->values && i < 12; i++)
        fprintf(to, "%s%s", i ? "," : "", axis->value[i]);
    if (axis->values > 12)
        fputs(",...", to);
}

/* What of `old` is not in `s`, in words. */
static void put_difference(FILE *to, const cli_sweep *s, const cli_sweep *old)
{
    const char *between = "";
    for (int a = 0; a < old->axes; a++) {
        const cli_axis *theirs = &old->axis[a], *ours = find_axis(s, theirs->option);
        bool all = ours != NULL;
        for (int i = 0; i < theirs->values && all; i++)
            all = find_value(ours, theirs->value[i]) >= 0;
        if (all)
            continue;
        fprintf(to, "%s%s ", between, theirs->option);
        put_values(to, theirs);
        fputs(" there, ", to);
        if (ours)
            put_values(to, ours);
        fputs(ours ? " now" : "not given now", to);
        between = "; ";
    }
    for (int a = 0; a < s->axes; a++)
        if (!find_axis(old, s->axis[a].option)) {
            fprintf(to, "%s%s not given there", between, s->axis[a].option);
            between = "; ";
        }
    for (int i = 0; i < old->flags + s->flags; i++) {
        const bool theirs = i < old->flags;
        const char *flag = theirs ? old->flag[i] : s->flag[i - old->flags];
        if (has_flag(theirs ? s : old, flag))
            continue;
        fprintf(to, "%s%s not given %s", between, flag, theirs ? "now" : "there");
        between = "; ";
    }
    for (int i = 0; i < old->contents; i++) {
        const cli_content *was = &old->content[i];
        const char *is = content_of(s, was->option, was->value);
        if (!is || !strcmp(is, was->is))
            continue;
        fprintf(to, "%s%s %s is not what it was", between, was->option, was->value);
        between = "; ";
    }
}

static int compare(const cli_sweep *s, const cli_sweep *old)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (to)
        put_difference(to, s, old);
    if (!to || fclose(to)) {
        free(text);
        return no_memory(s);
    }
    const int status = size == 0 ? CLI_GO
                                 : cli_fail(s->self,
                                            "%s holds another sweep: %s; give all that it has, and more where you "
                                            "like, or another folder",
                                            s->dir, text);
    free(text);
    return status;
}

int cli_sweep_join(cli_sweep *s)
{
    char path[PATH_MAX];
    cli_sweep old = {.self = s->self, .dir = s->dir};
    if (path_of(s, path) != CLI_GO)
        return CLI_FAILED;
    int status = access(path, F_OK) ? CLI_GO : cli_sweep_load(&old);
    if (status == CLI_GO && old.axes)
        status = compare(s, &old);
    for (int a = 0; a < s->axes && status == CLI_GO; a++) {
        cli_axis *axis = &s->axis[a], *theirs = find_axis(&old, axis->option);
        const char *silent = theirs ? theirs->silent : axis->values == 1 ? axis->value[0] : NULL;
        if (a == s->axes - 1)
            silent = NULL; /* each name tells its seed */
        axis->silent = silent ? strdup(silent) : NULL;
        if (silent && !axis->silent)
            status = no_memory(s);
    }
    cli_sweep_free(&old);
    return status;
}

void cli_sweep_free(cli_sweep *s)
{
    for (int a = 0; a < s->axes; a++) {
        for (int i = 0; i < s->axis[a].values; i++)
            free(s->axis[a].value[i]);
        free(s->axis[a].value);
        free(s->axis[a].option);
        free(s->axis[a].silent);
    }
    for (int i = 0; i < s->flags; i++)
        free(s->flag[i]);
    for (int i = 0; i < s->contents; i++) {
        free(s->content[i].option);
        free(s->content[i].value);
        free(s->content[i].is);
    }
    free(s->content);
    free(s->axis);
    free(s->flag);
    free(s->run);
}
